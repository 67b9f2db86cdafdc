import Support

/// Reads one component of tokenizer.json, with errors that name it.
struct ComponentReader {
    let json: JSON
    /// `normalizer`, `pre-tokenizer`, …
    let name: String
    let source: String

    init(_ json: JSON, _ name: String, source: String) {
        self.json = json
        self.name = name
        self.source = source
    }

    /// The value of `type`.
    func type() throws -> String {
        guard let type = json["type"]?.string else { throw failure("it has no \"type\"") }
        return type
    }

    /// A member that must be there.
    func string(_ key: String) throws -> String {
        guard let value = json[key]?.string else { throw failure("\"\(key)\" is not a string") }
        return value
    }

    /// A member that must be there.
    func array(_ key: String) throws -> [JSON] {
        guard let value = json[key]?.array else { throw failure("\"\(key)\" is not an array") }
        return value
    }

    /// A member that is true or false, `missing` when it is not there.
    func flag(_ key: String, missing: Bool) throws -> Bool {
        guard let value = json[key], !value.isNull else { return missing }
        guard let flag = value.bool else { throw failure("\"\(key)\" is neither true nor false") }
        return flag
    }

    /// A member that is a whole number of at least 0, `missing` when it is not there.
    func size(_ key: String, missing: Int) throws -> Int {
        guard let value = json[key], !value.isNull else { return missing }
        guard let number = value.integer, (0...Int(Int32.max)).contains(number) else {
            throw failure("\"\(key)\" is not a whole number of at least 0")
        }
        return number
    }

    /// A token written as `["[CLS]", 101]`.
    func token(_ key: String, _ value: JSON?) throws -> SpecialToken {
        guard let parts = value?.array, parts.count == 2, let text = parts[0].string,
            let id = parts[1].integer,
            (0...Int(Int32.max)).contains(id)
        else { throw failure("\"\(key)\" is not a token with its id") }
        return SpecialToken(text, id: id)
    }

    /// The regular expression of `pattern`.
    func pattern() throws -> Pattern {
        guard let text = json["pattern"]?["Regex"]?.string else {
            throw failure("\"pattern\" is neither a text nor a regular expression")
        }
        return try Pattern(text)
    }

    func failure(_ why: String) -> VQAError {
        VQAError("cannot read the \(name) of the tokenizer", at: source, because: why)
    }

    /// For a kind that is not read.
    func unsupported(_ type: String) -> VQAError {
        VQAError(
            "cannot read the tokenizer", at: source,
            because: "this tokenizer needs the \(name) \(JSON.quoted(type)), which is not read yet")
    }
}

extension Normalizer {
    /// Reads `normalizer`; nil for nil and null.
    static func read(_ json: JSON?, source: String) throws -> Normalizer? {
        guard let json, !json.isNull else { return nil }
        return try Normalizer(ComponentReader(json, "normalizer", source: source))
    }

    private init(_ reader: ComponentReader) throws {
        switch try reader.type() {
        case "BertNormalizer": self = .bert(try BertNormalizer(reader))
        case "Lowercase": self = .lowercase
        case "NFC": self = .form(.nfc)
        case "NFD": self = .form(.nfd)
        case "NFKC": self = .form(.nfkc)
        case "NFKD": self = .form(.nfkd)
        case "StripAccents": self = .stripAccents
        case "Strip":
            self = .strip(
                left: try reader.flag("strip_left", missing: true),
                right: try reader.flag("strip_right", missing: true))
        case "Replace": self = try Self.replace(reader)
        case "Precompiled":
            self = .precompiled(
                try PrecompiledMap(base64: try reader.string("precompiled_charsmap"), source: reader.source))
        case "ByteLevel": self = .byteLevel
        case "Prepend": self = .prepend(Array(try reader.string("prepend").utf8))
        case "Sequence":
            self = .sequence(
                try reader.array("normalizers").map {
                    try Normalizer(ComponentReader($0, reader.name, source: reader.source))
                })
        case let type: throw reader.unsupported(type)
        }
    }

    private static func replace(_ reader: ComponentReader) throws -> Normalizer {
        let content = Array(try reader.string("content").utf8)
        guard let literal = reader.json["pattern"]?["String"]?.string else {
            return .replaceMatches(try reader.pattern(), content: content)
        }
        guard !literal.isEmpty else { throw reader.failure("\"Replace\" has an empty pattern") }
        return .replace(pattern: Array(literal.utf8), content: content)
    }
}

extension BertNormalizer {
    /// Reads a `BertNormalizer`. Without `strip_accents` accents go when letters are lowered.
    fileprivate init(_ reader: ComponentReader) throws {
        cleansText = try reader.flag("clean_text", missing: true)
        spacesIdeographs = try reader.flag("handle_chinese_chars", missing: true)
        lowercases = try reader.flag("lowercase", missing: true)
        stripsAccents = try reader.flag("strip_accents", missing: lowercases)
    }
}

extension PreTokenizer {
    /// Reads `pre_tokenizer`; nil for nil and null.
    static func read(_ json: JSON?, source: String) throws -> PreTokenizer? {
        guard let json, !json.isNull else { return nil }
        return try PreTokenizer(ComponentReader(json, "pre-tokenizer", source: source))
    }

    private init(_ reader: ComponentReader) throws {
        switch try reader.type() {
        case "BertPreTokenizer": self = .bert
        case "Whitespace": self = .whitespace
        case "WhitespaceSplit": self = .whitespaceSplit
        case "Punctuation": self = .punctuation(try Self.behavior(reader))
        case "ByteLevel":
            self = .byteLevel(
                prefixesSpace: try reader.flag("add_prefix_space", missing: true),
                pattern: try reader.flag("use_regex", missing: true) ? try Pattern(Self.gpt2Pattern) : nil)
        case "Metaspace": self = .metaspace(try Metaspace(reader))
        case "Split": self = try Self.split(reader)
        case "CharDelimiterSplit":
            let delimiter = Array(try reader.string("delimiter").utf8)
            guard !delimiter.isEmpty else { throw reader.failure("\"delimiter\" is empty") }
            self = .literal(delimiter, .removed, isInverted: false)
        case "Digits": self = .digits(individual: try reader.flag("individual_digits", missing: false))
        case "Sequence":
            self = .sequence(
                try reader.array("pretokenizers").map {
                    try PreTokenizer(ComponentReader($0, reader.name, source: reader.source))
                })
        case let type: throw reader.unsupported(type)
        }
    }

    private static func split(_ reader: ComponentReader) throws -> PreTokenizer {
        let isInverted = try reader.flag("invert", missing: false)
        guard let literal = reader.json["pattern"]?["String"]?.string else {
            return .pattern(try reader.pattern(), try behavior(reader), isInverted: isInverted)
        }
        guard !literal.isEmpty else { throw reader.failure("\"Split\" has an empty pattern") }
        return .literal(Array(literal.utf8), try behavior(reader), isInverted: isInverted)
    }

    private static func behavior(_ reader: ComponentReader) throws -> SplitBehavior {
        guard let value = reader.json["behavior"] else { return .isolated }
        switch value.string {
        case "Removed": return .removed
        case "Isolated": return .isolated
        case "MergedWithPrevious": return .mergedWithPrevious
        case "MergedWithNext": return .mergedWithNext
        case "Contiguous": return .contiguous
        default: throw reader.failure("\"behavior\" has an unknown value")
        }
    }
}

extension Metaspace {
    /// Reads a `Metaspace`, a pre-tokenizer or a decoder. Old files have `add_prefix_space` for
    /// `prepend_scheme`.
    init(_ reader: ComponentReader) throws {
        if let text = reader.json["replacement"]?.string { replacement = Array(text.utf8) }
        guard !replacement.isEmpty else { throw reader.failure("\"replacement\" is empty") }
        splits = try reader.flag("split", missing: true)
        switch reader.json["prepend_scheme"]?.string {
        case "always": prefix = .always
        case "first": prefix = .first
        case "never": prefix = .never
        case nil: prefix = try reader.flag("add_prefix_space", missing: true) ? .always : .never
        default: throw reader.failure("\"prepend_scheme\" has an unknown value")
        }
    }
}

extension Truncation {
    /// Reads `truncation`; nil for nil and null. The stride is not used: no overflow is kept.
    static func read(_ json: JSON?, source: String) throws -> Truncation? {
        guard let json, !json.isNull else { return nil }
        let reader = ComponentReader(json, "truncation", source: source)
        let strategy: Strategy
        switch json["strategy"]?.string {
        case "LongestFirst": strategy = .longestFirst
        case "OnlyFirst": strategy = .onlyFirst
        case "OnlySecond": strategy = .onlySecond
        default: throw reader.failure("\"strategy\" has an unknown value")
        }
        return Truncation(
            to: try reader.size("max_length", missing: 512), strategy: strategy,
            side: json["direction"]?.string == "Left" ? .left : .right)
    }
}

extension Padding {
    /// Reads `padding`; nil for nil and null.
    static func read(_ json: JSON?, source: String) throws -> Padding? {
        guard let json, !json.isNull else { return nil }
        let reader = ComponentReader(json, "padding", source: source)
        let strategy = json["strategy"]
        let target: Target
        if strategy?.string == "BatchLongest" {
            target = .longest
        } else if let length = strategy?["Fixed"]?.integer, (0...maximumLength).contains(length) {
            target = .length(length)
        } else {
            throw reader.failure("\"strategy\" has an unknown value")
        }
        let multiple = try reader.size("pad_to_multiple_of", missing: 0)
        return Padding(
            target, side: json["direction"]?.string == "Left" ? .left : .right,
            multipleOf: multiple > 0 ? multiple : nil, id: try reader.size("pad_id", missing: 0),
            typeID: try reader.size("pad_type_id", missing: 0))
    }
}
