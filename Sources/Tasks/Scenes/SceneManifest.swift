import Support

/// What was made: the content of `scenes.json`.
public struct SceneManifest: Sendable {
    /// Figures of one type of questions in one split, in percent.
    public struct Figures: Sendable, Equatable {
        /// How many questions.
        public var questions: Int
        /// What guessing among the possible answers scores.
        public var chance: Double
        /// What the best constant answer to each text scores on the very same questions: no model that sees only the
        /// text can do better.
        public var questionOnly: Double
        /// What the most frequent training answer to the same text scores, and the most frequent of all for a text
        /// that training has not; nil in the split to train on.
        public var priorOfTraining: Double?
    }

    /// The layout.
    public let format: SceneFormat
    /// What was asked for.
    public let options: SceneOptions
    /// The images of each split, in the order of the splits.
    public internal(set) var images: [(split: String, count: Int)] = []
    private var tallies: [String: SceneTally] = [:]
    /// False while the files are being written.
    var isComplete = false

    init(format: SceneFormat, options: SceneOptions) {
        (self.format, self.options) = (format, options)
    }

    mutating func add(_ asked: SceneAsked, to split: String) {
        tallies[split, default: SceneTally()].add(asked)
    }

    /// How often each answer was given in `split` to questions of `type`.
    public func answers(_ split: String, type: String) -> [String: Int] {
        tallies[split]?.answers[type] ?? [:]
    }

    /// The types of questions in `split`, in alphabetical order.
    public func types(_ split: String) -> [String] {
        (tallies[split]?.answers.keys).map { $0.sorted() } ?? []
    }

    /// The figures of `split`, of one type or of all; nil without questions.
    public func figures(_ split: String, type: String? = nil) -> Figures? {
        guard let tally = tallies[split] else { return nil }
        let training = images.first.flatMap { $0.split == split ? nil : tallies[$0.split] }
        return tally.figures(type: type, training: training)
    }

    // MARK: The file

    private func json(_ figures: Figures) -> [JSON.Member] {
        var members = [
            JSON.Member("questions", .integer(figures.questions)),
            JSON.Member("chance", .number(figures.chance)),
            JSON.Member("question_only", .number(figures.questionOnly)),
        ]
        if let prior = figures.priorOfTraining {
            members.append(JSON.Member("prior_of_training", .number(prior)))
        }
        return members
    }

    /// Options, and counts and baselines by split, type and answer.
    public var json: JSON {
        let splits = images.map { split, count -> JSON.Member in
            let types = types(split).compactMap { type in
                figures(split, type: type).map { figures in
                    let answers = answers(split, type: type).sorted { $0.key < $1.key }
                        .map { JSON.Member($0.key, .integer($0.value)) }
                    return JSON.Member(
                        type, .object(json(figures) + [JSON.Member("answers", .object(answers))]))
                }
            }
            let all = figures(split).map(json) ?? []
            return JSON.Member(
                split,
                .object(
                    [JSON.Member("images", .integer(count))] + all + [JSON.Member("types", .object(types))]))
        }
        return [
            "program": "swift-vqa scenes 1", "format": .string(format.rawValue),
            "complete": .bool(isComplete),
            "options": options.json, "splits": .object(splits),
        ]
    }

    /// A table for people.
    public var lines: [String] {
        func padded(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(1, width - text.count))
        }
        func row(_ name: String, _ figures: Figures) -> String {
            func percent(_ value: Double) -> String { padded("\(value)", 15) }
            let prior = figures.priorOfTraining.map { "\($0)" } ?? "-"
            return "  " + padded(name, 18) + padded("\(figures.questions)", 12) + percent(figures.chance)
                + percent(figures.questionOnly) + prior
        }
        var result: [String] = []
        for (split, count) in images {
            result.append("\(split): \(count) images")
            guard let all = figures(split) else { continue }
            result.append(
                "  " + padded("questions", 18) + padded("number", 12) + padded("chance %", 15)
                    + padded("question only", 15) + "prior of training")
            result += types(split).compactMap { type in figures(split, type: type).map { row(type, $0) } }
            result.append(row("all", all))
        }
        return result
    }
}

/// Answers counted by the text of the question.
private struct SceneTally: Sendable {
    private struct Text {
        let type: String
        let possible: Int
        var answers: [String: Int] = [:]

        var total: Int { answers.values.reduce(0, +) }
    }

    /// By type and answer.
    private(set) var answers: [String: [String: Int]] = [:]
    private var texts: [String: Text] = [:]

    mutating func add(_ asked: SceneAsked) {
        answers[asked.type, default: [:]][asked.answer, default: 0] += 1
        texts[asked.text, default: Text(type: asked.type, possible: asked.answers.count)]
            .answers[asked.answer, default: 0] += 1
    }

    /// The most frequent answer, the first of the alphabet among equals.
    private static func best(_ counts: [String: Int]) -> (answer: String, count: Int)? {
        counts.max { ($0.value, $1.key) < ($1.value, $0.key) }.map { ($0.key, $0.value) }
    }

    func figures(type: String?, training: SceneTally?) -> SceneManifest.Figures? {
        let chosen = texts.filter { type == nil || $0.value.type == type }
        let total = chosen.values.reduce(0) { $0 + $1.total }
        guard total > 0 else { return nil }
        let best = chosen.values.reduce(0) { $0 + (Self.best($1.answers)?.count ?? 0) }
        // In millionths, and summed as whole numbers: the order of a dictionary must not matter.
        let chance = chosen.values.reduce(0) { $0 + $1.total * (1_000_000 / $1.possible) } / total
        let prior = training.map { training in
            let fallback = Self.best(
                training.answers.values.reduce(into: [:]) { $0.merge($1, uniquingKeysWith: +) })?.answer
            return chosen.reduce(0) { sum, text in
                let answer = training.texts[text.key].flatMap { Self.best($0.answers)?.answer } ?? fallback
                return sum + (answer.flatMap { text.value.answers[$0] } ?? 0)
            }
        }
        func percent(_ count: Int) -> Double { Double((count * 20000 / total + 1) / 2) / 100 }
        return SceneManifest.Figures(
            questions: total, chance: Double((chance + 50) / 100) / 100, questionOnly: percent(best),
            priorOfTraining: prior.map(percent))
    }
}
