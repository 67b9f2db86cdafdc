import Backbones
import Checkpoints
import Runs
import Support
import Torch

/// One forward pass of a model, for comparing implementations tensor by tensor.
public struct Forward {
    private let model: String
    private let prompt: String?
    private let images: [String]
    private let dtype: DType
    private let decoderIDs: [Int]?
    private let visionModel: String?

    /// - Parameters:
    ///   - prompt: for text encoders.
    ///   - images: for image encoders, where several are one batch, and for models that read both.
    ///   - decoderIDs: what the decoder of a T5 reads; its start token unless given.
    ///   - visionModel: the folder of LLaVA's image tower, where its checkpoint does not hold it.
    public init(
        model: String, prompt: String?, images: [String], dtype: String, decoderIDs: [Int]? = nil,
        visionModel: String? = nil
    ) throws {
        guard let dtype = [DType.float32, .bfloat16].first(where: { "\($0)" == dtype }) else {
            throw VQAError(
                "cannot compute", at: "--dtype \(dtype)", because: "it is neither float32 nor bfloat16")
        }
        self.model = model
        self.prompt = prompt
        self.images = images
        self.dtype = dtype
        self.decoderIDs = decoderIDs
        self.visionModel = visionModel
    }

    /// Language and joined models: see ``LanguageModel/outputs(_:decoderIDs:)``. BERT: `input_ids` [1, T], `hidden` [1, T, D], `pooled` [1, D]. Image encoders: `pixel_values` [B, 3, H, W] and
    /// `hidden`, `pooled` (CLIP) or `grid`, `logits` (EfficientNet-Lite0).
    public func run() throws -> [NamedTensor] {
        let path = try ModelLibrary.locate(model)
        let family = try family(path)
        if family == "bert" { return try text() }
        return try family.map { LanguageModel.families.contains($0) } ?? false ? language() : vision()
    }

    /// `model_type`; nil for files that hold an image encoder.
    private func family(_ path: String) throws -> String? {
        if path.hasSuffix(".gguf") { return "llama" }
        guard isFolder(path) else { return nil }
        return try JSON(contentsOf: path + "/config.json")["model_type"]?.string
    }

    private func language() throws -> [NamedTensor] {
        guard let prompt else {
            throw VQAError(
                "cannot run the model", at: model, because: "it reads text", remedy: "give --prompt")
        }
        let format = dtype == .bfloat16 ? WeightFormat.bfloat16 : .float32
        let opened = try LanguageModel(model, format: format, vision: visionModel)
        return try opened.outputs(opened.prepare(prompt, images: images), decoderIDs: decoderIDs)
    }

    /// Writes the tensors to a safetensors file.
    public static func write(_ tensors: [NamedTensor], to path: String) throws {
        try asBadInput { try writeTensors(tensors, to: path) }
    }

    private func text() throws -> [NamedTensor] {
        guard let prompt else {
            throw VQAError(
                "cannot run the model", at: model, because: "it reads text", remedy: "give --prompt")
        }
        guard images.isEmpty else {
            throw VQAError(
                "cannot run the model", at: model, because: "it reads text only", remedy: "leave --image out")
        }
        let encoder = try TextEncoder(model)
        let batch = try TokenBatch([encoder.ids(of: prompt, limit: encoder.configuration.positions)])
        let bert = try encoder.model()
        return try withoutGradients {
            let hidden = try withAutocast(dtype) { try bert(batch.ids, mask: batch.mask) }
            let pooled = try bert.pooled(hidden)
            return [NamedTensor("input_ids", batch.ids), NamedTensor("hidden", hidden)]
                + (pooled.map { [NamedTensor("pooled", $0)] } ?? [])
        }
    }

    private func vision() throws -> [NamedTensor] {
        let tower = try VisionTower(model)
        guard !images.isEmpty else {
            throw VQAError(
                "cannot run the model", at: model, because: "it reads images", remedy: "give --image")
        }
        let (height, width) = tower.imageSize
        let size = 3 * height * width
        var pixels = [Float](repeating: 0, count: images.count * size)
        for (index, image) in images.enumerated() {
            try pixels.withUnsafeMutableBufferPointer {
                try tower.pixels(
                    ofFile: image,
                    into: UnsafeMutableBufferPointer(rebasing: $0[index * size..<(index + 1) * size]))
            }
        }
        let batch = try Tensor(pixels, [images.count, 3, height, width])
        return [NamedTensor("pixel_values", batch)] + (try withAutocast(dtype) { try tower.outputs(batch) })
    }
}
