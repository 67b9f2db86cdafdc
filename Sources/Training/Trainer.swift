import Checkpoints
import Methods
import Runs
import Support
import Torch

/// The order in which an epoch shows its items: a function of the seed and the epoch alone.
public struct EpochOrder {
    /// - Parameters:
    ///   - length: when given, items of similar length share a batch: within windows of fifty batches the shuffled items
    ///     are sorted by length, then the batches are shuffled.
    public static func batches(
        count: Int, size: Int, seed: Int, epoch: Int, length: ((Int) -> Int)? = nil
    ) -> [[Int]] {
        var random = CounterRandom(seed: seed, epoch: epoch, purpose: "shuffle")
        var items = Array(0..<count)
        items.shuffle(using: &random)
        if let length {
            let window = 50 * size
            for start in stride(from: 0, to: count, by: window) {
                let end = min(start + window, count)
                // Ties keep the shuffled order, so the sort is stable by position.
                let sorted = items[start..<end].enumerated().sorted {
                    (length($0.element), $0.offset) < (length($1.element), $1.offset)
                }
                items.replaceSubrange(start..<end, with: sorted.map(\.element))
            }
        }
        var batches = stride(from: 0, to: count, by: size).map { Array(items[$0..<min($0 + size, count)]) }
        if length != nil { batches.shuffle(using: &random) }
        return batches
    }
}

/// How a training loop goes.
public struct TrainerSettings {
    /// Of batches and dropout.
    public var seed = 0
    /// Items a step.
    public var batchSize = 64
    /// Parts a batch is computed in, to save memory.
    public var accumulation = 1
    /// Passes over the items.
    public var epochs = 1
    /// Ends the training earlier than the epochs would.
    public var maxSteps: Int?
    /// The peak learning rate.
    public var rate = 1e-3
    /// The head's learning rate is so many times higher.
    public var headRateScale = 1.0
    /// Weight decay.
    public var decay = 0.01
    /// How long the learning rate climbs to its peak.
    public var warmup = TrainingConfiguration.Warmup.share(0.1)
    /// How it falls afterwards.
    public var schedule = Schedule.Decay.cosine
    /// The update rule.
    public var optimizer = OptimizerKind.adamW()
    /// Gradients are scaled down to this length; nil leaves them.
    public var clip: Double?
    /// Puts items of similar length into one batch.
    public var groupsByLength = true
    /// Steps between checkpoints.
    public var checkpointEvery = 500

    /// One epoch with the defaults above.
    public init() {}

    /// The part of a run's configuration that concerns the loop.
    public init(_ configuration: TrainingConfiguration) {
        seed = configuration.seed
        batchSize = configuration.batchSize
        accumulation = configuration.accumulation
        epochs = configuration.epochs
        maxSteps = configuration.maxSteps
        rate = configuration.learningRate
        headRateScale = configuration.headRateScale
        decay = configuration.weightDecay
        warmup = configuration.warmup
        schedule = configuration.decay
        optimizer = configuration.optimizer
        clip = configuration.clip
        groupsByLength = configuration.groupsByLength
        checkpointEvery = configuration.checkpointEvery
    }
}

/// The training loop: batches, loss, backward, step, log, checkpoint. Killed at any moment it resumes to the same losses
/// and the same bytes, because batches and dropout are functions of (seed, epoch, step).
public final class Trainer {
    private let learner: any Learner
    private let settings: TrainerSettings
    private let folder: RunFolder
    private let optimizer: Optimizer
    private let schedule: Schedule
    /// Steps of one epoch; the last batch may be short.
    public let stepsPerEpoch: Int
    /// Steps of all epochs, or `maxSteps` when that is less.
    public let totalSteps: Int
    /// Steps done.
    public private(set) var step = 0
    /// The mean loss of the last step's batch, nil before the first.
    public private(set) var lastLoss: Double?
    /// Time spent in training, checkpoints and what follows an epoch; earlier runs included.
    public private(set) var seconds = 0.0

    /// Prepares a loop that writes into `folder`; throws when there is nothing to train on.
    public init(_ learner: any Learner, _ settings: TrainerSettings, folder: RunFolder) throws {
        self.learner = learner
        self.settings = settings
        self.folder = folder
        guard learner.itemCount > 0 else {
            throw VQAError("cannot train", because: "there is no question left to train on")
        }
        stepsPerEpoch = (learner.itemCount + settings.batchSize - 1) / settings.batchSize
        totalSteps = min(stepsPerEpoch * settings.epochs, settings.maxSteps ?? .max)
        schedule = Schedule(
            rate: settings.rate, warmup: settings.warmup.steps(of: totalSteps), total: totalSteps,
            decay: settings.schedule)
        optimizer = Optimizer(
            settings.optimizer,
            try learner.groups(decay: settings.decay, headRateScale: settings.headRateScale))
    }

    /// Trains to the end, or until `shouldStop` says so; then a checkpoint is written and false returned.
    ///
    /// - Parameters:
    ///   - afterEpoch: called with the number of epochs done; a text it gives is shown.
    ///   - shouldStop: asked before every step.
    public func run(
        resuming: Bool, progress: inout ProgressBar, afterEpoch: (Int) throws -> String? = { _ in nil },
        shouldStop: () -> Bool = { false }
    ) throws -> Bool {
        let saved = resuming ? try folder.newestCheckpoint() : nil
        if let saved { try restore(saved.folder) }
        let metrics = try folder.openMetrics(keepingThrough: saved?.step)
        let events = try folder.openEvents(resumingAt: saved?.step)
        let clock = Stopwatch()
        let before = seconds
        while step < totalSteps {
            let epoch = step / stepsPerEpoch
            let batches = EpochOrder.batches(
                count: learner.itemCount, size: settings.batchSize, seed: settings.seed, epoch: epoch,
                length: settings.groupsByLength ? learner.length : nil)
            for batch in batches[(step % stepsPerEpoch)...] where step < totalSteps {
                if shouldStop() {
                    seconds = before + clock.seconds
                    try save()
                    return false
                }
                let rate = schedule.rate(at: step)
                let (loss, more) = try train(batch, epoch: epoch, rate: rate)
                step += 1
                lastLoss = loss
                try metrics.append(
                    step: step,
                    [
                        .init("epoch", .number(Double(step) / Double(stepsPerEpoch))),
                        .init("loss", .number(loss)),
                        .init("lr", .number(rate)),
                    ] + more)
                try events.add([("train/loss", loss), ("train/lr", rate)], step: step)
                progress.update(step: step, loss: loss)
                guard loss.isFinite else { throw notFinite(loss) }
                if step % settings.checkpointEvery == 0 {
                    seconds = before + clock.seconds
                    try save()
                }
            }
            seconds = before + clock.seconds
            if let note = try afterEpoch(epoch + 1) { progress.say(note) }
        }
        seconds = before + clock.seconds
        try save()
        return true
    }

    /// One step; returns the mean loss of the batch, and what the method has to say of the step.
    private func train(_ batch: [Int], epoch: Int, rate: Double) throws -> (Double, [JSON.Member]) {
        var random = CounterRandom(seed: settings.seed, epoch: epoch, sample: step, purpose: "dropout")
        try Generator.seedDefault(random.next())
        try optimizer.clearGradients()
        try learner.beginStep(step, epoch: epoch)
        var total = 0.0
        let part = (batch.count + settings.accumulation - 1) / settings.accumulation
        for start in stride(from: 0, to: batch.count, by: part) {
            let items = Array(batch[start..<min(start + part, batch.count)])
            let share = Double(items.count) / Double(batch.count)
            let loss = try learner.loss(items) * share
            try loss.backward()
            total += try loss.item()
        }
        try learner.beforeUpdate()
        if let clip = settings.clip { try optimizer.clipGradients(to: clip) }
        try optimizer.step(rate: rate)
        return (total, try learner.endStep())
    }

    private func notFinite(_ loss: Double) -> VQAError {
        VQAError(
            "training stopped", at: "step \(step)", because: "the loss is \(loss)",
            remedy: "use a smaller learning_rate or clip=1", kind: .failure)
    }

    // MARK: Checkpoints

    private func save() throws {
        let trained = try learner.trained()
        let (state, steps) = optimizer.state()
        let record: JSON = [
            "step": .integer(step), "seconds": .number(seconds), "method": learner.state,
            "optimizer_steps": .object(
                steps.sorted { $0.key < $1.key }.map { .init($0.key, .integer($0.value)) }),
        ]
        let bytes = (trained + state).reduce(0) { $0 + $1.tensor.count * $1.tensor.dtype.size }
        try folder.saveCheckpoint(step: step, expectedBytes: bytes) { path in
            try writeTensors(trained, to: path + "/model.safetensors")
            try writeTensors(state, to: path + "/optimizer.safetensors")
            try writeFile(record.text(indented: true) + "\n", to: path + "/trainer_state.json")
        }
    }

    private func restore(_ path: String) throws {
        let weights = try Checkpoints.Checkpoint(opening: path + "/model.safetensors").tensors()
        for parameter in try learner.trained() {
            guard let saved = weights[parameter.key], saved.shape == parameter.tensor.shape else {
                throw VQAError(
                    "cannot resume", at: path, because: "\(parameter.key) is missing or has another shape",
                    remedy: "resume with the configuration the run was started with")
            }
            try withoutGradients { try parameter.tensor.copy(from: saved) }
        }
        let record = try JSON(contentsOf: path + "/trainer_state.json")
        guard let done = record["step"]?.integer, done >= 0, done <= totalSteps else {
            throw VQAError("cannot resume", at: path, because: "trainer_state.json names no step of this run")
        }
        var steps: [String: Int] = [:]
        for member in record["optimizer_steps"]?.members ?? [] { steps[member.key] = member.value.integer }
        // Mapped tensors are read-only; the optimiser updates its state in place.
        let state = try Checkpoints.Checkpoint(opening: path + "/optimizer.safetensors").tensors().map {
            NamedTensor($0.key, try $0.value.clone())
        }
        try optimizer.restore(tensors: state, steps: steps)
        try learner.restore(record["method"] ?? .null, source: path)
        step = done
        seconds = record["seconds"]?.double ?? 0
    }
}
