import Support

extension GGUFVocabulary {
    /// The same tokenizer as the text of a tokenizer.json, for a folder of the Hugging Face layout.
    ///
    /// - Parameter source: the name of the file, for errors.
    /// - Throws: `VQAError` when ``Tokenizer/init(gguf:source:)`` would, and for vocabularies other than byte pairs (`gpt2` and
    ///   `llama`, those of decoders).
    public func tokenizerFile(source: String = "GGUF vocabulary") throws -> JSON {
        _ = try Tokenizer(gguf: self, source: source)
        let layout: (normalizer: JSON, preTokenizer: JSON, decoder: JSON)
        let model: JSON
        switch self.model {
        case "gpt2":
            layout = try byteLevelLayout(source)
            model = bytePairModel(unknown: nil, isSentencePiece: false, merges: listedMerges)
        case "llama":
            layout = sentencePieceLayout()
            model = try bytePairModel(
                unknown: (unknownID ?? tokens.indices.first { isOf(2, $0) }).map { tokens[$0] },
                isSentencePiece: true, merges: merges.isEmpty ? impliedMerges(source) : listedMerges)
        default:
            throw failure(
                "vocabularies of the kind \(JSON.quoted(self.model)) are not written as tokenizer.json",
                source)
        }
        return [
            "version": "1.0", "truncation": .null, "padding": .null, "added_tokens": .array(addedTokens()),
            "normalizer": layout.normalizer, "pre_tokenizer": layout.preTokenizer,
            "post_processor": template(), "decoder": layout.decoder, "model": model,
        ]
    }

    /// The text of the tokenizer_config.json beside it: special tokens and the chat template.
    public func tokenizerConfiguration(chatTemplate: String? = nil) -> JSON {
        var members = [JSON.Member("tokenizer_class", "PreTrainedTokenizerFast")]
        for (key, id) in [
            ("bos_token", beginningID), ("eos_token", endID), ("pad_token", paddingID),
            ("unk_token", unknownID),
        ] {
            if let id, tokens.indices.contains(id) { members.append(.init(key, .string(tokens[id]))) }
        }
        members.append(.init("clean_up_tokenization_spaces", false))
        if let chatTemplate { members.append(.init("chat_template", .string(chatTemplate))) }
        return .object(members)
    }

    // MARK: Parts

    private var listedMerges: [JSON] {
        merges.map { line in .array(line.split(separator: " ").map { .string(String($0)) }) }
    }

    private func impliedMerges(_ source: String) throws -> [JSON] {
        let vocabulary = try TokenizerParts.vocabulary(tokens, source: source)
        return MergeList.implied(by: vocabulary, scores: scores.map(Double.init)).map {
            .array([.string(tokens[Int($0.left)]), .string(tokens[Int($0.right)])])
        }
    }

    private func bytePairModel(unknown: String?, isSentencePiece: Bool, merges: [JSON]) -> JSON {
        // Of equal tokens the first counts.
        var seen: Set<String> = []
        let vocabulary = tokens.enumerated().filter { seen.insert($0.element).inserted }
            .map { JSON.Member($0.element, .integer($0.offset)) }
        return [
            "type": "BPE", "dropout": .null, "unk_token": unknown.map { .string($0) } ?? .null,
            "continuing_subword_prefix": .null, "end_of_word_suffix": .null,
            "fuse_unk": .bool(isSentencePiece), "byte_fallback": .bool(isSentencePiece),
            "ignore_merges": .bool(takesWholePieces), "vocab": .object(vocabulary), "merges": .array(merges),
        ]
    }

    private func byteLevelLayout(_ source: String) throws -> (JSON, JSON, JSON) {
        func byteLevel(usesPattern: Bool) -> JSON {
            [
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                "use_regex": .bool(usesPattern),
            ]
        }
        func sequence(_ first: JSON, usesPattern: Bool) -> JSON {
            ["type": "Sequence", "pretokenizers": [first, byteLevel(usesPattern: usesPattern)]]
        }
        switch try layout(source) {
        case .digits:
            let digits: JSON = ["type": "Digits", "individual_digits": true]
            return (.null, sequence(digits, usesPattern: true), byteLevel(usesPattern: true))
        case .split(let pattern, let composes):
            let split: JSON = [
                "type": "Split", "pattern": ["Regex": .string(pattern)], "behavior": "Isolated",
                "invert": false,
            ]
            return (
                composes ? ["type": "NFC"] : .null, sequence(split, usesPattern: false),
                byteLevel(usesPattern: true)
            )
        default: return (.null, byteLevel(usesPattern: true), byteLevel(usesPattern: true))
        }
    }

    private func sentencePieceLayout() -> (JSON, JSON, JSON) {
        let prefixes = prefixesSpace ?? true
        let spaces: JSON = [
            "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": prefixes ? "first" : "never",
            "split": false,
        ]
        var steps: [JSON] = [
            ["type": "Replace", "pattern": ["String": "\u{2581}"], "content": " "],
            ["type": "ByteFallback"], ["type": "Fuse"],
        ]
        if prefixes { steps.append(["type": "Strip", "content": " ", "start": 1, "stop": 0]) }
        return (.null, spaces, ["type": "Sequence", "decoders": .array(steps)])
    }

    private func addedTokens() -> [JSON] {
        tokens.indices.filter { (isOf(3, $0) || isOf(4, $0)) && !tokens[$0].isEmpty }.map { id in
            [
                "id": .integer(id), "content": .string(tokens[id]), "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": .bool(isOf(3, id)),
            ]
        }
    }

    /// The post-processor that puts the first and the last token, null when there is neither.
    private func template() -> JSON {
        let (first, last) = edges
        guard first != nil || last != nil else { return .null }
        func row(_ name: String, _ type: Int) -> [JSON] {
            func special(_ token: SpecialToken?) -> [JSON] {
                token.map { [["SpecialToken": ["id": .string($0.text), "type_id": .integer(type)]]] } ?? []
            }
            let text: JSON = ["Sequence": ["id": .string(name), "type_id": .integer(type)]]
            return special(first) + [text] + special(last)
        }
        var named: [String: JSON] = [:]
        for token in [first, last].compactMap(\.self) {
            named[token.text] = [
                "id": .string(token.text), "ids": [.integer(token.id)], "tokens": [.string(token.text)],
            ]
        }
        return [
            "type": "TemplateProcessing", "single": .array(row("A", 0)),
            "pair": .array(row("A", 0) + row("B", 1)),
            "special_tokens": .object(named.sorted { $0.key < $1.key }.map { JSON.Member($0.key, $0.value) }),
        ]
    }
}
