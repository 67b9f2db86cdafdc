import Support
import Torch

/// A decoder of the LLaMA family (Touvron et al. 2023, arXiv 2302.13971): pre-norm, rotary positions, gated feed-forward,
/// grouped key heads. Keys as in the reference's `LlamaForCausalLM`, which `MistralForCausalLM` and `Qwen2ForCausalLM`
/// share.
///
/// Legend: B batch, T tokens, S tokens with those of the cache, D hidden size, H query heads, Hk key heads, Dh width of a
/// head, V vocabulary.
public struct Decoder: Module {
    /// The shape it was built with.
    public let configuration: DecoderConfiguration
    /// model.embed_tokens, [V, D].
    public var embedding: Embedding
    /// model.layers
    public var layers: [DecoderLayer]
    /// model.norm, after the last layer.
    public var norm: RMSNorm
    /// lm_head, [V, D]; nil when the token table serves.
    public var head: Linear?

    /// A decoder without weights, on the meta device.
    public init(_ configuration: DecoderConfiguration) throws {
        self.configuration = configuration
        let size = configuration.hiddenSize
        embedding = try Embedding(configuration.vocabularySize, size, .normal(deviation: 0.02))
        layers = try (0..<configuration.layers).map { try DecoderLayer(configuration, $0) }
        norm = try RMSNorm(size, epsilon: configuration.normEpsilon)
        head = configuration.isTied ? nil : try Linear(size, configuration.vocabularySize, bias: false)
    }

    /// Lists model.embed_tokens, model.layers, model.norm and, unless tied, lm_head.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("model.embed_tokens", &embedding)
        try visitor("model.layers", &layers)
        try visitor("model.norm", &norm)
        try visitor("lm_head", &head)
    }

    /// Brings the names of a checkpoint to this module's: `model.` added to those of a bare `LlamaModel`, tables of rotary
    /// frequencies dropped, and the output map of a tied model, which some files repeat.
    public static func renamed(_ weights: [String: Tensor], isTied: Bool) -> [String: Tensor] {
        let isBare = weights["embed_tokens.weight"] != nil
        var result: [String: Tensor] = [:]
        for (name, tensor) in weights {
            if name.hasSuffix("rotary_emb.inv_freq") || (isTied && name == "lm_head.weight") { continue }
            result[isBare && name != "lm_head.weight" ? "model." + name : name] = tensor
        }
        return result
    }

    /// int64 [B, T] → [B, T, D]
    public func embed(_ ids: Tensor) throws -> Tensor { try embedding(ids).to(norm.weight.dtype) }

    /// Hidden states after the final norm: [B, T, D] → [B, T, D].
    ///
    /// - Parameters:
    ///   - embeddings: of the tokens that follow those of the cache.
    ///   - mask: [B, S], true for real tokens, those of the cache included; nil when no row is padded. Positions count the
    ///     real tokens of a row.
    ///   - cache: receives the keys and values; nil when the text is seen once.
    ///   - range: the layers to run; all of them, and the final norm, when nil. Without the last layer the result is what
    ///     enters the next one, and the cache waits for the layers above: it counts the tokens when the last layer has run.
    ///   - tail: compute only so many of the last positions in the last layer; the others lend it their keys and values.
    ///     Equal to computing all and taking these. Taps of that layer see these positions.
    ///   - bias: what is added to the attention scores of a layer, by its number: [H or 1, 1, S].
    ///   - attention: bool [B or 1, 1, T, S], true where a query sees a key, in the place of the causal mask and of `mask`;
    ///     every query must see a key. Layers that run by ranges may each have their own.
    ///   - positions: int64 [B or 1, T], which `mask` would give otherwise.
    public func hidden(
        _ embeddings: Tensor, mask: Tensor? = nil, cache: KeyValueCache? = nil, tap: Tap? = nil,
        layers range: Range<Int>? = nil, tail: Int? = nil, bias: [Int: Tensor] = [:],
        attention: Tensor? = nil, positions: Tensor? = nil
    ) throws -> Tensor {
        let shape = embeddings.shape
        guard shape.count == 3, shape[2] == configuration.hiddenSize else {
            throw TorchError(
                .shape, operation: "decoder",
                message: "needs [B, T, \(configuration.hiddenSize)], got \(shape)")
        }
        let context = try DecoderContext(
            configuration, rows: shape[0], tokens: shape[1], past: cache?.length ?? 0, mask: mask,
            attention: attention, positions: positions, dtype: embeddings.dtype)
        var hidden = embeddings
        for index in range ?? 0..<layers.count {
            let wanted = index == layers.count - 1 ? tail.map { min($0, shape[1]) } : nil
            hidden = try layers[index](
                hidden, context, cache, index, tap, tail: wanted, bias: bias[index])
        }
        guard range.map({ $0.upperBound == layers.count }) ?? true else { return hidden }
        cache?.advance(by: shape[1])
        return try tap.at(.finalNorm, layers.count, norm(hidden))
    }

    /// [B, T, D] → scores of the next token, [B, T, V].
    public func logits(_ hidden: Tensor) throws -> Tensor {
        if let head { return try head(hidden) }
        if let table = embedding.quantised { return try hidden.linear(table) }
        return try hidden.linear(embedding.weight.to(hidden.dtype))
    }

    /// This decoder as one call a token, for texts of at most `capacity` tokens; nil where that form does not compute what
    /// this one does: windows that differ between layers, other activations, rotations that change while the text grows,
    /// weights that are not on the CPU.
    func fused(capacity: Int) throws -> FusedDecoder? {
        let windows = Set(configuration.windows)
        if case .dynamic = configuration.rotary.scaling { return nil }
        guard configuration.activation == .silu, windows.count <= 1, norm.weight.device == .cpu else {
            return nil
        }
        var output = head
        if output == nil {
            var tied = try Linear(configuration.hiddenSize, configuration.vocabularySize, bias: false)
            if let table = embedding.quantised {
                try tied.quantise(table)
            } else {
                tied.weight = embedding.weight
            }
            output = tied
        }
        guard let output else { return nil }
        let (cosines, sines) = try configuration.rotary.tables(length: capacity)
        return try FusedDecoder(
            layers: layers.map {
                FusedDecoder.Layer(
                    inputNorm: $0.inputNorm.weight, query: $0.query, key: $0.key, value: $0.value,
                    output: $0.output, outputNorm: $0.middleNorm.weight, gate: $0.gate, up: $0.up,
                    down: $0.down)
            },
            embedding: embedding, finalNorm: norm.weight, head: output,
            shape: FusedDecoder.Shape(
                heads: configuration.heads, keyValueHeads: configuration.keyValueHeads,
                headSize: configuration.headSize, epsilon: configuration.normEpsilon,
                window: windows.first ?? nil),
            cosines: cosines, sines: sines)
    }

    /// An empty cache for `rows` texts of at most `capacity` tokens.
    public func cache(rows: Int, capacity: Int) throws -> KeyValueCache {
        try KeyValueCache(
            layers: layers.count, rows: rows, heads: configuration.keyValueHeads, capacity: capacity,
            headSize: configuration.headSize, dtype: norm.weight.dtype)
    }
}

/// What the layers of one forward pass share: rotations and attention masks.
struct DecoderContext {
    let rotation: Rotation
    /// True where every query sees exactly the keys up to its own; no mask is needed then.
    let isCausal: Bool
    /// Queries of every row.
    private let tokens: Int
    /// Keys of every row.
    private let length: Int
    /// [B or 1, 1, T, S], true where a query sees a key; nil when `isCausal`, or when one query sees all.
    private let full: Tensor?
    /// The same, cut to the window of a layer.
    private let windowed: [Int: Tensor]

    init(
        _ configuration: DecoderConfiguration, rows: Int, tokens: Int, past: Int, mask: Tensor?,
        attention: Tensor? = nil, positions given: Tensor? = nil, dtype: DType
    ) throws {
        let length = past + tokens
        (self.tokens, self.length) = (tokens, length)
        func require(_ tensor: Tensor?, _ tail: [Int], _ name: String) throws {
            guard let shape = tensor?.shape, ![rows, 1].contains(where: { [$0] + tail == shape }) else {
                return
            }
            throw TorchError(
                .shape, operation: "decoder", message: "the \(name) needs \([rows] + tail), got \(shape)")
        }
        if let mask, mask.shape != [rows, length] {
            throw TorchError(
                .shape, operation: "decoder", message: "the mask needs \([rows, length]), got \(mask.shape)")
        }
        try require(attention, [1, tokens, length], "attention mask")
        try require(given, [tokens], "table of positions")
        let keys = try mask?.to(.bool)
        let positions =
            if let given {
                given
            } else if let keys {
                try (keys.to(.int64).cumulativeSum(1) - 1).clamped(0, Double(1 << 24)).sliced(1, past)
            } else {
                try Tensor.arange(Double(past), Double(length)).unsqueezed(0)
            }
        rotation = try Rotation(configuration.rotary, positions: positions, length: length, dtype: dtype)
        let widths = Set(configuration.windows.compactMap { $0 }.filter { $0 < length })
        isCausal = keys == nil && past == 0 && attention == nil
        let needsFull = !isCausal && !(keys == nil && attention == nil && tokens == 1)
        guard needsFull || !widths.isEmpty else {
            (full, windowed) = (nil, [:])
            return
        }
        // Distance of each query from each key, [T, S].
        let query = try Tensor.arange(Double(past), Double(length)).unsqueezed(1)
        let distance = try query - Tensor.arange(0, Double(length)).unsqueezed(0)
        func seen(_ allowed: Tensor) throws -> Tensor {
            if let attention { return try attention.to(.bool).and(allowed) }
            guard let keys else { return try allowed.unsqueezed(0).unsqueezed(0) }
            // A padded query sees itself: a row without any key has no softmax. No real token sees it.
            return try allowed.and(keys.unsqueezed(1)).or(distance .== 0).unsqueezed(1)
        }
        let causal = try distance .>= 0
        full = try attention?.to(.bool) ?? (needsFull ? seen(causal) : nil)
        windowed = try Dictionary(
            uniqueKeysWithValues: widths.map { ($0, try seen(causal.and(distance .< Double($0)))) })
    }

    /// The causal mask of all queries, or of the last `tail`, [T, S]; nil when there is one query, which sees all.
    func causal(tail: Int?) throws -> Tensor? {
        let queries = tail ?? tokens
        guard queries > 1 else { return nil }
        return try Tensor.ones([queries, length], .bool).lowerTriangle(length - queries)
    }

    /// The mask of a layer with this window, and whether plain causal attention serves; with `tail`, for so many of the last
    /// queries.
    func attention(window: Int?, tail: Int? = nil) throws -> (mask: Tensor?, causal: Bool) {
        let mask = window.flatMap { windowed[$0] } ?? full
        guard let tail else { return (mask, mask == nil && isCausal) }
        if let mask { return (try mask.sliced(2, mask.shape[2] - tail), false) }
        guard tail > 1, isCausal else { return (nil, false) }
        return (try causal(tail: tail), false)
    }
}

/// One layer: attention, then a gated feed-forward part, each behind a norm and added to the residual stream.
public struct DecoderLayer: Module {
    /// self_attn.q_proj, D → H · Dh.
    public var query: Linear
    /// self_attn.k_proj, D → Hk · Dh.
    public var key: Linear
    /// self_attn.v_proj, D → Hk · Dh.
    public var value: Linear
    /// self_attn.o_proj, H · Dh → D.
    public var output: Linear
    /// mlp.gate_proj, D → intermediate size.
    public var gate: Linear
    /// mlp.up_proj, D → intermediate size.
    public var up: Linear
    /// mlp.down_proj, intermediate size → D.
    public var down: Linear
    /// input_layernorm, before the attention.
    public var inputNorm: RMSNorm
    /// post_attention_layernorm, before the feed-forward part.
    public var middleNorm: RMSNorm
    private let heads: Int
    private let keyValueHeads: Int
    private let window: Int?
    private let activation: ActivationFunction

    init(_ configuration: DecoderConfiguration, _ index: Int) throws {
        let (size, inner) = (configuration.hiddenSize, configuration.intermediateSize)
        let wide = configuration.heads * configuration.headSize
        let narrow = configuration.keyValueHeads * configuration.headSize
        let start: (Initialization, Initialization) = (.normal(deviation: 0.02), .zeros)
        query = try Linear(size, wide, bias: configuration.hasQueryBias, start)
        key = try Linear(size, narrow, bias: configuration.hasQueryBias, start)
        value = try Linear(size, narrow, bias: configuration.hasQueryBias, start)
        output = try Linear(wide, size, bias: configuration.hasOutputBias, start)
        gate = try Linear(size, inner, bias: configuration.hasFeedForwardBias, start)
        up = try Linear(size, inner, bias: configuration.hasFeedForwardBias, start)
        down = try Linear(inner, size, bias: configuration.hasFeedForwardBias, start)
        inputNorm = try RMSNorm(size, epsilon: configuration.normEpsilon)
        middleNorm = try RMSNorm(size, epsilon: configuration.normEpsilon)
        (heads, keyValueHeads) = (configuration.heads, configuration.keyValueHeads)
        window = configuration.windows.indices.contains(index) ? configuration.windows[index] : nil
        activation = configuration.activation
    }

    /// Lists self_attn, mlp and the two norms.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("self_attn.q_proj", &query)
        try visitor("self_attn.k_proj", &key)
        try visitor("self_attn.v_proj", &value)
        try visitor("self_attn.o_proj", &output)
        try visitor("mlp.gate_proj", &gate)
        try visitor("mlp.up_proj", &up)
        try visitor("mlp.down_proj", &down)
        try visitor("input_layernorm", &inputNorm)
        try visitor("post_attention_layernorm", &middleNorm)
    }

    /// [B, T, D] → [B, T, D], or the last `tail` positions of it.
    func callAsFunction(
        _ input: Tensor, _ context: DecoderContext, _ cache: KeyValueCache?, _ layer: Int, _ tap: Tap?,
        tail: Int? = nil, bias: Tensor? = nil
    ) throws -> Tensor {
        let whole = try tap.at(.blockInput, layer, input)
        let normed = try tap.at(.attentionInput, layer, inputNorm(whole))
        let attended = try attend(rounded(normed), context, cache, layer, tap, tail, bias)
        let residual = try tail.map { try whole.sliced(1, whole.shape[1] - $0) } ?? whole
        let middle = try residual + tap.at(.attentionOutput, layer, attended)
        let fedInput = try rounded(middleNorm(middle))
        let fed = try down(activation.gated(gate(fedInput), up(fedInput)))
        return try tap.at(.blockOutput, layer, middle + tap.at(.mlpOutput, layer, fed))
    }

    /// What enters the maps of a prompt, in bfloat16 where their products are rounded to it anyway: so is all that is between
    /// them, for taps too. The residual stream stays as it is.
    private func rounded(_ x: Tensor) throws -> Tensor {
        guard query.quantised?.rounds == true, x.dtype == .float32, x.shape[1] > 32 else { return x }
        return try x.to(.bfloat16)
    }

    private func attend(
        _ x: Tensor, _ context: DecoderContext, _ cache: KeyValueCache?, _ layer: Int, _ tap: Tap?,
        _ tail: Int?, _ bias: Tensor?
    ) throws -> Tensor {
        let asking = try tail.map { try x.sliced(1, x.shape[1] - $0) } ?? x
        let turning = try tail.map { try context.rotation.tail($0) } ?? context.rotation
        let queries = try turning(splitHeads(query(asking), heads))  // [B, H, T, Dh]
        var keys = try context.rotation(splitHeads(key(x), keyValueHeads))  // [B, Hk, T, Dh]
        var values = try splitHeads(value(x), keyValueHeads)
        if let cache { (keys, values) = try cache.store(keys, values, layer: layer) }  // [B, Hk, S, Dh]
        (keys, values) = (try keys.to(queries.dtype), try values.to(queries.dtype))
        var (mask, causal) = try context.attention(window: window, tail: tail)
        if let bias {
            let hidden = try (mask ?? context.causal(tail: tail))?.not()
            mask = try hidden.map { try bias.unsqueezed(0).masked($0, -.infinity) } ?? bias.unsqueezed(0)
            causal = false
        }
        let mixed = try queries.attention(
            key: keys, value: values, mask: mask, causal: causal, grouped: heads != keyValueHeads)
        return try output(mergeHeads(tap.at(.headOutput, layer, mixed)))
    }
}
