/// Numbers for answers, so that each different answer goes through the normaliser once and equality is that of numbers: a
/// million annotators' answers are a few thousand texts. Texts are equal byte by byte, as ``sameBytes(_:_:)``.
struct AnswerTable {
    /// The numbers of what becomes of an answer.
    struct Entry {
        /// Of the text after ``AnswerNormaliser/stripped(_:)``.
        var stripped: Int
        /// Of that after ``normalisedAnswer(_:)``.
        var normalised: Int
    }

    /// A text of up to 15 bytes, which most answers are: its bytes, then zeros, then their
    /// number in the last byte.
    private struct ShortText: Hashable {
        var low: UInt64 = 0
        var high: UInt64 = 0

        init?(_ text: String) {
            let count = text.utf8.count
            guard count <= 15 else { return nil }
            var words: (low: UInt64, high: UInt64) = (0, 0)
            let copied: Void? = text.utf8.withContiguousStorageIfAvailable { bytes in
                withUnsafeMutableBytes(of: &words) { $0.copyMemory(from: UnsafeRawBufferPointer(bytes)) }
            }
            guard copied != nil else { return nil }
            low = words.low
            high = UInt64(littleEndian: words.high) | UInt64(count) << 56
        }

        /// A place among 4,096.
        var place: Int { Int(truncatingIfNeeded: ((low ^ high) &* 0x9E37_79B9_7F4A_7C15) >> 52) }
    }

    private var short: [ShortText: Int] = [:]
    private var long: [[UInt8]: Int] = [:]
    private var entries: [Entry?] = []
    /// The short text that was last seen at each place, and its entry: nearly all answers are found here.
    private var recent = [(text: ShortText, entry: Entry)?](repeating: nil, count: 4_096)

    /// The numbers of `text`.
    mutating func entry(of text: String) -> Entry {
        guard let short = ShortText(text) else { return entry(at: number(of: text), text) }
        if let recent = recent[short.place], recent.text == short { return recent.entry }
        let entry = entry(at: number(of: text), text)
        recent[short.place] = (short, entry)
        return entry
    }

    private mutating func entry(at number: Int, _ text: String) -> Entry {
        if let known = entries[number] { return known }
        let stripped = AnswerNormaliser.stripped(text)
        let entry = Entry(
            stripped: self.number(of: stripped), normalised: self.number(of: normalisedAnswer(stripped)))
        entries[number] = entry
        return entry
    }

    private mutating func number(of text: String) -> Int {
        if let key = ShortText(text) {
            if let known = short[key] { return known }
            short[key] = entries.count
        } else {
            let key = Array(text.utf8)
            if let known = long[key] { return known }
            long[key] = entries.count
        }
        entries.append(nil)
        return entries.count - 1
    }
}
