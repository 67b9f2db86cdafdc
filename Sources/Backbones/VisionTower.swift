import Checkpoints
import Images
import Support
import Torch

/// A frozen image encoder with its image processor: files in, visual tokens out.
public struct VisionTower {
    private enum Model {
        case efficientNetLite(EfficientNetLite)
        case clip(CLIPVision)
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
    ///   - name: a short name, a CLIP folder in the Hugging Face layout, or a file with the weights of EfficientNet-Lite0
    ///     or of an OpenAI CLIP tower.
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
        } else {
            let (network, ownProcessor) = try VisionTower.clip(weights, path)
            let side = network.configuration.imageSize
            if let imageSize, imageSize != side {
                throw VQAError(
                    "cannot use the image size", at: "image_size",
                    because: "\(imageSize) is not \(side), the size of \(name)")
            }
            model = .clip(network)
            processor = ownProcessor
            self.imageSize = (side, side)
            tokens = (side / network.configuration.patchSize) * (side / network.configuration.patchSize) + 1
            featureSize = network.configuration.hiddenSize
        }
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
            }
        }
    }
}
