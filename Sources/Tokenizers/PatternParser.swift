import Support

/// A set of Unicode scalars, as a regular expression spells it: `a`, `\s`, `[^\r\n\p{L}]`.
struct ScalarSet: Sendable, Hashable {
    /// Scalars that are named one by one or as a range.
    struct Range: Sendable, Hashable {
        var first: UInt32
        var last: UInt32
    }

    var ranges: [Range] = []
    /// Scalars of any of these are in the set.
    var categories: ScalarCategory = []
    /// Scalars that have none of these are in the set, for each of the members.
    var complements: [ScalarCategory] = []
    /// The set is all but that.
    var isNegated = false

    init() {}

    init(_ first: UInt32, _ last: UInt32) { ranges = [Range(first: first, last: last)] }

    init(_ categories: ScalarCategory, isNegated: Bool) {
        if isNegated { complements = [categories] } else { self.categories = categories }
    }

    /// Whether a scalar of this category is in the set.
    func contains(_ scalar: UInt32, _ category: ScalarCategory) -> Bool {
        let isNamed =
            ranges.contains { $0.first <= scalar && scalar <= $0.last }
            || !categories.isDisjoint(with: category)
            || complements.contains { $0.isDisjoint(with: category) }
        return isNamed != isNegated
    }

    fileprivate mutating func formUnion(_ other: ScalarSet) {
        ranges += other.ranges
        categories.formUnion(other.categories)
        complements += other.complements
    }

    /// Adds the other case of ASCII letters, and the two other scalars whose case folds to one.
    fileprivate mutating func ignoreCase() {
        for range in ranges {
            for (lower, upper, more) in Self.cases
            where range.first <= lower && lower <= range.last || range.first <= upper && upper <= range.last
                || more != 0 && range.first <= more && more <= range.last
            {
                ranges.append(Range(first: lower, last: lower))
                ranges.append(Range(first: upper, last: upper))
                if more != 0 { ranges.append(Range(first: more, last: more)) }
            }
        }
    }

    private static let cases: [(lower: UInt32, upper: UInt32, more: UInt32)] = (UInt32(0)..<26).map { index in
        let lower = UInt32(UInt8(ascii: "a")) + index
        let more: UInt32 = lower == 0x73 ? 0x17F : lower == 0x6B ? 0x212A : 0
        return (lower, lower - 32, more)
    }
}

/// A regular expression as a tree.
indirect enum PatternNode: Sendable {
    case scalar(ScalarSet)
    case sequence([PatternNode])
    /// The first that matches is taken.
    case alternatives([PatternNode])
    /// At most `maximum` times, without end for nil; as often as possible, or as seldom when `isLazy`.
    case repeated(PatternNode, minimum: Int, maximum: Int?, isLazy: Bool)
    /// Whether the next scalar is in the set, or, when negated, is not or is the end.
    case lookahead(ScalarSet, isNegated: Bool)
}

/// Reads the part of the syntax of regular expressions that tokenizers use: scalars, escapes, classes, groups,
/// `(?i:…)`, alternatives, quantifiers, and a look ahead at one scalar. All else is an error that names it.
struct PatternParser {
    private let scalars: [UInt32]
    private let pattern: String
    private var position = 0
    private var depth = 0

    static let longestPattern = 4096
    static let deepestNesting = 32
    static let greatestCount = 256

    static func parse(_ pattern: String) throws -> PatternNode {
        var parser = PatternParser(pattern)
        guard parser.scalars.count <= longestPattern else {
            throw parser.failure("it has more than \(longestPattern) characters")
        }
        let node = try parser.alternatives(ignoringCase: false)
        if parser.position < parser.scalars.count { throw parser.failure("a \")\" has no \"(\"") }
        return node
    }

    private init(_ pattern: String) {
        self.pattern = pattern
        scalars = pattern.unicodeScalars.map(\.value)
    }

    private func failure(_ why: String) -> VQAError {
        VQAError(
            "cannot read the regular expression", at: JSON.quoted(String(pattern.prefix(200))), because: why)
    }

    // MARK: Characters

    private var next: UInt32? { position < scalars.count ? scalars[position] : nil }

    private mutating func take(_ text: String) -> Bool {
        let wanted = text.unicodeScalars.map(\.value)
        guard scalars[position...].starts(with: wanted) else { return false }
        position += wanted.count
        return true
    }

    private mutating func takeScalar() throws -> UInt32 {
        guard let scalar = next else { throw failure("it ends too early") }
        position += 1
        return scalar
    }

    // MARK: Structure

    private mutating func alternatives(ignoringCase: Bool) throws -> PatternNode {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.deepestNesting else { throw failure("its groups are nested too deep") }
        var choices: [PatternNode] = []
        repeat {
            var sequence: [PatternNode] = []
            while let scalar = next, scalar != UInt32(UInt8(ascii: "|")), scalar != UInt32(UInt8(ascii: ")"))
            {
                let atom = try atom(ignoringCase)
                sequence.append(try quantified(atom))
            }
            choices.append(.sequence(sequence))
        } while take("|")
        return choices.count == 1 ? choices[0] : .alternatives(choices)
    }

    private mutating func atom(_ ignoringCase: Bool) throws -> PatternNode {
        if take("(?i:") { return try group(ignoringCase: true) }
        if take("(?:") { return try group(ignoringCase: ignoringCase) }
        for (mark, isNegated) in [("(?!", true), ("(?=", false)] where take(mark) {
            guard case .scalar(let set) = try atom(ignoringCase), take(")") else {
                throw failure("a look ahead at more than one character is not supported")
            }
            return .lookahead(set, isNegated: isNegated)
        }
        if take("(?") { throw failure("this kind of group is not supported") }
        if take("(") { return try group(ignoringCase: ignoringCase) }
        let scalar = try takeScalar()
        var set: ScalarSet
        switch Unicode.Scalar(scalar) {
        case "[": set = try bracketed()
        case "\\": set = try escape()
        case ".":
            set = ScalarSet(0x0A, 0x0A)
            set.isNegated = true
        case "^", "$": throw failure("the anchors \"^\" and \"$\" are not supported")
        case "*", "+", "?", "{": throw failure("a quantifier has nothing before it")
        default: set = ScalarSet(scalar, scalar)
        }
        if ignoringCase {
            if set.ranges.contains(where: { $0.last >= 0x80 }) {
                throw failure("ignoring the case of other letters than those of ASCII is not supported")
            }
            set.ignoreCase()
        }
        return .scalar(set)
    }

    private mutating func group(ignoringCase: Bool) throws -> PatternNode {
        let inner = try alternatives(ignoringCase: ignoringCase)
        guard take(")") else { throw failure("a group has no \")\"") }
        return inner
    }

    private mutating func quantified(_ atom: PatternNode) throws -> PatternNode {
        let minimum: Int
        var maximum: Int?
        if take("?") {
            (minimum, maximum) = (0, 1)
        } else if take("*") {
            minimum = 0
        } else if take("+") {
            minimum = 1
        } else if take("{") {
            (minimum, maximum) = try counts()
        } else {
            return atom
        }
        if case .lookahead = atom { throw failure("a look ahead with a quantifier is not supported") }
        let isLazy = take("?")
        if let scalar = next, [0x2A, 0x2B, 0x3F, 0x7B].contains(scalar) {
            throw failure("possessive and doubled quantifiers are not supported")
        }
        return .repeated(atom, minimum: minimum, maximum: maximum, isLazy: isLazy)
    }

    private mutating func counts() throws -> (Int, Int?) {
        let low = number()
        var high = low
        if take(",") { high = number() }
        let isOpen = scalars[position - 1] == UInt32(UInt8(ascii: ","))
        guard take("}"), low != nil || high != nil, (low ?? 0) <= (high ?? Self.greatestCount),
            max(low ?? 0, high ?? 0) <= Self.greatestCount
        else { throw failure("the count of a quantifier is not within 0 and \(Self.greatestCount)") }
        return (low ?? 0, isOpen ? nil : high)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let scalar = next, scalar >= 0x30, scalar <= 0x39 {
            value = min((value ?? 0) * 10 + Int(scalar - 0x30), 1_000_000)
            position += 1
        }
        return value
    }

    // MARK: Sets

    private mutating func bracketed() throws -> ScalarSet {
        var set = ScalarSet()
        set.isNegated = take("^")
        var isFirst = true
        while isFirst || next != UInt32(UInt8(ascii: "]")) {
            isFirst = false
            if take("&&") { throw failure("an intersection of classes is not supported") }
            let start = try classMember()
            guard start.isSingle, next == UInt32(UInt8(ascii: "-")), position + 1 < scalars.count,
                scalars[position + 1] != UInt32(UInt8(ascii: "]"))
            else {
                set.formUnion(start)
                continue
            }
            position += 1
            let end = try classMember()
            guard end.isSingle, end.ranges[0].first >= start.ranges[0].first else {
                throw failure("a range of a class is out of order")
            }
            set.ranges.append(ScalarSet.Range(first: start.ranges[0].first, last: end.ranges[0].last))
        }
        position += 1
        return set
    }

    private mutating func classMember() throws -> ScalarSet {
        let scalar = try takeScalar()
        if scalar == UInt32(UInt8(ascii: "[")) { throw failure("a class within a class is not supported") }
        return scalar == UInt32(UInt8(ascii: "\\")) ? try escape() : ScalarSet(scalar, scalar)
    }

    /// What follows a backslash.
    private mutating func escape() throws -> ScalarSet {
        let scalar = try takeScalar()
        switch Unicode.Scalar(scalar) {
        case "s": return ScalarSet(.whiteSpace, isNegated: false)
        case "S": return ScalarSet(.whiteSpace, isNegated: true)
        case "d": return ScalarSet(.decimalNumber, isNegated: false)
        case "D": return ScalarSet(.decimalNumber, isNegated: true)
        case "w": return ScalarSet(.word, isNegated: false)
        case "W": return ScalarSet(.word, isNegated: true)
        case "p": return try category(isNegated: false)
        case "P": return try category(isNegated: true)
        case "n": return ScalarSet(0x0A, 0x0A)
        case "r": return ScalarSet(0x0D, 0x0D)
        case "t": return ScalarSet(0x09, 0x09)
        case "f": return ScalarSet(0x0C, 0x0C)
        case "v": return ScalarSet(0x0B, 0x0B)
        case "x", "u":
            let value = try hexadecimal(isLong: scalar == UInt32(UInt8(ascii: "u")))
            return ScalarSet(value, value)
        default:
            let isASCIIWord = Unicode.Scalar(scalar)?.properties.isAlphabetic ?? true
            guard !isASCIIWord, !(0x30...0x39).contains(scalar) else {
                throw failure(
                    "this escape is not supported: \\\(Unicode.Scalar(scalar).map(String.init) ?? "")")
            }
            return ScalarSet(scalar, scalar)
        }
    }

    private mutating func category(isNegated: Bool) throws -> ScalarSet {
        guard take("{"), let end = scalars[position...].firstIndex(of: UInt32(UInt8(ascii: "}"))) else {
            throw failure("\\p needs the name of a category in braces")
        }
        let isInverted = take("^")
        var name = ""
        for scalar in scalars[position..<end] { name.unicodeScalars.append(Unicode.Scalar(scalar) ?? "?") }
        position = end + 1
        guard let category = ScalarCategory.named[name] else {
            throw failure("the category \(JSON.quoted(name)) is not supported")
        }
        return ScalarSet(category, isNegated: isNegated != isInverted)
    }

    private mutating func hexadecimal(isLong: Bool) throws -> UInt32 {
        var digits = ""
        if take("{") {
            while let scalar = next, !take("}"), let digit = Unicode.Scalar(scalar) {
                digits.unicodeScalars.append(digit)
                position += 1
            }
        } else {
            for _ in 0..<(isLong ? 4 : 2) {
                digits.unicodeScalars.append(Unicode.Scalar(try takeScalar()) ?? "?")
            }
        }
        guard let value = UInt32(digits, radix: 16), value <= 0x10FFFF else {
            throw failure("an escape has no valid hexadecimal number")
        }
        return value
    }
}

extension ScalarSet {
    /// True for a set of one scalar.
    fileprivate var isSingle: Bool {
        ranges.count == 1 && ranges[0].first == ranges[0].last && categories.isEmpty && complements.isEmpty
            && !isNegated
    }
}
