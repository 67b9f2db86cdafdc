import Backbones
import Methods
import Runs
import Support
import Tasks
import Torch

// What trainings and searches have in common: the folder, its record, and the loop.
extension TrainingRun {
    /// A new run folder, or the one to go on with, with its configuration and the record of its start.
    func open(
        _ setup: any Adaptation, _ resumed: RunFolder?, name: String, output: String?, overwrite: Bool,
        _ command: [String]
    ) throws -> (folder: RunFolder, record: RunRecord) {
        let folder =
            try resumed
            ?? RunFolder.create(configurationName: name, output: output, replacing: overwrite, warn: say)
        var record = try startRecord(setup, folder, command)
        if resumed == nil {
            try folder.write(configuration: configuration.resolved)
        } else {
            try requireSameInputs(as: folder, record)
        }
        record.trainInfo.trainableParameters = try setup.learner.trained().reduce(0) {
            $0 + $1.tensor.count
        }
        record.trainInfo.totalParameters = try setup.parameterCount
        try folder.write(record)
        return (folder, record)
    }

    /// Runs the loop to its end and records it; throws when it was interrupted, after its checkpoint.
    func drive(
        _ trainer: Trainer, _ bar: inout ProgressBar, _ folder: RunFolder, _ record: inout RunRecord,
        resuming: Bool, _ shouldStop: @escaping () -> Bool,
        afterEpoch: (Int) throws -> String? = { _ in nil }
    ) throws {
        let done: Bool
        do {
            done = try trainer.run(
                resuming: resuming, progress: &bar, afterEpoch: afterEpoch, shouldStop: shouldStop)
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
    }

    private func startRecord(_ setup: any Adaptation, _ folder: RunFolder, _ command: [String]) throws
        -> RunRecord
    {
        var info = RunRecord.RunInfo(name: folder.name, command: command)
        info.method = configuration.method
        info.preset = configuration.preset.rawValue
        info.backbone = try setup.models.map(\.name).joined(separator: " + ")
        info.task = setup.data.task.name
        info.configuration = configuration.resolved.json
        info.configurationSHA256 = configuration.resolved.sha256
        var meta = RunRecord.MetaInfo(programVersion: programVersion)
        meta.threads = (try? Engine.threads()) ?? 0
        meta.dtype = "\(setup.precision)"
        for split in setup.data.splits {
            meta.dataHashes["\(setup.data.task.name) \(split.split)"] = split.contentHash
        }
        meta.libraries = ["libtorch": (try? Engine.version()) ?? "?"]
        for (name, hash) in try setup.models { meta.weightHashes[name] = hash }
        return RunRecord(runInfo: info, metaInfo: meta)
    }
}
