import Support

/// What a question is about; scores and baselines are broken down by it.
enum SceneQuestionType: String, CaseIterable, Sendable {
    case count, existence, number, size, position
    case color = "query color"
    case shape = "query shape"
    case extent = "query size"
    case texture = "query texture"
    case verification
}

/// A property of an object that can be asked for.
enum SceneAttribute: CaseIterable, Sendable {
    case color, shape, size, texture

    /// All values, which are the answers.
    var values: [String] {
        switch self {
        case .color: SceneColor.allCases.map(\.rawValue)
        case .shape: SceneShape.allCases.map(\.rawValue)
        case .size: SceneSize.allCases.map(\.rawValue)
        case .texture: SceneTexture.allCases.map(\.rawValue)
        }
    }

    /// A description by the value with this number.
    func filter(_ value: Int) -> SceneFilter {
        switch self {
        case .color: SceneFilter(color: SceneColor.allCases[value])
        case .shape: SceneFilter(shape: SceneShape.allCases[value])
        case .size: SceneFilter(size: SceneSize.allCases[value])
        case .texture: SceneFilter(texture: SceneTexture.allCases[value])
        }
    }

    func value(of object: SceneObject) -> String {
        switch self {
        case .color: object.color.rawValue
        case .shape: object.shape.rawValue
        case .size: object.size.rawValue
        case .texture: object.texture.rawValue
        }
    }
}

/// A question with its arguments. Its text has the same possible answers wherever it is asked.
struct SceneQuestion: Hashable, Sendable {
    enum Comparison: String, CaseIterable, Sendable { case more, fewer, same }
    enum Side: String, CaseIterable, Sendable {
        case left, right, above, below

        var phrase: String { self == .left || self == .right ? "to the \(rawValue) of" : rawValue }
        var opposite: Side {
            switch self {
            case .left: .right
            case .right: .left
            case .above: .below
            case .below: .above
            }
        }
    }

    enum Kind: Hashable, Sendable {
        /// How many `first` there are: `lowest` to `lowest + 3`.
        case count(lowest: Int)
        /// Whether there is a `first`.
        case existence
        /// Whether there are more, fewer or as many `first` as `second`.
        case number(Comparison)
        /// Whether the `first` is larger (or smaller) than the `second`.
        case size(larger: Bool)
        /// Whether the `first` is on that side of the `second`.
        case position(Side)
        /// A property of the `first`.
        case query(SceneAttribute)
        /// Whether the `first` fits the description `second` too.
        case verification
    }

    var kind: Kind
    var first: SceneFilter
    var second = SceneFilter()

    var type: SceneQuestionType {
        switch kind {
        case .count: .count
        case .existence: .existence
        case .number: .number
        case .size: .size
        case .position: .position
        case .query(.color): .color
        case .query(.shape): .shape
        case .query(.size): .extent
        case .query(.texture): .texture
        case .verification: .verification
        }
    }

    /// What it may be answered with.
    var answers: [String] {
        switch kind {
        case .count(let lowest): (lowest...lowest + 3).map(String.init)
        case .query(let attribute): attribute.values
        default: ["yes", "no"]
        }
    }

    /// As it is asked.
    var text: String {
        let (one, other) = (first.noun, second.noun)
        switch kind {
        case .count: return "How many \(first.plural) are there?"
        case .existence: return "Is there \(withArticle(one))?"
        case .number(.same):
            return "Is the number of \(first.plural) the same as the number of \(second.plural)?"
        case .number(let comparison): return "Are there \(comparison) \(first.plural) than \(second.plural)?"
        case .size(let larger): return "Is the \(one) \(larger ? "larger" : "smaller") than the \(other)?"
        case .position(let side): return "Is the \(one) \(side.phrase) the \(other)?"
        case .query(.color): return "What color is the \(one)?"
        case .query(.shape): return "What shape is the \(one)?"
        case .query(.size): return "What size is the \(one)?"
        case .query(.texture): return "What texture does the \(one) have?"
        case .verification:
            return "Is the \(one) \(second.shape.map { withArticle($0.rawValue) } ?? second.valueName)?"
        }
    }

    /// The same question the other way around, with the same answer; nil when there is none.
    var converse: SceneQuestion? {
        let kind: Kind
        switch self.kind {
        case .number(.more): kind = .number(.fewer)
        case .number(.fewer): kind = .number(.more)
        case .size(let larger): kind = .size(larger: !larger)
        case .position(let side): kind = .position(side.opposite)
        default: return nil
        }
        return SceneQuestion(kind: kind, first: second, second: first)
    }

    // MARK: Truth

    /// How far `objects` are from a scene where this question has the answer with the number `wanted`: 0 there, and
    /// more the more changes it takes. Above 0 too where the question makes no sense, such as the colour of one of two.
    func distance(of objects: [SceneObject], to wanted: Int) -> Int {
        let isYes = wanted == 0
        switch kind {
        case .count(let lowest): return abs(first.count(in: objects) - lowest - wanted)
        case .existence:
            let count = first.count(in: objects)
            return isYes ? (count > 0 ? 0 : 1) : count
        case .number(let comparison):
            let (a, b) = (first.count(in: objects), second.count(in: objects))
            // With none of either the question would be odd.
            let empty = a + b == 0 ? 1 : 0
            switch comparison {
            case .more: return empty + max(0, isYes ? b - a + 1 : a - b)
            case .fewer: return empty + max(0, isYes ? a - b + 1 : b - a)
            case .same: return empty + (isYes ? abs(a - b) : a == b ? 1 : 0)
            }
        case .size(let larger):
            return ofPair(objects) { one, other in
                (one.size, other.size) == (larger == isYes ? (.large, .small) : (.small, .large))
            }
        case .position(let side):
            return ofPair(objects) { one, other in Self.isOn(isYes ? side : side.opposite, one, other) }
        case .query(let attribute):
            let value = attribute.filter(wanted)
            return ofOne(objects) { value.matches($0) }
        case .verification: return ofOne(objects) { second.matches($0) == isYes }
        }
    }

    private func ofOne(_ objects: [SceneObject], _ isRight: (SceneObject) -> Bool) -> Int {
        let extra = abs(first.count(in: objects) - 1)
        guard let object = objects.first(where: first.matches) else { return extra + 1 }
        return extra + (isRight(object) ? 0 : 1)
    }

    private func ofPair(_ objects: [SceneObject], _ isRight: (SceneObject, SceneObject) -> Bool) -> Int {
        let extra = abs(first.count(in: objects) - 1) + abs(second.count(in: objects) - 1)
        guard let one = objects.first(where: first.matches), let other = objects.first(where: second.matches)
        else {
            return extra + 1
        }
        return extra + (isRight(one, other) ? 0 : 1)
    }

    /// By the cells, which are wider than two neighbours' places can deviate: what is left here is left in the image.
    static func isOn(_ side: Side, _ one: SceneObject, _ other: SceneObject) -> Bool {
        switch side {
        case .left: one.column < other.column
        case .right: one.column > other.column
        case .above: one.row < other.row
        case .below: one.row > other.row
        }
    }

    /// The answer's number in `objects`; nil where the question makes no sense or has another answer.
    func answer(in objects: [SceneObject]) -> Int? {
        answers.indices.first { distance(of: objects, to: $0) == 0 }
    }
}

extension SceneFilter {
    /// The one property that it names, such as `red`.
    var valueName: String {
        size?.rawValue ?? texture?.rawValue ?? color?.rawValue ?? shape?.rawValue ?? "object"
    }
}

/// Makes questions without looking at a scene.
struct SceneQuestionMaker {
    /// The groups of types from which the questions of an image are taken in turn.
    enum Topic: Sendable { case count, yesOrNo, comparison, position, query, countOfAttribute }

    /// How many objects a scene may have.
    let objects: ClosedRange<Int>
    /// Leave out numbers of objects, which GQA does not ask for.
    var skipsNumbers = false
    var topics: [Topic] = [.count, .yesOrNo, .comparison, .position, .query]

    func question(_ topic: Topic, _ random: inout CounterRandom) -> SceneQuestion {
        switch topic {
        case .count: count(&random)
        case .yesOrNo:
            random.drawn(below: 2) == 0
                ? SceneQuestion(kind: .existence, first: rareFilter(&random)) : verification(&random)
        case .comparison:
            skipsNumbers || random.drawn(below: 2) == 0 ? size(&random) : number(&random)
        case .position: position(&random)
        case .query: query(&random)
        case .countOfAttribute: countOfAttribute(&random)
        }
    }

    /// The number of objects with one property, as CLEVR count induction asks for.
    private func countOfAttribute(_ random: inout CounterRandom) -> SceneQuestion {
        let attribute = random.one(of: SceneAttribute.allCases)
        return SceneQuestion(
            kind: .count(lowest: 0), first: attribute.filter(random.drawn(below: attribute.values.count)))
    }

    private func count(_ random: inout CounterRandom) -> SceneQuestion {
        // All objects now and then: four numbers that the options allow, from 3 on when they can.
        if random.drawn(below: 8) == 0, objects.count >= 4 {
            let lowest = max(objects.lowerBound, min(3, objects.upperBound - 3))
            return SceneQuestion(kind: .count(lowest: lowest), first: SceneFilter())
        }
        return SceneQuestion(kind: .count(lowest: 0), first: rareFilter(&random))
    }

    private func number(_ random: inout CounterRandom) -> SceneQuestion {
        let attribute = random.one(of: [SceneAttribute.color, .shape, .texture])
        let (one, other) = twoNumbers(below: attribute.values.count, &random)
        return SceneQuestion(
            kind: .number(random.one(of: SceneQuestion.Comparison.allCases)), first: attribute.filter(one),
            second: attribute.filter(other))
    }

    private func size(_ random: inout CounterRandom) -> SceneQuestion {
        let (first, second) = pair(&random)
        return SceneQuestion(kind: .size(larger: random.drawn(below: 2) == 0), first: first, second: second)
    }

    private func position(_ random: inout CounterRandom) -> SceneQuestion {
        let (first, second) = pair(&random)
        return SceneQuestion(
            kind: .position(random.one(of: SceneQuestion.Side.allCases)), first: first, second: second)
    }

    private func query(_ random: inout CounterRandom) -> SceneQuestion {
        let attribute = random.one(of: SceneAttribute.allCases)
        return SceneQuestion(kind: .query(attribute), first: filter(without: attribute, &random))
    }

    private func verification(_ random: inout CounterRandom) -> SceneQuestion {
        let attribute = random.one(of: SceneAttribute.allCases)
        return SceneQuestion(
            kind: .verification, first: filter(without: attribute, &random),
            second: attribute.filter(random.drawn(below: attribute.values.count)))
    }

    /// One object by its shape, or by its colour when the shape is asked for, and now and then by one thing more.
    private func filter(without attribute: SceneAttribute, _ random: inout CounterRandom) -> SceneFilter {
        let byColor = attribute == .shape || (attribute != .color && random.drawn(below: 3) == 0)
        var filter =
            byColor
            ? SceneFilter(color: random.one(of: SceneColor.allCases))
            : SceneFilter(shape: random.one(of: SceneShape.allCases))
        switch random.drawn(below: 4) {
        case 0 where attribute != .size: filter.size = random.one(of: SceneSize.allCases)
        case 1 where attribute != .texture: filter.texture = random.one(of: SceneTexture.allCases)
        case 2 where attribute != .color: filter.color = filter.color ?? random.one(of: SceneColor.allCases)
        default: break
        }
        return filter
    }

    /// Two objects of different shapes; no object fits both.
    private func pair(_ random: inout CounterRandom) -> (SceneFilter, SceneFilter) {
        let (one, other) = twoNumbers(below: SceneShape.allCases.count, &random)
        var filters = [SceneAttribute.shape.filter(one), SceneAttribute.shape.filter(other)]
        for index in filters.indices where random.drawn(below: 4) == 0 {
            filters[index].color = random.one(of: SceneColor.allCases)
        }
        return (filters[0], filters[1])
    }

    private func rareFilter(_ random: inout CounterRandom) -> SceneFilter {
        let attribute = random.one(of: SceneAttribute.allCases.filter { $0 != .size })
        var filter = attribute.filter(random.drawn(below: attribute.values.count))
        if random.drawn(below: 3) == 0 {
            filter.shape = filter.shape ?? random.one(of: SceneShape.allCases)
        }
        return filter
    }

    private func twoNumbers(below bound: Int, _ random: inout CounterRandom) -> (Int, Int) {
        let one = random.drawn(below: bound)
        return (one, (one + 1 + random.drawn(below: bound - 1)) % bound)
    }
}
