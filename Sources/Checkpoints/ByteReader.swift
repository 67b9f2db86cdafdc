import Support

/// Reads little-endian numbers and runs of bytes forward; running past the end is an error that names the
/// byte.
struct ByteReader {
    let bytes: UnsafeRawBufferPointer
    /// The file, for errors.
    let source: String
    private(set) var offset: Int
    /// One past the last byte that may be read.
    let end: Int

    /// Reads from `range`, which lies within `bytes`; offsets count from the start of `bytes`.
    init(_ bytes: UnsafeRawBufferPointer, in range: Range<Int>, source: String) {
        self.bytes = bytes
        self.source = source
        offset = range.lowerBound
        end = range.upperBound
    }

    var remaining: Int { end - offset }

    mutating func integer<Number: FixedWidthInteger & BitwiseCopyable>(_: Number.Type) throws -> Number {
        let range = try take(MemoryLayout<Number>.size)
        return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: range.lowerBound, as: Number.self))
    }

    mutating func byte() throws -> UInt8 { try integer(UInt8.self) }

    /// Steps over `count` bytes and returns where they are.
    @discardableResult
    mutating func take(_ count: Int) throws -> Range<Int> {
        guard count >= 0, count <= remaining else {
            throw failure("truncated: expected \(count) more bytes, found \(remaining)")
        }
        defer { offset += count }
        return offset..<offset + count
    }

    /// `count` bytes that must be UTF-8.
    mutating func text(_ count: Int) throws -> String {
        let range = try take(count)
        guard let text = String(validating: bytes[range], as: UTF8.self) else {
            throw failure("a text that is not UTF-8")
        }
        return text
    }

    /// The text up to the next line feed, which is read too.
    mutating func line(limit: Int) throws -> String {
        let window = bytes[offset..<offset + min(limit, remaining)]
        guard let feed = window.firstIndex(of: 0x0A) else { throw failure("a line without end") }
        let text = try text(feed - offset)
        offset += 1
        return text
    }

    func failure(_ why: String, remedy: String? = nil) -> VQAError {
        VQAError("cannot read the checkpoint", at: "\(source), byte \(offset)", because: why, remedy: remedy)
    }
}
