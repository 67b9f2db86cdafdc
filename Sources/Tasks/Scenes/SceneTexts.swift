import Support

/// Sentences about a scene: reasons for answers, captions, a description.
extension Scene {
    /// The objects that fit, as `a small red circle and a large plain star`.
    func list(_ filter: SceneFilter) -> String {
        enumerated(objects.filter(filter.matches).map { withArticle($0.description) })
    }

    /// Where an object is: `in the top left corner`.
    static func place(of object: SceneObject) -> String {
        switch (object.row, object.column) {
        case (1, 1): return "in the center"
        case (1, let column): return "on the \(column == 0 ? "left" : "right") side"
        case (let row, 1): return "at the \(row == 0 ? "top" : "bottom")"
        case (let row, let column):
            return "in the \(row == 0 ? "top" : "bottom") \(column == 0 ? "left" : "right") corner"
        }
    }

    /// Three reasons, in different words, why `asked` has its answer.
    func rationales(for asked: SceneAsked) -> [String] {
        guard let question = asked.question else {
            let all = list(SceneFilter())
            return ["There is \(all).", "The image shows \(all).", "One sees \(all)."]
        }
        let facts = facts(question)
        return [
            "\(facts.first).", "\(facts.second), so the answer is \(asked.answer).",
            "The image shows \(list(SceneFilter())); \(facts.third).",
        ]
    }

    private func facts(_ question: SceneQuestion) -> (first: String, second: String, third: String) {
        let (first, second) = (question.first, question.second)
        func counted(_ filter: SceneFilter) -> String {
            let count = filter.count(in: objects)
            return count == 1 ? "1 \(filter.noun)" : "\(count == 0 ? "no" : String(count)) \(filter.plural)"
        }
        func there(_ filter: SceneFilter) -> String {
            "There \(filter.count(in: objects) == 1 ? "is" : "are") \(counted(filter))"
        }
        switch question.kind {
        case .count, .existence:
            let found = list(first)
            return (
                there(first),
                found.isEmpty ? "No object is \(withArticle(first.noun))" : "One can count \(found)",
                "that makes \(counted(first))"
            )
        case .number:
            return (
                "\(there(first)) and \(counted(second))",
                "Counting gives \(counted(first)) and \(counted(second))",
                "that makes \(counted(first)) and \(counted(second))"
            )
        case .size:
            let sizes = [first, second].map { filter in
                "the \(filter.noun) is \(objects.first(where: filter.matches)?.size.rawValue ?? "absent")"
            }
            return (
                capitalised(sizes.joined(separator: " and ")), capitalised("\(sizes[1]) while \(sizes[0])"),
                sizes.joined(separator: ", ")
            )
        case .position:
            let places = [first, second].map { filter in
                "the \(filter.noun) is \(objects.first(where: filter.matches).map(Scene.place) ?? "absent")"
            }
            return (
                capitalised(places.joined(separator: " and ")),
                capitalised("\(places[1]) while \(places[0])"),
                places.joined(separator: ", ")
            )
        case .query, .verification:
            let object = list(first)
            return (
                "The \(first.noun) is \(object)", "The only \(first.noun) is \(object)",
                "the \(first.noun) is \(object)"
            )
        }
    }

    /// An answer in a sentence, as GQA's `fullAnswer`.
    static func sentence(_ asked: SceneAsked) -> String {
        guard let question = asked.question else { return "The answer is \(asked.answer)." }
        let (one, other, isYes) = (question.first.noun, question.second.noun, asked.answer == "yes")
        let (word, not) = (isYes ? "Yes" : "No", isYes ? "" : " not")
        switch question.kind {
        case .count:
            let isOne = asked.answer == "1"
            return "There \(isOne ? "is" : "are") \(asked.answer) \(isOne ? one : question.first.plural)."
        case .existence: return isYes ? "Yes, there is \(withArticle(one))." : "No, there is no \(one)."
        case .number(.same):
            return "\(word), there are\(not) as many \(question.first.plural) as \(question.second.plural)."
        case .number(let comparison):
            return
                "\(word), there are\(not) \(comparison) \(question.first.plural) than \(question.second.plural)."
        case .size(let larger):
            return "\(word), the \(one) is\(not) \(larger ? "larger" : "smaller") than the \(other)."
        case .position(let side): return "\(word), the \(one) is\(not) \(side.phrase) the \(other)."
        case .query(.shape): return "The \(one) is \(withArticle(asked.answer))."
        case .query(.texture), .query(.color), .query(.size): return "The \(one) is \(asked.answer)."
        case .verification:
            let value = question.second.shape.map { withArticle($0.rawValue) } ?? question.second.valueName
            return "\(word), the \(one) is\(not) \(value)."
        }
    }

    /// Five captions that say different things, none of them wrong.
    func captions() -> [String] {
        let ground = Scene.tints[tint].name
        let short = objects.map { withArticle("\($0.color) \($0.shape)") }
        let all = enumerated(objects.map { withArticle($0.description) })
        let count = objects.count == 1 ? "1 object" : "\(objects.count) objects"
        let first = objects.first
        let firstText =
            first.map { "\(capitalised(withArticle($0.description))) \(Scene.place(of: $0))" } ?? "Nothing"
        let rest = objects.count > 1 ? " with \(objects.count - 1) more around it" : " and nothing else"
        return [
            "\(capitalised(enumerated(short))) on a \(ground) background.",
            "A drawing of \(count): \(enumerated(short)).", "\(capitalised(all)).",
            "\(firstText)\(rest).", relation(ground: ground, count: count),
        ]
    }

    /// A caption about two objects and where they are.
    private func relation(ground: String, count: String) -> String {
        guard objects.count > 1 else { return "A \(ground) picture with \(count)." }
        let (one, other) = (objects[0], objects[1])
        let side: SceneQuestion.Side =
            one.column != other.column
            ? (one.column < other.column ? .left : .right) : (one.row < other.row ? .above : .below)
        return capitalised(
            "\(withArticle("\(one.color) \(one.shape)")) \(side.phrase) \(withArticle("\(other.color) \(other.shape)"))."
        )
    }

    /// The whole scene, object by object.
    func detail() -> String {
        let count = objects.count == 1 ? "one object" : "\(objects.count) objects"
        let places = objects.map { object in
            "\(capitalised(Scene.place(of: object))) there is \(withArticle(object.description))."
        }
        return (["The picture has a \(Scene.tints[tint].name) background and shows \(count)."] + places)
            .joined(separator: " ")
    }
}

/// What ten people would have said.
enum SceneAnnotators {
    /// Ten answers of which at least seven are right. The wrong ones are among the possible ones.
    static func answers(to asked: SceneAsked, seed: Int, question: Int) -> [(
        text: String, confidence: String
    )] {
        var random = CounterRandom(seed: seed, sample: question, purpose: "scene annotators")
        let others = asked.answers.filter { $0 != asked.answer }
        var wrong = 0
        return (0..<10).map { _ in
            let errs = random.drawn(below: 100) < 8 && wrong < 3 && !others.isEmpty
            if errs { wrong += 1 }
            let text = errs ? random.one(of: others) : asked.answer
            let confidence =
                random.drawn(below: 100) < (errs ? 50 : 90) ? "yes" : random.one(of: ["maybe", "no"])
            return (text, confidence)
        }
    }

    /// Four options, the right one among them, and its place. Questions with two answers are filled up with answers
    /// that nobody would give.
    static func choices(for asked: SceneAsked, seed: Int, question: Int) -> (choices: [String], correct: Int)
    {
        var random = CounterRandom(seed: seed, sample: question, purpose: "scene choices")
        var others = random.shuffled(asked.answers.filter { $0 != asked.answer })
        others += asked.answers.contains("yes") ? ["maybe", "cannot tell"] : ["medium", "tiny"]
        let choices = random.shuffled([asked.answer] + others.prefix(3))
        return (choices, choices.firstIndex(of: asked.answer) ?? 0)
    }
}
