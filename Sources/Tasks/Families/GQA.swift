import Support

/// GQA (cs.stanford.edu/people/dorarad/gqa): compositional questions about Visual Genome images with one answer each, made
/// from scene graphs.
///
/// Layout below the root, or below its folder `questions` or `questions1.2`: `<set>_balanced_questions.json` and
/// `<set>_all_questions.json`, each one object of questions by id; `train_all_questions` may be a folder of such files
/// numbered from 0; `<set>_choices.json` with the valid and plausible answers is used when it is there. Images:
/// `images/<image id>.jpg`.
public struct GQA: VQATask {
    /// The family itself has no settings.
    public init() {}

    private static let sets = ["train", "val", "testdev", "test", "challenge"]

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "gqa", aliases: ["gqa-balanced"],
        summary: "GQA: compositional questions about Visual Genome images, one answer each",
        needs: "SET_balanced_questions.json or SET_all_questions.json, image folder images/",
        splits: sets + sets.map { "\($0)-all" } + ["submission-all"])

    /// The official names: `val` is the balanced set, `val-all` the whole.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let isAll = split.hasSuffix("-all")
        let set = isAll ? String(split.dropLast(4)) : split
        let name = "\(set)_\(isAll ? "all" : "balanced")_questions"
        let folders = ["", "questions/", "questions1.2/"].map { "\(root)/\($0)" }
        let choices = folders.map { "\($0)\(set)_choices.json" }.first(where: fileExists)
        return TaskFiles(
            questions: firstExisting(folders.flatMap { ["\($0)\(name).json", "\($0)\(name)"] }),
            images: "\(root)/images", extra: choices)
    }

    /// Reads the questions by id. What the extended measures need goes to the labels and to ``GQADetails``.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var details = GQADetails()
        var collector = SampleCollector(self, split: split, file: files.questions)
        var labels = LabelPool()
        for file in Self.parts(of: files.questions) {
            try withText(of: file) { bytes in
                var cursor = JSONCursor(bytes, source: file)
                try readMembers(&cursor, log: &log) { key, cursor in
                    try GQAQuestion(id: key, reading: &cursor)
                } use: { question, number, log in
                    let sample = Self.sample(question, &labels, &collector.pool)
                    details.add(question)
                    try collector.add(
                        sample, image: "\(question.image).jpg", in: files.images, number: number, log: &log)
                }
                try cursor.end()
            }
        }
        if let choices = files.extra {
            try details.readChoices(choices, for: Set(collector.data.samples.lazy.map(\.id)), log: &log)
        }
        var data = collector.data
        data.details = details
        return data
    }

    /// The file itself, or the numbered files of a folder.
    private static func parts(of path: String) -> [String] {
        guard isFolder(path) else { return [path] }
        let name = path.split(separator: "/").last.map(String.init) ?? path
        var parts: [String] = []
        while fileExists("\(path)/\(name)_\(parts.count).json") {
            parts.append("\(path)/\(name)_\(parts.count).json")
        }
        return parts.isEmpty ? [path] : parts
    }

    private static func sample(
        _ question: GQAQuestion, _ labels: inout LabelPool, _ pool: inout StringPool
    ) -> Sample {
        var sample = Sample(
            id: question.id, imageID: question.image, question: question.question,
            answers: question.answer.map { [pool($0)] } ?? [], questionType: question.structural,
            answerType: question.structural.map { $0 == "query" ? "open" : "binary" })
        var all: [String: String] = ["balanced": question.isBalanced ? "true" : "false"]
        all["semantic"] = question.semantic
        all["detailed"] = question.detailed
        all["group"] = question.group
        all["steps"] = question.steps.map { String($0) }
        sample.labels = labels(all)
        return sample
    }

    /// LLaVA's wording (arXiv:2310.03744, appendix).
    public func prompt(for sample: Sample) -> String { "\(sample.question)\n\(shortAnswerRequest)" }

    /// In lower case without full stops at the end, as LLaVA's conversion for GQA's program.
    public func answer(fromGenerated text: String, for sample: Sample) -> String {
        var line = firstLine(of: text).lowercased()
        while line.hasSuffix(".") { line.removeLast() }
        return line
    }

    /// The official measures.
    public func metric(for data: TaskData) -> any AnswerMetric {
        GQAAccuracy(details: data.details as? GQADetails ?? GQADetails())
    }

    /// By structural and semantic type, number of reasoning steps and number of words, as the official program prints.
    public var groupings: [Grouping] {
        [
            Grouping("per_answer_type", \.answerType),
            Grouping("per_structural_type", \.questionType),
            Grouping("per_semantic_type") { $0.labels["semantic"].map { Self.semanticNames[$0] ?? $0 } },
            Grouping("per_steps") { $0.labels["steps"] },
            Grouping("per_words") { sample in
                String(sample.question.unicodeScalars.split(whereSeparator: AnswerNormaliser.isSpace).count)
            },
        ]
    }

    private static let semanticNames = [
        "attr": "attribute", "cat": "category", "global": "scene", "obj": "object", "rel": "relation",
    ]

    /// `[{"questionId": "…", "prediction": "…"}]`
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
        try writeList(predictions, for: data, to: path) { sample, answer in
            ["questionId": .string(sample.id.text), "prediction": .string(answer)]
        }
    }
}

/// Makes samples with the same labels share one dictionary.
private struct LabelPool {
    private var known: [[String: String]: [String: String]] = [:]

    mutating func callAsFunction(_ labels: [String: String]) -> [String: String] {
        if let shared = known[labels] { return shared }
        known[labels] = labels
        return labels
    }
}

/// One question as the file has it.
struct GQAQuestion {
    let id: QuestionID
    var question = ""
    var image = ""
    var answer: String?
    var isBalanced = true
    var structural: String?
    var semantic: String?
    var detailed: String?
    var group: String?
    /// Nil when the file does not say how the question is reasoned out.
    var steps: Int?
    var entailed: [QuestionID] = []
    var equivalent: [QuestionID] = []

    init(id: String, reading cursor: inout JSONCursor) throws {
        guard !id.isEmpty else { throw cursor.failure("the question's id is empty") }
        self.id = QuestionID(id)
        var hasQuestion = false
        guard try cursor.peek() == .object else {
            throw cursor.failure("the question \(id) is not an object")
        }
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "question":
                question = try readString(&cursor, "the question")
                hasQuestion = true
            case "imageId": image = try QuestionID(reading: &cursor).text
            case "answer": answer = try readString(&cursor, "the answer")
            case "isBalanced": isBalanced = try cursor.bool()
            case "types": try readTypes(&cursor)
            case "groups": try readGroups(&cursor)
            case "semantic": steps = try Self.readSteps(&cursor)
            case "entailed": entailed = try Self.readIDs(&cursor)
            case "equivalent": equivalent = try Self.readIDs(&cursor)
            default: try cursor.skipValue()
            }
        }
        guard hasQuestion else { throw cursor.failure("the record \(id) has no question") }
        guard !image.isEmpty else { throw cursor.failure("the question \(id) has no imageId") }
    }

    private mutating func readTypes(_ cursor: inout JSONCursor) throws {
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            if cursor.null() { continue }
            switch key {
            case "structural": structural = try readString(&cursor, key)
            case "semantic": semantic = try readString(&cursor, key)
            case "detailed": detailed = try readString(&cursor, key)
            default: try cursor.skipValue()
            }
        }
    }

    private mutating func readGroups(_ cursor: inout JSONCursor) throws {
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            if key == "global", !cursor.null() {
                group = try readString(&cursor, "the global group")
            } else if key != "global" {
                try cursor.skipValue()
            }
        }
    }

    private static func readIDs(_ cursor: inout JSONCursor) throws -> [QuestionID] {
        try cursor.beginArray()
        var ids: [QuestionID] = []
        while try cursor.nextElement() { ids.append(try QuestionID(reading: &cursor)) }
        return ids
    }

    /// The number of reasoning steps: those that only ask at the end do not count.
    private static func readSteps(_ cursor: inout JSONCursor) throws -> Int {
        try cursor.beginArray()
        var steps = 0
        while try cursor.nextElement() {
            var operation = ""
            var argument = ""
            try cursor.beginObject()
            while let key = try cursor.nextKey() {
                switch key {
                case "operation": operation = try readString(&cursor, key)
                case "argument": argument = try readString(&cursor, key)
                default: try cursor.skipValue()
                }
            }
            let step = "\(operation): \(argument)"
            if !["exist", "query: name", "choose name"].contains(where: { step.contains($0) }) { steps += 1 }
        }
        return steps
    }
}
