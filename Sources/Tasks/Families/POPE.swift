import Support

/// POPE (Li et al. 2023): is an object in the image? Three files of yes/no questions about COCO val2014 images, which
/// differ in how the absent objects were chosen.
///
/// Layout below the root, or in its folder `coco`: `coco_pope_random.json`, `coco_pope_popular.json`,
/// `coco_pope_adversarial.json`, each with one `{"question_id", "image", "text", "label"}` a line, and the folder `val2014`
/// with the images. The split `all` is the three files together; their ids, which repeat, become `random/1` and so on.
public struct POPE: VQATask {
    /// The family itself has no settings.
    public init() {}

    private static let categories = ["random", "popular", "adversarial"]

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "pope", summary: "POPE: is an object in the image? yes or no",
        needs: "coco_pope_{random,popular,adversarial}.json, image folder val2014/",
        splits: ["all", "random", "popular", "adversarial"])

    /// By question file.
    public var groupings: [Grouping] { [Grouping("per_category") { $0.labels["category"] }] }

    /// The official names; `all` names the folder of the three files.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let first = firstExisting(["coco_pope_random.json", "coco/coco_pope_random.json"], in: root)
        let folder = String(first.dropLast("/coco_pope_random.json".count))
        return TaskFiles(
            questions: split == "all" ? folder : "\(folder)/coco_pope_\(split).json",
            images: "\(root)/val2014")
    }

    /// The prompt of LLaVA 1.5.
    public func prompt(for sample: Sample) -> String {
        "\(sample.question)\nAnswer the question using a single word or phrase."
    }

    /// Yes or no, else the first line.
    public func answer(fromGenerated text: String, for sample: Sample) -> String {
        yesOrNo(fromGenerated: text)
    }

    /// The official figures.
    public func metric(for data: TaskData) -> any AnswerMetric { POPEAccuracy() }

    /// One record a line.
    public func submissionFile(for data: TaskData) -> String { "submission.jsonl" }

    /// `{"question_id", "question", "answer"}`, one a line: POPE's program reads `answer` in the order of its questions.
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
        try writeLines(predictions, for: data, to: path) { sample, answer in
            JSON.object([
                JSON.Member("question_id", sample.id.json), JSON.Member("question", .string(sample.question)),
                JSON.Member("answer", .string(answer)),
            ]).text()
        }
    }

    /// Reads one file, or the three files of a folder.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        guard isFolder(files.questions) else {
            let category =
                Self.categories.first { files.questions.hasSuffix("_\($0).json") } ?? split ?? "file"
            return try read(
                files.questions, category: category, isPart: false, files, split: split, log: &log)
        }
        var data = TaskData(task: name, split: split ?? "", samples: [])
        data.recordWord = "line"
        for category in Self.categories {
            let file = "\(files.questions)/coco_pope_\(category).json"
            data.samples += try read(file, category: category, isPart: true, files, split: split, log: &log)
                .samples
        }
        return data
    }

    private func read(
        _ file: String, category: String, isPart: Bool, _ files: TaskFiles, split: String?,
        log: inout ProblemLog
    ) throws -> TaskData {
        var collector = SampleCollector(self, split: split, file: file, word: try recordWord(of: file))
        try readRecords(of: file, log: &log) { cursor in
            let record = try JSONRecord(reading: &cursor)
            let id = try record.id("question_id")
            let image = try record.text("image")
            let label = try record.optionalText("label")
            if let label, label != "yes", label != "no" {
                throw record.failure("the label '\(label.prefix(20))' is neither yes nor no")
            }
            var sample = Sample(
                id: isPart ? QuestionID("\(category)/\(id)") : id, imageID: image,
                images: try files.images.map { [try path(image, inside: $0)] } ?? [],
                question: try record.text("text"), answers: label.map { [$0] } ?? [], answerType: "yes/no")
            sample.labels["category"] = try record.optionalText("category") ?? category
            return sample
        } use: { sample, number, log in
            try collector.add(sample, number: number, log: &log)
        }
        return collector.data
    }
}
