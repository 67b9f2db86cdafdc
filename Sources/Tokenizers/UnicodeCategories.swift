/// The general category of a Unicode scalar, or a set of categories.
///
/// Regular expressions name them. The answers are those of the reference, as in ``ScalarClass``, but of the
/// Unicode version of its regular expressions, which is another one.
struct ScalarCategory: OptionSet, Sendable, Hashable {
    let rawValue: UInt16

    static let uppercaseLetter = ScalarCategory(rawValue: 1)
    static let lowercaseLetter = ScalarCategory(rawValue: 1 << 1)
    static let titlecaseLetter = ScalarCategory(rawValue: 1 << 2)
    static let modifierLetter = ScalarCategory(rawValue: 1 << 3)
    static let otherLetter = ScalarCategory(rawValue: 1 << 4)
    static let nonspacingMark = ScalarCategory(rawValue: 1 << 5)
    static let spacingMark = ScalarCategory(rawValue: 1 << 6)
    static let enclosingMark = ScalarCategory(rawValue: 1 << 7)
    static let decimalNumber = ScalarCategory(rawValue: 1 << 8)
    static let letterNumber = ScalarCategory(rawValue: 1 << 9)
    static let otherNumber = ScalarCategory(rawValue: 1 << 10)
    /// Category Pc, a part of ``punctuation``.
    static let connector = ScalarCategory(rawValue: 1 << 11)
    static let punctuation = ScalarCategory(rawValue: 1 << 12)
    static let symbol = ScalarCategory(rawValue: 1 << 13)
    static let separator = ScalarCategory(rawValue: 1 << 14)
    /// No category but a property: what `\s` matches.
    static let whiteSpace = ScalarCategory(rawValue: 1 << 15)

    static let letter: ScalarCategory = [
        .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter,
    ]
    static let mark: ScalarCategory = [.nonspacingMark, .spacingMark, .enclosingMark]
    static let number: ScalarCategory = [.decimalNumber, .letterNumber, .otherNumber]
    /// What `\w` matches.
    static let word: ScalarCategory = [.letter, .mark, .number, .connector]

    /// The categories by the names that `\p{…}` takes.
    static let named: [String: ScalarCategory] = [
        "L": .letter, "Lu": .uppercaseLetter, "Ll": .lowercaseLetter, "Lt": .titlecaseLetter,
        "Lm": .modifierLetter, "Lo": .otherLetter, "M": .mark, "Mn": .nonspacingMark, "Mc": .spacingMark,
        "Me": .enclosingMark, "N": .number, "Nd": .decimalNumber, "Nl": .letterNumber, "No": .otherNumber,
        "Pc": .connector, "P": .punctuation, "S": .symbol, "Z": .separator,
    ]
}

/// Looks up ``ScalarCategory``s.
struct ScalarCategories: Sendable {
    static let shared = ScalarCategories()

    /// Planes 0 to 2 as a table, as in ``ScalarClasses``.
    static let tableEnd: UInt32 = 0x30000
    private(set) var table = [UInt16](repeating: 0, count: Int(tableEnd))
    private var rest: [(first: UInt32, last: UInt32, category: ScalarCategory)] = []

    private init() {
        let sets: [(StaticString, ScalarCategory)] = [
            (UnicodeCategoriesData.uppercaseLetter, .uppercaseLetter),
            (UnicodeCategoriesData.lowercaseLetter, .lowercaseLetter),
            (UnicodeCategoriesData.titlecaseLetter, .titlecaseLetter),
            (UnicodeCategoriesData.modifierLetter, .modifierLetter),
            (UnicodeCategoriesData.otherLetter, .otherLetter),
            (UnicodeCategoriesData.nonspacingMark, .nonspacingMark),
            (UnicodeCategoriesData.spacingMark, .spacingMark),
            (UnicodeCategoriesData.enclosingMark, .enclosingMark),
            (UnicodeCategoriesData.decimalNumber, .decimalNumber),
            (UnicodeCategoriesData.letterNumber, .letterNumber),
            (UnicodeCategoriesData.otherNumber, .otherNumber), (UnicodeCategoriesData.connector, .connector),
            (UnicodeCategoriesData.punctuation, .punctuation), (UnicodeCategoriesData.symbol, .symbol),
            (UnicodeCategoriesData.separator, .separator), (UnicodeClassesData.whiteSpace, .whiteSpace),
        ]
        for (data, category) in sets {
            var end: UInt32 = 0
            for numbers in TableReader(data) {
                let first = end + numbers[0].magnitude
                let last = first + (numbers.count > 1 ? numbers[1].magnitude : 0)
                if last < Self.tableEnd {
                    for scalar in first...last { table[Int(scalar)] |= category.rawValue }
                } else {
                    rest.append((first, last, category))
                }
                end = last + 1
            }
        }
    }

    /// The category of a scalar, with ``ScalarCategory/whiteSpace`` for white space.
    subscript(scalar: UInt32) -> ScalarCategory {
        if scalar < Self.tableEnd { return ScalarCategory(rawValue: table[Int(scalar)]) }
        var found: ScalarCategory = []
        for range in rest where range.first <= scalar && scalar <= range.last {
            found.formUnion(range.category)
        }
        return found
    }
}
