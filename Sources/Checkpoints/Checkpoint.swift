import Support

/// The weights in a file, in several files with an index, or in a folder: tensors by name, read in place.
///
/// Everything is checked on opening (sizes, ranges, names), so that asking for a tensor only fails for want
/// of memory, for a `bool` that is none, or for a GGUF type whose numbers cannot be read. The files must not be rewritten in place while views of them are
/// in use.
public struct Checkpoint: Sendable {
    /// How the weights are stored.
    public enum Format: Sendable, Equatable, CustomStringConvertible {
        case safetensors
        /// A zip archive by `torch.save`.
        case torchZip
        /// The stream of pickles `torch.save` wrote before version 1.6.
        case torchLegacy
        /// A GGUF file; quantised tensors are given as float32.
        case gguf
        /// An index and that many files.
        case sharded(files: Int)

        /// For people, such as `PyTorch zip archive`.
        public var description: String {
            switch self {
            case .safetensors: "safetensors"
            case .torchZip: "PyTorch zip archive"
            case .torchLegacy: "PyTorch legacy pickle"
            case .gguf: "GGUF"
            case .sharded(let files): files == 1 ? "index of 1 file" : "index of \(files) files"
            }
        }
    }

    /// The file that was opened: the one found when a folder was given.
    public let path: String
    /// How it is stored.
    public let format: Format
    /// The names of all tensors, sorted.
    public let names: [String]
    /// What a safetensors file or an index says beside its tensors; of a GGUF file, the texts.
    public let metadata: [String: String]
    /// What a PyTorch file holds beside its tensors.
    public let skipped: SkippedValues
    private let records: [String: TensorRecord]

    /// Opens a `.safetensors` file, a file by `torch.save`, an index of either, a folder with one of them, or a
    /// GGUF file. The content decides, not the name.
    ///
    /// A GGUF file's tensors keep the names and the row order they have there; ``GGUFModel`` gives them as a Hugging
    /// Face model has them, and ``GGUFFile`` gives the quantised blocks.
    ///
    /// PyTorch files that keep all tensors in one dictionary of a usual name, such as `state_dict`, are read
    /// as if that dictionary were the file.
    ///
    /// - Parameter root: keeps only the tensors whose names begin with `root` and a dot, and strips both.
    public init(opening path: String, root: String? = nil) throws {
        let file = isFolder(path) ? try Self.find(in: path) : path
        var contents = try Self.open(file)
        if let root { contents.records = try Self.select(contents.records, under: root, file: file) }
        try self.init(contents, path: file)
    }

    /// The tensors of a GGUF file under other names.
    init(_ gguf: GGUFFile, records: [TensorRecord]) throws {
        try self.init(
            Contents(format: .gguf, records: records, metadata: gguf.metadata.texts()), path: gguf.path)
    }

    private init(_ contents: Contents, path file: String) throws {
        var table: [String: TensorRecord] = [:]
        table.reserveCapacity(contents.records.count)
        for record in contents.records {
            guard table.updateValue(record, forKey: record.info.name) == nil else {
                throw TensorInfo.failure(record.info.name, in: file, because: "the key appears twice")
            }
        }
        self.path = file
        format = contents.format
        metadata = contents.metadata
        skipped = contents.skipped
        names = table.keys.sorted()
        records = table
    }

    // MARK: Access

    /// What is known of all tensors, in the order of ``names``.
    public var infos: [TensorInfo] { names.compactMap { records[$0]?.info } }

    /// What is known of a tensor; nil when there is none of that name.
    public func info(named name: String) -> TensorInfo? { records[name]?.info }

    /// The numbers of a tensor. The error for an unknown name suggests the nearest one.
    public func tensor(named name: String) throws -> TensorView {
        if let record = records[name] { return try record.view() }
        let remedy = nearestName(to: name).map { "is it \($0)?" }
        throw TensorInfo.failure(name, in: path, because: "there is no such tensor", remedy: remedy)
    }

    /// The bytes of all tensors together; tensors that share numbers count each.
    public var totalBytes: Int {
        records.values.reduce(0) { sum, record in
            let (total, overflow) = sum.addingReportingOverflow(record.info.byteCount)
            return overflow ? .max : total
        }
    }

    /// Comparing is quadratic in the length of names, so only names of about the same, usual length take
    /// part.
    private func nearestName(to name: String) -> String? {
        let length = name.utf8.count
        guard length <= 100 else { return nil }
        return nearestMatch(to: name, in: names.lazy.filter { abs($0.utf8.count - length) <= 3 }.prefix(1000))
    }

    // MARK: Opening

    private struct Contents {
        var format: Format
        var records: [TensorRecord]
        var metadata: [String: String] = [:]
        var skipped = SkippedValues()
    }

    /// The files looked for in a folder, the first one found wins.
    private static let usualNames = [
        "model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors", "pytorch_model.bin",
        "pytorch_model.bin.index.json", "adapter_model.bin",
    ]

    private static func find(in folder: String) throws -> String {
        let base = folder.hasSuffix("/") ? folder : folder + "/"
        for name in usualNames where fileExists(base + name) { return base + name }
        throw VQAError(
            "cannot read the checkpoint", at: folder, because: "the folder holds no weights",
            remedy: "put one of these there: " + usualNames.joined(separator: ", "))
    }

    private static func open(_ path: String) throws -> Contents {
        let file = try MappedFile(path)
        return FileKind.judge(file.bytes, path: path) == .json ? try openShards(path) : try open(file)
    }

    /// Opens one file that holds tensors itself.
    private static func open(_ file: MappedFile) throws -> Contents {
        switch FileKind.judge(file.bytes, path: file.path) {
        case .safetensors:
            let (records, metadata) = try Safetensors.read(file)
            return Contents(format: .safetensors, records: records, metadata: metadata)
        case .torchZip:
            let torch = try TorchFile(zip: file)
            return Contents(format: .torchZip, records: torch.records, skipped: torch.skipped)
        case .torchLegacy:
            let torch = try TorchFile(legacy: file)
            return Contents(format: .torchLegacy, records: torch.records, skipped: torch.skipped)
        case .json: throw failure(file.path, "it is a JSON text, not weights")
        case .gguf:
            let gguf = try GGUFFile(file)
            return Contents(
                format: .gguf, records: try gguf.tensors.map { try gguf.record(of: $0) },
                metadata: gguf.metadata.texts())
        case .other(let what, let remedy): throw failure(file.path, what, remedy)
        }
    }

    // MARK: Shards

    /// Opens all files of an index. Every tensor must be in the file that the index names, and in no other.
    private static func openShards(_ path: String) throws -> Contents {
        let index = try ShardedIndex(contentsOf: path)
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        var contents = Contents(format: .sharded(files: 0), records: [], metadata: index.metadata)
        let shards = Set(index.files.values).sorted()
        var missing = index.files
        for shard in shards {
            let shardPath = try Support.path(shard, inside: folder)
            guard fileExists(shardPath) else {
                throw failure(
                    path, "the file \(shortened(shard)) is missing", "fetch all \(shards.count) files")
            }
            let part = try open(MappedFile(shardPath))
            for record in part.records {
                guard missing.removeValue(forKey: record.info.name) == shard else {
                    throw TensorInfo.failure(
                        record.info.name, in: shardPath, because: "the index \(path) does not place it there")
                }
            }
            contents.records += part.records
            contents.skipped.add(part.skipped)
        }
        if let (name, shard) = missing.min(by: { $0.key < $1.key }) {
            throw TensorInfo.failure(
                name, in: path,
                because: "the index places it in \(shortened(shard)), which does not hold it"
                    + (missing.count > 1 ? " (nor \(missing.count - 1) more)" : ""))
        }
        contents.format = .sharded(files: shards.count)
        return contents
    }

    private static func select(_ records: [TensorRecord], under root: String, file: String) throws
        -> [TensorRecord]
    {
        let prefix = root + "."
        let selected = try records.filter { $0.info.name.hasPrefix(prefix) }
            .map { try $0.renamed(String($0.info.name.dropFirst(prefix.count))) }
        guard !selected.isEmpty else {
            let tops = Set(records.compactMap { $0.info.name.split(separator: ".").first.map(String.init) })
            throw failure(
                file, "no tensor lies under \"\(shortened(root))\"",
                "the names begin with " + tops.sorted().prefix(5).map(shortened).joined(separator: ", "))
        }
        return selected
    }

    private static func failure(_ place: String, _ why: String, _ remedy: String? = nil) -> VQAError {
        VQAError("cannot read the checkpoint", at: place, because: why, remedy: remedy)
    }
}

extension SkippedValues {
    fileprivate mutating func add(_ other: SkippedValues) {
        count += other.count
        examples += other.examples.prefix(max(0, Self.exampleLimit - examples.count))
    }
}
