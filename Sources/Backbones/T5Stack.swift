import Support
import Torch

/// The encoder or the decoder of a ``T5``: blocks and a last norm. Letters as there.
public struct T5Stack: Module {
    /// From the input upwards. Block 0 owns the table of position biases.
    public var blocks: [T5Block]
    /// Over D, after the last block.
    public var finalNorm: RMSNorm
    private let isDecoder: Bool
    private let buckets: Int
    private let maximumDistance: Int
    /// What taps call block 0.
    private let firstLayer: Int

    init(_ configuration: T5Configuration, isDecoder: Bool) throws {
        blocks = try (0..<(isDecoder ? configuration.decoderLayers : configuration.layers)).map {
            try T5Block(configuration, isDecoder: isDecoder, hasBias: $0 == 0)
        }
        finalNorm = try RMSNorm(configuration.hiddenSize, epsilon: configuration.normEpsilon)
        self.isDecoder = isDecoder
        buckets = configuration.buckets
        maximumDistance = configuration.maximumDistance
        firstLayer = isDecoder ? configuration.layers : 0
    }

    /// Lists block.0 and on, and final_layer_norm.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("block", &blocks)
        try visitor("final_layer_norm", &finalNorm)
    }

    /// The blocks of a range: [B, T, D] → [B, T, D].
    ///
    /// - Parameters:
    ///   - mask: [B, T], true for real tokens, those in the cache included.
    ///   - memory: what the decoder's cross-attention reads.
    ///   - cache: keys and values of the tokens before these; theirs are stored, and not yet counted.
    func callAsFunction(
        _ hidden: Tensor, layers: Range<Int>, mask: Tensor?, memory: T5Memory? = nil,
        cache: KeyValueCache? = nil, pass: T5Pass
    ) throws -> Tensor {
        guard hidden.rank == 3, (0...blocks.count).contains(layers.lowerBound),
            layers.upperBound <= blocks.count
        else {
            throw TorchError(
                .shape, operation: "T5",
                message:
                    "needs [B, T, D] and blocks within 0..<\(blocks.count), got \(hidden.shape) and \(layers)"
            )
        }
        let queries = hidden.shape[1]
        let keys = queries + (cache?.length ?? 0)
        let relative = try relativePositions(queries, keys, on: hidden.device)
        let hiding = try hiding(relative, mask, pass, dtype: hidden.dtype)
        let biased = try positionBias(relative, dtype: hidden.dtype).map { bias in
            try hiding.map { try bias + $0 } ?? bias
        }
        var hidden = hidden
        for index in layers {
            let usesBias = index == 0 || pass.bias == .everyBlock
            hidden = try blocks[index](
                hidden, scores: usesBias ? biased : hiding, memory: memory, cache: cache, index: index,
                layer: firstLayer + index, pass: pass)
        }
        return hidden
    }

    /// The last norm and its dropout: [B, T, D] → [B, T, D].
    public func normed(_ hidden: Tensor, pass: T5Pass = T5Pass()) throws -> Tensor {
        try pass.tap.at(.finalNorm, firstLayer + blocks.count, finalNorm(hidden)).dropout(pass.dropout)
    }

    // MARK: What is added to the scores of self-attention

    /// Position of the key minus position of the query, [T, keys]; the queries are the last of the keys.
    private func relativePositions(_ queries: Int, _ keys: Int, on device: Device) throws -> Tensor {
        let positions = try Tensor.arange(0, Double(keys)).to(device)
        return try positions - positions.sliced(0, keys - queries).unsqueezed(1)
    }

    /// The learnt bias, [1, H, T, keys].
    private func positionBias(_ relative: Tensor, dtype: DType) throws -> Tensor? {
        try blocks.first?.attention.relativeBias.map { table in
            let bucket = try T5.bucket(
                relative, isBidirectional: !isDecoder, buckets: buckets, maximumDistance: maximumDistance)
            return try table(bucket).permuted([2, 0, 1]).unsqueezed(0).to(dtype)
        }
    }

    /// The lowest number at future and padded keys, 0 elsewhere: [T, keys] or [B, 1, 1 or T, keys]; nil when all are seen.
    private func hiding(_ relative: Tensor, _ mask: Tensor?, _ pass: T5Pass, dtype: DType) throws -> Tensor? {
        var hidden: Tensor?
        if isDecoder, pass.isCausal, relative.shape[0] > 1 { hidden = try relative .> 0 }
        if let mask {
            let padding = try mask.to(.bool).not().unsqueezed(1).unsqueezed(1)  // [B, 1, 1, keys]
            hidden = try hidden.map { try $0.or(padding) } ?? padding
        }
        return try hidden.map {
            try Tensor.zeros($0.shape, dtype, on: $0.device).masked($0, lowestScore(dtype))
        }
    }
}

extension T5 {
    /// The row of the bias table for each relative position (key minus query), int64 of any shape.
    ///
    /// Half of the rows (of each direction) stand for one distance each, the others for ranges that widen
    /// logarithmically up to `maximumDistance`. In one direction keys after the query share row 0.
    public static func bucket(
        _ relative: Tensor, isBidirectional: Bool, buckets: Int, maximumDistance: Int
    ) throws -> Tensor {
        let rows = isBidirectional ? buckets / 2 : buckets
        let exact = Double(rows / 2)
        let distance = try isBidirectional ? relative.abs() : (-relative).clamped(0, 2_147_483_648)
        let widths = try Tensor([Double(maximumDistance) / exact]).log().item()
        let logarithm = try (distance.to(.float32).clamped(exact, 2_147_483_648) / exact).log()
        let far = try (logarithm / widths * (Double(rows) - exact)).to(.int64) + exact
        let row = try Tensor.choose(distance .< exact, distance, far.clamped(0, Double(rows - 1)))
        return try isBidirectional ? row + (relative .> 0).to(.int64) * Double(rows) : row
    }
}

/// One block: self-attention, in the decoder cross-attention, then feed-forward; each has its norm before it.
public struct T5Block: Module {
    /// SelfAttention; in block 0 with the table of position biases.
    public var attention: T5Attention
    /// Before the self-attention.
    public var attentionNorm: RMSNorm
    /// EncDecAttention, in the decoder.
    public var crossAttention: T5Attention?
    /// Before the cross-attention.
    public var crossNorm: RMSNorm?
    /// DenseReluDense.
    public var feedForward: T5FeedForward
    /// Before the feed-forward part.
    public var feedForwardNorm: RMSNorm

    init(_ configuration: T5Configuration, isDecoder: Bool, hasBias: Bool) throws {
        func norm() throws -> RMSNorm {
            try RMSNorm(configuration.hiddenSize, epsilon: configuration.normEpsilon)
        }
        attention = try T5Attention(configuration, hasBias: hasBias)
        attentionNorm = try norm()
        crossAttention = isDecoder ? try T5Attention(configuration, hasBias: false) : nil
        crossNorm = isDecoder ? try norm() : nil
        feedForward = try T5FeedForward(configuration)
        feedForwardNorm = try norm()
    }

    /// Lists layer.0 (self-attention), in the decoder layer.1 (cross-attention), and the feed-forward part's layer.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        let last = crossAttention == nil ? 1 : 2
        try visitor("layer.0.SelfAttention", &attention)
        try visitor("layer.0.layer_norm", &attentionNorm)
        try visitor("layer.1.EncDecAttention", &crossAttention)
        try visitor("layer.1.layer_norm", &crossNorm)
        try visitor("layer.\(last).DenseReluDense", &feedForward)
        try visitor("layer.\(last).layer_norm", &feedForwardNorm)
    }

    /// [B, T, D] → [B, T, D].
    ///
    /// - Parameters:
    ///   - scores: added to the scores of self-attention.
    ///   - index: of the block in its stack; `layer` is the tap's number.
    func callAsFunction(
        _ input: Tensor, scores: Tensor?, memory: T5Memory?, cache: KeyValueCache?, index: Int, layer: Int,
        pass: T5Pass
    ) throws -> Tensor {
        let tap = pass.tap
        var hidden = try tap.at(.blockInput, layer, input)

        let normed = try tap.at(.attentionInput, layer, attentionNorm(hidden))
        var pair = try attention.keysAndValues(normed)
        if let cache { pair = try cache.store(pair.key, pair.value, layer: index) }
        let heads = try tap.at(
            .headOutput, layer, attention.heads(normed, pair, scores: scores, dropout: pass.dropout))
        let attended = try tap.at(.attentionOutput, layer, attention.output(mergeHeads(heads)))
        hidden = try hidden + attended.dropout(pass.dropout)

        if let crossAttention, let crossNorm {
            guard let memory, memory.pairs.indices.contains(index - memory.first) else {
                throw TorchError(.shape, operation: "T5", message: "the decoder needs what the encoder read")
            }
            let heads = try crossAttention.heads(
                crossNorm(hidden), memory.pairs[index - memory.first], scores: memory.hidden,
                dropout: pass.dropout)
            let read = try tap.at(.crossAttentionOutput, layer, crossAttention.output(mergeHeads(heads)))
            hidden = try hidden + read.dropout(pass.dropout)
        }

        let fed = try tap.at(.mlpOutput, layer, feedForward(feedForwardNorm(hidden), dropout: pass.dropout))
        return try tap.at(.blockOutput, layer, hidden + fed.dropout(pass.dropout))
    }
}

/// Attention without biases and without scaling of the scores; H·K need not equal D.
public struct T5Attention: Module {
    /// q, D → H·K.
    public var query: Linear
    /// k, D → H·K.
    public var key: Linear
    /// v, D → H·K.
    public var value: Linear
    /// o, H·K → D.
    public var output: Linear
    /// relative_attention_bias, [buckets, H], in block 0 of a stack.
    public var relativeBias: Embedding?
    private let heads: Int

    init(_ configuration: T5Configuration, hasBias: Bool) throws {
        let (size, heads) = (configuration.hiddenSize, configuration.heads)
        let inner = heads * configuration.headSize
        let fan = 1 / Double(size).squareRoot()
        func map(_ inputs: Int, _ outputs: Int, _ deviation: Double) throws -> Linear {
            try Linear(inputs, outputs, bias: false, (.normal(deviation: deviation), .zeros))
        }
        // The reference's deviations: the query's is smaller by 1/√K, which stands in for the scaling.
        query = try map(size, inner, fan / Double(configuration.headSize).squareRoot())
        key = try map(size, inner, fan)
        value = try map(size, inner, fan)
        output = try map(inner, size, 1 / Double(inner).squareRoot())
        relativeBias =
            hasBias ? try Embedding(configuration.buckets, heads, .normal(deviation: fan)) : nil
        self.heads = heads
    }

    /// Lists q, k, v, o, and relative_attention_bias when there is one.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("q", &query)
        try visitor("k", &key)
        try visitor("v", &value)
        try visitor("o", &output)
        try visitor("relative_attention_bias", &relativeBias)
    }

    /// [B, S, D] → [B, H, S, K] each.
    func keysAndValues(_ states: Tensor) throws -> (key: Tensor, value: Tensor) {
        (try splitHeads(key(states), heads), try splitHeads(value(states), heads))
    }

    /// Queries [B, T, D] on keys and values [B, H, S, K] → [B, H, T, K]; `scores` are added.
    func heads(_ states: Tensor, _ pair: (key: Tensor, value: Tensor), scores: Tensor?, dropout: Double)
        throws -> Tensor
    {
        let query = try splitHeads(query(states), heads)
        return try query.attention(
            key: pair.key, value: pair.value, mask: scores?.to(query.dtype), dropout: dropout, scale: 1)
    }
}

/// The feed-forward part: one projection or two of which one gates the other, a function, a projection back.
public struct T5FeedForward: Module {
    /// wi, or wi_0 when there is a second: D → d_ff, into the function.
    public var expand: Linear
    /// wi_1, D → d_ff, multiplies the function's output.
    public var gate: Linear?
    /// wo, d_ff → D.
    public var contract: Linear
    private let activation: T5Configuration.Activation

    init(_ configuration: T5Configuration) throws {
        let (size, wide) = (configuration.hiddenSize, configuration.feedForwardSize)
        func map(_ inputs: Int, _ outputs: Int) throws -> Linear {
            try Linear(
                inputs, outputs, bias: false, (.normal(deviation: 1 / Double(inputs).squareRoot()), .zeros))
        }
        expand = try map(size, wide)
        gate = configuration.isGated ? try map(size, wide) : nil
        contract = try map(wide, size)
        activation = configuration.activation
    }

    /// Lists wi and wo, or wi_0, wi_1 and wo.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor(gate == nil ? "wi" : "wi_0", &expand)
        try visitor("wi_1", &gate)
        try visitor("wo", &contract)
    }

    /// [B, T, D] → [B, T, D]
    func callAsFunction(_ x: Tensor, dropout: Double) throws -> Tensor {
        let expanded = try expand(x)
        var active =
            switch activation {
            case .relu: try expanded.relu()
            case .gelu: try expanded.gelu()
            case .geluTanh: try expanded.geluTanh()
            case .silu: try expanded.silu()
            }
        if let gate { active = try active * gate(x) }
        return try contract(active.dropout(dropout))
    }
}
