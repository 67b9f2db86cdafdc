import Support

/// VizWiz-VQA (vizwiz.org): photographs and questions of blind people, ten answers each; many questions cannot be answered
/// from the photograph.
///
/// Layout below the root, or below its folder `Annotations`: `train.json`, `val.json`, `test.json`, lists of `image`,
/// `question` and, but for test, `answers[]` of `answer` and `answer_confidence`, `answer_type`, `answerable`; images
/// `<split>/<image>`. A question has no id of its own: the image's name is it.
public struct VizWiz: VQATask {
    /// What the annotators said of their answers: `yes`, `maybe` or `no`, in the order of the answers, by question.
    public struct Confidences: Sendable {
        /// By question.
        public internal(set) var byQuestion: [QuestionID: [String]] = [:]
    }

    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "vizwiz", aliases: ["vizwiz-vqa"],
        summary: "VizWiz: photographs and questions of blind people, ten answers each",
        needs: "train.json, val.json, test.json, image folder SPLIT/", splits: ["train", "val", "test"])

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        return TaskFiles(
            questions: firstExisting(
                ["", "Annotations/", "annotations/"].map { "\(root)/\($0)\(split).json" }),
            images: "\(root)/\(split)")
    }

    /// Reads the list of questions. ``TaskData/details`` are ``Confidences``; the label `answerable` is `yes` or `no`.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var collector = SampleCollector(self, split: split, file: files.questions)
        var confidences = Confidences()
        try withText(of: files.questions) { bytes in
            var cursor = JSONCursor(bytes, source: files.questions)
            try readList(&cursor, log: &log, parse: Self.readRecord) { record, number, log in
                confidences.byQuestion[record.sample.id] = record.confidences
                try collector.add(
                    record.sample, image: record.sample.imageID, in: files.images, number: number, log: &log)
            }
            try cursor.end()
        }
        var data = collector.data
        data.details = confidences
        return data
    }

    private static let answerable = ["answerable": "yes"]
    private static let unanswerable = ["answerable": "no"]

    private static func readRecord(
        _ cursor: inout JSONCursor
    ) throws -> (sample: Sample, confidences: [String]) {
        var image: String?
        var question: String?
        var type: String?
        var answerable: Int?
        var answers: [String] = []
        var confidences: [String] = []
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "image": image = try readString(&cursor, "the image")
            case "question": question = try readString(&cursor, "the question")
            case "answer_type": type = try readString(&cursor, key)
            case "answerable": answerable = try cursor.integer()
            case "answers":
                try cursor.beginArray()
                while try cursor.nextElement() {
                    let (answer, confidence) = try readAnswer(&cursor)
                    answers.append(answer)
                    confidences.append(confidence)
                }
            default: try cursor.skipValue()
            }
        }
        guard let image, !image.isEmpty else { throw cursor.failure("the record has no image") }
        guard let question else { throw cursor.failure("the record of the image \(image) has no question") }
        if let answerable, answerable != 0, answerable != 1 {
            throw cursor.failure("answerable is \(answerable), neither 0 nor 1")
        }
        var sample = Sample(
            id: QuestionID(image), imageID: image, question: question, answers: answers, answerType: type)
        if let answerable { sample.labels = answerable == 1 ? Self.answerable : unanswerable }
        return (sample, confidences)
    }

    private static func readAnswer(_ cursor: inout JSONCursor) throws -> (answer: String, confidence: String)
    {
        var answer: String?
        var confidence = "yes"
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "answer": answer = try readString(&cursor, "the answer")
            case "answer_confidence": confidence = try readString(&cursor, key)
            default: try cursor.skipValue()
            }
        }
        guard let answer else { throw cursor.failure("an entry of answers has no key 'answer'") }
        return (answer, confidence)
    }

    /// LLaVA's wording (arXiv:2310.03744, appendix).
    public func prompt(for sample: Sample) -> String {
        "\(sample.question)\nWhen the provided information is insufficient, respond with 'Unanswerable'.\n"
            + shortAnswerRequest
    }

    /// In lower case: the references are.
    public func answer(fromGenerated text: String, for sample: Sample) -> String {
        firstLine(of: text).lowercased()
    }

    /// The official accuracy.
    public func metric(for data: TaskData) -> any AnswerMetric { VizWizAccuracy() }

    /// By the class of the answer and by whether the question can be answered.
    public var groupings: [Grouping] {
        [
            Grouping("per_answer_type", \.answerType),
            Grouping("per_answerable") { sample in
                sample.labels["answerable"].map { $0 == "yes" ? "answerable" : "unanswerable" }
            },
        ]
    }

    /// `[{"image": "…", "answer": "…"}]`
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
        try writeList(predictions, for: data, to: path) { sample, answer in
            ["image": .string(sample.imageID), "answer": .string(answer)]
        }
    }
}
