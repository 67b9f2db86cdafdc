import Support

/// The tokens of a model: text to id and back.
///
/// All texts lie in one array of bytes and are found through a hash table, so that reading a large vocabulary makes no
/// object per token.
struct Vocabulary: Sendable {
    /// Tokens longer than this are refused: matching costs time in proportion to the longest token.
    static let longestToken = 4096

    private struct Token {
        /// Where the token ends in ``text``; it starts where the one before ends.
        var end: UInt32
        var id: Int32
    }

    /// The tokens as lists that lie still in memory.
    private struct Texts: HashedThings {
        let text: UnsafeBufferPointer<UInt8>
        let tokens: UnsafeBufferPointer<Token>
        let seed: UInt64

        @inline(__always)
        subscript(number: Int) -> UnsafeBufferPointer<UInt8> {
            let start = number == 0 ? 0 : Int(tokens[number - 1].end)
            return UnsafeBufferPointer(rebasing: text[start..<Int(tokens[number].end)])
        }

        @inline(__always)
        func hash(_ number: Int) -> UInt64 { TextHash.value(of: self[number], seed: seed) }

        @inline(__always)
        func areEqual(_ a: Int, _ b: Int) -> Bool { TextHash.areEqual(self[a], self[b]) }
    }

    /// The UTF-8 of all tokens, one after the other.
    private var text: [UInt8] = []
    private var tokens: [Token] = []
    /// Of the tokens, by their texts.
    private var index: HashIndex
    /// By id: number of the token, or -1.
    private var numbers: [Int32] = []
    private let seed = UInt64.random(in: 1 ... .max)
    /// The length of the longest token in bytes.
    private(set) var longest = 0

    /// The number of tokens.
    var count: Int { tokens.count }

    /// - Parameter expected: a guess of the number of tokens.
    init(expected: Int = 0) {
        index = HashIndex(count: min(expected, 1 << 22))
        tokens.reserveCapacity(min(expected, 1 << 22))
    }

    // MARK: Building

    /// Adds a token; false when it is there already.
    mutating func insert(_ token: some Collection<UInt8>, id: Int32) throws -> Bool {
        try check(length: token.count, id: id)
        let start = text.count
        text.append(contentsOf: token)
        try endToken(id: id)
        let isNew = text.withUnsafeBufferPointer { text in
            tokens.withUnsafeBufferPointer { tokens in
                index.insert(tokens.count - 1, of: Texts(text: text, tokens: tokens, seed: seed))
            }
        }
        if !isNew {
            tokens.removeLast()
            text.removeLast(text.count - start)
        }
        return isNew
    }

    /// Reads `{"token": id, …}`.
    ///
    /// - Parameter size: the bytes of the file, for a guess of the size of the texts.
    init(reading cursor: inout JSONCursor, size: Int) throws {
        let beginning = cursor
        index = HashIndex()
        text.reserveCapacity(size / 4)
        tokens.reserveCapacity(size / 32)
        try cursor.beginObject()
        var next: Int32 = 0
        while try cursor.appendNextKeyUnchecked(to: &text) {
            try endToken(id: next)
            let id = try cursor.integer()
            guard let id = Int32(exactly: id), id >= 0 else {
                throw cursor.failure("the id of a token is out of range")
            }
            tokens[tokens.count - 1].id = id
            next = id == .max ? 0 : id + 1
        }
        let (found, table) = try both { [self] in
            var index = HashIndex(count: count)
            let duplicate = try text.withUnsafeBufferPointer { text in
                try tokens.withUnsafeBufferPointer { tokens in
                    try index.insert(Texts(text: text, tokens: tokens, seed: seed), below: tokens.count)
                }
            }
            if let duplicate { throw try Self.duplicate(duplicate, beginning) }
            return index
        } and: { [self] in
            guard isOfCharacters else { throw try Self.notUTF8(beginning) }
            return try numbersByID(source: beginning.source)
        }
        (index, numbers) = (found, table)
    }

    /// Whether all tokens are UTF-8: together they are, and none begins within a character.
    private var isOfCharacters: Bool {
        var start = 0
        for token in tokens {
            let end = Int(token.end)
            if start < end, text[start] & 0xC0 == 0x80 { return false }
            start = end
        }
        return text.withUnsafeBufferPointer { isUTF8($0) }
    }

    /// The error of a token that is not UTF-8; finds its place in the file.
    private static func notUTF8(_ beginning: JSONCursor) throws -> VQAError {
        var cursor = beginning
        try cursor.skipValue()
        return cursor.failure("a token before this is not UTF-8")
    }

    /// Ends the token whose text was appended last.
    private mutating func endToken(id: Int32) throws {
        let length = text.count - Int(tokens.last?.end ?? 0)
        try check(length: length, id: id)
        guard text.count < Int(UInt32.max), count < HashIndex.mostThings else {
            throw VQAError("cannot read the vocabulary", because: "its tokens have more than 4 GB")
        }
        longest = max(longest, length)
        tokens.append(Token(end: UInt32(truncatingIfNeeded: text.count), id: id))
    }

    @inline(__always)
    private func check(length: Int, id: Int32) throws {
        guard length > Self.longestToken else { return }
        throw VQAError(
            "cannot read the vocabulary", at: "token of id \(id)",
            because: "it has \(length) bytes, more than \(Self.longestToken)")
    }

    /// The error of a token that is there twice; finds its place in the file again.
    private static func duplicate(_ number: Int, _ beginning: JSONCursor) throws -> VQAError {
        var cursor = beginning
        var ignored: [UInt8] = []
        try cursor.beginObject()
        _ = try cursor.appendNextKeyUnchecked(to: &ignored)
        for _ in 0..<number {
            try cursor.skipValue()
            _ = try cursor.appendNextKeyUnchecked(to: &ignored)
        }
        return cursor.failure("a token appears twice, for the second time before this")
    }

    /// Makes the table from ids to tokens. Call once, after the last token.
    mutating func finish(source: String) throws { numbers = try numbersByID(source: source) }

    /// By id: number of the token, or -1.
    private func numbersByID(source: String) throws -> [Int32] {
        let failed = "cannot read the vocabulary"
        guard var lowest = tokens.first?.id else { return [] }
        var highest = lowest
        for token in tokens {
            lowest = min(lowest, token.id)
            highest = max(highest, token.id)
        }
        guard lowest >= 0 else { throw VQAError(failed, at: source, because: "the id \(lowest) is negative") }
        guard Int(highest) < count * 8 + 65_536 else {
            throw VQAError(
                failed, at: source, because: "the id \(highest) is too large for \(count) tokens")
        }
        var numbers = [Int32](repeating: -1, count: Int(highest) + 1)
        for (number, token) in tokens.enumerated() {
            let id = Int(token.id)
            guard numbers[id] < 0 else {
                let names = [Int(numbers[id]), number].map { JSON.quoted(self.token(number: $0)) }
                throw VQAError(
                    failed, at: source,
                    because: "the id \(id) belongs to \(names.joined(separator: " and to "))")
            }
            numbers[id] = Int32(truncatingIfNeeded: number)
        }
        return numbers
    }

    // MARK: Looking up

    /// The hash of no bytes.
    var emptyHash: TextHash { TextHash(seed: seed) }

    /// The number of the token that is `prefix` followed by `rest`, whose hash is known.
    @inline(__always)
    func number(_ hash: TextHash, prefix: [UInt8] = [], _ rest: UnsafeBufferPointer<UInt8>) -> Int? {
        index.number(hash.value) { number in
            withBytes(number: number) { token in
                guard token.count == prefix.count + rest.count else { return false }
                for i in prefix.indices where token[i] != prefix[i] { return false }
                return TextHash.areEqual(UnsafeBufferPointer(rebasing: token[prefix.count...]), rest)
            }
        }
    }

    /// The number of a token.
    @inline(__always)
    func number(of token: UnsafeBufferPointer<UInt8>) -> Int? {
        if token.count > longest { return nil }
        return index.number(TextHash.value(of: token, seed: seed)) { isToken($0, token) }
    }

    /// A token that is searched for together with others.
    private struct Search {
        var hash: UInt64
        /// What stands in the place of its hash.
        var entry: UInt32 = 0
        /// What it probably is, -1 for nothing.
        var number: Int32 = -1
        /// Where the text of that token is.
        var start: UInt32 = 0
        var end: UInt32 = 0
    }

    /// The numbers of many tokens, -1 for those that are missing. Each step is done for all before the next, so that their
    /// waits for memory overlap.
    func numbers(of texts: [UnsafeBufferPointer<UInt8>]) -> [Int32] {
        withUnsafeTemporaryAllocation(of: Search.self, capacity: texts.count) { searches in
            for i in texts.indices {
                searches.initializeElement(
                    at: i, to: Search(hash: TextHash.value(of: texts[i], seed: seed)))
            }
            for i in texts.indices { searches[i].entry = index.entry(searches[i].hash) }
            for i in texts.indices {
                guard let number = index.candidate(searches[i].hash, searches[i].entry) else { continue }
                searches[i].number = Int32(truncatingIfNeeded: number)
                (searches[i].start, searches[i].end) = (
                    number == 0 ? 0 : tokens[number - 1].end, tokens[number].end
                )
            }
            return text.withUnsafeBufferPointer { all in
                texts.indices.map { i in
                    let search = searches[i]
                    guard search.number >= 0 else { return -1 }
                    let found = UnsafeBufferPointer(rebasing: all[Int(search.start)..<Int(search.end)])
                    if TextHash.areEqual(found, texts[i]) { return search.number }
                    return number(of: texts[i]).map { Int32(truncatingIfNeeded: $0) } ?? -1
                }
            }
        }
    }

    /// Whether the token with this number has this text; there need be no such token.
    @inline(__always)
    func isToken(_ number: Int, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        number < count && withBytes(number: number) { TextHash.areEqual($0, text) }
    }

    /// The id of a token.
    func id(for token: UnsafeBufferPointer<UInt8>) -> Int32? {
        number(of: token).map { tokens[$0].id }
    }

    /// The id of a token.
    func id(for token: String) -> Int32? {
        var token = token
        return token.withUTF8 { id(for: $0) }
    }

    /// The id of the token with this number.
    @inline(__always)
    func id(number: Int) -> Int32 { tokens[number].id }

    /// The text of the token with this number.
    func token(number: Int) -> String { withBytes(number: number) { String(decoding: $0, as: UTF8.self) } }

    /// The places between characters of a text at which it may be cut in two.
    func cuts(of token: UnsafeBufferPointer<UInt8>) -> [Int] {
        token.indices.dropFirst().filter { token[$0] & 0xC0 != 0x80 }
    }

    /// The UTF-8 of the token with this number, for as long as `body` runs.
    @inline(__always)
    func withBytes<Result>(number: Int, _ body: (UnsafeBufferPointer<UInt8>) throws -> Result) rethrows
        -> Result
    {
        try text.withUnsafeBufferPointer { text in
            try tokens.withUnsafeBufferPointer { tokens in
                try body(Texts(text: text, tokens: tokens, seed: seed)[number])
            }
        }
    }

    /// The number of the token of an id.
    func number(for id: Int) -> Int? {
        numbers.indices.contains(id) && numbers[id] >= 0 ? Int(numbers[id]) : nil
    }

    /// The token of an id.
    func token(for id: Int) -> String? { number(for: id).map(token(number:)) }
}
