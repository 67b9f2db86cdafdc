import Support

/// Reads comma-separated values row by row (RFC 4180): fields may stand in double quotes, a quote inside them
/// is doubled, and quoted fields may hold commas and line breaks. Lines end with LF or CR LF; empty lines are
/// stepped over. The text is UTF-8.
///
/// Tab-separated values are read as pandas reads them: a quote inside a field that does not begin with one is a character
/// like any other, and text after a closing quote belongs to the field.
///
/// The bytes must outlive the reader.
struct CSVReader {
    private let bytes: UnsafeBufferPointer<UInt8>
    private let source: String
    private let separator: UInt8
    private var offset = 0
    private var line = 1

    init(_ bytes: UnsafeBufferPointer<UInt8>, source: String, separator: UInt8 = UInt8(ascii: ",")) {
        self.bytes = bytes
        self.separator = separator
        self.source = source
    }

    private static let quote = UInt8(ascii: "\"")
    private static let lineFeed = UInt8(ascii: "\n")
    private static let carriageReturn = UInt8(ascii: "\r")

    /// The next row with the line that it starts on (from 1), or nil at the end.
    ///
    /// After an error the reader stands at the next line, so that a caller who collects faults can go on.
    mutating func next() throws -> (fields: [String], line: Int)? {
        while offset < bytes.count, atLineEnd { endLine() }
        guard offset < bytes.count else { return nil }
        let start = line
        var fields: [String] = []
        do {
            while true {
                fields.append(try field())
                guard offset < bytes.count, bytes[offset] == separator else { break }
                offset += 1
            }
        } catch {
            while offset < bytes.count, bytes[offset] != Self.lineFeed { offset += 1 }
            if offset < bytes.count { endLine() }
            throw error
        }
        if offset < bytes.count { endLine() }
        return (fields, start)
    }

    private var isLenient: Bool { separator == UInt8(ascii: "\t") }

    private var atLineEnd: Bool {
        bytes[offset] == Self.lineFeed
            || (bytes[offset] == Self.carriageReturn && offset + 1 < bytes.count
                && bytes[offset + 1] == Self.lineFeed)
    }

    private mutating func endLine() {
        offset += bytes[offset] == Self.carriageReturn ? 2 : 1
        line += 1
    }

    /// Reads up to the comma or line end, which stays unread.
    private mutating func field() throws -> String {
        if offset < bytes.count, bytes[offset] == Self.quote { return try quotedField() }
        let start = offset
        while offset < bytes.count, bytes[offset] != separator, !atLineEnd {
            guard isLenient || bytes[offset] != Self.quote else {
                throw failure("a quote inside a field that does not begin with one", "write \"…\"\"…\"")
            }
            offset += 1
        }
        return try text(bytes[start..<offset])
    }

    private mutating func quotedField() throws -> String {
        let startLine = line
        var content: [UInt8] = []
        offset += 1
        while offset < bytes.count {
            let byte = bytes[offset]
            offset += 1
            if byte == Self.lineFeed { line += 1 }
            guard byte == Self.quote else {
                content.append(byte)
                continue
            }
            if offset < bytes.count, bytes[offset] == Self.quote {
                content.append(Self.quote)
                offset += 1
                continue
            }
            if isLenient {
                while offset < bytes.count, bytes[offset] != separator, !atLineEnd {
                    content.append(bytes[offset])
                    offset += 1
                }
            }
            guard offset == bytes.count || bytes[offset] == separator || atLineEnd else {
                throw failure("text after a closing quote", "double the quotes inside a quoted field")
            }
            return try content.withUnsafeBufferPointer { try text($0[...]) }
        }
        line = startLine
        throw failure("the quote that opens here is never closed", nil)
    }

    private func text(_ slice: Slice<UnsafeBufferPointer<UInt8>>) throws -> String {
        guard let text = String(validating: slice, as: UTF8.self) else {
            throw failure("a field that is not UTF-8", "save the file as UTF-8")
        }
        return text
    }

    private func failure(_ why: String, _ remedy: String?) -> VQAError {
        VQAError("cannot read the table", at: "\(source), line \(line)", because: why, remedy: remedy)
    }
}
