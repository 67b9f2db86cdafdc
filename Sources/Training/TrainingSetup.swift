import Backbones
import Methods
import Runs
import Support
import Tasks
import Torch

/// The splits of a run.
struct RunData {
    let task: any VQATask
    let train: TaskData
    let test: TaskData
    let validation: TaskData?

    /// What the scores are of: the test split, unless its answers are not published.
    var scored: TaskData { test.hasAnswers ? test : validation ?? test }

    /// All of them.
    var splits: [TaskData] { [train, test, validation].compactMap { $0 } }

    /// The first image of every sample of all, with repeats.
    var images: [String] { splits.flatMap { $0.samples.compactMap(\.images.first) } }
}

/// A method on the data and the frozen models of a run: everything that is ready before the first step.
protocol Adaptation {
    var data: RunData { get }
    /// Language model and image encoder, with the hashes of their weights.
    var models: [(name: String, hash: String)] { get throws }
    /// Of the matrix products.
    var precision: DType { get }
    /// Of the training data. Training changes its parameters in place, and with them what answers.
    var learner: any PlacementLearner { get }
    /// Parameters, the frozen ones included.
    var parameterCount: Int { get throws }
    /// The content of the adapter's `adapter_config.json`.
    var adapterConfiguration: JSON { get throws }

    /// Of held-out data, with the same parameters.
    func scorer(_ validation: TaskData) throws -> any PlacementLearner
    /// Answers a split, all samples but the `unseen` ones whose image is unreadable.
    func predictions(of data: TaskData) throws -> (predictions: [Prediction], unseen: Int)
    /// What can be answered without looking at images, by the name of the way; none where that is not measured.
    func blindPredictions(of data: TaskData) throws -> [(name: String, predictions: [Prediction])]
    /// The tensors of an adapter, or of a checkpoint of the release, under our names.
    func savedWeights(_ path: String) throws -> [String: Tensor]
}

extension TrainingRun {
    /// Loads data and models, and encodes the images.
    ///
    /// - Parameter isSearch: for a search of the placement, which needs held-out questions.
    func prepare(isSearch: Bool = false, shouldStop: @escaping () -> Bool = { false }) throws
        -> any Adaptation
    {
        if let threads = configuration.threads { try Engine.setThreads(threads) }
        let data = try loadData(try TaskRegistry.named(configuration.task), isSearch: isSearch)
        return try configuration.scienceQA == nil
            ? DVPAdaptation(self, data, isSearch: isSearch, shouldStop)
            : ScienceQAAdaptation(self, data, isSearch: isSearch, shouldStop)
    }

    /// Says what was left out of the training data, and refuses to go on with nothing.
    func report(items: Int, unanswerable: Int, unseen: Int) throws {
        if unanswerable > 0 {
            say("note: \(unanswerable) training questions have no answer to learn and are left out")
        }
        guard items > 0 else {
            throw VQAError("cannot train", because: "there is no question left to train on")
        }
        if unseen > 0 { say("note: \(unseen) training questions are left out with their images") }
    }

    // MARK: Data

    private func loadData(_ task: any VQATask, isSearch: Bool) throws -> RunData {
        let root = try configuration.dataRoot ?? ModelLibrary.easyVQAData()
        var train = try load(task, root, configuration.trainSplits)
        let test = try load(task, root, [configuration.testSplit])
        var validation = try configuration.validationSplit.map { names in
            try load(task, root, names.split(separator: "+").map(String.init))
        }
        if validation == nil {
            let needed = isSearch ? min(1000, max(1, train.imageCount / 10)) : nil
            if let count = configuration.holdoutImages ?? needed {
                validation = try train.holdOut(count, seed: configuration.seed)
            }
        }
        say(
            "data: \(train.samples.count) questions to train on, \(test.samples.count) to test on (\(task.name))"
        )
        if let validation { say("validation: \(validation.samples.count) questions (\(validation.split))") }
        for note in train.notes + test.notes { say("note: \(note)") }
        let shared = test.imagesShared(with: train)
        if shared > 0 { say("warning: \(shared) test images are also in the training data") }
        guard test.hasAnswers || validation?.hasAnswers == true else {
            throw VQAError(
                "cannot score the run", at: "test_split",
                because: "the answers of \(task.name) \(test.split) are not published",
                remedy: "set validation_split, or holdout_images")
        }
        return RunData(task: task, train: train, test: test, validation: validation)
    }

    private func load(_ task: any VQATask, _ root: String, _ splits: [String]) throws -> TaskData {
        guard !splits.isEmpty else {
            throw VQAError(
                "cannot train", at: "train_split", because: "it names no split",
                remedy: "name one, such as train")
        }
        var parts = try splits.map { try task.load(root, split: $0).limited(to: configuration.limit) }
        var data = parts.removeFirst()
        for part in parts {
            data.samples += part.samples
            data.notes += part.notes
        }
        data.split = splits.joined(separator: "+")
        guard !data.samples.isEmpty else {
            throw VQAError(
                "cannot train", at: "\(task.name), split \(data.split)", because: "it has no questions")
        }
        try task.requireTextAnswers(data)
        return data
    }
}

extension TaskData {
    /// Whether every question has an answer to score against.
    var hasAnswers: Bool { samples.allSatisfy { !$0.answers.isEmpty } }

    /// Distinct images.
    var imageCount: Int { Set(samples.map(\.imageID)).count }

    /// Takes images with all their questions out, a function of the seed and the images' names.
    mutating func holdOut(_ count: Int, seed: Int) throws -> TaskData {
        let images = Set(samples.map(\.imageID)).sorted()
        guard count < images.count else {
            throw VQAError(
                "cannot hold out images", at: "holdout_images",
                because: "\(count) is not fewer than the \(images.count) images of \(split)")
        }
        var random = CounterRandom(seed: seed, purpose: "hold out")
        let chosen = Set(images.shuffled(using: &random).prefix(count))
        var held = self
        held.split = "\(count) images held out of \(split)"
        held.samples = samples.filter { chosen.contains($0.imageID) }
        samples.removeAll { chosen.contains($0.imageID) }
        return held
    }
}
