import Support

/// easy-VQA (package `easy-vqa` 1.0, V. Zhou, MIT): 5,000 drawn images of 64×64 pixels with one coloured
/// shape each, 48,248 questions, 13 answers.
///
/// Layout below the root, which is the package's folder or its `data` folder: `answers.txt` with one answer a
/// line; `train` and `test`, each with `questions.json`, a list of `[question, answer, image id]`, and
/// `images/<id>.png`.
///
/// Splits: `train` and `test` are the package's own (38,575 and 9,673 questions). For choosing settings
/// without touching `test`, `train` is also cut in two by image: `val` is about one image in ten,
/// `train-without-val` the rest. An image is in `val` when the first number of `CounterRandom(seed: 0,
/// sample: id, purpose: "easy-vqa val")` is divisible by ten. The id of a question is its position in
/// `questions.json`, from 0.
public struct EasyVQA: VQATask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "easy-vqa", aliases: ["easyvqa", "easy_vqa"],
        summary: "easy-VQA: one coloured shape in an image, 13 answers",
        needs: "the easy-vqa package's folder: data/answers.txt, data/{train,test}/{questions.json,images/}",
        splits: ["train", "test", "val", "train-without-val"])

    /// The package as it is unpacked; the two halves of `train` share its files.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let data = fileExists("\(root)/data/train/questions.json") ? "\(root)/data" : root
        let folder = "\(data)/\(split == "test" ? "test" : "train")"
        return TaskFiles(
            questions: "\(folder)/questions.json", images: "\(folder)/images",
            answerList: "\(data)/answers.txt")
    }

    /// Reads `[question, answer, image id]` records; an answer outside the list of answers is a fault.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var data = TaskData(task: name, split: split ?? "", samples: [])
        data.answerList = try files.answerList.map(readAnswerList)
        let known = data.answerList.map(Set.init)
        var pool = StringPool()
        try withText(of: files.questions) { bytes in
            var cursor = JSONCursor(bytes, source: files.questions)
            try readList(&cursor, log: &log) { cursor in
                try readRecord(&cursor, known: known, pool: &pool)
            } use: { record, number, log in
                func place() -> String { "\(files.questions), record \(number)" }
                if record.question.isEmpty {
                    try log.report(.emptyQuestion, at: place(), "the question is empty")
                }
                if record.answer.isEmpty { try log.report(.emptyAnswer, at: place(), "the answer is empty") }
                guard belongs(record.image, to: split) else { return }
                data.samples.append(sample(record, number: number, images: files.images, pool: &pool))
            }
            try cursor.end()
        }
        return data
    }

    private typealias Record = (question: String, answer: String, image: Int)

    /// Reads `[question, answer, image id]`.
    private func readRecord(
        _ cursor: inout JSONCursor, known: Set<String>?, pool: inout StringPool
    ) throws -> Record {
        func expect(_ name: String) throws {
            guard try cursor.nextElement() else {
                throw cursor.failure("a record is [question, answer, image id]; here is no \(name)")
            }
        }
        try cursor.beginArray()
        try expect("question")
        let question = pool(try readString(&cursor, "the question"))
        try expect("answer")
        let answer = try readString(&cursor, "the answer")
        if let known, !known.contains(answer) {
            throw cursor.failure("the answer '\(answer.prefix(60))' is not in the list of answers")
        }
        try expect("image id")
        let image = try cursor.integer()
        guard try !cursor.nextElement() else {
            throw cursor.failure("a record has three parts, here are more")
        }
        return (question, answer, image)
    }

    private func sample(_ record: Record, number: Int, images: String?, pool: inout StringPool) -> Sample {
        let types = Self.types(of: record.question)
        return Sample(
            id: QuestionID(number - 1), imageID: String(record.image),
            images: images.map { [pool("\($0)/\(record.image).png")] } ?? [],
            question: record.question, answers: [record.answer],
            questionType: types.question, answerType: types.answer, record: number)
    }

    /// True when an image of the file belongs to `split`.
    private func belongs(_ image: Int, to split: String?) -> Bool {
        guard split == "val" || split == "train-without-val" else { return true }
        var random = CounterRandom(seed: 0, sample: image, purpose: "easy-vqa val")
        let isHeldOut = random.next() % 10 == 0
        return isHeldOut == (split == "val")
    }

    private func readAnswerList(_ file: String) throws -> [String] {
        try withText(of: file) { bytes in
            guard bytes.count <= 1 << 20, let text = String(validating: bytes, as: UTF8.self) else {
                throw VQAError(
                    "cannot read the list of answers", at: file,
                    because: "it is no UTF-8 text of at most 1 MB")
            }
            return text.split(whereSeparator: \.isNewline).map { String($0.trimmed) }.filter { !$0.isEmpty }
        }
    }

    /// The classes of a question by its wording.
    ///
    /// | question type | for example | answer type |
    /// | --- | --- | --- |
    /// | `color` | what color is the circle? | `color` |
    /// | `shape` | what shape is present? what is the red shape? | `shape` |
    /// | `is there the color` | is a red shape present? | `yes/no` |
    /// | `is there the shape` | does the image contain a circle? | `yes/no` |
    /// | `is there not the color` | is no red shape present? | `yes/no` |
    /// | `is there not the shape` | is there not a circle? | `yes/no` |
    static func types(of question: String) -> (question: String, answer: String) {
        let words = question.split { !$0.isLetter }
        if words.first == "what" {
            let type = words.contains("color") ? "color" : "shape"
            return (type, type)
        }
        let negation = words.contains("not") || words.contains("no") ? "not " : ""
        // «a red shape» asks for a colour, «a circle» for a shape.
        return ("is there \(negation)the \(words.contains("shape") ? "color" : "shape")", "yes/no")
    }
}
