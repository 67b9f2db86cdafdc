import Support

extension TokenizerParts {
    /// The names of SentencePiece models.
    static let sentencePieceNames = ["tokenizer.model", "spiece.model", "spm.model"]

    // MARK: vocab.json and merges.txt

    /// Reads the vocab.json and merges.txt of a byte-level model: GPT-2's, Qwen2's, RoBERTa's or CLIP's, as
    /// tokenizer_config.json says; without it CLIP's when tokens end in `</w>`, else GPT-2's.
    init(vocabularyJSON folder: String, _ configuration: TokenizerConfiguration) throws {
        let path = "\(folder)/vocab.json"
        let file = try MappedFile(path)
        let bytes = file.bytes.bindMemory(to: UInt8.self)
        let vocabulary = try withExtendedLifetime(file) {
            var cursor = JSONCursor(bytes, source: path)
            let vocabulary = try Vocabulary(reading: &cursor, size: bytes.count)
            try cursor.end()
            return vocabulary
        }
        let name = configuration.className
        let isCLIP = name.hasPrefix("CLIP") || name.isEmpty && vocabulary.id(for: "a</w>") != nil
        let isQwen = name.hasPrefix("Qwen2")
        let isRoberta = name.hasPrefix("Roberta") || name.hasPrefix("Bart")
        var settings = BPE.Settings()
        if isCLIP {
            settings.suffix = "</w>"
            settings.unknownToken = configuration.named["unk_token"]?.content ?? "<|endoftext|>"
        }
        model = try Self.bytePairs(vocabulary, settings, mergesText: "\(folder)/merges.txt")
        let prefixesSpace = configuration.prefixesSpace ?? false
        let layout: TokenizerLayout =
            isCLIP
            ? .clip
            : isQwen
                ? .split(TokenizerLayout.qwen2Pattern, composes: true)
                : .gpt2(prefixesSpace: prefixesSpace)
        try layout.apply(to: &self, source: path)
        let usual = "<|endoftext|>"
        let roles: [(key: String, usual: String)] =
            isRoberta
            ? [("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")]
            : [("bos_token", isCLIP ? "<|startoftext|>" : usual), ("eos_token", usual), ("unk_token", usual)]
        for role in roles where !(isQwen && role.key == "bos_token") {
            added.append(configuration.named[role.key] ?? AddedToken(role.usual, isSpecial: true))
        }
        func token(_ role: Int) throws -> SpecialToken {
            let text = configuration.named[roles[role].key]?.content ?? roles[role].usual
            return try Self.token(text, vocabulary, path)
        }
        if isCLIP || isRoberta {
            postProcessor = .roberta(beginning: try token(0), end: try token(1))
            if isRoberta { postProcessor.trimming = OffsetTrimming(prefixesSpace: prefixesSpace) }
        } else {
            postProcessor = .around(
                configuration.addsBeginning == true ? try token(0) : nil,
                configuration.addsEnd == true ? try token(1) : nil)
        }
        if isCLIP { endOfWord = Array(settings.suffix.utf8) }
    }

    private static func bytePairs(
        _ vocabulary: Vocabulary, _ settings: BPE.Settings, mergesText path: String
    ) throws -> BPE {
        let file = try MappedFile(path)
        var merges = MergeList(expected: vocabulary.count, source: path)
        try withExtendedLifetime(file) {
            let bytes = file.bytes.bindMemory(to: UInt8.self)
            guard String(validating: bytes, as: UTF8.self) != nil else {
                throw VQAError(
                    "cannot read the merges of the tokenizer", at: path, because: "it is not UTF-8")
            }
            var start = 0
            while start < bytes.count {
                let end = bytes[start...].firstIndex(of: 0x0A) ?? bytes.count
                var line = bytes[start..<end]
                if line.last == 0x0D { line = line.dropLast() }
                start = end + 1
                if line.isEmpty || line.starts(with: "#version".utf8) { continue }
                try merges.append(UnsafeBufferPointer(rebasing: line))
            }
        }
        return BPE(vocabulary, merges: try merges.table(vocabulary, prefix: settings.prefix), settings)
    }

    private static func token(_ text: String, _ vocabulary: Vocabulary, _ path: String) throws -> SpecialToken
    {
        guard let id = vocabulary.id(for: text) else {
            throw VQAError(
                "cannot read the vocabulary", at: path, because: "it lacks the token \(JSON.quoted(text))",
                remedy: "name the tokens in tokenizer_config.json")
        }
        return SpecialToken(text, id: Int(id))
    }

    // MARK: SentencePiece

    /// Reads a SentencePiece model: of LLaMA's kind when it is byte-pair encoding, of DeBERTa's when it is a
    /// unigram model with a `[CLS]`, of T5's otherwise.
    init(sentencePiece path: String, _ configuration: TokenizerConfiguration) throws {
        let file = try MappedFile(path)
        let spm = try withExtendedLifetime(file) {
            try SentencePieceModel(file.bytes.bindMemory(to: UInt8.self), source: path)
        }
        var pieces = spm.pieces
        let probe = try pieces.vocabulary(source: path)
        let isDeberta = probe.id(for: "[CLS]") != nil
        if spm.algorithm == .unigram, !isDeberta {
            for index in (0..<configuration.extraIDs).reversed() {
                pieces.append("<extra_id_\(index)>".utf8)
                pieces.scores.append(0)
            }
        }
        let vocabulary = spm.algorithm == .unigram && !isDeberta ? try pieces.vocabulary(source: path) : probe
        let unknown = vocabulary.token(for: spm.unknownID) ?? "<unk>"
        switch spm.algorithm {
        case .bytePairs:
            let merges = try MergeList.implied(by: vocabulary, order: Array(spm.kinds.indices)) { _ in false }
            model = BPE(
                vocabulary, merges: merges,
                BPE.Settings(
                    unknownToken: unknown, fusesUnknown: true, fallsBackToBytes: spm.fallsBackToBytes))
        case .unigram:
            model = try Unigram(
                vocabulary, scores: pieces.scores, unknownID: spm.unknownID,
                fallsBackToBytes: spm.fallsBackToBytes, source: path)
        }
        try layout(spm, configuration, isDeberta: isDeberta).apply(to: &self, source: path)
        for (id, kind) in spm.kinds.enumerated() where [.control, .userDefined, .unknown].contains(kind) {
            guard let text = vocabulary.token(for: id), !text.isEmpty else { continue }
            added.append(AddedToken(text, isSpecial: kind != .userDefined, isNormalized: false))
        }
        if spm.algorithm == .unigram, !isDeberta {
            for index in (0..<configuration.extraIDs).reversed() {
                added.append(AddedToken("<extra_id_\(index)>", isSpecial: true, isNormalized: false))
            }
        }
        try setPostProcessor(spm, configuration, vocabulary, path, isDeberta: isDeberta)
    }

    /// Reads a LLaMA model as ``Tokenizer/Prefixing/slow`` says.
    init(slowSentencePiece path: String, _ configuration: TokenizerConfiguration) throws {
        try self.init(sentencePiece: path, configuration)
        guard model is BPE else {
            throw VQAError(
                "cannot read the tokenizer", at: path,
                because: "it is no byte-pair model, so it has no slow way with spaces")
        }
        try TokenizerLayout.llama(prefix: .always, isLegacy: true).apply(to: &self, source: path)
        preTokenizer = nil
        stripsContinuations = true
    }

    private func layout(
        _ spm: SentencePieceModel, _ configuration: TokenizerConfiguration, isDeberta: Bool
    ) -> TokenizerLayout {
        switch spm.algorithm {
        case .bytePairs:
            let isLegacy = configuration.isLegacy ?? true
            let prefix: Metaspace.Prefix =
                configuration.prefixesSpace == false ? .never : isLegacy ? .always : .first
            return .llama(prefix: prefix, isLegacy: isLegacy)
        case .unigram where isDeberta:
            return .deberta(
                replacements: spm.replacements, lowercases: configuration.lowercases ?? false,
                splitsPunctuation: configuration.splitsPunctuation)
        case .unigram: return .t5(replacements: spm.replacements)
        }
    }

    private mutating func setPostProcessor(
        _ spm: SentencePieceModel, _ configuration: TokenizerConfiguration, _ vocabulary: Vocabulary,
        _ path: String, isDeberta: Bool
    ) throws {
        func token(_ key: String, _ usual: String?) throws -> SpecialToken {
            try Self.token(configuration.named[key]?.content ?? usual ?? "", vocabulary, path)
        }
        if isDeberta {
            postProcessor = .bert(
                classification: try token("cls_token", "[CLS]"), separator: try token("sep_token", "[SEP]"))
        } else if spm.algorithm == .unigram {
            postProcessor = .ended(by: try token("eos_token", vocabulary.token(for: spm.endID)))
        } else {
            // LLaMA's tokenizers put `<s>` before a text and nothing after it, unless they are told otherwise.
            postProcessor = .around(
                configuration.addsBeginning ?? true
                    ? try token("bos_token", vocabulary.token(for: spm.beginningID)) : nil,
                configuration.addsEnd ?? false
                    ? try token("eos_token", vocabulary.token(for: spm.endID)) : nil)
        }
    }
}
