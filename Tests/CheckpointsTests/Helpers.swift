import Checkpoints
import Support
import Testing

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The project's folder, two above this file's.
let projectFolder = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(
    separator: "/")

/// The path of a golden file.
func fixture(_ name: String) -> String { "\(projectFolder)/Tests/Fixtures/Checkpoints/\(name)" }

/// A folder for one test's files, removed with the object.
final class Scratch {
    let folder: String
    private var files: Set<String> = []

    init() throws {
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        folder = "\(base)/checkpoints-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        try makeFolder(folder)
    }

    deinit {
        for file in files { unlink(file) }
        rmdir(folder)
    }

    /// The path of a file that the test may write.
    func path(_ name: String) -> String {
        files.insert("\(folder)/\(name)")
        return "\(folder)/\(name)"
    }

    func write(_ bytes: [UInt8], as name: String) throws -> String {
        let path = path(name)
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        defer { close(descriptor) }
        try bytes.withUnsafeBytes { try writeAll($0, to: descriptor, path: path) }
        return path
    }
}

/// Runs `body` and returns the one line of its error; records an issue when there is none.
func message(of body: () throws -> Void, sourceLocation: SourceLocation = #_sourceLocation) -> String {
    do {
        try body()
        Issue.record("expected an error", sourceLocation: sourceLocation)
        return ""
    } catch {
        let text = "\(error)"
        #expect(error is VQAError, sourceLocation: sourceLocation)
        #expect(!text.contains("\n") && text.utf8.count < 2000, sourceLocation: sourceLocation)
        return text
    }
}

/// Opens the checkpoint and asks for every tensor.
@discardableResult
func readAll(_ path: String, root: String? = nil) throws -> [String: [UInt8]] {
    let checkpoint = try Checkpoint(opening: path, root: root)
    var contents: [String: [UInt8]] = [:]
    for name in checkpoint.names {
        let view = try checkpoint.tensor(named: name)
        contents[name] = view.contents
        guard view.bytes.count == view.info.byteCount else {
            throw VQAError("test", because: "the view of \(name) has a wrong size")
        }
    }
    return contents
}

extension TensorView {
    /// A copy of the bytes.
    var contents: [UInt8] { withBytes { Array($0) } }
}

func sha256(_ bytes: UnsafeRawBufferPointer) -> String {
    var hash = SHA256()
    hash.add(bytes)
    return hash.hexadecimal()
}

/// A number in little-endian bytes.
func little<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian) { Array($0) }
}

extension [UInt8] {
    /// Appends the UTF-8 of a text.
    static func += (bytes: inout [UInt8], text: String) { bytes.append(contentsOf: text.utf8) }
}

// MARK: Builders

/// A safetensors file with this header and these data bytes.
func safetensors(_ header: String, data: [UInt8] = []) -> [UInt8] {
    little(UInt64(header.utf8.count)) + Array(header.utf8) + data
}

/// A zip archive written entry by entry, with the means to write it wrongly.
struct ZipBuilder {
    private(set) var bytes: [UInt8] = []
    private var directory: [UInt8] = []
    private var count = 0

    mutating func add(
        _ name: String, _ data: [UInt8], method: UInt16 = 0, flags: UInt16 = 0, localName: String? = nil,
        wide: Bool = false, start: Int? = nil, size: UInt32? = nil
    ) {
        let start = start ?? bytes.count
        let local = localName ?? name
        bytes += little(UInt32(0x0403_4B50)) + little(UInt16(20)) + little(flags) + little(method)
        bytes += [UInt8](repeating: 0, count: 8) + little(UInt32(data.count)) + little(UInt32(data.count))
        bytes += little(UInt16(local.utf8.count)) + little(UInt16(0)) + Array(local.utf8) + data
        let extra =
            wide
            ? little(UInt16(1)) + little(UInt16(24)) + little(UInt64(data.count)) + little(UInt64(data.count))
                + little(UInt64(start)) : []
        let shown = wide ? UInt32.max : size ?? UInt32(data.count)
        directory += little(UInt32(0x0201_4B50)) + little(UInt32(20)) + little(flags) + little(method)
        directory += [UInt8](repeating: 0, count: 8) + little(shown) + little(shown)
        directory +=
            little(UInt16(name.utf8.count)) + little(UInt16(extra.count)) + [UInt8](repeating: 0, count: 10)
        directory += little(wide ? UInt32.max : UInt32(start)) + Array(name.utf8) + extra
        count += 1
    }

    /// The whole archive.
    func finished(wide: Bool = false, count: Int? = nil, comment: String = "", commentSize: UInt16? = nil)
        -> [UInt8]
    {
        let start = bytes.count
        let count = count ?? self.count
        var result = bytes + directory
        let position = result.count
        if wide {
            result += little(UInt32(0x0606_4B50)) + little(UInt64(44)) + [UInt8](repeating: 0, count: 12)
            result +=
                little(UInt64(count)) + little(UInt64(count)) + little(UInt64(directory.count))
                + little(UInt64(start))
            result +=
                little(UInt32(0x0706_4B50)) + little(UInt32(0)) + little(UInt64(position)) + little(UInt32(1))
        }
        let narrow = wide ? UInt16.max : UInt16(truncatingIfNeeded: count)
        result += little(UInt32(0x0605_4B50)) + little(UInt32(0)) + little(narrow) + little(narrow)
        result +=
            little(wide ? UInt32.max : UInt32(directory.count)) + little(wide ? UInt32.max : UInt32(start))
        return result + little(commentSize ?? UInt16(comment.utf8.count)) + Array(comment.utf8)
    }
}

/// Pieces of a pickle of protocol 2.
enum P {
    static func text(_ text: String) -> [UInt8] {
        [0x58] + little(UInt32(text.utf8.count)) + Array(text.utf8)
    }
    static func global(_ module: String, _ name: String) -> [UInt8] { Array("c\(module)\n\(name)\n".utf8) }
    static func integer(_ value: Int32) -> [UInt8] { [0x4A] + little(value) }
    static func long(_ value: Int64) -> [UInt8] { [0x8A, 8] + little(value) }
    static func tuple(_ elements: [UInt8]...) -> [UInt8] { [0x28] + elements.flatMap { $0 } + [0x74] }
    static func dictionary(_ items: [UInt8]...) -> [UInt8] { [0x7D, 0x28] + items.flatMap { $0 } + [0x75] }
    static let none: [UInt8] = [0x4E]
    static let reduce: [UInt8] = [0x52]

    static func storage(_ key: String = "0", count: Int64, type: String = "FloatStorage") -> [UInt8] {
        tuple(text("storage"), global("torch", type), text(key), text("cpu"), long(count)) + [0x51]
    }

    static func tensor(
        _ storage: [UInt8], offset: Int64 = 0, shape: [Int64], strides: [Int64], more: [UInt8] = []
    ) -> [UInt8] {
        func sizes(_ values: [Int64]) -> [UInt8] { [0x28] + values.flatMap(long) + [0x74] }
        return global("torch._utils", "_rebuild_tensor_v2")
            + tuple(storage, long(offset), sizes(shape), sizes(strides), [0x89], [0x7D], more) + reduce
    }

    /// A zip checkpoint whose `data.pkl` is this pickle, with the storages "0", "1", ….
    static func archive(_ body: [UInt8], storages: [[UInt8]] = [], byteOrder: String? = nil) -> [UInt8] {
        var zip = ZipBuilder()
        zip.add("archive/data.pkl", [0x80, 2] + body + [0x2E])
        if let byteOrder { zip.add("archive/byteorder", Array(byteOrder.utf8)) }
        for (index, storage) in storages.enumerated() { zip.add("archive/data/\(index)", storage) }
        return zip.finished()
    }
}

// MARK: Folders

/// The names in a folder, sorted.
func names(in folder: String) -> [String] {
    guard let handle = opendir(folder) else { return [] }
    defer { closedir(handle) }
    var names: [String] = []
    while let entry = readdir(handle) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
}

/// Removes a folder that holds files only.
func removeFolder(_ folder: String) {
    for name in names(in: folder) { unlink("\(folder)/\(name)") }
    rmdir(folder)
}
