import Support

/// The question-answer pairs of Visual Genome (visualgenome.org, version 1.2): one free answer each.
///
/// Layout below the root: `question_answers.json`, a list of images with `id` and `qas[]` of `qa_id`, `question`,
/// `answer`; the images `<image id>.jpg` in `VG_100K` and `VG_100K_2`, or in `images`.
///
/// The data set has no splits of its own: `all` is everything; `val` is about one image in twenty and `train` the rest,
/// chosen by image: an image is in `val` when the first number of `CounterRandom(seed: 0, sample: id, purpose:
/// "visual-genome val")` is divisible by twenty.
///
/// There is no official measure: an answer is right when it equals the reference after the VQA normaliser, because the
/// answers are written as sentences (`A teddy bear.`).
public struct VisualGenome: VQATask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "visual-genome", aliases: ["vg", "vgqa", "vg-qa", "visualgenome"],
        summary: "Visual Genome: 1.7 million questions with one free answer each",
        needs: "question_answers.json, image folders VG_100K/ and VG_100K_2/, or images/",
        splits: ["all", "train", "val"])

    /// The official names. The image folder is the root: an image lies in one of its folders.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        return TaskFiles(questions: "\(root)/question_answers.json", images: root)
    }

    /// Reads the images' lists of questions. A fault in one question costs its image's list.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var collector = SampleCollector(self, split: split, file: files.questions)
        try withText(of: files.questions) { bytes in
            var cursor = JSONCursor(bytes, source: files.questions)
            try readList(&cursor, log: &log, parse: Self.readImage) { samples, number, log in
                guard let first = samples.first, Self.belongs(first.imageID, to: split) else { return }
                let place = files.images.map { Self.place(of: first.imageID, in: $0) }
                for sample in samples {
                    try collector.add(
                        sample, image: place?.name, in: place?.folder, number: number, log: &log)
                }
            }
            try cursor.end()
        }
        return collector.data
    }

    private static func readImage(_ cursor: inout JSONCursor) throws -> [Sample] {
        var image: QuestionID?
        var samples: [Sample] = []
        var found = false
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "id", "image_id": image = try QuestionID(reading: &cursor)
            case "qas":
                found = true
                try cursor.beginArray()
                while try cursor.nextElement() { samples.append(try readPair(&cursor)) }
            default: try cursor.skipValue()
            }
        }
        guard found else { throw cursor.failure("the record has no list 'qas'") }
        guard let image = image?.text ?? samples.first?.imageID, !image.isEmpty else {
            if samples.isEmpty { return [] }
            throw cursor.failure("the record has no id")
        }
        for index in samples.indices { samples[index].imageID = image }
        return samples
    }

    private static func readPair(_ cursor: inout JSONCursor) throws -> Sample {
        var id: QuestionID?
        var image = ""
        var question: String?
        var answer: String?
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "qa_id": id = try QuestionID(reading: &cursor)
            case "image_id": image = try QuestionID(reading: &cursor).text
            case "question": question = try readString(&cursor, "the question")
            case "answer": answer = try readString(&cursor, "the answer")
            default: try cursor.skipValue()
            }
        }
        guard let id else { throw cursor.failure("a question has no qa_id") }
        guard let question else { throw cursor.failure("the record \(id) has no question") }
        guard let answer else { throw cursor.failure("the question \(id) has no answer") }
        let type = question.split(separator: " ").first.map { $0.lowercased() }
        return Sample(id: id, imageID: image, question: question, answers: [answer], questionType: type)
    }

    /// True when an image belongs to `split`.
    private static func belongs(_ image: String, to split: String?) -> Bool {
        guard split == "val" || split == "train" else { return true }
        var random = CounterRandom(seed: 0, sample: Int(image) ?? 0, purpose: "visual-genome val")
        return (random.next() % 20 == 0) == (split == "val")
    }

    /// Where an image lies: the data set comes in two archives.
    private static func place(of image: String, in root: String) -> (name: String, folder: String) {
        let folders = ["VG_100K", "VG_100K_2", "images"].map { "\(root)/\($0)" } + [root]
        let name = "\(image).jpg"
        let safe = !name.contains("/") && !name.utf8.contains(0)
        let folder = safe ? folders.first { fileExists("\($0)/\(name)") } : nil
        return (name, folder ?? folders[0])
    }

    /// Equality after the VQA normaliser.
    public func metric(for data: TaskData) -> any AnswerMetric { NormalisedMatch() }
}
