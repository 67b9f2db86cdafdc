import Support

/// A file of JSON values, one a line, that grows by one system call a line: predictions and metrics.
public struct JSONLinesFile: ~Copyable {
    private let file: AppendFile

    /// Opens the file, making it when it is not there. Its leading lines stay as long as `keep` accepts them; from
    /// the first other line on, or the first that is torn or not JSON, it is cut.
    public init(_ path: String, keepingWhile keep: (JSON) -> Bool) throws {
        let kept = fileExists(path) ? try Self.prefixLength(of: path, while: keep) : 0
        let file = try AppendFile(path)
        try file.truncate(to: kept)
        self.file = file
    }

    /// Appends one line. Numbers that JSON cannot hold become null.
    public func append(_ value: JSON) throws {
        try file.append(Array((value.text() + "\n").utf8))
    }

    private static func prefixLength(of path: String, while keep: (JSON) -> Bool) throws -> Int {
        let file = try MappedFile(path)
        return withExtendedLifetime(file) {
            var length = 0
            for line in wholeLines(file.bytes) {
                guard let value = try? JSON(parsing: Array(line), source: path), keep(value) else { break }
                length = line.endIndex + 1
            }
            return length
        }
    }

    /// The slices between line feeds; what follows the last one is torn and left out.
    static func wholeLines(_ bytes: UnsafeRawBufferPointer) -> some Sequence<Slice<UnsafeRawBufferPointer>> {
        var start = 0
        return AnyIterator {
            guard let end = bytes[start...].firstIndex(of: 0x0A) else { return nil }
            defer { start = end + 1 }
            return bytes[start..<end]
        }
    }
}

/// The values of a file of JSON lines, such as `metrics.jsonl`. Lines that are torn or not JSON are left out.
public func readJSONLines(_ path: String) throws -> [JSON] {
    let file = try MappedFile(path)
    return withExtendedLifetime(file) {
        JSONLinesFile.wholeLines(file.bytes).compactMap { try? JSON(parsing: Array($0), source: path) }
    }
}
