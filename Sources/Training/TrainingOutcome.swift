import Methods
import Runs
import Support
import Tasks
import Torch

extension TrainingRun.Outcome {
    /// What a user wants to read at the end of a run.
    public var text: String {
        let rows =
            [("adapted model", scores)] + baselines.map { ($0.name, $0.scores) }
        let width = rows.map(\.0.count).max() ?? 0
        var lines = ["", "\(scores.task) \(scores.split), \(scores.count) questions"]
        for (name, scores) in rows {
            let label = name + String(repeating: " ", count: width - name.count)
            let interval = "95 % interval \(decimal(scores.low, 2)) to \(decimal(scores.high, 2))"
            lines.append("  \(label)  \(decimal(scores.overall, 2)) %   \(interval)")
        }
        let train = record.trainInfo
        lines += [
            "",
            "trained parameters  \(train.trainableParameters) of \(train.totalParameters)",
            "adapter             \(byteText(train.adapterBytes)) in \(folder)/adapter",
            "time                \(durationText(record.runInfo.totalSeconds)), "
                + "\(durationText(train.trainSeconds)) of them training",
            "peak memory         \(byteText(train.peakMemoryBytes))",
            "report              \(folder)/report.html",
            "", "try it:", "  \(askCommand)",
        ]
        return lines.joined(separator: "\n")
    }

    /// The same for programs: folder, scores, baselines, record and a question to ask.
    public var json: JSON {
        [
            "run": .string(folder), "scores": scores.json,
            "baselines": .object(baselines.map { .init($0.name, $0.scores.json) }), "record": record.json,
            "ask": .string(askCommand),
        ]
    }
}

/// What a run would cost, measured on its first batch.
public struct TrainingEstimate {
    let items: Int
    let steps: Int
    let secondsPerStep: Double
    let longestQuestion: Int
    let tokensPerBatch: Int
    let trainedParameters: Int
    let peakMemoryBytes: Int

    /// What a user wants to read before a run.
    public var text: String {
        """
        questions to train on  \(items), the longest of \(longestQuestion) tokens
        first batch            \(tokensPerBatch) tokens with padding
        trained parameters     \(trainedParameters)
        time                   about \(durationText(secondsPerStep * Double(steps))) for \(steps) steps, \
        \(decimal(1000 * secondsPerStep, 1)) ms each
        peak memory so far     \(byteText(peakMemoryBytes))
        """
    }

    /// The same for programs; durations in seconds, memory in bytes.
    public var json: JSON {
        [
            "questions": .integer(items), "longest_question_tokens": .integer(longestQuestion),
            "batch_tokens": .integer(tokensPerBatch), "trained_parameters": .integer(trainedParameters),
            "steps": .integer(steps), "seconds_per_step": .number(secondsPerStep),
            "seconds": .number(secondsPerStep * Double(steps)),
            "peak_memory_bytes": .integer(peakMemoryBytes),
        ]
    }
}

extension TrainingRun {
    /// Prepares everything and times a few steps of a copy; nothing is written but the feature cache.
    public func estimate() throws -> TrainingEstimate {
        let learner = try prepare().learner
        let settings = TrainerSettings(configuration)
        let batches = EpochOrder.batches(
            count: learner.itemCount, size: settings.batchSize, seed: settings.seed, epoch: 0,
            length: settings.groupsByLength ? learner.length : nil)
        let optimizer = Optimizer(
            settings.optimizer,
            try learner.groups(decay: settings.decay, headRateScale: settings.headRateScale))
        guard let first = batches.first else {
            throw VQAError("cannot train", because: "there is no question left to train on")
        }
        var seconds = Double.infinity
        for batch in batches.prefix(4) {
            let clock = Stopwatch()
            try optimizer.clearGradients()
            try learner.loss(batch).backward()
            try optimizer.step(rate: 0)
            seconds = min(seconds, clock.seconds)
        }
        let steps = min(batches.count * settings.epochs, settings.maxSteps ?? .max)
        return TrainingEstimate(
            items: learner.itemCount, steps: steps, secondsPerStep: seconds,
            longestQuestion: (0..<learner.itemCount).map(learner.length).max() ?? 0,
            tokensPerBatch: first.count * (first.map(learner.length).max() ?? 0),
            trainedParameters: try learner.trained().reduce(0) { $0 + $1.tensor.count },
            peakMemoryBytes: peakResidentBytes())
    }
}
