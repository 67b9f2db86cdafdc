import Synchronization

/// Remembers the tokens of words. It has a fixed size: a new word takes the place of an old one, and when the
/// store of texts and tokens is full, all are forgotten.
final class WordCache: Sendable {
    let state = Mutex(State(capacity: 1 << 14))

    /// Longer words are not remembered.
    private static let longestWord = 64
    private static let mostBytes = 1 << 19
    private static let mostTokens = 1 << 17

    /// A word: where its text and its tokens lie.
    private struct Entry {
        var hash: UInt64 = 0
        var text: UInt32 = 0
        var tokens: UInt32 = 0
        var length: UInt16 = 0
        var count: UInt16 = 0
    }

    /// A token of a word, its end counted from the word's beginning.
    private struct Token {
        var id: Int32
        var start: UInt16
        var end: UInt16
    }

    struct State: Sendable {
        /// The word that is merged at the moment, kept for its memory.
        var word = MergingWord()
        private var entries: [Entry]
        private var text: [UInt8] = []
        private var tokens: [Token] = []

        /// - Parameter capacity: a power of two.
        init(capacity: Int) { entries = Array(repeating: Entry(), count: capacity) }

        /// Appends the tokens of a word that is known; false for another.
        @inline(__always)
        func append(
            _ word: UnsafeBufferPointer<UInt8>, _ hash: UInt64, at place: Int, to result: inout [PieceToken]
        ) -> Bool {
            let entry = entries[Int(truncatingIfNeeded: hash) & (entries.count - 1)]
            guard entry.hash == hash, Int(entry.length) == word.count, entry.count > 0 else { return false }
            let start = Int(entry.text)
            for i in 0..<word.count where text[start + i] != word[i] { return false }
            for token in tokens[Int(entry.tokens)..<(Int(entry.tokens) + Int(entry.count))] {
                result.append(
                    PieceToken(id: token.id, start: place + Int(token.start), end: place + Int(token.end)))
            }
            return true
        }

        mutating func insert(
            _ word: UnsafeBufferPointer<UInt8>, _ hash: UInt64, _ found: ArraySlice<PieceToken>, at place: Int
        ) {
            guard word.count <= longestWord, !found.isEmpty else { return }
            if text.count + word.count > mostBytes || tokens.count + found.count > mostTokens {
                text.removeAll(keepingCapacity: true)
                tokens.removeAll(keepingCapacity: true)
                for index in entries.indices { entries[index].count = 0 }
            }
            entries[Int(truncatingIfNeeded: hash) & (entries.count - 1)] = Entry(
                hash: hash, text: UInt32(text.count), tokens: UInt32(tokens.count),
                length: UInt16(word.count), count: UInt16(found.count))
            text.append(contentsOf: word)
            for token in found {
                tokens.append(
                    Token(
                        id: token.id, start: UInt16(truncatingIfNeeded: token.start - place),
                        end: UInt16(truncatingIfNeeded: token.end - place)))
            }
        }
    }

    /// A hash of a word, eight bytes at a time. It decides only where a word is looked for.
    @inline(__always)
    static func hash(_ word: UnsafeBufferPointer<UInt8>) -> UInt64 {
        guard word.count <= longestWord else { return 0 }
        var hash = UInt64(word.count) &* 0x9e37_79b9_7f4a_7c15
        var i = 0
        let raw = UnsafeRawBufferPointer(word)
        while i + 8 <= word.count {
            hash = (hash ^ raw.loadUnaligned(fromByteOffset: i, as: UInt64.self)) &* 0xff51_afd7_ed55_8ccd
            hash ^= hash >> 32
            i += 8
        }
        var rest: UInt64 = 0
        while i < word.count {
            rest = rest << 8 | UInt64(word[i])
            i += 1
        }
        hash = (hash ^ rest) &* 0xc4ce_b9fe_1a85_ec53
        return hash ^ hash >> 29
    }
}
