import Support
import Torch

/// The shape of a BERT encoder, as `config.json` gives it.
public struct BERTConfiguration: Sendable, Equatable {
    /// `vocab_size`: rows of the word table.
    public var vocabularySize = 30522
    /// `hidden_size`: width D of a token.
    public var hiddenSize = 768
    /// `num_hidden_layers`
    public var layers = 12
    /// `num_attention_heads`: a divisor of the width.
    public var heads = 12
    /// `intermediate_size`: width of the feed-forward part.
    public var intermediateSize = 3072
    /// `max_position_embeddings`: tokens of the longest text.
    public var positions = 512
    /// `type_vocab_size`: rows of the segment table.
    public var segments = 2
    /// `layer_norm_eps`
    public var normEpsilon = 1e-12
    /// Whether the checkpoint has the map that ``BERT/pooled(_:)`` computes.
    public var hasPooler = true

    /// The shape of `bert-base-uncased`.
    public init() {}

    /// Reads the keys of the reference's `BertConfig`; refuses what this implementation does not compute.
    public init(_ json: JSON, source: String) throws {
        vocabularySize = try json.size("vocab_size", vocabularySize, source: source)
        hiddenSize = try json.size("hidden_size", hiddenSize, source: source)
        layers = try json.size("num_hidden_layers", layers, source: source)
        heads = try json.size("num_attention_heads", heads, source: source)
        intermediateSize = try json.size("intermediate_size", intermediateSize, source: source)
        positions = try json.size("max_position_embeddings", positions, source: source)
        segments = try json.size("type_vocab_size", segments, source: source)
        normEpsilon = json["layer_norm_eps"]?.double ?? normEpsilon
        guard hiddenSize % heads == 0 else {
            throw VQAError(
                "cannot use the model", at: source,
                because: "hidden_size \(hiddenSize) is not a multiple of num_attention_heads \(heads)")
        }
        for (key, wanted) in [("hidden_act", "gelu"), ("position_embedding_type", "absolute")] {
            guard let found = json[key]?.string, found != wanted else { continue }
            throw VQAError(
                "cannot use the model", at: "\(source), \(key)",
                because: "it is \(found), only \(wanted) is computed")
        }
    }
}

/// BERT (Devlin et al. 2019): post-norm encoder with exact GELU. Keys as in the reference's `BertModel`.
///
/// Legend: B batch, T tokens, D hidden size, H heads.
public struct BERT: Module {
    /// The shape it was built with.
    public let configuration: BERTConfiguration
    /// From ids to the input of layer 0.
    public var embeddings: BERTEmbeddings
    /// The encoder, from the input upwards.
    public var layers: [BERTLayer]
    /// [D, D], nil when the checkpoint has none.
    public var pooler: Linear?

    /// A model without weights, on the meta device.
    public init(_ configuration: BERTConfiguration) throws {
        self.configuration = configuration
        embeddings = try BERTEmbeddings(configuration)
        layers = try (0..<configuration.layers).map { _ in try BERTLayer(configuration) }
        let size = configuration.hiddenSize
        pooler = configuration.hasPooler ? try Linear(size, size, .bert) : nil
    }

    /// Lists embeddings, encoder.layer.0 and on, and pooler.dense when there is one.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("embeddings", &embeddings)
        try visitor("encoder.layer", &layers)
        try visitor("pooler.dense", &pooler)
    }

    /// Brings the names of a checkpoint to this module's: without the `bert.` of models with heads, the heads' own weights
    /// left out, the norms' old names gamma and beta replaced, position counters dropped.
    public static func renamed(_ weights: [String: Tensor], keepPooler: Bool = true) -> [String: Tensor] {
        let prefixed = weights.keys.contains { $0.hasPrefix("bert.embeddings.") }
        var result: [String: Tensor] = [:]
        for (name, tensor) in weights {
            var key = name
            if prefixed {
                guard name.hasPrefix("bert.") else { continue }
                key = String(name.dropFirst("bert.".count))
            }
            if key == "embeddings.position_ids" || (!keepPooler && key.hasPrefix("pooler.")) { continue }
            if key.hasSuffix("LayerNorm.gamma") { key = key.dropLast("gamma".count) + "weight" }
            if key.hasSuffix("LayerNorm.beta") { key = key.dropLast("beta".count) + "bias" }
            result[key] = tensor
        }
        return result
    }

    /// The whole encoder: ids and mask [B, T] → hidden [B, T, D].
    public func callAsFunction(
        _ ids: Tensor, mask: Tensor, segments: Tensor? = nil, dropout: Double = 0, tap: Tap? = nil
    ) throws -> Tensor {
        let hidden = try embeddings(ids, segments: segments, dropout: dropout)
        return try encode(hidden, mask: mask, layers: 0..<layers.count, dropout: dropout, tap: tap)
    }

    /// The layers of a range, on hidden states that stand before its first.
    ///
    /// - Parameters:
    ///   - hidden: [B, T, D].
    ///   - mask: [B, T], true where a token may be attended to.
    ///   - only: in the last layer of the range compute this one position, [B, 1, D]; the others only lend it their keys
    ///     and values. Equal to computing all and taking one.
    public func encode(
        _ hidden: Tensor, mask: Tensor, layers range: Range<Int>, only position: Int? = nil,
        dropout: Double = 0, tap: Tap? = nil
    ) throws -> Tensor {
        let keys = try mask.to(.bool).unsqueezed(1).unsqueezed(1)  // [B, 1, 1, T]
        var hidden = hidden
        for index in range {
            let last = index == range.upperBound - 1
            hidden = try layers[index](
                hidden, mask: keys, only: last ? position : nil, dropout: dropout, layer: index, tap: tap)
        }
        return hidden
    }

    /// tanh of a linear map of the first token, [B, D]; nil without pooler weights.
    public func pooled(_ hidden: Tensor) throws -> Tensor? {
        try pooler.map { try $0(hidden.selected(1, 0)).tanh() }
    }
}

extension (Initialization, Initialization)? {
    /// BERT's own: weights N(0, 0.02), biases 0.
    static var bert: (Initialization, Initialization)? { (.normal(deviation: 0.02), .zeros) }
}

/// Word, position and segment tables, summed and normalised.
public struct BERTEmbeddings: Module {
    /// [vocabulary, D]
    public var word: Embedding
    /// [positions, D]
    public var position: Embedding
    /// [segments, D]
    public var segment: Embedding
    /// Over D, after the sum.
    public var norm: LayerNorm

    init(_ configuration: BERTConfiguration) throws {
        let size = configuration.hiddenSize
        word = try Embedding(configuration.vocabularySize, size, .normal(deviation: 0.02))
        position = try Embedding(configuration.positions, size, .normal(deviation: 0.02))
        segment = try Embedding(configuration.segments, size, .normal(deviation: 0.02))
        norm = try LayerNorm(size, epsilon: configuration.normEpsilon)
    }

    /// Lists word_embeddings, position_embeddings, token_type_embeddings and LayerNorm.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("word_embeddings", &word)
        try visitor("position_embeddings", &position)
        try visitor("token_type_embeddings", &segment)
        try visitor("LayerNorm", &norm)
    }

    /// ids [B, T] → [B, T, D]
    public func callAsFunction(_ ids: Tensor, segments: Tensor? = nil, dropout: Double = 0) throws -> Tensor {
        let length = ids.shape.last ?? 0
        let positions = try position(.arange(0, Double(length)))  // [T, D]
        let types = try segment(segments ?? .zeros(ids.shape, .int64))
        return try norm(word(ids) + types + positions).dropout(dropout)
    }
}

/// One encoder layer: attention, then feed-forward, each with residual sum and norm after it.
public struct BERTLayer: Module {
    /// attention.self.query, D → D.
    public var query: Linear
    /// attention.self.key, D → D.
    public var key: Linear
    /// attention.self.value, D → D.
    public var value: Linear
    /// attention.output.dense, D → D, on the joined heads.
    public var attentionOutput: Linear
    /// attention.output.LayerNorm, after the first residual sum.
    public var attentionNorm: LayerNorm
    /// intermediate.dense, D → intermediate size.
    public var intermediate: Linear
    /// output.dense, intermediate size → D.
    public var output: Linear
    /// output.LayerNorm, after the second residual sum.
    public var outputNorm: LayerNorm
    private let heads: Int

    init(_ configuration: BERTConfiguration) throws {
        let size = configuration.hiddenSize
        query = try Linear(size, size, .bert)
        key = try Linear(size, size, .bert)
        value = try Linear(size, size, .bert)
        attentionOutput = try Linear(size, size, .bert)
        attentionNorm = try LayerNorm(size, epsilon: configuration.normEpsilon)
        intermediate = try Linear(size, configuration.intermediateSize, .bert)
        output = try Linear(configuration.intermediateSize, size, .bert)
        outputNorm = try LayerNorm(size, epsilon: configuration.normEpsilon)
        heads = configuration.heads
    }

    /// Lists attention.self and attention.output, then intermediate and output, norms included.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("attention.self.query", &query)
        try visitor("attention.self.key", &key)
        try visitor("attention.self.value", &value)
        try visitor("attention.output.dense", &attentionOutput)
        try visitor("attention.output.LayerNorm", &attentionNorm)
        try visitor("intermediate.dense", &intermediate)
        try visitor("output.dense", &output)
        try visitor("output.LayerNorm", &outputNorm)
    }

    /// [B, T, D] → [B, T, D], or [B, 1, D] for one position; mask [B, 1, 1, T].
    func callAsFunction(
        _ input: Tensor, mask: Tensor, only position: Int?, dropout: Double, layer: Int,
        tap: Tap?
    ) throws -> Tensor {
        let x = try tap.at(.blockInput, layer, input)
        let seen = try tap.at(.attentionInput, layer, x)
        func chosen(_ states: Tensor) throws -> Tensor {
            try position.map { try states.sliced(1, $0, $0 + 1) } ?? states
        }
        let (asking, residual) = (try chosen(seen), try chosen(x))
        var heads =
            try position != nil && key.isFrozenPlain && value.isFrozenPlain
            ? attendOnce(asking, to: seen, mask: mask, dropout: dropout)
            : splitHeads(query(asking), self.heads).attention(
                key: splitHeads(key(seen), self.heads), value: splitHeads(value(seen), self.heads),
                mask: mask, dropout: dropout)
        heads = try tap.at(.headOutput, layer, heads)  // [B, H, T, D/H]
        let attended = try tap.at(
            .attentionOutput, layer, attentionOutput(mergeHeads(heads)).dropout(dropout))
        let middle = try attentionNorm(attended + residual)
        let fed = try tap.at(.mlpOutput, layer, output(intermediate(middle).gelu()).dropout(dropout))
        return try tap.at(.blockOutput, layer, outputNorm(fed + middle))
    }

    /// Attention of one position [B, 1, D] to x [B, T, D] → [B, H, 1, D/H], without the keys and values of the others:
    /// q · (W x) = (q W) · x and Σ pᵢ (W xᵢ) = W Σ pᵢ xᵢ, H small products a sample in place of two large ones. The bias of
    /// the keys adds the same to every score, which the softmax takes away.
    private func attendOnce(_ position: Tensor, to x: Tensor, mask: Tensor, dropout: Double) throws -> Tensor
    {
        let (batch, size) = (position.shape[0], position.shape[2])
        let width = size / heads
        let queries = try query(position).reshaped([batch, heads, width]).transposed(0, 1)  // [H, B, D/H]
        let keyed = try queries.matmul(key.weight.reshaped([heads, width, size]))  // [H, B, D]
        let scores = try keyed.transposed(0, 1).matmul(x.transposed(1, 2)) * (1 / Double(width).squareRoot())
        let hidden = try mask.squeezed(1).not()  // [B, 1, T]
        let shares = try scores.masked(hidden, -.infinity).softmax(-1).dropout(dropout)  // [B, H, T]
        let seen = try shares.matmul(x).transposed(0, 1)  // [H, B, D]
        let values = try value.weight.reshaped([heads, width, size]).transposed(1, 2)  // [H, D, D/H]
        var result = try seen.matmul(values).transposed(0, 1)  // [B, H, D/H]
        if let bias = value.bias {
            result = try result + shares.sum([-1], keep: true) * bias.reshaped([heads, width])
        }
        return try result.unsqueezed(2)
    }
}
