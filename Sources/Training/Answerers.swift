import Backbones
import Methods
import Runs
import Support
import Tasks
import Torch

/// What answers the questions of a data set.
protocol Answerer {
    /// Identifies the weights and settings that answer.
    var contentHash: String { get }
    /// What the user should know beforehand, one line each.
    var notes: [String] { get }

    /// Answers `samples` in pieces that go to `record` as soon as they are known.
    ///
    /// - Parameters:
    ///   - data: where the samples come from.
    ///   - limits: batch size, images that may be broken, where features are kept.
    ///   - record: receives the next predictions.
    ///   - shouldStop: asked between pieces; true ends with the error of ``stopped(_:)``.
    /// - Returns: one line for each image that could not be read; its questions have no prediction.
    func answer(
        _ samples: [Sample], of data: TaskData, family: any VQATask, limits: AnsweringLimits,
        record: ([Prediction]) throws -> Void, shouldStop: () -> Bool
    ) throws -> [String]
}

/// Settings of an evaluation that do not change an answer.
struct AnsweringLimits {
    /// Questions computed together.
    var batchSize: Int
    /// The share of images that may be unreadable.
    var brokenImageShare: Double
    /// Where features of images are kept.
    var cacheFolder: String
}

/// The error of an interrupted evaluation.
func stopped(_ after: String) -> VQAError {
    VQAError(
        "stopped", because: "interrupted after \(after)", remedy: "run the same command again to go on",
        kind: .failure)
}

/// What answers with an adapter folder, by its method.
func adaptedAnswerer(_ folder: String, languageModel: String?, visionModel: String?) throws -> any Answerer {
    let record = try AdapterRecord(folder: folder)
    if record.method == ScienceQADescription.method {
        return ScienceQAAnswerer(
            adapter: try ScienceQAAdapter(
                record, folder: folder, languageModel: languageModel, visionModel: visionModel))
    }
    return AdaptedAnswerer(
        model: try AdaptedModel(
            record, folder: folder, languageModel: languageModel, visionModel: visionModel))
}

/// A frozen model with a DVP adapter.
struct AdaptedAnswerer: Answerer {
    let model: AdaptedModel

    var contentHash: String { model.contentHash }
    var notes: [String] { [] }

    func answer(
        _ samples: [Sample], of data: TaskData, family: any VQATask, limits: AnsweringLimits,
        record: ([Prediction]) throws -> Void, shouldStop: () -> Bool
    ) throws -> [String] {
        var part = data
        part.samples = samples
        let features = try VisualFeatures(
            samples.compactMap(\.images.first), tower: model.tower, cacheFolder: limits.cacheFolder,
            brokenShare: limits.brokenImageShare
        ) { done, total in
            if shouldStop() { throw stopped("\(done) of \(total) images") }
        }
        let items = try DVPData(samples, reader: model.reader, vocabulary: nil) {
            $0.images.first.flatMap { features.rows[$0] }
        }
        let learner = DVPLearner(
            model.model, items, reader: model.reader, visual: features.tokens,
            classes: model.description.vocabulary.answers.count, precision: .float32)
        let predictor = DVPPredictor(
            learner, items, part, family, model.description.vocabulary,
            maxNewTokens: model.description.maxNewTokens)
        // Small pieces, in order: what is answered is on the disk.
        for start in stride(from: 0, to: items.items.count, by: 1024) {
            if shouldStop() { throw stopped("\(start) questions") }
            let range = start..<min(start + 1024, items.items.count)
            try record(predictor.predictions(range: range, batch: limits.batchSize))
        }
        return features.problems
    }
}

/// A model that writes its answers, without an adapter: the prompt of the task, its template, greedy search.
struct GeneratingAnswerer: Answerer {
    let model: LanguageModel
    let options: GenerationOptions
    let contentHash: String

    /// - Parameter maxNewTokens: the most tokens of an answer.
    init(_ model: LanguageModel, maxNewTokens: Int) throws {
        self.model = model
        var options = GenerationOptions()
        (options.eosIDs, options.padID, options.bosID) = (
            model.generation.eosIDs, model.generation.padID, model.generation.bosID
        )
        options.decoderStartID = model.generation.decoderStartID
        options.maxNewTokens = maxNewTokens
        try options.validate(source: "the command")
        self.options = options
        contentHash = SHA256.hexadecimal(of: [try model.contentHash(), "generate", "\(maxNewTokens)"])
    }

    var notes: [String] {
        model.readsImages ? [] : ["\(model.name) reads text only: it answers without seeing the images"]
    }

    func answer(
        _ samples: [Sample], of data: TaskData, family: any VQATask, limits: AnsweringLimits,
        record: ([Prediction]) throws -> Void, shouldStop: () -> Bool
    ) throws -> [String] {
        var broken = BrokenImages(
            share: limits.brokenImageShare, images: Set(samples.flatMap(\.images)).count)
        for start in stride(from: 0, to: samples.count, by: limits.batchSize) {
            if shouldStop() { throw stopped("\(start) questions") }
            var (asked, prompts): ([Sample], [PreparedPrompt]) = ([], [])
            for sample in samples[start..<min(start + limits.batchSize, samples.count)] {
                do {
                    prompts.append(try prompt(for: sample, family))
                    asked.append(sample)
                } catch let error as VQAError {
                    try broken.add(error, of: sample)
                }
            }
            let results = try model.generate(batch: prompts, options: options, shouldStop: shouldStop)
            // What was cut short by an interruption is no answer.
            if shouldStop() { throw stopped("\(start) questions") }
            try record(
                zip(asked, results).map { sample, results in
                    let text = results.first?.text ?? ""
                    return Prediction(
                        family.answer(fromGenerated: text, for: sample), to: sample,
                        extra: [.init("text", .string(text))])
                })
        }
        return broken.lines
    }

    private func prompt(for sample: Sample, _ family: any VQATask) throws -> PreparedPrompt {
        let images = model.readsImages ? sample.images : []
        let (text, addSpecialTokens) = try model.chatPrompt(family.prompt(for: sample), images: images.count)
        return try model.prepare(text, images: images, addSpecialTokens: addSpecialTokens)
    }
}

/// Counts the questions whose images cannot be read, up to the share that is allowed.
private struct BrokenImages {
    let share: Double
    let images: Int
    private var seen: Set<String> = []
    private(set) var lines: [String] = []

    init(share: Double, images: Int) {
        (self.share, self.images) = (share, images)
    }

    /// Throws `error` when it is one too many, or about something else than an image of `sample`.
    mutating func add(_ error: VQAError, of sample: Sample) throws {
        guard let image = sample.images.first(where: { error.place?.contains($0) == true }) else {
            throw error
        }
        if seen.insert(image).inserted { lines.append("\(error)") }
        guard Double(seen.count) <= share * Double(images) else {
            throw VQAError(
                error.what, at: error.place, because: error.why,
                remedy: "repair it, or skip up to a share with --broken-image-share", kind: error.kind)
        }
    }
}
