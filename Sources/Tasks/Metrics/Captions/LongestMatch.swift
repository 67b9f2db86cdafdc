/// Some of the UTF-16 units.
struct UnitSet: Hashable, Sendable {
    private var ranges: [ClosedRange<UInt16>] = []
    private var letters = false
    private var digits = false
    private var isComplement = false

    /// The units of `text`.
    init(_ text: String = "") { ranges = text.utf16.map { $0...$0 } }
    /// The units within `ranges`.
    init(_ ranges: ClosedRange<UInt16>...) { self.ranges = ranges }

    /// Everything that Unicode calls a letter.
    static let letter: UnitSet = {
        var set = UnitSet()
        set.letters = true
        return set
    }()

    /// Everything that Unicode calls a decimal digit.
    static let digit: UnitSet = {
        var set = UnitSet()
        set.digits = true
        return set
    }()

    /// All units but these.
    var inverted: UnitSet {
        var set = self
        set.isComplement.toggle()
        return set
    }

    /// The units of both; of a complement only another complement could be told, which no rule needs.
    static func + (a: UnitSet, b: UnitSet) -> UnitSet {
        var set = a
        set.ranges += b.ranges
        set.letters = a.letters || b.letters
        set.digits = a.digits || b.digits
        return set
    }

    func contains(_ unit: UInt16) -> Bool { holds(unit) != isComplement }

    private func holds(_ unit: UInt16) -> Bool {
        if ranges.contains(where: { $0.contains(unit) }) { return true }
        guard letters || digits, let scalar = Unicode.Scalar(unit) else { return false }
        if letters, scalar.properties.generalCategory.isLetter { return true }
        return digits && scalar.properties.generalCategory == .decimalNumber
    }
}

extension Unicode.GeneralCategory {
    fileprivate var isLetter: Bool {
        switch self {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
        default: false
        }
    }
}

/// A regular expression over UTF-16 units.
indirect enum Pattern: Sendable {
    case one(UnitSet)
    case all([Pattern])
    case either([Pattern])
    case some(Pattern)
    case maybe(Pattern)

    static func any(_ pattern: Pattern) -> Pattern { .maybe(.some(pattern)) }

    /// From `least` to `most` repetitions.
    static func times(_ least: Int, _ most: Int, _ pattern: Pattern) -> Pattern {
        var result = Pattern.all([])
        for _ in least..<max(least, most) { result = .maybe(.all([pattern, result])) }
        return .all(Array(repeating: pattern, count: least) + [result])
    }

    /// `text` in any case of its letters.
    static func word(_ text: String) -> Pattern {
        .all(text.map { .one(UnitSet($0.lowercased() + $0.uppercased())) })
    }

    /// One of the words in `list`, which spaces separate, in any case of letters. A capital after `^` is a capital only,
    /// a small letter after it a small one.
    static func words(_ list: String) -> Pattern {
        .either(
            list.split(separator: " ").map { word in
                guard word.hasPrefix("^") else { return .word(String(word)) }
                let first = String(word.dropFirst().prefix(1))
                return .all([.one(UnitSet(first)), .word(String(word.dropFirst(2)))])
            })
    }
}

/// Finds which of many rules matches the longest part of a text from a position on; the first one among equals. A rule
/// may say what must follow, and that counts as part of the length, as in scanner generators.
///
/// The rules become one automaton whose states are made when a text first needs them. Not for use by two threads at once.
final class LongestMatch {
    struct Rule {
        let head: Pattern
        /// What must follow the match.
        let tail: Pattern?
    }

    private struct Node {
        var set = -1
        var next: [Int32] = []
        var rule = -1
    }

    private var nodes: [Node] = []
    private var sets: [UnitSet] = []
    private var setNumbers: [UnitSet: Int] = [:]

    private var classes: [[Bool]: Int] = [:]
    private var classMembers: [[Bool]] = []
    private var classOfUnit: [Int16]

    /// The width of a row of `moves`: more than the rules can tell apart.
    private static let width = 512
    private static let unknown: Int32 = -2
    private static let dead: Int32 = -1
    /// States are forgotten when there are more: no text may fill the memory.
    private static let maximumStates = 8192
    private var moves: [Int32] = []
    private var accepts: [Int32] = []
    private var members: [[Int32]] = []
    private var numbers: [[Int32]: Int32] = [:]
    private let start: [Int32]

    /// The automaton of `rules`; nothing but its first state is made yet.
    init(_ rules: [Rule]) {
        classOfUnit = [Int16](repeating: -1, count: 1 << 16)
        nodes = [Node()]
        var first: [Int32] = []
        for (number, rule) in rules.enumerated() {
            let end = Self.add(Node(rule: number), to: &nodes)
            let pattern = rule.tail.map { Pattern.all([rule.head, $0]) } ?? rule.head
            first.append(
                Self.compile(pattern, before: end, &nodes, &sets, &setNumbers))
        }
        start = Self.closure(first, nodes)
        _ = state(start)
    }

    private static func add(_ node: Node, to nodes: inout [Node]) -> Int32 {
        nodes.append(node)
        return Int32(nodes.count - 1)
    }

    /// The first node of `pattern`, which goes on to `end`.
    private static func compile(
        _ pattern: Pattern, before end: Int32, _ nodes: inout [Node], _ sets: inout [UnitSet],
        _ numbers: inout [UnitSet: Int]
    ) -> Int32 {
        switch pattern {
        case .one(let set):
            let number = numbers[set] ?? sets.count
            if number == sets.count { sets.append(set) }
            numbers[set] = number
            return add(Node(set: number, next: [end]), to: &nodes)
        case .all(let parts):
            return parts.reversed().reduce(end) { compile($1, before: $0, &nodes, &sets, &numbers) }
        case .either(let parts):
            let next = parts.map { compile($0, before: end, &nodes, &sets, &numbers) }
            return add(Node(next: next), to: &nodes)
        case .maybe(let part):
            let next = compile(part, before: end, &nodes, &sets, &numbers)
            return add(Node(next: [next, end]), to: &nodes)
        case .some(let part):
            let again = add(Node(next: [end]), to: &nodes)
            let first = compile(part, before: again, &nodes, &sets, &numbers)
            nodes[Int(again)].next.append(first)
            return first
        }
    }

    /// `some` and all nodes that are reached from them without reading, in order; those that only lead on are left out.
    private static func closure(_ some: [Int32], _ nodes: [Node]) -> [Int32] {
        var seen: Set<Int32> = []
        var waiting = some
        var result: [Int32] = []
        while let node = waiting.popLast() {
            guard seen.insert(node).inserted else { continue }
            if nodes[Int(node)].set >= 0 || nodes[Int(node)].rule >= 0 {
                result.append(node)
            } else {
                waiting += nodes[Int(node)].next
            }
        }
        return result.sorted()
    }

    /// The number of the state with these members.
    private func state(_ nodes: [Int32]) -> Int32 {
        if nodes.isEmpty { return Self.dead }
        if let known = numbers[nodes] { return known }
        let number = Int32(members.count)
        numbers[nodes] = number
        members.append(nodes)
        accepts.append(Int32(nodes.map { self.nodes[Int($0)].rule }.filter { $0 >= 0 }.min() ?? -1))
        moves += [Int32](repeating: Self.unknown, count: Self.width)
        return number
    }

    private func classNumber(of unit: UInt16) -> Int {
        let known = Int(classOfUnit[Int(unit)])
        if known >= 0 { return known }
        let signature = sets.map { $0.contains(unit) }
        let number = classes[signature] ?? classMembers.count
        if number == classMembers.count {
            classes[signature] = number
            classMembers.append(signature)
        }
        classOfUnit[Int(unit)] = Int16(number)
        return number
    }

    private func move(from state: Int32, _ unit: UInt16) -> Int32 {
        let number = classNumber(of: unit)
        // As many classes as no rules can tell apart would be needed to come here.
        guard number < Self.width else { return Self.dead }
        let place = Int(state) * Self.width + number
        if moves[place] != Self.unknown { return moves[place] }
        let signature = classMembers[number]
        let next = members[Int(state)].flatMap { node in
            let node = nodes[Int(node)]
            return node.set >= 0 && signature[node.set] ? node.next : []
        }
        let target = self.state(Self.closure(next, nodes))
        moves[place] = target
        return target
    }

    /// The rule with the longest match from `position` on, and where the match ends; nil when there is none. At most
    /// `limit` units are looked at.
    func longest(_ text: [UInt16], from position: Int, limit: Int) -> (rule: Int, end: Int)? {
        if members.count > Self.maximumStates { forget() }
        var best: (rule: Int, end: Int)?
        var state: Int32 = 0
        var place = position
        let last = min(text.count, position + limit)
        while place < last {
            state = move(from: state, text[place])
            if state < 0 { break }
            place += 1
            if accepts[Int(state)] >= 0 { best = (Int(accepts[Int(state)]), place) }
        }
        return best
    }

    /// The ends of all matches of the only rule from `position` on, the last of them at `limit`.
    func ends(_ text: [UInt16], from position: Int, to limit: Int) -> [Int] {
        if members.count > Self.maximumStates { forget() }
        var state: Int32 = 0
        var ends: [Int] = accepts[0] >= 0 ? [position] : []
        for place in position..<max(position, limit) {
            state = move(from: state, text[place])
            if state < 0 { break }
            if accepts[Int(state)] >= 0 { ends.append(place + 1) }
        }
        return ends
    }

    private func forget() {
        moves = []
        accepts = []
        members = []
        numbers = [:]
        _ = state(start)
    }
}
