import Support

/// The answers that a classifier chooses from, and the training targets that they give.
///
/// Source: the DVP release (spec 5.2), which took it from ViLT: an answer is in the vocabulary when at least
/// 9 questions have it, after the normaliser; its number is the order of first appearance.
public struct AnswerVocabulary: Sendable, Equatable {
    /// How answers are counted and compared.
    public struct Rule: Sendable, Equatable {
        /// Answers of fewer questions are left out.
        public var minimumCount: Int
        /// Normalise the one answer of a question (``Sample/answer``) before it is counted.
        public var normalisesAnswers: Bool
        /// Normalise each of several annotators' answers before it is looked up. The release does not, and so
        /// loses the votes of annotators who wrote `Yes.` or `two`.
        public var normalisesAnnotators: Bool

        /// Any combination of the three.
        public init(minimumCount: Int, normalisesAnswers: Bool, normalisesAnnotators: Bool) {
            self.minimumCount = minimumCount
            self.normalisesAnswers = normalisesAnswers
            self.normalisesAnnotators = normalisesAnnotators
        }

        /// As the DVP release.
        public static let released = Rule(
            minimumCount: 9, normalisesAnswers: true, normalisesAnnotators: false)
        /// As the release, with the annotators' answers normalised too.
        public static let fixed = Rule(minimumCount: 9, normalisesAnswers: true, normalisesAnnotators: true)
        /// Every answer as it is written: for data sets with one exact answer a question.
        public static let asWritten = Rule(
            minimumCount: 1, normalisesAnswers: false, normalisesAnnotators: false)
    }

    /// The answers by number.
    public let answers: [String]
    /// How the answers were counted and are compared.
    public let rule: Rule
    private let numbers: [String: Int]

    /// Exactly these answers, in this order.
    public init(_ answers: [String], rule: Rule = .asWritten) throws {
        var numbers: [String: Int] = [:]
        for (number, answer) in answers.enumerated() where numbers.updateValue(number, forKey: answer) != nil
        {
            throw VQAError(
                "cannot use the list of answers", at: answer, because: "it is there twice",
                remedy: "keep one of the two")
        }
        guard !answers.isEmpty else {
            throw VQAError(
                "cannot make a list of answers",
                because: "no answer is given to at least \(rule.minimumCount) questions",
                remedy: "lower the minimum count")
        }
        self.answers = answers
        self.rule = rule
        self.numbers = numbers
    }

    /// Counts the answers of the data sets in their order.
    public init(countedIn sets: [TaskData], rule: Rule) throws {
        var counts: [String: Int] = [:]
        var order: [String] = []
        for answer in sets.lazy.flatMap(\.samples).compactMap(\.answer) {
            let answer = rule.normalisesAnswers ? normalisedAnswer(answer) : answer
            if counts.updateValue((counts[answer] ?? 0) + 1, forKey: answer) == nil { order.append(answer) }
        }
        try self.init(order.filter { counts[$0] ?? 0 >= rule.minimumCount }, rule: rule)
    }

    /// The number of an answer, or nil when it is not in the vocabulary.
    public func number(of answer: String) -> Int? { numbers[answer] }

    /// An answer with the score that choosing it earns.
    public struct Target: Sendable, Equatable {
        /// The number of the answer.
        public let number: Int
        /// What choosing it earns, from 0 to 1.
        public let score: Float

        /// Pairs the two.
        public init(number: Int, score: Float) {
            self.number = number
            self.score = score
        }
    }

    /// The training targets of a sample: each of its answers that is in the vocabulary, in the order of first
    /// appearance, scored by how many annotators gave it: 0.3, 0.6, 0.9, and 1 from four on. The one answer
    /// of a sample with a single one scores 1. Empty when no answer is in the vocabulary.
    public func targets(for sample: Sample) -> [Target] {
        if sample.answers.count == 1, let only = sample.answers.first {
            let number = number(of: rule.normalisesAnswers ? normalisedAnswer(only) : only)
            return number.map { [Target(number: $0, score: 1)] } ?? []
        }
        var votes: [(number: Int, count: Int)] = []
        for answer in sample.answers {
            guard let number = number(of: rule.normalisesAnnotators ? normalisedAnswer(answer) : answer)
            else {
                continue
            }
            if let known = votes.firstIndex(where: { $0.number == number }) {
                votes[known].count += 1
            } else {
                votes.append((number, 1))
            }
        }
        let scores: [Float] = [0, 0.3, 0.6, 0.9, 1]
        return votes.map { Target(number: $0.number, score: scores[min($0.count, 4)]) }
    }

    /// How much of a data set the vocabulary can answer.
    public struct Coverage: Sendable, Equatable, CustomStringConvertible {
        /// The size of the vocabulary.
        public let answers: Int
        /// Questions in all.
        public let questions: Int
        /// Questions with at least one answer in the vocabulary.
        public let covered: Int
        /// The best mean score that a classifier over the vocabulary can reach, in per cent, by the targets.
        public let ceiling: Double

        /// One line for people.
        public var description: String {
            "\(answers) answers cover \(covered) of \(questions) questions; the best score they can reach is "
                + "\(ceiling) %"
        }
    }

    /// What share of `data` the vocabulary covers.
    public func coverage(of data: TaskData) -> Coverage {
        var covered = 0
        var sum = 0.0
        for sample in data.samples {
            guard let best = targets(for: sample).map(\.score).max() else { continue }
            covered += 1
            sum += Double(best)
        }
        let count = data.samples.count
        return Coverage(
            answers: answers.count, questions: count, covered: covered,
            ceiling: count == 0 ? 0 : roundedToHundredths(100 * sum / Double(count)))
    }

    // MARK: Files

    /// `{"format", "minimum_count", "normalises_answers", "normalises_annotators", "answers": […]}`
    public var json: JSON {
        [
            "format": "swift-vqa answers 1", "minimum_count": .integer(rule.minimumCount),
            "normalises_answers": .bool(rule.normalisesAnswers),
            "normalises_annotators": .bool(rule.normalisesAnnotators),
            "answers": .array(answers.map { .string($0) }),
        ]
    }

    /// Writes ``json`` atomically.
    public func save(to path: String) throws { try writeFile(json.text(indented: true) + "\n", to: path) }

    /// Reads what ``save(to:)`` wrote, or another form that ``init(_:source:)`` reads.
    public init(contentsOf path: String) throws {
        try self.init(JSON(contentsOf: path, limit: 64 << 20), source: path)
    }

    /// Reads ``json``, a plain list of strings, or OpenVQA's dictionary of GQA's answers (`dicts.json`: a list whose first
    /// element gives each answer its number); `source` is the name in errors.
    public init(_ json: JSON, source: String) throws {
        func failure(_ why: String) -> VQAError {
            VQAError("cannot read the list of answers", at: source, because: why)
        }
        if let numbers = json.array?.first?.members {
            var answers = [String?](repeating: nil, count: numbers.count)
            for member in numbers {
                guard let number = member.value.integer, answers.indices.contains(number),
                    answers[number] == nil
                else { throw failure("the answers are not numbered from 0, each once") }
                answers[number] = member.key
            }
            let rule = Rule(minimumCount: 1, normalisesAnswers: true, normalisesAnnotators: false)
            try self.init(answers.compactMap { $0 }, rule: rule)
            return
        }
        var rule = Rule.asWritten
        if json.members != nil {
            guard let count = json["minimum_count"]?.integer, let answers = json["normalises_answers"]?.bool,
                let annotators = json["normalises_annotators"]?.bool
            else { throw failure("minimum_count, normalises_answers or normalises_annotators is missing") }
            rule = Rule(minimumCount: count, normalisesAnswers: answers, normalisesAnnotators: annotators)
        }
        guard let list = json.array ?? json["answers"]?.array else {
            throw failure("there is no list 'answers'")
        }
        let answers = list.compactMap(\.string)
        guard answers.count == list.count else { throw failure("an answer is not a string") }
        try self.init(answers, rule: rule)
    }
}
