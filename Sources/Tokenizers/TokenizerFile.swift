import Support

/// The parts of a tokenizer as its files give them.
struct TokenizerParts {
    var model: any TokenModel
    var normalizer: Normalizer?
    var preTokenizer: PreTokenizer?
    var postProcessor = PostProcessor.plain
    var decoder = TokenDecoder(nil)
    var added: [AddedToken] = []
    var truncation: Truncation?
    var padding: Padding?
    /// See ``Tokenizer/Prefixing/slow``.
    var stripsContinuations = false
    /// The mark of the end of a word that stays in decoded text, of CLIP; it becomes a space.
    var endOfWord: [UInt8]?

    /// Files of more bytes are refused.
    private static let largestFile = 256 << 20

    // MARK: tokenizer.json

    /// Reads a tokenizer.json.
    init(tokenizerJSON path: String) throws {
        let file = try MappedFile(path)
        guard file.count <= Self.largestFile else {
            throw VQAError(
                "cannot read the tokenizer", at: path,
                because: "it has \(file.count) bytes, more than \(Self.largestFile)")
        }
        self = try withExtendedLifetime(file) {
            try TokenizerParts(parsing: file.bytes.bindMemory(to: UInt8.self), source: path)
        }
    }

    /// Reads the text of a tokenizer.json.
    init(parsing bytes: UnsafeBufferPointer<UInt8>, source: String) throws {
        var cursor = JSONCursor(bytes, source: source)
        var components: [String: JSON] = [:]
        var model: (any TokenModel)?
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "model":
                guard model == nil else { throw cursor.failure("\"model\" appears twice") }
                // Its tables take long; what splits texts, which stands before it, is made meanwhile.
                let ((read, behind), splitter) = try both { [cursor] in
                    var cursor = cursor
                    return (try ModelReader.read(&cursor, size: bytes.count), cursor)
                } and: {
                    try PreTokenizer.read(components["pre_tokenizer"], source: source)
                }
                (model, cursor, preTokenizer) = (read, behind, splitter)
            case "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "truncation",
                "padding":
                guard components.updateValue(try JSON(reading: &cursor), forKey: key) == nil else {
                    throw cursor.failure("\"\(key)\" appears twice")
                }
            default: try cursor.skipValue()
            }
        }
        try cursor.end()
        guard let model else { throw cursor.failure("there is no \"model\"; is this a tokenizer.json?") }
        self.model = model
        normalizer = try Normalizer.read(components["normalizer"], source: source)
        if preTokenizer == nil {
            preTokenizer = try PreTokenizer.read(components["pre_tokenizer"], source: source)
        }
        postProcessor = try PostProcessor(components["post_processor"], source: source)
        decoder = try TokenDecoder(components["decoder"], source: source)
        truncation = try Truncation.read(components["truncation"], source: source)
        padding = try Padding.read(components["padding"], source: source)
        added = try (components["added_tokens"]?.array ?? []).map {
            try AddedToken($0, isSpecial: false, source: "\(source), added_tokens")
        }
    }

    // MARK: vocab.txt

    /// Reads the vocab.txt of BERT: a token a line, its id the number of the line. Of equal lines the last
    /// counts.
    init(vocabularyText path: String, _ configuration: TokenizerConfiguration) throws {
        let bytes = try readFile(path, limit: Self.largestFile)
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        var vocabulary = Vocabulary(expected: lines.count)
        for (index, line) in lines.enumerated().reversed() {
            let token = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            guard String(validating: token, as: UTF8.self) != nil else {
                throw VQAError(
                    "cannot read the vocabulary", at: "\(path), line \(index + 1)", because: "it is not UTF-8"
                )
            }
            _ = try vocabulary.insert(token, id: Int32(index))
        }
        try vocabulary.finish(source: path)
        var named: [String: AddedToken] = [:]
        for (key, usual) in Self.bertTokens {
            named[key] = configuration.named[key] ?? AddedToken(usual, isSpecial: true)
        }
        let unknown = named["unk_token"]?.content ?? "[UNK]"
        model = try WordPiece(vocabulary, unknownToken: unknown, prefix: "##", longestWord: 100)
        normalizer = .bert(configuration.bert)
        preTokenizer = .bert
        decoder = TokenDecoder([.wordPiece(prefix: Array("##".utf8), cleanup: true)])
        added = Self.bertTokens.compactMap { named[$0.key] }
        func token(_ key: String) throws -> SpecialToken {
            guard let text = named[key]?.content, let id = vocabulary.id(for: text) else {
                throw VQAError(
                    "cannot read the vocabulary", at: path,
                    because: "it lacks the \(key) \(named[key]?.content ?? "")",
                    remedy: "name the token in tokenizer_config.json")
            }
            return SpecialToken(text, id: Int(id))
        }
        postProcessor = .bert(classification: try token("cls_token"), separator: try token("sep_token"))
    }

    private static let bertTokens: [(key: String, usual: String)] = [
        ("unk_token", "[UNK]"), ("sep_token", "[SEP]"), ("pad_token", "[PAD]"), ("cls_token", "[CLS]"),
        ("mask_token", "[MASK]"),
    ]
}
