/// The answer normaliser of the VQA challenge's evaluation program (GT-Vision-Lab/VQA, `vqaEval.py`), with
/// its quirks, because published figures have them too. DVP (spec 5.4), LIVE and ViLT use the same procedure
/// for training answers. It works on bytes: all marks are ASCII.
///
/// 1. ``withoutPunctuation(_:)``
/// 2. ``withoutArticles(_:)``
///
/// Examples: `The 1,000 dogs.` → `1000 dogs`, `U.S.A.` → `usa`, `two cats` → `2 cats`, `dont` → `don't`.
public func normalisedAnswer(_ text: String) -> String {
    // Nine answers in ten are one word of small letters or digits.
    if text.allBytes(AnswerNormaliser.isPlain) { return AnswerNormaliser.replacement(of: text) }
    return AnswerNormaliser.withoutArticles(AnswerNormaliser.withoutPunctuation(text))
}

/// The two steps of the normaliser.
public enum AnswerNormaliser {
    /// Marks that become a space, or vanish when the text has the same mark beside a space, or has a digit, a
    /// comma and a digit in a row anywhere.
    private static let marks = Array(#";/[]"{}()=+\_-><@`,?!"#.utf8)

    private static let isMark: [Bool] = {
        var table = [Bool](repeating: false, count: 256)
        for mark in marks { table[Int(mark)] = true }
        return table
    }()

    /// The official program passes a flag where the substitution takes its maximal count, and the flag's
    /// value is 32.
    private static let maximumFullStops = 32

    /// The punctuation step: ``marks`` vanish or become spaces, and full stops that no digit follows vanish
    /// (the first 32 of them).
    public static func withoutPunctuation(_ text: String) -> String {
        guard text.utf8.contains(where: { isMark[Int($0)] || $0 == UInt8(ascii: ".") }) else { return text }
        let bytes = Array(text.utf8)
        let vanishAll = hasGroupedDigits(bytes)
        var vanish = isMark
        for mark in marks where !vanishAll { vanish[Int(mark)] = standsBesideSpace(mark, in: bytes) }

        var kept: [UInt8] = []
        kept.reserveCapacity(bytes.count)
        for byte in bytes {
            if !isMark[Int(byte)] {
                kept.append(byte)
            } else if !vanish[Int(byte)] {
                kept.append(space)
            }
        }
        return withoutFullStops(kept)
    }

    private static func withoutFullStops(_ bytes: [UInt8]) -> String {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var removed = 0
        for (index, byte) in bytes.enumerated() {
            if byte == UInt8(ascii: "."), removed < maximumFullStops, !startsWithDigit(bytes[(index + 1)...])
            {
                removed += 1
            } else {
                result.append(byte)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    private static let space = UInt8(ascii: " ")

    private static func standsBesideSpace(_ mark: UInt8, in bytes: [UInt8]) -> Bool {
        for index in bytes.indices.dropFirst() {
            let pair = (bytes[index - 1], bytes[index])
            if pair == (mark, space) || pair == (space, mark) { return true }
        }
        return false
    }

    /// True when a digit, a comma and a digit follow each other.
    private static func hasGroupedDigits(_ bytes: [UInt8]) -> Bool {
        for index in bytes.indices where bytes[index] == UInt8(ascii: ",") {
            if endsWithDigit(bytes[..<index]), startsWithDigit(bytes[(index + 1)...]) { return true }
        }
        return false
    }

    /// Python's `\d` at the start of UTF-8 bytes: a decimal digit of any script.
    private static func startsWithDigit(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard let first = bytes.first else { return false }
        if first < 0x80 { return isASCIIDigit(first) }
        return String(decoding: bytes.prefix(4), as: UTF8.self).unicodeScalars.first.map(isDigit) ?? false
    }

    private static func endsWithDigit(_ bytes: ArraySlice<UInt8>) -> Bool {
        guard let last = bytes.last else { return false }
        if last < 0x80 { return isASCIIDigit(last) }
        return String(decoding: bytes.suffix(4), as: UTF8.self).unicodeScalars.last.map(isDigit) ?? false
    }

    /// A small letter or a digit: nothing that either step looks at.
    static func isPlain(_ byte: UInt8) -> Bool {
        isASCIIDigit(byte) || (byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z"))
    }

    private static func isASCIIDigit(_ byte: UInt8) -> Bool {
        byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
    }

    private static func isDigit(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.numericType == .decimal
    }

    /// The word step: lower case; number words to ten become digits; `a`, `an` and `the` vanish; apostrophes
    /// come back into contractions; words are joined by single spaces.
    public static func withoutArticles(_ text: String) -> String {
        withoutArticles(text, replacing: replacement)
    }

    /// The word step with another table of replacements.
    static func withoutArticles(_ text: String, replacing replacement: (String) -> String) -> String {
        var result = ""
        func add(_ word: String) {
            let word = replacement(word)
            if word.isEmpty { return }
            if !result.isEmpty { result += " " }
            result += word
        }
        var lower = text.lowercased()
        let isASCII = lower.withUTF8 { bytes in
            guard bytes.allSatisfy({ $0 < 0x80 }) else { return false }
            // The common case; bytes are much cheaper to split than scalars.
            for word in bytes.split(whereSeparator: { isSpace(Unicode.Scalar($0)) }) {
                add(String(decoding: word, as: UTF8.self))
            }
            return true
        }
        if !isASCII {
            for word in lower.unicodeScalars.split(whereSeparator: isSpace) { add(String(word)) }
        }
        return result
    }

    /// What takes the place of a word in lower case; nothing for an article.
    static func replacement(of word: String) -> String {
        guard let first = word.utf8.first, mayBeReplaced[shape(first, word.utf8.count)] else { return word }
        return replacements[word] ?? word
    }

    /// First letter and length of a word as one number: most words have a pair that no key has.
    private static func shape(_ first: UInt8, _ count: Int) -> Int { Int(first) << 5 | min(count, 31) }

    /// By ``shape(_:_:)``, whether some key has it.
    private static let mayBeReplaced: [Bool] = {
        var table = [Bool](repeating: false, count: 256 << 5)
        for key in replacements.keys {
            if let first = key.utf8.first { table[shape(first, key.utf8.count)] = true }
        }
        return table
    }()

    /// White space as Python's `split` and `strip` see it: Unicode's, and four separators of ASCII.
    static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x20, 0x09...0x0D, 0x1C...0x1F: true
        case ..<0x80: false
        default: scalar.properties.isWhitespace
        }
    }

    /// Line breaks and tabs become spaces, white space at the ends goes.
    static func stripped(_ text: String) -> String {
        // Answers are short words: most have no white space at all.
        if text.allBytes({ $0 > 0x20 && $0 < 0x7F }) { return text }
        var scalars = Substring(text).unicodeScalars
        while let first = scalars.first, isSpace(first) { scalars.removeFirst() }
        while let last = scalars.last, isSpace(last) { scalars.removeLast() }
        var spaced = String.UnicodeScalarView()
        for scalar in scalars { spaced.append(scalar == "\n" || scalar == "\t" ? " " : scalar) }
        return String(spaced)
    }

    // MARK: Words that are replaced

    private static let numberWords = [
        "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6",
        "seven": "7", "eight": "8", "nine": "9", "ten": "10",
    ]

    /// Forms whose key is the form without its apostrophe.
    private static let simpleForms = """
        ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd
        how'll how's isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock
        oughtn't shan't should've shouldn't somebody'll somebody's someone'd someone'll someone's
        something'd something'll that's there'd there're there's they'd they'll they're they've 'twas wasn't
        we've weren't what'll what're what's what've when's where'd where's where've who'd who'll who's
        who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
        """

    /// Forms with several apostrophes: each key lacks exactly one of them.
    private static let compoundForms = """
        couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've
        something'd've there'd've they'd've we'd've who'd've wouldn't've you'd've y'all'll y'all'd've 'ow's'at
        """

    /// Word → what takes its place: digits, nothing for an article, a contraction with its apostrophes. Keys
    /// with a capital letter of the official table are left out, because the text is in lower case when they
    /// are looked up.
    private static let replacements: [String: String] = {
        var table = numberWords
        for article in ["a", "an", "the"] { table[article] = "" }
        // A slip of the official table that scores depend on.
        table["somebody'd"] = "somebodyd"
        for form in simpleForms.split(whereSeparator: \.isWhitespace).map(String.init) {
            table[form.filter { $0 != "'" }] = form
        }
        for form in compoundForms.split(whereSeparator: \.isWhitespace).map(String.init) {
            for index in form.indices where form[index] == "'" {
                var key = form
                key.remove(at: index)
                table[key] = form
            }
        }
        return table
    }()
}
