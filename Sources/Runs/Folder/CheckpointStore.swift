import Support

/// A checkpoint whose files were verified against its manifest.
public struct Checkpoint: Sendable, Equatable {
    /// The optimiser steps done when it was written.
    public let step: Int
    /// The folder with its files. Valid until the next checkpoint is saved.
    public let folder: String

    /// A checkpoint known to be whole.
    public init(step: Int, folder: String) {
        self.step = step
        self.folder = folder
    }
}

/// The folder `checkpoints/` of a run: one folder `step-N` a checkpoint, the newest two kept, and a file `latest`
/// with the name of the newest for people and other programs.
package struct CheckpointStore {
    let folder: String
    let warn: (String) -> Void
    let beforeStep: (String) throws -> Void

    static let kept = 2

    package init(
        _ folder: String, warn: @escaping (String) -> Void,
        beforeStep: @escaping (String) throws -> Void = { _ in }
    ) {
        self.folder = folder
        self.warn = warn
        self.beforeStep = beforeStep
    }

    /// Writes `step-N`. On any failure the earlier checkpoints stay as they are.
    package func save(step: Int, expectedBytes: Int, _ body: (_ folder: String) throws -> Void) throws {
        guard step >= 0 else {
            throw VQAError(
                "cannot save the checkpoint", because: "the step \(step) is negative", kind: .failure)
        }
        try makeFolder(folder)
        try DurableFolder.removeTemporaries(in: folder)
        try checkSpace(max(expectedBytes, try lastSize()))
        let durable = DurableFolder("\(folder)/step-\(step)", beforeStep: beforeStep)
        try durable.write(facts: [.init("step", .integer(step))], body)
        try beforeStep("name the newest")
        try writeFile("step-\(step)\n", to: "\(folder)/latest")
        try prune(newest: step)
    }

    /// The newest checkpoint whose files are whole. A broken one is passed over with a line that says so. Nil when
    /// there never was one; an error when there are only broken ones.
    package func newest() throws -> Checkpoint? {
        var broken: VQAError?
        for (step, path) in try candidates() {
            do {
                let manifest = try DurableFolder.verify(path)
                guard manifest["step"]?.integer == step else {
                    throw VQAError(
                        "cannot use the checkpoint", at: path, because: "its manifest is of another step")
                }
                if broken != nil { warn("going on from the checkpoint before it: \(path)") }
                return Checkpoint(step: step, folder: path)
            } catch let error as VQAError {
                warn("passing over a broken checkpoint: \(error)")
                broken = error
            }
        }
        guard let broken else { return nil }
        throw VQAError(
            "cannot resume", at: folder, because: "no checkpoint is whole (\(broken))",
            remedy: "start the run anew without --resume")
    }

    /// Every `step-N` (and `step-N.replaced`, set aside by a killed process), newest first.
    private func candidates() throws -> [(step: Int, path: String)] {
        guard isFolder(folder) else { return [] }
        var found: [(step: Int, rank: Int, path: String)] = []
        for name in try listFolder(folder) where name.hasPrefix("step-") {
            let aside = name.hasSuffix(DurableFolder.replacedSuffix)
            let digits = name.dropFirst(5).dropLast(aside ? DurableFolder.replacedSuffix.count : 0)
            guard let step = Int(digits), step >= 0 else { continue }
            found.append((step, aside ? 0 : 1, "\(folder)/\(name)"))
        }
        return found.sorted { ($0.step, $0.rank) > ($1.step, $1.rank) }.map { ($0.step, $0.path) }
    }

    /// Keeps the newest two. Steps beyond the one just saved belong to a course that was given up when the run was
    /// resumed from an earlier step.
    private func prune(newest step: Int) throws {
        let all = try candidates()
        let keep = all.filter { $0.step <= step && !$0.path.hasSuffix(DurableFolder.replacedSuffix) }
            .prefix(Self.kept).map(\.path)
        for (_, path) in all where !keep.contains(path) {
            try beforeStep("remove an old checkpoint")
            try DurableFolder.remove(path)
        }
    }

    // MARK: Space

    /// Bytes of the newest checkpoint: the best guess for the next one.
    private func lastSize() throws -> Int {
        guard let last = try candidates().first else { return 0 }
        return try listTree(last.path).reduce(0) { $0 + (try fileSize("\(last.path)/\($1)")) }
    }

    private func checkSpace(_ bytes: Int) throws {
        try requireSpace(bytes, at: folder, for: "the checkpoint")
    }
}

/// Checks that `bytes` and a margin of 1 MB fit on the disk of `path`.
func requireSpace(_ bytes: Int, at path: String, for what: String) throws {
    let (needed, overflow) = bytes.addingReportingOverflow(1 << 20)
    guard let free = freeBytes(path), overflow || free < needed else { return }
    throw VQAError(
        "cannot save \(what)", at: path,
        because: "it needs \(byteText(overflow ? bytes : needed)) and the disk has \(byteText(free)) left",
        remedy: "free some space and run again with --resume")
}

/// `512 B`, `1.5 kB`, `20.3 MB`: decimal units, as disks are sold.
public func byteText(_ bytes: Int) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"]
    var value = Double(bytes)
    var unit = 0
    while value >= 999.95, unit < units.count - 1 {
        value /= 1000
        unit += 1
    }
    return unit == 0 ? "\(bytes) B" : "\(decimal(value, 1)) \(units[unit])"
}
