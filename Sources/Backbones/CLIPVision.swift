import Support
import Torch

/// The shape of a CLIP image tower.
public struct CLIPVisionConfiguration: Sendable, Equatable {
    /// Side of the square input, in pixels.
    public var imageSize = 224
    /// Side of a patch, in pixels.
    public var patchSize = 16
    /// Width D of a token.
    public var hiddenSize = 768
    /// Number of blocks.
    public var layers = 12
    /// Attention heads, a divisor of the width.
    public var heads = 12
    /// Width of the feed-forward part.
    public var intermediateSize = 3072
    /// Width of the joint space, 0 for a checkpoint without the projection.
    public var projectionSize = 512
    /// Added to the variance in every layer norm.
    public var normEpsilon = 1e-5
    /// QuickGELU in OpenAI's weights, exact GELU in some later ones.
    public var activation = ActivationFunction.quickGelu
    /// Whether images of another size are taken, with the table of positions resampled to their grid.
    public var interpolatesPositions = false
    /// Added to the new grid's sides when the scale of resampling is computed; 0.1 in Idefics.
    var interpolationMargin = 0.0

    /// The shape of ViT-B/16.
    public init() {}

    /// Reads a `CLIPVisionConfig`, alone or as `vision_config` of a `CLIPConfig` or `LlavaConfig`; a key that is not there
    /// has the default of the reference's class.
    public init(_ json: JSON, source: String) throws {
        if json["model_type"]?.string == "llava", json["vision_config"].map(\.isNull) ?? true {
            // LLaVA without a vision_config means ViT-L/14 of 336 pixels.
            (imageSize, patchSize, hiddenSize, layers, heads) = (336, 14, 1024, 24, 16)
            (intermediateSize, projectionSize) = (4096, 768)
            return
        }
        let vision = json.part("vision_config")
        if let type = vision["model_type"]?.string, type != "clip_vision_model", type != "clip" {
            throw VQAError(
                "cannot use the model", at: "\(source), model_type", because: "\(type) is no CLIP image tower"
            )
        }
        patchSize = 32
        hiddenSize = try vision.size("hidden_size", hiddenSize, source: source)
        try readBlocks(vision, source: source)
        projectionSize =
            json["projection_dim"]?.integer ?? vision["projection_dim"]?.integer ?? projectionSize
        guard (0...1 << 24).contains(projectionSize) else {
            throw VQAError(
                "cannot use the model", at: "\(source), projection_dim",
                because: "\(projectionSize) is not a size")
        }
    }

    /// Reads the `vision_config` of an `IdeficsConfig`, a CLIP ViT-H/14; a key that is not there has the default of the
    /// reference's `IdeficsVisionConfig`.
    public init(idefics json: JSON, source: String) throws {
        let vision = json["vision_config"] ?? .object([])
        (patchSize, layers, heads, intermediateSize) = (14, 32, 16, 5120)
        (projectionSize, activation, interpolationMargin) = (0, .gelu, 0.1)
        let name = vision["embed_dim"] == nil ? "hidden_size" : "embed_dim"
        hiddenSize = try vision.size(name, hiddenSize, source: source)
        try readBlocks(vision, source: source)
    }

    /// The keys with one name in both: everything but width and projection.
    private mutating func readBlocks(_ vision: JSON, source: String) throws {
        imageSize = try vision.size("image_size", imageSize, source: source)
        patchSize = try vision.size("patch_size", patchSize, source: source)
        layers = try vision.depth("num_hidden_layers", layers, source: source)
        heads = try vision.size("num_attention_heads", heads, source: source)
        intermediateSize = try vision.size("intermediate_size", intermediateSize, source: source)
        normEpsilon = try vision.epsilon("layer_norm_eps", normEpsilon, source: source)
        activation = try vision.activation("hidden_act", activation, source: source)
        guard try vision.size("num_channels", 3, source: source) == 3 else {
            throw VQAError(
                "cannot use the model", at: "\(source), num_channels", because: "only 3 colours are computed")
        }
        try requireMultiple("hidden_size", hiddenSize, of: "num_attention_heads", heads, source: source)
        // A remainder of pixels at the right and the bottom is not seen.
        guard patchSize <= imageSize else {
            throw VQAError(
                "cannot use the model", at: source,
                because: "patch_size \(patchSize) is larger than image_size \(imageSize)")
        }
    }

    /// The shape of a tower in OpenAI's key names, read off its weights; heads are 64 wide there.
    public init(openAI weights: [String: Tensor], headSize: Int = 64, source: String) throws {
        guard let patch = weights["conv1.weight"]?.shape, patch.count == 4,
            let table = weights["positional_embedding"]?.shape, table.count == 2, table[0] > 1,
            let fed = weights["transformer.resblocks.0.mlp.c_fc.weight"]?.shape, fed.count == 2
        else {
            throw VQAError(
                "cannot use the model", at: source, because: "it holds no CLIP image tower of the ViT kind")
        }
        let side = Int(Double(table[0] - 1).squareRoot().rounded())
        patchSize = patch[3]
        hiddenSize = patch[0]
        imageSize = side * patchSize
        layers =
            weights.keys.filter { $0.hasPrefix("transformer.resblocks.") && $0.hasSuffix(".ln_1.weight") }
            .count
        heads = max(1, hiddenSize / headSize)
        intermediateSize = fed[0]
        projectionSize = weights["proj"]?.shape.last ?? 0
        guard side * side == table[0] - 1, hiddenSize % heads == 0 else {
            throw VQAError(
                "cannot use the model", at: source,
                because: "its position table \(table) fits no square image")
        }
    }

    /// The shape of a tower in the reference's key names, read off its weights; heads are 64 wide, as in every CLIP.
    init(reference weights: [String: Tensor], source: String) throws {
        let tower = try CLIPVision.renamed(weights)
        func shape(_ name: String) -> [Int] { tower["vision_model.\(name).weight"]?.shape ?? [] }
        let (patch, table) = (
            shape("embeddings.patch_embedding"), shape("embeddings.position_embedding")
        )
        let fed = shape("encoder.layers.0.mlp.fc1")
        guard patch.count == 4, table.count == 2, table[0] > 1, fed.count == 2, patch[0] % 64 == 0 else {
            throw VQAError(
                "cannot use the model", at: source,
                because: "the shape of its CLIP image tower cannot be read off its weights",
                remedy: "give the tower's folder, with config.json, by --vision-model")
        }
        let side = Int(Double(table[0] - 1).squareRoot().rounded())
        (patchSize, hiddenSize, imageSize) = (patch[3], patch[0], side * patch[3])
        layers = tower.keys.count { $0.hasSuffix(".layer_norm1.weight") }
        (heads, intermediateSize, projectionSize) = (max(1, patch[0] / 64), fed[0], 0)
    }
}

/// The image tower of CLIP (Radford et al. 2021): a pre-norm vision transformer. Keys as in the reference's
/// `CLIPVisionModelWithProjection`; OpenAI's are brought to them by ``renamed(_:)``.
///
/// Legend: B batch, N tokens (class token first, then patches row by row), D width, H heads.
public struct CLIPVision: Module {
    /// The shape it was built with.
    public let configuration: CLIPVisionConfiguration
    private var classEmbedding: Tensor
    private var patches: Convolution
    private var positions: Embedding
    private var preNorm: LayerNorm
    private var layers: [VisionBlock]
    private var postNorm: LayerNorm
    private var projection: Linear?

    /// A tower without weights, on the meta device.
    public init(_ configuration: CLIPVisionConfiguration) throws {
        self.configuration = configuration
        let size = configuration.hiddenSize
        let side = configuration.imageSize / configuration.patchSize
        let epsilon = configuration.normEpsilon
        classEmbedding = try .empty([size], on: .meta)
        patches = try Convolution(
            3, size, kernel: configuration.patchSize, stride: configuration.patchSize, bias: false)
        positions = try Embedding(side * side + 1, size, .normal(deviation: 0.02))
        preNorm = try LayerNorm(size, epsilon: epsilon)
        layers = try (0..<configuration.layers).map { _ in
            try VisionBlock(
                size, heads: configuration.heads, intermediateSize: configuration.intermediateSize,
                epsilon: epsilon, configuration.activation)
        }
        postNorm = try LayerNorm(size, epsilon: epsilon)
        projection =
            configuration.projectionSize > 0
            ? try Linear(size, configuration.projectionSize, bias: false) : nil
    }

    /// Lists vision_model, from its embeddings to post_layernorm, and visual_projection when there is one.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        let deviation = 1 / Double(configuration.hiddenSize).squareRoot()
        try visitor("vision_model.embeddings.class_embedding", &classEmbedding, .normal(deviation: deviation))
        try visitor("vision_model.embeddings.patch_embedding", &patches)
        try visitor("vision_model.embeddings.position_embedding", &positions)
        // The reference's own spelling.
        try visitor("vision_model.pre_layrnorm", &preNorm)
        try visitor("vision_model.encoder.layers", &layers)
        try visitor("vision_model.post_layernorm", &postNorm)
        try visitor("visual_projection", &projection)
    }

    /// The residual stream after the last block, class token included, without the last norm: [B, 3, S, S] → [B, N, D].
    /// The visual tokens of DVP and of Idefics.
    public func callAsFunction(_ images: Tensor, tap: Tap? = nil) throws -> Tensor {
        try features(images, layers: [-1], classToken: true, tap: tap)
    }

    /// What LLaVA takes of the tower: hidden states of chosen layers, [B, 3, S, S] → [B, N, D · layers].
    ///
    /// Blocks above the highest chosen one do not run; the last norm never does.
    ///
    /// - Parameters:
    ///   - layers: 0 is the input of the first block, k the output of the k-th; −1 the output of the last, −2 the one
    ///     before. Several are joined along the width (`vision_feature_layer`, `mm_vision_select_layer`).
    ///   - classToken: whether the class token stays first (`full`, `cls_patch`) or is dropped (`default`, `patch`).
    public func features(
        _ images: Tensor, layers chosen: [Int] = [-2], classToken: Bool = false, tap: Tap? = nil
    ) throws -> Tensor {
        let wanted = chosen.map { $0 < 0 ? layers.count + 1 + $0 : $0 }
        guard let last = wanted.max(), wanted.allSatisfy({ (0...layers.count).contains($0) }) else {
            throw TorchError(
                .index, operation: "CLIPVision",
                message: "layers \(chosen) are not among the \(layers.count + 1) hidden states")
        }
        var hidden = try embedded(images)
        var kept = wanted.contains(0) ? [0: hidden] : [:]
        for index in 0..<last {
            hidden = try layers[index](hidden, index, tap)
            if wanted.contains(index + 1) { kept[index + 1] = hidden }
        }
        let joined = wanted.count == 1 ? hidden : try .concatenated(wanted.compactMap { kept[$0] }, 2)
        return classToken ? joined : try joined.sliced(1, 1)
    }

    /// Patches with the class token before them, their positions added and normalised: [B, 3, S, S] → [B, N, D].
    private func embedded(_ images: Tensor) throws -> Tensor {
        let patches = try patches(images.to(self.patches.weight.dtype))  // [B, D, S/p, S/p]
        let shape = patches.shape
        guard shape.count == 4 else {
            throw TorchError(.shape, operation: "CLIPVision", message: "needs [B, 3, H, W], got \(shape)")
        }
        let tokens = try patches.reshaped([shape[0], shape[1], shape[2] * shape[3]]).transposed(1, 2)
        let first = try classEmbedding.to(tokens.dtype).expanded([shape[0], 1, shape[1]])
        return try preNorm(.concatenated([first, tokens], 1) + positionRows(shape[2], shape[3]))
    }

    /// The positions of a grid of patches, the class token's first: [1 + height · width, D].
    private func positionRows(_ height: Int, _ width: Int) throws -> Tensor {
        let side = configuration.imageSize / configuration.patchSize
        if height == side, width == side { return positions.weight }
        guard configuration.interpolatesPositions else {
            throw TorchError(
                .shape, operation: "CLIPVision",
                message: "the image has \(height) × \(width) patches, the model takes \(side) × \(side)")
        }
        let patches = try resampledPositions(
            positions.weight.sliced(0, 1), side: side, height: height, width: width,
            margin: configuration.interpolationMargin)
        return try .concatenated([positions.weight.sliced(0, 0, 1), patches], 0)
    }

    /// The class token after the last norm, in the joint space when there is a projection: [B, N, D] → [B, P].
    public func pooled(_ hidden: Tensor, tap: Tap? = nil) throws -> Tensor {
        let normed = try tap.at(.finalNorm, layers.count, postNorm(hidden.selected(1, 0)))
        return try projection.map { try $0(normed) } ?? normed
    }

    /// Brings the names of a checkpoint to these, and leaves out what is not of the tower.
    ///
    /// Of OpenAI's names it drops `visual.` or `visumodel.` and splits the joint query-key-value maps (views of the same
    /// memory). Of the reference's it takes the tower from wherever it stands in the model, under old and new names:
    /// `vision_model.`, `vision_tower.vision_model.`, `model.vision_tower.` and so on.
    public static func renamed(_ weights: [String: Tensor]) throws -> [String: Tensor] {
        let openAI = visualPart(of: weights)
        guard openAI["conv1.weight"] != nil else {
            var result: [String: Tensor] = [:]
            for (name, tensor) in towerPart(of: weights) { result["vision_model." + name] = tensor }
            result["visual_projection.weight"] = weights["visual_projection.weight"]
            return result
        }
        var result: [String: Tensor] = [:]
        for (name, tensor) in openAI {
            if let fixed = openAINames[name] {
                result[fixed] = tensor
            } else if name == "proj" {
                result["visual_projection.weight"] = try tensor.transposed(0, 1)
            } else if name.hasPrefix("transformer.resblocks.") {
                try renameBlock(String(name.dropFirst("transformer.resblocks.".count)), tensor, into: &result)
            } else {
                result[name] = tensor
            }
        }
        return result
    }

    /// The image tower's weights in OpenAI's names, without their prefix.
    public static func visualPart(of weights: [String: Tensor]) -> [String: Tensor] {
        for prefix in ["visual.", "visumodel."] where weights[prefix + "conv1.weight"] != nil {
            var result: [String: Tensor] = [:]
            for (name, tensor) in weights where name.hasPrefix(prefix) {
                result[String(name.dropFirst(prefix.count))] = tensor
            }
            return result
        }
        return weights
    }

    private static let openAINames = [
        "class_embedding": "vision_model.embeddings.class_embedding",
        "positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "ln_pre.weight": "vision_model.pre_layrnorm.weight", "ln_pre.bias": "vision_model.pre_layrnorm.bias",
        "ln_post.weight": "vision_model.post_layernorm.weight",
        "ln_post.bias": "vision_model.post_layernorm.bias",
    ]
    private static let openAIBlockNames = [
        "attn.out_proj": "self_attn.out_proj", "ln_1": "layer_norm1", "ln_2": "layer_norm2",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    ]

    /// `name` is what follows `transformer.resblocks.`, such as `3.mlp.c_fc.weight`.
    private static func renameBlock(_ name: String, _ tensor: Tensor, into result: inout [String: Tensor])
        throws
    {
        guard let dot = name.firstIndex(of: "."), let end = name.lastIndex(of: ".") else { return }
        let block = "vision_model.encoder.layers.\(name[..<dot])."
        let rest = name[name.index(after: dot)...]
        if rest.hasPrefix("attn.in_proj_") {
            let kind = rest.dropFirst("attn.in_proj_".count)
            let width = (tensor.shape.first ?? 0) / 3
            for (index, part) in ["q_proj", "k_proj", "v_proj"].enumerated() {
                result[block + "self_attn.\(part).\(kind)"] = try tensor.sliced(
                    0, index * width, (index + 1) * width)
            }
        } else {
            let module = dot < end ? String(name[name.index(after: dot)..<end]) : ""
            result[block + (openAIBlockNames[module] ?? module) + name[end...]] = tensor
        }
    }
}
