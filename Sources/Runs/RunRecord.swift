import Support

/// The contents of `run.json`: what was run, how it went, and on what, in three blocks so that runs can be compared
/// (the form of peft's `method_comparison`).
public struct RunRecord: Sendable, Equatable {
    /// What was run and how it ended.
    public var runInfo: RunInfo
    /// Costs and results.
    public var trainInfo: TrainInfo
    /// Versions, machine and the identity of data and weights.
    public var metaInfo: MetaInfo

    /// A record; costs and results are filled in as they come.
    public init(runInfo: RunInfo, trainInfo: TrainInfo = TrainInfo(), metaInfo: MetaInfo) {
        self.runInfo = runInfo
        self.trainInfo = trainInfo
        self.metaInfo = metaInfo
    }

    /// What was run and how it ended.
    public struct RunInfo: Sendable, Equatable {
        /// How a run stands.
        public enum Status: String, Sendable { case running, finished, interrupted, failed }

        /// The name of the run folder.
        public var name: String
        /// How it stands now.
        public var status: Status
        /// The command line, program first.
        public var command: [String]
        /// UTC, as ``timestampUTC(_:)`` writes it.
        public var createdAt: String
        /// UTC; nil while it runs.
        public var finishedAt: String?
        /// Seconds over all starts of this run.
        public var totalSeconds = 0.0
        /// Times the run was taken up again.
        public var resumes = 0
        /// The way of adapting, such as `DVP`.
        public var method = ""
        /// Name or folder of the frozen model.
        public var backbone = ""
        /// The data set with its split.
        public var task = ""
        /// `released`, `paper` or `fixed`.
        public var preset = ""
        /// The resolved configuration as nested JSON.
        public var configuration = JSON.object([])
        /// ``ResolvedConfiguration/sha256``.
        public var configurationSHA256 = ""
        /// The error line of a run that failed.
        public var error: String?
        /// What a reader of the results must know, such as which epoch was kept.
        public var notes: [String] = []

        /// A run that starts now.
        public init(
            name: String, status: Status = .running, command: [String], createdAt: String = timestampUTC()
        ) {
            self.name = name
            self.status = status
            self.command = command
            self.createdAt = createdAt
        }
    }

    /// Costs and results.
    public struct TrainInfo: Sendable, Equatable {
        /// Optimiser steps done.
        public var steps = 0
        /// Passes over the training data, with the part of the last one.
        public var epochs = 0.0
        /// Seconds of training over all starts of the run.
        public var trainSeconds = 0.0
        /// Seconds of evaluation over all starts of the run.
        public var evaluationSeconds = 0.0
        /// ``peakResidentBytes()``, the largest of all starts.
        public var peakMemoryBytes = 0
        /// Size of the adapter's weights on disk.
        public var adapterBytes = 0
        /// Parameters that the optimiser changes.
        public var trainableParameters = 0
        /// All parameters, the frozen ones included.
        public var totalParameters = 0
        /// The loss of the last step; nil before the first.
        public var finalLoss: Double?
        /// The same object as `scores.json`.
        public var metrics = JSON.object([])

        /// All zero.
        public init() {}
    }

    /// Versions, machine and the identity of data and weights.
    public struct MetaInfo: Sendable, Equatable {
        /// The version of this program.
        public var programVersion: String
        /// ``MachineFacts/json``; kept as JSON so that records of other machines read back unchanged.
        public var machine: JSON
        /// Threads of the tensor engine.
        public var threads = 0
        /// The dtype of the frozen weights.
        public var dtype = ""
        /// Versions of libraries, by name.
        public var libraries: [String: String] = [:]
        /// SHA-256 of the data, by file or data set.
        public var dataHashes: [String: String] = [:]
        /// SHA-256 of the backbone's weights, by file.
        public var weightHashes: [String: String] = [:]

        /// The facts of the machine this runs on.
        public init(programVersion: String, machine: MachineFacts = .current()) {
            self.programVersion = programVersion
            self.machine = machine.json
        }
    }
}

// MARK: - Writing

extension RunRecord {
    /// The whole record. Keys are in snake case with their units.
    public var json: JSON {
        .object([
            .init("run_info", .object(runInfo.members)), .init("train_info", .object(trainInfo.members)),
            .init("meta_info", .object(metaInfo.members)),
        ])
    }
}

extension RunRecord.RunInfo {
    fileprivate var members: [JSON.Member] {
        [
            .init("name", .string(name)), .init("status", .string(status.rawValue)),
            .init("command", .array(command.map { .string($0) })), .init("created_at", .string(createdAt)),
            .init("finished_at", finishedAt.map { .string($0) } ?? .null),
            .init("total_seconds", .number(totalSeconds)), .init("resumes", .integer(resumes)),
            .init("method", .string(method)), .init("backbone", .string(backbone)),
            .init("task", .string(task)),
            .init("preset", .string(preset)), .init("configuration", configuration),
            .init("configuration_sha256", .string(configurationSHA256)),
            .init("error", error.map { .string($0) } ?? .null),
            .init("notes", .array(notes.map { .string($0) })),
        ]
    }
}

extension RunRecord.TrainInfo {
    fileprivate var members: [JSON.Member] {
        [
            .init("steps", .integer(steps)), .init("epochs", .number(epochs)),
            .init("train_seconds", .number(trainSeconds)),
            .init("evaluation_seconds", .number(evaluationSeconds)),
            .init("peak_memory_bytes", .integer(peakMemoryBytes)),
            .init("adapter_bytes", .integer(adapterBytes)),
            .init("trainable_parameters", .integer(trainableParameters)),
            .init("total_parameters", .integer(totalParameters)),
            .init("final_loss", finalLoss.map { .number($0) } ?? .null), .init("metrics", metrics),
        ]
    }
}

extension RunRecord.MetaInfo {
    fileprivate var members: [JSON.Member] {
        [
            .init("program_version", .string(programVersion)), .init("machine", machine),
            .init("threads", .integer(threads)), .init("dtype", .string(dtype)),
            .init("libraries", texts(libraries)), .init("data_sha256", texts(dataHashes)),
            .init("weights_sha256", texts(weightHashes)),
        ]
    }

    private func texts(_ values: [String: String]) -> JSON {
        .object(values.sorted { $0.key < $1.key }.map { .init($0.key, .string($0.value)) })
    }
}

// MARK: - Reading

extension RunRecord {
    /// Reads a `run.json`; a key that a later version lacks or adds is no error, a file of another form is.
    public init(file: String) throws {
        try self.init(json: JSON(contentsOf: file, limit: 64 << 20), source: file)
    }

    /// Reads a record from JSON; `source` stands for it in errors.
    public init(json: JSON, source: String) throws {
        guard let run = json["run_info"], let train = json["train_info"], let meta = json["meta_info"],
            let name = run["name"]?.string,
            let status = run["status"]?.string.flatMap(RunInfo.Status.init(rawValue:))
        else {
            throw VQAError(
                "cannot read the run's record", at: source,
                because: "it lacks run_info with name and status, train_info or meta_info")
        }
        runInfo = RunInfo(
            name: name, status: status, command: run["command"]?.array?.compactMap(\.string) ?? [],
            createdAt: run["created_at"]?.string ?? "")
        runInfo.read(run)
        trainInfo = TrainInfo()
        trainInfo.read(train)
        metaInfo = MetaInfo(json: meta)
    }
}

extension RunRecord.RunInfo {
    fileprivate mutating func read(_ json: JSON) {
        finishedAt = json["finished_at"]?.string
        totalSeconds = json["total_seconds"]?.double ?? 0
        resumes = json["resumes"]?.integer ?? 0
        method = json["method"]?.string ?? ""
        backbone = json["backbone"]?.string ?? ""
        task = json["task"]?.string ?? ""
        preset = json["preset"]?.string ?? ""
        configuration = json["configuration"] ?? .object([])
        configurationSHA256 = json["configuration_sha256"]?.string ?? ""
        error = json["error"]?.string
        notes = json["notes"]?.array?.compactMap(\.string) ?? []
    }
}

extension RunRecord.TrainInfo {
    fileprivate mutating func read(_ json: JSON) {
        steps = json["steps"]?.integer ?? 0
        epochs = json["epochs"]?.double ?? 0
        trainSeconds = json["train_seconds"]?.double ?? 0
        evaluationSeconds = json["evaluation_seconds"]?.double ?? 0
        peakMemoryBytes = json["peak_memory_bytes"]?.integer ?? 0
        adapterBytes = json["adapter_bytes"]?.integer ?? 0
        trainableParameters = json["trainable_parameters"]?.integer ?? 0
        totalParameters = json["total_parameters"]?.integer ?? 0
        finalLoss = json["final_loss"]?.double
        metrics = json["metrics"] ?? .object([])
    }
}

extension RunRecord.MetaInfo {
    fileprivate init(json: JSON) {
        programVersion = json["program_version"]?.string ?? ""
        machine = json["machine"] ?? .object([])
        threads = json["threads"]?.integer ?? 0
        dtype = json["dtype"]?.string ?? ""
        libraries = Self.texts(json["libraries"])
        dataHashes = Self.texts(json["data_sha256"])
        weightHashes = Self.texts(json["weights_sha256"])
    }

    private static func texts(_ json: JSON?) -> [String: String] {
        Dictionary((json?.members ?? []).map { ($0.key, $0.value.string ?? "") }) { first, _ in first }
    }
}
