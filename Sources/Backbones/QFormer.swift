import Support
import Torch

/// The shape of a Q-Former.
public struct QFormerConfiguration: Sendable, Equatable {
    /// `vocab_size`: rows of the word table.
    public var vocabularySize = 30522
    /// `hidden_size`: width D of a row.
    public var hiddenSize = 768
    /// `num_hidden_layers`
    public var layers = 12
    /// `num_attention_heads`: a divisor of the width.
    public var heads = 12
    /// `intermediate_size`: width of the feed-forward parts.
    public var intermediateSize = 3072
    /// `max_position_embeddings`: tokens of the longest instruction.
    public var positions = 512
    /// `layer_norm_eps`
    public var normEpsilon = 1e-12
    /// Layers 0, f, 2f … look at the image.
    public var crossAttentionFrequency = 2
    /// Width V of an image token.
    public var imageSize = 1408
    /// `num_query_tokens` of the joined model: queries Q.
    public var queries = 32
    /// Whether it reads an instruction, as InstructBLIP's does and BLIP-2's does not.
    public var readsText = true

    /// The shape of InstructBLIP's.
    public init() {}

    /// Reads an `InstructBlipConfig` or `Blip2Config`, or the `qformer_config` of one alone; a key that is not there has the
    /// default of the reference's class.
    public init(_ json: JSON, source: String) throws {
        let own = json.part("qformer_config")
        vocabularySize = try own.size("vocab_size", vocabularySize, source: source)
        hiddenSize = try own.size("hidden_size", hiddenSize, source: source)
        layers = try own.depth("num_hidden_layers", layers, source: source)
        heads = try own.size("num_attention_heads", heads, source: source)
        intermediateSize = try own.size("intermediate_size", intermediateSize, source: source)
        positions = try own.size("max_position_embeddings", positions, source: source)
        normEpsilon = try own.epsilon("layer_norm_eps", normEpsilon, source: source)
        crossAttentionFrequency = try own.size(
            "cross_attention_frequency", crossAttentionFrequency, source: source)
        imageSize = try own.size("encoder_hidden_size", imageSize, source: source)
        if json["vision_config"] != nil || json["qformer_config"] != nil {
            // In a joined model the width of the image tower decides, whatever the part says.
            imageSize = try (json["vision_config"] ?? .null).size("hidden_size", 1408, source: source)
        }
        queries = try json.size("num_query_tokens", queries, source: source)
        let type = own["model_type"]?.string ?? json["model_type"]?.string ?? "instructblip"
        readsText = !type.hasPrefix("blip_2") && !type.hasPrefix("blip-2")
        try requireMultiple("hidden_size", hiddenSize, of: "num_attention_heads", heads, source: source)
        try refuseOthers(own, source: source)
    }

    private func refuseOthers(_ own: JSON, source: String) throws {
        for (key, wanted) in [("hidden_act", "gelu"), ("position_embedding_type", "absolute")] {
            guard let found = own[key]?.string, found != wanted else { continue }
            throw VQAError(
                "cannot use the model", at: "\(source), \(key)",
                because: "it is \(found), only \(wanted) is computed")
        }
        if own["use_qformer_text_input"]?.bool == true {
            throw VQAError(
                "cannot use the model", at: "\(source), use_qformer_text_input",
                because: "it is true, only a Q-Former that generates is computed, not one that matches texts")
        }
    }
}

/// The querying transformer of BLIP-2 (Li et al. 2023) that also reads the instruction, as in InstructBLIP (Dai et al. 2023):
/// a BERT over learned queries and text, in which the queries alone look at the image and have a feed-forward part of their
/// own. Keys as in the reference's `InstructBlipQFormerModel` (without text, `Blip2QFormerModel`).
///
/// Legend: B batch, Q queries, T text tokens, N image tokens, D width, V width of an image token, H heads.
public struct QFormer: Module {
    /// The shape it was built with.
    public let configuration: QFormerConfiguration
    private var words: Embedding?
    private var positions: Embedding?
    private var norm: LayerNorm
    private var layers: [QFormerLayer]

    /// A model without weights, on the meta device.
    public init(_ configuration: QFormerConfiguration) throws {
        self.configuration = configuration
        let size = configuration.hiddenSize
        if configuration.readsText {
            words = try Embedding(configuration.vocabularySize, size, .normal(deviation: 0.02))
            positions = try Embedding(configuration.positions, size, .normal(deviation: 0.02))
        }
        norm = try LayerNorm(size, epsilon: configuration.normEpsilon)
        layers = try (0..<configuration.layers).map { try QFormerLayer(configuration, $0) }
    }

    /// Lists embeddings (or, without text, layernorm alone) and encoder.layer.0 and on.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("embeddings.word_embeddings", &words)
        try visitor("embeddings.position_embeddings", &positions)
        try visitor(configuration.readsText ? "embeddings.layernorm" : "layernorm", &norm)
        try visitor("encoder.layer", &layers)
    }

    /// All rows after the last layer, the queries' first: [B, Q + T, D].
    ///
    /// - Parameters:
    ///   - queries: [1 or B, Q, D]; they have no positions.
    ///   - text: ids [B, T] of the instruction; nil for none.
    ///   - textMask: [B, T], true where a token is no padding; nil when none is.
    ///   - image: [B, N, V].
    ///   - imageMask: [B, N], true where an image token may be attended to; nil for all.
    ///   - dropout: of embeddings, attention probabilities and outputs; 0.1 in training.
    public func callAsFunction(
        queries: Tensor, text: Tensor? = nil, textMask: Tensor? = nil, image: Tensor,
        imageMask: Tensor? = nil, dropout: Double = 0, tap: Tap? = nil
    ) throws -> Tensor {
        guard let batch = image.shape.first, queries.rank == 3 else {
            throw TorchError(
                .shape, operation: "QFormer",
                message: "needs queries [1, Q, D] and image [B, N, V], got \(queries.shape), \(image.shape)")
        }
        let count = queries.shape[1]
        var rows = try queries.expanded([batch, count, queries.shape[2]])
        var keys: Tensor?
        if let text {
            rows = try .concatenated([rows, embedded(text).to(rows.dtype)], 1)
            if let shown = try textMask?.attentionKeys() {
                let mask = try Tensor.concatenated(
                    [.ones([batch, count], .bool, on: shown.device), shown], 1)
                keys = try mask.unsqueezed(1).unsqueezed(1)  // [B, 1, 1, Q + T]
            }
        }
        let imageKeys = try imageMask?.attentionKeys()?.unsqueezed(1).unsqueezed(1)  // [B, 1, 1, N]
        var hidden = try norm(rows.to(norm.weight.dtype)).dropout(dropout)
        for (index, layer) in layers.enumerated() {
            hidden = try layer(
                hidden, queries: count, mask: keys, image: image, imageMask: imageKeys, dropout: dropout,
                index,
                tap)
        }
        return hidden
    }

    /// Words and positions of the text alone, not yet normalised: [B, T] → [B, T, D].
    private func embedded(_ text: Tensor) throws -> Tensor {
        let shape = text.shape
        guard let words, let positions, shape.count == 2 else {
            throw TorchError(
                .shape, operation: "QFormer",
                message: words == nil ? "this Q-Former reads no text" : "needs text [B, T], got \(shape)")
        }
        return try words(text) + positions.weight.sliced(0, 0, shape[1])
    }

    /// Brings the names of a checkpoint to these: LAVIS's `Qformer.bert.`, or the reference's `qformer.` wherever it stands,
    /// the two spellings of attention and norm included. Other parts of the file are left out, LAVIS's head `Qformer.cls.` too.
    public static func renamed(_ weights: [String: Tensor]) -> [String: Tensor] {
        let part = towerPart(
            of: weights,
            markers: [
                "encoder.layer.0.crossattention.output.dense.weight",
                "encoder.layer.0.output_query.dense.weight",
            ])
        let hasText = part["embeddings.word_embeddings.weight"] != nil
        var result: [String: Tensor] = [:]
        for (name, tensor) in part {
            // LAVIS has `attention.self` and `crossattention.self`.
            let parts = name.split(separator: ".").map { $0 == "self" ? "attention" : $0 }
            var key = parts.joined(separator: ".")
            if key.hasPrefix("embeddings.LayerNorm.") {
                key =
                    (hasText ? "embeddings.layernorm." : "layernorm.")
                    + key.dropFirst("embeddings.LayerNorm.".count)
            }
            result[key] = tensor
        }
        return result
    }
}

/// Attention to the rows themselves or to the image, with the output map and the norm after the residual sum.
private struct QFormerAttention: Module {
    private var query: Linear
    private var key: Linear
    private var value: Linear
    private var output: Linear
    private var norm: LayerNorm
    private let heads: Int

    init(_ configuration: QFormerConfiguration, context: Int) throws {
        let size = configuration.hiddenSize
        query = try Linear(size, size, .bert)
        key = try Linear(context, size, .bert)
        value = try Linear(context, size, .bert)
        output = try Linear(size, size, .bert)
        norm = try LayerNorm(size, epsilon: configuration.normEpsilon)
        heads = configuration.heads
    }

    mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("attention.query", &query)
        try visitor("attention.key", &key)
        try visitor("attention.value", &value)
        try visitor("output.dense", &output)
        try visitor("output.LayerNorm", &norm)
    }

    /// x [B, R, D], context [B, S, V] → [B, H, R, D/H]
    func heads(_ x: Tensor, context: Tensor, mask: Tensor?, dropout: Double) throws -> Tensor {
        let context = try context.to(key.weight.dtype)
        return try splitHeads(query(x), heads).attention(
            key: splitHeads(key(context), heads), value: splitHeads(value(context), heads), mask: mask,
            dropout: dropout)
    }

    /// [B, H, R, D/H] → [B, R, D]
    func joined(_ heads: Tensor, dropout: Double) throws -> Tensor {
        try output(mergeHeads(heads)).dropout(dropout)
    }

    func normed(_ x: Tensor) throws -> Tensor { try norm(x) }
}

/// One layer: attention among all rows, the queries' attention to the image, two feed-forward parts.
private struct QFormerLayer: Module {
    private var attention: QFormerAttention
    private var crossAttention: QFormerAttention?
    private var intermediate: Linear?
    private var output: Linear?
    private var outputNorm: LayerNorm?
    private var intermediateQuery: Linear
    private var outputQuery: Linear
    private var outputQueryNorm: LayerNorm

    init(_ configuration: QFormerConfiguration, _ index: Int) throws {
        let (size, inner) = (configuration.hiddenSize, configuration.intermediateSize)
        attention = try QFormerAttention(configuration, context: size)
        if index % configuration.crossAttentionFrequency == 0 {
            crossAttention = try QFormerAttention(configuration, context: configuration.imageSize)
        }
        if configuration.readsText {
            intermediate = try Linear(size, inner, .bert)
            output = try Linear(inner, size, .bert)
            outputNorm = try LayerNorm(size, epsilon: configuration.normEpsilon)
        }
        intermediateQuery = try Linear(size, inner, .bert)
        outputQuery = try Linear(inner, size, .bert)
        outputQueryNorm = try LayerNorm(size, epsilon: configuration.normEpsilon)
    }

    mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("attention", &attention)
        try visitor("crossattention", &crossAttention)
        try visitor("intermediate.dense", &intermediate)
        try visitor("output.dense", &output)
        try visitor("output.LayerNorm", &outputNorm)
        try visitor("intermediate_query.dense", &intermediateQuery)
        try visitor("output_query.dense", &outputQuery)
        try visitor("output_query.LayerNorm", &outputQueryNorm)
    }

    /// [B, Q + T, D] → the same shape; mask [B, 1, 1, Q + T], image mask [B, 1, 1, N].
    func callAsFunction(
        _ input: Tensor, queries: Int, mask: Tensor?, image: Tensor, imageMask: Tensor?, dropout: Double,
        _ index: Int, _ tap: Tap?
    ) throws -> Tensor {
        let x = try tap.at(.blockInput, index, input)
        let asking = try tap.at(.attentionInput, index, x)
        let heads = try tap.at(
            .headOutput, index, attention.heads(asking, context: asking, mask: mask, dropout: dropout))
        let attended = try tap.at(.attentionOutput, index, attention.joined(heads, dropout: dropout))
        let rows = try attention.normed(attended + x)
        var query = try rows.sliced(1, 0, queries)  // [B, Q, D]
        let text = try rows.sliced(1, queries)  // [B, T, D]
        if let crossAttention {
            let heads = try crossAttention.heads(query, context: image, mask: imageMask, dropout: dropout)
            let seen = try tap.at(
                .crossAttentionOutput, index, crossAttention.joined(heads, dropout: dropout))
            query = try crossAttention.normed(seen + query)
        }
        let fed = try outputQuery(intermediateQuery(query).gelu()).dropout(dropout)
        guard let intermediate, let output, let outputNorm, text.shape[1] > 0 else {
            let sum = try tap.at(.mlpOutput, index, fed) + query
            return try tap.at(.blockOutput, index, outputQueryNorm(sum))
        }
        let textFed = try output(intermediate(text).gelu()).dropout(dropout)
        let both = try tap.at(.mlpOutput, index, .concatenated([fed, textFed], 1))
        let result = try Tensor.concatenated(
            [
                outputQueryNorm(both.sliced(1, 0, queries) + query),
                outputNorm(both.sliced(1, queries) + text),
            ], 1)
        return try tap.at(.blockOutput, index, result)
    }
}

/// From an image's tokens to soft tokens of the language model: learned queries, Q-Former, projection.
///
/// Keys as in the reference's joined models: `query_tokens`, `qformer.…`, `language_projection.…`; visit it without a prefix.
public struct QFormerJoint: Module {
    /// The learned queries, [1, Q, D].
    public var queryTokens: Tensor
    /// Reads image and instruction.
    public var qformer: QFormer
    /// D → width of the language model, with bias.
    public var projection: Linear

    /// - Parameter outputSize: width of the language model's embeddings.
    public init(_ configuration: QFormerConfiguration, outputSize: Int) throws {
        queryTokens = try .empty([1, configuration.queries, configuration.hiddenSize], on: .meta)
        qformer = try QFormer(configuration)
        projection = try Linear(configuration.hiddenSize, outputSize)
    }

    /// Lists query_tokens, qformer and language_projection.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("query_tokens", &queryTokens, .normal(deviation: 0.02))
        try visitor("qformer", &qformer)
        try visitor("language_projection", &projection)
    }

    /// image [B, N, V], text ids and mask [B, T] → [B, Q, width of the language model]; arguments as ``QFormer``'s.
    public func callAsFunction(
        _ image: Tensor, text: Tensor? = nil, textMask: Tensor? = nil, imageMask: Tensor? = nil,
        dropout: Double = 0, tap: Tap? = nil
    ) throws -> Tensor {
        try projection(
            queries(
                image, text: text, textMask: textMask, imageMask: imageMask, dropout: dropout, tap: tap))
    }

    /// The same before the projection: image [B, N, V], text ids and mask [B, T] → [B, Q, D].
    public func queries(
        _ image: Tensor, text: Tensor? = nil, textMask: Tensor? = nil, imageMask: Tensor? = nil,
        dropout: Double = 0, tap: Tap? = nil
    ) throws -> Tensor {
        let rows = try qformer(
            queries: queryTokens, text: text, textMask: textMask, image: image, imageMask: imageMask,
            dropout: dropout, tap: tap)
        return try rows.sliced(1, 0, queryTokens.shape[1])
    }

    /// Brings the names of a whole checkpoint, the reference's or LAVIS's (`llm_proj`, `t5_proj`, `opt_proj`), to these, and
    /// leaves out the other parts.
    public static func renamed(_ weights: [String: Tensor]) -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for (name, tensor) in QFormer.renamed(weights) { result["qformer." + name] = tensor }
        for (name, tensor) in weights {
            let key = name.hasPrefix("model.") ? name.dropFirst("model.".count) : name[...]
            if key == "query_tokens" { result["query_tokens"] = tensor }
            for theirs in ["language_projection.", "llm_proj.", "t5_proj.", "opt_proj."]
            where key.hasPrefix(theirs) {
                result["language_projection." + key.dropFirst(theirs.count)] = tensor
            }
        }
        return result
    }
}
