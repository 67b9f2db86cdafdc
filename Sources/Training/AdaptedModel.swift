import Backbones
import Checkpoints
import Methods
import Support
import Tasks
import Torch

/// A frozen model with an adapter, ready to answer.
public struct AdaptedModel {
    /// What the adapter folder says about itself.
    public let description: AdapterDescription
    /// The frozen language model with the adapter's weights in place.
    public let model: DVP
    /// The language model's tokenizer, and how questions become ids.
    public let reader: DVPReader
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
        try self.init(
            AdapterRecord(folder: folder), folder: folder, languageModel: languageModel,
            visionModel: visionModel)
    }

    init(_ record: AdapterRecord, folder: String, languageModel: String?, visionModel: String?) throws {
        description = try AdapterDescription(record)
        let backbone = try DVPBackbone(
            languageModel ?? description.languageModel, format: description.frozenFormat)
        reader = try DVPReader(
            backbone, answers: description.settings.answers, maxLength: description.maxTextLength,
            prompt: description.prompt)
        tower = try VisionTower(visionModel ?? description.visionModel, imageSize: description.imageSize)
        try record.requireSame([
            ((backbone.name, try backbone.weightsHash), description.languageHash),
            ((tower.name, try tower.weightsHash), description.visionHash),
        ])
        let path = folder + "/adapter_model.safetensors"
        var network = try DVP(
            backbone.language(), visualSize: tower.featureSize,
            classes: description.vocabulary.answers.count, description.settings)
        let trained = try Checkpoint(opening: path).tensors()
        // A frozen weight in the file would silently take the place of the model's own.
        for key in trained.keys.sorted() where !network.isTrained(key) {
            throw VQAError(
                "cannot use the adapter", at: path,
                because: "\(key) is a frozen weight, which no adapter has")
        }
        try network.load(trained: trained, from: path)
        model = network
        var hash = SHA256()
        let parts = try [SHA256.hexadecimal(ofFile: path), backbone.weightsHash, tower.weightsHash]
        for part in parts {
            hash.add(part)
        }
        contentHash = hash.hexadecimal()
    }

    /// An answer with its probability.
    public struct Answer: Sendable, Equatable {
        /// The answer as the vocabulary has it, or as it was written.
        public let text: String
        /// From 0 to 1, where it is known. Where answers are judged apart, the sum need not be 1.
        public let probability: Double?
    }

    /// The best answers to a question about an image file, best first; one when answers are written.
    public func answers(image path: String, question: String, count: Int = 5) throws -> [Answer] {
        guard question.contains(where: { !$0.isWhitespace }) else {
            throw VQAError(
                "cannot answer", at: path, because: "the question is empty", remedy: "ask something")
        }
        let (height, width) = tower.imageSize
        var pixels = [Float](repeating: 0, count: 3 * height * width)
        try pixels.withUnsafeMutableBufferPointer { try tower.pixels(ofFile: path, into: $0) }
        let visual = try tower(Tensor(pixels, [1, 3, height, width]))
        let sample = Sample(id: QuestionID(0), imageID: path, question: question, answers: [])
        let data = try DVPData([sample], reader: reader, vocabulary: nil) { _ in 0 }
        let learner = DVPLearner(
            model, data, reader: reader, visual: visual, classes: description.vocabulary.answers.count,
            precision: .float32, cachesLower: false)
        if description.settings.answers == .write {
            return try learner.write([0], limit: description.maxNewTokens).map {
                Answer(text: $0.text, probability: $0.probability)
            }
        }
        let probabilities = try learner.probabilities([0])
        guard probabilities.allSatisfy(\.isFinite) else {
            throw VQAError(
                "cannot answer", at: path, because: "the probabilities are no numbers",
                remedy: "train the adapter again: its weights are broken", kind: .failure)
        }
        return best(probabilities, of: description.vocabulary, count: count)
    }
}

/// The best answers of an adapter, of any method, to a question about an image file, best first.
///
/// - Parameters:
///   - choices: the options of a question of multiple choice, for adapters that read them.
///   - languageModel: where the language model is now, when not where the adapter says.
///   - visionModel: likewise for the image encoder.
public func adapterAnswers(
    _ folder: String, image: String, question: String, choices: [String] = [], count: Int = 5,
    languageModel: String? = nil, visionModel: String? = nil
) throws -> [AdaptedModel.Answer] {
    let record = try AdapterRecord(folder: folder)
    if record.method == ScienceQADescription.method {
        let adapter = try ScienceQAAdapter(
            record, folder: folder, languageModel: languageModel, visionModel: visionModel)
        return [.init(text: try adapter.answer(question, choices, image: image), probability: nil)]
    }
    guard choices.isEmpty else {
        throw VQAError(
            "cannot answer", at: "--choice", because: "this adapter answers from what it was trained on",
            remedy: "leave out --choice")
    }
    let model = try AdaptedModel(
        record, folder: folder, languageModel: languageModel, visionModel: visionModel)
    return try model.answers(image: image, question: question, count: count)
}
