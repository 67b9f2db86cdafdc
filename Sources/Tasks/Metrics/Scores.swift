import Support

/// The scores of one set of predictions.
public struct Scores: Sendable, Equatable {
    /// One breakdown: percentage and number of questions by label.
    public struct Group: Sendable, Equatable {
        /// The key in the result, such as `per_answer_type`.
        public let name: String
        /// Percentages with two decimals, by label.
        public let percentages: [String: Double]
        /// Numbers of questions, by label.
        public let counts: [String: Int]
    }

    /// A figure beside the mean score, such as an F1, with its interval.
    public struct Figure: Sendable, Equatable {
        /// The key in the result.
        public let name: String
        /// The figure with six decimals; shares in per cent.
        public let value: Double
        /// The lower end of its interval; nil for a figure that the bootstrap cannot draw.
        public let low: Double?
        /// The upper end.
        public let high: Double?
    }

    /// The short name of the task.
    public let task: String
    /// The split; empty when whole files were scored.
    public let split: String
    /// The name of the measure.
    public let metric: String
    /// The mean score in per cent, with two decimals as the official program prints it.
    public let overall: Double
    /// The number of questions that the measure counts, those without a prediction included.
    public let count: Int
    /// Questions without a prediction; they score 0.
    public let missing: Int
    /// The lower end of the interval of `overall`, in per cent with two decimals.
    public let low: Double
    /// The upper end.
    public let high: Double
    /// How the interval was made.
    public let bootstrap: Bootstrap
    /// The number of images.
    public let clusters: Int
    /// What is reported beside the mean score, in the order of the measure.
    public let figures: [Figure]
    /// Why a figure is missing, one line each.
    public let remarks: [String]
    /// Questions whose answer has not the form that the measure expects, in the order of the data.
    public let unexpected: [QuestionID]
    /// The breakdowns, in the order of the task.
    public let groups: [Group]
    /// The score of each question, in the order of the data; for paired comparisons of two runs. Questions that the measure
    /// leaves out have one too.
    public let perQuestion: [Double]

    /// `{"task", "split", "metric", "overall", "n", "ci95", "per_answer_type", "per_question_type",
    /// "missing", "counts", "bootstrap"}`, and where there are any `figures` with `figures_ci95`, `remarks`, and `unexpected` with
    /// the number and the first ids of answers that have not the expected form. Labels are in the order of their text.
    public var json: JSON {
        var members = [
            JSON.Member("task", .string(task)), JSON.Member("split", .string(split)),
            JSON.Member("metric", .string(metric)), JSON.Member("overall", .number(overall)),
            JSON.Member("n", .integer(count)), JSON.Member("ci95", [.number(low), .number(high)]),
        ]
        if !figures.isEmpty {
            members.append(
                JSON.Member("figures", .object(figures.map { JSON.Member($0.name, .number($0.value)) })))
            members.append(
                JSON.Member(
                    "figures_ci95",
                    .object(
                        figures.compactMap { figure in
                            guard let low = figure.low, let high = figure.high else { return nil }
                            return JSON.Member(figure.name, [.number(low), .number(high)])
                        })))
        }
        if !remarks.isEmpty { members.append(JSON.Member("remarks", .array(remarks.map { .string($0) }))) }
        for group in groups {
            members.append(JSON.Member(group.name, Self.sorted(group.percentages) { .number($0) }))
        }
        let counts = groups.map { JSON.Member($0.name, Self.sorted($0.counts) { .integer($0) }) }
        members.append(JSON.Member("counts", .object(counts)))
        members.append(JSON.Member("missing", .integer(missing)))
        if !unexpected.isEmpty {
            members.append(
                JSON.Member(
                    "unexpected",
                    [
                        "n": .integer(unexpected.count),
                        "first": .array(unexpected.prefix(20).map(\.json)),
                    ]))
        }
        members.append(
            JSON.Member(
                "bootstrap",
                [
                    "unit": "image", "units": .integer(clusters), "resamples": .integer(bootstrap.resamples),
                    "seed": .integer(bootstrap.seed),
                ]))
        return .object(members)
    }

    private static func sorted<Value>(_ labels: [String: Value], _ json: (Value) -> JSON) -> JSON {
        .object(labels.sorted { $0.key < $1.key }.map { JSON.Member($0.key, json($0.value)) })
    }
}

/// What to do when scoring.
public struct ScoreOptions: Sendable {
    /// Score questions without a prediction as wrong instead of refusing to score.
    public var allowsMissing: Bool
    /// How the interval is made.
    public var bootstrap: Bootstrap

    /// Strict, with 1,000 resamples, unless told otherwise.
    public init(allowsMissing: Bool = false, bootstrap: Bootstrap = Bootstrap()) {
        self.allowsMissing = allowsMissing
        self.bootstrap = bootstrap
    }
}

/// Sums of scores in whole units, so that no sum depends on the order of its terms. The unit divides the
/// scores of up to 16 annotators (thirds of a mean over them) without remainder.
let scoreUnitsPerPoint = 2_162_160

/// `100 * sum / count` to two decimals, rounded as Python's `round` does: the binary number that the division
/// gives is rounded correctly, an exact tie to even.
func percentage(sum: Int, count: Int) -> Double {
    guard count > 0 else { return 0 }
    return roundedToHundredths(100 * Double(sum) / Double(scoreUnitsPerPoint) / Double(count))
}

func roundedToHundredths(_ value: Double) -> Double {
    let scaled = value * 100
    // What the multiplication lost decides a tie.
    let error = (-scaled).addingProduct(value, 100)
    let whole = scaled.rounded(.down)
    let rest = scaled - whole
    let roundsUp =
        rest > 0.5
        || (rest == 0.5 && (error > 0 || (error == 0 && whole.truncatingRemainder(dividingBy: 2) != 0)))
    return (whole + (roundsUp ? 1 : 0)) / 100
}

/// Scores `predictions` on `data` by the task's own metric.
///
/// Every question needs exactly one prediction: an unknown id, a second prediction or a missing one is an
/// error with the number of such cases and the first of them. Scores do not depend on the order of
/// predictions or samples.
public func score(
    _ predictions: [Prediction], on data: TaskData, task: any VQATask, options: ScoreOptions = ScoreOptions()
) throws -> Scores {
    guard !data.samples.isEmpty else {
        throw VQAError("cannot score", at: data.task, because: "the data have no questions")
    }
    try task.requireTextAnswers(data)
    if let unanswered = data.samples.first(where: { $0.answers.isEmpty }) {
        throw VQAError(
            "cannot score", at: "question \(unanswered.id)", because: "it has no answer to compare with",
            remedy: "give the annotations, or send the submission file to the data set's server")
    }
    let metric = task.metric(for: data)
    let judged = try judge(
        task.joined(predictions, to: data), on: data.samples, by: metric, allowsMissing: options.allowsMissing
    )
    let samples = data.samples.picked(judged.counted)
    let units = judged.counted.map { Int((judged.scores[$0] * Double(scoreUnitsPerPoint)).rounded()) }
    guard !units.isEmpty else {
        throw VQAError(
            "cannot score", at: data.task, because: "\(metric.name) leaves out all of the questions")
    }
    let clusters = clusters(of: units, samples: samples)
    let interval = options.bootstrap.interval(of: clusters)
    func percent(_ mean: Double) -> Double { roundedToHundredths(100 * mean / Double(scoreUnitsPerPoint)) }
    return Scores(
        task: data.task, split: data.split, metric: metric.name,
        overall: percentage(sum: units.reduce(0, +), count: units.count), count: units.count,
        missing: judged.counted.count { judged.answers[$0] == nil }, low: percent(interval.low),
        high: percent(interval.high), bootstrap: options.bootstrap, clusters: clusters.count,
        figures: try judged.figures.map {
            try figures($0, of: judged.seen.map { data.samples[$0] }, options.bootstrap)
        } ?? [],
        remarks: judged.figures?.remarks ?? [],
        unexpected: data.samples.indices.compactMap { position in
            judged.answers[position].flatMap {
                metric.isExpected($0, for: data.samples[position]) ? nil : data.samples[position].id
            }
        },
        groups: task.groupings.map { group(units, of: samples, by: $0) }, perQuestion: judged.scores)
}

extension [Sample] {
    /// The samples at `positions`, which rise; mostly these are all.
    fileprivate func picked(_ positions: [Int]) -> [Sample] {
        positions.count == count ? self : positions.map { self[$0] }
    }
}

/// What a measure says of every question.
struct Judgement {
    /// By sample, nil where there is none.
    var answers: [String?]
    /// By sample; 0 where there is no answer.
    var scores: [Double]
    /// The positions of the samples that make the mean.
    var counted: [Int]
    /// The positions of the samples that the measure saw, in the order of the rows of `figures`.
    var seen: [Int]
    var figures: Figures?
}

/// Matches the predictions to the samples and lets the measure judge them.
func judge(
    _ predictions: [Prediction], on samples: [Sample], by metric: any AnswerMetric, allowsMissing: Bool
) throws -> Judgement {
    let counts = samples.map(metric.counts)
    let answers = try match(predictions, to: samples, counted: counts, allowsMissing: allowsMissing)
    let seen = samples.indices.filter { counts[$0] || answers[$0] != nil }
    let (given, asked) = (seen.map { answers[$0] ?? "" }, samples.picked(seen))
    let (found, figures) = try metric.judgement(of: given, for: asked)
    guard found.count == seen.count, found.allSatisfy(\.isFinite) else {
        throw VQAError(
            "cannot score", because: "\(metric.name) gave no score for some answer", kind: .failure)
    }
    var scores = [Double](repeating: 0, count: samples.count)
    for (position, score) in zip(seen, found) where answers[position] != nil {
        scores[position] = min(max(0, score), metric.maximum)
    }
    return Judgement(
        answers: answers, scores: scores, counted: samples.indices.filter { counts[$0] }, seen: seen,
        figures: figures)
}

/// Scores a prediction file against files of questions and annotations; `annotations` is nil when the answers
/// are in the file of questions.
public func score(
    task name: String, questions: String, annotations: String?, predictions: String, split: String? = nil,
    options: ScoreOptions = ScoreOptions()
) throws -> Scores {
    let task = try TaskRegistry.named(name)
    let data = try task.load(TaskFiles(questions: questions, annotations: annotations), split: split)
    return try score(readPredictions(predictions, for: task), on: data, task: task, options: options)
}

/// The answer to each sample, nil where there is none.
private func match(
    _ predictions: [Prediction], to samples: [Sample], counted: [Bool], allowsMissing: Bool
) throws -> [String?] {
    var index: [QuestionID: Int] = [:]
    index.reserveCapacity(samples.count)
    for position in samples.indices {
        let id = samples[position].id
        guard index.updateValue(position, forKey: id) == nil else {
            throw VQAError("cannot score", at: "question \(id)", because: "two questions have this id")
        }
    }
    var answers = [String?](repeating: nil, count: samples.count)
    var unknown = FirstAndCount()
    var repeated = FirstAndCount()
    for number in predictions.indices {
        guard let position = index[predictions[number].id] else {
            unknown.add(predictions[number])
            continue
        }
        if answers[position] != nil { repeated.add(predictions[number]) }
        answers[position] = predictions[number].answer
    }
    if let first = unknown.first {
        throw VQAError(
            "cannot score the predictions", at: first.place,
            because:
                "\(unknown.count) of \(predictions.count) predictions are for a question that is not among "
                + "the \(samples.count) questions, the first is \(first.id)",
            remedy: "give the questions that the predictions were made for")
    }
    if let first = repeated.first {
        throw VQAError(
            "cannot score the predictions", at: first.place,
            because:
                "\(repeated.count) predictions are for a question that already has one, the first is "
                + "\(first.id)",
            remedy: "keep one prediction for each question")
    }
    let missing = samples.indices.filter { counted[$0] && answers[$0] == nil }
    if let first = missing.first, !allowsMissing {
        throw VQAError(
            "cannot score the predictions",
            because:
                "\(missing.count) of \(samples.count) questions have none, the first is \(samples[first].id)",
            remedy: "predict them too, or allow missing predictions, which then count as wrong")
    }
    return answers
}

private struct FirstAndCount {
    var first: Prediction?
    var count = 0

    mutating func add(_ prediction: Prediction) {
        if first == nil { first = prediction }
        count += 1
    }
}

/// The sums by image, in the order of the image's name, so that the bootstrap does not depend on the file's
/// order.
private func clusters(of units: [Int], samples: [Sample]) -> [Bootstrap.Cluster] {
    var images = Numbering()
    var clusters: [Bootstrap.Cluster] = []
    // By position: taking a sample out of the list copies all that it holds.
    for position in samples.indices {
        let image = images.number(of: samples[position].imageID)
        if image == clusters.count { clusters.append(Bootstrap.Cluster()) }
        clusters[image].sum += units[position]
        clusters[image].count += 1
    }
    return zip(images.texts, clusters).sorted { $0.0 < $1.0 }.map(\.1)
}

/// Numbers for different texts, from 0 in the order of their coming. A text mostly is the one before again.
private struct Numbering {
    private(set) var texts: [String] = []
    private var numbers: [String: Int] = [:]
    private var last: (text: String, number: Int)?

    mutating func number(of text: String) -> Int {
        if let last, last.text == text { return last.number }
        let number = numbers[text] ?? texts.count
        if number == texts.count {
            texts.append(text)
            numbers[text] = number
        }
        last = (text, number)
        return number
    }
}

/// The figures of the whole set with their intervals by image. Rows are added in the order of images and ids, so that
/// rounding does not depend on the file's order.
private func figures(
    _ figures: Figures, of samples: [Sample], _ bootstrap: Bootstrap
) throws -> [Scores.Figure] {
    let width = figures.rows.first?.count ?? 0
    guard figures.rows.count == samples.count, figures.rows.allSatisfy({ $0.count == width }) else {
        throw VQAError("cannot score", because: "the measure's sums do not fit the questions", kind: .failure)
    }
    let order = samples.indices.sorted {
        (samples[$0].imageID, samples[$0].id.text) < (samples[$1].imageID, samples[$1].id.text)
    }
    var clusters: [[Double]] = []
    var sums = [Double](repeating: 0, count: width)
    var image: String?
    for position in order {
        if samples[position].imageID != image { clusters.append([Double](repeating: 0, count: width)) }
        image = samples[position].imageID
        for column in 0..<width {
            clusters[clusters.count - 1][column] += figures.rows[position][column]
            sums[column] += figures.rows[position][column]
        }
    }
    let intervals = bootstrap.intervals(of: clusters, figures.values)
    let drawn = zip(zip(figures.names, figures.values(sums)), intervals).map { figure, interval in
        Scores.Figure(
            name: figure.0, value: roundedToMillionths(figure.1), low: roundedToMillionths(interval.low),
            high: roundedToMillionths(interval.high))
    }
    return drawn
        + figures.fixed.map {
            Scores.Figure(name: $0.name, value: roundedToMillionths($0.value), low: nil, high: nil)
        }
}

private func roundedToMillionths(_ value: Double) -> Double { (value * 1e6).rounded() / 1e6 }

/// The breakdown by one label. It is empty when no sample has one; samples without label are then `other`.
private func group(_ units: [Int], of samples: [Sample], by grouping: Grouping) -> Scores.Group {
    var labels = Numbering()
    var sums: [Int] = []
    var counts: [Int] = []
    var hasLabels = false
    for position in samples.indices {
        let label = grouping.label(samples[position])
        if label != nil { hasLabels = true }
        let number = labels.number(of: label ?? "other")
        if number == sums.count {
            sums.append(0)
            counts.append(0)
        }
        sums[number] += units[position]
        counts[number] += 1
    }
    var percentages: [String: Double] = [:]
    var sizes: [String: Int] = [:]
    for (number, label) in labels.texts.enumerated() where hasLabels {
        percentages[label] = percentage(sum: sums[number], count: counts[number])
        sizes[label] = counts[number]
    }
    return Scores.Group(name: grouping.name, percentages: percentages, counts: sizes)
}
