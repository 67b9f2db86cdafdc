import Backbones
import Methods
import Runs
import Support
import Tasks
import Torch

/// Answers a split with an adapted model and scores the answers. Predictions are written one by one; a killed
/// evaluation goes on where it stopped.
public struct Evaluation {
    private let adapter: String
    private let languageModel: String?
    private let visionModel: String?
    private let task: String
    private let dataRoot: String?
    private let split: String
    private let limit: Int?
    private let batchSize: Int
    private let output: String?
    private let cacheFolder: String

    /// What an evaluation found.
    public struct Result {
        /// The task's own scores, with intervals.
        public let scores: Scores
        /// Where predictions and scores were written.
        public let folder: String

        /// The scores, as `--json` prints them.
        public var json: JSON { scores.json }
        /// The score with its interval and the folder, for reading.
        public var text: String {
            "\(scores.task) \(scores.split): \(decimal(scores.overall, 2)) % of \(scores.count) questions "
                + "(95 % interval \(decimal(scores.low, 2)) to \(decimal(scores.high, 2)))\nwritten to \(folder)"
        }
    }

    /// - Parameters:
    ///   - output: the folder for predictions and scores; nil: one under `runs/evaluations` named by the content of the
    ///     weights and data, so that other weights never continue these answers.
    public init(
        adapter: String, languageModel: String?, visionModel: String?, task: String, dataRoot: String?,
        split: String,
        limit: Int?, batchSize: Int, output: String?, cacheFolder: String = "runs/cache"
    ) {
        self.adapter = adapter
        self.languageModel = languageModel
        self.visionModel = visionModel
        self.task = task
        self.dataRoot = dataRoot
        self.split = split
        self.limit = limit
        self.batchSize = max(1, batchSize)
        self.output = output
        self.cacheFolder = cacheFolder
    }

    /// Answers what is not answered yet, then scores all answers.
    ///
    /// - Parameters:
    ///   - say: receives a line about what is done.
    ///   - shouldStop: asked between pieces; true ends with an error, and the next run goes on there.
    public func run(say: (String) -> Void, shouldStop: () -> Bool) throws -> Result {
        let family = try TaskRegistry.named(task)
        if let limit, limit < 1 {
            throw VQAError("cannot evaluate", at: "--limit \(limit)", because: "it must be at least 1")
        }
        let all = try family.load(dataRoot ?? ModelLibrary.easyVQAData(), split: split)
        let data = all.limited(to: limit)
        let model = try AdaptedModel(adapter: adapter, languageModel: languageModel, visionModel: visionModel)
        let hash = SHA256.hexadecimal(of: [model.contentHash, all.contentHash])
        let folder = output ?? "runs/evaluations/\(family.name)-\(split)-\(hash.prefix(12))"
        let writer = try asBadInput {
            try makeFolder(folder)
            try claim(folder, hash)
            return try PredictionWriter(folder + "/predictions.jsonl", resuming: true)
        }
        // An earlier run with a larger --limit answered more than is asked for now.
        let wanted = Set(data.samples.map(\.id))
        let done = Set(writer.finished.map(\.id)).intersection(wanted)
        let rest = data.samples.filter { !done.contains($0.id) }
        if !done.isEmpty { say("going on: \(done.count) questions are answered, \(rest.count) are left") }
        try answer(rest, of: data, with: model, writer, say, shouldStop)
        let predictions = try readPredictions(folder + "/predictions.jsonl").filter { wanted.contains($0.id) }
        let scores = try score(
            predictions, on: data, task: family, options: ScoreOptions())
        try asBadInput { try writeFile(scores.json.text(indented: true) + "\n", to: folder + "/scores.json") }
        if data.task == "vqav2" {
            try asBadInput {
                try family.writeSubmission(predictions, for: data, to: folder + "/submission.json")
            }
        }
        return Result(scores: scores, folder: folder)
    }

    /// Refuses a folder whose predictions come from other weights or are about other data.
    private func claim(_ folder: String, _ hash: String) throws {
        let path = folder + "/evaluation.json"
        if fileExists(path), let found = try JSON(contentsOf: path)["content_hash"]?.string,
            found != hash
        {
            throw VQAError(
                "cannot go on with the evaluation", at: folder,
                because: "its predictions were made by other weights or for other data",
                remedy: "use another --output")
        }
        let answered = folder + "/predictions.jsonl"
        if !fileExists(path), fileExists(answered), try MappedFile(answered).count > 0 {
            throw VQAError(
                "cannot evaluate", at: folder, because: "it holds predictions that are not of an evaluation",
                remedy: "use another --output")
        }
        let record: JSON = [
            "content_hash": .string(hash), "adapter": .string(adapter), "task": .string(task),
            "split": .string(split),
        ]
        try writeFile(record.text(indented: true) + "\n", to: path)
    }

    private func answer(
        _ samples: [Sample], of data: TaskData, with model: AdaptedModel, _ writer: PredictionWriter,
        _ say: (String) -> Void, _ shouldStop: () -> Bool
    ) throws {
        guard !samples.isEmpty else { return }
        var part = data
        part.samples = samples
        let features = try VisualFeatures(
            samples.compactMap(\.images.first), tower: model.tower, cacheFolder: cacheFolder, brokenShare: 0
        ) { done, total in
            guard shouldStop() else { return }
            throw VQAError(
                "stopped", because: "interrupted after \(done) of \(total) images",
                remedy: "run the same command again to go on", kind: .failure)
        }
        let items = try DVPData(
            samples, encoder: model.encoder, maxLength: model.description.maxTextLength, vocabulary: nil
        ) { $0.images.first.flatMap { features.rows[$0] } }
        let learner = DVPLearner(
            model.model, items, visual: features.tokens, classes: model.description.vocabulary.answers.count,
            precision: .float32)
        var bar = ProgressBar(label: "answering", total: samples.count)
        defer { bar.finish() }
        // Small pieces, in order: what is answered is on the disk.
        for start in stride(from: 0, to: items.items.count, by: 1024) {
            if shouldStop() {
                throw VQAError(
                    "stopped", because: "interrupted after \(writer.finished.count + start) questions",
                    remedy: "run the same command again to go on", kind: .failure)
            }
            let range = start..<min(start + 1024, items.items.count)
            for prediction in try predict(
                items, part, range: range, model.description.vocabulary, batch: batchSize,
                {
                    try learner.probabilities($0)
                })
            { try asBadInput { try writer.append(prediction) } }
            bar.update(step: range.upperBound)
        }
    }
}
