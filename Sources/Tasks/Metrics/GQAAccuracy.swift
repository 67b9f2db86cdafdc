import Support

/// What the extended measures of GQA need besides the samples.
public struct GQADetails: Sendable {
    /// The questions whose answer follows from that of a question, itself among them.
    public private(set) var entailed: [QuestionID: [QuestionID]] = [:]
    /// The questions that ask the same.
    public private(set) var equivalent: [QuestionID: [QuestionID]] = [:]
    /// By question, the positions in `lists` of the valid and of the plausible answers.
    private var choices: [QuestionID: (valid: Int, plausible: Int)] = [:]
    /// Lists of answers, each once: many questions share theirs.
    private var lists: [Set<String>] = []

    /// Nothing is known.
    public init() {}

    mutating func add(_ question: GQAQuestion) {
        if !question.entailed.isEmpty { entailed[question.id] = question.entailed }
        if !question.equivalent.isEmpty { equivalent[question.id] = question.equivalent }
    }

    /// Reads `{"<question id>": {"valid": […], "plausible": […]}}`, of which only `wanted` questions are kept.
    mutating func readChoices(_ file: String, for wanted: Set<QuestionID>, log: inout ProblemLog) throws {
        var known: [Set<String>: Int] = [:]
        var lists: [Set<String>] = []
        var choices: [QuestionID: (valid: Int, plausible: Int)] = [:]
        func number(_ list: [String]) -> Int {
            let list = Set(list)
            if let number = known[list] { return number }
            known[list] = lists.count
            lists.append(list)
            return lists.count - 1
        }
        try withText(of: file) { bytes in
            var cursor = JSONCursor(bytes, source: file)
            try readMembers(&cursor, log: &log) { key, cursor in
                try Self.readChoice(key, &cursor)
            } use: { choice, _, _ in
                guard wanted.contains(choice.id) else { return }
                choices[choice.id] = (number(choice.valid), number(choice.plausible))
            }
            try cursor.end()
        }
        self.lists = lists
        self.choices = choices
    }

    private static func readChoice(
        _ id: String, _ cursor: inout JSONCursor
    ) throws -> (id: QuestionID, valid: [String], plausible: [String]) {
        var valid: [String]?
        var plausible: [String]?
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "valid": valid = try readStrings(&cursor, key)
            case "plausible": plausible = try readStrings(&cursor, key)
            default: try cursor.skipValue()
            }
        }
        guard let valid, let plausible else {
            throw cursor.failure("the question \(id) needs the lists 'valid' and 'plausible'")
        }
        return (QuestionID(id), valid, plausible)
    }

    /// Whether an answer is valid, and whether it is plausible; nil where the lists are not known.
    func judge(_ answer: String, to sample: Sample) -> (isValid: Bool, isPlausible: Bool)? {
        guard let choice = choices[sample.id] else { return nil }
        // Questions about what two things have in common have their own three answers.
        if sample.labels["detailed"]?.contains("Common") == true {
            let isCommon = ["color", "material", "shape"].contains(answer)
            return (isCommon, isCommon)
        }
        return (lists[choice.valid].contains(answer), lists[choice.plausible].contains(answer))
    }
}

/// The measures of GQA's official program (`eval.py` of the data set's download; read in MILVLG/openvqa,
/// `openvqa/datasets/gqa/eval/gqa_eval.py`): exact equality over the balanced questions, and
///
/// * `binary` and `open`: the same over questions of these kinds;
/// * `consistency`: of a question that was answered right, the share of its entailed questions that were answered right,
///   averaged; only when all of them are among the questions;
/// * `validity` and `plausibility`: the share of answers in the question's lists; only with the file of choices;
/// * `distribution`: χ² between true and given answers within each global group, averaged over the groups by their size,
///   divided by 100; lower is better. It is no function of a few sums and has no interval.
public struct GQAAccuracy: AnswerMetric {
    private let details: GQADetails

    /// A measure that knows the further files of the data set.
    public init(details: GQADetails = GQADetails()) { self.details = details }

    /// In reports.
    public let name = "gqa-accuracy"

    /// 1 for the right answer, letter by letter.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        zip(answers, samples).map { Self.isRight($0, $1) ? 1 : 0 }
    }

    private static func isRight(_ answer: String, _ sample: Sample) -> Bool {
        sample.answers.first.map { sameBytes($0, answer) } ?? false
    }

    /// The balanced questions.
    public func counts(_ sample: Sample) -> Bool { sample.labels["balanced"] != "false" }

    /// What each question adds to a mean.
    private struct Means {
        var names: [String] = []
        /// By name, one value for each sample, nil where it does not take part.
        var values: [[Double?]] = []

        mutating func add(_ name: String, _ column: [Double?]) {
            guard column.contains(where: { $0 != nil }) else { return }
            names.append(name)
            values.append(column)
        }
    }

    /// Those of the figures that the samples and files allow.
    public func figures(of answers: [String], for samples: [Sample]) -> Figures? {
        let right = zip(answers, samples).map(Self.isRight)
        let counted = samples.map(counts)
        var means = Means()
        for kind in ["binary", "open"] {
            means.add(
                kind,
                samples.indices.map { position -> Double? in
                    guard counted[position], samples[position].answerType == kind else { return nil }
                    return right[position] ? 1 : 0
                })
        }
        if let consistency = consistency(right, counted, samples) { means.add("consistency", consistency) }
        let judged = samples.indices.map { position -> (isValid: Bool, isPlausible: Bool)? in
            counted[position] ? details.judge(answers[position], to: samples[position]) : nil
        }
        means.add("validity", judged.map { verdict -> Double? in verdict.map { $0.isValid ? 1 : 0 } })
        means.add("plausibility", judged.map { verdict -> Double? in verdict.map { $0.isPlausible ? 1 : 0 } })
        let rows = samples.indices.map { position in
            means.values.flatMap { column -> [Double] in
                guard let value = column[position] else { return [0, 0] }
                return [value, 1]
            }
        }
        let distribution = distribution(answers, counted, samples).map {
            [(name: "distribution", value: $0)]
        }
        guard !means.names.isEmpty || distribution != nil else { return nil }
        return Figures(means.names, rows: rows, fixed: distribution ?? []) { sums in
            stride(from: 0, to: sums.count, by: 2).map {
                sums[$0 + 1] > 0 ? 100 * sums[$0] / sums[$0 + 1] : 0
            }
        }
    }

    /// For each question answered right, the share of the questions it entails that were answered right; nil when one of
    /// those is not among the samples, because the official program then has no consistency either.
    private func consistency(_ right: [Bool], _ counted: [Bool], _ samples: [Sample]) -> [Double?]? {
        var positions: [QuestionID: Int] = [:]
        for (position, sample) in samples.enumerated() { positions[sample.id] = position }
        var shares = [Double?](repeating: nil, count: samples.count)
        for (position, sample) in samples.enumerated() where counted[position] {
            let others = (details.entailed[sample.id] ?? []).filter { $0 != sample.id }
            let found = others.compactMap { positions[$0] }
            guard found.count == others.count else { return nil }
            if right[position], !found.isEmpty {
                shares[position] = Double(found.count { right[$0] }) / Double(found.count)
            }
        }
        return shares
    }

    private func distribution(_ answers: [String], _ counted: [Bool], _ samples: [Sample]) -> Double? {
        var gold: [String: [String: Int]] = [:]
        var given: [String: [String: Int]] = [:]
        for (position, sample) in samples.enumerated() where counted[position] {
            guard let group = sample.labels["group"], let answer = sample.answers.first else { continue }
            gold[group, default: [:]][answer, default: 0] += 1
            given[group, default: [:]][answers[position], default: 0] += 1
        }
        // In a fixed order: a sum of rounded numbers depends on it.
        var sum = 0.0
        var overall = 0
        for (group, expected) in gold.sorted(by: { $0.key < $1.key }) {
            var score = 0.0
            for (answer, count) in expected.sorted(by: { $0.key < $1.key }) {
                let difference = Double((given[group]?[answer] ?? 0) - count)
                score += difference * difference / Double(count)
            }
            let size = expected.values.reduce(0, +)
            sum += score * Double(size)
            overall += size
        }
        return overall > 0 ? sum / Double(overall) / 100 : nil
    }
}
