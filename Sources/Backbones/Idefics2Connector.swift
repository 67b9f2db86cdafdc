import Support
import Torch

/// The shape of what joins Idefics2's image tower to its language model.
public struct Idefics2ConnectorConfiguration: Sendable, Equatable {
    /// Width V of an image token.
    public var imageSize = 768
    /// Width D of the language model and of a latent.
    public var size = 4096
    /// Width of the language model's feed-forward part, taken over for the projection.
    public var intermediateSize = 14336
    /// Of the projection.
    public var activation = ActivationFunction.silu
    /// `resampler_n_latents`: vectors L an image becomes.
    public var latents = 64
    /// `resampler_depth`: layers.
    public var depth = 3
    /// `resampler_n_heads`: query heads.
    public var heads = 16
    /// `resampler_head_dim`: heads × head size need not be the width.
    public var headSize = 96
    /// `num_key_value_heads`: a divisor of the query heads.
    public var keyHeads = 4
    /// Of the resampler's feed-forward parts.
    public var resamplerActivation = ActivationFunction.silu
    /// Added to the mean square in every norm.
    public var normEpsilon = 1e-5

    /// The defaults of the reference's classes; the released model has an image width of 1,152.
    public init() {}

    /// Reads an `Idefics2Config`; a key that is not there has the default of the reference's classes.
    ///
    /// The first releases had no norm epsilon of the resampler's own and took the language model's. A file that gives the
    /// resampler neither that nor its width is of that kind.
    public init(_ json: JSON, source: String) throws {
        let text = json["text_config"] ?? .object([])
        let own = json["perceiver_config"] ?? .object([])
        imageSize = try SigLIPVisionConfiguration(idefics2: json, source: source).hiddenSize
        size = try text.size("hidden_size", size, source: source)
        intermediateSize = try text.size("intermediate_size", intermediateSize, source: source)
        activation = try text.activation("hidden_act", activation, source: source)
        latents = try own.size("resampler_n_latents", latents, source: source)
        depth = try own.depth("resampler_depth", depth, source: source)
        heads = try own.size("resampler_n_heads", heads, source: source)
        headSize = try own.size("resampler_head_dim", headSize, source: source)
        keyHeads = try own.size("num_key_value_heads", keyHeads, source: source)
        resamplerActivation = try own.activation("hidden_act", resamplerActivation, source: source)
        let textEpsilon = try text.epsilon(
            "rms_norm_eps", json["text_config"] == nil ? 1e-5 : 1e-6, source: source)
        let isOld = own["hidden_size"] == nil && own["rms_norm_eps"] == nil
        let isTextWide = own["hidden_size"] == nil || own["hidden_size"]?.integer == size
        normEpsilon =
            isOld || !isTextWide ? textEpsilon : try own.epsilon("rms_norm_eps", 1e-6, source: source)
        try requireMultiple("resampler_n_heads", heads, of: "num_key_value_heads", keyHeads, source: source)
    }
}

/// What joins Idefics2's image tower to its language model (Laurençon et al. 2024): a gated projection, then a resampler with
/// grouped heads. Keys as in the reference's `Idefics2Connector`.
///
/// Legend: B images, N image tokens, L latents, V width of an image token, D width of the language model, H heads.
public struct Idefics2Connector: Module {
    private var projection: GatedFeedForward
    private var latents: Tensor
    private var layers: [Idefics2PerceiverLayer]
    private var norm: RMSNorm

    /// A connector without weights, on the meta device.
    public init(_ configuration: Idefics2ConnectorConfiguration) throws {
        projection = try GatedFeedForward(
            configuration.imageSize, inner: configuration.intermediateSize, configuration.size,
            configuration.activation)
        latents = try .empty([configuration.latents, configuration.size], on: .meta)
        layers = try (0..<configuration.depth).map { _ in try Idefics2PerceiverLayer(configuration) }
        norm = try RMSNorm(configuration.size, epsilon: configuration.normEpsilon)
    }

    /// Lists modality_projection, and perceiver_resampler with latents, layers.0 and on, and norm.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("modality_projection", &projection)
        try visitor("perceiver_resampler.latents", &latents, .ones)
        try visitor("perceiver_resampler.layers", &layers)
        try visitor("perceiver_resampler.norm", &norm)
    }

    /// Image tokens [B, N, V] → soft tokens [B, L, D].
    ///
    /// - Parameter mask: [B, N] or a grid [B, h, w], true where a token shows the image; nil when none is padding.
    public func callAsFunction(_ images: Tensor, mask: Tensor? = nil, tap: Tap? = nil) throws -> Tensor {
        let context = try projection(images.to(latents.dtype))  // [B, N, D]
        let batch = context.shape.first ?? 0
        let shape = latents.shape
        var keys: Tensor?
        if let shown = try mask?.attentionKeys() {
            let all = try Tensor.concatenated(
                [
                    shown.reshaped([batch, shown.count / max(1, batch)]),
                    .ones([batch, shape[0]], .bool, on: shown.device),
                ], 1)
            keys = try all.unsqueezed(1).unsqueezed(1)  // [B, 1, 1, N + L]
        }
        var hidden = try latents.expanded([batch, shape[0], shape[1]])
        for (index, layer) in layers.enumerated() {
            hidden = try layer(hidden, context, mask: keys, index, tap)
        }
        return try tap.at(.finalNorm, layers.count, norm(hidden))
    }
}

/// down(f(gate(x)) · up(x)), without biases.
private struct GatedFeedForward: Module {
    private var gate: Linear
    private var up: Linear
    private var down: Linear
    private let activation: ActivationFunction

    init(_ inputs: Int, inner: Int, _ outputs: Int, _ activation: ActivationFunction) throws {
        gate = try Linear(inputs, inner, bias: false)
        up = try Linear(inputs, inner, bias: false)
        down = try Linear(inner, outputs, bias: false)
        self.activation = activation
    }

    mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("gate_proj", &gate)
        try visitor("up_proj", &up)
        try visitor("down_proj", &down)
    }

    func callAsFunction(_ x: Tensor) throws -> Tensor { try down(activation(gate(x)) * up(x)) }
}

/// One layer of the resampler: latents look at context and latents, then a gated feed-forward part.
private struct Idefics2PerceiverLayer: Module {
    private var latentsNorm: RMSNorm
    private var contextNorm: RMSNorm
    private var query: Linear
    private var key: Linear
    private var value: Linear
    private var output: Linear
    private var mlpNorm: RMSNorm
    private var mlp: GatedFeedForward
    private let heads: Int
    private let keyHeads: Int

    init(_ configuration: Idefics2ConnectorConfiguration) throws {
        let (size, epsilon) = (configuration.size, configuration.normEpsilon)
        let inner = configuration.heads * configuration.headSize
        let keyInner = configuration.keyHeads * configuration.headSize
        latentsNorm = try RMSNorm(size, epsilon: epsilon)
        contextNorm = try RMSNorm(size, epsilon: epsilon)
        query = try Linear(size, inner, bias: false)
        key = try Linear(size, keyInner, bias: false)
        value = try Linear(size, keyInner, bias: false)
        output = try Linear(inner, size, bias: false)
        mlpNorm = try RMSNorm(size, epsilon: epsilon)
        mlp = try GatedFeedForward(size, inner: 4 * size, size, configuration.resamplerActivation)
        (heads, keyHeads) = (configuration.heads, configuration.keyHeads)
    }

    mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("input_latents_norm", &latentsNorm)
        try visitor("input_context_norm", &contextNorm)
        try visitor("self_attn.q_proj", &query)
        try visitor("self_attn.k_proj", &key)
        try visitor("self_attn.v_proj", &value)
        try visitor("self_attn.o_proj", &output)
        try visitor("post_attention_layernorm", &mlpNorm)
        try visitor("mlp", &mlp)
    }

    /// Latents [B, L, D] and context [B, N, D] → [B, L, D]; mask [B, 1, 1, N + L].
    func callAsFunction(
        _ input: Tensor, _ context: Tensor, mask: Tensor?, _ index: Int, _ tap: Tap?
    ) throws -> Tensor {
        let x = try tap.at(.blockInput, index, input)
        let own = try latentsNorm(x)
        let seen = try Tensor.concatenated([contextNorm(context), own], 1)  // [B, N + L, D]
        var attended = try splitHeads(query(own), heads).attention(
            key: splitHeads(key(seen), keyHeads), value: splitHeads(value(seen), keyHeads), mask: mask,
            grouped: true)
        attended = try tap.at(.headOutput, index, attended)
        let middle = try x + tap.at(.attentionOutput, index, output(mergeHeads(attended)))
        let fed = try tap.at(.mlpOutput, index, mlp(mlpNorm(middle)))
        return try tap.at(.blockOutput, index, middle + fed)
    }
}
