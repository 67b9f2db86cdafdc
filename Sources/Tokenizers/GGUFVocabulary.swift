import Support

/// The vocabulary of a GGUF file, as plain values: the members are those of its `tokenizer.ggml.*` metadata.
public struct GGUFVocabulary: Sendable, Equatable {
    /// `model`: `gpt2` (byte-level byte pairs), `llama` (SentencePiece byte pairs), `t5` (unigram) or `bert`.
    public var model: String
    /// `pre`: how byte-level models split text, such as `smollm`, `qwen2`, `llama-bpe`; empty or `default` for GPT-2's
    /// way.
    public var pre = ""
    /// `tokens`, by id.
    public var tokens: [String]
    /// `scores`, by id; empty when the file has none.
    public var scores: [Float] = []
    /// `token_type`, by id: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; empty when the file has
    /// none.
    public var types: [Int] = []
    /// `merges`, the first merged first: two tokens with a space between.
    public var merges: [String] = []
    /// `bos_token_id`.
    public var beginningID: Int?
    /// `eos_token_id`.
    public var endID: Int?
    /// `padding_token_id`.
    public var paddingID: Int?
    /// `unknown_token_id`.
    public var unknownID: Int?
    /// `add_bos_token`; without it only `llama` adds one.
    public var addsBeginning: Bool?
    /// `add_eos_token`; without it only `t5` adds one.
    public var addsEnd: Bool?
    /// `add_space_prefix`; true without it.
    public var prefixesSpace: Bool?
    /// `precompiled_charsmap`, empty when the file has none.
    public var replacements: [UInt8] = []

    /// A vocabulary with nothing but tokens; set the other members as the file has them.
    public init(model: String, tokens: [String]) {
        self.model = model
        self.tokens = tokens
    }
}

extension Tokenizer {
    /// Makes a tokenizer of the vocabulary of a GGUF file.
    ///
    /// Ids are those of the model's own tokenizer.json where the family is known by `pre`. `llama` vocabularies put a
    /// space before the beginning of the text only, as the reference reads them.
    ///
    /// - Parameter source: the name of the file, for errors.
    /// - Throws: `VQAError` when the family is not known, lists differ in length, an id is out of range, or a merge names
    ///   tokens that are not there.
    public init(gguf vocabulary: GGUFVocabulary, source: String = "GGUF vocabulary") throws {
        try vocabulary.check(source)
        try self.init(TokenizerParts(gguf: vocabulary, source: source), vocabulary.configuration())
    }
}

extension GGUFVocabulary {
    func failure(_ why: String, _ source: String) -> VQAError {
        VQAError("cannot read the tokenizer", at: source, because: why)
    }

    fileprivate func check(_ source: String) throws {
        guard !tokens.isEmpty, tokens.count <= 1 << 24 else {
            throw failure("it has \(tokens.count) tokens", source)
        }
        for (name, count) in [("scores", scores.count), ("token types", types.count)]
        where count != 0 && count != tokens.count {
            throw failure("it has \(tokens.count) tokens and \(count) \(name)", source)
        }
        guard scores.allSatisfy(\.isFinite) else { throw failure("a score is not a number", source) }
        for id in [beginningID, endID, paddingID, unknownID].compactMap(\.self)
        where !tokens.indices.contains(id) {
            throw failure("the special token \(id) is not one of its \(tokens.count) tokens", source)
        }
    }

    func isOf(_ type: Int, _ id: Int) -> Bool { types.indices.contains(id) && types[id] == type }

    /// Names the special tokens.
    fileprivate func configuration() -> TokenizerConfiguration {
        var named: [String: AddedToken] = [:]
        for (key, id) in [
            ("bos_token", beginningID), ("eos_token", endID), ("pad_token", paddingID),
            ("unk_token", unknownID),
        ] {
            if let id { named[key] = AddedToken(tokens[id], isSpecial: true) }
        }
        return TokenizerConfiguration(named: named)
    }

    private func special(_ id: Int?) -> SpecialToken? { id.map { SpecialToken(tokens[$0], id: $0) } }

    /// The tokens that stand before and after each text.
    var edges: (first: SpecialToken?, last: SpecialToken?) {
        (
            addsBeginning ?? (model == "llama") ? special(beginningID) : nil,
            addsEnd ?? (model == "t5") ? special(endID) : nil
        )
    }

    /// Whether a piece that is a token is taken as it is, without merging.
    var takesWholePieces: Bool { ["llama3", "llama-v3", "llama-bpe"].contains(pre) }

    /// The way of splitting that `pre` names.
    func layout(_ source: String) throws -> TokenizerLayout {
        switch pre {
        case "", "default", "gpt-2", "gpt2", "mpt", "olmo", "jais", "phi-2": .gpt2(prefixesSpace: false)
        case "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b": .digits
        case "qwen2", "deepseek-r1-qwen", "megrez", "stablelm2":
            .split(TokenizerLayout.qwen2Pattern, composes: pre != "stablelm2")
        case "llama3", "llama-v3", "llama-bpe", "falcon3", "pixtral", "dbrx", "smaug-bpe", "lfm2":
            .split(TokenizerLayout.llama3Pattern, composes: false)
        default:
            throw failure(
                "this tokenizer needs the pre-tokenizer \(JSON.quoted(pre)), which is not read yet", source)
        }
    }
}

extension TokenizerParts {
    fileprivate init(gguf: GGUFVocabulary, source: String) throws {
        switch gguf.model {
        case "gpt2": try self.init(bytePairs: gguf, source: source)
        case "llama": try self.init(llama: gguf, source: source)
        case "t5": try self.init(unigram: gguf, source: source)
        case "bert": try self.init(wordPiece: gguf, source: source)
        default:
            throw gguf.failure("vocabularies of the kind \(JSON.quoted(gguf.model)) are not read yet", source)
        }
        if gguf.model != "bert" {
            let (first, last) = gguf.edges
            postProcessor = .around(first, last)
            if gguf.model == "t5", let last, gguf.addsBeginning != true { postProcessor = .ended(by: last) }
        }
        for (id, token) in gguf.tokens.enumerated() where gguf.isOf(3, id) && !token.isEmpty {
            added.append(AddedToken(token, isSpecial: true, isNormalized: false))
        }
        for (id, token) in gguf.tokens.enumerated() where gguf.isOf(4, id) && !token.isEmpty {
            added.append(AddedToken(token, isNormalized: false))
        }
    }

    /// The tokens by id; of equal ones the first counts.
    static func vocabulary(_ tokens: [String], source: String) throws -> Vocabulary {
        var vocabulary = Vocabulary(expected: tokens.count)
        for (id, token) in tokens.enumerated() { _ = try vocabulary.insert(token.utf8, id: Int32(id)) }
        try vocabulary.finish(source: source)
        return vocabulary
    }

    private init(bytePairs gguf: GGUFVocabulary, source: String) throws {
        let vocabulary = try Self.vocabulary(gguf.tokens, source: source)
        var merges = MergeList(expected: gguf.merges.count, source: source)
        for merge in gguf.merges {
            var merge = merge
            try merge.withUTF8 { try merges.append($0) }
        }
        var settings = BPE.Settings()
        settings.takesWholePieces = gguf.takesWholePieces
        model = BPE(vocabulary, merges: try merges.table(vocabulary, prefix: ""), settings)
        try gguf.layout(source).apply(to: &self, source: source)
    }

    private init(llama gguf: GGUFVocabulary, source: String) throws {
        guard !gguf.scores.isEmpty || !gguf.merges.isEmpty else {
            throw gguf.failure("it has neither scores nor merges", source)
        }
        let vocabulary = try Self.vocabulary(gguf.tokens, source: source)
        let unknown = gguf.unknownID ?? gguf.tokens.indices.first { gguf.isOf(2, $0) }
        var merges = MergeList(expected: gguf.merges.count, source: source)
        for merge in gguf.merges {
            var merge = merge
            try merge.withUTF8 { try merges.append($0) }
        }
        // Without merges, tokens of a higher score are merged first.
        let table =
            gguf.merges.isEmpty
            ? try MergeTable(MergeList.implied(by: vocabulary, scores: gguf.scores.map(Double.init)))
            : try merges.table(vocabulary, prefix: "")
        model = BPE(
            vocabulary, merges: table,
            BPE.Settings(
                unknownToken: unknown.map { gguf.tokens[$0] }, fusesUnknown: true, fallsBackToBytes: true))
        let prefix: Metaspace.Prefix = gguf.prefixesSpace ?? true ? .first : .never
        try TokenizerLayout.llama(prefix: prefix, isLegacy: false).apply(to: &self, source: source)
    }

    private init(unigram gguf: GGUFVocabulary, source: String) throws {
        guard !gguf.scores.isEmpty else { throw gguf.failure("it has no scores", source) }
        let vocabulary = try Self.vocabulary(gguf.tokens, source: source)
        model = try Unigram(
            vocabulary, scores: gguf.scores.map(Double.init),
            unknownID: gguf.unknownID ?? gguf.tokens.indices.first { gguf.isOf(2, $0) },
            fallsBackToBytes: false, source: source)
        try TokenizerLayout.t5(replacements: gguf.replacements).apply(to: &self, source: source)
    }

    /// GGUF marks the tokens that begin a word, where BERT's own files mark those that go on one.
    private init(wordPiece gguf: GGUFVocabulary, source: String) throws {
        let mark = "\u{2581}"
        let tokens = gguf.tokens.enumerated().map { id, token in
            if token.hasPrefix(mark) { return String(token.unicodeScalars.dropFirst()) }
            let isSpecial =
                gguf.isOf(3, id) || gguf.isOf(2, id) || token.hasPrefix("[") && token.hasSuffix("]")
            return isSpecial ? token : "##" + token
        }
        let vocabulary = try Self.vocabulary(tokens, source: source)
        let unknown = gguf.unknownID.map { tokens[$0] } ?? "[UNK]"
        model = try WordPiece(vocabulary, unknownToken: unknown, prefix: "##", longestWord: 100)
        normalizer = .bert(BertNormalizer())
        preTokenizer = .bert
        decoder = TokenDecoder([.wordPiece(prefix: Array("##".utf8), cleanup: true)])
        func token(_ text: String) throws -> SpecialToken {
            guard let id = vocabulary.id(for: text) else { throw gguf.failure("it lacks \(text)", source) }
            return SpecialToken(text, id: Int(id))
        }
        postProcessor = .bert(classification: try token("[CLS]"), separator: try token("[SEP]"))
    }
}

extension MergeList {
    /// The merges that a vocabulary with scores implies: higher scores first, of equal ones that with the longer parts.
    static func implied(by vocabulary: Vocabulary, scores: [Double]) -> [MergeTable.Entry] {
        struct Candidate {
            var score: Double
            var lengths: (Int, Int)
            var merge: MergeTable.Entry
        }
        var candidates: [Candidate] = []
        for (id, score) in scores.enumerated() {
            guard let number = vocabulary.number(for: id) else { continue }
            vocabulary.withBytes(number: number) { piece in
                let cuts = vocabulary.cuts(of: piece)
                for (index, cut) in cuts.enumerated() {
                    guard let left = vocabulary.id(for: UnsafeBufferPointer(rebasing: piece[..<cut])),
                        let right = vocabulary.id(for: UnsafeBufferPointer(rebasing: piece[cut...]))
                    else { continue }
                    let merge = MergeTable.Entry(left: left, right: right, id: Int32(truncatingIfNeeded: id))
                    candidates.append(
                        Candidate(score: score, lengths: (index + 1, cuts.count - index), merge: merge))
                }
            }
        }
        let order = candidates.indices.sorted { a, b in
            let (first, second) = (candidates[a], candidates[b])
            if first.score != second.score { return first.score > second.score }
            if first.lengths != second.lengths { return first.lengths > second.lengths }
            return a < b
        }
        return order.map { candidates[$0].merge }
    }
}
