/// Text as the template language counts it: one element a code point, so that lengths, slices and comparisons are those of
/// the reference, where Swift's `String` counts grapheme clusters and takes canonical equivalents for equal.
typealias Text = [Unicode.Scalar]

/// A reason why a template cannot be read or rendered; becomes a `VQAError` with the line.
struct TemplateFault: Error {
    let why: String

    init(_ why: String) { self.why = why }
}

extension Array where Element == Unicode.Scalar {
    init(_ string: String) { self = Array(string.unicodeScalars) }

    /// The same code points as a string.
    var string: String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: self)
        return String(view)
    }

    // MARK: Finding

    /// The places where `pattern` begins, without overlaps, at most `limit` of them. Linear in both lengths
    /// (Knuth, Morris, Pratt 1977), so that no text of a hostile template makes it slow.
    func places(of pattern: Text, limit: Int = .max) -> [Int] {
        guard !pattern.isEmpty, pattern.count <= count, limit > 0 else { return [] }
        var fallback = [Int](repeating: 0, count: pattern.count)
        var matched = 0
        for i in 1..<pattern.count {
            while matched > 0, pattern[i] != pattern[matched] { matched = fallback[matched - 1] }
            if pattern[i] == pattern[matched] { matched += 1 }
            fallback[i] = matched
        }
        var places: [Int] = []
        matched = 0
        for i in indices {
            while matched > 0, self[i] != pattern[matched] { matched = fallback[matched - 1] }
            if self[i] == pattern[matched] { matched += 1 }
            if matched == pattern.count {
                places.append(i + 1 - matched)
                if places.count == limit { break }
                matched = 0
            }
        }
        return places
    }

    /// The parts between the places of `separator`.
    func split(at separator: Text, limit: Int = .max) -> [Text] {
        var parts: [Text] = []
        var start = 0
        for place in places(of: separator, limit: limit) {
            parts.append(Array(self[start..<place]))
            start = place + separator.count
        }
        parts.append(Array(self[start...]))
        return parts
    }

    /// The words between runs of white space; after `limit` words the rest stays whole.
    func words(limit: Int = .max) -> [Text] {
        var words: [Text] = []
        var i = 0
        while true {
            while i < count, self[i].isTemplateSpace { i += 1 }
            guard i < count else { return words }
            if words.count == limit {
                words.append(Array(self[i...]))
                return words
            }
            let start = i
            while i < count, !self[i].isTemplateSpace { i += 1 }
            words.append(Array(self[start..<i]))
        }
    }

    /// The lines without their ends; an end at the very end begins no further line.
    func lines() -> [Text] {
        var lines: [Text] = []
        var start = 0
        var i = 0
        while i < count {
            guard self[i].endsTemplateLine else {
                i += 1
                continue
            }
            lines.append(Array(self[start..<i]))
            i += self[i] == "\r" && i + 1 < count && self[i + 1] == "\n" ? 2 : 1
            start = i
        }
        if start < count { lines.append(Array(self[start...])) }
        return lines
    }

    // MARK: Changing

    /// Without the code points at both ends, or one of them, that `isStripped` accepts.
    func stripped(start: Bool = true, end: Bool = true, _ isStripped: (Unicode.Scalar) -> Bool) -> Text {
        var low = 0
        var high = count
        if start { while low < high, isStripped(self[low]) { low += 1 } }
        if end { while high > low, isStripped(self[high - 1]) { high -= 1 } }
        return low == 0 && high == count ? self : Array(self[low..<high])
    }

    func joined(_ parts: [Text]) -> Text {
        var result: Text = []
        for (index, part) in parts.enumerated() {
            if index > 0 { result += self }
            result += part
        }
        return result
    }

    /// In capitals, by the full mapping: one letter may become several.
    func uppercased() -> Text { flatMap { $0.properties.uppercaseMapping.unicodeScalars } }

    /// In small letters; a capital sigma at the end of a word becomes the final one.
    func lowercased() -> Text { indices.flatMap { lowercase(at: $0) } }

    /// The first letter large, all others small.
    func capitalized() -> Text {
        indices.flatMap {
            $0 == 0 ? Array(self[0].properties.titlecaseMapping.unicodeScalars) : lowercase(at: $0)
        }
    }

    /// The first letter of every run of letters large, all others small.
    func titled() -> Text {
        var insideWord = false
        return indices.flatMap { index in
            let scalar = self[index]
            defer { insideWord = scalar.properties.isCased }
            return insideWord
                ? lowercase(at: index) : Array(scalar.properties.titlecaseMapping.unicodeScalars)
        }
    }

    private func lowercase(at index: Int) -> Text {
        guard self[index] == "\u{3A3}" else {
            return Array(self[index].properties.lowercaseMapping.unicodeScalars)
        }
        let before = self[..<index].last { !$0.properties.isCaseIgnorable }
        let after = self[(index + 1)...].first { !$0.properties.isCaseIgnorable }
        let isFinal = before?.properties.isCased == true && after?.properties.isCased != true
        return [isFinal ? "\u{3C2}" : "\u{3C3}"]
    }
}

extension Unicode.Scalar {
    /// White space to the reference: the separators of Unicode and the control characters of ASCII that separate.
    var isTemplateSpace: Bool {
        switch value {
        case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F,
            0x3000:
            true
        default: false
        }
    }

    /// Ends a line to the reference.
    var endsTemplateLine: Bool {
        switch value {
        case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
        default: false
        }
    }

    /// Shown as it is, where the reference writes a text with its quotes.
    var isTemplatePrintable: Bool {
        switch properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator:
            false
        case .spaceSeparator: self == " "
        default: true
        }
    }
}

/// `value` in hexadecimal digits, at least `width` of them.
func hexadecimal(_ value: UInt32, width: Int) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
}
