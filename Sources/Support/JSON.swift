/// A JSON value as a tree, with the order of an object's members kept. For small texts; large files are read with
/// ``JSONCursor``.
public enum JSON: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case array([JSON])
    case object([Member])

    /// A key of an object with its value.
    public struct Member: Sendable, Equatable {
        /// The name, with its escapes resolved.
        public let key: String
        /// What stands after the colon.
        public let value: JSON

        /// Pairs the two.
        public init(_ key: String, _ value: JSON) {
            self.key = key
            self.value = value
        }
    }

    // MARK: Reading

    /// Parses `bytes`; a duplicate key in an object is an error.
    public init(parsing bytes: [UInt8], source: String) throws {
        self = try bytes.withUnsafeBufferPointer { buffer in
            var cursor = JSONCursor(buffer, source: source)
            let value = try JSON(reading: &cursor)
            try cursor.end()
            return value
        }
    }

    /// Parses the text of a file of at most `limit` bytes.
    public init(contentsOf path: String, limit: Int = 256 << 20) throws {
        try self.init(parsing: readFile(path, limit: limit), source: path)
    }

    /// Reads the next value of `cursor`.
    public init(reading cursor: inout JSONCursor) throws {
        switch try cursor.peek() {
        case .null:
            guard cursor.null() else { throw cursor.failure("expected null") }
            self = .null
        case .bool: self = .bool(try cursor.bool())
        case .string: self = .string(try cursor.string())
        case .number:
            var attempt = cursor
            if let value = try? attempt.integer() {
                cursor = attempt
                self = .integer(value)
            } else {
                self = .number(try cursor.double())
            }
        case .array:
            try cursor.beginArray()
            var values: [JSON] = []
            while try cursor.nextElement() { values.append(try JSON(reading: &cursor)) }
            self = .array(values)
        case .object:
            try cursor.beginObject()
            var members: [Member] = []
            var seen: Set<String> = []
            while let key = try cursor.nextKey() {
                // Strings that are canonically equivalent are equal to Swift, but not the same key.
                if !seen.insert(key).inserted,
                    members.contains(where: { $0.key.utf8.elementsEqual(key.utf8) })
                {
                    throw cursor.failure("the key \"\(key.prefix(60))\" appears twice")
                }
                members.append(Member(key, try JSON(reading: &cursor)))
            }
            self = .object(members)
        }
    }

    // MARK: Access

    /// The value of `key`, or nil when this is no object or has no such key.
    public subscript(_ key: String) -> JSON? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.key == key }?.value
    }

    /// The text of a string, nil for every other kind.
    public var string: String? { if case .string(let value) = self { value } else { nil } }
    /// The truth value of `true` or `false`, nil for every other kind.
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// An integer of at most 64 bits, nil for every other value, `1.0` included.
    public var integer: Int? { if case .integer(let value) = self { value } else { nil } }
    /// The elements of an array, nil for every other kind.
    public var array: [JSON]? { if case .array(let value) = self { value } else { nil } }
    /// The members of an object in their order, nil for every other kind.
    public var members: [Member]? { if case .object(let value) = self { value } else { nil } }
    /// Any number, integers included.
    public var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }
    /// True for `null` alone; a missing key has no value at all.
    public var isNull: Bool { self == .null }

    // MARK: Writing

    /// The text of this value: on one line, or indented by two spaces. Numbers that JSON cannot hold become null.
    public func text(indented: Bool = false) -> String {
        var result = ""
        write(to: &result, indent: indented ? 0 : nil)
        return result
    }

    private func write(to text: inout String, indent: Int?) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .integer(let value): text += String(value)
        case .number(let value): text += value.isFinite ? value.description : "null"
        case .string(let value): text += JSON.quoted(value)
        case .array(let values):
            JSON.writeMembers(values, "[", "]", to: &text, indent: indent) { value, text, indent in
                value.write(to: &text, indent: indent)
            }
        case .object(let members):
            JSON.writeMembers(members, "{", "}", to: &text, indent: indent) { member, text, indent in
                text += JSON.quoted(member.key) + (indent == nil ? ":" : ": ")
                member.value.write(to: &text, indent: indent)
            }
        }
    }

    private static func writeMembers<Element>(
        _ elements: [Element], _ open: String, _ close: String, to text: inout String, indent: Int?,
        _ body: (Element, inout String, Int?) -> Void
    ) {
        text += open
        let inner = indent.map { $0 + 1 }
        for (index, element) in elements.enumerated() {
            if index > 0 { text += "," }
            if let inner { text += "\n" + String(repeating: "  ", count: inner) }
            body(element, &text, inner)
        }
        if let indent, !elements.isEmpty { text += "\n" + String(repeating: "  ", count: indent) }
        text += close
    }

    /// `text` as a JSON string with its quotes.
    public static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            default:
                if scalar.value < 0x20 {
                    let digits = String(scalar.value, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    /// `"text"` in Swift source is a JSON string.
    public init(stringLiteral value: String) { self = .string(value) }
    /// `1` in Swift source is a JSON integer.
    public init(integerLiteral value: Int) { self = .integer(value) }
    /// `1.5` in Swift source is a JSON number.
    public init(floatLiteral value: Double) { self = .number(value) }
    /// `true` and `false` in Swift source are JSON truth values.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// `[a, b]` in Swift source is a JSON array.
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    /// `["key": value]` in Swift source is a JSON object in that order; keys are not checked for repeats.
    public init(dictionaryLiteral elements: (String, JSON)...) {
        self = .object(elements.map { Member($0.0, $0.1) })
    }
}
