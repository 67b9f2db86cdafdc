import Support

/// What is put around the tokens of a text, or of a pair, to make the sequence that the model reads.
struct PostProcessor: Sendable, Equatable {
    /// A part of the sequence.
    enum Part: Sendable, Equatable {
        /// The tokens of the first text, or of the second.
        case text(isSecond: Bool, typeID: Int)
        case special(ids: [Int], tokens: [String], typeID: Int)

        fileprivate var addedCount: Int {
            if case .special(let ids, _, _) = self { ids.count } else { 0 }
        }
    }

    /// The sequence of one text.
    var single: [Part]
    /// The sequence of two.
    var pair: [Part]
    /// Takes white space at the ends of tokens out of their offsets; nil leaves them.
    var trimming: OffsetTrimming?

    /// No special tokens: the first text with type 0, the second with type 1.
    static let plain = PostProcessor(
        single: [.text(isSecond: false, typeID: 0)],
        pair: [.text(isSecond: false, typeID: 0), .text(isSecond: true, typeID: 1)])

    /// BERT's `[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]`.
    static func bert(classification: SpecialToken, separator: SpecialToken) -> PostProcessor {
        func special(_ token: SpecialToken, _ typeID: Int) -> Part {
            .special(ids: [token.id], tokens: [token.text], typeID: typeID)
        }
        let single = [
            special(classification, 0), .text(isSecond: false, typeID: 0), special(separator, 0),
        ]
        return PostProcessor(
            single: single, pair: single + [.text(isSecond: true, typeID: 1), special(separator, 1)])
    }

    /// RoBERTa's `<s> A </s>` and `<s> A </s></s> B </s>`, all of type 0.
    static func roberta(beginning: SpecialToken, end: SpecialToken) -> PostProcessor {
        let first = Part.special(ids: [beginning.id], tokens: [beginning.text], typeID: 0)
        let last = Part.special(ids: [end.id], tokens: [end.text], typeID: 0)
        let single = [first, .text(isSecond: false, typeID: 0), last]
        return PostProcessor(single: single, pair: single + [last, .text(isSecond: true, typeID: 0), last])
    }

    /// The number of tokens that are put around one text, or a pair.
    func addedCount(isPair: Bool) -> Int { (isPair ? pair : single).reduce(0) { $0 + $1.addedCount } }

    /// Reads `post_processor`; nil and null put nothing around the text.
    init(_ json: JSON?, source: String) throws {
        self = .plain
        guard let json, !json.isNull else { return }
        let reader = ComponentReader(json, "post-processor", source: source)
        switch try reader.type() {
        case "TemplateProcessing": try readTemplate(reader)
        case "BertProcessing":
            self = .bert(
                classification: try reader.token("cls", json["cls"]),
                separator: try reader.token("sep", json["sep"]))
        case "RobertaProcessing":
            self = .roberta(
                beginning: try reader.token("cls", json["cls"]), end: try reader.token("sep", json["sep"]))
            if try reader.flag("trim_offsets", missing: true) {
                trimming = OffsetTrimming(prefixesSpace: try reader.flag("add_prefix_space", missing: true))
            }
        case "ByteLevel":
            if try reader.flag("trim_offsets", missing: true) {
                trimming = OffsetTrimming(prefixesSpace: try reader.flag("add_prefix_space", missing: true))
            }
        case "Sequence": try readSequence(reader)
        case let type: throw reader.unsupported(type)
        }
    }

    /// Steps of which one puts tokens around the text and the others only trim.
    private mutating func readSequence(_ reader: ComponentReader) throws {
        for step in try reader.array("processors") {
            let next = try PostProcessor(step, source: reader.source)
            if next.single != Self.plain.single || next.pair != Self.plain.pair {
                guard single == Self.plain.single, pair == Self.plain.pair else {
                    throw reader.failure("a sequence of several that add tokens is not read")
                }
                (single, pair) = (next.single, next.pair)
            }
            if let more = next.trimming {
                guard trimming == nil else { throw reader.failure("a sequence that trims twice is not read") }
                trimming = more
            }
        }
    }

    init(single: [Part], pair: [Part]) {
        self.single = single
        self.pair = pair
    }

    private mutating func readTemplate(_ reader: ComponentReader) throws {
        var specials: [String: (ids: [Int], tokens: [String])] = [:]
        for member in reader.json["special_tokens"]?.members ?? [] {
            let ids = (member.value["ids"]?.array ?? []).compactMap(\.integer)
            let tokens = (member.value["tokens"]?.array ?? []).compactMap(\.string)
            guard !ids.isEmpty, ids.count == tokens.count, ids.allSatisfy((0...Int(Int32.max)).contains)
            else {
                throw reader.failure(
                    "the special token \(JSON.quoted(member.key)) needs as many ids as tokens")
            }
            specials[member.key] = (ids, tokens)
        }
        single = try reader.array("single").map { try Self.part($0, specials, reader) }
        pair = try reader.array("pair").map { try Self.part($0, specials, reader) }
        if single.contains(where: { if case .text(isSecond: true, _) = $0 { true } else { false } }) {
            throw reader.failure("the template of one text asks for a second one")
        }
    }

    private static func part(
        _ json: JSON, _ specials: [String: (ids: [Int], tokens: [String])], _ reader: ComponentReader
    ) throws -> Part {
        if let sequence = json["Sequence"], let name = sequence["id"]?.string, name == "A" || name == "B" {
            return .text(isSecond: name == "B", typeID: sequence["type_id"]?.integer ?? 0)
        }
        guard let special = json["SpecialToken"], let name = special["id"]?.string else {
            throw reader.failure("a part of the template is neither \"Sequence\" nor \"SpecialToken\"")
        }
        guard let found = specials[name] else {
            throw reader.failure(
                "the template names \(JSON.quoted(name)), which is not in \"special_tokens\"")
        }
        return .special(ids: found.ids, tokens: found.tokens, typeID: special["type_id"]?.integer ?? 0)
    }
}

/// Takes white space at the ends of tokens out of their offsets, as the post-processor `ByteLevel` does.
struct OffsetTrimming: Sendable, Equatable {
    /// A space was put before the text: the first token's first space has no place in it.
    var prefixesSpace: Bool

    /// - Parameters:
    ///   - token: as the vocabulary spells it; a space is `Ġ` there.
    ///   - isFirst: of its text.
    func trim(_ placed: inout PlacedToken, _ token: String, isFirst: Bool) {
        func isSpace(_ scalar: Unicode.Scalar) -> Bool {
            scalar.value == 0x120 || ScalarClasses.shared[scalar.value].contains(.whiteSpace)
        }
        let scalars = token.unicodeScalars
        guard let first = scalars.first, let last = scalars.last, isSpace(first) || isSpace(last) else {
            return
        }
        var leading = UInt32(scalars.prefix(while: isSpace).count)
        let trailing = UInt32(scalars.reversed().prefix(while: isSpace).count)
        if leading > 0 {
            // Of several spaces none was put there.
            if prefixesSpace, leading == 1, isFirst || placed.start == 0 { leading = 0 }
            placed.start = min(placed.start + leading, placed.end)
        }
        if trailing > 0, placed.end >= trailing { placed.end = max(placed.end - trailing, placed.start) }
    }
}
