import Support

/// Turns text into the ids of tokens and back, as the tokenizer that a model was trained with does.
///
/// It reads the tokenizer.json of the Hugging Face `tokenizers` library, the older files of BERT (vocab.txt), GPT-2,
/// Qwen2 and CLIP (vocab.json, merges.txt), SentencePiece models of LLaMA, T5 and DeBERTa, and the vocabulary of a
/// GGUF file, and gives the ids, offsets and masks of that library (0.23).
///
/// ```swift
/// let tokenizer = try Tokenizer(contentsOf: "models/minilm")
/// let encoding = try tokenizer.encode("What colour is the car?")
/// print(encoding.ids, encoding.tokens)
/// ```
public struct Tokenizer: Sendable {
    let model: any TokenModel
    let normalizer: Normalizer?
    let preTokenizer: PreTokenizer?
    let postProcessor: PostProcessor
    let decoder: TokenDecoder
    /// `clean_up_tokenization_spaces` of tokenizer_config.json, which the reference ignores for byte pairs.
    private let cleansDecodedText: Bool
    /// See ``Prefixing/slow``.
    let stripsContinuations: Bool
    /// CLIP's mark of the end of a word, which becomes a space in decoded text.
    private let endOfWord: [UInt8]?
    private(set) var added = AddedTokens()
    /// The tokens with a part to play, as tokenizer_config.json and special_tokens_map.json name them, or by
    /// their usual texts where no file does.
    public private(set) var specialTokens = SpecialTokens()
    /// The greatest number of tokens that the model reads, when tokenizer_config.json says so.
    public let maximumLength: Int?
    /// How the file asks to cut. It is not applied unless it is passed to
    /// ``encode(_:pair:addSpecialTokens:truncation:padding:)``.
    public let truncation: Truncation?
    /// How the file asks to pad. It is not applied unless it is passed to
    /// ``encode(_:pair:addSpecialTokens:truncation:padding:)``.
    public let padding: Padding?

    /// Where the tokenizers of LLaMA models put a space before text.
    public enum Prefixing: Sendable, Equatable {
        /// As tokenizer.json, or `legacy` of tokenizer_config.json, says.
        case asFilesSay
        /// As the Python tokenizer of transformers 4.31 does with `legacy: false`, which LLaVA models were trained
        /// with: text after a special token is read with a space before it; when it did not begin with one itself,
        /// the first token then loses it. Needs tokenizer.model.
        case slow
    }

    /// Reads a tokenizer.
    ///
    /// - Parameter path: a tokenizer.json, a SentencePiece model (`.model`), or a folder with one of them, or with
    ///   vocab.json and merges.txt, or vocab.txt; and, if there are any, tokenizer_config.json,
    ///   special_tokens_map.json and added_tokens.json.
    /// - Parameter prefixing: where LLaMA's tokenizers put a space.
    /// - Throws: `VQAError` when a file is missing, damaged, or asks for something that is not read.
    public init(contentsOf path: String, prefixing: Prefixing = .asFilesSay) throws {
        if prefixing == .slow {
            let isFolder = isFolder(path)
            let configuration = isFolder ? try TokenizerConfiguration(folder: path) : TokenizerConfiguration()
            let model = isFolder ? "\(path)/tokenizer.model" : path
            try self.init(
                TokenizerParts(slowSentencePiece: model, configuration), configuration)
            return
        }
        guard isFolder(path) else {
            if path.hasSuffix(".model") {
                try self.init(
                    TokenizerParts(sentencePiece: path, TokenizerConfiguration()), TokenizerConfiguration())
                return
            }
            try self.init(TokenizerParts(tokenizerJSON: path), TokenizerConfiguration())
            return
        }
        let configuration = try TokenizerConfiguration(folder: path)
        if fileExists("\(path)/tokenizer.json") {
            try self.init(TokenizerParts(tokenizerJSON: "\(path)/tokenizer.json"), configuration)
        } else if fileExists("\(path)/vocab.json"), fileExists("\(path)/merges.txt") {
            try self.init(TokenizerParts(vocabularyJSON: path, configuration), configuration)
        } else if let name = TokenizerParts.sentencePieceNames.first(where: { fileExists("\(path)/\($0)") }) {
            try self.init(TokenizerParts(sentencePiece: "\(path)/\(name)", configuration), configuration)
        } else if fileExists("\(path)/vocab.txt") {
            try self.init(TokenizerParts(vocabularyText: "\(path)/vocab.txt", configuration), configuration)
        } else {
            throw VQAError(
                "cannot read the tokenizer", at: path,
                because:
                    "it has no tokenizer.json, vocab.json with merges.txt, tokenizer.model, spiece.model, spm.model or vocab.txt",
                remedy: "point to the folder of the model")
        }
    }

    /// Reads a tokenizer from the text of a tokenizer.json.
    ///
    /// - Parameter source: a name for errors.
    public init(parsing bytes: [UInt8], source: String) throws {
        let parts = try bytes.withUnsafeBufferPointer { try TokenizerParts(parsing: $0, source: source) }
        try self.init(parts, TokenizerConfiguration())
    }

    init(_ parts: TokenizerParts, _ configuration: TokenizerConfiguration) throws {
        model = parts.model
        normalizer = parts.normalizer
        preTokenizer = parts.preTokenizer
        postProcessor = parts.postProcessor
        decoder = parts.decoder
        truncation = parts.truncation
        padding = parts.padding
        maximumLength = configuration.maximumLength
        cleansDecodedText = configuration.cleansDecodedText && !(parts.model is BPE)
        stripsContinuations = parts.stripsContinuations
        endOfWord = parts.endOfWord ?? (configuration.className.hasPrefix("CLIP") ? Array("</w>".utf8) : nil)
        var tokens = parts.added
        var known = Set(tokens.map { Array($0.content.utf8) })
        let roles = SpecialTokens.roles.compactMap { configuration.named[$0.key] }
        for token in configuration.added + configuration.numbered + roles + configuration.additional
        where known.insert(Array(token.content.utf8)).inserted {
            tokens.append(token)
        }
        try add(tokens)
        for role in SpecialTokens.roles {
            let usual = role.key == "unk_token" ? [parts.model.unknownToken].compactMap(\.self) : role.usual
            let texts = configuration.named[role.key].map { [$0.content] } ?? usual
            for text in texts where specialTokens[keyPath: role.field] == nil {
                specialTokens[keyPath: role.field] = id(for: text).map { SpecialToken(text, id: $0) }
            }
        }
    }

    // MARK: Vocabulary

    /// Adds tokens that are found in text as a whole. A token of the vocabulary keeps its id, others get the
    /// next ids after the vocabulary.
    ///
    /// - Returns: the ids of the tokens.
    /// - Throws: `VQAError` when a token is empty or longer than 4,096 bytes.
    @discardableResult
    public mutating func add(_ tokens: [AddedToken]) throws -> [Int] {
        try added.add(tokens, vocabulary: model.vocabulary, normalizer: normalizer)
    }

    /// The number of tokens, added ones included.
    public var vocabularySize: Int {
        model.vocabulary.count
            + added.ids.keys.count { model.vocabulary.id(for: String(decoding: $0, as: UTF8.self)) == nil }
    }

    /// The token of an id, or nil when the id stands for nothing.
    public func token(for id: Int) -> String? {
        if let id = Int32(exactly: id), let text = added.texts[id] { return text }
        return model.vocabulary.token(for: id)
    }

    /// The id of a token, or nil when there is no such token.
    public func id(for token: String) -> Int? {
        (added.id(for: token) ?? model.vocabulary.id(for: token)).map(Int.init)
    }

    // MARK: Decoding

    /// The text of ids. Ids that stand for nothing are left out, as the reference does.
    ///
    /// - Parameter skipSpecialTokens: leaves out special tokens.
    /// - Throws: `VQAError` when an id is negative, as the ids of masked labels are.
    public func decode(_ ids: [Int], skipSpecialTokens: Bool = true) throws -> String {
        if let index = ids.firstIndex(where: { $0 < 0 }) {
            throw VQAError(
                "cannot decode", at: "position \(index)", because: "the id \(ids[index]) is negative",
                remedy: "leave out the positions that are masked")
        }
        var tokens: [[UInt8]] = []
        tokens.reserveCapacity(ids.count)
        for id in ids {
            guard let id = Int32(exactly: id) else { continue }
            if skipSpecialTokens, added.specialIDs.contains(id) { continue }
            if let text = added.texts[id] {
                tokens.append(Array(text.utf8))
            } else if let number = model.vocabulary.number(for: Int(id)) {
                tokens.append(model.vocabulary.withBytes(number: number) { Array($0) })
            }
        }
        let text = try decoder.decode(tokens)
        guard cleansDecodedText || endOfWord != nil else { return text }
        var bytes = Array(text.utf8)
        if let endOfWord { bytes = trimmed(replacing(endOfWord, in: bytes, with: [0x20])) }
        if cleansDecodedText { bytes = cleaned(bytes, shortensNegation: false) }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// The text without white space at its ends.
private func trimmed(_ text: [UInt8]) -> [UInt8] {
    let scalars = String(decoding: text, as: UTF8.self).unicodeScalars
    func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        ScalarClasses.shared[scalar.value].contains(.whiteSpace) || (0x1C...0x1F).contains(scalar.value)
    }
    let kept = scalars.drop(while: isSpace)
    let count = kept.reversed().prefix(while: isSpace).count
    return Array(String(Substring.UnicodeScalarView(kept.dropLast(count))).utf8)
}
