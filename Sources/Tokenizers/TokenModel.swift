import Support

/// A token within a text: its id and the bytes of the text that it stands for.
struct PieceToken: Sendable, Equatable {
    var id: Int32
    var start: Int
    var end: Int
}

/// The tokens of the pieces of a text.
struct PieceTokens {
    var tokens: [PieceToken] = []
    /// The number of tokens up to the end of each piece.
    var ends: [Int] = []
}

/// What turns pieces of text into tokens: WordPiece, byte-pair merges, unigram.
protocol TokenModel: Sendable {
    var vocabulary: Vocabulary { get }
    /// The token that stands for what cannot be spelled, when the model has one.
    var unknownToken: String? { get }
    /// The id of tokens that the reference spells as they stand in the text.
    var spelledID: Int32? { get }
    /// Whether pieces may be the bytes that the characters of a byte-level text stand for.
    var readsBytes: Bool { get }

    /// Appends the tokens of the pieces, none of which is empty.
    ///
    /// - Parameter isByteLevel: each byte of `text` stands for its character of the ``ByteAlphabet``.
    func tokenize(
        _ text: UnsafeBufferPointer<UInt8>, pieces: [Range<Int>], isByteLevel: Bool,
        into result: inout PieceTokens
    ) throws
}

extension TokenModel {
    var spelledID: Int32? { nil }
    var readsBytes: Bool { false }

    func unknownFailure(_ piece: Slice<UnsafeBufferPointer<UInt8>>) -> VQAError {
        VQAError(
            "cannot tokenize the text", at: JSON.quoted(String(decoding: piece.prefix(60), as: UTF8.self)),
            because: "it has no token, and the vocabulary has no \(unknownToken ?? "unknown token") either")
    }
}

/// WordPiece: the longest token of the vocabulary that begins the word, then, with a prefix that marks
/// continuation, the longest that begins the rest, and so on. A word that cannot be spelled to its end is one
/// unknown token.
struct WordPiece: TokenModel {
    let vocabulary: Vocabulary
    let unknownToken: String?
    /// The mark of tokens that go on a word, mostly `##`.
    private let prefix: [UInt8]
    private let prefixHash: TextHash
    /// Words of more scalars are unknown.
    private let longestWord: Int
    private let unknownID: Int32?

    /// Longer words are refused at loading: the cost of a word grows with its length times that of the
    /// longest token.
    static let longestWordLimit = 10_000

    init(_ vocabulary: Vocabulary, unknownToken: String, prefix: String, longestWord: Int) throws {
        guard (0...Self.longestWordLimit).contains(longestWord), prefix.utf8.count <= Vocabulary.longestToken
        else {
            throw VQAError(
                "cannot read the WordPiece model", at: "max_input_chars_per_word",
                because: "\(longestWord) is not within 0 and \(Self.longestWordLimit)")
        }
        self.vocabulary = vocabulary
        self.unknownToken = unknownToken
        self.prefix = Array(prefix.utf8)
        prefixHash = prefix.utf8.reduce(into: vocabulary.emptyHash) { $0.add($1) }
        self.longestWord = longestWord
        unknownID = vocabulary.id(for: unknownToken)
    }

    func tokenize(
        _ text: UnsafeBufferPointer<UInt8>, pieces: [Range<Int>], isByteLevel: Bool,
        into result: inout PieceTokens
    ) throws {
        for piece in pieces {
            let first = result.tokens.count
            try tokenize(UnsafeBufferPointer(rebasing: text[piece]), into: &result.tokens)
            for index in first..<result.tokens.count {
                result.tokens[index].start += piece.lowerBound
                result.tokens[index].end += piece.lowerBound
            }
            result.ends.append(result.tokens.count)
        }
    }

    private func tokenize(_ piece: UnsafeBufferPointer<UInt8>, into tokens: inout [PieceToken]) throws {
        if piece.count > longestWord, piece.count(where: { $0 & 0xC0 != 0x80 }) > longestWord {
            return try appendUnknown(piece, to: &tokens)
        }
        if let number = vocabulary.number(of: piece) {
            tokens.append(PieceToken(id: vocabulary.id(number: number), start: 0, end: piece.count))
            return
        }
        let before = tokens.count
        var hashes: [(hash: TextHash, end: Int)] = []
        hashes.reserveCapacity(min(piece.count, vocabulary.longest))
        var start = 0
        while start < piece.count {
            guard let token = longestToken(piece, from: start, &hashes) else {
                tokens.removeLast(tokens.count - before)
                return try appendUnknown(piece, to: &tokens)
            }
            tokens.append(token)
            start = token.end
        }
    }

    /// The longest token that begins at `start`. The hashes of all candidates are found in one pass.
    private func longestToken(
        _ piece: UnsafeBufferPointer<UInt8>, from start: Int, _ hashes: inout [(hash: TextHash, end: Int)]
    ) -> PieceToken? {
        let prefix = start == 0 ? [] : prefix
        hashes.removeAll(keepingCapacity: true)
        var hash = start == 0 ? vocabulary.emptyHash : prefixHash
        let limit = min(piece.count, start + max(0, vocabulary.longest - prefix.count))
        var i = start
        while i < limit {
            hash.add(piece[i])
            i += 1
            if i == piece.count || piece[i] & 0xC0 != 0x80 { hashes.append((hash, i)) }
        }
        for candidate in hashes.reversed() {
            let rest = UnsafeBufferPointer(rebasing: piece[start..<candidate.end])
            if let number = vocabulary.number(candidate.hash, prefix: prefix, rest) {
                return PieceToken(id: vocabulary.id(number: number), start: start, end: candidate.end)
            }
        }
        return nil
    }

    private func appendUnknown(_ piece: UnsafeBufferPointer<UInt8>, to tokens: inout [PieceToken]) throws {
        guard let unknownID else { throw unknownFailure(piece[...]) }
        tokens.append(PieceToken(id: unknownID, start: 0, end: piece.count))
    }
}
