/// What a Unicode scalar is to the normalizers and pre-tokenizers.
///
/// Swift knows these properties too, but of the Unicode version of the system it runs on; a tokenizer must
/// give the ids that the model was trained with, so the answers of the reference are kept in tables (see the
/// data files).
struct ScalarClass: OptionSet, Sendable {
    let rawValue: UInt16

    static let whiteSpace = ScalarClass(rawValue: 1)
    /// Control, format and private-use scalars, which BERT removes.
    static let control = ScalarClass(rawValue: 1 << 1)
    static let punctuation = ScalarClass(rawValue: 1 << 2)
    static let nonspacingMark = ScalarClass(rawValue: 1 << 3)
    static let mark = ScalarClass(rawValue: 1 << 4)
    /// Around which BERT puts spaces.
    static let ideograph = ScalarClass(rawValue: 1 << 5)
    /// Letters, marks, digits and connectors.
    static let word = ScalarClass(rawValue: 1 << 6)
    static let number = ScalarClass(rawValue: 1 << 7)
    /// Has another lower case.
    static let uppercase = ScalarClass(rawValue: 1 << 8)
    /// Has a canonical decomposition.
    static let canonical = ScalarClass(rawValue: 1 << 9)
    /// Has a compatibility decomposition that is not the canonical one.
    static let compatible = ScalarClass(rawValue: 1 << 10)
    /// Has a combining class other than 0.
    static let reorders = ScalarClass(rawValue: 1 << 11)
}

/// Looks up ``ScalarClass``es.
struct ScalarClasses: Sendable {
    static let shared = ScalarClasses()

    /// Planes 0 to 2, where nearly all scalars in use are, as a table.
    private static let tableEnd: UInt32 = 0x30000
    private var table = [UInt16](repeating: 0, count: Int(tableEnd))
    /// The ranges beyond.
    private var rest: [(first: UInt32, last: UInt32, kind: ScalarClass)] = []

    private init() {
        let sets: [(StaticString, ScalarClass)] = [
            (UnicodeClassesData.whiteSpace, .whiteSpace), (UnicodeClassesData.control, .control),
            (UnicodeClassesData.punctuation, .punctuation),
            (UnicodeClassesData.nonspacingMark, .nonspacingMark), (UnicodeClassesData.mark, .mark),
            (UnicodeClassesData.ideograph, .ideograph), (UnicodeClassesData.word, .word),
            (UnicodeClassesData.number, .number),
        ]
        for (data, kind) in sets {
            var end: UInt32 = 0
            for numbers in TableReader(data) {
                let first = end + numbers[0].magnitude
                let last = first + (numbers.count > 1 ? numbers[1].magnitude : 0)
                add(kind, first, last)
                end = last + 1
            }
        }
        for run in LowercaseRun.all {
            for index in 0..<run.count {
                add(.uppercase, run.first + index * run.step, run.first + index * run.step)
            }
        }
        add(.uppercase, 0x130, 0x130)
        for scalar in Decompositions.canonical.scalars { add(.canonical, scalar, scalar) }
        add(.canonical, Hangul.first, Hangul.first + Hangul.count - 1)
        for scalar in Decompositions.compatible.scalars { add(.compatible, scalar, scalar) }
        for range in CombiningClasses.ranges { add(.reorders, range.first, range.last) }
    }

    private mutating func add(_ kind: ScalarClass, _ first: UInt32, _ last: UInt32) {
        if last < Self.tableEnd {
            for scalar in first...last { table[Int(scalar)] |= kind.rawValue }
        } else {
            rest.append((first, last, kind))
        }
    }

    @inline(__always)
    subscript(scalar: UInt32) -> ScalarClass {
        scalar < Self.tableEnd ? ScalarClass(rawValue: table[Int(scalar)]) : beyond(scalar)
    }

    private func beyond(_ scalar: UInt32) -> ScalarClass {
        var kind: ScalarClass = []
        for range in rest where range.first <= scalar && scalar <= range.last { kind.formUnion(range.kind) }
        return kind
    }
}

/// Every `step`th scalar from `first` on has its lower case `change` away.
struct LowercaseRun: Sendable {
    let first: UInt32
    let count: UInt32
    let step: UInt32
    let change: Int32

    static let all: [LowercaseRun] = {
        var runs: [LowercaseRun] = []
        var end: UInt32 = 0
        for numbers in TableReader(UnicodeClassesData.lowercase) {
            let first = end + numbers[0].magnitude
            runs.append(
                LowercaseRun(
                    first: first, count: numbers[1].magnitude, step: numbers[2].magnitude, change: numbers[3])
            )
            end = first + 1
        }
        return runs
    }()

    /// The lower case of a scalar that is ``ScalarClass/uppercase``, U+0130 (which becomes two scalars) left
    /// out.
    static func lowercase(_ scalar: UInt32) -> UInt32 {
        for run in all where scalar >= run.first && scalar <= run.first + (run.count - 1) * run.step {
            if (scalar - run.first) % run.step == 0 {
                return UInt32(truncatingIfNeeded: Int64(scalar) + Int64(run.change))
            }
        }
        return scalar
    }
}

/// Decompositions of one sort, found by binary search.
struct Decompositions: Sendable {
    static let canonical = Decompositions(UnicodeCanonicalData.decompositions)
    static let compatible = Decompositions(UnicodeCompatibilityData.decompositions)

    /// The scalars that decompose, ascending.
    let scalars: [UInt32]
    private let ends: [UInt32]
    private let parts: [UInt32]

    init(_ data: StaticString) {
        var scalars: [UInt32] = []
        var ends: [UInt32] = []
        var parts: [UInt32] = []
        var end: UInt32 = 0
        for numbers in TableReader(data) {
            scalars.append(end + numbers[0].magnitude)
            end += numbers[0].magnitude + 1
            parts.append(contentsOf: numbers[1...].map(\.magnitude))
            ends.append(UInt32(parts.count))
        }
        self.scalars = scalars
        self.ends = ends
        self.parts = parts
    }

    /// What `scalar` decomposes into, or nil.
    func parts(of scalar: UInt32) -> ArraySlice<UInt32>? {
        guard let index = scalars.firstIndex(ofSorted: scalar) else { return nil }
        return parts[(index == 0 ? 0 : Int(ends[index - 1]))..<Int(ends[index])]
    }
}

/// The pairs of scalars that compose.
struct Compositions: Sendable {
    static let shared = Compositions()

    /// First and second scalar in one number, ascending, and what each pair becomes.
    private let pairs: [UInt64]
    private let composites: [UInt32]

    private init() {
        var entries: [(pair: UInt64, composite: UInt32)] = []
        var end: UInt32 = 0
        for numbers in TableReader(UnicodeCanonicalData.compositions) {
            let composite = end + numbers[0].magnitude
            end = composite + 1
            entries.append((Self.key(numbers[1].magnitude, numbers[2].magnitude), composite))
        }
        entries.sort { $0.pair < $1.pair }
        pairs = entries.map(\.pair)
        composites = entries.map(\.composite)
    }

    private static func key(_ first: UInt32, _ second: UInt32) -> UInt64 {
        UInt64(first) << 32 | UInt64(second)
    }

    /// What the two scalars become together, or nil.
    func composite(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if let syllable = Hangul.composite(first, second) { return syllable }
        return pairs.firstIndex(ofSorted: Self.key(first, second)).map { composites[$0] }
    }
}

/// The canonical combining classes other than 0.
enum CombiningClasses {
    static let ranges: [(first: UInt32, last: UInt32, value: UInt8)] = {
        var ranges: [(UInt32, UInt32, UInt8)] = []
        var end: UInt32 = 0
        for numbers in TableReader(UnicodeCanonicalData.combiningClasses) {
            let first = end + numbers[0].magnitude
            let last = first + numbers[1].magnitude
            ranges.append((first, last, UInt8(truncatingIfNeeded: numbers[2])))
            end = last + 1
        }
        return ranges
    }()

    /// The class of a scalar that is ``ScalarClass/reorders``.
    static func value(of scalar: UInt32) -> UInt8 {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].last < scalar { low = middle + 1 } else { high = middle }
        }
        return low < ranges.count && ranges[low].first <= scalar ? ranges[low].value : 0
    }
}

/// The arithmetic of Hangul syllables (The Unicode Standard, section 3.12).
enum Hangul {
    static let first: UInt32 = 0xAC00
    static let count: UInt32 = 11_172
    private static let leading: UInt32 = 0x1100
    private static let vowel: UInt32 = 0x1161
    /// One before the first trailing consonant.
    private static let trailing: UInt32 = 0x11A7
    private static let vowels: UInt32 = 21
    private static let trailings: UInt32 = 28

    /// Leading consonant, vowel and, if it is not 0, trailing consonant of a syllable; nil for other scalars.
    static func parts(of scalar: UInt32) -> (leading: UInt32, vowel: UInt32, trailing: UInt32)? {
        guard scalar >= first, scalar < first + count else { return nil }
        let index = scalar - first
        let tail = index % trailings
        return (
            leading + index / (vowels * trailings), vowel + index / trailings % vowels,
            tail == 0 ? 0 : trailing + tail
        )
    }

    /// The syllable of two parts, or nil.
    static func composite(_ a: UInt32, _ b: UInt32) -> UInt32? {
        if a >= leading, a < leading + 19, b >= vowel, b < vowel + vowels {
            return first + ((a - leading) * vowels + b - vowel) * trailings
        }
        if a >= first, a < first + count, (a - first) % trailings == 0, b > trailing, b < trailing + trailings
        {
            return a + b - trailing
        }
        return nil
    }
}

/// Reads the words of a data table, each a list of numbers in base 36.
struct TableReader: Sequence, IteratorProtocol {
    private let text: UnsafeBufferPointer<UInt8>
    private var offset = 0

    init(_ data: StaticString) {
        text = UnsafeBufferPointer(start: data.utf8Start, count: data.utf8CodeUnitCount)
    }

    mutating func next() -> [Int32]? {
        guard offset < text.count else { return nil }
        var numbers: [Int32] = []
        var value: Int32 = 0
        var sign: Int32 = 1
        while offset < text.count {
            let byte = text[offset]
            offset += 1
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value * 36 + Int32(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "z"):
                value = value * 36 + Int32(byte - UInt8(ascii: "a")) + 10
            case UInt8(ascii: "-"): sign = -1
            case UInt8(ascii: " "): return numbers + [sign * value]
            default:
                numbers.append(sign * value)
                value = 0
                sign = 1
            }
        }
        return numbers + [sign * value]
    }
}

extension Array where Element: Comparable {
    /// The index of `element` in an array in ascending order, or nil.
    fileprivate func firstIndex(ofSorted element: Element) -> Int? {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if self[middle] < element { low = middle + 1 } else { high = middle }
        }
        return low < count && self[low] == element ? low : nil
    }
}
