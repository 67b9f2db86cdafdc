/// Numbers for keys, in the order of their first use. Open addressing: keys are 64 bits wide, and looking one up is all
/// that is done a million times.
struct KeyTable {
    private var keys: [UInt64]
    private var values: [Int32]
    private(set) var count = 0

    init() {
        keys = [UInt64](repeating: 0, count: 1024)
        values = [Int32](repeating: -1, count: 1024)
    }

    /// The number of `key`, a new one when it was not seen before.
    mutating func number(of key: UInt64) -> Int32 {
        if 2 * count >= keys.count { grow() }
        let place = place(of: key)
        if values[place] < 0 {
            keys[place] = key
            values[place] = Int32(count)
            count += 1
        }
        return values[place]
    }

    private func place(of key: UInt64) -> Int {
        let mask = keys.count - 1
        var hash = key &* 0x9E37_79B9_7F4A_7C15
        hash ^= hash >> 32
        var place = Int(truncatingIfNeeded: hash) & mask
        while values[place] >= 0, keys[place] != key { place = (place + 1) & mask }
        return place
    }

    private mutating func grow() {
        let old = (keys, values)
        keys = [UInt64](repeating: 0, count: 2 * old.0.count)
        values = [Int32](repeating: -1, count: 2 * old.0.count)
        for (key, value) in zip(old.0, old.1) where value >= 0 {
            let place = place(of: key)
            keys[place] = key
            values[place] = value
        }
    }
}

/// How often each n-gram occurs in a caption, in the order of the n-grams' numbers.
struct GramCounts {
    var grams: [Int32] = []
    var counts: [Int32] = []

    init(_ occurrences: [Int32]) {
        for gram in occurrences.sorted() {
            if gram == grams.last {
                counts[counts.count - 1] += 1
            } else {
                grams.append(gram)
                counts.append(1)
            }
        }
    }
}

/// A caption as numbers.
struct CountedCaption {
    /// The tokens: what ROUGE-L compares. A caption without tokens has the empty one, as in the official program.
    var tokens: [Int32]
    /// The number of words. A token such as `1 1/2` is one token and two words.
    var length: Int
    /// The counts of 1- to 4-grams of words.
    var grams: [GramCounts]
}

/// The captions of a data set as numbers, so that words and n-grams are compared as integers.
struct CaptionCounts {
    /// The candidates, one for each sample.
    private(set) var candidates: [CountedCaption] = []
    /// The references of each sample.
    private(set) var references: [[CountedCaption]] = []
    private var words: [String: Int32] = [:]
    private var tables = [KeyTable](repeating: KeyTable(), count: 4)

    /// The number of different n-grams of `order` + 1 words.
    func gramCount(_ order: Int) -> Int { tables[order].count }

    /// Counts captions that are tokens joined by single spaces.
    init(candidates: [[String]], references: [[[String]]]) {
        self.candidates = candidates.map { count($0) }
        self.references = references.map { $0.map { count($0) } }
    }

    private mutating func number(of word: String) -> Int32 {
        if let known = words[word] { return known }
        let number = Int32(words.count)
        words[word] = number
        return number
    }

    private mutating func count(_ tokens: [String]) -> CountedCaption {
        var numbers: [Int32] = []
        var wordNumbers: [Int32] = []
        numbers.reserveCapacity(tokens.count)
        for token in tokens {
            let whole = number(of: token)
            numbers.append(whole)
            if token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) {
                wordNumbers.append(whole)
            } else {
                for part in token.unicodeScalars.split(whereSeparator: AnswerNormaliser.isSpace) {
                    wordNumbers.append(number(of: String(part)))
                }
            }
        }
        if numbers.isEmpty { numbers = [number(of: "")] }
        return CountedCaption(tokens: numbers, length: wordNumbers.count, grams: grams(of: wordNumbers))
    }

    /// An n-gram is the (n−1)-gram before its last word, and that word: two numbers of 32 bits.
    private mutating func grams(of words: [Int32]) -> [GramCounts] {
        var current = words.map { tables[0].number(of: UInt64(UInt32(bitPattern: $0))) }
        var result = [GramCounts(current)]
        for order in 1..<4 {
            guard words.count > order else {
                result.append(GramCounts([]))
                continue
            }
            current = (0..<(words.count - order)).map { index in
                let key = UInt64(UInt32(bitPattern: current[index])) << 32
                return tables[order].number(of: key | UInt64(UInt32(bitPattern: words[index + order])))
            }
            result.append(GramCounts(current))
        }
        return result
    }
}
