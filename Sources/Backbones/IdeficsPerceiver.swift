import Support
import Torch

/// The shape of the resampler of Idefics (the first).
public struct IdeficsPerceiverConfiguration: Sendable, Equatable {
    /// Width D of an image token and of a latent.
    public var size = 768
    /// `resampler_n_latents`: vectors L an image becomes.
    public var latents = 64
    /// `resampler_depth`: blocks.
    public var depth = 6
    /// `resampler_n_heads`
    public var heads = 16
    /// `resampler_head_dim`: heads × head size need not be the width.
    public var headSize = 96
    /// `qk_layer_norms_perceiver`: whether queries and keys are normalised in every head.
    public var normsHeads = false

    /// The defaults of the reference's class; the released model has a width of 1,280 and norms in the heads.
    public init() {}

    /// Reads an `IdeficsConfig`; a key that is not there has the default of the reference's class.
    ///
    /// - Returns: nil when the model has no resampler (`use_resampler` false, the default).
    public init?(_ json: JSON, source: String) throws {
        guard json["use_resampler"]?.bool == true else { return nil }
        let own = json["perceiver_config"] ?? .object([])
        size = try CLIPVisionConfiguration(idefics: json, source: source).hiddenSize
        latents = try own.size("resampler_n_latents", latents, source: source)
        depth = try own.depth("resampler_depth", depth, source: source)
        heads = try own.size("resampler_n_heads", heads, source: source)
        headSize = try own.size("resampler_head_dim", headSize, source: source)
        normsHeads = own["qk_layer_norms_perceiver"]?.bool ?? normsHeads
    }
}

/// The resampler of Idefics (Laurençon et al. 2023): learned latents look at the tokens of one image and at themselves. Keys
/// as in the reference's `IdeficsPerceiverResampler`.
///
/// Legend: B images, N image tokens, L latents, D width, H heads.
public struct IdeficsPerceiver: Module {
    private var latents: Tensor
    private var blocks: [IdeficsPerceiverBlock]
    private var norm: LayerNorm

    /// A resampler without weights, on the meta device.
    public init(_ configuration: IdeficsPerceiverConfiguration) throws {
        latents = try .empty([configuration.latents, configuration.size], on: .meta)
        blocks = try (0..<configuration.depth).map { _ in try IdeficsPerceiverBlock(configuration) }
        norm = try LayerNorm(configuration.size)
    }

    /// Lists latents, blocks.0 and on, and layer_norm.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("latents", &latents, .normal(deviation: 1))
        try visitor("blocks", &blocks)
        try visitor("layer_norm", &norm)
    }

    /// Image tokens [B, N, D] → [B, L, D].
    public func callAsFunction(_ context: Tensor, tap: Tap? = nil) throws -> Tensor {
        let shape = latents.shape
        let context = try context.to(latents.dtype)
        var hidden = try latents.expanded([context.shape.first ?? 0, shape[0], shape[1]])
        for (index, block) in blocks.enumerated() { hidden = try block(hidden, context, index, tap) }
        return try tap.at(.finalNorm, blocks.count, norm(hidden))
    }
}

/// Attention (`0`) and feed-forward part (`1`), each normalised before and without bias.
private struct IdeficsPerceiverBlock: Module {
    private var contextNorm: LayerNorm
    private var latentsNorm: LayerNorm
    private var queryNorm: LayerNorm?
    private var keyNorm: LayerNorm?
    private var query: Linear
    private var key: Linear
    private var value: Linear
    private var output: Linear
    private var mlpNorm: LayerNorm
    private var expand: Linear
    private var contract: Linear
    private let heads: Int

    init(_ configuration: IdeficsPerceiverConfiguration) throws {
        let size = configuration.size
        let inner = configuration.heads * configuration.headSize
        contextNorm = try LayerNorm(size)
        latentsNorm = try LayerNorm(size)
        queryNorm = configuration.normsHeads ? try LayerNorm(configuration.headSize) : nil
        keyNorm = configuration.normsHeads ? try LayerNorm(configuration.headSize) : nil
        query = try Linear(size, inner, bias: false)
        key = try Linear(size, inner, bias: false)
        value = try Linear(size, inner, bias: false)
        output = try Linear(inner, size, bias: false)
        mlpNorm = try LayerNorm(size)
        expand = try Linear(size, 4 * size, bias: false)
        contract = try Linear(4 * size, size, bias: false)
        heads = configuration.heads
    }

    mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("0.context_layer_norm", &contextNorm)
        try visitor("0.latents_layer_norm", &latentsNorm)
        try visitor("0.q_layer_norm", &queryNorm)
        try visitor("0.k_layer_norm", &keyNorm)
        try visitor("0.q_proj", &query)
        try visitor("0.k_proj", &key)
        try visitor("0.v_proj", &value)
        try visitor("0.output_proj", &output)
        try visitor("1.ln", &mlpNorm)
        try visitor("1.fc", &expand)
        try visitor("1.c_proj", &contract)
    }

    /// Latents [B, L, D] and context [B, N, D] → [B, L, D]
    func callAsFunction(_ input: Tensor, _ context: Tensor, _ index: Int, _ tap: Tap?) throws -> Tensor {
        let x = try tap.at(.blockInput, index, input)
        let own = try latentsNorm(x)
        let seen = try Tensor.concatenated([contextNorm(context), own], 1)  // [B, N + L, D]
        var queries = try splitHeads(query(own), heads)
        var keys = try splitHeads(key(seen), heads)
        if let queryNorm, let keyNorm { (queries, keys) = (try queryNorm(queries), try keyNorm(keys)) }
        let attended = try tap.at(
            .headOutput, index, queries.attention(key: keys, value: splitHeads(value(seen), heads)))
        let middle = try x + tap.at(.attentionOutput, index, output(mergeHeads(attended)))
        let fed = try contract(expand(mlpNorm(middle)).relu())
        return try tap.at(.blockOutput, index, middle + tap.at(.mlpOutput, index, fed))
    }
}
