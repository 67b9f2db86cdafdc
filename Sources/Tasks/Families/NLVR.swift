import Support

/// NLVR (Suhr et al. 2017): is a sentence true of a drawn image of three boxes? Each record has six images, which show the
/// boxes in all orders, so it makes six questions.
///
/// Layout below the root: `SPLIT/SPLIT.json` (one record a line: `identifier`, `sentence`, `label`, `directory`) and
/// `SPLIT/images/DIRECTORY/SPLIT-IDENTIFIER-K.png`, K from 0 to 5. The id of a question is the name of its image.
public struct NLVR: VQATask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "nlvr", aliases: ["nlvr1"], summary: "NLVR: is a sentence true of a drawn image?",
        needs: "SPLIT/SPLIT.json, SPLIT/images/DIRECTORY/SPLIT-IDENTIFIER-K.png",
        splits: ["train", "dev", "test"])

    /// By answer.
    public var groupings: [Grouping] { [Grouping("per_label") { $0.answer }] }

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        return TaskFiles(questions: "\(root)/\(split)/\(split).json", images: "\(root)/\(split)/images")
    }

    /// `Is it true? …` with the two words to answer with.
    public func prompt(for sample: Sample) -> String { truthPrompt("image", sample) }

    /// `true` or `false`, else the first line.
    public func answer(fromGenerated text: String, for sample: Sample) -> String {
        trueOrFalse(fromGenerated: text)
    }

    /// Accuracy and consistency.
    public func metric(for data: TaskData) -> any AnswerMetric { ConsistencyAccuracy() }

    /// Comma-separated values.
    public func submissionFile(for data: TaskData) -> String { "submission.csv" }

    /// `IMAGE.png,true`, one a line: the file that `metrics_images.py` reads.
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
        try writeLines(predictions, for: data, to: path) { "\($0.id),\(oneLine($1))" }
    }

    /// Reads one record a line, six questions each.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var collector = SampleCollector(
            self, split: split, file: files.questions, word: try recordWord(of: files.questions))
        let set = split ?? setName(of: files.questions)
        try readRecords(of: files.questions, log: &log) { cursor in
            let record = try JSONRecord(reading: &cursor)
            let identifier = try record.text("identifier")
            let folder = try record.optionalWord("directory").map { "\($0)/" } ?? ""
            let label = try truthLabel(record)
            return try (0..<6).map { order in
                let image = "\(set)-\(identifier)-\(order).png"
                var sample = Sample(
                    id: QuestionID(image), imageID: image,
                    images: try files.images.map { [try path(folder + image, inside: $0)] } ?? [],
                    question: try record.text("sentence"), answers: label)
                sample.labels["sentence"] = String(identifier.prefix { $0 != "-" })
                return sample
            }
        } use: { samples, number, log in
            for sample in samples { try collector.add(sample, number: number, log: &log) }
        }
        return collector.data
    }
}

/// NLVR2 (Suhr et al. 2019): is a sentence true of two photographs?
///
/// Layout below the root: `data/train.json`, `data/dev.json`, `data/test1.json` (or without `data/`; one record a line:
/// `identifier` of the form `dev-850-0-1`, `sentence`, `label`, `directory`), and the images `dev-850-0-img0.png` (left)
/// and `…-img1.png` (right) in `images/train/DIRECTORY/`, `images/dev/`, `images/test1/` (or without `images/`).
public struct NLVR2: VQATask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "nlvr2", summary: "NLVR2: is a sentence true of two photographs?",
        needs: "data/{train,dev,test1}.json, images/SPLIT/IDENTIFIER-img{0,1}.png",
        splits: ["train", "dev", "test1"])

    /// By answer.
    public var groupings: [Grouping] { [Grouping("per_label") { $0.answer }] }

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        return TaskFiles(
            questions: firstExisting(["data/\(split).json", "\(split).json"], in: root),
            images: firstExisting(["images/\(split)", split], in: root))
    }

    /// The sentence about the left and the right image, with the two words to answer with.
    public func prompt(for sample: Sample) -> String { truthPrompt("two images", sample) }

    /// `true` or `false`, else the first line.
    public func answer(fromGenerated text: String, for sample: Sample) -> String {
        trueOrFalse(fromGenerated: text)
    }

    /// Accuracy and consistency.
    public func metric(for data: TaskData) -> any AnswerMetric { ConsistencyAccuracy() }

    /// Comma-separated values.
    public func submissionFile(for data: TaskData) -> String { "submission.csv" }

    /// `IDENTIFIER,True`, one a line: the file that `eval/metrics.py` reads.
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
        try writeLines(predictions, for: data, to: path) { sample, answer in
            "\(sample.id),\(oneLine(answer.prefix(1).uppercased() + answer.dropFirst()))"
        }
    }

    /// Reads one record a line, each with two images.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var collector = SampleCollector(
            self, split: split, file: files.questions, word: try recordWord(of: files.questions))
        try readRecords(of: files.questions, log: &log) { cursor in
            let record = try JSONRecord(reading: &cursor)
            let identifier = try record.text("identifier")
            let parts = identifier.split(separator: "-", omittingEmptySubsequences: false)
            guard parts.count == 4 else {
                throw record.failure(
                    "the identifier '\(identifier.prefix(40))' has not the form SPLIT-SET-PAIR-SENTENCE")
            }
            let pair = parts[..<3].joined(separator: "-")
            // Only the training images lie in numbered folders.
            let directory = parts[0] == "train" ? try record.optionalWord("directory") : nil
            var sample = Sample(
                id: QuestionID(identifier), imageID: pair, question: try record.text("sentence"),
                answers: try truthLabel(record))
            if let folder = files.images {
                sample.images = try ["img0", "img1"].map {
                    try path((directory.map { "\($0)/" } ?? "") + "\(pair)-\($0).png", inside: folder)
                }
            }
            sample.labels["sentence"] = "\(parts[0])-\(parts[1])--\(parts[3])"
            return sample
        } use: { sample, number, log in
            try collector.add(sample, number: number, log: &log)
        }
        return collector.data
    }
}

/// `dev` for `…/dev.json`.
private func setName(of file: String) -> String {
    String((file.split(separator: "/").last ?? "").prefix { $0 != "." })
}

/// The label of a record as `true` or `false`; none when the record has none.
private func truthLabel(_ record: JSONRecord) throws -> [String] {
    guard let value = record.value("label") else { return [] }
    let word = value.string?.lowercased() ?? value.bool.map { $0 ? "true" : "false" }
    guard let word, word == "true" || word == "false" else {
        throw record.failure("the label is neither true nor false")
    }
    return [word]
}

private func truthPrompt(_ what: String, _ sample: Sample) -> String {
    "Is this statement about the \(what) true or false? \(sample.question)\nAnswer with true or false."
}

/// `true` or `false` when the text says one of them, or yes or no; else its first line.
func trueOrFalse(fromGenerated text: String) -> String {
    let line = firstLine(of: text)
    let meanings: [Substring: String] = ["true": "true", "false": "false", "yes": "true", "no": "false"]
    return line.lowercased().split { !$0.isLetter }.lazy.compactMap { meanings[$0] }.first ?? line
}
