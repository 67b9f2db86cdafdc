import Methods
import Runs
import Support
import Tasks
import Torch

/// A search of the insertion layer (KAB-APP), from its configuration to its report.
public struct PlacementSearch {
    /// What a finished search found.
    public struct Outcome {
        /// The run folder.
        public let folder: String
        /// The choice, and all that it rests on.
        public let placement: Placement
        /// The command that trains with the prompt at the chosen layer.
        public let nextCommand: String
        /// Seconds of all.
        public let seconds: Double
        /// ``peakResidentBytes()``
        public let peakMemoryBytes: Int
    }

    private let configuration: TrainingConfiguration
    private let file: String
    private let say: (String) -> Void

    /// - Parameters:
    ///   - file: the configuration's file, for the command that comes next.
    ///   - say: receives one line about each stage.
    public init(_ configuration: TrainingConfiguration, file: String, say: @escaping (String) -> Void) {
        self.configuration = configuration
        self.file = file
        self.say = say
    }

    /// Trains all placements at once and lets the bandit choose.
    ///
    /// - Parameters:
    ///   - resume: an existing run folder to go on with.
    ///   - output: where the run folder goes; nil: under `runs/`.
    ///   - overwrite: whether a run that is there is replaced.
    ///   - shouldStop: asked between steps; true ends the search with a checkpoint.
    public func run(
        resume: String? = nil, output: String? = nil, overwrite: Bool = false, command: [String],
        shouldStop: @escaping () -> Bool
    ) throws -> Outcome {
        let clock = Stopwatch()
        let resumed = try resume.map { try RunFolder.resume($0, warn: say) }
        let run = try TrainingRun(configuration, say: say).goingOn(with: resumed)
        let setup = try run.prepare(isSearch: true, shouldStop: shouldStop)
        let learner = try searchLearner(setup)
        var (folder, record) = try run.open(
            setup, resumed, name: configuration.name + "-search", output: output, overwrite: overwrite,
            command)
        try search(run, learner, folder, &record, resuming: resume != nil, shouldStop)

        let placement = try placement(learner, folder)
        try asBadInput {
            try writeFile(placement.json.text(indented: true) + "\n", to: folder.path + "/search.json")
        }
        record.trainInfo.peakMemoryBytes = peakResidentBytes()
        record.trainInfo.metrics = placement.json
        record.runInfo.totalSeconds = clock.seconds
        record.runInfo.finishedAt = timestampUTC()
        record.runInfo.status = .finished
        try folder.write(record)
        try folder.write(report: report(placement, folder, record))
        return Outcome(
            folder: folder.path, placement: placement, nextCommand: nextCommand(placement.layer, command),
            seconds: clock.seconds, peakMemoryBytes: peakResidentBytes())
    }

    // MARK: Parts

    private func searchLearner(_ setup: any Adaptation) throws -> DVPSearchLearner {
        guard let validation = setup.data.validation else {
            throw VQAError("cannot search", because: "there are no held-out questions", kind: .failure)
        }
        let scorer = try setup.scorer(validation)
        say(
            "search: \(scorer.placements.count) layers, \(configuration.search.settings.draws) draws a step, scored on "
                + "\(counted(scorer.itemCount, "question")) of \(validation.split)")
        if configuration.validatesOnTest {
            say("warning: the layers are compared on the test split; its score will be too good")
        }
        return try DVPSearchLearner(
            setup.learner, scorer: scorer, configuration.search.settings,
            batchSize: configuration.batchSize, seed: configuration.seed)
    }

    /// The configuration's own, but for the number of passes, unless that is the search's too.
    private func settings(_ learner: DVPSearchLearner) -> TrainerSettings {
        var settings = TrainerSettings(configuration)
        guard !configuration.search.isStage else { return settings }
        let steps = Double((learner.itemCount + settings.batchSize - 1) / settings.batchSize)
        let wanted = max(1, Int((configuration.search.epochs * steps).rounded(.up)))
        settings.maxSteps = min(wanted, settings.maxSteps ?? wanted)
        settings.epochs = Int(configuration.search.epochs.rounded(.up))
        return settings
    }

    private func search(
        _ run: TrainingRun, _ learner: DVPSearchLearner, _ folder: RunFolder, _ record: inout RunRecord,
        resuming: Bool,
        _ shouldStop: @escaping () -> Bool
    ) throws {
        let trainer = try Trainer(learner, settings(learner), folder: folder)
        learner.plan(steps: trainer.totalSteps)
        var table = LiveTable()
        let say = say
        learner.onRound = { step, bandit in
            table.update(Placement.table(Array(bandit.ranking.prefix(16))))
            guard !table.isVisible, step % 100 == 0, let first = bandit.ranking.first else { return }
            say("step \(step): K = \(first.layer) leads with pi \(decimal(first.probability, 4))")
        }
        defer { learner.onRound = nil }
        var bar = ProgressBar(label: "searching", total: trainer.totalSteps)
        try run.drive(trainer, &bar, folder, &record, resuming: resuming, shouldStop)
    }

    private func placement(_ learner: DVPSearchLearner, _ folder: RunFolder) throws -> Placement {
        let lines = try readJSONLines(folder.metricsPath)
        let stride = max(1, lines.count / 200)
        let history = lines.enumerated().filter { $0.offset % stride == 0 || $0.offset == lines.count - 1 }
            .compactMap { _, line -> (step: Int, policy: [Double])? in
                guard let step = line["step"]?.integer,
                    let policy = line["policy"]?.array?.compactMap(\.double)
                else { return nil }
                return (step, policy)
            }
        let bandit = learner.bandit
        return Placement(
            layer: bandit.best, ranking: bandit.ranking, confidence: bandit.confidence,
            percentByLayer: try learner.heldOutPercent(), questions: learner.heldOutCount, history: history)
    }

    private func report(
        _ placement: Placement, _ folder: RunFolder, _ record: RunRecord
    ) throws -> ReportContent {
        let percent = placement.percentByLayer
        let chosen = percent[placement.layer] ?? 0
        var content = ReportContent(
            title: configuration.name + ", placement search",
            headline: .init(
                name: "held-out accuracy with the prompt at layer \(placement.layer)", percent: chosen,
                count: placement.questions))
        content.subtitle = "\(record.runInfo.backbone), frozen; all layers trained together"
        content.placement = placement.reported
        content.facts = ReportContent.facts(of: record)
        content.loss = try readJSONLines(folder.metricsPath).compactMap { line in
            guard let step = line["step"]?.integer, let loss = line["loss"]?.double else { return nil }
            return .init(step: step, loss: loss)
        }
        content.reproduceCommand = record.runInfo.command.map(quoted).joined(separator: " ")
        content.configuration = configuration.resolved.yaml()
        return content
    }

    /// The same settings with the layer; a configuration of the release's search has one of training beside it.
    private func nextCommand(_ layer: Int, _ command: [String]) -> String {
        let training = file.replacing("dvp_search_", with: "dvp_adaption_")
        let given = command.drop { $0 != file }.dropFirst().filter {
            $0.contains("=") && !$0.hasPrefix("-") && !$0.hasPrefix("search_")
                && !$0.hasPrefix("insert_layer=")
        }
        return (["\(command.first ?? "vqa")", "train", training] + given + ["insert_layer=\(layer)"])
            .map(quoted).joined(separator: " ")
    }
}

extension PlacementSearch.Outcome {
    /// What a user wants to read at the end of a search.
    public var text: String {
        var lines = ["", "layers, the best first"]
        lines += Placement.table(placement.ranking, percent: placement.percentByLayer)
        lines += [
            "", "chosen         insert_layer=\(placement.layer)", "               \(placement.verdict)",
            "time           \(durationText(seconds))", "peak memory    \(byteText(peakMemoryBytes))",
            "report         \(folder)/report.html", "", "go on with:", "  \(nextCommand)",
        ]
        return lines.joined(separator: "\n")
    }

    /// The same for programs.
    public var json: JSON {
        [
            "run": .string(folder), "search": placement.json, "seconds": .number(seconds),
            "peak_memory_bytes": .integer(peakMemoryBytes), "next": .string(nextCommand),
        ]
    }
}
