import Support

/// VL-ICL Bench (Zong et al. 2024): tasks that can only be solved by learning from the demonstrations in the prompt.
///
/// Layout below the root: for each task the files `TASK/query.json` and `TASK/support.json`; image names are relative to the
/// root. The split `clevr` is the queries of that task, `clevr/support` what demonstrations are drawn from. The support of
/// `open_mi` is inside its queries: `open_mi/support` has one sample for each image of each class of each query. The
/// support of `matching_mi` has two samples a record, the matching pair first. The support of the operator tasks has three
/// answers, for +, − and ×. The tasks whose answer is an image are not here: this program writes text.
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

    /// Name, files and splits.
    public var about: TaskDescription {
        TaskDescription(
            name: scoring == .benchmark ? "vl-icl" : "vl-icl-mapd",
            aliases: scoring == .benchmark ? ["vlicl", "vl-icl-bench"] : ["vlicl-mapd"],
            summary: "VL-ICL Bench: learning a task from demonstrations"
                + (scoring == .benchmark ? "" : ", scored as MAPD does"),
            needs: "TASK/query.json, TASK/support.json, images below the root",
            splits: Self.tasks + Self.tasks.map { "\($0)/support" })
    }

    /// By operator and by the attribute that is counted.
    public var groupings: [Grouping] { [Grouping("per_question_type", \.questionType)] }

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let task = String(split.prefix { $0 != "/" })
        let isSupport = split != task && task != "open_mi"
        return TaskFiles(questions: "\(root)/\(task)/\(isSupport ? "support" : "query").json", images: root)
    }

    /// The benchmark's form without demonstrations: the instruction, if any, the question, `Answer:`.
    public func prompt(for sample: Sample) -> String {
        let task = sample.labels["task"] ?? ""
        let lines = [Self.text(instruction, of: task), sample.question, "Answer:"]
        return lines.compactMap { $0 }.joined(separator: "\n")
    }

    /// The whole text: the metric cuts it.
    public func answer(fromGenerated text: String, for sample: Sample) -> String { String(text[...].trimmed) }

    /// Exact match after the cuts of the chosen rule.
    public func metric(for data: TaskData) -> any AnswerMetric { VLICLAccuracy(scoring: scoring) }

    /// The benchmark's result file: the list of queries with `id`, `question`, `answer`, `prediction`.
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
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
    /// - Parameter shots: for `open_mi` the number of images of each of two classes, for `matching_mi` the number of
    ///   matching and of other pairs; at most as many as there are.
    public static func demonstrations(
        for query: Sample, from support: TaskData, shots: Int, seed: Int
    ) -> [Sample] {
        let task = query.labels["task"] ?? ""
        var random = CounterRandom(seed: seed, purpose: "demonstrations of \(task) for \(query.id)")
        if task == "open_mi" { return classDemonstrations(for: query, from: support, shots: shots, &random) }
        let groups = Dictionary(grouping: support.samples, by: \.record)
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

    /// Images of the query's class and of one other class by turns, in an order that is drawn once.
    private static func classDemonstrations(
        for query: Sample, from support: TaskData, shots: Int, _ random: inout CounterRandom
    ) -> [Sample] {
        let own = support.samples.filter { $0.labels["query"] == query.id.text }
        let others = Set(own.compactMap(\.answer)).subtracting(query.answers).sorted()
        guard let right = query.answer, let other = others.randomElement(using: &random) else { return [] }
        let order = Bool.random(using: &random) ? [right, other] : [other, right]
        let images = order.map { name in own.filter { $0.answer == name } }
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
        guard Self.tasks.contains(task) else {
            throw VQAError(
                "cannot read the task", at: files.questions,
                because: "'\(task)' is none of \(Self.tasks.joined(separator: ", "))",
                remedy: "tasks whose answer is an image cannot be used")
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

/// Turns one record of a task into samples.
private struct VLICLRecord {
    let record: JSONRecord
    let task: String
    let images: String?

    /// The query of the record.
    func query() throws -> Sample {
        var sample = try sample(
            record.value("image"), id: try record.id("id"), question: try record.text("question"))
        guard let answer = record.value("answer").flatMap(JSONRecord.word) else {
            throw record.failure("the answer is neither a string nor an integer")
        }
        (sample.answers, sample.answer) = ([answer], answer)
        if task.hasPrefix("operator_induction") {
            let operation = try record.text("operator")
            guard ["+", "-", "x"].contains(operation) else {
                throw record.failure("the operator '\(operation.prefix(10))' is none of +, -, x")
            }
            sample.questionType = operation
        }
        if task == "clevr" { sample.questionType = String(sample.question.prefix { $0 != ":" }) }
        return sample
    }

    /// The demonstrations of the record.
    func support() throws -> [Sample] {
        switch task {
        case "open_mi": return try classes()
        case "matching_mi": return try pairs()
        case let name where name.hasPrefix("operator_induction"):
            var sample = try sample(
                record.value("image"), id: try record.id("id"), question: try record.text("question"))
            let answers = record.value("answer")?.array?.compactMap(JSONRecord.word) ?? []
            guard answers.count == 3 else { throw record.failure("the answer is no list of three numbers") }
            (sample.answers, sample.answer) = (answers, answers[0])
            return [sample]
        default: return [try query()]
        }
    }

    /// The images of each class of a query.
    private func classes() throws -> [Sample] {
        let query = try record.id("id")
        guard let classes = record.value("support")?.members else {
            throw record.failure("the record has no support")
        }
        return try classes.flatMap { member -> [Sample] in
            let (name, content) = (member.key, member.value)
            guard let images = content["images"]?.array else {
                throw record.failure("the class '\(name.prefix(40))' has no list of images")
            }
            return try images.enumerated().map { number, image in
                var sample = try sample(
                    image, id: QuestionID("\(query)/\(name)/\(number)"), question: "This is a")
                (sample.answers, sample.answer) = ([name], name)
                sample.labels["query"] = query.text
                return sample
            }
        }
    }

    /// The matching and the other pair of a record.
    private func pairs() throws -> [Sample] {
        let id = try record.id("id")
        return try ["same", "diff"].map { kind in
            guard let pair = record.value(kind), let question = pair["question"]?.string,
                let answer = pair["answer"].flatMap(JSONRecord.word)
            else { throw record.failure("the record has no '\(kind)' with question and answer") }
            var sample = try sample(pair["image"], id: QuestionID("\(id)/\(kind)"), question: question)
            (sample.answers, sample.answer) = ([answer], answer)
            return sample
        }
    }

    private func sample(_ image: JSON?, id: QuestionID, question: String) throws -> Sample {
        let names = (image?.array ?? image.map { [$0] } ?? []).map(\.string)
        guard !names.isEmpty, names.allSatisfy({ $0 != nil }) else {
            throw record.failure("the image is no list of names")
        }
        let paths = names.compactMap { $0 }
        var sample = Sample(id: id, imageID: paths.joined(separator: "|"), question: question)
        if let images { sample.images = try paths.map { try path($0, inside: images) } }
        sample.labels["task"] = task
        return sample
    }
}
