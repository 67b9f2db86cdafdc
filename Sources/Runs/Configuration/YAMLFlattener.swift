import Support
import Yams

/// Turns bounded YAML into dotted keys and values.
enum YAMLFlattener {
    /// All values of a text, by dotted key. An empty text has none.
    static func leaves(of text: String, name: String) throws -> [String: GivenValue] {
        guard text.utf8.count <= ConfigurationSource.byteLimit else {
            throw VQAError("cannot read the configuration", at: name, because: "it is larger than 256 kB")
        }
        try refuseExpansion(text, name: name)
        var leaves: [String: GivenValue] = [:]
        do {
            let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            guard let root = try parser.singleRoot() else { return [:] }
            if case .scalar(let scalar) = root, scalar.style == .plain, scalar.string.isEmpty { return [:] }
            guard case .mapping(let mapping) = root else {
                throw VQAError(
                    "cannot read the configuration", at: name,
                    because: "it is not a list of 'key: value' lines")
            }
            // Nodes hold their anchors weakly; the parser owns them.
            try withExtendedLifetime(parser) {
                try flatten(mapping, prefix: "", name: name, into: &leaves)
            }
        } catch let error as YamlError {
            throw explained(error, name: name)
        }
        return leaves
    }

    // MARK: Walking

    private static func flatten(
        _ mapping: Node.Mapping, prefix: String, name: String,
        into leaves: inout [String: GivenValue]
    ) throws {
        for (keyNode, node) in mapping {
            let place = "\(name):\(keyNode.mark?.line ?? 1)"
            try refuseExtras(keyNode, at: place)
            try refuseExtras(node, at: place)
            guard case .scalar(let keyScalar) = keyNode else {
                throw VQAError(
                    "cannot read the configuration", at: place, because: "a key that is not a word")
            }
            let key = prefix + keyScalar.string
            try ConfigurationSource.checkKey(key, at: place)
            if case .mapping(let inner) = node, !inner.isEmpty {
                try flatten(inner, prefix: key + ".", name: name, into: &leaves)
                continue
            }
            let given = GivenValue(
                value: try value(of: node, at: place), place: place, order: keyNode.mark?.line ?? 1,
                isOverride: false)
            guard leaves.count < ConfigurationSource.valueLimit else { throw tooMany(at: place) }
            if let other = leaves.updateValue(given, forKey: key) {
                throw VQAError(
                    "cannot read the configuration", at: place, because: "the key '\(key)' is given twice",
                    remedy: "the other one is at \(other.place)")
            }
        }
    }

    private static func value(of node: Node, at place: String) throws -> GivenValue.Value {
        switch node {
        case .scalar(let scalar):
            return scalar.style == .plain ? .init(plain: scalar.string) : .quoted(scalar.string)
        case .mapping:
            return .emptySection
        case .sequence(let sequence):
            guard sequence.count <= ConfigurationSource.valueLimit else { throw tooMany(at: place) }
            return .list(
                try sequence.map { element in
                    try refuseExtras(element, at: place)
                    guard case .scalar = element else {
                        throw VQAError(
                            "cannot read the configuration", at: place,
                            because: "a list may hold only single values")
                    }
                    return try value(of: element, at: place)
                })
        case .alias:
            throw VQAError("cannot read the configuration", at: place, because: "aliases are not supported")
        }
    }

    // MARK: Refusals

    private static func refuseExtras(_ node: Node, at place: String) throws {
        guard node.anchor == nil else {
            throw VQAError(
                "cannot read the configuration", at: place, because: "anchors (&name) are not supported",
                remedy: "write the value out, or put the text in quotes")
        }
        let untagged: Tag.Name =
            switch node {
            case .mapping: .map
            case .sequence: .seq
            case .scalar, .alias: .str
            }
        guard Resolver.basic.resolveTag(of: node) == untagged else {
            throw VQAError(
                "cannot read the configuration", at: place, because: "tags (!name) are not supported",
                remedy: "put the text in quotes")
        }
    }

    /// Refuses texts whose aliases or explicit keys (`? …`) could take exponential or quadratic time in the parser.
    ///
    /// The parser offers no look at aliases before it expands them, so this counts the places where one could
    /// stand: a `*` or `?` that begins a node. Up to eight cannot do harm, whatever they mean; a true anchor is
    /// refused afterwards.
    private static func refuseExpansion(_ text: String, name: String) throws {
        var count = 0
        var line = 1
        var atNodeStart = true
        var afterStar = false
        for scalar in text.unicodeScalars {
            // A star before anything else than a name is no alias: a list in Markdown, say.
            if afterStar, scalar.properties.isAlphabetic || "0123456789_-".unicodeScalars.contains(scalar) {
                count += 1
            }
            afterStar = atNodeStart && scalar == "*"
            switch scalar {
            case " ", "\t", "\u{FEFF}": break
            case "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}":
                if scalar == "\n" { line += 1 }
                atNodeStart = true
            case ":", "-", ",", "[", "{": atNodeStart = true
            case "?": if atNodeStart { count += 1 }
            default: atNodeStart = false
            }
            if count > 8 {
                throw VQAError(
                    "cannot read the configuration", at: "\(name):\(line)",
                    because: "more than 8 values begin with '*' or '?'",
                    remedy:
                        "aliases and explicit keys are not supported; put texts in quotes on the key's line")
            }
        }
    }

    // MARK: Errors

    private static func tooMany(at place: String) -> VQAError {
        VQAError(
            "cannot read the configuration", at: place,
            because: "more than \(ConfigurationSource.valueLimit) keys or values in one list")
    }

    private static func explained(_ error: YamlError, name: String) -> VQAError {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            return VQAError(
                "cannot read the configuration", at: "\(name):\(mark.line)",
                because: "\(problem) (column \(mark.column))")
        case .duplicatedKeysInMapping(let keys, let context):
            return VQAError(
                "cannot read the configuration", at: "\(name):\(context.mark.line)",
                because: "the key '\(keys.first?.prefix(60) ?? "")' is given twice in one section")
        case .reader(let problem, _, _, _):
            return VQAError("cannot read the configuration", at: name, because: problem)
        case .memory:
            return VQAError("cannot read the configuration", at: name, because: "out of memory")
        default:
            return VQAError("cannot read the configuration", at: name, because: "it is not valid YAML")
        }
    }
}
