import Support

/// A value of a configuration with its type settled.
public enum ConfigurationValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case list([ConfigurationValue])

    var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    var integer: Int? { if case .integer(let value) = self { value } else { nil } }
    var number: Double? { if case .number(let value) = self { value } else { nil } }
    var string: String? { if case .string(let value) = self { value } else { nil } }

    /// All elements converted, or nil when this is no list or an element does not fit.
    func list<T>(_ convert: (ConfigurationValue) -> T?) -> [T]? {
        guard case .list(let values) = self else { return nil }
        let converted = values.compactMap(convert)
        return converted.count == values.count ? converted : nil
    }

    /// The same value as JSON. Infinite numbers become texts, since JSON has none.
    public var json: JSON {
        switch self {
        case .null: .null
        case .bool(let value): .bool(value)
        case .integer(let value): .integer(value)
        case .number(let value): value.isFinite ? .number(value) : .string(yaml)
        case .string(let value): .string(value)
        case .list(let values): .array(values.map(\.json))
        }
    }

    /// The value in YAML, on one line.
    var yaml: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .integer(let value): String(value)
        case .number(let value):
            value.isFinite ? value.description : (value > 0 ? ".inf" : "-.inf")
        case .string(let value): quotedForYAML(value)
        case .list(let values): "[" + values.map(\.yaml).joined(separator: ", ") + "]"
        }
    }
}

/// Swift types that have a place in a configuration.
protocol ConfigurationRepresentable {
    var configurationValue: ConfigurationValue { get }
}

extension Bool: ConfigurationRepresentable {
    var configurationValue: ConfigurationValue { .bool(self) }
}
extension Int: ConfigurationRepresentable {
    var configurationValue: ConfigurationValue { .integer(self) }
}
extension Double: ConfigurationRepresentable {
    var configurationValue: ConfigurationValue { .number(self) }
}
extension String: ConfigurationRepresentable {
    var configurationValue: ConfigurationValue { .string(self) }
}
extension Array: ConfigurationRepresentable where Element: ConfigurationRepresentable {
    var configurationValue: ConfigurationValue { .list(map(\.configurationValue)) }
}

/// Every key of a configuration with the value in force: what `--print-config` prints and what a run saves.
public struct ResolvedConfiguration: Sendable, Equatable {
    /// One key.
    public struct Entry: Sendable, Equatable {
        /// The full name, dotted.
        public let key: String
        /// The value in force.
        public let value: ConfigurationValue
        /// True when neither the file nor an override set it.
        public let isDefault: Bool
        /// What holds without being set; null when there is none.
        public let defaultValue: ConfigurationValue
        /// One line of explanation, or empty.
        public let help: String
    }

    /// In the order in which they were asked for.
    public let entries: [Entry]
    let sectionHelp: [String: String]

    // MARK: Forms

    /// The complete configuration as YAML; read again it gives the same values.
    ///
    /// - Parameter comments: adds each key's help and whether it is the default.
    public func yaml(comments: Bool = true) -> String {
        var lines: [(text: String, comment: String)] = []
        ConfigurationTree(entries).walk { depth, name, path, entry in
            let indent = String(repeating: "  ", count: depth)
            if let entry {
                lines.append(("\(indent)\(quotedForYAML(name)): \(entry.value.yaml)", comment(of: entry)))
            } else {
                lines.append(("\(indent)\(quotedForYAML(name)):", oneLine(sectionHelp[path] ?? "")))
            }
        }
        guard comments else { return lines.map { $0.text + "\n" }.joined() }
        let column = min(40, lines.map(\.text.count).max() ?? 0)
        return lines.map { line in
            guard !line.comment.isEmpty else { return line.text + "\n" }
            let padding = String(repeating: " ", count: max(0, column - line.text.count))
            return "\(line.text)\(padding)  # \(line.comment)\n"
        }.joined()
    }

    private func comment(of entry: Entry) -> String {
        let state =
            if entry.isDefault {
                "(default)"
            } else {
                entry.value == entry.defaultValue ? "" : "(default: \(entry.defaultValue.yaml))"
            }
        return oneLine([entry.help, state].filter { !$0.isEmpty }.joined(separator: " "))
    }

    /// The same as nested JSON.
    public var json: JSON { ConfigurationTree(entries).json }

    /// A digest of keys and values alone: equal for two configurations that mean the same.
    public var sha256: String {
        var hash = SHA256()
        for entry in entries.sorted(by: { $0.key < $1.key }) { hash.add("\(entry.key): \(entry.value.yaml)") }
        return hash.hexadecimal()
    }

    /// The value of a key, or nil when there is no such key.
    public subscript(_ key: String) -> ConfigurationValue? {
        entries.first { $0.key == key }?.value
    }
}

/// Entries by section, in the order of their first mention.
private struct ConfigurationTree {
    private var children: [(name: String, path: String, node: Node)] = []

    private enum Node {
        case entry(ResolvedConfiguration.Entry)
        case section(ConfigurationTree)
    }

    init(_ entries: [ResolvedConfiguration.Entry]) {
        self.init(entries.map { ($0.key.split(separator: ".").map(String.init), $0) }[...], prefix: "")
    }

    private init(_ entries: ArraySlice<(parts: [String], entry: ResolvedConfiguration.Entry)>, prefix: String)
    {
        var order: [String] = []
        var groups: [String: [(parts: [String], entry: ResolvedConfiguration.Entry)]] = [:]
        for (parts, entry) in entries {
            guard let name = parts.first else { continue }
            if groups[name] == nil { order.append(name) }
            groups[name, default: []].append((Array(parts.dropFirst()), entry))
        }
        for name in order {
            let group = groups[name] ?? []
            let path = prefix + name
            let inner = group.filter { !$0.parts.isEmpty }
            if !inner.isEmpty {
                children.append((name, path, .section(ConfigurationTree(inner[...], prefix: path + "."))))
            } else if let entry = group.first?.entry {
                children.append((name, path, .entry(entry)))
            }
        }
    }

    func walk(
        depth: Int = 0, _ visit: (Int, String, String, ResolvedConfiguration.Entry?) -> Void
    ) {
        for (name, path, node) in children {
            switch node {
            case .entry(let entry): visit(depth, name, path, entry)
            case .section(let tree):
                visit(depth, name, path, nil)
                tree.walk(depth: depth + 1, visit)
            }
        }
    }

    var json: JSON {
        .object(
            children.map { child in
                switch child.node {
                case .entry(let entry): JSON.Member(child.name, entry.value.json)
                case .section(let tree): JSON.Member(child.name, tree.json)
                }
            })
    }
}

/// `text` as a YAML scalar that every YAML reader takes for a text: bare when it is a harmless word, otherwise in
/// double quotes with escapes.
func quotedForYAML(_ text: String) -> String {
    let letters = text.utf8.allSatisfy {
        ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) || "_./-".utf8.contains($0)
    }
    let startsWithLetter = text.utf8.first.map { $0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A } ?? false
    let reserved = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(text.lowercased())
    if letters, startsWithLetter, !reserved { return text }
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar.value {
        case 0x22: result += "\\\""
        case 0x5C: result += "\\\\"
        case 0x0A: result += "\\n"
        case 0x09: result += "\\t"
        case 0x20...0x7E, 0xA0...0x2027, 0x202A...0xD7FF, 0xE000...0xFEFE, 0xFF00...0xFFFD, 0x1_0000...:
            result.unicodeScalars.append(scalar)
        default:
            let digits = String(scalar.value, radix: 16)
            result += "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
        }
    }
    return result + "\""
}
