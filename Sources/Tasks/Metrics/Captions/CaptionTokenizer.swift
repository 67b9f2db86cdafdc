/// The tokeniser of the COCO caption evaluation (tylin/coco-caption, `ptbtokenizer.py`): Penn Treebank tokens in lower case
/// as Stanford CoreNLP 3.4.1 makes them of one line (``TreebankRules``), without punctuation.
///
/// The official program hands all captions to one process, and there a one-letter word with a full stop at the end of a
/// caption is tokenised by the first word of the next caption. Here each caption stands alone, as if a word in small letters
/// followed: scores must not depend on the order of records.
///
/// One instance serves one thread.
public final class CaptionTokenizer {
    private let automaton: LongestMatch
    /// For each rule with a tail, its head and tail alone.
    private let parts: [(head: LongestMatch, tail: LongestMatch)?]

    /// A tokeniser; the tables grow as texts need them.
    public init() {
        let rules = TreebankRules.all
        automaton = LongestMatch(rules.map { LongestMatch.Rule(head: $0.head, tail: $0.tail) })
        parts = rules.map { rule in
            rule.tail.map { tail in
                (
                    LongestMatch([LongestMatch.Rule(head: rule.head, tail: nil)]),
                    LongestMatch([LongestMatch.Rule(head: tail, tail: nil)])
                )
            }
        }
    }

    /// Tokens that the evaluation drops. After lower case the names of brackets no longer match theirs in this list, so
    /// `-lrb-` stays: a slip that scores depend on.
    private static let punctuation: Set<String> = [
        "''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";",
    ]

    /// How far a rule looks; longer tokens are cut there.
    private static let reach = 4096

    /// The tokens of `caption` that count. A line break counts as a space.
    public func tokens(of caption: String) -> [String] {
        allTokens(of: caption).filter { !Self.punctuation.contains($0) }
    }

    /// The tokens of `caption`, punctuation included, in lower case.
    public func allTokens(of caption: String) -> [String] {
        var text = Array(caption.utf16)
        for index in text.indices where text[index] == 0x0A { text[index] = 0x20 }
        text.append(0x0A)
        var tokens: [String] = []
        var position = 0
        while position < text.count - 1 {
            guard let match = automaton.longest(text, from: position, limit: Self.reach) else {
                // What no rule knows is dropped, as half a character outside the Basic Multilingual Plane is.
                position += 1
                continue
            }
            var end = min(headEnd(match.rule, text, from: position, to: match.end), text.count - 1)
            let action = TreebankRules.all[match.rule].action
            if case .split(let count) = action { end = max(position + 1, end - count) }
            if let token = token(action, text[position..<end]) { tokens.append(token.lowercased()) }
            position = max(end, position + 1)
        }
        return tokens
    }

    /// Where the token ends whose rule matched to `end` with what follows it.
    private func headEnd(_ rule: Int, _ text: [UInt16], from position: Int, to end: Int) -> Int {
        guard let (head, tail) = parts[rule] else { return end }
        let ends = head.ends(text, from: position, to: end)
        return ends.last { tail.ends(text, from: $0, to: end).last == end } ?? end
    }

    private func token(_ action: TreebankRules.Action, _ units: ArraySlice<UInt16>) -> String? {
        switch action {
        case .skip: return nil
        case .fixed(let token): return token
        case .split: return String(decoding: units, as: UTF16.self)
        case .word:
            let token = String(decoding: units.lazy.filter { $0 != 0xAD }, as: UTF16.self)
            return token.isEmpty ? "-" : token
        case .joined:
            var token = ""
            for scalar in String(decoding: units, as: UTF16.self).unicodeScalars {
                switch scalar {
                case " ": token += "\u{A0}"
                case "(": token += "-LRB-"
                case ")": token += "-RRB-"
                default: token.unicodeScalars.append(scalar)
                }
            }
            return token
        case .ampersand:
            return String(decoding: units, as: UTF16.self).replacing("&amp;", with: "&", ignoringCase: true)
        case .named:
            let text = String(decoding: units, as: UTF16.self)
            return text.unicodeScalars.first.flatMap { TreebankRules.names[$0] } ?? text
        case .quotes(let opening):
            return Self.quoted(String(decoding: units, as: UTF16.self), opening: opening)
        }
    }

    /// `text` with TeX's quotation marks for all others.
    private static func quoted(_ text: String, opening: Bool) -> String {
        if text.utf8.allSatisfy({ $0 < 0x80 && $0 != 0x22 && $0 != 0x26 && $0 != 0x27 }) { return text }
        let single = opening ? "`" : "'"
        let entities = text.replacing("&apos;", with: "'", ignoringCase: false)
            .replacing("&quot;", with: "\"", ignoringCase: false)
        var result = ""
        for scalar in entities.unicodeScalars {
            switch scalar {
            case "'": result += single
            case "\"": result += single + single
            case "\u{91}", "\u{2018}", "\u{201B}", "\u{2039}": result += "`"
            case "\u{92}", "\u{2019}", "\u{203A}": result += "'"
            case "\u{93}", "\u{201C}", "\u{AB}": result += "``"
            case "\u{94}", "\u{201D}", "\u{BB}": result += "''"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

extension String {
    /// Each `part`, an ASCII text, replaced.
    fileprivate func replacing(_ part: String, with other: String, ignoringCase: Bool) -> String {
        guard utf8.contains(UInt8(ascii: "&")) else { return self }
        let wanted = Array(part.utf8)
        let bytes = Array(utf8)
        var result: [UInt8] = []
        var index = 0
        while index < bytes.count {
            let piece = bytes[index..<min(bytes.count, index + wanted.count)]
            let isHere = piece.elementsEqual(wanted) { a, b in
                a == b || ignoringCase && a >= 0x41 && a <= 0x5A && a | 0x20 == b
            }
            result += isHere ? Array(other.utf8) : [bytes[index]]
            index += isHere ? wanted.count : 1
        }
        return String(decoding: result, as: UTF8.self)
    }
}
