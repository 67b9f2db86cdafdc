import Support

/// A token beside those of the model: it is found in the text as a whole, before the model sees it.
public struct AddedToken: Sendable, Equatable {
    /// The text of the token.
    public var content: String
    /// Left out when decoding without special tokens.
    public var isSpecial: Bool
    /// Found only where no word character stands beside it.
    public var isSingleWord: Bool
    /// Takes the white space before it along.
    public var stripsLeft: Bool
    /// Takes the white space after it along.
    public var stripsRight: Bool
    /// Searched for in the normalised text, itself normalised; otherwise in the original.
    public var isNormalized: Bool

    /// A token with this text. Special tokens are not normalised unless asked.
    public init(
        _ content: String, isSpecial: Bool = false, isSingleWord: Bool = false, stripsLeft: Bool = false,
        stripsRight: Bool = false, isNormalized: Bool? = nil
    ) {
        self.content = content
        self.isSpecial = isSpecial
        self.isSingleWord = isSingleWord
        self.stripsLeft = stripsLeft
        self.stripsRight = stripsRight
        self.isNormalized = isNormalized ?? !isSpecial
    }
}

/// All added tokens, with what finds them.
///
/// Texts are compared byte by byte: Swift takes strings that are canonically equivalent for equal, a
/// vocabulary does not.
struct AddedTokens: Sendable {
    /// By the UTF-8 of the content.
    private(set) var ids: [[UInt8]: Int32] = [:]
    private var tokens: [Int32: AddedToken] = [:]
    /// What an id is decoded to: the content, normalised for tokens that are searched for in normalised text.
    private(set) var texts: [Int32: String] = [:]
    /// The ids that are left out when decoding without special tokens.
    private(set) var specialIDs: Set<Int32> = []
    private var highestID: Int32 = -1
    /// In the order in which they were added, special ones first.
    private var specials: [AddedToken] = []
    private var others: [AddedToken] = []
    /// Find the tokens in the original and in the normalised text.
    private(set) var original = TokenMatcher()
    private(set) var normalized = TokenMatcher()

    func id(for content: String) -> Int32? { ids[Array(content.utf8)] }

    /// Adds tokens: one that the model has keeps its id, another gets the next free one. Returns the ids.
    mutating func add(_ added: [AddedToken], vocabulary: Vocabulary, normalizer: Normalizer?) throws -> [Int]
    {
        var newIDs: [Int] = []
        for token in added {
            guard !token.content.isEmpty else {
                throw VQAError("cannot add a token", because: "its text is empty")
            }
            let id = id(for: token.content) ?? vocabulary.id(for: token.content) ?? nextID(vocabulary)
            newIDs.append(Int(id))
            ids[Array(token.content.utf8)] = id
            tokens[id] = token
            highestID = max(highestID, id)
            if token.isSpecial { specials.append(token) } else { others.append(token) }
        }
        try makeMatchers(normalizer)
        return newIDs
    }

    /// One after the highest added id, but at least the size of the vocabulary.
    private func nextID(_ vocabulary: Vocabulary) -> Int32 {
        max(Int32(truncatingIfNeeded: vocabulary.count), highestID + 1)
    }

    private mutating func makeMatchers(_ normalizer: Normalizer?) throws {
        original = TokenMatcher()
        normalized = TokenMatcher()
        let specialContents = Set(specials.map { Array($0.content.utf8) })
        for token in specials + others {
            guard let id = ids[Array(token.content.utf8)], let rules = tokens[id] else { continue }
            var text = Array(token.content.utf8)
            if rules.isNormalized, let normalizer { text = try normalizer.apply(to: token.content) }
            texts[id] = String(decoding: text, as: UTF8.self)
            if specialContents.contains(text) { specialIDs.insert(id) } else { specialIDs.remove(id) }
            if rules.isNormalized {
                try normalized.insert(text, id: id, rules)
            } else {
                try original.insert(text, id: id, rules)
            }
        }
    }
}

/// Finds tokens in a text: the leftmost, and of those that begin there the longest.
struct TokenMatcher: Sendable {
    /// A stretch of the text: a token, or what lies between two.
    struct Match: Equatable {
        var range: Range<Int>
        var id: Int32?
    }

    private var vocabulary = Vocabulary()
    private var rules: [Int32: AddedToken] = [:]
    /// For each byte, whether a token begins with it.
    private var firstBytes = [Bool](repeating: false, count: 256)

    var isEmpty: Bool { vocabulary.count == 0 }

    /// Adds a token; the first of two with the same text is kept.
    mutating func insert(_ text: [UInt8], id: Int32, _ token: AddedToken) throws {
        guard let first = text.first, try vocabulary.insert(text, id: id) else { return }
        firstBytes[Int(first)] = true
        rules[id] = token
    }

    /// Cuts the text into stretches that cover it; none is empty unless the text is.
    func matches(in text: UnsafeBufferPointer<UInt8>) -> [Match] {
        var result: [Match] = []
        var done = 0
        var i = 0
        while i < text.count {
            guard firstBytes[Int(text[i])], let found = longest(in: text, from: i),
                let rules = rules[found.id]
            else {
                i += 1
                continue
            }
            var range = i..<found.end
            i = found.end
            if rules.isSingleWord, Self.touchesWord(text, range) { continue }
            if rules.stripsLeft {
                range = max(done, Self.spaceStart(text, range.lowerBound))..<range.upperBound
            }
            if rules.stripsRight { range = range.lowerBound..<Self.spaceEnd(text, range.upperBound) }
            if done < range.lowerBound { result.append(Match(range: done..<range.lowerBound, id: nil)) }
            result.append(Match(range: range, id: found.id))
            done = range.upperBound
            i = max(i, done)
        }
        if done < text.count || result.isEmpty { result.append(Match(range: done..<text.count, id: nil)) }
        return result
    }

    private func longest(in text: UnsafeBufferPointer<UInt8>, from start: Int) -> (id: Int32, end: Int)? {
        var best: (id: Int32, end: Int)?
        var hash = vocabulary.emptyHash
        for i in start..<min(text.count, start + vocabulary.longest) {
            hash.add(text[i])
            let candidate = UnsafeBufferPointer(rebasing: text[start...i])
            if let number = vocabulary.number(hash, candidate) {
                best = (vocabulary.id(number: number), i + 1)
            }
        }
        return best
    }

    private static func touchesWord(_ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> Bool {
        let classes = ScalarClasses.shared
        if range.lowerBound > 0 {
            var before = scalarStart(text, before: range.lowerBound)
            if classes[decodeScalar(text, &before)].contains(.word) { return true }
        }
        var after = range.upperBound
        return after < text.count && classes[decodeScalar(text, &after)].contains(.word)
    }

    private static func spaceStart(_ text: UnsafeBufferPointer<UInt8>, _ end: Int) -> Int {
        var start = end
        while start > 0 {
            let previous = scalarStart(text, before: start)
            var i = previous
            guard ScalarClasses.shared[decodeScalar(text, &i)].contains(.whiteSpace) else { break }
            start = previous
        }
        return start
    }

    private static func spaceEnd(_ text: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int {
        var end = start
        while end < text.count {
            var i = end
            guard ScalarClasses.shared[decodeScalar(text, &i)].contains(.whiteSpace) else { break }
            end = i
        }
        return end
    }

    private static func scalarStart(_ text: UnsafeBufferPointer<UInt8>, before end: Int) -> Int {
        var start = end - 1
        while start > 0, text[start] & 0xC0 == 0x80 { start -= 1 }
        return start
    }
}
