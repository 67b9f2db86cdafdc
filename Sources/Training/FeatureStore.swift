import Runs
import Support
import Torch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Outputs of a frozen encoder, computed once and kept in a mapped file, one row of fixed size an item.
///
/// A row is found by the content it was computed from, and the file by everything else that matters (weights,
/// processor, size, element type), so a store never gives a stale row. Rows are appended; the index is replaced
/// atomically after the rows it names are on disk, so a killed run loses at most what it had not yet indexed. Several
/// processes may use one store: each adds rows under a lock, behind those that the others have added by then.
public final class FeatureStore {
    /// The shape of one row, for example [N, V].
    public let rowShape: [Int]
    private let dataPath: String
    private let indexPath: String
    private let lockPath: String
    private var rows: [String: Int] = [:]
    private var stored = 0
    /// Bytes of the index that was read or written last: other processes only make it longer.
    private var indexBytes = 0
    private var mapped: Tensor?

    private var rowBytes: Int { rowShape.reduce(1, *) * DType.float32.size }

    /// - Parameters:
    ///   - folder: where stores are kept.
    ///   - name: a readable start of the file names.
    ///   - fingerprint: everything the rows depend on besides their key.
    public init(folder: String, name: String, fingerprint: String, rowShape: [Int]) throws {
        try asBadInput { try makeFolder(folder) }
        var hash = SHA256()
        hash.add(fingerprint)
        hash.add("\(rowShape)")
        let stem = "\(folder)/\(name)-\(hash.hexadecimal().prefix(16))"
        self.rowShape = rowShape
        dataPath = stem + ".features"
        indexPath = stem + ".index"
        lockPath = stem + ".lock"
        try readIndex()
    }

    /// Number of rows.
    public var count: Int { rows.count }
    /// Bytes of the rows.
    public var bytes: Int { stored * rowBytes }

    /// Where the row computed from this content stands, nil when it is not there yet.
    public func row(of key: String) -> Int? { rows[key] }

    /// Computes the rows of the keys that are not there yet.
    ///
    /// - Parameter compute: receives positions in `keys`, in batches, and gives [count, rowShape…] as float32.
    public func fill(_ keys: [String], batch: Int, compute: ([Int]) throws -> Tensor) throws {
        try asBadInput {
            let lock = try StoreLock(lockPath)
            try withExtendedLifetime(lock) { try fillLocked(keys, batch: batch, compute: compute) }
        }
    }

    private func fillLocked(_ keys: [String], batch: Int, compute: ([Int]) throws -> Tensor) throws {
        try readIndex()
        var seen = Set(rows.keys)
        let missing = keys.indices.filter { seen.insert(keys[$0]).inserted }
        guard !missing.isEmpty else { return }
        let file = try AppendingFile(dataPath, keeping: stored * rowBytes)
        var pending = 0
        for start in stride(from: 0, to: missing.count, by: batch) {
            let part = Array(missing[start..<min(start + batch, missing.count)])
            let features = try compute(part)
            guard features.shape == [part.count] + rowShape else {
                throw VQAError(
                    "cannot store features", at: dataPath,
                    because: "the encoder gave \(features.shape), expected \([part.count] + rowShape)",
                    kind: .failure)
            }
            try features.to(.float32).bytes().withUnsafeBytes { try file.append($0) }
            for position in part {
                rows[keys[position]] = stored
                stored += 1
            }
            pending += part.count
            if pending >= 4096 {
                try file.flush()
                try writeIndex()
                pending = 0
            }
        }
        try file.flush()
        try writeIndex()
        mapped = nil
    }

    /// All rows as one mapped tensor [count, rowShape…].
    public func tensor() throws -> Tensor {
        if let mapped { return mapped }
        let file = try MappedFile(dataPath)
        let bytes = UnsafeRawBufferPointer(rebasing: file.bytes.prefix(stored * rowBytes))
        let tensor = try Tensor(mapping: bytes, [stored] + rowShape, .float32, owner: file)
        mapped = tensor
        return tensor
    }

    // MARK: The index: one line a row, in the order of the rows

    private func readIndex() throws {
        guard fileExists(indexPath), fileExists(dataPath) else { return }
        let bytes = try MappedFile(indexPath).count
        guard bytes != indexBytes else { return }
        let text = String(decoding: try readFile(indexPath, limit: 4 << 30), as: UTF8.self)
        let keys = text.split(separator: "\n")
        let size = try MappedFile(dataPath).count
        guard size >= keys.count * rowBytes else {
            throw VQAError(
                "cannot use the feature store", at: dataPath, because: "it is shorter than its index says",
                remedy: "delete it and run again")
        }
        for (row, key) in keys.enumerated() { rows[String(key)] = row }
        guard rows.count == keys.count else {
            throw VQAError(
                "cannot use the feature store", at: indexPath, because: "it names a row twice",
                remedy: "delete it and run again")
        }
        stored = keys.count
        indexBytes = bytes
        mapped = nil
    }

    private func writeIndex() throws {
        let ordered = rows.sorted { $0.value < $1.value }.map(\.key)
        let text = ordered.joined(separator: "\n") + "\n"
        try writeFile(text, to: indexPath)
        indexBytes = text.utf8.count
    }
}

/// One process at a time adds to a store; the others wait. Released when the process ends, however it ends.
private final class StoreLock {
    private let descriptor: Int32

    init(_ path: String) throws {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw VQAError("cannot write the file", at: path, because: systemReason(), kind: .failure)
        }
        while flock(descriptor, LOCK_EX) != 0 {
            guard errno == EINTR else {
                let reason = systemReason()
                close(descriptor)
                throw VQAError("cannot lock the file", at: path, because: reason, kind: .failure)
            }
        }
    }

    deinit { close(descriptor) }
}
