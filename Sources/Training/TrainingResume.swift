import Runs
import Support
import Tasks

/// What a run must have in common with the one it goes on with.
extension TrainingRun {
    /// Settings that change nothing of what is learned; any other makes a different run.
    private static let free: Set<String> = [
        "name", "cache_dir", "checkpoint_every", "baselines", "threads",
    ]

    /// Refuses to go on with a run that was started with other settings, and names the first that differs.
    func requireSameConfiguration(as folder: RunFolder) throws {
        let stored = try TrainingConfiguration(ConfigurationSource(file: folder.configPath)).resolved
        for (now, then) in zip(configuration.resolved.entries, stored.entries)
        where now.value != then.value && !TrainingRun.free.contains(now.key) {
            throw VQAError(
                "cannot resume the run", at: folder.path,
                because:
                    "\(now.key) is \(now.value.json.text()) here and was \(then.value.json.text()) there",
                remedy: "resume with \(folder.configPath), or start a new run without --resume")
        }
        if (try? folder.readRecord())?.runInfo.status == .finished {
            say("this run is finished; its test and report are made again")
        }
    }

    /// Refuses to go on when the questions, or the weights of the frozen models, are no longer those the run was
    /// started with.
    func requireSameInputs(as folder: RunFolder, _ record: RunRecord) throws {
        guard let stored = try folder.readRecord()?.metaInfo else { return }
        let inputs = [
            ("the weights of", stored.weightHashes, record.metaInfo.weightHashes),
            ("the questions of", stored.dataHashes, record.metaInfo.dataHashes),
        ]
        for (what, then, now) in inputs {
            for (name, hash) in now.sorted(by: { $0.key < $1.key }) where then[name] != hash {
                throw VQAError(
                    "cannot resume the run", at: folder.path,
                    because: "\(what) \(name) have changed since it was started",
                    remedy: "bring the old ones back, or start a new run without --resume")
            }
        }
    }
}

extension TaskData {
    /// Identifies the questions with their answers and image files, but not what the files hold.
    var contentHash: String {
        let home = (workingDirectory() ?? "") + "/"
        return SHA256.hexadecimal(
            of: samples.flatMap { sample in
                let images = sample.images.map { $0.hasPrefix("/") ? $0 : home + $0 }
                return ["\(sample.id)", sample.question] + images + sample.answers
            })
    }
}
