import Backbones
import Methods
import Runs
import Support
import Tasks
import Torch

/// Everything that is ready before the first step.
struct TrainingSetup {
    let task: any VQATask
    let train: TaskData
    let test: TaskData
    let validation: TaskData?
    let backbone: DVPBackbone
    let reader: DVPReader
    let tower: VisionTower
    let features: VisualFeatures
    let vocabulary: AnswerVocabulary
    let precision: DType
    let trainData: DVPData
    let model: DVP

    /// What the scores are of: the test split, unless its answers are not published.
    var scored: TaskData { test.hasAnswers ? test : validation ?? test }

    /// Row of a sample's visual tokens; nil when its image is unreadable.
    func imageRow(_ sample: Sample) -> Int? { sample.images.first.flatMap { features.rows[$0] } }
}

extension TrainingRun {
    /// Loads data and models, and encodes the images.
    ///
    /// - Parameter isSearch: for a search of the placement, which needs held-out questions.
    func prepare(isSearch: Bool = false, shouldStop: () -> Bool = { false }) throws -> TrainingSetup {
        if let threads = configuration.threads { try Engine.setThreads(threads) }
        let task = try TaskRegistry.named(configuration.task)
        let (train, test, validation) = try loadData(task, isSearch: isSearch)
        let vocabulary = try makeVocabulary(train)
        say("answers: \(vocabulary.coverage(of: train))")
        let backbone = try DVPBackbone(configuration.languageModel, format: configuration.frozenFormat)
        let reader = try DVPReader(
            backbone, answers: configuration.dvp.answers, maxLength: configuration.maxTextLength,
            prompt: configuration.prompt)
        let tower = try VisionTower(configuration.visionModel, imageSize: configuration.imageSize)
        let precision = try chosenPrecision(configuration.precision)
        say("models: \(backbone.name) and \(tower.name), frozen, in \(precision)")

        // Before the images, which may take hours: a setting that does not fit the model ends the run here.
        var model = try DVP(
            backbone.language(), visualSize: tower.featureSize, classes: vocabulary.answers.count,
            configuration.dvp, isSearch: isSearch)
        try model.prepareTraining(seed: configuration.seed, precision: precision)
        let all = [train, test, validation].compactMap { $0 }.flatMap {
            $0.samples.compactMap(\.images.first)
        }
        let features = try encode(all, tower, shouldStop)
        let trainData = try DVPData(
            train.samples, reader: reader, vocabulary: vocabulary,
            learnsWriting: configuration.dvp.answers == .write
        ) { $0.images.first.flatMap { features.rows[$0] } }
        try report(trainData)
        return TrainingSetup(
            task: task, train: train, test: test, validation: validation, backbone: backbone, reader: reader,
            tower: tower, features: features, vocabulary: vocabulary, precision: precision,
            trainData: trainData, model: model)
    }

    private func report(_ data: DVPData) throws {
        if data.unanswerable > 0 {
            say(
                "note: \(data.unanswerable) training questions have no answer in the vocabulary and are left out"
            )
        }
        guard !data.items.isEmpty else {
            throw VQAError("cannot train", because: "there is no question left to train on")
        }
        if data.unseen > 0 {
            say("note: \(data.unseen) training questions are left out with their images")
        }
    }

    // MARK: Data

    private func loadData(_ task: any VQATask, isSearch: Bool) throws -> (TaskData, TaskData, TaskData?) {
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
        return (train, test, validation)
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
        return data
    }

    private func makeVocabulary(_ train: TaskData) throws -> AnswerVocabulary {
        if let path = configuration.answerList { return try AnswerVocabulary(contentsOf: path) }
        if let list = train.answerList {
            // DVP's numbers of SNLI-VE's labels, from contradiction to entailment, are the other way round.
            return try AnswerVocabulary(configuration.task == "snli-ve" ? list.reversed() : list)
        }
        var rule = configuration.preset == .released ? AnswerVocabulary.Rule.released : .fixed
        rule.minimumCount = configuration.answerMinimumCount
        return try AnswerVocabulary(countedIn: [train], rule: rule)
    }

    private func encode(
        _ paths: [String], _ tower: VisionTower, _ shouldStop: () -> Bool
    ) throws -> VisualFeatures {
        let clock = Stopwatch()
        var bar = ProgressBar(label: "images", total: Set(paths).count)
        let features = try VisualFeatures(
            paths, tower: tower, cacheFolder: configuration.cacheFolder,
            brokenShare: configuration.brokenImageShare
        ) { done, total in
            bar.update(step: done)
            guard shouldStop() else { return }
            throw VQAError(
                "stopped", because: "interrupted after \(done) of \(total) images",
                remedy: "run the same command again to go on", kind: .failure)
        }
        bar.finish()
        for problem in features.problems.prefix(5) { say("warning: skipped: \(problem)") }
        if features.problems.count > 5 {
            say("warning: \(features.problems.count) images were skipped in all")
        }
        say(
            "images: \(features.rows.count), \(features.computed) encoded now in \(durationText(clock.seconds)), "
                + "the others were in \(configuration.cacheFolder)")
        return features
    }

    func learner(_ setup: TrainingSetup) -> DVPLearner {
        DVPLearner(
            setup.model, setup.trainData, reader: setup.reader, visual: setup.features.tokens,
            classes: setup.vocabulary.answers.count, precision: setup.precision,
            cachesLower: configuration.cachesFeatures)
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
