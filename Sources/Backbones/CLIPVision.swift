import Support
import Torch

/// The shape of a CLIP image tower.
public struct CLIPVisionConfiguration: Sendable, Equatable {
    /// Side of the square input, in pixels.
    public var imageSize = 224
    /// Side of a patch, in pixels; a divisor of the image size.
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
    public var activation = Activation.quickGelu

    /// The function of the feed-forward part, under its name in `config.json`.
    public enum Activation: String, Sendable { case quickGelu = "quick_gelu", gelu }

    /// The shape of ViT-B/16.
    public init() {}

    /// Reads a `CLIPVisionConfig`, alone or as `vision_config` of a `CLIPConfig`.
    public init(_ json: JSON, source: String) throws {
        let vision = json["vision_config"] ?? json
        imageSize = try vision.size("image_size", imageSize, source: source)
        patchSize = try vision.size("patch_size", patchSize, source: source)
        hiddenSize = try vision.size("hidden_size", hiddenSize, source: source)
        layers = try vision.size("num_hidden_layers", layers, source: source)
        heads = try vision.size("num_attention_heads", heads, source: source)
        intermediateSize = try vision.size("intermediate_size", intermediateSize, source: source)
        projectionSize =
            json["projection_dim"]?.integer ?? vision["projection_dim"]?.integer ?? projectionSize
        normEpsilon = vision["layer_norm_eps"]?.double ?? normEpsilon
        if let name = vision["hidden_act"]?.string {
            guard let known = Activation(rawValue: name) else {
                throw VQAError(
                    "cannot use the model", at: "\(source), hidden_act",
                    because: "\(name) is not one of quick_gelu, gelu")
            }
            activation = known
        }
        guard hiddenSize % heads == 0, imageSize % patchSize == 0 else {
            throw VQAError(
                "cannot use the model", at: source,
                because: "hidden_size must be a multiple of num_attention_heads and image_size of patch_size")
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
    private var layers: [CLIPVisionLayer]
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
        layers = try (0..<configuration.layers).map { _ in try CLIPVisionLayer(configuration) }
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

    /// The residual stream after the last block, class token included: [B, 3, S, S] → [B, N, D]. DVP's visual tokens.
    public func callAsFunction(_ images: Tensor, tap: Tap? = nil) throws -> Tensor {
        let patches = try patches(images)  // [B, D, S/p, S/p]
        let shape = patches.shape
        let tokens = try patches.reshaped([shape[0], shape[1], shape[2] * shape[3]]).transposed(1, 2)
        let first = try classEmbedding.to(tokens.dtype).expanded([shape[0], 1, shape[1]])
        var hidden = try preNorm(.concatenated([first, tokens], 1) + positions.weight)
        for (index, layer) in layers.enumerated() { hidden = try layer(hidden, index, tap) }
        return hidden
    }

    /// The class token after the last norm, in the joint space when there is a projection: [B, N, D] → [B, P].
    public func pooled(_ hidden: Tensor, tap: Tap? = nil) throws -> Tensor {
        let normed = try tap.at(.finalNorm, layers.count, postNorm(hidden.selected(1, 0)))
        return try projection.map { try $0(normed) } ?? normed
    }

    /// Brings OpenAI's names to these: drops `visual.` or `visumodel.`, splits the joint query-key-value maps (views of the
    /// same memory), and leaves the text tower out. Names that are these already stay.
    public static func renamed(_ weights: [String: Tensor]) throws -> [String: Tensor] {
        let openAI = visualPart(of: weights)
        guard openAI["conv1.weight"] != nil else {
            return weights.filter { key, _ in
                (key.hasPrefix("vision_model.") || key == "visual_projection.weight")
                    && key != "vision_model.embeddings.position_ids"
            }
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

/// One pre-norm block.
private struct CLIPVisionLayer: Module {
    private var query: Linear
    private var key: Linear
    private var value: Linear
    private var attentionOutput: Linear
    private var attentionNorm: LayerNorm
    private var expand: Linear
    private var contract: Linear
    private var mlpNorm: LayerNorm
    private let heads: Int
    private let activation: CLIPVisionConfiguration.Activation

    init(_ configuration: CLIPVisionConfiguration) throws {
        let size = configuration.hiddenSize
        query = try Linear(size, size)
        key = try Linear(size, size)
        value = try Linear(size, size)
        attentionOutput = try Linear(size, size)
        attentionNorm = try LayerNorm(size, epsilon: configuration.normEpsilon)
        expand = try Linear(size, configuration.intermediateSize)
        contract = try Linear(configuration.intermediateSize, size)
        mlpNorm = try LayerNorm(size, epsilon: configuration.normEpsilon)
        heads = configuration.heads
        activation = configuration.activation
    }

    mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("self_attn.k_proj", &key)
        try visitor("self_attn.v_proj", &value)
        try visitor("self_attn.q_proj", &query)
        try visitor("self_attn.out_proj", &attentionOutput)
        try visitor("layer_norm1", &attentionNorm)
        try visitor("mlp.fc1", &expand)
        try visitor("mlp.fc2", &contract)
        try visitor("layer_norm2", &mlpNorm)
    }

    /// [B, N, D] → [B, N, D]
    func callAsFunction(_ input: Tensor, _ index: Int, _ tap: Tap?) throws -> Tensor {
        let x = try tap.at(.blockInput, index, input)
        let normed = try attentionNorm(x)
        var heads = try splitHeads(query(normed), self.heads).attention(
            key: splitHeads(key(normed), self.heads), value: splitHeads(value(normed), self.heads))
        heads = try tap.at(.headOutput, index, heads)  // [B, H, N, D/H]
        let middle = try x + tap.at(.attentionOutput, index, attentionOutput(mergeHeads(heads)))
        let expanded = try expand(mlpNorm(middle))
        let active = try activation == .quickGelu ? expanded.quickGelu() : expanded.gelu()
        return try tap.at(.blockOutput, index, middle + tap.at(.mlpOutput, index, contract(active)))
    }
}
