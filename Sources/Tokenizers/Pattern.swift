import Support

/// A compiled regular expression: finds its matches in text, one table look-up a character.
///
/// The expression becomes a deterministic automaton. Its states are ordered lists of places in the expression,
/// so a match is the one that a backtracking engine prefers, not the longest. A look ahead at one scalar costs
/// nothing: whether a list of places holds is decided when the next scalar is known.
struct Pattern: Sendable, Equatable {
    /// The expression as it was written.
    let text: String
    private let automaton: Automaton

    /// Compiles an expression.
    ///
    /// - Throws: `VQAError` when it uses what is not supported, could match nothing, or needs a table that is
    ///   too large.
    init(_ text: String) throws {
        self.text = text
        automaton = try Automaton(try PatternParser.parse(text), text)
    }

    static func == (a: Pattern, b: Pattern) -> Bool { a.text == b.text }

    /// Cuts `range` of the text into matches and what lies between them, in order; none is empty.
    ///
    /// - Throws: `VQAError` when the expression takes more than time in proportion to the text.
    func forEachSpan(
        in text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>,
        _ body: (Range<Int>, _ isMatch: Bool) -> Void
    ) throws {
        var done = range.lowerBound
        var start = range.lowerBound
        var steps = 0
        let allowed = range.count * 64 + 1_000_000
        while start < range.upperBound {
            let end = automaton.matchEnd(in: text, from: start, to: range.upperBound, &steps)
            guard steps <= allowed else {
                throw VQAError(
                    "cannot split the text", at: JSON.quoted(self.text),
                    because: "this regular expression takes too long on this text")
            }
            if end > start {
                if done < start { body(done..<start, false) }
                body(start..<end, true)
                start = end
                done = end
            } else {
                _ = decodeScalar(text, &start)
            }
        }
        if done < range.upperBound { body(done..<range.upperBound, false) }
    }
}

/// The tables of a ``Pattern``.
private struct Automaton: Sendable {
    /// Kinds of scalars that the expression does not tell apart, by scalar below ``ScalarCategories/tableEnd``.
    private var kinds: [UInt8]
    /// The sets of the expression, to find the kind of a scalar beyond the table.
    private let sets: [ScalarSet]
    /// For each kind, which of the sets its scalars are in.
    private var members: [[Bool]] = []
    /// For a state and a kind (the last kind is the end of the text): the next state, and in the lowest bit
    /// whether a match ends before the scalar. State 0 leads nowhere.
    private var next: [UInt32] = []
    private var width = 0

    private static let mostEntries = 40_000
    private static let mostKinds = 250

    init(_ node: PatternNode, _ text: String) throws {
        var program = PatternProgram()
        try program.compile(node, text)
        program.finish()
        sets = program.sets
        kinds = []
        try makeKinds(text)
        try makeStates(program, text)
    }

    // MARK: Matching

    /// The end of the match that begins at `start`, or `start` when none does.
    @inline(__always)
    func matchEnd(
        in text: UnsafeBufferPointer<UInt8>, from start: Int, to end: Int, _ steps: inout Int
    ) -> Int {
        var position = start
        var found = start
        var state = 1
        return next.withUnsafeBufferPointer { next in
            kinds.withUnsafeBufferPointer { kinds in
                while true {
                    let before = position
                    var kind = width - 1
                    if position < end {
                        let scalar = decodeScalar(text, &position)
                        kind = scalar < UInt32(kinds.count) ? Int(kinds[Int(scalar)]) : rareKind(scalar)
                    }
                    let entry = next[state * width + kind]
                    if entry & 1 != 0 { found = before }
                    state = Int(entry >> 1)
                    steps += 1
                    if state == 0 { return found }
                }
            }
        }
    }

    private func rareKind(_ scalar: UInt32) -> Int {
        let category = ScalarCategories.shared[scalar]
        let signature = sets.map { $0.contains(scalar, category) }
        return members.firstIndex(of: signature) ?? 0
    }

    // MARK: Building

    /// Two scalars are of one kind when they are in the same sets. Within a stretch that no range of the
    /// expression divides, only the category decides.
    private mutating func makeKinds(_ text: String) throws {
        let categories = ScalarCategories.shared
        var cuts: Set<UInt32> = [0, 0x110000]
        for range in sets.flatMap(\.ranges) { cuts.formUnion([range.first, range.last + 1]) }
        let borders = cuts.sorted()
        var numbers: [[Bool]: UInt8] = [:]
        var seen: [ScalarCategory: UInt8] = [:]
        func kind(_ scalar: UInt32, _ category: ScalarCategory) throws -> UInt8 {
            if let known = seen[category] { return known }
            let signature = sets.map { $0.contains(scalar, category) }
            if let known = numbers[signature] {
                seen[category] = known
                return known
            }
            guard numbers.count < Self.mostKinds else {
                throw VQAError(
                    "cannot read the regular expression", at: JSON.quoted(String(text.prefix(200))),
                    because: "it tells more than \(Self.mostKinds) kinds of characters apart")
            }
            let number = UInt8(numbers.count)
            numbers[signature] = number
            members.append(signature)
            seen[category] = number
            return number
        }
        kinds.reserveCapacity(Int(ScalarCategories.tableEnd))
        for (first, end) in zip(borders, borders.dropFirst()) {
            seen.removeAll(keepingCapacity: true)
            var lastCategory: ScalarCategory?
            var lastKind: UInt8 = 0
            for scalar in first..<max(first, min(end, ScalarCategories.tableEnd)) {
                let category = ScalarCategory(rawValue: categories.table[Int(scalar)])
                if category != lastCategory {
                    lastKind = try kind(scalar, category)
                    lastCategory = category
                }
                kinds.append(lastKind)
            }
            // Beyond the table every category that is in use there gets its kind.
            guard end > ScalarCategories.tableEnd else { continue }
            for category in [.otherLetter, .nonspacingMark, []] as [ScalarCategory] {
                _ = try kind(max(first, ScalarCategories.tableEnd), category)
            }
        }
        width = members.count + 1
    }

    private mutating func makeStates(_ program: PatternProgram, _ text: String) throws {
        var numbers: [[Int32]: UInt32] = [[]: 0, [0]: 1]
        var lists: [[Int32]] = [[], [0]]
        next = Array(repeating: 0, count: width)
        var state = 1
        let outside = [Bool](repeating: false, count: sets.count)
        while state < lists.count {
            for kind in 0..<width {
                let isEnd = kind == width - 1
                let step = program.step(lists[state], isEnd ? outside : members[kind], isEnd: isEnd)
                if state == 1, step.isMatch {
                    throw VQAError(
                        "cannot read the regular expression", at: JSON.quoted(String(text.prefix(200))),
                        because: "it could match nothing")
                }
                let number = numbers[step.places] ?? UInt32(lists.count)
                if number == UInt32(lists.count) {
                    guard lists.count * width < Self.mostEntries else {
                        throw VQAError(
                            "cannot read the regular expression", at: JSON.quoted(String(text.prefix(200))),
                            because: "its table would have more than \(Self.mostEntries) entries")
                    }
                    numbers[step.places] = number
                    lists.append(step.places)
                }
                next.append(number << 1 | (step.isMatch ? 1 : 0))
            }
            state += 1
        }
    }
}

/// A regular expression as steps, for the construction of the automaton (Thompson's).
private struct PatternProgram {
    private enum Step {
        /// Takes a scalar of the set.
        case take(Int)
        /// Goes on in two places, the first preferred.
        case fork(Int, Int)
        case jump(Int)
        /// Goes on when the next scalar is in the set, or is not.
        case look(Int, isNegated: Bool)
        case match
    }

    private var steps: [Step] = []
    private(set) var sets: [ScalarSet] = []
    private var numbers: [ScalarSet: Int] = [:]

    private static let mostSteps = 1024

    mutating func finish() { steps.append(.match) }

    private mutating func number(of set: ScalarSet) -> Int {
        if let number = numbers[set] { return number }
        numbers[set] = sets.count
        sets.append(set)
        return sets.count - 1
    }

    mutating func compile(_ node: PatternNode, _ text: String) throws {
        guard steps.count < Self.mostSteps else {
            throw VQAError(
                "cannot read the regular expression", at: JSON.quoted(String(text.prefix(200))),
                because: "it has more than \(Self.mostSteps) steps")
        }
        switch node {
        case .scalar(let set): steps.append(.take(number(of: set)))
        case .lookahead(let set, let isNegated): steps.append(.look(number(of: set), isNegated: isNegated))
        case .sequence(let nodes): for node in nodes { try compile(node, text) }
        case .alternatives(let choices):
            var ends: [Int] = []
            for choice in choices.dropLast() {
                let fork = steps.count
                steps.append(.match)
                try compile(choice, text)
                ends.append(steps.count)
                steps.append(.match)
                steps[fork] = .fork(fork + 1, steps.count)
            }
            if let last = choices.last { try compile(last, text) }
            for end in ends { steps[end] = .jump(steps.count) }
        case .repeated(let node, let minimum, let maximum, let isLazy):
            for _ in 0..<minimum { try compile(node, text) }
            if let maximum {
                var forks: [Int] = []
                for _ in minimum..<max(minimum, maximum) {
                    forks.append(steps.count)
                    steps.append(.match)
                    try compile(node, text)
                }
                for fork in forks {
                    steps[fork] = isLazy ? .fork(steps.count, fork + 1) : .fork(fork + 1, steps.count)
                }
            } else {
                let fork = steps.count
                steps.append(.match)
                try compile(node, text)
                steps.append(.jump(fork))
                steps[fork] = isLazy ? .fork(steps.count, fork + 1) : .fork(fork + 1, steps.count)
            }
        }
    }

    /// Where the places lead over a scalar that is in these sets, and whether a match ends before it. Places
    /// after one that matches are not preferred to it, so they are dropped.
    func step(_ places: [Int32], _ member: [Bool], isEnd: Bool) -> (places: [Int32], isMatch: Bool) {
        var reached: [Int32] = []
        var visited = [Bool](repeating: false, count: steps.count)
        var pending = places.reversed().map { Int($0) }
        while let place = pending.popLast() {
            if visited[place] { continue }
            visited[place] = true
            switch steps[place] {
            case .take(let set): if !isEnd, member[set] { reached.append(Int32(place + 1)) }
            case .fork(let first, let second):
                pending.append(second)
                pending.append(first)
            case .jump(let target): pending.append(target)
            case .look(let set, let isNegated):
                if (!isEnd && member[set]) != isNegated { pending.append(place + 1) }
            case .match: return (reached, true)
            }
        }
        return (reached, false)
    }
}
