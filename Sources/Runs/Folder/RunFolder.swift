import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The folder of one run. The object holds the folder's lock: as long as it lives no other process can open the same
/// run for writing.
///
/// Errors that the user can repair (a full disk, a read-only folder, a second process) are ``VQAError`` of the kind
/// `badInput`.
public final class RunFolder {
    /// The folder's path, as given or relative to the working directory.
    public let path: String
    /// The last part of the path.
    public let name: String

    private let lock: FolderLock
    private let warn: (String) -> Void

    /// The files a run consists of. Replacing a run removes these and nothing else.
    private static let ownNames = [
        "config.yaml", "run.json", "metrics.jsonl", "checkpoints", "adapter", "adapter.replaced",
        "predictions.jsonl", "scores.json", "report.html",
    ]

    /// The resolved configuration, YAML.
    public var configPath: String { "\(path)/config.yaml" }
    /// The ``RunRecord``, JSON.
    public var recordPath: String { "\(path)/run.json" }
    /// One JSON object a step.
    public var metricsPath: String { "\(path)/metrics.jsonl" }
    /// The folder of the checkpoints.
    public var checkpointsPath: String { "\(path)/checkpoints" }
    /// The folder of the adapter.
    public var adapterPath: String { "\(path)/adapter" }
    /// One JSON object a prediction; written by the evaluation.
    public var predictionsPath: String { "\(path)/predictions.jsonl" }
    /// The scores, JSON.
    public var scoresPath: String { "\(path)/scores.json" }
    /// The page for people.
    public var reportPath: String { "\(path)/report.html" }

    // MARK: Opening

    private init(locked path: String, warn: @escaping (String) -> Void) throws {
        self.path = path
        self.warn = warn
        name = splitPath(path).name
        lock = try FolderLock(path)
    }

    /// Makes the folder of a new run and points `runs/latest` at it.
    ///
    /// - Parameters:
    ///   - configurationName: names the run together with the time, when `name` is nil.
    ///   - name: the name under `runs/`.
    ///   - output: the whole path; goes before `name`.
    ///   - root: the folder of all runs.
    ///   - replacing: an existing run of that name is removed instead of refused.
    ///   - warn: receives one line for each thing worth telling that is no error.
    public static func create(
        configurationName: String, name: String? = nil, output: String? = nil, under root: String = "runs",
        replacing: Bool = false, warn: @escaping (String) -> Void
    ) throws -> RunFolder {
        try asBadInput {
            if let output, splitPath(try trimmed(output)).name == "latest" {
                throw VQAError(
                    "cannot make the run", at: output, because: "'latest' is the link to the newest run")
            }
            let path =
                try output.map(trimmed)
                ?? "\(root)/\(name.map(checkedName) ?? freeName(configurationName, root))"
            let existed = isFolder(path)
            try makeFolder(path)
            do {
                let folder = try RunFolder(locked: path, warn: warn)
                try folder.claim(replacing: replacing)
                folder.linkLatest()
                return folder
            } catch {
                // A folder that was just made and could not be used is not left behind.
                if !existed { rmdir(path) }
                throw error
            }
        }
    }

    /// Opens an existing run to go on with it.
    ///
    /// - Parameters:
    ///   - path: its path, or its name under `root`; `latest` is followed to the run it names.
    ///   - warn: receives one line for each thing worth telling that is no error.
    public static func resume(
        _ path: String, under root: String = "runs", warn: @escaping (String) -> Void
    ) throws -> RunFolder {
        try asBadInput {
            let given = try trimmed(path)
            let places = [given, "\(root)/\(given)"]
            guard let found = places.first(where: isRun) ?? places.first(where: isFolder) else {
                throw VQAError("cannot resume the run", at: path, because: "there is no such folder")
            }
            let resolved = try resolvingLatest(found)
            guard isRun(resolved) else {
                throw VQAError(
                    "cannot resume the run", at: resolved,
                    because: "it has no config.yaml, so it is not a run",
                    remedy: "give the folder of a run")
            }
            let folder = try RunFolder(locked: resolved, warn: warn)
            try folder.recover()
            folder.linkLatest()
            return folder
        }
    }

    /// Refuses to touch what is not ours or is finished, unless asked; otherwise empties the folder.
    private func claim(replacing: Bool) throws {
        let names = try listFolder(path).filter { $0 != FolderLock.fileName }
        guard !names.isEmpty else { return }
        guard Self.isRun(path) || names.allSatisfy(Self.isOwn) else {
            throw VQAError(
                "cannot make the run", at: path, because: "the folder holds other files (\(names[0]))",
                remedy: "choose another --output")
        }
        // A run that ended before it saved its configuration holds nothing worth keeping.
        guard replacing || !Self.isRun(path) else {
            let finished = (try? readRecord())?.runInfo.status == .finished
            throw VQAError(
                "cannot make the run", at: path,
                because: finished ? "a finished run is there" : "an unfinished run is there",
                remedy: finished
                    ? "choose another name or replace it with --overwrite"
                    : "go on with --resume, choose another name or replace it with --overwrite")
        }
        for name in names where Self.isOwn(name) { try removeTree("\(path)/\(name)") }
    }

    /// Puts right what a killed process left.
    private func recover() throws {
        try DurableFolder.removeTemporaries(in: path)
        if isFolder(checkpointsPath) { try DurableFolder.removeTemporaries(in: checkpointsPath) }
        let aside = adapterPath + DurableFolder.replacedSuffix
        if isFolder(aside), !fileExists(adapterPath) { try move(aside, to: adapterPath) }
    }

    private static func isRun(_ path: String) -> Bool { fileExists("\(path)/config.yaml") }

    private static func isOwn(_ name: String) -> Bool {
        ownNames.contains(name) || name.hasPrefix(EventFile.namePrefix) || DurableFolder.isTemporary(name)
    }

    // MARK: Names

    private static func trimmed(_ path: String) throws -> String {
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        guard !path.isEmpty, path != "/", !path.utf8.contains(0) else {
            throw VQAError("cannot use the run folder", at: path, because: "that is no folder name")
        }
        return path
    }

    private static func checkedName(_ name: String) throws -> String {
        guard !name.isEmpty, !name.contains("/"), !name.hasPrefix("."), name != "latest",
            name.utf8.count <= 200,
            !name.utf8.contains(0)
        else {
            throw VQAError(
                "cannot make the run", at: name, because: "that is no name for a run",
                remedy: "use letters, digits, '-' and '_'; for a path use --output")
        }
        return name
    }

    /// `NAME-20250131-120000`, with a number behind when that is taken.
    private static func freeName(_ configurationName: String, _ root: String) throws -> String {
        let word = String(
            configurationName.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") ? $0 : "-" }
                .prefix(80))
        let base = "\(word.isEmpty ? "run" : word)-\(folderTimestamp())"
        for number in 1...1000 {
            let name = number == 1 ? base : "\(base)-\(number)"
            if !fileExists("\(root)/\(name)") { return name }
        }
        throw VQAError(
            "cannot make the run", at: "\(root)/\(base)", because: "a thousand runs have that name")
    }

    /// The target of `runs/latest`, so that the run is known by its own name.
    private static func resolvingLatest(_ path: String) throws -> String {
        let (parent, name) = splitPath(path)
        guard name == "latest", let target = linkTarget(path) else { return path }
        return target.hasPrefix("/") ? target : "\(parent)/\(target)"
    }

    /// Points `latest` beside the run at it, by a relative link that is replaced in one step. Only in a folder named
    /// `runs`: elsewhere the user chose the place and nothing else is put there.
    private func linkLatest() {
        let (parent, name) = splitPath(path)
        guard splitPath(parent).name == "runs" else { return }
        let link = "\(parent)/latest"
        let temporary = "\(parent)/.latest.\(getpid()).\(UInt32.random(in: 0 ... .max)).tmp"
        guard symlink(name, temporary) == 0, rename(temporary, link) == 0 else {
            warn("cannot point \(link) at the run: \(systemReason())")
            unlink(temporary)
            return
        }
    }

    // MARK: Files

    /// Saves the resolved configuration as `config.yaml`.
    public func write(configuration: ResolvedConfiguration) throws {
        try asBadInput { try writeFile(configuration.yaml(), to: configPath) }
    }

    /// Replaces `run.json`.
    public func write(_ record: RunRecord) throws {
        try asBadInput { try writeFile(record.json.text(indented: true) + "\n", to: recordPath) }
    }

    /// The contents of `run.json`; nil when there is none.
    public func readRecord() throws -> RunRecord? {
        fileExists(recordPath) ? try RunRecord(file: recordPath) : nil
    }

    /// Replaces `scores.json`.
    public func write(scores: JSON) throws {
        try asBadInput { try writeFile(scores.text(indented: true) + "\n", to: scoresPath) }
    }

    /// Replaces `report.html`.
    public func write(report: ReportContent) throws {
        try asBadInput { try writeFile(report.html(), to: reportPath) }
    }

    /// Opens `metrics.jsonl` for appending.
    ///
    /// - Parameter step: the step of the checkpoint the run goes on from, later lines are removed; nil empties the
    ///   file.
    public func openMetrics(keepingThrough step: Int?) throws -> MetricsLog {
        try asBadInput { try MetricsLog(metricsPath, keepingThrough: step) }
    }

    /// Starts a TensorBoard event file; `step` as in ``openMetrics(keepingThrough:)``.
    public func openEvents(resumingAt step: Int?) throws -> EventFile {
        try asBadInput { try EventFile(folder: path, resumingAt: step) }
    }

    // MARK: Checkpoints and adapter

    private var checkpoints: CheckpointStore { CheckpointStore(checkpointsPath, warn: warn) }

    /// Saves a checkpoint: `body` writes its files into the folder it is given. Afterwards the newest two are kept.
    /// On failure the earlier ones stay.
    ///
    /// - Parameter expectedBytes: checked against the free space first, as is the size of the last checkpoint.
    public func saveCheckpoint(
        step: Int, expectedBytes: Int = 0, writing body: (_ folder: String) throws -> Void
    ) throws {
        try asBadInput { try checkpoints.save(step: step, expectedBytes: expectedBytes, body) }
    }

    /// The newest checkpoint that is whole, verified by its hashes; a broken one is passed over with a warning. Nil
    /// when there is none; an error when all are broken.
    public func newestCheckpoint() throws -> Checkpoint? { try checkpoints.newest() }

    /// Saves the adapter folder in the same way.
    public func saveAdapter(expectedBytes: Int = 0, writing body: (_ folder: String) throws -> Void) throws {
        try asBadInput {
            try requireSpace(expectedBytes, at: path, for: "the adapter")
            try DurableFolder(adapterPath).write(body)
        }
    }
}

/// An advisory lock on a folder (`flock` on the file `.lock` in it), released when the process ends, however it ends.
final class FolderLock {
    static let fileName = ".lock"
    private let descriptor: Int32

    init(_ folder: String) throws {
        let path = "\(folder)/\(Self.fileName)"
        let opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard opened >= 0 else {
            throw VQAError(
                "cannot write to the run folder", at: folder, because: systemReason(),
                remedy: "make it writable or choose another --output")
        }
        guard flock(opened, LOCK_EX | LOCK_NB) == 0 else {
            let busy = errno == EWOULDBLOCK
            let reason = busy ? "another process is using it" : "it cannot be locked: \(systemReason())"
            close(opened)
            throw VQAError(
                "cannot use the run folder", at: folder, because: reason,
                remedy: busy ? "wait for that run to end or choose another name" : "choose another --output")
        }
        descriptor = opened
    }

    deinit { close(descriptor) }
}

/// What a symbolic link points at; nil when `path` is none.
func linkTarget(_ path: String) -> String? {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink(path, &buffer, buffer.count)
    guard count > 0 else { return nil }
    return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
