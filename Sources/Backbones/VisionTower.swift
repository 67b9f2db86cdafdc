import Checkpoints
import Images
import Support
import Torch

/// A frozen image encoder with its image processor: files in, visual tokens out.
public struct VisionTower {
    private enum Model {
        case efficientNetLite(EfficientNetLite)
        case clip(CLIPVision)
        case siglip(SigLIPVision)
        case eva(EVAVision)
    }

    private let model: Model
    /// Turns a decoded image into the input of the network.
    public let processor: ImageProcessor
    /// Pixels, [height, width], of every input.
    public let imageSize: (height: Int, width: Int)
    /// Visual tokens of one image, N.
    public let tokens: Int
    /// Width of a visual token, V.
    public let featureSize: Int
    /// The short name or path it was opened by.
    public let name: String
    private let hash: WeightsHash
    /// The SHA-256 of the weights file.
    public var weightsHash: String { get throws { try hash.value() } }

    /// Opens an image encoder.
    ///
    /// - Parameters:
    ///   - name: a short name, a folder with CLIP, SigLIP or the EVA of InstructBLIP or BLIP-2 in the Hugging Face layout, or
    ///     a file with the weights of EfficientNet-Lite0, of an OpenAI CLIP tower, or of LAVIS's `eva_vit_g.pth`.
    ///   - imageSize: the side of the square input; nil for the model's own (224 for EfficientNet-Lite0).
    public init(_ name: String, imageSize: Int? = nil) throws {
        let path = try ModelLibrary.locate(name)
        let checkpoint = try Checkpoint(opening: path)
        self.name = name
        hash = WeightsHash(checkpoint)
        let weights = try checkpoint.tensors()
        if weights["_conv_stem.weight"] != nil {
            let side = imageSize ?? 224
            guard side >= 32, side <= 4096 else {
                throw VQAError(
                    "cannot use the image size", at: "image_size", because: "\(side) is not in 32…4096")
            }
            var network = try EfficientNetLite()
            try network.load(weights, from: path)
            model = .efficientNetLite(network)
            processor = ImageProcessor.efficientNetLite(size: side)
            self.imageSize = (side, side)
            tokens = ((side + 31) / 32) * ((side + 31) / 32)
            featureSize = EfficientNetLite.featureSize
            return
        }
        let side: Int
        switch try VisionTower.family(weights, path) {
        case .siglip:
            let source = path + "/config.json"
            let network = try VisionTower.siglip(weights, source)
            let shape = network.configuration
            (side, featureSize) = (shape.imageSize, shape.hiddenSize)
            tokens = (side / shape.patchSize) * (side / shape.patchSize)
            (model, processor) = (.siglip(network), try ImageProcessor(folder: path))
        case .eva:
            let network = try VisionTower.eva(weights, path)
            let shape = network.configuration
            (side, featureSize) = (shape.imageSize, shape.hiddenSize)
            tokens = (side / shape.patchSize) * (side / shape.patchSize) + 1
            let own = isFolder(path) ? try ImageProcessor(folder: path) : .lavis(size: side)
            (model, processor) = (.eva(network), own)
        case .clip:
            let (network, own) = try VisionTower.clip(weights, path)
            let shape = network.configuration
            (side, featureSize) = (shape.imageSize, shape.hiddenSize)
            tokens = (side / shape.patchSize) * (side / shape.patchSize) + 1
            (model, processor) = (.clip(network), own)
        }
        if let imageSize, imageSize != side {
            throw VQAError(
                "cannot use the image size", at: "image_size",
                because: "\(imageSize) is not \(side), the size of \(name)")
        }
        self.imageSize = (side, side)
    }

    private enum Family { case clip, siglip, eva }

    private static func family(_ weights: [String: Tensor], _ path: String) throws -> Family {
        guard isFolder(path) else {
            return weights.keys.contains { $0.hasSuffix("blocks.0.attn.qkv.weight") } ? .eva : .clip
        }
        let type = try JSON(contentsOf: path + "/config.json")["model_type"]?.string ?? ""
        if type.hasPrefix("siglip") { return .siglip }
        return type.hasPrefix("instructblip") || type.hasPrefix("blip-2") ? .eva : .clip
    }

    private static func siglip(_ weights: [String: Tensor], _ source: String) throws -> SigLIPVision {
        var configuration = try SigLIPVisionConfiguration(JSON(contentsOf: source), source: source)
        let names = SigLIPVision.renamed(weights)
        configuration.hasHead = names["head.probe"] != nil
        var network = try SigLIPVision(configuration)
        try network.load(names, from: source)
        return network
    }

    private static func eva(_ weights: [String: Tensor], _ path: String) throws -> EVAVision {
        let source = path + "/config.json"
        let configuration =
            isFolder(path)
            ? try EVAVisionConfiguration(JSON(contentsOf: source), source: source) : EVAVisionConfiguration()
        var network = try EVAVision(configuration)
        try network.load(EVAVision.renamed(weights, configuration), from: path)
        return network
    }

    private static func clip(_ weights: [String: Tensor], _ path: String) throws -> (
        CLIPVision, ImageProcessor
    ) {
        let names = try CLIPVision.renamed(weights)
        var configuration: CLIPVisionConfiguration
        let processor: ImageProcessor
        if isFolder(path) {
            configuration = try CLIPVisionConfiguration(
                JSON(contentsOf: path + "/config.json"), source: path + "/config.json")
            processor = try ImageProcessor(folder: path)
        } else {
            configuration = try CLIPVisionConfiguration(
                openAI: CLIPVision.visualPart(of: weights), source: path)
            processor = ImageProcessor.dvpClip(size: configuration.imageSize)
        }
        if names["visual_projection.weight"] == nil { configuration.projectionSize = 0 }
        var network = try CLIPVision(configuration)
        try network.load(names, from: path)
        return (network, processor)
    }

    /// The network, for methods that reach inside; nil for other towers than CLIP.
    public var clip: CLIPVision? {
        if case .clip(let network) = model { return network }
        return nil
    }

    /// A text that names everything the tokens of an image depend on besides the image.
    public var fingerprint: String {
        get throws { "\(try weightsHash) \(processor.fingerprint) \(imageSize) float32" }
    }

    /// Prepares one image: CHW floats of ``imageSize``.
    public func pixels(ofFile path: String, into buffer: UnsafeMutableBufferPointer<Float>) throws {
        let image = try Image(contentsOf: path, transparency: processor.transparency)
        try processor.write(image, into: buffer, canvas: imageSize)
    }

    /// [B, 3, H, W] → visual tokens [B, N, V]; frozen, so nothing is recorded.
    public func callAsFunction(_ images: Tensor) throws -> Tensor {
        try withoutGradients {
            switch model {
            case .efficientNetLite(let network): try network.tokens(images)
            case .clip(let network): try network(images)
            case .siglip(let network): try network(images)
            case .eva(let network): try network(images)
            }
        }
    }

    /// What ``forward`` of the command line writes: named tensors for [B, 3, H, W].
    public func outputs(_ images: Tensor) throws -> [NamedTensor] {
        try withoutGradients {
            switch model {
            case .efficientNetLite(let network):
                let grid = try network.grid(images)
                return [NamedTensor("grid", grid), NamedTensor("logits", try network.logits(grid: grid))]
            case .clip(let network):
                let hidden = try network(images)
                return [NamedTensor("hidden", hidden), NamedTensor("pooled", try network.pooled(hidden))]
            case .siglip(let network):
                let hidden = try network(images)
                let pooled = try network.pooled(hidden).map { [NamedTensor("pooled", $0)] } ?? []
                return [NamedTensor("hidden", hidden)] + pooled
            case .eva(let network): return [NamedTensor("hidden", try network(images))]
            }
        }
    }
}
