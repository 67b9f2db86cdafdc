import Support

/// SentencePiece's unigram model: every token has a score, the logarithm of its probability, and a piece is cut
/// into the tokens whose scores have the highest sum (Viterbi's algorithm).
struct Unigram: TokenModel {
    let vocabulary: Vocabulary
    let unknownToken: String?
    private let unknownID: Int32?
    /// By id.
    private let scores: [Double]
    private let trie: ByteTrie
    /// The tokens `<0x00>` to `<0xFF>` when characters without a token become bytes.
    private let fallbackIDs: [Int32]?
    /// What a character without a token scores.
    private let unknownScore: Double

    /// Tokens longer than this are refused: each place of a text is compared with tokens up to the longest.
    static let longestToken = 1024

    var spelledID: Int32? { unknownID }

    /// - Parameters:
    ///   - vocabulary: finished; its ids are places in `scores`.
    ///   - unknownID: stands for what has no token; its text is not that of the token.
    init(
        _ vocabulary: Vocabulary, scores: [Double], unknownID: Int?, fallsBackToBytes: Bool, source: String
    ) throws {
        guard vocabulary.longest <= Self.longestToken else {
            throw VQAError(
                "cannot read the unigram model", at: source,
                because: "a token has \(vocabulary.longest) bytes, more than \(Self.longestToken)")
        }
        if let unknownID, vocabulary.number(for: unknownID) == nil {
            throw VQAError(
                "cannot read the unigram model", at: source,
                because: "the unknown token \(unknownID) is not in the vocabulary")
        }
        self.vocabulary = vocabulary
        self.scores = scores
        self.unknownID = unknownID.flatMap(Int32.init(exactly:))
        unknownToken = unknownID.flatMap(vocabulary.token(for:))
        // The distance that SentencePiece keeps between the unknown and the worst token.
        unknownScore = (scores.min() ?? 0) - 10
        var trie = ByteTrie(expected: vocabulary.count * 3)
        for number in 0..<vocabulary.count {
            let id = vocabulary.id(number: number)
            vocabulary.withBytes(number: number) { if !$0.isEmpty { trie.insert($0, value: id) } }
        }
        self.trie = trie
        let bytes = (0..<256).map { byte in
            vocabulary.id(
                for: "<0x" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true) + ">") ?? -1
        }
        fallbackIDs = fallsBackToBytes ? bytes : nil
    }

    /// The best way to cut the text up to a place.
    private struct Node {
        var score = 0.0
        /// Where its last token begins; -1 while there is no way.
        var start = -1
        var id: Int32 = 0
    }

    func tokenize(
        _ text: UnsafeBufferPointer<UInt8>, pieces: [Range<Int>], isByteLevel: Bool,
        into result: inout PieceTokens
    ) throws {
        var nodes: [Node] = []
        var backward: [PieceToken] = []
        for piece in pieces {
            try findPaths(text, piece, &nodes)
            backward.removeAll(keepingCapacity: true)
            var end = piece.count
            while end > 0 {
                let node = nodes[end]
                // Neighbouring unknown characters become one token.
                if node.id == unknownID, let last = backward.last, last.id == unknownID,
                    last.start == piece.lowerBound + end
                {
                    backward[backward.count - 1].start = piece.lowerBound + node.start
                } else {
                    backward.append(
                        PieceToken(
                            id: node.id, start: piece.lowerBound + node.start, end: piece.lowerBound + end))
                }
                end = node.start
            }
            for token in backward.reversed() {
                if token.id == unknownID {
                    appendUnknown(token, text, to: &result.tokens)
                } else {
                    result.tokens.append(token)
                }
            }
            result.ends.append(result.tokens.count)
        }
    }

    private func findPaths(_ text: UnsafeBufferPointer<UInt8>, _ piece: Range<Int>, _ nodes: inout [Node])
        throws
    {
        nodes.removeAll(keepingCapacity: true)
        nodes.append(contentsOf: repeatElement(Node(), count: piece.count + 1))
        nodes[0].start = 0
        var start = 0
        while start < piece.count {
            let base = nodes[start].score
            var next = piece.lowerBound + start
            _ = decodeScalar(text, &next)
            let scalarEnd = min(next, piece.upperBound) - piece.lowerBound
            var hasSingle = false
            var node = ByteTrie.root
            var i = start
            while i < piece.count {
                node = trie.child(node, text[piece.lowerBound + i])
                if node < 0 { break }
                i += 1
                let id = trie.values[Int(node)]
                if id < 0 { continue }
                Self.improve(&nodes[i], base + scores[Int(id)], start, id)
                if i == scalarEnd { hasSingle = true }
            }
            if !hasSingle {
                guard let unknownID else { throw unknownFailure(text[piece]) }
                Self.improve(&nodes[scalarEnd], base + unknownScore, start, unknownID)
            }
            start = scalarEnd
        }
    }

    @inline(__always)
    private static func improve(_ node: inout Node, _ score: Double, _ start: Int, _ id: Int32) {
        if node.start < 0 || score > node.score { node = Node(score: score, start: start, id: id) }
    }

    /// Characters without a token: by chance together a token, else bytes, else one unknown token.
    private func appendUnknown(
        _ token: PieceToken, _ text: UnsafeBufferPointer<UInt8>, to tokens: inout [PieceToken]
    ) {
        let bytes = UnsafeBufferPointer(rebasing: text[token.start..<token.end])
        if let id = vocabulary.id(for: bytes) {
            tokens.append(PieceToken(id: id, start: token.start, end: token.end))
        } else if let fallbackIDs, bytes.allSatisfy({ fallbackIDs[Int($0)] >= 0 }) {
            for byte in bytes {
                tokens.append(PieceToken(id: fallbackIDs[Int(byte)], start: token.start, end: token.end))
            }
        } else {
            tokens.append(token)
        }
    }
}
