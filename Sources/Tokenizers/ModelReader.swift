import Support

/// Reads the `model` of tokenizer.json, its vocabulary straight into the tables.
struct ModelReader {
    private var settings: [String: JSON] = [:]
    private var vocabulary: Vocabulary?
    /// By id, of a unigram model.
    private var scores: [Double]?
    /// Stands before the merges: they can be read only after the vocabulary.
    private var merges: JSONCursor?

    /// - Parameter size: the bytes of the file, for a guess of the number of tokens.
    static func read(_ cursor: inout JSONCursor, size: Int) throws -> any TokenModel {
        var reader = ModelReader()
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "vocab":
                guard reader.vocabulary == nil else { throw cursor.failure("\"vocab\" appears twice") }
                if try cursor.peek() == .array {
                    try reader.readPieces(&cursor)
                } else {
                    reader.vocabulary = try readVocabulary(&cursor, size: size)
                }
            case "merges":
                guard reader.merges == nil else { throw cursor.failure("\"merges\" appears twice") }
                reader.merges = cursor
                try cursor.skipValue()
            default: reader.settings[key] = try JSON(reading: &cursor)
            }
        }
        return try reader.model(cursor)
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

    static func readVocabulary(_ cursor: inout JSONCursor, size: Int) throws -> Vocabulary {
        var vocabulary = Vocabulary(expected: size / 24)
        try cursor.beginObject()
        var next: Int32 = 0
        while let isNew = try cursor.withNextKeyBytes({ try vocabulary.insert($0, id: next) }) {
            guard isNew else {
                throw cursor.failure("a token appears twice, for the second time before this")
            }
            guard let id = Int32(exactly: try cursor.integer()), id >= 0 else {
                throw cursor.failure("the id of a token is out of range")
            }
            vocabulary.setLastID(id)
            next = id == .max ? 0 : id + 1
        }
        try vocabulary.finish(source: cursor.source)
        return vocabulary
    }

    /// Reads `[["▁the", -3.2], …]`.
    private mutating func readPieces(_ cursor: inout JSONCursor) throws {
        var pieces = ScoredPieces()
        try cursor.beginArray()
        while try cursor.nextElement() {
            try cursor.beginArray()
            guard try cursor.nextElement() else { throw cursor.failure("a token has no text") }
            try cursor.withStringBytes { pieces.append($0) }
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
        var merges = MergeReader(
            vocabulary, prefix: settings.prefix, expected: vocabulary.count, source: reader.source)
        if var cursor = self.merges { try Self.readMerges(&cursor, &merges) }
        return BPE(vocabulary, merges: merges.table, settings)
    }

    private static func readMerges(_ cursor: inout JSONCursor, _ merges: inout MergeReader) throws {
        try cursor.beginArray()
        while try cursor.nextElement() {
            if try cursor.peek() == .string {
                try cursor.withStringBytes { try merges.add($0) }
                continue
            }
            try cursor.beginArray()
            guard try cursor.nextElement() else { throw cursor.failure("a merge has no tokens") }
            let left = try cursor.withStringBytes { Array($0) }
            guard try cursor.nextElement() else { throw cursor.failure("a merge has only one token") }
            try left.withUnsafeBufferPointer { left in
                try cursor.withStringBytes { try merges.add(left, $0) }
            }
            guard try !cursor.nextElement() else { throw cursor.failure("a merge has more than two tokens") }
        }
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

/// Builds a ``MergeTable`` of merges that name tokens.
struct MergeReader {
    private let vocabulary: Vocabulary
    private let prefixLength: Int
    private let source: String
    private(set) var table: MergeTable
    private var rank: UInt32 = 0
    /// See ``find(_:)``; 2^13 places.
    private var recent = [(key: UInt64, id: Int32)](repeating: (.max, -1), count: 1 << 13)
    /// The number that the next new token is likely to have: merges mostly stand in the order of the vocabulary.
    private var guess = 0

    init(_ vocabulary: Vocabulary, prefix: String, expected: Int, source: String) {
        self.vocabulary = vocabulary
        prefixLength = prefix.utf8.count
        self.source = source
        table = MergeTable(expected: expected)
    }

    /// Adds a merge written as two tokens with a space between.
    mutating func add(_ line: UnsafeBufferPointer<UInt8>) throws {
        guard let space = line.firstIndex(of: 0x20), !line[(space + 1)...].contains(0x20) else {
            throw failure(
                "\(JSON.quoted(String(decoding: line.prefix(80), as: UTF8.self))) is not two tokens")
        }
        try add(
            UnsafeBufferPointer(rebasing: line[..<space]), UnsafeBufferPointer(rebasing: line[(space + 1)...])
        )
    }

    /// Adds a merge of two tokens; what they become must be a token too.
    mutating func add(_ left: UnsafeBufferPointer<UInt8>, _ right: UnsafeBufferPointer<UInt8>) throws {
        let rest = UnsafeBufferPointer(rebasing: right[min(prefixLength, right.count)...])
        let merged: Int32
        if vocabulary.isToken(guess, left, rest) {
            merged = vocabulary.id(number: guess)
        } else {
            let text = Array(left) + Array(rest)
            guard let number = text.withUnsafeBufferPointer({ vocabulary.number(of: $0) }) else {
                throw unknown(text)
            }
            guess = number
            merged = vocabulary.id(number: number)
        }
        guess += 1
        guard let first = find(left) else { throw unknown(Array(left)) }
        guard let second = find(right) else { throw unknown(Array(right)) }
        table.insert(first, second, rank: rank, id: merged)
        rank += 1
        guard rank < UInt32(Int32.max) else { throw failure("there are too many") }
    }

    /// The id of a token. A few short tokens make up most merges, so those found last are kept at hand: a token of
    /// at most seven bytes and its length are one number.
    private mutating func find(_ token: UnsafeBufferPointer<UInt8>) -> Int32? {
        guard token.count <= 7 else { return vocabulary.id(for: token) }
        var key = UInt64(token.count) << 56
        for (index, byte) in token.enumerated() { key |= UInt64(byte) << UInt64(8 * index) }
        let place = Int((key &* 0x9e37_79b9_7f4a_7c15) >> 51)
        if recent[place].key == key { return recent[place].id }
        guard let id = vocabulary.id(for: token) else { return nil }
        recent[place] = (key, id)
        return id
    }

    private func unknown(_ token: [UInt8]) -> VQAError {
        failure("\(JSON.quoted(String(decoding: token.prefix(80), as: UTF8.self))) is not in the vocabulary")
    }

    private func failure(_ why: String) -> VQAError {
        VQAError("cannot read the merges of the tokenizer", at: "\(source), merge \(rank)", because: why)
    }

    /// The merges that a vocabulary of SentencePiece implies: every token that is two others. `order` gives the
    /// places of tokens, the earliest merged first; of one token's merges that with the shorter left part comes
    /// first.
    static func implied(by vocabulary: Vocabulary, order: [Int], skipping isSkipped: (Int) -> Bool)
        -> MergeTable
    {
        var table = MergeTable(expected: vocabulary.count * 2)
        var rank: UInt32 = 0
        for id in order where !isSkipped(id) {
            guard let number = vocabulary.number(for: id) else { continue }
            vocabulary.withBytes(number: number) { piece in
                for cut in vocabulary.cuts(of: piece) {
                    guard let left = vocabulary.id(for: UnsafeBufferPointer(rebasing: piece[..<cut])),
                        let right = vocabulary.id(for: UnsafeBufferPointer(rebasing: piece[cut...])),
                        !isSkipped(Int(left)), !isSkipped(Int(right))
                    else { continue }
                    table.insert(left, right, rank: rank, id: Int32(truncatingIfNeeded: id))
                    rank += 1
                }
            }
        }
        return table
    }
}
