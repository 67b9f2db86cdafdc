import Backbones
import Checkpoints
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
        /// Of the adapted model on the test split, or on the validation split where the test's answers are not published.
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
    /// The search that chose the placement, for the report.
    public var placement: Placement?
    /// The type that the run to go on with was started in.
    private(set) var startedIn: DType?

    /// - Parameter say: receives one line about each stage.
    public init(_ configuration: TrainingConfiguration, say: @escaping (String) -> Void) {
        self.configuration = configuration
        self.say = say
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
        guard !configuration.search.isStage else {
            throw VQAError(
                "cannot train", at: "search_stage", because: "the configuration is that of a search",
                remedy: "give it to vqa search")
        }
        let clock = Stopwatch()
        let resumed = try resume.map { try RunFolder.resume($0, warn: say) }
        let setup = try goingOn(with: resumed).prepare(shouldStop: shouldStop)
        if let path = configuration.loadPath { try load(path, into: setup) }
        var (folder, record) = try open(
            setup, resumed, name: configuration.name, output: output, overwrite: overwrite, command)
        if !configuration.testOnly {
            try train(setup, folder, &record, resuming: resume != nil, shouldStop)
        }
        let description = try setup.adapterConfiguration
        try folder.saveAdapter { path in
            try writeTensors(setup.learner.trained(), to: path + "/adapter_model.safetensors")
            try writeFile(description.text(indented: true) + "\n", to: path + "/adapter_config.json")
        }
        return try finish(setup, folder, &record, clock)
    }

    /// This run as the one that goes on with a folder, if there is one: its configuration is the same, and it computes in the
    /// type that it was started in, because `auto` may choose another one today.
    func goingOn(with folder: RunFolder?) throws -> TrainingRun {
        guard let folder else { return self }
        try requireSameConfiguration(as: folder)
        var run = self
        let name = try folder.readRecord()?.metaInfo.dtype
        run.startedIn = [DType.float32, .bfloat16].first { "\($0)" == name }
        return run
    }

    /// The loop, and the choice of the epoch.
    private func train(
        _ setup: any Adaptation, _ folder: RunFolder, _ record: inout RunRecord, resuming: Bool,
        _ shouldStop: @escaping () -> Bool
    ) throws {
        let learner = setup.learner
        let trainer = try Trainer(learner, TrainerSettings(configuration), folder: folder)
        say(
            "training: \(record.trainInfo.trainableParameters) of \(record.trainInfo.totalParameters) parameters, "
                + "\(trainer.totalSteps) steps of \(configuration.batchSize)")
        var best = try BestEpoch(folder, isResuming: resuming)
        let selects = configuration.selectEpoch == .best && setup.data.validation != nil
        var bar = ProgressBar(label: "training", total: trainer.totalSteps)
        try drive(trainer, &bar, folder, &record, resuming: resuming, shouldStop) { epoch in
            guard let validation = setup.data.validation else { return nil }
            let (scores, _) = try test(setup, validation)
            let percent = scores?.overall ?? 0
            if selects { try best.offer(epoch: epoch, score: percent, learner.trained()) }
            return "epoch \(epoch): \(validation.split) \(decimal(percent, 2)) %"
        }
        if selects, let found = try best.restore(into: learner.trained()) {
            let split = setup.data.validation?.split ?? ""
            let isTest = configuration.validatesOnTest ? ", which is also what it is tested on" : ""
            let note =
                "kept: epoch \(found.epoch), the best on \(split) with \(decimal(found.score, 2)) %\(isTest)"
            say(note)
            record.runInfo.notes.append(note)
        }
    }

    /// Begins with what an adapter, or a checkpoint of the release, has of what is trained.
    private func load(_ path: String, into setup: any Adaptation) throws {
        let found = try setup.savedWeights(path)
        for parameter in try setup.learner.trained() {
            guard let saved = found[parameter.key], saved.shape == parameter.tensor.shape else {
                let shape = found[parameter.key].map { "has the shape \($0.shape)" } ?? "is missing"
                throw VQAError(
                    "cannot begin with the checkpoint", at: path,
                    because: "\(parameter.key) \(shape), needed is \(parameter.tensor.shape)",
                    remedy: "load what was trained with the same settings")
            }
            try withoutGradients { try parameter.tensor.copy(from: saved.to(.float32)) }
        }
    }
}
