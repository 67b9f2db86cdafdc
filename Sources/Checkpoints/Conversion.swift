import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// What happens to the floating-point numbers of a checkpoint when it is converted. Integers and truth values are
/// always kept.
public enum ConversionType: String, Sendable, CaseIterable {
    /// Each tensor keeps its type; quantised ones become float32.
    case keep
    case float32, bfloat16, float16

    func target(_ type: ElementType) -> ElementType {
        switch type {
        case .float64, .float32, .float16, .bfloat16:
            switch self {
            case .keep: type
            case .float32: .float32
            case .bfloat16: .bfloat16
            case .float16: .float16
            }
        default: type
        }
    }
}

/// How far a conversion is: reported before each tensor.
public struct ConversionProgress: Sendable, Equatable {
    /// The tensor that comes next, by its new name.
    public let tensor: String
    /// Tensors written, of ``tensorCount``.
    public let done: Int
    /// Tensors to write.
    public let tensorCount: Int
    /// Bytes written, of ``byteCount``.
    public let bytes: Int
    /// Bytes to write, without headers.
    public let byteCount: Int
}

/// What a conversion wrote.
public struct ConversionSummary: Sendable, Equatable {
    /// The files with weights, the index when there are several, and what was put beside them.
    public let files: [String]
    /// The number of tensors.
    public let tensorCount: Int
    /// Their bytes, without headers.
    public let byteCount: Int

    /// The same with more files.
    public func adding(_ more: [String]) -> ConversionSummary {
        ConversionSummary(files: files + more, tensorCount: tensorCount, byteCount: byteCount)
    }
}

/// Converts weights to safetensors, tensor by tensor, so that memory holds about one of them.
///
/// A GGUF file of a known architecture is read as the model it holds (``GGUFModel``): Hugging Face names, rows and,
/// when `to` is a folder without one, its `config.json`. From folder to folder, configurations and tokenizer are copied.
///
/// - Parameters:
///   - source: whatever ``Checkpoint`` opens.
///   - destination: a `.safetensors` file, or a folder, made when absent, for `model.safetensors` or parts with an
///     index. Each file appears whole or not at all, and the index last. A folder that holds weights is refused.
///   - type: numbers that the type cannot hold are an error that names the tensor.
///   - shardBytes: begins a new file when one would hold more bytes of tensors; nil writes one file.
///   - rename: the new name of a tensor; nil leaves it out. Two tensors with one name are an error.
@discardableResult
public func convertCheckpoint(
    from source: String, to destination: String, type: ConversionType = .keep, shardBytes: Int? = nil,
    rename: (String) throws -> String? = { $0 }, progress: (ConversionProgress) throws -> Void = { _ in }
) throws -> ConversionSummary {
    let (checkpoint, configuration) = try openForConversion(source)
    let outputs = try checkpoint.names.compactMap { name -> ConversionOutput? in
        guard let info = checkpoint.info(named: name), let newName = try rename(name) else { return nil }
        return try ConversionOutput(newName, info, type) { try checkpoint.tensor(named: name) }
    }
    let summary = try write(
        outputs, to: destination, shardBytes: shardBytes, configuration: configuration, progress: progress)
    return try summary.adding(copyCompanions(of: source, to: destination, type: type))
}

/// Copies what a model's folder holds beside weights (configurations, tokenizer, templates) into the folder of the new
/// weights, so that it is a model too; files that are there stay. Only plain files of the folder itself, by the ends of
/// their names. A `config.json` that tells the type of the numbers tells the new one.
///
/// - Returns: the paths of what was written; nothing unless both are folders.
func copyCompanions(of source: String, to destination: String, type: ConversionType) throws -> [String] {
    guard isFolder(source), isFolder(destination) else { return [] }
    let ends = [".json", ".txt", ".model", ".jinja"]
    let names = try listFolder(source).filter { name in
        ends.contains { name.hasSuffix($0) } && !name.hasSuffix(".index.json")
            && !fileExists("\(destination)/\(name)") && !isFolder("\(source)/\(name)")
    }
    for name in names {
        let bytes = try readFile("\(source)/\(name)", limit: 256 << 20)
        var file = try AtomicFile("\(destination)/\(name)")
        if name == "config.json", type != .keep {
            let json = try JSON(parsing: bytes, source: "\(source)/\(name)")
            let changed = json.replacing(["torch_dtype", "dtype"], .string(type.rawValue))
            try file.write(changed.text(indented: true) + "\n")
        } else {
            try bytes.withUnsafeBytes { try file.write($0) }
        }
        try file.commit()
    }
    return names.map { "\(destination)/\($0)" }
}

extension JSON {
    /// The object with another value for those of these keys that it has.
    fileprivate func replacing(_ keys: Set<String>, _ value: JSON) -> JSON {
        guard case .object(let members) = self else { return self }
        return .object(members.map { keys.contains($0.key) ? JSON.Member($0.key, value) : $0 })
    }
}

/// The weights of a base model, and the configuration that a GGUF file brings along.
func openForConversion(_ path: String) throws -> (checkpoint: Checkpoint, configuration: JSON?) {
    guard !isFolder(path), try FileKind.sniff(path) == .gguf else {
        return (try Checkpoint(opening: path), nil)
    }
    let model = try GGUFModel(opening: path)
    return (model.checkpoint, model.configuration)
}

/// A tensor to be written: known beforehand but for its numbers, which are made when their turn comes.
struct ConversionOutput {
    let info: TensorInfo
    private let numbers: () throws -> TensorView

    init(
        _ name: String, _ source: TensorInfo, _ type: ConversionType,
        numbers: @escaping () throws -> TensorView
    ) throws {
        info = try TensorInfo(
            name: name, elementType: type.target(source.elementType), shape: source.shape)
        self.numbers = numbers
    }

    /// The numbers in the type to be written.
    func view() throws -> TensorView { try numbers().converted(to: info.elementType) }
}

extension TensorView {
    /// The same numbers in another floating-point type, rounded to the nearest. Finite numbers that would become
    /// infinite are refused.
    func converted(to type: ElementType) throws -> TensorView {
        guard type != elementType else { return self }
        let info = try TensorInfo(name: name, elementType: type, shape: shape, file: info.file)
        let copy = try OwnedBytes(count: info.byteCount, for: info)
        let fits = withBytes { source in
            // Through a small buffer, so that no whole float32 copy is made.
            withUnsafeTemporaryAllocation(of: Float.self, capacity: 4096) { buffer in
                guard let floats = buffer.baseAddress else { return true }
                var fits = true
                for start in stride(from: 0, to: elementCount, by: 4096) {
                    let count = min(4096, elementCount - start)
                    readFloats(source, elementType, from: start, count: count, into: floats)
                    if elementType == .float64 {
                        for i in 0..<count where floats[i].isInfinite {
                            fits =
                                fits
                                && source.loadUnaligned(
                                    fromByteOffset: (start + i) * 8, as: Double.self
                                ).isInfinite
                        }
                    }
                    let written = store(floats, count: count, as: type, into: copy.bytes, from: start)
                    fits = fits && written
                }
                return fits
            }
        }
        guard fits else {
            throw VQAError(
                "cannot convert the checkpoint", at: "\(info.file), tensor \(shortened(name))",
                because: "a number is too large for \(type)", remedy: "convert to bfloat16 or float32")
        }
        return TensorView(info: info, bytes: UnsafeRawBufferPointer(copy.bytes), owner: copy)
    }
}

/// Writes numbers in a floating-point type, from number `start` on. False when a finite one became infinite.
private func store(
    _ floats: UnsafePointer<Float>, count: Int, as type: ElementType,
    into target: UnsafeMutableRawBufferPointer, from start: Int
) -> Bool {
    var fits = true
    for i in 0..<count {
        let number = floats[i]
        switch type {
        case .float16:
            let bits = half(number)
            fits = fits && (bits & 0x7FFF != 0x7C00 || number.isInfinite)
            target.storeBytes(of: bits, toByteOffset: (start + i) * 2, as: UInt16.self)
        case .bfloat16:
            let bits = bfloat16(number)
            fits = fits && (bits & 0x7FFF != 0x7F80 || number.isInfinite)
            target.storeBytes(of: bits, toByteOffset: (start + i) * 2, as: UInt16.self)
        default: target.storeBytes(of: number, toByteOffset: (start + i) * 4, as: Float.self)
        }
    }
    return fits
}

// MARK: Writing

/// Writes tensors to a file or a folder: see ``convertCheckpoint(from:to:type:shardBytes:rename:progress:)``.
func write(
    _ outputs: [ConversionOutput], to destination: String, shardBytes: Int?, configuration: JSON? = nil,
    progress: (ConversionProgress) throws -> Void
) throws -> ConversionSummary {
    let isFile = destination.hasSuffix(".safetensors")
    try check(outputs, destination, shardBytes: shardBytes, isFile: isFile)
    let shards = isFile ? [outputs] : split(outputs, shardBytes ?? .max)
    var paths = [destination]
    if !isFile {
        try makeFolder(destination)
        paths = shards.indices.map { "\(destination)/\(shardName($0, of: shards.count))" }
    }
    let byteCount = outputs.reduce(0) { $0 + $1.info.byteCount }
    var (done, bytes) = (0, 0)
    do {
        for (shard, path) in zip(shards, paths) {
            try write(shard, to: path) { info in
                try progress(
                    ConversionProgress(
                        tensor: info.name, done: done, tensorCount: outputs.count, bytes: bytes,
                        byteCount: byteCount))
                done += 1
                bytes += info.byteCount
            }
        }
        if !isFile {
            paths += try writeCompanions(of: shards, paths, configuration, destination)
        }
    } catch {
        // Parts of a failed conversion are of no use; a single file has not appeared.
        if shards.count > 1 { paths.forEach { unlink($0) } }
        throw error
    }
    return ConversionSummary(files: paths, tensorCount: outputs.count, byteCount: byteCount)
}

private func check(_ outputs: [ConversionOutput], _ destination: String, shardBytes: Int?, isFile: Bool)
    throws
{
    func refuse(_ why: String, _ remedy: String? = nil) -> VQAError {
        VQAError("cannot convert the checkpoint", at: destination, because: why, remedy: remedy)
    }
    var names: Set<String> = []
    var total = 0
    for output in outputs {
        guard names.insert(output.info.name).inserted else {
            throw refuse("two tensors are named \(shortened(output.info.name))")
        }
        let (sum, overflow) = total.addingReportingOverflow(output.info.byteCount)
        guard !overflow else { throw refuse("the tensors are larger than 2^63 bytes") }
        total = sum
    }
    guard !outputs.isEmpty else { throw refuse("no tensor is left to write") }
    guard shardBytes ?? 1 > 0 else { throw refuse("a part of \(shardBytes ?? 0) bytes holds nothing") }
    guard !isFile || shardBytes == nil else {
        throw refuse("parts go into a folder", "name a folder instead of a file")
    }
    for name in ["model.safetensors", "model.safetensors.index.json"] where !isFile {
        guard !fileExists("\(destination)/\(name)") else {
            throw refuse("the folder holds \(name) already", "name another folder")
        }
    }
}

/// The tensors in order, each file filled up to `limit` bytes; a larger tensor has a file of its own.
private func split(_ outputs: [ConversionOutput], _ limit: Int) -> [[ConversionOutput]] {
    var shards: [[ConversionOutput]] = [[]]
    var room = limit
    for output in outputs {
        if output.info.byteCount > room, shards.last?.isEmpty == false {
            shards.append([])
            room = limit
        }
        shards[shards.count - 1].append(output)
        room = max(0, room - output.info.byteCount)
    }
    return shards
}

private func shardName(_ index: Int, of count: Int) -> String {
    func five(_ number: Int) -> String {
        String(repeating: "0", count: max(0, 5 - "\(number)".count)) + "\(number)"
    }
    return count == 1 ? "model.safetensors" : "model-\(five(index + 1))-of-\(five(count)).safetensors"
}

private func write(
    _ outputs: [ConversionOutput], to path: String, before: (TensorInfo) throws -> Void
) throws {
    // The mark that the Hugging Face library wants to see.
    var writer = try SafetensorsWriter(path, tensors: outputs.map(\.info), metadata: ["format": "pt"])
    let byName = Dictionary(outputs.map { ($0.info.name, $0) }) { first, _ in first }
    for info in writer.order {
        guard let output = byName[info.name] else { continue }
        try before(info)
        try output.view().withBytes { try writer.write($0) }
    }
    try writer.commit()
}

/// The index of several files, and the configuration when the folder has none.
private func writeCompanions(
    of shards: [[ConversionOutput]], _ paths: [String], _ configuration: JSON?, _ folder: String
) throws -> [String] {
    var written: [String] = []
    if let configuration, !fileExists("\(folder)/config.json") {
        try writeFile(configuration.text(indented: true) + "\n", to: "\(folder)/config.json")
        written.append("\(folder)/config.json")
    }
    guard shards.count > 1 else { return written }
    var map: [JSON.Member] = []
    for (index, shard) in shards.enumerated() {
        let name = shardName(index, of: shards.count)
        map += shard.map { JSON.Member($0.info.name, .string(name)) }
    }
    let total = shards.joined().reduce(0) { $0 + $1.info.byteCount }
    let index: JSON = ["metadata": ["total_size": .integer(total)], "weight_map": .object(map)]
    let path = "\(folder)/model.safetensors.index.json"
    try writeFile(index.text(indented: true) + "\n", to: path)
    return written + [path]
}
