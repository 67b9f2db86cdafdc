import Support
import Yams

/// The text of a configuration before anybody asked for its meaning: the YAML file and the `key=value` overrides,
/// flattened to dotted keys, each with the place where it was written.
///
/// The YAML is bounded: at most 256 kB, nothing but mappings, scalars and lists of scalars, no tags, no anchors and
/// aliases, no key twice. A dotted key in the file (`method.rank: 8`) means the same as the nested one.
public struct ConfigurationSource: Sendable {
    /// The file's name as it was given; stands in every error.
    public let name: String

    /// The file's name without folder and suffix: `dvp` of `Examples/dvp.yaml`.
    public var stem: String {
        let last = name.split(separator: "/").last.map(String.init) ?? name
        guard let dot = last.lastIndex(of: "."), dot != last.startIndex else { return last }
        return String(last[..<dot])
    }

    package let file: [String: GivenValue]
    package let overrides: [String: GivenValue]

    static let byteLimit = 256_000
    static let valueLimit = 10_000
    static let keyLengthLimit = 200
    static let keyDepthLimit = 16

    /// Reads a file. Unreadable files, YAML errors and malformed overrides throw a ``VQAError`` of one line.
    public init(file: String, overrides: [String] = []) throws {
        let bytes = try readFile(file, limit: Self.byteLimit)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw VQAError("cannot read the configuration", at: file, because: "it is not UTF-8 text")
        }
        try self.init(yaml: text, name: file, overrides: overrides)
    }

    /// Reads a text; `name` stands for the file in errors.
    public init(yaml: String, name: String, overrides: [String] = []) throws {
        self.name = name
        file = try YAMLFlattener.leaves(of: yaml, name: name)
        self.overrides = try Self.parse(overrides: overrides, name: name)
        try checkSections()
    }

    // MARK: Overrides

    /// `key=value`, also with leading dashes. Of two equal keys the last counts, as on any command line.
    private static func parse(overrides: [String], name: String) throws -> [String: GivenValue] {
        var result: [String: GivenValue] = [:]
        for (index, argument) in overrides.enumerated() {
            let place = "argument \(argument.prefix(60))"
            guard argument.utf8.count <= byteLimit else {
                throw VQAError("cannot read the override", at: place, because: "it is longer than 256 kB")
            }
            guard let equals = argument.firstIndex(of: "=") else {
                throw VQAError(
                    "cannot read the override", at: place, because: "it has no '='", remedy: "write key=value"
                )
            }
            let key = String(argument[..<equals].drop { $0 == "-" })
            try checkKey(key, at: place)
            let text = String(argument[argument.index(after: equals)...])
            result[key] = GivenValue(
                value: try overrideValue(text, place: place), place: place, order: 1_000_000 + index,
                isOverride: true)
        }
        return result
    }

    /// A value that starts with a bracket or a quote is YAML; any other text is taken as it stands.
    private static func overrideValue(_ text: String, place: String) throws -> GivenValue.Value {
        switch text.first {
        case "[", "\"", "'":
            let wrapped = try YAMLFlattener.leaves(of: "value: \(text)", name: place)
            guard wrapped.count == 1, let value = wrapped["value"]?.value else {
                throw VQAError("cannot read the override", at: place, because: "it holds more than one value")
            }
            return value
        case "{":
            throw VQAError(
                "cannot read the override", at: place, because: "a section cannot be set as a whole",
                remedy: "set its keys one by one: section.key=value")
        default:
            return GivenValue.Value(plain: text)
        }
    }

    // MARK: Checks

    static func checkKey(_ key: String, at place: String) throws {
        let parts = key.split(separator: ".", omittingEmptySubsequences: false)
        guard key.utf8.count <= keyLengthLimit, parts.count <= keyDepthLimit else {
            throw VQAError(
                "cannot read the configuration", at: place,
                because: "a key of more than \(keyLengthLimit) bytes or \(keyDepthLimit) parts")
        }
        guard !parts.contains(where: { $0.isEmpty }) else {
            throw VQAError("cannot read the configuration", at: place, because: "an empty key")
        }
    }

    /// A key cannot be a value and a section at once: `method: lora` in the file and `method.rank=8` as override.
    private func checkSections() throws {
        for leaves in [file, overrides] {
            for (key, given) in leaves.sorted(by: { $0.value.order < $1.value.order }) {
                for parent in ConfigurationSource.parents(of: key) {
                    guard let value = overrides[parent] ?? file[parent], !value.value.isEmpty else {
                        continue
                    }
                    throw VQAError(
                        "cannot use the configuration", at: given.place,
                        because: "'\(key)' is set, but '\(parent)' is a value, not a section (\(value.place))"
                    )
                }
            }
        }
    }

    /// `a`, `a.b` of `a.b.c`.
    static func parents(of key: String) -> [String] {
        key.indices.filter { key[$0] == "." }.map { String(key[..<$0]) }
    }
}

/// One value as it was written, with its place.
package struct GivenValue: Sendable {
    /// What was written. Its type is settled only when the reader asks for one.
    package enum Value: Sendable, Equatable {
        case null
        /// A scalar without quotes: may be a number, a truth value or a text.
        case plain(String)
        /// A quoted or block scalar: a text.
        case quoted(String)
        case list([Value])
        /// A mapping without keys.
        case emptySection

        /// The meaning of a scalar without quotes: nothing, `~` and `null` stand for no value.
        init(plain text: String) {
            self = ["", "~", "null", "Null", "NULL"].contains(text) ? .null : .plain(text)
        }

        /// True when nothing is set, so that the key may as well be a section.
        var isEmpty: Bool { self == .null || self == .emptySection }

        /// The value in an error message.
        var found: String {
            switch self {
            case .null: "nothing"
            case .plain(let text): "'\(text.prefix(60))'"
            case .quoted(let text): "the text '\(text.prefix(60))'"
            case .list(let values): "a list of \(values.count)"
            case .emptySection: "a section"
            }
        }
    }

    package let value: Value
    /// `file:line`, or the override itself.
    package let place: String
    /// Sorts problems: line numbers, then overrides.
    package let order: Int
    package let isOverride: Bool
}
