import Support
import Synchronization

/// Byte-pair encoding: the characters of a piece are tokens; then neighbours are merged, the pair of lowest rank
/// first, as long as any pair has a rank.
struct BPE: TokenModel {
    /// How a model treats what its vocabulary does not have, and other settings.
    struct Settings: Sendable {
        /// Stands for characters without a token; nil leaves them out.
        var unknownToken: String?
        /// Put before the text of every symbol of a piece but the first.
        var prefix = ""
        /// Put after the text of the last symbol of a piece, such as `</w>`.
        var suffix = ""
        /// Neighbouring unknown characters become one token.
        var fusesUnknown = false
        /// Characters without a token become tokens of their bytes, written `<0x0A>`.
        var fallsBackToBytes = false
        /// A piece that is a token as it stands is not taken apart.
        var takesWholePieces = false
    }

    let vocabulary: Vocabulary
    let settings: Settings
    private let merges: MergeTable
    private let unknownID: Int32?
    /// The tokens of the characters of the ``ByteAlphabet``, or -1: as first and last symbol or not (see
    /// ``edge(_:_:)``), then by byte.
    private var byteIDs: [Int32] = []
    /// The same for ASCII as itself.
    private var asciiIDs: [Int32] = []
    /// The tokens `<0x00>` to `<0xFF>`, or -1.
    private var fallbackIDs: [Int32] = []
    private let cache = WordCache()

    var unknownToken: String? { settings.unknownToken }
    var readsBytes: Bool { true }

    init(_ vocabulary: Vocabulary, merges: MergeTable, _ settings: Settings) {
        self.vocabulary = vocabulary
        self.settings = settings
        self.merges = merges
        unknownID = settings.unknownToken.flatMap(vocabulary.id(for:))
        for edge in 0..<4 {
            for byte in 0..<256 { byteIDs.append(find(ByteAlphabet.texts[byte], edge)) }
            for byte in 0..<128 { asciiIDs.append(find([UInt8(byte)], edge)) }
        }
        for byte in 0..<256 {
            let digits = String(byte, radix: 16, uppercase: true)
            let id = vocabulary.id(for: "<0x" + (byte < 16 ? "0" : "") + digits + ">")
            fallbackIDs.append(id ?? -1)
        }
    }

    /// The place of a symbol in its piece: bit 0 for the first, bit 1 for the last.
    @inline(__always)
    private static func edge(_ isFirst: Bool, _ isLast: Bool) -> Int { (isFirst ? 1 : 0) | (isLast ? 2 : 0) }

    private func find(_ symbol: some Collection<UInt8>, _ edge: Int) -> Int32 {
        var text: [UInt8] = []
        if edge & 1 == 0 { text += settings.prefix.utf8 }
        text += symbol
        if edge & 2 != 0 { text += settings.suffix.utf8 }
        return text.withUnsafeBufferPointer { vocabulary.id(for: $0) } ?? -1
    }

    // MARK: Tokens

    func tokenize(
        _ text: UnsafeBufferPointer<UInt8>, pieces: [Range<Int>], isByteLevel: Bool,
        into result: inout PieceTokens
    ) throws {
        // Another thread may have the cache: then this text does without.
        let isDone: Void? = try cache.state.withLockIfAvailable { state in
            for piece in pieces {
                try append(piece, of: text, isByteLevel, &state, to: &result.tokens)
                result.ends.append(result.tokens.count)
            }
        }
        guard isDone == nil else { return }
        var state = WordCache.State(capacity: 1024)
        for piece in pieces {
            try append(piece, of: text, isByteLevel, &state, to: &result.tokens)
            result.ends.append(result.tokens.count)
        }
    }

    @inline(__always)
    private func append(
        _ piece: Range<Int>, of text: UnsafeBufferPointer<UInt8>, _ isByteLevel: Bool,
        _ cache: inout WordCache.State, to tokens: inout [PieceToken]
    ) throws {
        let word = UnsafeBufferPointer(rebasing: text[piece])
        let hash = WordCache.hash(word)
        if cache.append(word, hash, at: piece.lowerBound, to: &tokens) { return }
        try merge(word, isByteLevel, &cache.word)
        let first = tokens.count
        var start = piece.lowerBound
        for (id, end) in zip(cache.word.ids, cache.word.ends) {
            tokens.append(PieceToken(id: id, start: start, end: piece.lowerBound + end))
            start = piece.lowerBound + end
        }
        cache.insert(word, hash, tokens[first...], at: piece.lowerBound)
    }

    private func merge(_ piece: UnsafeBufferPointer<UInt8>, _ isByteLevel: Bool, _ word: inout MergingWord)
        throws
    {
        word.removeAll()
        if settings.takesWholePieces, let id = wholeID(piece, isByteLevel) {
            word.append(id, length: piece.count)
            return
        }
        var unknown = 0
        var i = 0
        while i < piece.count {
            let start = i
            let id: Int32
            if isByteLevel {
                i += 1
                id = byteIDs[Self.edge(start == 0, i == piece.count) << 8 | Int(piece[start])]
            } else if piece[i] < 0x80 {
                i += 1
                id = asciiIDs[Self.edge(start == 0, i == piece.count) << 7 | Int(piece[start])]
            } else {
                _ = decodeScalar(piece, &i)
                id = find(piece[start..<i], Self.edge(start == 0, i == piece.count))
            }
            if id >= 0 {
                try flush(&unknown, piece, &word)
                word.append(id, length: i - start)
            } else if settings.fallsBackToBytes, appendBytes(piece[start..<i], isByteLevel, &word) {
                continue
            } else if unknownToken != nil {
                if !settings.fusesUnknown { try flush(&unknown, piece, &word) }
                unknown += i - start
            }
        }
        try flush(&unknown, piece, &word)
        word.merge(merges)
    }

    private func flush(_ unknown: inout Int, _ piece: UnsafeBufferPointer<UInt8>, _ word: inout MergingWord)
        throws
    {
        guard unknown > 0 else { return }
        guard let unknownID else { throw unknownFailure(piece[...]) }
        word.append(unknownID, length: unknown)
        unknown = 0
    }

    /// The tokens of the bytes of a character; false when one is missing.
    private func appendBytes(
        _ symbol: Slice<UnsafeBufferPointer<UInt8>>, _ isByteLevel: Bool, _ word: inout MergingWord
    ) -> Bool {
        let bytes = isByteLevel ? ByteAlphabet.texts[Int(symbol[symbol.startIndex])] : Array(symbol)
        guard bytes.allSatisfy({ fallbackIDs[Int($0)] >= 0 }) else { return false }
        for (index, byte) in bytes.enumerated() {
            word.append(fallbackIDs[Int(byte)], length: isByteLevel ? (index == 0 ? 1 : 0) : 1)
        }
        return true
    }

    private func wholeID(_ piece: UnsafeBufferPointer<UInt8>, _ isByteLevel: Bool) -> Int32? {
        guard isByteLevel else { return vocabulary.id(for: piece) }
        guard piece.count <= vocabulary.longest else { return nil }
        var text: [UInt8] = []
        text.reserveCapacity(piece.count * 2)
        for byte in piece { text += ByteAlphabet.texts[Int(byte)] }
        return text.withUnsafeBufferPointer { vocabulary.id(for: $0) }
    }
}
