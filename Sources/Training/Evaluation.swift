import Backbones
import Methods
import Runs
import Support
import Tasks
import Torch

/// What an evaluation is asked to do.
public struct EvaluationRequest: Sendable {
    /// The adapter's folder; nil lets ``model`` answer by itself.
    public var adapter: String?
    /// The language model: where an adapter's is now, or the model that answers.
    public var model: String?
    /// The image encoder, when it is not where the adapter or the model says.
    public var visionModel: String?
    /// How the weights of a model without adapter are kept.
    public var format = WeightFormat.automatic
    /// The most tokens of an answer that is written.
    public var maxNewTokens = 16
    /// The short name of the task.
    public var task: String
    /// The folder of the data set; nil is the embedded easy-VQA.
    public var dataRoot: String?
    /// The split.
    public var split: String
    /// Only the first so many questions.
    public var limit: Int?
    /// Questions computed together.
    public var batchSize = 64
    /// The share of images that may be unreadable; their questions count as wrong.
    public var brokenImageShare = 0.0
    /// The folder for predictions and scores; nil: one under `runs/evaluations` named by the content of the weights and data,
    /// so that other weights never continue these answers.
    public var output: String?
    /// Where features of images are kept.
    public var cacheFolder = "runs/cache"

    /// An evaluation of `task`, without adapter and model.
    public init(task: String, split: String) { (self.task, self.split) = (task, split) }
}

/// Answers a split with an adapted model, or with one that writes, and scores the answers. Predictions are written one by
/// one; a killed evaluation goes on where it stopped.
public struct Evaluation {
    private let request: EvaluationRequest

    /// What an evaluation found.
    public struct Result {
        /// The task's own scores, with intervals; nil for a split whose answers are not published.
        public let scores: Scores?
        /// The task, the split and the number of questions.
        public let data: (task: String, split: String, count: Int)
        /// Where predictions, scores and the file for the data set's server were written.
        public let folder: String

        /// The scores, as `--json` prints them.
        public var json: JSON {
            scores?.json ?? [
                "task": .string(data.task), "split": .string(data.split), "overall": .null,
                "n": .integer(data.count),
            ]
        }
        /// The scores for reading, and the folder.
        public var lines: [String] {
            let found =
                scores.map(scoreTable) ?? [
                    "\(data.task) \(data.split): \(counted(data.count, "question")) answered; the answers of this split are "
                        + "not published"
                ]
            return found + ["written to \(folder)"]
        }
    }

    /// - Throws: `VQAError` for a limit or share that makes no sense, and without adapter and model.
    public init(_ request: EvaluationRequest) throws {
        func refuse(_ place: String, _ why: String) -> VQAError {
            VQAError("cannot evaluate", at: place, because: why)
        }
        if let limit = request.limit, limit < 1 { throw refuse("--limit \(limit)", "it must be at least 1") }
        guard request.batchSize > 0 else {
            throw refuse("--batch-size \(request.batchSize)", "it must be at least 1")
        }
        guard (0...1).contains(request.brokenImageShare) else {
            throw refuse("--broken-image-share", "\(request.brokenImageShare) is not from 0 to 1")
        }
        guard request.adapter != nil || request.model != nil else {
            throw VQAError(
                "cannot evaluate", because: "neither --adapter nor --model is given",
                remedy: "give the adapter's folder, or a model that writes")
        }
        self.request = request
    }

    /// Answers what is not answered yet, then scores all answers.
    ///
    /// - Parameters:
    ///   - say: receives a line about what is done.
    ///   - shouldStop: asked between pieces; true ends with an error, and the next run goes on there.
    public func run(say: (String) -> Void, shouldStop: () -> Bool) throws -> Result {
        let family = try TaskRegistry.named(request.task)
        let all = try family.load(request.dataRoot ?? ModelLibrary.easyVQAData(), split: request.split)
        let data = all.limited(to: request.limit)
        try family.requireTextAnswers(data)
        let answerer = try answerer()
        let hash = SHA256.hexadecimal(of: [answerer.contentHash, all.contentHash])
        let folder = request.output ?? "runs/evaluations/\(family.name)-\(request.split)-\(hash.prefix(12))"
        let writer = try asBadInput {
            try makeFolder(folder)
            try claim(folder, hash)
            return try PredictionWriter(folder + "/predictions.jsonl", resuming: true)
        }
        for note in answerer.notes { say(note) }
        // An earlier run with a larger --limit answered more than is asked for now.
        let wanted = Set(data.samples.map(\.id))
        let done = Set(writer.finished.map(\.id)).intersection(wanted)
        let rest = data.samples.filter { !done.contains($0.id) }
        if !done.isEmpty { say("going on: \(done.count) questions are answered, \(rest.count) are left") }
        let broken = try answer(rest, of: data, family, answerer, writer, shouldStop)
        if let first = broken.first {
            say(
                "\(counted(broken.count, "image")) cannot be read, their questions count as wrong; the first: \(first)"
            )
        }
        let predictions = try readPredictions(folder + "/predictions.jsonl").filter { wanted.contains($0.id) }
        var scores: Scores?
        if data.samples.allSatisfy({ !$0.answers.isEmpty }) {
            let found = try score(
                predictions, on: data, task: family, options: ScoreOptions(allowsMissing: !broken.isEmpty))
            let text = found.json.text(indented: true) + "\n"
            try asBadInput { try writeFile(text, to: folder + "/scores.json") }
            scores = found
        }
        if predictions.count == data.samples.count {
            try asBadInput {
                try family.writeSubmission(
                    predictions, for: data, to: "\(folder)/\(family.submissionFile(for: data))")
            }
        }
        return Result(
            scores: scores, data: (data.task, data.split, data.samples.count), folder: folder)
    }

    private func answerer() throws -> any Answerer {
        if let adapter = request.adapter {
            return try adaptedAnswerer(
                adapter, languageModel: request.model, visionModel: request.visionModel)
        }
        let model = try LanguageModel(
            request.model ?? "", format: request.format, vision: request.visionModel)
        return try GeneratingAnswerer(model, maxNewTokens: request.maxNewTokens)
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
            "content_hash": .string(hash), "adapter": request.adapter.map { .string($0) } ?? .null,
            "model": request.model.map { .string($0) } ?? .null, "task": .string(request.task),
            "split": .string(request.split),
        ]
        try writeFile(record.text(indented: true) + "\n", to: path)
    }

    /// Returns a line for each image that cannot be read.
    private func answer(
        _ samples: [Sample], of data: TaskData, _ family: any VQATask, _ answerer: any Answerer,
        _ writer: PredictionWriter, _ shouldStop: () -> Bool
    ) throws -> [String] {
        guard !samples.isEmpty else { return [] }
        var bar = ProgressBar(label: "answering", total: samples.count)
        defer { bar.finish() }
        var done = 0
        let limits = AnsweringLimits(
            batchSize: request.batchSize, brokenImageShare: request.brokenImageShare,
            cacheFolder: request.cacheFolder)
        return try answerer.answer(
            samples, of: data, family: family, limits: limits,
            record: { predictions in
                for prediction in predictions { try asBadInput { try writer.append(prediction) } }
                done += predictions.count
                bar.update(step: done)
            }, shouldStop: shouldStop)
    }
}
