import Checkpoints
import Support
import Torch

/// DeBERTa of version 2 and 3 (He et al. 2021): a post-norm encoder whose attention scores have terms of their own for
/// content to relative position and back. Keys as in the reference's `DebertaV2Model`.
///
/// Legend: B batch, T tokens, D hidden size, H heads, R relative positions in use.
///
/// Taps: the convolution, where there is one, belongs to block 0, so ``TapSite/blockOutput`` comes after it. There is no
/// final norm.
public struct DeBERTa: Module {
    /// What a padded query, which may see no key, gets from attention. Real tokens do not depend on it.
    public enum Padding: Sendable {
        /// The mean of all values, as the reference computes it today.
        case mean
        /// Nothing, as earlier versions of the reference computed it with a masked softmax of their own.
        case zero
    }

    /// The shape it was built with.
    public let configuration: DeBERTaConfiguration
    /// From ids to the input of layer 0.
    public var embeddings: DeBERTaEmbeddings
    /// The encoder, from the input upwards.
    public var layers: [DeBERTaLayer]
    /// encoder.rel_embeddings, [2 · span, D], from the most negative distance on.
    public var relativeTable: Embedding?
    /// encoder.LayerNorm, over that table.
    public var relativeNorm: LayerNorm?
    /// encoder.conv
    public var convolution: DeBERTaConvolution?

    /// A model without weights, on the meta device.
    public init(_ configuration: DeBERTaConfiguration) throws {
        self.configuration = configuration
        let size = configuration.hiddenSize
        embeddings = try DeBERTaEmbeddings(configuration)
        layers = try (0..<configuration.layers).map { _ in try DeBERTaLayer(configuration) }
        if let relative = configuration.relative {
            relativeTable = try Embedding(2 * relative.span, size, .normal(deviation: 0.02))
            relativeNorm =
                relative.isNormed ? try LayerNorm(size, epsilon: configuration.normEpsilon) : nil
        }
        convolution = try configuration.convolution.map {
            try DeBERTaConvolution($0, size, epsilon: configuration.normEpsilon)
        }
    }

    /// A model with the weights of a folder in the Hugging Face layout.
    public init(folder: String) throws {
        let path = folder + "/config.json"
        let checkpoint = try Checkpoint(opening: folder)
        let configuration = try DeBERTaConfiguration(JSON(contentsOf: path), source: path)
        try self.init(configuration, weights: checkpoint.tensors(), source: checkpoint.path)
    }

    /// A model with the weights that stand in a checkpoint under `prefix`, such as `text_encoder.`.
    public init(
        _ configuration: DeBERTaConfiguration, weights: [String: Tensor], prefix: String? = nil,
        source: String
    ) throws {
        try self.init(configuration)
        let keepPositions = configuration.addsPositions
        try load(Self.renamed(weights, prefix: prefix, keepPositions: keepPositions), from: source)
    }

    /// Lists embeddings, encoder.layer.0 and on, encoder.rel_embeddings, encoder.LayerNorm and encoder.conv.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("embeddings", &embeddings)
        try visitor("encoder.layer", &layers)
        try visitor("encoder.rel_embeddings", &relativeTable)
        try visitor("encoder.LayerNorm", &relativeNorm)
        try visitor("encoder.conv", &convolution)
    }

    /// Brings the names of a checkpoint to this module's: without `prefix` (`deberta.` where it is seen), the heads' own
    /// weights and position counters left out, and the table of absolute positions too where it is not used: published
    /// files have it all the same.
    public static func renamed(
        _ weights: [String: Tensor], prefix: String? = nil, keepPositions: Bool = false
    ) -> [String: Tensor] {
        let seen = weights.keys.contains { $0.hasPrefix("deberta.embeddings.") }
        let prefix = prefix ?? (seen ? "deberta." : "")
        var result: [String: Tensor] = [:]
        for (name, tensor) in weights where name.hasPrefix(prefix) {
            let key = String(name.dropFirst(prefix.count))
            let isHead = heads.contains { key.hasPrefix($0) }
            let isPosition = key == "embeddings.position_embeddings.weight" && !keepPositions
            if !isHead && !isPosition && key != "embeddings.position_ids" { result[key] = tensor }
        }
        return result
    }

    private static let heads = [
        "lm_predictions.", "mask_predictions.", "cls.", "pooler.", "classifier.", "qa_outputs.",
    ]

    /// The whole encoder: ids and mask [B, T] → hidden [B, T, D].
    ///
    /// - Parameter mask: true for real tokens; nil when no row is padded.
    public func callAsFunction(
        _ ids: Tensor, mask: Tensor? = nil, segments: Tensor? = nil, padding: Padding = .mean,
        dropout: Double = 0, tap: Tap? = nil
    ) throws -> Tensor {
        let hidden = try embeddings(ids, mask: mask, segments: segments, dropout: dropout)
        return try encode(
            hidden, mask: mask, layers: 0..<layers.count, padding: padding, dropout: dropout, tap: tap)
    }

    /// The layers of a range, on hidden states [B, T, D] that stand before its first.
    public func encode(
        _ hidden: Tensor, mask: Tensor? = nil, layers range: Range<Int>, padding: Padding = .mean,
        dropout: Double = 0, tap: Tap? = nil
    ) throws -> Tensor {
        guard hidden.rank == 3, range.lowerBound >= 0, range.upperBound <= layers.count else {
            throw TorchError(
                .shape, operation: "DeBERTa",
                message:
                    "needs [B, T, D] and layers within 0..<\(layers.count), got \(hidden.shape) and \(range)")
        }
        let mask = try mask.map { try $0.to(.bool) }
        let context = DeBERTaContext(
            positions: try relativePositions(hidden.shape[1], dropout: dropout), mask: mask,
            padding: padding, dropout: dropout, tap: tap)
        var states = hidden
        for index in range {
            states = try layers[index](states, context, index)
            if index == 0, let convolution {
                states = try convolution(hidden, residual: states, mask: mask, dropout: dropout)
            }
            states = try tap.at(.blockOutput, index, states)
        }
        return states
    }

    /// The rows of the table that texts of this length need, and which of them belongs to each pair of tokens.
    private func relativePositions(_ length: Int, dropout: Double) throws -> DeBERTaPositions? {
        guard let relative = configuration.relative, let table = relativeTable, length > 0 else { return nil }
        let (span, device) = (relative.span, table.weight.device)
        let tokens = try Tensor.arange(0, Double(length))
        let distances = try tokens.unsqueezed(1) - tokens  // query minus key
        let rows = try Self.bucket(distances, relative) + Double(span)
        let indices = try rows.clamped(0, Double(2 * span - 1))
        let (first, last) = (try indices.min().integerItem(), try indices.max().integerItem())
        var used = try table.weight.sliced(0, first, last + 1)  // [R, D]
        if let relativeNorm { used = try relativeNorm(used) }
        return DeBERTaPositions(
            table: try used.dropout(dropout).unsqueezed(0), indices: try (indices - Double(first)).to(device))
    }

    /// The bucket of distances (query minus key, int64), int64 with their sign: exact up to half the buckets, then
    /// logarithmic up to `maximumDistance`. Computed in float32, as the reference does.
    public static func bucket(_ distances: Tensor, _ relative: DeBERTaConfiguration.Relative) throws -> Tensor
    {
        guard let buckets = relative.buckets else { return distances }
        let middle = Double(buckets / 2)
        let size = try distances.abs()
        let widest = try Tensor(full: Double(relative.maximumDistance - 1) / middle, []).log()
        let far = try (size.to(.float32).clamped(middle, 2_147_483_648) / middle).log() / widest
        let bucket = try (far * (middle - 1)).ceil() + middle
        return try .choose(size .<= middle, distances, bucket.to(.int64) * distances.sign())
    }
}

/// The relative positions of texts of one length.
struct DeBERTaPositions {
    /// [1, R, D]
    let table: Tensor
    /// For each query and key the row of the table, [T, T].
    let indices: Tensor
}

/// What all layers of one pass share.
struct DeBERTaContext {
    let positions: DeBERTaPositions?
    /// [B, T], true for real tokens; nil when no row is padded.
    let mask: Tensor?
    let padding: DeBERTa.Padding
    let dropout: Double
    let tap: Tap?
}

/// Word, position and segment tables, summed, brought to the width of a token and normalised; padding is zero.
public struct DeBERTaEmbeddings: Module {
    /// [vocabulary, embedding size]
    public var word: Embedding
    /// [positions, embedding size], nil when positions are only relative.
    public var position: Embedding?
    /// [segments, embedding size]
    public var segment: Embedding?
    /// embed_proj, embedding size → D.
    public var projection: Linear?
    /// Over D.
    public var norm: LayerNorm

    init(_ configuration: DeBERTaConfiguration) throws {
        let size = configuration.embeddingSize
        func table(_ count: Int) throws -> Embedding { try Embedding(count, size, .normal(deviation: 0.02)) }
        word = try table(configuration.vocabularySize)
        position = configuration.addsPositions ? try table(configuration.positions) : nil
        segment = configuration.segments > 0 ? try table(configuration.segments) : nil
        projection =
            size == configuration.hiddenSize
            ? nil : try Linear(size, configuration.hiddenSize, bias: false, .bert)
        norm = try LayerNorm(configuration.hiddenSize, epsilon: configuration.normEpsilon)
    }

    /// Lists word_embeddings, position_embeddings, token_type_embeddings, embed_proj and LayerNorm.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("word_embeddings", &word)
        try visitor("position_embeddings", &position)
        try visitor("token_type_embeddings", &segment)
        try visitor("embed_proj", &projection)
        try visitor("LayerNorm", &norm)
    }

    /// ids [B, T] → [B, T, D]
    public func callAsFunction(
        _ ids: Tensor, mask: Tensor? = nil, segments: Tensor? = nil, dropout: Double = 0
    ) throws -> Tensor {
        var sum = try word(ids)
        if let position {
            let (length, limit) = (ids.shape.last ?? 0, position.weight.shape.first ?? 0)
            guard length <= limit else {
                throw VQAError(
                    "cannot read the text",
                    because: "it has \(length) tokens, the model has \(limit) positions",
                    remedy: "shorten it")
            }
            sum = try sum + position(.arange(0, Double(length)).to(ids.device))
        }
        if let segment { sum = try sum + segment(segments ?? .zeros(ids.shape, .int64, on: ids.device)) }
        if let projection { sum = try projection(sum) }
        var normed = try norm(sum)
        if let mask { normed = try normed * mask.to(normed.dtype).unsqueezed(2) }
        return try normed.dropout(dropout)
    }
}

/// One encoder layer: disentangled attention, then feed-forward, each with residual sum and norm after it.
public struct DeBERTaLayer: Module {
    /// attention.self.query_proj, D → D.
    public var query: Linear
    /// attention.self.key_proj, D → D.
    public var key: Linear
    /// attention.self.value_proj, D → D.
    public var value: Linear
    /// attention.self.pos_key_proj, D → D, where positions have projections of their own.
    public var positionKey: Linear?
    /// attention.self.pos_query_proj, D → D, likewise.
    public var positionQuery: Linear?
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
    private let terms: Set<DeBERTaConfiguration.Term>
    private let scale: Double

    init(_ configuration: DeBERTaConfiguration) throws {
        let size = configuration.hiddenSize
        terms = configuration.terms
        heads = configuration.heads
        query = try Linear(size, size, .bert)
        key = try Linear(size, size, .bert)
        value = try Linear(size, size, .bert)
        let own = configuration.relative.map { !$0.sharesProjections } ?? false
        positionKey = own && terms.contains(.contentToPosition) ? try Linear(size, size, .bert) : nil
        positionQuery = own && terms.contains(.positionToContent) ? try Linear(size, size, .bert) : nil
        attentionOutput = try Linear(size, size, .bert)
        attentionNorm = try LayerNorm(size, epsilon: configuration.normEpsilon)
        intermediate = try Linear(size, configuration.intermediateSize, .bert)
        output = try Linear(configuration.intermediateSize, size, .bert)
        outputNorm = try LayerNorm(size, epsilon: configuration.normEpsilon)
        // All terms are scaled as one sum of 1 + terms products.
        scale = 1 / (Double(size / heads) * Double(1 + terms.count)).squareRoot()
    }

    /// Lists attention.self and attention.output, then intermediate and output, norms included.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("attention.self.query_proj", &query)
        try visitor("attention.self.key_proj", &key)
        try visitor("attention.self.value_proj", &value)
        try visitor("attention.self.pos_key_proj", &positionKey)
        try visitor("attention.self.pos_query_proj", &positionQuery)
        try visitor("attention.output.dense", &attentionOutput)
        try visitor("attention.output.LayerNorm", &attentionNorm)
        try visitor("intermediate.dense", &intermediate)
        try visitor("output.dense", &output)
        try visitor("output.LayerNorm", &outputNorm)
    }

    /// [B, T, D] → [B, T, D], before the site blockOutput.
    func callAsFunction(_ input: Tensor, _ context: DeBERTaContext, _ index: Int) throws -> Tensor {
        let (tap, dropout) = (context.tap, context.dropout)
        let x = try tap.at(.blockInput, index, input)
        let seen = try tap.at(.attentionInput, index, x)
        let real = try context.mask?.unsqueezed(1).unsqueezed(3)  // [B, 1, T, 1]
        var query = try splitHeads(query(seen), heads)  // [B, H, T, D/H]
        // A padded query sees all keys alike, whatever it is: its scores are 0, and nothing gets a gradient from them.
        if let real { query = try query * real.to(query.dtype) }
        let key = try splitHeads(key(seen), heads)
        var scores = try context.positions.flatMap { try positionScores(query, key, $0) }
        if let real {
            let (length, padding) = (real.shape[2], try real.not())
            let all = try scores ?? .zeros([real.shape[0], 1, length, length], query.dtype, on: query.device)
            scores = try all.masked(padding.transposed(2, 3), lowestScore(query.dtype)).masked(padding, 0)
        }
        var attended = try query.attention(
            key: key, value: splitHeads(value(seen), heads), mask: scores?.to(query.dtype), dropout: dropout,
            scale: scale)
        if context.padding == .zero, let real { attended = try attended * real.to(attended.dtype) }
        attended = try tap.at(.headOutput, index, attended)
        let projected = try tap.at(
            .attentionOutput, index, attentionOutput(mergeHeads(attended)).dropout(dropout))
        let middle = try attentionNorm(projected + x)
        let fed = try tap.at(.mlpOutput, index, output(intermediate(middle).gelu()).dropout(dropout))
        return try outputNorm(fed + middle)
    }

    /// The scaled terms between content and position, [B, H, T, T].
    private func positionScores(_ query: Tensor, _ key: Tensor, _ positions: DeBERTaPositions) throws
        -> Tensor?
    {
        let shape = query.shape
        let pairs = [shape[0], shape[1], shape[2], shape[2]]
        var sum: Tensor?
        if terms.contains(.contentToPosition) {
            let keys = try splitHeads((positionKey ?? self.key)(positions.table), heads)  // [1, H, R, D/H]
            let products = try query.matmul(keys.transposed(2, 3))  // [B, H, T, R]
            sum = try products.gathered(3, positions.indices.expanded(pairs))
        }
        if terms.contains(.positionToContent) {
            let queries = try splitHeads((positionQuery ?? self.query)(positions.table), heads)
            let products = try key.matmul(queries.transposed(2, 3))  // [B, H, T, R], rows are keys
            let indices = try positions.indices.transposed(0, 1).expanded(pairs)
            let gathered = try products.gathered(3, indices).transposed(2, 3)
            sum = try sum.map { try $0 + gathered } ?? gathered
        }
        return try sum.map { try $0 * scale }
    }
}

/// A convolution over the tokens of the embeddings, added to the output of layer 0 and normalised.
public struct DeBERTaConvolution: Module {
    /// conv.weight, [D, D / groups, kernel].
    public var weight: Tensor
    /// conv.bias, [D].
    public var bias: Tensor
    /// LayerNorm, after the residual sum.
    public var norm: LayerNorm
    private let shape: DeBERTaConfiguration.Convolution

    init(_ shape: DeBERTaConfiguration.Convolution, _ size: Int, epsilon: Double) throws {
        weight = try .empty([size, size / shape.groups, shape.kernel], on: .meta)
        bias = try .empty([size], on: .meta)
        norm = try LayerNorm(size, epsilon: epsilon)
        self.shape = shape
    }

    /// Lists conv.weight, conv.bias and LayerNorm.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("conv.weight", &weight, .normal(deviation: 0.02))
        try visitor("conv.bias", &bias, .zeros)
        try visitor("LayerNorm", &norm)
    }

    /// Input and residual [B, T, D] → [B, T, D]; padding becomes zero.
    func callAsFunction(_ input: Tensor, residual: Tensor, mask: Tensor?, dropout: Double) throws -> Tensor {
        let row = try input.transposed(1, 2).unsqueezed(2)  // [B, D, 1, T]
        let margin = shape.kernel / 2
        var out = try row.padded([margin, margin]).convolved(
            weight.unsqueezed(2), bias, groups: shape.groups)
        out = try out.squeezed(2).transposed(1, 2)  // [B, T, D]
        if let mask { out = try out.masked(mask.unsqueezed(2).not(), 0) }
        out = try out.dropout(dropout)
        switch shape.activation {
        case .tanh: out = try out.tanh()
        case .gelu: out = try out.gelu()
        case .relu: out = try out.relu()
        }
        let normed = try norm(residual + out)
        return try mask.map { try normed * $0.to(normed.dtype).unsqueezed(2) } ?? normed
    }
}
