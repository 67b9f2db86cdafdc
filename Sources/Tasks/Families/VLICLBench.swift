import Support

/// VL-ICL Bench (Zong et al. 2024): tasks that can only be solved by learning from the demonstrations in the prompt.
///
/// Layout below the root: for each task the files `TASK/query.json` and `TASK/support.json`; image names are relative to the
/// root. The split `clevr` is the queries of that task, `clevr/support` what demonstrations are drawn from. The support of
/// `open_mi` is inside its queries: `open_mi/support` has one sample for each image of each class of each query. The
/// support of `matching_mi` has two samples a record, the matching pair first. The support of the operator tasks has three
/// answers, for +, − and ×.
///
/// The four tasks whose answer is an image are read and have demonstrations, but nothing that writes text can answer them:
/// ``requireTextAnswers(_:)`` refuses. Their samples have no answer. A query has no image either, because the one that its
/// record may name is the one to be drawn; the image of a demonstration is what its text asks for. What the benchmark's
/// judge is asked about is in ``Sample/passages``, and ``VLICLJudge`` reads its replies.
public struct VLICLBench: VQATask {
    /// Whose rule reads the answers.
    public enum Scoring: String, Sendable {
        /// The benchmark's own program.
        case benchmark
        /// MAPD's: as the benchmark's, but `Answer` is deleted, and the count of `clevr` is read as a number too.
        case mapd
    }

    /// The texts that tell the model what the task is.
    public enum Instruction: String, Sendable { case none, concise, detailed }

    /// Whose rule reads the answers.
    public let scoring: Scoring
    /// What precedes the question in the prompt.
    public let instruction: Instruction

    /// The benchmark's rule without instruction unless told otherwise.
    public init(scoring: Scoring = .benchmark, instruction: Instruction = .none) {
        self.scoring = scoring
        self.instruction = instruction
    }

    /// The tasks whose answer is a text.
    public static let tasks = [
        "open_mi", "operator_induction", "operator_induction_interleaved", "clevr", "textocr", "matching_mi",
    ]

    /// The tasks whose answer is an image.
    public static let imageTasks = ["open_t2i_mi", "cobsat", "fast_count_t2i", "fast_attr_t2i"]

    private static let allTasks = tasks + imageTasks

    /// The tasks whose queries bring their own support, sorted by class.
    private static let tasksWithClasses = ["open_mi", "open_t2i_mi", "fast_count_t2i", "fast_attr_t2i"]

    /// Name, files and splits.
    public var about: TaskDescription {
        TaskDescription(
            name: scoring == .benchmark ? "vl-icl" : "vl-icl-mapd",
            aliases: scoring == .benchmark ? ["vlicl", "vl-icl-bench"] : ["vlicl-mapd"],
            summary: "VL-ICL Bench: learning a task from demonstrations"
                + (scoring == .benchmark ? "" : ", scored as MAPD does"),
            needs: "TASK/query.json, TASK/support.json, images below the root",
            splits: Self.allTasks + Self.allTasks.map { "\($0)/support" })
    }

    /// By operator, by the attribute that is counted and by the theme of `cobsat`.
    public var groupings: [Grouping] { [Grouping("per_question_type", \.questionType)] }

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let task = String(split.prefix { $0 != "/" })
        let isSupport = split != task && !Self.tasksWithClasses.contains(task)
        return TaskFiles(questions: "\(root)/\(task)/\(isSupport ? "support" : "query").json", images: root)
    }

    /// The benchmark's form without demonstrations: the instruction, if any, the question, and `Answer:` where a text is
    /// asked for.
    public func prompt(for sample: Sample) -> String {
        let task = sample.labels["task"] ?? ""
        let asksForText = !Self.imageTasks.contains(task)
        let lines = [Self.text(instruction, of: task), sample.question, asksForText ? "Answer:" : nil]
        return lines.compactMap { $0 }.joined(separator: "\n")
    }

    /// The whole text: the metric cuts it.
    public func answer(fromGenerated text: String, for sample: Sample) -> String { String(text[...].trimmed) }

    /// Refuses the tasks whose answer is an image.
    public func requireTextAnswers(_ data: TaskData) throws {
        try Self.requireTextAnswers(data.samples, of: name)
    }

    /// The same for samples without their data set.
    static func requireTextAnswers(_ samples: [Sample], of name: String) throws {
        let tasks = samples.lazy.compactMap { $0.labels["task"] }
        guard let task = tasks.first(where: imageTasks.contains) else { return }
        throw VQAError(
            "cannot answer, learn or score these data", at: "\(name) \(task)",
            because: "the answers are images, and this program writes text",
            remedy: "take one of \(Self.tasks.joined(separator: ", "))")
    }

    /// Exact match after the cuts of the chosen rule.
    public func metric(for data: TaskData) -> any AnswerMetric { VLICLAccuracy(scoring: scoring) }

    /// The benchmark's result file: the list of queries with `id`, `question`, `answer`, `prediction`.
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
        try requireTextAnswers(data)
        let answers = try matchedAnswers(predictions, for: data)
        let records = zip(data.samples, answers).map { sample, answer in
            JSON.object([
                JSON.Member("id", sample.id.json), JSON.Member("question", .string(sample.question)),
                JSON.Member("answer", .string(sample.answer ?? "")),
                JSON.Member("prediction", .string(answer)),
            ])
        }
        try writeFile(JSON.array(records).text(indented: true) + "\n", to: path)
    }

    // MARK: Demonstrations

    /// The demonstrations of a query, in the order of the prompt. What is drawn depends on the seed, the task, the
    /// query's id alone, and fewer shots are the beginning of more; the benchmark itself draws from one generator query
    /// after query, so that its draws depend on the order of the file.
    ///
    /// Where queries bring their own support, the images are those of the query's class and of one other class. `cobsat`
    /// draws from the records of the same theme that leave the same thing unsaid as the query.
    ///
    /// - Parameter shots: for support by class the number of images of each of the two classes, for `matching_mi` the number
    ///   of matching and of other pairs; at most as many as there are.
    public static func demonstrations(
        for query: Sample, from support: TaskData, shots: Int, seed: Int
    ) -> [Sample] {
        let task = query.labels["task"] ?? ""
        var random = CounterRandom(seed: seed, purpose: "demonstrations of \(task) for \(query.id)")
        if tasksWithClasses.contains(task) {
            return classDemonstrations(for: query, from: support, shots: shots, &random)
        }
        let samples = task == "cobsat" ? support.samples.filter { sharesLatent($0, query) } : support.samples
        let groups = Dictionary(grouping: samples, by: \.record)
        let order = groups.keys.sorted().shuffled(using: &random).prefix(max(0, shots))
        return order.flatMap { groups[$0] ?? [] }.map { sample in
            guard let answer = operatorAnswer(sample, query: query) else { return sample }
            var sample = sample
            (sample.answers, sample.answer) = ([answer], answer)
            return sample
        }
    }

    /// The support's answer for the operator of the query.
    private static func operatorAnswer(_ sample: Sample, query: Sample) -> String? {
        guard let operation = query.questionType, let index = ["+", "-", "x"].firstIndex(of: operation),
            sample.answers.count == 3
        else { return nil }
        return sample.answers[index]
    }

    /// Whether the same concept of the same theme is to be inferred.
    private static func sharesLatent(_ sample: Sample, _ query: Sample) -> Bool {
        sample.questionType == query.questionType
            && ["latent", "concept"].allSatisfy { sample.labels[$0] == query.labels[$0] }
    }

    /// Images of the query's class and of one other class by turns, in an order that is drawn once.
    private static func classDemonstrations(
        for query: Sample, from support: TaskData, shots: Int, _ random: inout CounterRandom
    ) -> [Sample] {
        let own = support.samples.filter { $0.labels["query"] == query.id.text }
        guard let right = query.labels["class"] else { return [] }
        let others = Set(own.compactMap { $0.labels["class"] }).subtracting([right]).sorted()
        guard let other = others.randomElement(using: &random) else { return [] }
        let order = Bool.random(using: &random) ? [right, other] : [other, right]
        let images = order.map { name in own.filter { $0.labels["class"] == name } }
        return (0..<max(0, min(shots, images.map(\.count).min() ?? 0))).flatMap { shot in
            images.map { $0[shot] }
        }
    }

    // MARK: Reading

    /// Reads queries or support; without split the folder and the name of the file tell which.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        let parts = files.questions.split(separator: "/")
        let folder = parts.dropLast().last.map(String.init) ?? ""
        let task = split.map { String($0.prefix { $0 != "/" }) } ?? folder
        guard Self.allTasks.contains(task) else {
            throw VQAError(
                "cannot read the task", at: files.questions,
                because: "'\(task)' is none of \(Self.allTasks.joined(separator: ", "))",
                remedy: "name the split, or keep the file in the folder of its task")
        }
        let isSupport = split?.hasSuffix("/support") ?? (parts.last == "support.json")
        var collector = SampleCollector(self, split: split, file: files.questions)
        try withText(of: files.questions) { bytes in
            var cursor = JSONCursor(bytes, source: files.questions)
            try readList(&cursor, log: &log) { cursor in
                let reader = VLICLRecord(
                    record: try JSONRecord(reading: &cursor), task: task, images: files.images)
                return isSupport ? try reader.support() : [try reader.query()]
            } use: { samples, number, log in
                for sample in samples { try collector.add(sample, number: number, log: &log) }
            }
            try cursor.end()
        }
        return collector.data
    }
}
