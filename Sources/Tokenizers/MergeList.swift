import Support

/// Merges that name tokens, as files list them, the first merged first.
struct MergeList {
    /// A merge, in ``text``.
    private struct Merge {
        /// Where the left token ends; it starts where the merge before ends.
        var middle: UInt32
        /// Where the right token ends.
        var end: UInt32
    }

    private enum Part { case left, right, both }

    /// The tokens of all merges, one after the other.
    private var text: [UInt8] = []
    private var merges: [Merge] = []
    private let source: String

    init(expected: Int, source: String) {
        self.source = source
        merges.reserveCapacity(min(expected, 1 << 22))
    }

    // MARK: Reading

    /// Reads `["a b", …]` or `[["a", "b"], …]`.
    ///
    /// That the texts are UTF-8 is not looked at: tokens are, and these must be tokens.
    ///
    /// - Parameter size: the bytes of the file, for a guess of the size of the texts.
    init(reading cursor: inout JSONCursor, size: Int) throws {
        self.init(expected: size / 32, source: cursor.source)
        text.reserveCapacity(size / 4)
        try cursor.beginArray()
        while try cursor.nextElement() {
            if try cursor.peek() == .string {
                let start = text.count
                try cursor.appendStringUnchecked(to: &text)
                try endLine(from: start)
                continue
            }
            try cursor.beginArray()
            guard try cursor.nextElement() else { throw cursor.failure("a merge has no tokens") }
            try cursor.appendStringUnchecked(to: &text)
            let middle = text.count
            guard try cursor.nextElement() else { throw cursor.failure("a merge has only one token") }
            try cursor.appendStringUnchecked(to: &text)
            guard try !cursor.nextElement() else { throw cursor.failure("a merge has more than two tokens") }
            try end(middle: middle)
        }
    }

    /// Adds a merge written as two tokens with a space between.
    mutating func append(_ line: UnsafeBufferPointer<UInt8>) throws {
        let start = text.count
        text.append(contentsOf: line)
        try endLine(from: start)
    }

    /// Ends the merge whose line stands at the end of the text, and takes the space out.
    private mutating func endLine(from start: Int) throws {
        guard let space = text[start...].firstIndex(of: 0x20), !text[(space + 1)...].contains(0x20) else {
            throw failure(merges.count, "\(Self.quoted(text[start...])) is not two tokens")
        }
        text.remove(at: space)
        try end(middle: space)
    }

    private mutating func end(middle: Int) throws {
        guard text.count < Int(UInt32.max) else { throw failure(merges.count, "there are too many") }
        merges.append(
            Merge(middle: UInt32(truncatingIfNeeded: middle), end: UInt32(truncatingIfNeeded: text.count)))
    }

    // MARK: Resolving

    /// The table of the merges, whose tokens and what they become must all be of the vocabulary.
    ///
    /// - Parameter prefix: right tokens begin with it, and what they become is without it.
    func table(_ vocabulary: Vocabulary, prefix: String) throws -> MergeTable {
        let half = merges.count / 2
        let entries = try [MergeTable.Entry](unsafeUninitializedCapacity: merges.count) { entries, count in
            func resolve(_ ranks: Range<Int>) throws {
                try self.resolve(ranks, vocabulary, prefix: prefix) {
                    entries.initializeElement(at: $0, to: $1)
                }
            }
            _ = try both {
                try resolve(0..<half)
            } and: {
                try resolve(half..<merges.count)
            }
            count = merges.count
        }
        return try MergeTable(entries)
    }

    /// Gives `use` the rank and the entry of some merges.
    @inline(__always)
    private func resolve(
        _ all: Range<Int>, _ vocabulary: Vocabulary, prefix: String, _ use: (Int, MergeTable.Entry) -> Void
    ) throws {
        var next = NextToken()
        var parts: [UnsafeBufferPointer<UInt8>] = []
        try text.withUnsafeBufferPointer { text in
            for block in stride(from: all.lowerBound, to: all.upperBound, by: 128) {
                let ranks = block..<min(block + 128, all.upperBound)
                parts.removeAll(keepingCapacity: true)
                for rank in ranks {
                    parts.append(part(.left, rank, text))
                    parts.append(part(.right, rank, text))
                }
                let numbers = vocabulary.numbers(of: parts)
                for rank in ranks {
                    let merged =
                        prefix.isEmpty
                        ? next.find(part(.both, rank, text), vocabulary)
                        : withoutPrefix(prefix, rank).withUnsafeBufferPointer { next.find($0, vocabulary) }
                    let (left, right) = (numbers[(rank - block) * 2], numbers[(rank - block) * 2 + 1])
                    guard let merged else { throw unknown(rank, withoutPrefix(prefix, rank)) }
                    guard left >= 0 else { throw unknown(rank, Array(part(.left, rank, text))) }
                    guard right >= 0 else { throw unknown(rank, Array(part(.right, rank, text))) }
                    use(
                        rank,
                        MergeTable.Entry(
                            left: vocabulary.id(number: Int(left)), right: vocabulary.id(number: Int(right)),
                            id: vocabulary.id(number: merged)))
                }
            }
        }
    }

    /// The left token of a merge, the right one, or both.
    @inline(__always)
    private func part(_ part: Part, _ rank: Int, _ text: UnsafeBufferPointer<UInt8>)
        -> UnsafeBufferPointer<UInt8>
    {
        let merge = merges[rank]
        let start = part == .right ? merge.middle : rank == 0 ? 0 : merges[rank - 1].end
        let end = part == .left ? merge.middle : merge.end
        return UnsafeBufferPointer(rebasing: text[Int(start)..<Int(end)])
    }

    /// What a merge becomes where right tokens begin with a prefix.
    private func withoutPrefix(_ prefix: String, _ rank: Int) -> [UInt8] {
        text.withUnsafeBufferPointer { text in
            Array(part(.left, rank, text)) + part(.right, rank, text).dropFirst(prefix.utf8.count)
        }
    }

    private func unknown(_ rank: Int, _ token: [UInt8]) -> VQAError {
        failure(rank, "\(Self.quoted(token[...])) is not in the vocabulary")
    }

    private func failure(_ rank: Int, _ why: String) -> VQAError {
        VQAError("cannot read the merges of the tokenizer", at: "\(source), merge \(rank)", because: why)
    }

    private static func quoted(_ token: ArraySlice<UInt8>) -> String {
        JSON.quoted(String(decoding: token.prefix(80), as: UTF8.self))
    }

    /// The merges that a vocabulary of SentencePiece implies: every token that is two others. `order` gives the
    /// places of tokens, the earliest merged first; of one token's merges that with the shorter left part comes
    /// first.
    static func implied(by vocabulary: Vocabulary, order: [Int], skipping isSkipped: (Int) -> Bool) throws
        -> MergeTable
    {
        var entries: [MergeTable.Entry] = []
        for id in order where !isSkipped(id) {
            guard let number = vocabulary.number(for: id) else { continue }
            vocabulary.withBytes(number: number) { piece in
                for cut in vocabulary.cuts(of: piece) {
                    guard let left = vocabulary.id(for: UnsafeBufferPointer(rebasing: piece[..<cut])),
                        let right = vocabulary.id(for: UnsafeBufferPointer(rebasing: piece[cut...])),
                        !isSkipped(Int(left)), !isSkipped(Int(right))
                    else { continue }
                    entries.append(
                        MergeTable.Entry(left: left, right: right, id: Int32(truncatingIfNeeded: id)))
                }
            }
        }
        return try MergeTable(entries)
    }
}

/// Finds what merges become, token after token: most merges stand in the order of the vocabulary.
private struct NextToken {
    /// The number that the next one is likely to have.
    private var guess = 0

    /// The number of a token.
    @inline(__always)
    mutating func find(_ token: UnsafeBufferPointer<UInt8>, _ vocabulary: Vocabulary) -> Int? {
        if !vocabulary.isToken(guess, token) {
            guard let number = vocabulary.number(of: token) else { return nil }
            guess = number
        }
        guess += 1
        return guess - 1
    }
}
