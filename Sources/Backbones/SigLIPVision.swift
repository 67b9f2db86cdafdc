import Support
import Torch

/// The shape of a SigLIP image tower.
public struct SigLIPVisionConfiguration: Sendable, Equatable {
    /// Pixels of a side of the square that the table of positions covers.
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
    /// Added to the variance in every layer norm.
    public var normEpsilon = 1e-6
    /// Of the feed-forward part.
    public var activation = ActivationFunction.geluTanh
    /// Whether images have any size and aspect, as Idefics2 takes them; otherwise all have ``imageSize``.
    public var variableResolution = false
    /// Whether the checkpoint has the attention pooling that ``SigLIPVision/pooled(_:)`` computes.
    public var hasHead = false

    /// The shape of SigLIP-B/16.
    public init() {}

    /// Reads a `SiglipVisionConfig`, alone or as `vision_config` of a larger one.
    public init(_ json: JSON, source: String) throws {
        let vision = json.part("vision_config")
        try self.init(part: vision, source: source)
        hasHead = vision["vision_use_head"]?.bool ?? true
    }

    /// Reads the `vision_config` of an `Idefics2Config`: a tower of variable resolution without a head.
    public init(idefics2 json: JSON, source: String) throws {
        // The reference's class for it has another default here, and no head at all.
        try self.init(part: json["vision_config"] ?? .object([]), patchSize: 32, source: source)
        variableResolution = true
    }

    private init(part vision: JSON, patchSize: Int = 16, source: String) throws {
        imageSize = try vision.size("image_size", imageSize, source: source)
        self.patchSize = try vision.size("patch_size", patchSize, source: source)
        hiddenSize = try vision.size("hidden_size", hiddenSize, source: source)
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
        guard self.patchSize <= imageSize else {
            throw VQAError(
                "cannot use the model", at: source,
                because: "patch_size \(self.patchSize) is larger than image_size \(imageSize)")
        }
    }
}

/// The image tower of SigLIP (Zhai et al. 2023), and of Idefics2, which feeds it images of any size as NaViT does (Dehghani
/// et al. 2023). Pre-norm, no class token. Keys as in the reference's `SiglipVisionModel` and `Idefics2VisionTransformer`.
///
/// Legend: B batch, h × w grid of patches, N = h · w tokens row by row, D width, H heads, G side of the table of positions.
public struct SigLIPVision: Module {
    /// The shape it was built with.
    public let configuration: SigLIPVisionConfiguration
    private var patches: Convolution
    private var positions: Embedding
    private var layers: [VisionBlock]
    private var postNorm: LayerNorm
    private var head: SigLIPHead?

    /// A tower without weights, on the meta device.
    public init(_ configuration: SigLIPVisionConfiguration) throws {
        self.configuration = configuration
        let size = configuration.hiddenSize
        let side = configuration.imageSize / configuration.patchSize
        patches = try Convolution(
            3, size, kernel: configuration.patchSize, stride: configuration.patchSize)
        positions = try Embedding(side * side, size, .normal(deviation: 0.02))
        layers = try (0..<configuration.layers).map { _ in
            try VisionBlock(
                size, heads: configuration.heads, intermediateSize: configuration.intermediateSize,
                epsilon: configuration.normEpsilon, configuration.activation)
        }
        postNorm = try LayerNorm(size, epsilon: configuration.normEpsilon)
        head = configuration.hasHead ? try SigLIPHead(configuration) : nil
    }

    /// Lists embeddings, encoder.layers.0 and on, post_layernorm, and head when there is one.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("embeddings.patch_embedding", &patches)
        try visitor("embeddings.position_embedding", &positions)
        try visitor("encoder.layers", &layers)
        try visitor("post_layernorm", &postNorm)
        try visitor("head", &head)
    }

    /// The tower's weights out of a checkpoint, from wherever they stand in the model, without the counter of positions.
    public static func renamed(_ weights: [String: Tensor]) -> [String: Tensor] { towerPart(of: weights) }

    /// Every patch after the last norm: [B, 3, H, W] → [B, N, D].
    ///
    /// - Parameter mask: [B, h, w], true where a patch shows the image and false where it is padding; nil when none is.
    ///   Padding has values too, which mean nothing. Positions depend on the mask: see ``positionIDs(_:side:)``.
    public func callAsFunction(_ images: Tensor, mask: Tensor? = nil, tap: Tap? = nil) throws -> Tensor {
        let grid = try patches(images.to(patches.weight.dtype))  // [B, D, h, w]
        let shape = grid.shape
        guard shape.count == 4, mask.map({ $0.shape == [shape[0], shape[2], shape[3]] }) ?? true else {
            throw TorchError(
                .shape, operation: "SigLIPVision",
                message: "patches \(shape) and their mask \(mask?.shape ?? []) do not fit")
        }
        let side = configuration.imageSize / configuration.patchSize
        let count = shape[2] * shape[3]
        let tokens = try grid.reshaped([shape[0], shape[1], count]).transposed(1, 2)
        let rows: Tensor
        if configuration.variableResolution {
            let shown = try mask ?? .ones([shape[0], shape[2], shape[3]], .bool, on: grid.device)
            rows = try positions(SigLIPVision.positionIDs(shown, side: side).to(grid.device))  // [B, N, D]
        } else if shape[2] == side, shape[3] == side {
            rows = positions.weight
        } else {
            throw TorchError(
                .shape, operation: "SigLIPVision",
                message: "the image has \(shape[2]) × \(shape[3]) patches, the model takes \(side) × \(side)")
        }
        let keys = try mask?.attentionKeys()?.reshaped([shape[0], 1, 1, count])
        var hidden = try tokens + rows
        for (index, layer) in layers.enumerated() { hidden = try layer(hidden, mask: keys, index, tap) }
        return try tap.at(.finalNorm, layers.count, postNorm(hidden))
    }

    /// One vector an image, by attention pooling: [B, N, D] → [B, D]; nil without a head.
    public func pooled(_ hidden: Tensor) throws -> Tensor? { try head.map { try $0(hidden) } }

    /// Which patches the image fills: pixel mask [B, H, W] → [B, h, w], true where every pixel of the cell is.
    ///
    /// A cell that the image fills in part is padding, so that an image gives the same beside larger ones as alone, where
    /// the convolution drops such cells. The reference counted them until 4.45 (transformers #33499).
    public func patchMask(_ pixels: Tensor) throws -> Tensor {
        let size = configuration.patchSize
        let padding = try (pixels.to(.float32) * -1).unsqueezed(1).maxPool(size, stride: size)
        return try padding.squeezed(1) .< 0
    }

    /// The row of the table for every patch of images of any size: mask [B, h, w] → int64 [B, h · w].
    ///
    /// A patch has the fraction row / rows, column / columns of its own image, and each fraction falls into one of G equal
    /// parts. Padding has id 0. The comparison is made in float32, as the reference makes it: some fractions that lie on a
    /// boundary fall below it, and weights were trained so.
    public static func positionIDs(_ mask: Tensor, side: Int) throws -> Tensor {
        let shape = mask.shape
        guard shape.count == 3 else {
            throw TorchError(.shape, operation: "positionIDs", message: "needs [B, h, w], got \(shape)")
        }
        let (height, width) = (shape[1], shape[2])
        let shown = try mask.to(.bool).bytes().map { $0 != 0 }
        // Taken from libtorch, whose rounding decides on which side of a boundary a fraction lies.
        let bounds = try Tensor.arange(1 / Double(side), 1, step: 1 / Double(side), .float32).floats()
        func parts(of count: Int, _ length: Int) -> [Int] {
            let step = 1 / Float(count)
            return (0..<length).map { index in
                let fraction = min(Float(index) * step, Float(1 - 1e-6))
                return bounds.partitionPoint { $0 <= fraction }
            }
        }
        var ids = [Int](repeating: 0, count: shown.count)
        for image in 0..<shape[0] {
            let start = image * height * width
            let rows = (0..<height).count { width > 0 && shown[start + $0 * width] }
            let columns = (0..<width).count { height > 0 && shown[start + $0] }
            let (down, across) = (parts(of: max(1, rows), height), parts(of: max(1, columns), width))
            for row in 0..<height {
                for column in 0..<width where shown[start + row * width + column] {
                    ids[start + row * width + column] = down[row] * side + across[column]
                }
            }
        }
        return try Tensor(ids, [shape[0], height * width])
    }
}

extension [Float] {
    /// How many elements at the start of a sorted array satisfy `condition`.
    fileprivate func partitionPoint(_ condition: (Float) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if condition(self[middle]) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension Tensor {
    /// This mask as the keys of an attention, or nil when it hides nothing: unmasked attention is faster.
    func attentionKeys() throws -> Tensor? {
        let mask = try to(.bool)
        return try mask.all().item() != 0 ? nil : mask
    }
}

/// Attention pooling: one learned query looks at all patches.
private struct SigLIPHead: Module {
    private var probe: Tensor
    private var jointWeight: Tensor
    private var jointBias: Tensor
    private var attentionOutput: Linear
    private var norm: LayerNorm
    private var expand: Linear
    private var contract: Linear
    private let heads: Int
    private let activation: ActivationFunction

    init(_ configuration: SigLIPVisionConfiguration) throws {
        let size = configuration.hiddenSize
        probe = try .empty([1, 1, size], on: .meta)
        jointWeight = try .empty([3 * size, size], on: .meta)
        jointBias = try .empty([3 * size], on: .meta)
        attentionOutput = try Linear(size, size)
        norm = try LayerNorm(size, epsilon: configuration.normEpsilon)
        expand = try Linear(size, configuration.intermediateSize)
        contract = try Linear(configuration.intermediateSize, size)
        heads = configuration.heads
        activation = configuration.activation
    }

    mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("probe", &probe, .normal(deviation: 1))
        try visitor(
            "attention.in_proj_weight", &jointWeight, .xavier(jointWeight.shape[1], jointWeight.shape[0]))
        try visitor("attention.in_proj_bias", &jointBias, .zeros)
        try visitor("attention.out_proj", &attentionOutput)
        try visitor("layernorm", &norm)
        try visitor("mlp.fc1", &expand)
        try visitor("mlp.fc2", &contract)
    }

    /// [B, N, D] → [B, D]
    func callAsFunction(_ hidden: Tensor) throws -> Tensor {
        let size = hidden.shape.last ?? 0
        func map(_ x: Tensor, _ part: Int) throws -> Tensor {
            try splitHeads(
                x.linear(
                    jointWeight.sliced(0, part * size, (part + 1) * size),
                    jointBias.sliced(0, part * size, (part + 1) * size)), heads)
        }
        let query = try probe.expanded([hidden.shape.first ?? 0, 1, size])
        let attended = try attentionOutput(
            mergeHeads(map(query, 0).attention(key: map(hidden, 1), value: map(hidden, 2))))
        return try (attended + contract(activation(expand(norm(attended))))).selected(1, 0)
    }
}
