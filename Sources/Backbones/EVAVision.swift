import Support
import Torch

/// The shape of an EVA-CLIP image tower as BLIP-2 and InstructBLIP use it.
public struct EVAVisionConfiguration: Sendable, Equatable {
    /// Side of the square input, in pixels.
    public var imageSize = 224
    /// Side of a patch, in pixels.
    public var patchSize = 14
    /// Width D of a token.
    public var hiddenSize = 1408
    /// Number of blocks; the released models use 39 of the 40.
    public var layers = 39
    /// Attention heads, a divisor of the width.
    public var heads = 16
    /// Width of the feed-forward part.
    public var intermediateSize = 6144
    /// Added to the variance in the layer norms of the blocks.
    public var normEpsilon = 1e-6
    /// The same in the last norm: the reference has one for all, LAVIS 1e-5 here.
    public var lastNormEpsilon = 1e-6
    /// Of the feed-forward part.
    public var activation = ActivationFunction.gelu
    /// Whether the joint query-key-value map has a bias (whose key part is zero).
    public var hasJointBias = true
    /// Whether images of another size are taken, with the table of positions resampled to their grid.
    public var interpolatesPositions = false

    /// The shape of EVA-CLIP ViT-g/14 without its last block.
    public init() {}

    /// Reads a `Blip2VisionConfig` or `InstructBlipVisionConfig`, alone or as `vision_config` of a larger one; a key that is
    /// not there has the default of the reference's class.
    public init(_ json: JSON, source: String) throws {
        let vision = json.part("vision_config")
        imageSize = try vision.size("image_size", imageSize, source: source)
        patchSize = try vision.size("patch_size", patchSize, source: source)
        hiddenSize = try vision.size("hidden_size", hiddenSize, source: source)
        layers = try vision.depth("num_hidden_layers", layers, source: source)
        heads = try vision.size("num_attention_heads", heads, source: source)
        intermediateSize = try vision.size("intermediate_size", intermediateSize, source: source)
        normEpsilon = try vision.epsilon("layer_norm_eps", normEpsilon, source: source)
        lastNormEpsilon = normEpsilon
        activation = try vision.activation("hidden_act", activation, source: source)
        hasJointBias = vision["qkv_bias"]?.bool ?? hasJointBias
        try requireMultiple("hidden_size", hiddenSize, of: "num_attention_heads", heads, source: source)
        guard patchSize <= imageSize else {
            throw VQAError(
                "cannot use the model", at: source,
                because: "patch_size \(patchSize) is larger than image_size \(imageSize)")
        }
    }
}

/// The image tower of EVA-CLIP (Fang et al. 2023) in BLIP-2 and InstructBLIP: pre-norm, no norm before the blocks, one after
/// them over all tokens. Keys as in the reference's `InstructBlipVisionModel`.
///
/// Legend: B batch, N tokens (class token first, then patches row by row), D width, H heads.
public struct EVAVision: Module {
    /// The shape it was built with.
    public let configuration: EVAVisionConfiguration
    private var classEmbedding: Tensor
    private var positions: Tensor
    private var patches: Convolution
    private var layers: [EVABlock]
    private var postNorm: LayerNorm

    /// A tower without weights, on the meta device.
    public init(_ configuration: EVAVisionConfiguration) throws {
        self.configuration = configuration
        let size = configuration.hiddenSize
        let side = configuration.imageSize / configuration.patchSize
        classEmbedding = try .empty([1, 1, size], on: .meta)
        positions = try .empty([1, side * side + 1, size], on: .meta)
        patches = try Convolution(
            3, size, kernel: configuration.patchSize, stride: configuration.patchSize)
        layers = try (0..<configuration.layers).map { _ in try EVABlock(configuration) }
        postNorm = try LayerNorm(size, epsilon: configuration.lastNormEpsilon)
    }

    /// Lists embeddings, encoder.layers.0 and on, and post_layernorm.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("embeddings.class_embedding", &classEmbedding, .normal(deviation: 0.02))
        try visitor("embeddings.position_embedding", &positions, .normal(deviation: 0.02))
        try visitor("embeddings.patch_embedding", &patches)
        try visitor("encoder.layers", &layers)
        try visitor("post_layernorm", &postNorm)
    }

    /// Every token after the last norm, class token included: [B, 3, S, S] → [B, N, D].
    public func callAsFunction(_ images: Tensor, tap: Tap? = nil) throws -> Tensor {
        let grid = try patches(images.to(patches.weight.dtype))  // [B, D, S/p, S/p]
        let shape = grid.shape
        guard shape.count == 4 else {
            throw TorchError(.shape, operation: "EVAVision", message: "needs [B, 3, H, W], got \(shape)")
        }
        let tokens = try grid.reshaped([shape[0], shape[1], shape[2] * shape[3]]).transposed(1, 2)
        let first = try classEmbedding.to(tokens.dtype).expanded([shape[0], 1, shape[1]])
        var hidden = try .concatenated([first, tokens], 1) + positionRows(shape[2], shape[3])
        for (index, layer) in layers.enumerated() { hidden = try layer(hidden, index, tap) }
        return try tap.at(.finalNorm, layers.count, postNorm(hidden))
    }

    /// The positions of a grid of patches, the class token's first: [1, 1 + height · width, D].
    private func positionRows(_ height: Int, _ width: Int) throws -> Tensor {
        let side = configuration.imageSize / configuration.patchSize
        if height == side, width == side { return positions }
        guard configuration.interpolatesPositions else {
            throw TorchError(
                .shape, operation: "EVAVision",
                message: "the image has \(height) × \(width) patches, the model takes \(side) × \(side)")
        }
        return try EVAVision.resampled(positions, side: side, height: height, width: width)
    }

    /// The patches' part of a table [1, 1 + side², D] resampled; the class token's row stays.
    private static func resampled(_ table: Tensor, side: Int, height: Int, width: Int) throws -> Tensor {
        let patches = try resampledPositions(
            table.selected(0, 0).sliced(0, 1), side: side, height: height, width: width)
        return try .concatenated([table.sliced(1, 0, 1), patches.unsqueezed(0)], 1)
    }

    // MARK: Names

    /// Brings the names of a checkpoint to these, and leaves out what is not of the tower.
    ///
    /// The reference's are taken from wherever they stand in the model (`vision_model.`, `model.vision_model.`). LAVIS's,
    /// with or without `visual_encoder.`, are replaced; its separate biases of queries and values become one with zeros for
    /// the keys, blocks above those of the configuration and the classifier are left out, and a table of positions of
    /// another grid is resampled.
    public static func renamed(
        _ weights: [String: Tensor], _ configuration: EVAVisionConfiguration
    ) throws -> [String: Tensor] {
        let lavis = towerPart(of: weights, markers: ["patch_embed.proj.weight", "blocks.0.attn.qkv.weight"])
        guard !lavis.isEmpty else { return towerPart(of: weights) }
        var result: [String: Tensor] = [:]
        for (name, tensor) in lavis {
            if let fixed = lavisNames[name] {
                result[fixed] = tensor
            } else if name.hasPrefix("blocks.") {
                let parts = name.split(separator: ".", maxSplits: 2).map(String.init)
                guard parts.count == 3, let index = Int(parts[1]), index < configuration.layers else {
                    continue
                }
                result["encoder.layers.\(index)." + lavisBlockName(parts[2])] = tensor
            } else if !["head.", "norm.", "fc_norm.", "ln_vision."].contains(where: name.hasPrefix) {
                result[name] = tensor
            }
        }
        for kind in ["weight", "bias"] { result["post_layernorm.\(kind)"] = weights["ln_vision.\(kind)"] }
        try joinBiases(of: lavis, layers: configuration.layers, into: &result)
        if let table = result["embeddings.position_embedding"] {
            result["embeddings.position_embedding"] = try fitted(table, configuration)
        }
        return result
    }

    private static let lavisNames = [
        "cls_token": "embeddings.class_embedding", "pos_embed": "embeddings.position_embedding",
        "patch_embed.proj.weight": "embeddings.patch_embedding.weight",
        "patch_embed.proj.bias": "embeddings.patch_embedding.bias",
    ]

    /// `name` is what follows `blocks.3.`, such as `attn.proj.weight`.
    private static func lavisBlockName(_ name: String) -> String {
        for (theirs, ours) in [
            ("norm1.", "layer_norm1."), ("norm2.", "layer_norm2."), ("attn.proj.", "self_attn.projection."),
            ("attn.", "self_attn."),
        ] where name.hasPrefix(theirs) { return ours + name.dropFirst(theirs.count) }
        return name
    }

    private static func joinBiases(
        of lavis: [String: Tensor], layers: Int, into result: inout [String: Tensor]
    ) throws {
        for index in 0..<layers {
            let block = "encoder.layers.\(index).self_attn."
            guard let query = lavis["blocks.\(index).attn.q_bias"],
                let value = lavis["blocks.\(index).attn.v_bias"]
            else { continue }
            result[block + "q_bias"] = nil
            result[block + "v_bias"] = nil
            result[block + "qkv.bias"] = try .concatenated(
                [query, .zeros(query.shape, query.dtype), value], 0)
        }
    }

    /// The table for the configured image size; one of no square grid is left for the loading to refuse.
    private static func fitted(_ table: Tensor, _ configuration: EVAVisionConfiguration) throws -> Tensor {
        let shape = table.shape
        let wanted = configuration.imageSize / configuration.patchSize
        guard shape.count == 3, shape[0] == 1, shape[1] > 1 else { return table }
        let side = Int(Double(shape[1] - 1).squareRoot().rounded())
        guard side * side == shape[1] - 1, side != wanted else { return table }
        return try resampled(table, side: side, height: wanted, width: wanted)
    }
}

/// One pre-norm block with a joint query-key-value map.
private struct EVABlock: Module {
    private var joint: Linear
    private var attentionOutput: Linear
    private var attentionNorm: LayerNorm
    private var expand: Linear
    private var contract: Linear
    private var mlpNorm: LayerNorm
    private let heads: Int
    private let activation: ActivationFunction

    init(_ configuration: EVAVisionConfiguration) throws {
        let size = configuration.hiddenSize
        joint = try Linear(size, 3 * size, bias: configuration.hasJointBias)
        attentionOutput = try Linear(size, size)
        attentionNorm = try LayerNorm(size, epsilon: configuration.normEpsilon)
        expand = try Linear(size, configuration.intermediateSize)
        contract = try Linear(configuration.intermediateSize, size)
        mlpNorm = try LayerNorm(size, epsilon: configuration.normEpsilon)
        heads = configuration.heads
        activation = configuration.activation
    }

    mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("self_attn.qkv", &joint)
        try visitor("self_attn.projection", &attentionOutput)
        try visitor("layer_norm1", &attentionNorm)
        try visitor("mlp.fc1", &expand)
        try visitor("mlp.fc2", &contract)
        try visitor("layer_norm2", &mlpNorm)
    }

    /// [B, N, D] → [B, N, D]
    func callAsFunction(_ input: Tensor, _ index: Int, _ tap: Tap?) throws -> Tensor {
        let x = try tap.at(.blockInput, index, input)
        let shape = x.shape
        // [B, N, 3D] → [3, B, H, N, D/H]
        let parts = try joint(tap.at(.attentionInput, index, attentionNorm(x)))
            .reshaped([shape[0], shape[1], 3, heads, shape[2] / heads]).permuted([2, 0, 3, 1, 4])
        let attended = try tap.at(
            .headOutput, index,
            parts.selected(0, 0).attention(key: parts.selected(0, 1), value: parts.selected(0, 2)))
        let middle = try x + tap.at(.attentionOutput, index, attentionOutput(mergeHeads(attended)))
        let fed = try contract(activation(expand(mlpNorm(middle))))
        return try tap.at(.blockOutput, index, middle + tap.at(.mlpOutput, index, fed))
    }
}
