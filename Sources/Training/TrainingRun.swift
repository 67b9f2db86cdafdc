import Backbones
import Checkpoints
import Images
import Methods
import Runs
import Support
import Tasks
import Torch

/// One training run from its configuration to its report.
public struct TrainingRun {
    /// What a finished run found.
    public struct Outcome {
        /// The run folder.
        public let folder: String
        /// Of the adapted model on the test split.
        public let scores: Scores
        /// Scores without images, by name.
        public let baselines: [(name: String, scores: Scores)]
        /// What `run.json` keeps: configuration, machine, times, scores.
        public let record: RunRecord
        /// A command line that asks the adapter about an image of the test split.
        public let askCommand: String
        /// True: a run that was stopped throws instead.
        public let finished: Bool
    }

    let configuration: TrainingConfiguration
    let say: (String) -> Void

    /// - Parameter say: receives one line about each stage.
    public init(_ configuration: TrainingConfiguration, say: @escaping (String) -> Void) {
        self.configuration = configuration
        self.say = say
    }

    /// Everything that is ready before the first step.
    struct Setup {
        let task: any VQATask
        let train: TaskData
        let test: TaskData
        let validation: TaskData?
        let encoder: TextEncoder
        let tower: VisionTower
        let features: VisualFeatures
        let vocabulary: AnswerVocabulary
        let precision: DType
        let trainData: DVPData
        let model: DVPBERT
    }

    // MARK: Stages

    func prepare(shouldStop: () -> Bool = { false }) throws -> Setup {
        if let threads = configuration.threads { try Engine.setThreads(threads) }
        let task = try TaskRegistry.named(configuration.task)
        let root = try configuration.dataRoot ?? ModelLibrary.easyVQAData()
        let train = try load(task, root, configuration.trainSplits)
        let test = try load(task, root, [configuration.testSplit])
        let validation = try configuration.validationSplit.map { try load(task, root, [$0]) }
        say(
            "data: \(train.samples.count) questions to train on, \(test.samples.count) to test on (\(task.name))"
        )
        for note in train.notes + test.notes { say("note: \(note)") }
        let shared = test.imagesShared(with: train)
        if shared > 0 { say("warning: \(shared) test images are also in the training data") }

        let vocabulary = try makeVocabulary(train)
        say("answers: \(vocabulary.coverage(of: train))")
        let encoder = try TextEncoder(configuration.languageModel)
        try requireLength(configuration.maxTextLength, in: encoder)
        let tower = try VisionTower(configuration.visionModel, imageSize: configuration.imageSize)
        let precision = try chosenPrecision(configuration.precision)
        say("models: \(encoder.name) and \(tower.name), frozen, in \(precision)")

        let all = [train, test, validation].compactMap { $0 }.flatMap {
            $0.samples.compactMap(\.images.first)
        }
        // Before the images, which may take hours: a setting that does not fit the model ends the run here.
        let model = try makeModel(encoder, tower, vocabulary, precision)
        let features = try encode(all, tower, shouldStop)
        let trainData = try DVPData(
            train.samples, encoder: encoder, maxLength: configuration.maxTextLength, vocabulary: vocabulary
        ) { $0.images.first.flatMap { features.rows[$0] } }
        if trainData.unanswerable > 0 {
            say(
                "note: \(trainData.unanswerable) training questions have no answer in the vocabulary and are left out"
            )
        }
        guard !trainData.items.isEmpty else {
            throw VQAError("cannot train", because: "there is no question left to train on")
        }
        if trainData.unseen > 0 {
            say("note: \(trainData.unseen) training questions are left out with their images")
        }
        return Setup(
            task: task, train: train, test: test, validation: validation, encoder: encoder, tower: tower,
            features: features, vocabulary: vocabulary, precision: precision, trainData: trainData,
            model: model)
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
        if let list = train.answerList { return try AnswerVocabulary(list) }
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

    private func makeModel(
        _ encoder: TextEncoder, _ tower: VisionTower, _ vocabulary: AnswerVocabulary, _ precision: DType
    ) throws -> DVPBERT {
        let settings = configuration.dvp
        var model = try DVPBERT(
            encoder.configuration, visualSize: tower.featureSize, classes: vocabulary.answers.count, settings)
        try model.bert.load(encoder.weightsWithoutPooler, from: encoder.path)
        try model.initialize(seed: configuration.seed)
        try model.setTrainable { DVPBERT.isTrained($0, settings) }
        // Frozen maps are kept in the type they are multiplied in; tables and norms stay fp32.
        try model.convertFrozen(to: precision) { $0.contains(".encoder.") && !$0.contains("LayerNorm") }
        return model
    }

    func learner(_ setup: Setup) -> DVPLearner {
        DVPLearner(
            setup.model, setup.trainData, visual: setup.features.tokens,
            classes: setup.vocabulary.answers.count,
            precision: setup.precision, cachesLower: configuration.cachesFeatures)
    }

    // MARK: The run

    /// Trains, tests and reports.
    ///
    /// - Parameters:
    ///   - resume: an existing run folder to go on with.
    ///   - output: where the run folder goes; nil: under `runs/`.
    ///   - overwrite: whether a run that is there is replaced.
    ///   - shouldStop: asked between steps; true ends the run with a checkpoint.
    public func run(
        resume: String? = nil, output: String? = nil, overwrite: Bool = false, command: [String],
        shouldStop: @escaping () -> Bool
    ) throws -> Outcome {
        let clock = Stopwatch()
        let resumed = try resume.map { try RunFolder.resume($0, warn: say) }
        if let resumed { try requireSameConfiguration(as: resumed) }
        let setup = try prepare(shouldStop: shouldStop)
        let folder =
            try resumed
            ?? RunFolder.create(
                configurationName: configuration.name, output: output, replacing: overwrite, warn: say)
        var record = try startRecord(setup, folder, command)
        if resumed == nil {
            try folder.write(configuration: configuration.resolved)
        } else {
            try requireSameInputs(as: folder, record)
        }
        try folder.write(record)

        let learner = learner(setup)
        let trainer = try Trainer(learner, TrainerSettings(configuration), folder: folder)
        record.trainInfo.trainableParameters = try learner.trained().reduce(0) { $0 + $1.tensor.count }
        record.trainInfo.totalParameters = try setup.model.parameters().reduce(0) { $0 + $1.tensor.count }
        say(
            "training: \(record.trainInfo.trainableParameters) of \(record.trainInfo.totalParameters) parameters, "
                + "\(trainer.totalSteps) steps of \(configuration.batchSize)")
        var bar = ProgressBar(label: "training", total: trainer.totalSteps)
        let done: Bool
        do {
            done = try trainer.run(
                resuming: resume != nil, progress: &bar,
                afterEpoch: { epoch in
                    guard let validation = setup.validation else { return nil }
                    let (scores, _) = try test(learner.model, setup, validation)
                    return "epoch \(epoch): \(validation.split) \(decimal(scores.overall, 2)) %"
                }, shouldStop: shouldStop)
        } catch {
            record.runInfo.status = .failed
            try? folder.write(record)
            throw error
        }
        bar.finish()
        record.trainInfo.steps = trainer.step
        record.trainInfo.epochs = Double(trainer.step) / Double(trainer.stepsPerEpoch)
        record.trainInfo.trainSeconds = trainer.seconds
        record.trainInfo.finalLoss = trainer.lastLoss
        guard done else {
            record.runInfo.status = .interrupted
            try folder.write(record)
            throw VQAError(
                "stopped", at: folder.path,
                because: "interrupted after step \(trainer.step) of \(trainer.totalSteps)",
                remedy: "go on with --resume \(folder.path)", kind: .failure)
        }
        let description = try AdapterDescription(
            languageModel: setup.encoder, tower: setup.tower, maxTextLength: configuration.maxTextLength,
            settings: configuration.dvp, vocabulary: setup.vocabulary, task: setup.task.name)
        try folder.saveAdapter { path in
            try writeTensors(learner.trained(), to: path + "/adapter_model.safetensors")
            try writeFile(description.json.text(indented: true) + "\n", to: path + "/adapter_config.json")
        }
        return try finish(setup, learner.model, folder, &record, clock)
    }

    private func startRecord(_ setup: Setup, _ folder: RunFolder, _ command: [String]) throws -> RunRecord {
        var info = RunRecord.RunInfo(name: folder.name, command: command)
        info.method = configuration.method
        info.preset = configuration.preset.rawValue
        info.backbone = "\(setup.encoder.name) + \(setup.tower.name)"
        info.task = setup.task.name
        info.configuration = configuration.resolved.json
        info.configurationSHA256 = configuration.resolved.sha256
        var meta = RunRecord.MetaInfo(programVersion: programVersion)
        meta.threads = (try? Engine.threads()) ?? 0
        meta.dtype = "\(setup.precision)"
        for data in [setup.train, setup.test] {
            meta.dataHashes["\(setup.task.name) \(data.split)"] = data.contentHash
        }
        meta.libraries = ["libtorch": (try? Engine.version()) ?? "?"]
        meta.weightHashes[setup.encoder.name] = try setup.encoder.weightsHash
        meta.weightHashes[setup.tower.name] = try setup.tower.weightsHash
        return RunRecord(runInfo: info, metaInfo: meta)
    }

    // MARK: After training

    private func test(
        _ model: DVPBERT, _ setup: Setup, _ data: TaskData
    ) throws -> (scores: Scores, predictions: [Prediction]) {
        let items = try DVPData(
            data.samples, encoder: setup.encoder, maxLength: configuration.maxTextLength, vocabulary: nil
        ) { $0.images.first.flatMap { setup.features.rows[$0] } }
        let learner = DVPLearner(
            model, items, visual: setup.features.tokens, classes: setup.vocabulary.answers.count,
            precision: setup.precision, cachesLower: configuration.cachesFeatures)
        let predictions = try predict(items, data, setup.vocabulary) { try learner.probabilities($0) }
        let options = ScoreOptions(
            allowsMissing: items.unseen > 0, bootstrap: Bootstrap(seed: configuration.seed))
        return (try score(predictions, on: data, task: setup.task, options: options), predictions)
    }

    private func finish(
        _ setup: Setup, _ model: DVPBERT, _ folder: RunFolder, _ record: inout RunRecord, _ clock: Stopwatch
    ) throws -> Outcome {
        let evaluation = Stopwatch()
        let (scores, predictions) = try test(model, setup, setup.test)
        try asBadInput {
            let writer = try PredictionWriter(folder.predictionsPath, resuming: false)
            for prediction in predictions { try writer.append(prediction) }
        }
        try folder.write(scores: scores.json)
        let baselines = configuration.baselines ? try baselines(setup) : []
        record.trainInfo.evaluationSeconds = evaluation.seconds
        record.trainInfo.metrics = .object(
            [.init("test", scores.json)] + baselines.map { .init($0.name, .number($0.scores.overall)) })
        record.trainInfo.peakMemoryBytes = peakResidentBytes()
        record.trainInfo.adapterBytes = try MappedFile(folder.adapterPath + "/adapter_model.safetensors")
            .count
        record.runInfo.totalSeconds = clock.seconds
        record.runInfo.finishedAt = timestampUTC()
        record.runInfo.status = .finished
        try folder.write(record)
        let example = setup.test.samples.first
        let ask = [
            record.runInfo.command.first ?? "vqa", "ask", relative(example?.images.first ?? "IMAGE"),
            example?.question ?? "QUESTION", "--adapter", folder.adapterPath,
        ].map(quoted).joined(separator: " ")
        let report = try Report(
            configuration, setup.test, predictions, scores, baselines, record, folder, ask)
        try folder.write(report: report.content())
        return Outcome(
            folder: folder.path, scores: scores, baselines: baselines, record: record, askCommand: ask,
            finished: true)
    }

    /// Scores of answering without the image.
    private func baselines(_ setup: Setup) throws -> [(name: String, scores: Scores)] {
        let options = ScoreOptions(bootstrap: Bootstrap(seed: configuration.seed))
        func scored(_ predictions: [Prediction]) throws -> Scores {
            try score(predictions, on: setup.test, task: setup.task, options: options)
        }
        let prior = try PriorBaseline(train: setup.train)
        let blind = try NoImageBaseline(
            setup.encoder, setup.trainData, classes: setup.vocabulary.answers.count, seed: configuration.seed)
        let items = try DVPData(
            setup.test.samples, encoder: setup.encoder, maxLength: configuration.maxTextLength,
            vocabulary: nil
        ) { _ in 0 }
        let classes = setup.vocabulary.answers.count
        let perQuestion = try blind.probabilities(items.questions)
        let predictions = try predict(items, setup.test, setup.vocabulary) { positions in
            positions.flatMap { position in
                let question = items.items[position].question
                return perQuestion[question * classes..<(question + 1) * classes]
            }
        }
        return [
            ("no image", try scored(predictions)),
            ("most frequent answer to the question", try scored(prior.perQuestion(setup.test))),
            ("most frequent answer", try scored(prior.global(setup.test))),
        ]
    }
}

/// The most probable answer of each item (of a range of them), in the order of the samples.
func predict(
    _ items: DVPData, _ data: TaskData, range: Range<Int>? = nil, _ vocabulary: AnswerVocabulary,
    batch: Int = 256,
    _ probabilities: ([Int]) throws -> [Float]
) throws -> [Prediction] {
    let classes = vocabulary.answers.count
    var predictions: [(sample: Int, prediction: Prediction)] = []
    // Questions of similar length together: less padding.
    let order = (range ?? items.items.indices).sorted {
        (items.questions[items.items[$0].question].count, $0) < (
            items.questions[items.items[$1].question].count, $1
        )
    }
    for start in stride(from: 0, to: order.count, by: batch) {
        let part = Array(order[start..<min(start + batch, order.count)])
        let values = try probabilities(part)
        for (row, item) in part.enumerated() {
            let top = best(values[row * classes..<(row + 1) * classes], of: vocabulary, count: 3)
            let sample = items.items[item].sample
            let candidates = top.map {
                JSON.array([.string($0.text), .number((1e4 * $0.probability).rounded() / 1e4)])
            }
            predictions.append(
                (
                    sample,
                    Prediction(
                        top.first?.text ?? "", to: data.samples[sample],
                        extra: [.init("candidates", .array(candidates))])
                ))
        }
    }
    return predictions.sorted { $0.sample < $1.sample }.map(\.prediction)
}

/// A path without the working directory at its start.
func relative(_ path: String) -> String {
    guard let here = workingDirectory(), path.hasPrefix(here + "/") else { return path }
    return String(path.dropFirst(here.count + 1))
}

/// A word as a shell takes it.
func quoted(_ word: String) -> String {
    let plain = word.allSatisfy { $0.isLetter || $0.isNumber || "/._-+:=@,".contains($0) }
    if plain && !word.isEmpty { return word }
    // Inside double quotes a shell still reads these.
    if !word.contains(where: { "\"$`\\!".contains($0) }) { return "\"\(word)\"" }
    return "'" + word.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
}
