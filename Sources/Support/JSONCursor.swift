#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A forward reader of JSON bytes: the caller asks for what it expects and gets it, or an error that names the source
/// and the byte. It builds nothing that is not asked for, so large files cost little.
///
/// RFC 8259, with these limits: nesting of at most 512, no byte-order mark, UTF-8 only (invalid bytes are an error).
///
/// ```swift
/// var json = JSONCursor(bytes, source: "questions.json")
/// try json.beginObject()
/// while let key = try json.nextKey() {
///     switch key {
///     case "question_id": id = try json.integer()
///     default: try json.skipValue()
///     }
/// }
/// try json.end()
/// ```
///
/// The bytes must outlive the cursor.
public struct JSONCursor {
    /// The kind of the value that comes next.
    public enum Kind: Sendable { case object, array, string, number, bool, null }

    private let bytes: UnsafeBufferPointer<UInt8>
    /// The name of the file or text, used in errors.
    public let source: String
    /// The number of bytes read so far.
    public private(set) var offset = 0
    private var depth = 0
    /// True directly after `{` or `[`: no comma is expected before the first member.
    private var atStart = false

    static let maximumDepth = 512

    /// Stands before the first byte.
    ///
    /// - Parameter source: the name of the file or text, for errors.
    public init(_ bytes: UnsafeBufferPointer<UInt8>, source: String) {
        self.bytes = bytes
        self.source = source
    }

    // MARK: Structure

    /// Reads `{`.
    public mutating func beginObject() throws { try open(UInt8(ascii: "{"), "an object") }

    /// Reads `[`.
    public mutating func beginArray() throws { try open(UInt8(ascii: "["), "an array") }

    /// Reads the next key and its colon, or the closing `}` and returns nil.
    public mutating func nextKey() throws -> String? {
        guard try nextMember(closing: UInt8(ascii: "}")) else { return nil }
        let key = try string()
        skipSpace()
        guard offset < bytes.count, bytes[offset] == UInt8(ascii: ":") else {
            throw unexpected("':' after the key \"\(key.prefix(60))\"")
        }
        offset += 1
        return key
    }

    /// True when another element follows (its comma is read), false when the closing `]` was read.
    public mutating func nextElement() throws -> Bool {
        try nextMember(closing: UInt8(ascii: "]"))
    }

    /// Checks that nothing but white space is left.
    public mutating func end() throws {
        skipSpace()
        if offset < bytes.count { throw unexpected("the end of the text") }
    }

    /// The kind of the next value; reads nothing.
    public mutating func peek() throws -> Kind {
        skipSpace()
        guard offset < bytes.count else { throw unexpected("a value") }
        switch bytes[offset] {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
        case UInt8(ascii: "n"): return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        default: throw unexpected("a value")
        }
    }

    // MARK: Values

    /// Reads the next key and its colon and tells which of `names` it is: its position, or -1 for another key; nil at the
    /// closing `}`. It makes no `String`, for records that repeat by the million.
    public mutating func nextKey(among names: [StaticString]) throws -> Int? {
        try withNextKeyBytes { key in
            for (position, name) in names.enumerated() where name.utf8CodeUnitCount == key.count {
                guard let start = key.baseAddress else { return position }
                if memcmp(name.utf8Start, start, key.count) == 0 { return position }
            }
            return -1
        }
    }

    /// Reads a string.
    public mutating func string() throws -> String {
        skipSpace()
        guard offset < bytes.count, bytes[offset] == UInt8(ascii: "\"") else { throw unexpected("a string") }
        let start = offset + 1
        let (end, isASCII) = endOfPlainText(from: start)
        guard end < bytes.count else {
            offset = bytes.count
            throw unexpected("the closing quote of a string")
        }
        switch bytes[end] {
        case UInt8(ascii: "\""):
            offset = end + 1
            guard isASCII else { return try decodeUTF8(bytes[start..<end], at: start) }
            return String(decoding: UnsafeBufferPointer(rebasing: bytes[start..<end]), as: UTF8.self)
        case UInt8(ascii: "\\"): return try escapedString(from: start, firstEscape: end)
        default:
            offset = end
            throw unexpected("no raw control character inside a string")
        }
    }

    /// Reads a string and gives its UTF-8 to `body`, without making a `String`; for long lists of short texts. The
    /// bytes are valid within `body` only.
    public mutating func withStringBytes<Result>(
        _ body: (UnsafeBufferPointer<UInt8>) throws -> Result
    ) throws -> Result {
        skipSpace()
        guard offset < bytes.count, bytes[offset] == UInt8(ascii: "\"") else { throw unexpected("a string") }
        let start = offset + 1
        let (end, isASCII) = endOfPlainText(from: start)
        let text = UnsafeBufferPointer(rebasing: bytes[start..<end])
        guard end < bytes.count, bytes[end] == UInt8(ascii: "\""), isASCII || isUTF8(text) else {
            var text = try string()
            return try text.withUTF8(body)
        }
        offset = end + 1
        return try body(text)
    }

    /// The same without a look at whether the bytes are UTF-8.
    @inline(__always)
    private mutating func withUncheckedStringBytes(_ body: (UnsafeBufferPointer<UInt8>) -> Void) throws {
        skipSpace()
        guard offset < bytes.count, bytes[offset] == UInt8(ascii: "\"") else { throw unexpected("a string") }
        let end = endOfPlainText(from: offset + 1).end
        guard end < bytes.count, bytes[end] == UInt8(ascii: "\"") else {
            var text = try string()
            return text.withUTF8(body)
        }
        let text = UnsafeBufferPointer(rebasing: bytes[(offset + 1)..<end])
        offset = end + 1
        body(text)
    }

    /// Reads the next key and its colon, as ``nextKey()``, and gives its UTF-8 to `body`; nil at the closing `}`.
    public mutating func withNextKeyBytes<Result>(
        _ body: (UnsafeBufferPointer<UInt8>) throws -> Result
    ) throws -> Result? {
        guard try nextMember(closing: UInt8(ascii: "}")) else { return nil }
        let result = try withStringBytes(body)
        try colon()
        return result
    }

    /// Reads a string and appends its bytes to `text`, without making a `String`; for long lists of short texts. They are
    /// UTF-8 only if the file is: the caller checks all of them at once, with ``isUTF8(_:)``.
    public mutating func appendStringUnchecked(to text: inout [UInt8]) throws {
        try withUncheckedStringBytes { text.append(contentsOf: $0) }
    }

    /// Reads the next key and its colon and appends its bytes to `text`, as ``appendStringUnchecked(to:)``; false at the
    /// closing `}`.
    public mutating func appendNextKeyUnchecked(to text: inout [UInt8]) throws -> Bool {
        guard try nextMember(closing: UInt8(ascii: "}")) else { return false }
        try appendStringUnchecked(to: &text)
        try colon()
        return true
    }

    /// Reads a number without fraction that fits 64 bits. `1.0` and `1e3` are not integers.
    public mutating func integer() throws -> Int {
        if let value = plainInteger() { return value }
        let (text, start) = try numberText()
        let written = String(decoding: text, as: UTF8.self)
        if let value = Int(written) { return value }
        offset = start
        throw unexpected("a 64-bit integer, not \(written.prefix(40))")
    }

    /// Reads up to 18 digits with a mark behind them that ends a number, as nearly all integers are; nil for anything else, and
    /// nothing is read.
    private mutating func plainInteger() -> Int? {
        skipSpace()
        var (i, value) = (offset, 0)
        while i < bytes.count, i < offset + 18, case let digit = bytes[i] &- UInt8(ascii: "0"), digit < 10 {
            value = value * 10 + Int(digit)
            i += 1
        }
        guard i > offset, i < bytes.count, i == offset + 1 || bytes[offset] != UInt8(ascii: "0") else {
            return nil
        }
        switch bytes[i] {
        case UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"), 0x20, 0x0A, 0x0D:
            offset = i
            return value
        default: return nil
        }
    }

    /// Reads any number.
    public mutating func double() throws -> Double {
        let (digits, start) = try numberText()
        let text = String(decoding: digits, as: UTF8.self)
        if let value = Double(text), value.isFinite { return value }
        offset = start
        throw unexpected("a number within range, not \(text.prefix(40))")
    }

    /// Reads `true` or `false`.
    public mutating func bool() throws -> Bool {
        skipSpace()
        if consume("true") { return true }
        if consume("false") { return false }
        throw unexpected("true or false")
    }

    /// Reads `null` when it comes next and tells whether it did.
    public mutating func null() -> Bool {
        skipSpace()
        return consume("null")
    }

    /// Steps over the next value, whatever it is, checking its syntax.
    public mutating func skipValue() throws {
        switch try peek() {
        case .string: try withStringBytes { _ in }
        case .number: _ = try numberText()
        case .bool: _ = try bool()
        case .null: if !null() { throw unexpected("null") }
        case .array:
            try beginArray()
            while try nextElement() { try skipValue() }
        case .object:
            try beginObject()
            while try nextKey(among: []) != nil { try skipValue() }
        }
    }

    /// Steps over the object that comes next without checking its syntax, for those who read it apart from what follows. False,
    /// and nothing is stepped over, where there is no object or it holds an array or another object.
    public mutating func skipFlatObjectUnchecked() -> Bool {
        var ahead = self
        guard (try? ahead.beginObject()) != nil else { return false }
        var i = ahead.offset
        while i < bytes.count {
            switch bytes[i] {
            case UInt8(ascii: "\""):
                i += 1
                while true {
                    i = endOfPlainText(from: i).end
                    guard i < bytes.count else { return false }
                    if bytes[i] == UInt8(ascii: "\"") { break }
                    i += bytes[i] == UInt8(ascii: "\\") ? 2 : 1
                }
            case UInt8(ascii: "{"), UInt8(ascii: "["): return false
            case UInt8(ascii: "}"):
                (offset, atStart) = (i + 1, false)
                return true
            default: break
            }
            i += 1
        }
        return false
    }

    /// An error at the current byte, for callers that find a well-formed value of the wrong sort.
    public func failure(_ why: String) -> VQAError {
        VQAError("cannot read the JSON", at: "\(source), byte \(offset)", because: why)
    }

    // MARK: Parts

    /// The place of the first byte from `start` on that is a quote, a backslash or a control character, and whether all before
    /// it are ASCII; the end of the bytes when there is none. Strings are nearly all of a file, so eight bytes are looked at
    /// at once: a byte of `found` has its highest bit set where the text's byte is one of those. Subtracting may mark further
    /// bytes behind the first one, never before it.
    private func endOfPlainText(from start: Int) -> (end: Int, isASCII: Bool) {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highest: UInt64 = 0x8080_8080_8080_8080
        let raw = UnsafeRawBufferPointer(bytes)
        var i = start
        var beyond: UInt64 = 0
        while i + 8 <= raw.count {
            let word = UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: i, as: UInt64.self))
            let quotes = word ^ (ones &* 0x22)
            let backslashes = word ^ (ones &* 0x5C)
            let found =
                (((quotes &- ones) & ~quotes) | ((backslashes &- ones) & ~backslashes)
                    | ((word &- ones &* 0x20) & ~word)) & highest
            if found != 0 {
                let before = found & (0 &- found) &- 1
                beyond |= word & before & highest
                return (i + found.trailingZeroBitCount / 8, beyond == 0)
            }
            beyond |= word & highest
            i += 8
        }
        var all: UInt8 = 0
        while i < bytes.count, bytes[i] != UInt8(ascii: "\""), bytes[i] != UInt8(ascii: "\\"),
            bytes[i] >= 0x20
        {
            all |= bytes[i]
            i += 1
        }
        return (i, beyond == 0 && all < 0x80)
    }

    private mutating func open(_ mark: UInt8, _ name: String) throws {
        skipSpace()
        guard offset < bytes.count, bytes[offset] == mark else { throw unexpected(name) }
        guard depth < Self.maximumDepth else { throw failure("nested deeper than \(Self.maximumDepth)") }
        depth += 1
        offset += 1
        atStart = true
    }

    private mutating func nextMember(closing mark: UInt8) throws -> Bool {
        skipSpace()
        let first = atStart
        atStart = false
        guard offset < bytes.count else { throw unexpected("',' or '\(Character(UnicodeScalar(mark)))'") }
        if bytes[offset] == mark {
            offset += 1
            depth -= 1
            return false
        }
        if first { return true }
        guard bytes[offset] == UInt8(ascii: ",") else {
            throw unexpected("',' or '\(Character(UnicodeScalar(mark)))'")
        }
        offset += 1
        skipSpace()
        if offset < bytes.count, bytes[offset] == mark { throw unexpected("a value after the comma") }
        return true
    }

    private mutating func colon() throws {
        skipSpace()
        guard offset < bytes.count, bytes[offset] == UInt8(ascii: ":") else {
            throw unexpected("':' after the key")
        }
        offset += 1
    }

    private mutating func skipSpace() {
        while offset < bytes.count {
            switch bytes[offset] {
            case 0x20, 0x0A, 0x0D, 0x09: offset += 1
            default: return
            }
        }
    }

    private mutating func consume(_ word: StaticString) -> Bool {
        let length = word.utf8CodeUnitCount
        guard bytes.count - offset >= length else { return false }
        for i in 0..<length where bytes[offset + i] != word.utf8Start[i] { return false }
        offset += length
        return true
    }

    private mutating func numberText() throws -> (text: UnsafeBufferPointer<UInt8>, start: Int) {
        skipSpace()
        let start = offset
        var i = offset
        func digits(_ i: inout Int) -> Bool {
            let from = i
            while i < bytes.count, bytes[i] >= UInt8(ascii: "0"), bytes[i] <= UInt8(ascii: "9") { i += 1 }
            return i > from
        }
        if i < bytes.count, bytes[i] == UInt8(ascii: "-") { i += 1 }
        let leadingZero = i < bytes.count && bytes[i] == UInt8(ascii: "0")
        let integerStart = i
        guard digits(&i), !(leadingZero && i - integerStart > 1) else { throw unexpected("a number") }
        if i < bytes.count, bytes[i] == UInt8(ascii: ".") {
            i += 1
            guard digits(&i) else { throw unexpected("a digit after the decimal point") }
        }
        if i < bytes.count, bytes[i] | 0x20 == UInt8(ascii: "e") {
            i += 1
            if i < bytes.count, bytes[i] == UInt8(ascii: "+") || bytes[i] == UInt8(ascii: "-") { i += 1 }
            guard digits(&i) else { throw unexpected("a digit in the exponent") }
        }
        guard i - start <= 1000 else { throw failure("a number of \(i - start) characters") }
        offset = i
        return (UnsafeBufferPointer(rebasing: bytes[start..<i]), start)
    }

    private mutating func escapedString(from start: Int, firstEscape: Int) throws -> String {
        var text = Array(bytes[start..<firstEscape])
        var i = firstEscape
        while i < bytes.count {
            let byte = bytes[i]
            if byte == UInt8(ascii: "\"") {
                offset = i + 1
                return try text.withUnsafeBufferPointer { all in
                    try decodeUTF8(all[...], at: start)
                }
            }
            if byte < 0x20 {
                offset = i
                throw unexpected("no raw control character inside a string")
            }
            i += 1
            guard byte == UInt8(ascii: "\\") else {
                text.append(byte)
                continue
            }
            try appendEscape(at: &i, to: &text)
        }
        offset = bytes.count
        throw unexpected("the closing quote of a string")
    }

    /// Reads what follows a backslash. A lone surrogate becomes U+FFFD.
    private mutating func appendEscape(at i: inout Int, to text: inout [UInt8]) throws {
        offset = i
        guard i < bytes.count else { throw unexpected("an escape") }
        let mark = bytes[i]
        i += 1
        switch mark {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(mark)
        case UInt8(ascii: "b"): text.append(8)
        case UInt8(ascii: "f"): text.append(12)
        case UInt8(ascii: "n"): text.append(10)
        case UInt8(ascii: "r"): text.append(13)
        case UInt8(ascii: "t"): text.append(9)
        case UInt8(ascii: "u"):
            var value = try hexadecimal(at: &i)
            if value & 0xFC00 == 0xD800, i + 1 < bytes.count, bytes[i] == UInt8(ascii: "\\"),
                bytes[i + 1] == UInt8(ascii: "u")
            {
                var next = i + 2
                let low = try hexadecimal(at: &next)
                if low & 0xFC00 == 0xDC00 {
                    value = 0x10000 + (value & 0x3FF) << 10 + (low & 0x3FF)
                    i = next
                }
            }
            let scalar = UnicodeScalar(value) ?? "\u{FFFD}"
            text.append(contentsOf: Character(scalar).utf8)
        default: throw unexpected("one of the escapes of JSON")
        }
    }

    private mutating func hexadecimal(at i: inout Int) throws -> UInt32 {
        offset = min(i, bytes.count)
        guard bytes.count - i >= 4 else { throw unexpected("four hexadecimal digits") }
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Character(UnicodeScalar(bytes[i])).hexDigitValue else {
                throw unexpected("four hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
            i += 1
        }
        return value
    }

    private mutating func decodeUTF8(_ slice: Slice<UnsafeBufferPointer<UInt8>>, at start: Int) throws
        -> String
    {
        if let text = String(validating: slice, as: UTF8.self) { return text }
        offset = start
        throw failure("a string that is not UTF-8")
    }

    private func unexpected(_ wanted: String) -> VQAError {
        let found = offset < bytes.count ? "found \(describe(bytes[offset]))" : "the text ends"
        return failure("expected \(wanted), \(found)")
    }

    private func describe(_ byte: UInt8) -> String {
        byte > 0x20 && byte < 0x7F ? "'\(Character(UnicodeScalar(byte)))'" : "byte \(byte)"
    }
}
