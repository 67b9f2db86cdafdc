import Support

/// Reads the `model` of tokenizer.json, its vocabulary straight into the tables.
struct ModelReader {
    private var settings: [String: JSON] = [:]
    private var vocabulary: Vocabulary?
    private var hasVocabulary = false
    /// By id, of a unigram model.
    private var scores: [Double]?
    /// Stands before the merges.
    private var merges: JSONCursor?
    /// The merges when they can be read; if not, that is a fault of byte-pair models only.
    private var mergeList: MergeList?

    /// - Parameter size: the bytes of the file, for a guess of the number of tokens.
    static func read(_ cursor: inout JSONCursor, size: Int) throws -> any TokenModel {
        var reader = ModelReader()
        try cursor.beginObject()
        try reader.readMembers(&cursor, size: size)
        return try reader.model(cursor)
    }

    private mutating func readMembers(_ cursor: inout JSONCursor, size: Int) throws {
        while let key = try cursor.nextKey() {
            switch key {
            case "vocab":
                guard !hasVocabulary else { throw cursor.failure("\"vocab\" appears twice") }
                hasVocabulary = true
                guard try cursor.peek() == .object else {
                    try readPieces(&cursor)
                    continue
                }
                // While it is read, so is what follows.
                var behind = cursor
                guard behind.skipFlatObjectUnchecked() else {
                    vocabulary = try Vocabulary(reading: &cursor, size: size)
                    continue
                }
                let (found, rest) = try both { [cursor] in
                    var cursor = cursor
                    return try Vocabulary(reading: &cursor, size: size)
                } and: { [self, behind] in
                    var (reader, cursor) = (self, behind)
                    try reader.readMembers(&cursor, size: size)
                    return (reader, cursor)
                }
                (self, cursor) = rest
                vocabulary = found
                return
            case "merges":
                guard merges == nil else { throw cursor.failure("\"merges\" appears twice") }
                merges = cursor
                var ahead = cursor
                mergeList = try? MergeList(reading: &ahead, size: size)
                if mergeList == nil { try cursor.skipValue() } else { cursor = ahead }
            default: settings[key] = try JSON(reading: &cursor)
            }
        }
    }

    private func model(_ cursor: JSONCursor) throws -> any TokenModel {
        guard let vocabulary else { throw cursor.failure("the model has no \"vocab\"") }
        let reader = ComponentReader(
            .object(settings.map { JSON.Member($0, $1) }), "model", source: cursor.source)
        let type =
            settings["type"]?.string ?? (scores != nil ? "Unigram" : merges != nil ? "BPE" : "WordPiece")
        switch type {
        case "WordPiece":
            return try WordPiece(
                vocabulary,
                unknownToken: settings["unk_token"] == nil ? "[UNK]" : try reader.string("unk_token"),
                prefix: settings["continuing_subword_prefix"] == nil
                    ? "##" : try reader.string("continuing_subword_prefix"),
                longestWord: try reader.size("max_input_chars_per_word", missing: 100))
        case "BPE": return try bytePairs(vocabulary, reader)
        case "Unigram":
            guard let scores else { throw reader.failure("a unigram model needs scores beside its tokens") }
            return try Unigram(
                vocabulary, scores: scores,
                unknownID: settings["unk_id"]?.isNull ?? true ? nil : try reader.size("unk_id", missing: 0),
                fallsBackToBytes: try reader.flag("byte_fallback", missing: false), source: cursor.source)
        default: throw reader.unsupported(type)
        }
    }

    // MARK: Vocabulary

    /// Reads `[["▁the", -3.2], …]`.
    private mutating func readPieces(_ cursor: inout JSONCursor) throws {
        var pieces = ScoredPieces()
        try cursor.beginArray()
        while try cursor.nextElement() {
            try cursor.beginArray()
            guard try cursor.nextElement() else { throw cursor.failure("a token has no text") }
            try pieces.append(reading: &cursor)
            guard try cursor.nextElement() else { throw cursor.failure("a token has no score") }
            pieces.scores.append(try cursor.double())
            guard try !cursor.nextElement() else { throw cursor.failure("a token has more than a score") }
        }
        vocabulary = try pieces.vocabulary(source: cursor.source)
        scores = pieces.scores
    }

    // MARK: Merges

    private func bytePairs(_ vocabulary: Vocabulary, _ reader: ComponentReader) throws -> BPE {
        if let dropout = reader.json["dropout"]?.double, dropout != 0 {
            throw reader.failure("\"dropout\" makes ids depend on chance, which is not supported")
        }
        func text(_ key: String) throws -> String? {
            guard let value = reader.json[key], !value.isNull else { return nil }
            return try reader.string(key)
        }
        var settings = BPE.Settings()
        settings.unknownToken = try text("unk_token")
        settings.prefix = try text("continuing_subword_prefix") ?? ""
        settings.suffix = try text("end_of_word_suffix") ?? ""
        settings.fusesUnknown = try reader.flag("fuse_unk", missing: false)
        settings.fallsBackToBytes = try reader.flag("byte_fallback", missing: false)
        settings.takesWholePieces = try reader.flag("ignore_merges", missing: false)
        guard var cursor = self.merges else { return BPE(vocabulary, merges: try MergeTable(), settings) }
        let list = try mergeList ?? MergeList(reading: &cursor, size: 0)
        return BPE(vocabulary, merges: try list.table(vocabulary, prefix: settings.prefix), settings)
    }
}

/// Tokens with scores in the order of their ids.
struct ScoredPieces {
    private var text: [UInt8] = []
    private var ends: [Int] = []
    var scores: [Double] = []

    mutating func append(_ piece: some Sequence<UInt8>) {
        text.append(contentsOf: piece)
        ends.append(text.count)
    }

    mutating func append(reading cursor: inout JSONCursor) throws {
        try cursor.withStringBytes { text.append(contentsOf: $0) }
        ends.append(text.count)
    }

    /// The vocabulary; of equal texts the last counts, as in the reference.
    func vocabulary(source: String) throws -> Vocabulary {
        var vocabulary = Vocabulary(expected: ends.count)
        try text.withUnsafeBufferPointer { text in
            for id in ends.indices.reversed() {
                let start = id == 0 ? 0 : ends[id - 1]
                _ = try vocabulary.insert(
                    UnsafeBufferPointer(rebasing: text[start..<ends[id]]), id: Int32(id))
            }
        }
        try vocabulary.finish(source: source)
        return vocabulary
    }
}
