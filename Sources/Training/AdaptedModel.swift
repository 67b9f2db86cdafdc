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
    /// The short name or path that the language model was opened by in training.
    public var languageModel: String
    /// The SHA-256 of its weights.
    public var languageHash: String
    /// The short name or path that the image encoder was opened by in training.
    public var visionModel: String
    /// The SHA-256 of its weights.
    public var visionHash: String
    /// Side of the input image, in pixels.
    public var imageSize: Int
    /// Tokens of a question, [CLS] and [SEP] included; the rest is cut.
    public var maxTextLength: Int
    /// What was added to the language model, and where.
    public var settings: DVPSettings
    /// The answers it chooses from, numbered as the classifier's rows.
    public var vocabulary: AnswerVocabulary
    /// The data set family it was trained on.
    public var task: String

    static let version = 1

    /// The content of `adapter_config.json`.
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
    ) throws {
        self.languageModel = languageModel.name
        languageHash = try languageModel.weightsHash
        visionModel = tower.name
        visionHash = try tower.weightsHash
        imageSize = tower.imageSize.height
        self.maxTextLength = maxTextLength
        self.settings = settings
        self.vocabulary = vocabulary
        self.task = task
    }

    init(folder: String) throws {
        let path = folder + "/adapter_config.json"
        guard fileExists(path) else {
            throw VQAError(
                "cannot find the adapter", at: folder, because: "it has no adapter_config.json",
                remedy: "train one, or give --adapter runs/NAME/adapter")
        }
        let json = try JSON(contentsOf: path)
        func missing(_ key: String) -> VQAError {
            VQAError("cannot read the adapter", at: path, because: "'\(key)' is missing or of another kind")
        }
        func text(_ key: String) throws -> String {
            guard let value = json[key]?.string else { throw missing(key) }
            return value
        }
        func size(_ key: String, in range: ClosedRange<Int> = 1...4096) throws -> Int {
            guard let value = json[key]?.integer else { throw missing(key) }
            guard range.contains(value) else {
                throw VQAError(
                    "cannot read the adapter", at: path,
                    because: "'\(key)' is \(value), not in \(range.lowerBound)…\(range.upperBound)")
            }
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
        maxTextLength = try size("max_text_len", in: 3...512)
        task = try text("task")
        settings = DVPSettings()
        settings.insertLayer = try size("insert_layer", in: 0...1000)
        settings.usesAdapters = try truth("use_adapter")
        settings.freezesBelowInsertion = try truth("freeze_below")
        settings.hasVisualNorm = try truth("visual_norm")
        settings.adapterReduction = try size("adapter_reduction")
        settings.heads = try size("num_heads", in: 1...1024)
        guard let answers = json["answers"] else { throw missing("answers") }
        vocabulary = try AnswerVocabulary(answers, source: path)
    }
}

/// A frozen model with an adapter, ready to answer.
public struct AdaptedModel {
    /// What the adapter folder says about itself.
    public let description: AdapterDescription
    /// The frozen language model with the adapter's weights in place.
    public let model: DVPBERT
    /// The language model's tokenizer and shape.
    public let encoder: TextEncoder
    /// The frozen image encoder.
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
        try requireLength(description.maxTextLength, in: encoder)
        tower = try VisionTower(visionModel ?? description.visionModel, imageSize: description.imageSize)
        for (name, found, wanted) in [
            (encoder.name, try encoder.weightsHash, description.languageHash),
            (tower.name, try tower.weightsHash, description.visionHash),
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
        for (key, tensor) in try Checkpoint(opening: path).tensors() {
            // A frozen weight in the file would silently take the place of the model's own.
            guard DVPBERT.isTrained(key, description.settings) else {
                throw VQAError(
                    "cannot use the adapter", at: path,
                    because: "\(key) is a frozen weight, which no adapter has")
            }
            weights[key] = try tensor.to(.float32)
        }
        try network.load(weights, from: path)
        model = network
        var hash = SHA256()
        let parts = try [SHA256.hexadecimal(ofFile: path), encoder.weightsHash, tower.weightsHash]
        for part in parts {
            hash.add(part)
        }
        contentHash = hash.hexadecimal()
    }

    /// An answer with its probability.
    public struct Answer: Sendable, Equatable {
        /// The answer as the vocabulary has it.
        public let text: String
        /// From 0 to 1; the answers are judged apart, so the sum need not be 1.
        public let probability: Double
    }

    /// The best answers to a question about an image file, best first.
    public func answers(image path: String, question: String, count: Int = 5) throws -> [Answer] {
        guard question.contains(where: { !$0.isWhitespace }) else {
            throw VQAError(
                "cannot answer", at: path, because: "the question is empty", remedy: "ask something")
        }
        let (height, width) = tower.imageSize
        var pixels = [Float](repeating: 0, count: 3 * height * width)
        try pixels.withUnsafeMutableBufferPointer { try tower.pixels(ofFile: path, into: $0) }
        let visual = try tower(Tensor(pixels, [1, 3, height, width]))
        let batch = try TokenBatch([encoder.ids(of: question, limit: description.maxTextLength)])
        let probabilities = try withoutGradients {
            try model(batch.ids, mask: batch.mask, visual: visual).logits.sigmoid().floats()
        }
        guard probabilities.allSatisfy(\.isFinite) else {
            throw VQAError(
                "cannot answer", at: path, because: "the probabilities are no numbers",
                remedy: "train the adapter again: its weights are broken", kind: .failure)
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

/// Refuses questions longer than the language model has positions for.
func requireLength(_ length: Int, in encoder: TextEncoder) throws {
    let positions = encoder.configuration.positions
    guard length <= positions else {
        throw VQAError(
            "cannot use the text length", at: "max_text_len",
            because: "\(length) is more than the \(positions) positions of \(encoder.name)")
    }
}
