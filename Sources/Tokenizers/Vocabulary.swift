import Support

/// The tokens of a model: text to id and back.
///
/// All texts lie in one array of bytes and are found through an open-addressing hash table, so that reading a
/// large vocabulary makes no object per token. The hash can be continued byte by byte, which gives the hashes
/// of all prefixes of a word in one pass.
struct Vocabulary: Sendable {
    /// Tokens longer than this are refused: matching costs time in proportion to the longest token.
    static let longestToken = 4096

    /// The UTF-8 of all tokens, one after the other.
    private var text: [UInt8] = []
    /// Where each token ends in `text`; it starts where the one before ends.
    private var ends: [UInt32] = []
    private var ids: [Int32] = []
    /// Upper half: the upper half of the hash. Lower half: number of the token plus one; 0 is a free place.
    private var places: [UInt64]
    /// By id: number of the token, or -1.
    private var numbers: [Int32] = []
    /// Differs from table to table, so that no file can be made whose tokens all collide.
    private let seed: UInt64
    /// The length of the longest token in bytes.
    private(set) var longest = 0

    /// The number of tokens.
    var count: Int { ids.count }

    /// - Parameter expected: a guess of the number of tokens.
    init(expected: Int = 0) {
        var capacity = 64
        while capacity < min(expected, 1 << 22) * 2 { capacity *= 2 }
        places = Array(repeating: 0, count: capacity)
        seed = UInt64.random(in: 1 ... .max)
        ids.reserveCapacity(min(expected, 1 << 22))
        ends.reserveCapacity(min(expected, 1 << 22))
    }

    // MARK: Building

    /// Adds a token; false when it is there already.
    mutating func insert(_ token: some Collection<UInt8>, id: Int32) throws -> Bool {
        guard token.count <= Self.longestToken else {
            throw VQAError(
                "cannot read the vocabulary", at: "token of id \(id)",
                because: "it has \(token.count) bytes, more than \(Self.longestToken)")
        }
        let start = text.count
        text.append(contentsOf: token)
        guard text.count < Int(UInt32.max) else {
            throw VQAError("cannot read the vocabulary", because: "its tokens have more than 4 GB")
        }
        let (hash, place) = text.withUnsafeBufferPointer { all in
            let added = UnsafeBufferPointer(rebasing: all[start...])
            var hash = seed
            for byte in added { hash = Self.step(hash, byte) }
            return (hash, freePlace(hash, added))
        }
        guard let place else {
            text.removeLast(text.count - start)
            return false
        }
        longest = max(longest, text.count - start)
        ends.append(UInt32(text.count))
        ids.append(id)
        places[place] = hash & ~0xFFFF_FFFF | UInt64(ids.count)
        if ids.count * 2 > places.count { grow() }
        return true
    }

    /// Changes the id of the token that was added last.
    mutating func setLastID(_ id: Int32) {
        if !ids.isEmpty { ids[ids.count - 1] = id }
    }

    /// Makes the table from ids to tokens. Call once, after the last token.
    mutating func finish(source: String) throws {
        let failed = "cannot read the vocabulary"
        guard let lowest = ids.min(), let highest = ids.max() else { return }
        guard lowest >= 0 else { throw VQAError(failed, at: source, because: "the id \(lowest) is negative") }
        guard Int(highest) < ids.count * 8 + 65_536 else {
            throw VQAError(
                failed, at: source, because: "the id \(highest) is too large for \(ids.count) tokens")
        }
        numbers = Array(repeating: -1, count: Int(highest) + 1)
        for (number, id) in ids.enumerated() {
            guard numbers[Int(id)] < 0 else {
                let names = [Int(numbers[Int(id)]), number].map { JSON.quoted(token(number: $0)) }
                throw VQAError(
                    failed, at: source,
                    because: "the id \(id) belongs to \(names.joined(separator: " and to "))")
            }
            numbers[Int(id)] = Int32(number)
        }
    }

    /// The free place for a new token, or nil when it is there already.
    private func freePlace(_ hash: UInt64, _ token: UnsafeBufferPointer<UInt8>) -> Int? {
        let mask = places.count - 1
        var place = Self.home(hash, mask)
        while places[place] != 0 {
            if matches(places[place], hash, prefix: [], token) { return nil }
            place = (place + 1) & mask
        }
        return place
    }

    private mutating func grow() {
        let mask = places.count * 2 - 1
        var larger = [UInt64](repeating: 0, count: places.count * 2)
        for entry in places where entry != 0 {
            var place = Self.home(entry, mask)
            while larger[place] != 0 { place = (place + 1) & mask }
            larger[place] = entry
        }
        places = larger
    }

    // MARK: Looking up

    /// The hash of no bytes.
    var emptyHash: UInt64 { seed }

    /// The hash of the bytes so far and one more: FNV-1a with a seed, and its high bits mixed into the low
    /// ones.
    @inline(__always)
    static func step(_ hash: UInt64, _ byte: UInt8) -> UInt64 { (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }

    /// Where the search for a hash begins. It depends on the upper half of the hash only, which the table
    /// keeps.
    @inline(__always)
    private static func home(_ hash: UInt64, _ mask: Int) -> Int {
        Int(truncatingIfNeeded: ((hash >> 32) &* 0x9e37_79b9_7f4a_7c15) >> 32) & mask
    }

    /// The number of the token that is `prefix` followed by `rest`, whose hash is known.
    @inline(__always)
    func number(_ hash: UInt64, prefix: [UInt8], _ rest: UnsafeBufferPointer<UInt8>) -> Int? {
        let mask = places.count - 1
        var place = Self.home(hash, mask)
        while places[place] != 0 {
            if matches(places[place], hash, prefix: prefix, rest) {
                return Int(places[place] & 0xFFFF_FFFF) - 1
            }
            place = (place + 1) & mask
        }
        return nil
    }

    @inline(__always)
    private func matches(
        _ entry: UInt64, _ hash: UInt64, prefix: [UInt8], _ rest: UnsafeBufferPointer<UInt8>
    ) -> Bool {
        guard entry >> 32 == hash >> 32 else { return false }
        let range = self.range(number: Int(entry & 0xFFFF_FFFF) - 1)
        guard range.count == prefix.count + rest.count else { return false }
        var i = range.lowerBound
        for byte in prefix {
            if text[i] != byte { return false }
            i += 1
        }
        for byte in rest {
            if text[i] != byte { return false }
            i += 1
        }
        return true
    }

    private func range(number: Int) -> Range<Int> {
        (number == 0 ? 0 : Int(ends[number - 1]))..<Int(ends[number])
    }

    /// The id of the token with this number.
    func id(number: Int) -> Int32 { ids[number] }

    /// The text of the token with this number.
    func token(number: Int) -> String { String(decoding: text[range(number: number)], as: UTF8.self) }

    /// The id of a token.
    func id(for token: String) -> Int32? {
        var token = token
        return token.withUTF8 { id(for: $0) }
    }

    /// The id of a token.
    func id(for token: UnsafeBufferPointer<UInt8>) -> Int32? {
        if token.count > longest { return nil }
        var hash = seed
        for byte in token { hash = Self.step(hash, byte) }
        return number(hash, token).map { ids[$0] }
    }

    /// The number of a token.
    func number(of token: UnsafeBufferPointer<UInt8>) -> Int? {
        if token.count > longest { return nil }
        return number(token.reduce(seed, Self.step), token)
    }

    /// The places between characters of a text at which it may be cut in two.
    func cuts(of token: UnsafeBufferPointer<UInt8>) -> [Int] {
        token.indices.dropFirst().filter { token[$0] & 0xC0 != 0x80 }
    }

    /// The UTF-8 of the token with this number, for as long as `body` runs.
    func withBytes<Result>(number: Int, _ body: (UnsafeBufferPointer<UInt8>) throws -> Result) rethrows
        -> Result
    {
        try text.withUnsafeBufferPointer {
            try body(UnsafeBufferPointer(rebasing: $0[range(number: number)]))
        }
    }

    /// The number of the token of an id.
    func number(for id: Int) -> Int? {
        numbers.indices.contains(id) && numbers[id] >= 0 ? Int(numbers[id]) : nil
    }

    /// Whether the token with this number is `first` followed by `second`. For guesses.
    @inline(__always)
    func isToken(_ number: Int, _ first: UnsafeBufferPointer<UInt8>, _ second: UnsafeBufferPointer<UInt8>)
        -> Bool
    {
        guard number < count else { return false }
        let range = self.range(number: number)
        guard range.count == first.count + second.count else { return false }
        return text.withUnsafeBufferPointer { text in
            for i in 0..<first.count where text[range.lowerBound + i] != first[i] { return false }
            let middle = range.lowerBound + first.count
            for i in 0..<second.count where text[middle + i] != second[i] { return false }
            return true
        }
    }

    /// The number of the token whose hash is known.
    @inline(__always)
    private func number(_ hash: UInt64, _ token: UnsafeBufferPointer<UInt8>) -> Int? {
        number(hash, prefix: [], token)
    }

    /// The token of an id.
    func token(for id: Int) -> String? {
        guard numbers.indices.contains(id), numbers[id] >= 0 else { return nil }
        return token(number: Int(numbers[id]))
    }
}
