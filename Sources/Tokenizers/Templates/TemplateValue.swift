import Support

/// A value of the template language: plain data, and handles that mean something only while one rendering lasts.
enum TemplateValue: Sendable {
    /// What a missing name or key gives: prints as nothing, and may not be used for much else.
    case undefined(String)
    case null
    case boolean(Bool)
    case integer(Int)
    case number(Double)
    case text(Text)
    case list(TemplateList)
    case tuple(TemplateList)
    case mapping(TemplateMapping)
    /// The one thing that can be changed, by its index in the rendering.
    case namespace(Int)
    /// `loop`, by the number of the loop.
    case loop(Int)
    /// A macro, by its index in the program.
    case macro(Int)
    case function(TemplateFunction)
    /// A method with the value it was taken from.
    case method(TemplateMethod)
}

/// The functions that every template sees.
enum TemplateFunction: String, Sendable, CaseIterable {
    case namespace, range, dict
    case raiseException = "raise_exception"
    case strftimeNow = "strftime_now"
}

/// Values in a row. The depth is kept so that nothing is ever nested so deep that walking or freeing it exhausts the
/// stack.
struct TemplateList: Sendable {
    let values: [TemplateValue]
    let depth: Int

    init(_ values: [TemplateValue]) {
        self.values = values
        depth = 1 + (values.lazy.map(\.depth).max() ?? 0)
    }

    var count: Int { values.count }
}

/// Keys and values in the order of insertion.
struct TemplateMapping: Sendable {
    /// What can be a key: equal numbers of different types are one key.
    enum Key: Hashable, Sendable {
        case null
        case integer(Int)
        case number(Double)
        case text(Text)
    }

    private(set) var keys: [TemplateValue] = []
    private(set) var values: [TemplateValue] = []
    private var places: [Key: Int] = [:]
    private(set) var depth = 1

    var count: Int { keys.count }

    subscript(key: Key) -> TemplateValue? { places[key].map { values[$0] } }

    subscript(text: String) -> TemplateValue? { self[.text(Text(text))] }

    /// Adds a value, or replaces that of an equal key.
    mutating func set(_ key: Key, named name: TemplateValue, to value: TemplateValue) {
        depth = max(depth, 1 + value.depth)
        if let place = places[key] {
            values[place] = value
        } else {
            places[key] = keys.count
            keys.append(name)
            values.append(value)
        }
    }

    mutating func set(_ name: Text, to value: TemplateValue) {
        set(.text(name), named: .text(name), to: value)
    }

    /// Every key with its value, as tuples of two.
    var pairs: [TemplateValue] { zip(keys, values).map { .tuple(TemplateList([$0, $1])) } }
}

/// A method of a text, mapping, list or loop.
struct TemplateMethod: Sendable {
    private let receivers: [TemplateValue]
    let name: String

    init(of receiver: TemplateValue, name: String) {
        receivers = [receiver]
        self.name = name
    }

    var receiver: TemplateValue { receivers.first ?? .null }
}

extension TemplateValue {
    /// How deep lists and mappings are nested in this value.
    var depth: Int {
        switch self {
        case .list(let list), .tuple(let list): list.depth
        case .mapping(let mapping): mapping.depth
        case .method(let method): 1 + method.receiver.depth
        default: 0
        }
    }

    /// The value of a JSON tree.
    ///
    /// - Throws: `TemplateFault` when it is nested deeper than `limit`.
    init(_ json: JSON, limit: Int) throws {
        guard limit > 0 else { throw TemplateFault("a message or variable is nested too deep") }
        switch json {
        case .null: self = .null
        case .bool(let value): self = .boolean(value)
        case .integer(let value): self = .integer(value)
        case .number(let value): self = .number(value)
        case .string(let text): self = .text(Text(text))
        case .array(let elements):
            self = .list(TemplateList(try elements.map { try TemplateValue($0, limit: limit - 1) }))
        case .object(let members):
            var mapping = TemplateMapping()
            for member in members {
                mapping.set(Text(member.key), to: try TemplateValue(member.value, limit: limit - 1))
            }
            self = .mapping(mapping)
        }
    }

    /// A text made in Swift.
    static func string(_ text: String) -> TemplateValue { .text(Text(text)) }

    static func list(_ values: [TemplateValue]) -> TemplateValue { .list(TemplateList(values)) }

    var isUndefined: Bool { if case .undefined = self { true } else { false } }

    /// Counts as true in a condition.
    var isTrue: Bool {
        switch self {
        case .undefined, .null: false
        case .boolean(let value): value
        case .integer(let value): value != 0
        case .number(let value): value != 0
        case .text(let text): !text.isEmpty
        case .list(let list), .tuple(let list): list.count > 0
        case .mapping(let mapping): mapping.count > 0
        default: true
        }
    }

    /// An integer, where truth values count as 0 and 1.
    var asInteger: Int? {
        switch self {
        case .integer(let value): value
        case .boolean(let value): value ? 1 : 0
        default: nil
        }
    }

    /// Any number, where truth values count as 0 and 1.
    var asNumber: Double? { if case .number(let value) = self { value } else { asInteger.map(Double.init) } }

    /// What this is called in errors.
    var kindName: String {
        switch self {
        case .undefined(let name): "undefined (\(name.prefix(60)))"
        case .null: "none"
        case .boolean: "a truth value"
        case .integer, .number: "a number"
        case .text: "a text"
        case .list: "a list"
        case .tuple: "a tuple"
        case .mapping: "a mapping"
        case .namespace: "a namespace"
        case .loop: "a loop"
        case .macro: "a macro"
        case .function, .method: "a function"
        }
    }

    /// This value as a key of a mapping.
    func key() throws -> TemplateMapping.Key {
        switch self {
        case .null: return .null
        case .boolean(let value): return .integer(value ? 1 : 0)
        case .integer(let value): return .integer(value)
        case .number(let value): return Int(exactly: value).map { .integer($0) } ?? .number(value)
        case .text(let text): return .text(text)
        default: throw TemplateFault("\(kindName) cannot be a key")
        }
    }
}

extension Double {
    /// The shortest decimal that reads back as this number, in the form of the reference: exponents below -4 and from 16 on.
    var templateText: String {
        if isNaN { return "nan" }
        if isInfinite { return self < 0 ? "-inf" : "inf" }
        guard magnitude >= 1e16, !description.contains("e") else { return description }
        let digits = description.drop { $0 == "-" }.prefix { $0 != "." }
        let significant = digits.reversed().drop { $0 == "0" }.reversed()
        let head = String(significant.prefix(1)) + (significant.count > 1 ? "." : "")
        return (self < 0 ? "-" : "") + head + String(significant.dropFirst()) + "e+\(digits.count - 1)"
    }
}
