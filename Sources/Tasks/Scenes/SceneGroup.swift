import Support

/// A question that was put to one image.
struct SceneAsked: Sendable {
    let text: String
    /// For counts and baselines.
    let type: String
    let answer: String
    /// What the text can be answered with.
    let answers: [String]
    /// Nil for the sentences that only easy-VQA has.
    let question: SceneQuestion?

    /// VQA v2's class of the answer.
    var answerType: String {
        if answers.contains("yes") { return "yes/no" }
        return type == SceneQuestionType.count.rawValue ? "number" : "other"
    }

    init(text: String, type: String, answer: String, answers: [String]) {
        (self.text, self.type, self.answer, self.answers) = (text, type, answer, answers)
        question = nil
    }

    init(_ question: SceneQuestion, answer: Int) {
        (text, answers, self.question) = (question.text, question.answers, question)
        type = question.type.rawValue
        self.answer = answers[answer]
    }
}

/// A scene with its questions, before it has a number.
struct SceneWithQuestions: Sendable {
    var scene: Scene
    var asked: [SceneAsked] = []
}

/// Scenes that share their questions and differ in the answers: a generalisation of VQA v2's complementary pairs.
///
/// The questions are drawn first, without a scene. For each, all its answers are dealt to the group's images, each answer
/// as often as any other; an image that would make them uneven is not asked. Then the scenes are changed until every
/// image has its answers. So a text tells nothing about its answer, whatever the scenes are like.
struct SceneGroup {
    /// Groups have eight images, because 2, 4 and 8 answers divide them. The last group of a split has the rest too.
    static let usualSize = 8

    let seed: Int
    /// The number of the group's first image: all randomness hangs on it.
    let firstImage: Int
    let count: Int
    let objects: ClosedRange<Int>

    /// The scenes of the group with about `questions` questions each.
    func make(questions: Int, maker: SceneQuestionMaker) -> [SceneWithQuestions] {
        var random = CounterRandom(seed: seed, sample: firstImage, purpose: "scene questions")
        var drafts = (0..<count).map { index in
            SceneDraft(
                objects: objects,
                random: CounterRandom(seed: seed, sample: firstImage + index, purpose: "scene objects"))
        }
        var slots: [(question: SceneQuestion, answers: [Int?])] = []
        var topics: [SceneQuestionMaker.Topic] = []
        while slots.count < questions {
            if topics.isEmpty { topics = random.shuffled(maker.topics) }
            let topic = topics.removeLast()
            // A question that contradicts the others is given up for another one. After a while of any topic: some
            // option, such as one object an image, may rule out a topic altogether.
            let found = (0..<48).contains { attempt in
                let topic = attempt < 24 ? topic : random.one(of: maker.topics)
                return add(maker.question(topic, &random), to: &slots, &drafts, &random)
            }
            if !found { break }
        }
        return drafts.indices.map { index in
            finish(drafts[index], image: firstImage + index, slots, at: index)
        }
    }

    /// Deals the answers and changes the scenes; leaves everything as it was when a scene cannot be made.
    private func add(
        _ question: SceneQuestion, to slots: inout [(question: SceneQuestion, answers: [Int?])],
        _ drafts: inout [SceneDraft], _ random: inout CounterRandom
    ) -> Bool {
        let texts = Set(slots.flatMap { [$0.question, $0.question.converse ?? $0.question] })
        guard !texts.contains(question), let answers = deal(question.answers.count, &random) else {
            return false
        }
        var changed = drafts
        for (index, answer) in answers.enumerated() {
            guard let answer else { continue }
            guard changed[index].satisfy(question, answer) else { return false }
        }
        drafts = changed
        slots.append((question, answers))
        return true
    }

    /// An answer for each image, each as often as any other; nil for the images left over, and as a whole when there
    /// are more answers than images.
    private func deal(_ answers: Int, _ random: inout CounterRandom) -> [Int?]? {
        let rounds = count / answers
        guard rounds > 0 else { return nil }
        let dealt: [Int?] = (0..<rounds * answers).map { $0 % answers }
        return random.shuffled(dealt + Array(repeating: nil, count: count - dealt.count))
    }

    private func finish(
        _ draft: SceneDraft, image: Int, _ slots: [(question: SceneQuestion, answers: [Int?])], at index: Int
    ) -> SceneWithQuestions {
        var draft = draft
        draft.vary()
        var scene = Scene(objects: draft.scene)
        var random = CounterRandom(seed: seed, sample: image, purpose: "scene places")
        scene.settle(&random)
        let asked = slots.compactMap { slot in
            slot.answers[index].map { SceneAsked(slot.question, answer: $0) }
        }
        return SceneWithQuestions(scene: scene, asked: asked)
    }
}

/// A scene that is changed at random until every question put to it has the wanted answer.
private struct SceneDraft {
    private let range: ClosedRange<Int>
    private var random: CounterRandom
    private var wanted: [(question: SceneQuestion, answer: Int)] = []
    private(set) var scene: [SceneObject] = []

    init(objects: ClosedRange<Int>, random: CounterRandom) {
        range = objects
        self.random = random
        var made: [SceneObject] = []
        for _ in 0..<objects.lowerBound + self.random.drawn(below: objects.count) { addObject(to: &made) }
        scene = made
    }

    private func distance(of objects: [SceneObject]) -> Int {
        wanted.reduce(0) { $0 + $1.question.distance(of: objects, to: $1.answer) }
    }

    /// Adds a wish and changes the scene until all are fulfilled; false when 400 changes are not enough.
    mutating func satisfy(_ question: SceneQuestion, _ answer: Int) -> Bool {
        wanted.append((question, answer))
        var best = distance(of: scene)
        for _ in 0..<400 where best > 0 {
            let changed = random.drawn(below: 2) == 0 ? mutated() : guided()
            let distance = distance(of: changed)
            if distance <= best { (scene, best) = (changed, distance) }
        }
        return best == 0
    }

    /// Changes what no question is about, so that scenes with the same answers differ.
    mutating func vary() {
        for _ in 0..<24 {
            let changed = mutated()
            if distance(of: changed) == 0 { scene = changed }
        }
    }

    /// Makes an object, which may be a new one, fit one of the descriptions that matter.
    private mutating func guided() -> [SceneObject] {
        var objects = scene
        let wish = random.one(of: wanted)
        if objects.count < range.upperBound, random.drawn(below: 4) == 0 { addObject(to: &objects) }
        let index = random.drawn(below: 3) == 0 ? objects.count - 1 : random.drawn(below: objects.count)
        let useSecond = random.drawn(below: 2) == 0
        switch wish.question.kind {
        case .query(let attribute):
            wish.question.first.imprint(on: &objects[index])
            attribute.filter(wish.answer).imprint(on: &objects[index])
        case .verification:
            wish.question.first.imprint(on: &objects[index])
            if wish.answer == 0 { wish.question.second.imprint(on: &objects[index]) }
        case .number, .size, .position:
            (useSecond ? wish.question.second : wish.question.first).imprint(on: &objects[index])
        case .count, .existence: wish.question.first.imprint(on: &objects[index])
        }
        return objects
    }

    /// One random change.
    private mutating func mutated() -> [SceneObject] {
        var objects = scene
        let index = random.drawn(below: objects.count)
        switch random.drawn(below: 7) {
        case 0: objects[index].shape = random.one(of: SceneShape.allCases)
        case 1: objects[index].color = random.one(of: SceneColor.allCases)
        case 2: objects[index].size = random.one(of: SceneSize.allCases)
        case 3: objects[index].texture = random.one(of: SceneTexture.allCases)
        case 4: if objects.count < range.upperBound { addObject(to: &objects) }
        case 5: if objects.count > range.lowerBound { objects.remove(at: index) }
        default:
            // To another cell; who is there comes here.
            let cell = random.drawn(below: 9)
            if let there = objects.firstIndex(where: { $0.cell == cell }) {
                objects[there].cell = objects[index].cell
            }
            objects[index].cell = cell
        }
        return objects
    }

    private mutating func addObject(to objects: inout [SceneObject]) {
        let taken = objects.map(\.cell)
        objects.append(
            SceneObject(
                shape: random.one(of: SceneShape.allCases), color: random.one(of: SceneColor.allCases),
                size: random.one(of: SceneSize.allCases), texture: random.one(of: SceneTexture.allCases),
                cell: random.one(of: (0..<9).filter { !taken.contains($0) })))
    }
}
