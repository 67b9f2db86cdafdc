import Backbones
import Checkpoints
import Methods
import Support
import Tasks
import Torch

/// What an adapter folder says about itself, beside its weights.
///
/// `adapter_config.json` and `adapter_model.safetensors`, as peft names them; `peft_type` is the method.
public struct AdapterDescription {
    public var languageModel: String
    public var languageHash: String
    public var visionModel: String
    public var visionHash: String
    public var imageSize: Int
    public var maxTextLength: Int
    public var settings: DVPSettings
    public var vocabulary: AnswerVocabulary
    public var task: String

    static let version = 1

    public var json: JSON {
        [
            "peft_type": "DVP", "swift_vqa_adapter_version": .integer(AdapterDescription.version),
            "base_model_name_or_path": .string(languageModel), "base_model_sha256": .string(languageHash),
            "vision_model": .string(visionModel), "vision_model_sha256": .string(visionHash),
            "image_size": .integer(imageSize), "max_text_len": .integer(maxTextLength), "task": .string(task),
            "insert_layer": .integer(settings.insertLayer), "use_adapter": .bool(settings.usesAdapters),
            "freeze_below": .bool(settings.freezesBelowInsertion),
            "visual_norm": .bool(settings.hasVisualNorm),
            "adapter_reduction": .integer(settings.adapterReduction), "num_heads": .integer(settings.heads),
            "answers": vocabulary.json,
        ]
    }

    init(
        languageModel: TextEncoder, tower: VisionTower, maxTextLength: Int, settings: DVPSettings,
        vocabulary: AnswerVocabulary, task: String
    ) {
        self.languageModel = languageModel.name
        languageHash = languageModel.weightsHash
        visionModel = tower.name
        visionHash = tower.weightsHash
        imageSize = tower.imageSize.height
        self.maxTextLength = maxTextLength
        self.settings = settings
        self.vocabulary = vocabulary
        self.task = task
    }

    init(folder: String) throws {
        let path = folder + "/adapter_config.json"
        let json = try JSON(contentsOf: path)
        func missing(_ key: String) -> VQAError {
            VQAError("cannot read the adapter", at: path, because: "'\(key)' is missing or of another kind")
        }
        func text(_ key: String) throws -> String {
            guard let value = json[key]?.string else { throw missing(key) }
            return value
        }
        func size(_ key: String) throws -> Int {
            guard let value = json[key]?.integer, (0...1 << 20).contains(value) else { throw missing(key) }
            return value
        }
        func truth(_ key: String) throws -> Bool {
            guard let value = json[key]?.bool else { throw missing(key) }
            return value
        }
        guard try text("peft_type") == "DVP" else {
            throw VQAError(
                "cannot read the adapter", at: path,
                because: "its method is \(try text("peft_type")), known is DVP")
        }
        guard let version = json["swift_vqa_adapter_version"]?.integer, version <= AdapterDescription.version
        else {
            throw VQAError(
                "cannot read the adapter", at: path, because: "it was written by a later version",
                remedy: "update this program")
        }
        languageModel = try text("base_model_name_or_path")
        languageHash = try text("base_model_sha256")
        visionModel = try text("vision_model")
        visionHash = try text("vision_model_sha256")
        imageSize = try size("image_size")
        maxTextLength = max(3, try size("max_text_len"))
        task = try text("task")
        settings = DVPSettings()
        settings.insertLayer = try size("insert_layer")
        settings.usesAdapters = try truth("use_adapter")
        settings.freezesBelowInsertion = try truth("freeze_below")
        settings.hasVisualNorm = try truth("visual_norm")
        settings.adapterReduction = max(1, try size("adapter_reduction"))
        settings.heads = max(1, try size("num_heads"))
        guard let answers = json["answers"] else { throw missing("answers") }
        vocabulary = try AnswerVocabulary(answers, source: path)
    }
}

/// A frozen model with an adapter, ready to answer.
public struct AdaptedModel {
    public let description: AdapterDescription
    public let model: DVPBERT
    public let encoder: TextEncoder
    public let tower: VisionTower
    /// Identifies the weights that answer: the hashes of the adapter and of both models.
    public let contentHash: String

    /// Opens an adapter folder and the frozen models it belongs to.
    ///
    /// - Parameters:
    ///   - languageModel: where the language model is now, when not where the adapter says.
    ///   - visionModel: likewise for the image encoder.
    public init(adapter folder: String, languageModel: String? = nil, visionModel: String? = nil) throws {
        description = try AdapterDescription(folder: folder)
        encoder = try TextEncoder(languageModel ?? description.languageModel)
        tower = try VisionTower(visionModel ?? description.visionModel, imageSize: description.imageSize)
        for (name, found, wanted) in [
            (encoder.name, encoder.weightsHash, description.languageHash),
            (tower.name, tower.weightsHash, description.visionHash),
        ] where found != wanted {
            throw VQAError(
                "cannot use the adapter", at: folder,
                because:
                    "it was trained on other weights than those of \(name) (\(wanted.prefix(12)), not \(found.prefix(12)))"
            )
        }
        let path = folder + "/adapter_model.safetensors"
        var network = try DVPBERT(
            encoder.configuration, visualSize: tower.featureSize,
            classes: description.vocabulary.answers.count,
            description.settings)
        var weights = encoder.weightsWithoutPooler.reduce(into: [String: Tensor]()) {
            $0["bert_model." + $1.key] = $1.value
        }
        for (key, tensor) in try Checkpoint(opening: path).tensors() { weights[key] = tensor }
        try network.load(weights, from: path)
        model = network
        var hash = SHA256()
        for part in [try SHA256.hexadecimal(ofFile: path), encoder.weightsHash, tower.weightsHash] {
            hash.add(part)
        }
        contentHash = hash.hexadecimal()
    }

    /// An answer with its probability.
    public struct Answer: Sendable, Equatable {
        public let text: String
        public let probability: Double
    }

    /// The best answers to a question about an image file, best first.
    public func answers(image path: String, question: String, count: Int = 5) throws -> [Answer] {
        let (height, width) = tower.imageSize
        var pixels = [Float](repeating: 0, count: 3 * height * width)
        try pixels.withUnsafeMutableBufferPointer { try tower.pixels(ofFile: path, into: $0) }
        let visual = try tower(Tensor(pixels, [1, 3, height, width]))
        let batch = try TokenBatch([encoder.ids(of: question, limit: description.maxTextLength)])
        let probabilities = try withoutGradients {
            try model(batch.ids, mask: batch.mask, visual: visual).logits.sigmoid().floats()
        }
        return best(probabilities, of: description.vocabulary, count: count)
    }
}

/// The most probable answers, best first.
func best(_ probabilities: some Collection<Float>, of vocabulary: AnswerVocabulary, count: Int)
    -> [AdaptedModel.Answer]
{
    let order = probabilities.enumerated().sorted { ($1.element, $0.offset) < ($0.element, $1.offset) }
    return order.prefix(count).map {
        AdaptedModel.Answer(text: vocabulary.answers[$0.offset], probability: Double($0.element))
    }
}
