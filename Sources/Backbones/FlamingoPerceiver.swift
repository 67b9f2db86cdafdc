import Torch

/// The resampler of OpenFlamingo (Awadalla et al. 2023): learned latents look at the tokens of one image and at themselves.
/// Keys as in the release, below `perceiver.`; no file describes its shape.
///
/// Legend: B images, N image tokens, L latents, D width, H heads.
public struct FlamingoPerceiver: Module {
    private var latents: Tensor
    private var layers: [FlamingoPerceiverBlock]
    private var norm: LayerNorm

    /// A resampler without weights, on the meta device; the defaults are those of the release, whose width is 1,024.
    ///
    /// - Parameter size: width D of an image token and of a latent.
    public init(_ size: Int, latents: Int = 64, depth: Int = 6, heads: Int = 8, headSize: Int = 64) throws {
        self.latents = try .empty([latents, size], on: .meta)
        layers = try (0..<depth).map { _ in
            try FlamingoPerceiverBlock(size, heads: heads, headSize: headSize)
        }
        norm = try LayerNorm(size)
    }

    /// Lists latents, layers.0 and on, and norm.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("latents", &latents, .normal(deviation: 1))
        try visitor("layers", &layers)
        try visitor("norm", &norm)
    }

    /// The resampler's weights out of a checkpoint of the release.
    public static func renamed(_ weights: [String: Tensor]) -> [String: Tensor] {
        towerPart(of: weights, markers: ["layers.0.0.norm_latents.weight", "layers.0.0.to_kv.weight"])
    }

    /// Image tokens [B, N, D] → [B, L, D].
    public func callAsFunction(_ context: Tensor, tap: Tap? = nil) throws -> Tensor {
        let shape = latents.shape
        let context = try context.to(latents.dtype)
        var hidden = try latents.expanded([context.shape.first ?? 0, shape[0], shape[1]])
        for (index, layer) in layers.enumerated() { hidden = try layer(hidden, context, index, tap) }
        return try tap.at(.finalNorm, layers.count, norm(hidden))
    }
}

/// Attention (`0`) and feed-forward part (`1`), each normalised before and without bias.
private struct FlamingoPerceiverBlock: Module {
    private var contextNorm: LayerNorm
    private var latentsNorm: LayerNorm
    private var query: Linear
    private var keyValue: Linear
    private var output: Linear
    private var mlpNorm: LayerNorm
    private var expand: Linear
    private var contract: Linear
    private let heads: Int

    init(_ size: Int, heads: Int, headSize: Int) throws {
        let inner = heads * headSize
        contextNorm = try LayerNorm(size)
        latentsNorm = try LayerNorm(size)
        query = try Linear(size, inner, bias: false)
        keyValue = try Linear(size, 2 * inner, bias: false)
        output = try Linear(inner, size, bias: false)
        mlpNorm = try LayerNorm(size)
        expand = try Linear(size, 4 * size, bias: false)
        contract = try Linear(4 * size, size, bias: false)
        self.heads = heads
    }

    mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("0.norm_media", &contextNorm)
        try visitor("0.norm_latents", &latentsNorm)
        try visitor("0.to_q", &query)
        try visitor("0.to_kv", &keyValue)
        try visitor("0.to_out", &output)
        try visitor("1.0", &mlpNorm)
        try visitor("1.1", &expand)
        try visitor("1.3", &contract)
    }

    /// Latents [B, L, D] and context [B, N, D] → [B, L, D]
    func callAsFunction(_ input: Tensor, _ context: Tensor, _ index: Int, _ tap: Tap?) throws -> Tensor {
        let x = try tap.at(.blockInput, index, input)
        let own = try latentsNorm(x)
        let joint = try keyValue(.concatenated([contextNorm(context), own], 1))  // [B, N + L, 2 · inner]
        let inner = (joint.shape.last ?? 0) / 2
        let attended = try splitHeads(query(own), heads).attention(
            key: splitHeads(joint.sliced(2, 0, inner), heads),
            value: splitHeads(joint.sliced(2, inner), heads))
        let heads = try tap.at(.headOutput, index, attended)
        let middle = try x + tap.at(.attentionOutput, index, output(mergeHeads(heads)))
        let fed = try contract(expand(mlpNorm(middle)).gelu())
        return try tap.at(.blockOutput, index, middle + tap.at(.mlpOutput, index, fed))
    }
}
