import Support

/// SNLI-VE (Xie et al. 2019): does the image entail a sentence, contradict it, or neither? The question is the sentence
/// (`sentence2`), the answer one of `entailment`, `neutral`, `contradiction`.
///
/// Layout below the root: `snli_ve_train.jsonl`, `snli_ve_dev.jsonl`, `snli_ve_test.jsonl` (necla-ml/SNLI-VE; one record a
/// line with `Flickr30K_ID` or `Flickr30kID`, `sentence2`, `gold_label`, `pairID`) and the folder `flickr30k_images` with
/// `ID.jpg` each. Pairs without agreement (`-`) are left out and counted in a note, as the data set's authors do; the
/// caption in `sentence1` is not shown to the model.
public struct SNLIVE: VQATask {
    /// The family itself has no settings.
    public init() {}

    /// The answers, in the order of the label numbers that are usual for SNLI.
    public static let labels = ["entailment", "neutral", "contradiction"]

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "snli-ve", aliases: ["snli_ve", "snlive", "visual-entailment"],
        summary: "SNLI-VE: does the image entail a sentence, contradict it, or neither?",
        needs: "snli_ve_{train,dev,test}.jsonl, image folder flickr30k_images/",
        splits: ["train", "dev", "test"])

    /// By answer.
    public var groupings: [Grouping] { [Grouping("per_label") { $0.answer }] }

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        return TaskFiles(
            questions: "\(root)/snli_ve_\(split).jsonl",
            images: firstExisting(["flickr30k_images", "flickr30k-images", "images"], in: root))
    }

    /// OFA's question; the answers yes, no and maybe stand for the three labels.
    public func prompt(for sample: Sample) -> String {
        "Does the image describe \"\(sample.question)\"? Answer yes, no or maybe."
    }

    /// The label in the text, or the one that yes, no and maybe stand for.
    public func answer(fromGenerated text: String, for sample: Sample) -> String {
        let line = firstLine(of: text)
        let meanings = [
            "yes": "entailment", "no": "contradiction", "maybe": "neutral", "entails": "entailment",
            "contradicts": "contradiction",
        ]
        for word in line.lowercased().split(whereSeparator: { !$0.isLetter }) {
            if Self.labels.contains(String(word)) { return String(word) }
            if let label = meanings[String(word)] { return label }
        }
        return line
    }

    /// Accuracy.
    public func metric(for data: TaskData) -> any AnswerMetric { LabelAccuracy(labels: Self.labels) }

    /// Reads one record a line. `pairID` is the question's id, the number of the line where it is absent.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var collector = SampleCollector(
            self, split: split, file: files.questions, word: try recordWord(of: files.questions))
        var withoutLabel = 0
        try readRecords(of: files.questions, log: &log, parse: readPair) { pair, number, log in
            guard pair.label != "-" else { return withoutLabel += 1 }
            var sample = Sample(
                id: pair.id ?? QuestionID(number), imageID: pair.image, question: pair.hypothesis,
                answers: pair.label.map { [$0] } ?? [])
            do {
                if let folder = files.images {
                    sample.images = [try path("\(pair.image).jpg", inside: folder)]
                }
            } catch {
                let why = (error as? VQAError)?.why ?? "\(error)"
                return try log.report(.badRecord, at: collector.place(number), why)
            }
            try collector.add(sample, number: number, log: &log)
        }
        if withoutLabel > 0 { collector.note("\(withoutLabel) pairs without agreement were left out") }
        var data = collector.data
        data.answerList = Self.labels
        return data
    }

    private struct Pair {
        var id: QuestionID?
        var image = ""
        var hypothesis = ""
        var label: String?
    }

    /// Half a million records: what is not needed is stepped over.
    private func readPair(_ cursor: inout JSONCursor) throws -> Pair {
        var pair = Pair()
        var (hasImage, hasHypothesis) = (false, false)
        guard try cursor.peek() == .object else { throw cursor.failure("the record is not an object") }
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "pairID": pair.id = try QuestionID(reading: &cursor)
            case "Flickr30K_ID", "Flickr30kID":
                pair.image = try QuestionID(reading: &cursor).text
                hasImage = true
            case "sentence2":
                pair.hypothesis = try readString(&cursor, "sentence2")
                hasHypothesis = true
            case "gold_label": pair.label = try readString(&cursor, "gold_label")
            default: try cursor.skipValue()
            }
        }
        guard hasImage else { throw cursor.failure("the record has no Flickr30K_ID") }
        guard hasHypothesis else { throw cursor.failure("the record has no sentence2") }
        if let label = pair.label, label != "-", !Self.labels.contains(label) {
            throw cursor.failure(
                "the gold_label '\(label.prefix(30))' is none of \(Self.labels.joined(separator: ", "))")
        }
        if pair.image.hasSuffix(".jpg") { pair.image = String(pair.image.dropLast(4)) }
        return pair
    }
}
