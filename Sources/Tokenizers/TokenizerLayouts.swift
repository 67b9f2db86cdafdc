import Support

/// The components that go with a vocabulary, as the published tokenizer.json files have them.
///
/// A folder without tokenizer.json, and a GGUF file, hold a vocabulary only; what is around it follows from the
/// family of the model.
enum TokenizerLayout {
    /// GPT-2's pattern, on its own.
    case gpt2(prefixesSpace: Bool)
    /// StarCoder's and SmolLM's: each digit on its own, then GPT-2's pattern.
    case digits
    /// Another pattern before the bytes are spelled.
    case split(String, composes: Bool)
    /// CLIP's.
    case clip
    /// LLaMA's: spaces are written as U+2581.
    case llama(prefix: Metaspace.Prefix, isLegacy: Bool)
    /// T5's.
    case t5(replacements: [UInt8])
    /// DeBERTa's, second and third version.
    case deberta(replacements: [UInt8], lowercases: Bool, splitsPunctuation: Bool)

    static let qwen2Pattern =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    static let llama3Pattern =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    static let clipPattern =
        #"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"#

    private static let mark = Array("\u{2581}".utf8)
    private static let space: [UInt8] = [0x20]

    /// Sets normalizer, pre-tokenizer and decoder.
    func apply(to parts: inout TokenizerParts, source: String) throws {
        switch self {
        case .gpt2(let prefixesSpace):
            parts.preTokenizer = .byteLevel(
                prefixesSpace: prefixesSpace, pattern: try Pattern(PreTokenizer.gpt2Pattern))
            parts.decoder = TokenDecoder([.byteLevel])
        case .digits:
            parts.preTokenizer = .sequence([
                .digits(individual: true),
                .byteLevel(prefixesSpace: false, pattern: try Pattern(PreTokenizer.gpt2Pattern)),
            ])
            parts.decoder = TokenDecoder([.byteLevel])
        case .split(let pattern, let composes):
            if composes { parts.normalizer = .form(.nfc) }
            parts.preTokenizer = .sequence([
                .pattern(try Pattern(pattern), .isolated, isInverted: false),
                .byteLevel(prefixesSpace: false, pattern: nil),
            ])
            parts.decoder = TokenDecoder([.byteLevel])
        case .clip:
            parts.normalizer = .sequence([
                .form(.nfc), .replaceMatches(try Pattern(#"\s+"#), content: Self.space), .lowercase,
            ])
            parts.preTokenizer = .sequence([
                .pattern(try Pattern(Self.clipPattern), .removed, isInverted: true),
                .byteLevel(prefixesSpace: false, pattern: nil),
            ])
            parts.decoder = TokenDecoder([.byteLevel])
        case .llama(let prefix, let isLegacy): Self.applyLlama(prefix, isLegacy, to: &parts)
        case .t5(let replacements):
            if !replacements.isEmpty {
                parts.normalizer = .precompiled(try PrecompiledMap(replacements, source: source))
            }
            parts.preTokenizer = .sequence([.whitespaceSplit, .metaspace(Metaspace())])
            parts.decoder = TokenDecoder([.metaspace(replacement: Self.mark, dropsFirst: true)])
        case .deberta(let replacements, let lowercases, let splitsPunctuation):
            var steps: [Normalizer] = lowercases ? [.lowercase] : []
            steps.append(.strip(left: true, right: true))
            if !replacements.isEmpty {
                steps.append(.precompiled(try PrecompiledMap(replacements, source: source)))
            }
            steps.append(.replaceMatches(try Pattern(" {2,}"), content: Self.space))
            parts.normalizer = .sequence(steps)
            parts.preTokenizer = .sequence(
                (splitsPunctuation ? [.punctuation(.isolated)] : []) + [.metaspace(Metaspace())])
            parts.decoder = TokenDecoder([.metaspace(replacement: Self.mark, dropsFirst: true)])
        }
    }

    private static func applyLlama(
        _ prefix: Metaspace.Prefix, _ isLegacy: Bool, to parts: inout TokenizerParts
    ) {
        if isLegacy {
            let spaces = Normalizer.replace(pattern: space, content: mark)
            parts.normalizer = .sequence(prefix == .never ? [spaces] : [.prepend(mark), spaces])
        } else {
            parts.preTokenizer = .metaspace(Metaspace(replacement: mark, prefix: prefix, splits: false))
        }
        parts.decoder = TokenDecoder(
            [.replace(mark, with: space), .byteFallback, .fuse]
                + (prefix == .never ? [] : [.strip(space, left: 1, right: 0)]))
    }
}

extension PostProcessor {
    /// Puts a token before and one after each text, where given; a second text is of type 1.
    static func around(_ beginning: SpecialToken?, _ end: SpecialToken?) -> PostProcessor {
        func row(isSecond: Bool) -> [Part] {
            let typeID = isSecond ? 1 : 0
            func special(_ token: SpecialToken?) -> [Part] {
                token.map { [.special(ids: [$0.id], tokens: [$0.text], typeID: typeID)] } ?? []
            }
            return special(beginning) + [.text(isSecond: isSecond, typeID: typeID)] + special(end)
        }
        return PostProcessor(single: row(isSecond: false), pair: row(isSecond: false) + row(isSecond: true))
    }

    /// Puts T5's `A </s>` and `A </s> B </s>`, all of type 0.
    static func ended(by end: SpecialToken) -> PostProcessor {
        let last = Part.special(ids: [end.id], tokens: [end.text], typeID: 0)
        let single: [Part] = [.text(isSecond: false, typeID: 0), last]
        return PostProcessor(single: single, pair: single + [.text(isSecond: true, typeID: 0), last])
    }
}
