import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// An answer that a model gave.
public struct Prediction: Sendable, Equatable {
    /// The question.
    public var id: QuestionID
    /// The answer as it is scored.
    public var answer: String
    /// The text of the question, for readers.
    public var question: String?
    /// The path of the first image, for readers.
    public var image: String?
    /// Further members of the line in `predictions.jsonl`, such as a probability. Readers ignore them.
    public var extra: [JSON.Member]
    /// Where it was read: `file, record 3` or `file, line 3`; empty when it was made in memory.
    public var place: String?

    /// A prediction made in memory.
    public init(
        id: QuestionID, answer: String, question: String? = nil, image: String? = nil,
        extra: [JSON.Member] = [],
        place: String? = nil
    ) {
        self.id = id
        self.answer = answer
        self.question = question
        self.image = image
        self.extra = extra
        self.place = place
    }

    /// The answer to `sample`, with its question and first image beside it.
    public init(_ answer: String, to sample: Sample, extra: [JSON.Member] = []) {
        self.init(
            id: sample.id, answer: answer, question: sample.question, image: sample.images.first, extra: extra
        )
    }

    /// Reads an object with `question_id` and `answer`, or with `image_id` and `caption` as caption results have them.
    fileprivate init(reading cursor: inout JSONCursor) throws {
        var id: QuestionID?
        var imageID: QuestionID?
        var answer: String?
        var caption: String?
        var question: String?
        var image: String?
        func once(_ known: Bool, _ key: String) throws {
            if known { throw cursor.failure("the key \(key) appears twice in one prediction") }
        }
        guard try cursor.peek() == .object else { throw cursor.failure("a prediction is not an object") }
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "question_id":
                try once(id != nil, key)
                id = try QuestionID(reading: &cursor)
            case "answer":
                try once(answer != nil, key)
                answer = try readString(&cursor, "the answer")
            case "image_id":
                let start = cursor
                imageID = try? QuestionID(reading: &cursor)
                if imageID == nil {
                    cursor = start
                    try cursor.skipValue()
                }
            case "caption" where try cursor.peek() == .string: caption = try cursor.string()
            case "question": question = try cursor.peek() == .string ? cursor.string() : nil
            case "image": image = try cursor.peek() == .string ? cursor.string() : nil
            default: try cursor.skipValue()
            }
        }
        // A result list of captions has neither `question_id` nor `answer`; other files may have an `image_id` too.
        if id == nil, answer == nil {
            id = imageID
            answer = caption
        }
        guard let id else { throw cursor.failure("the prediction has no question_id") }
        guard let answer else { throw cursor.failure("the prediction for the question \(id) has no answer") }
        self.init(id: id, answer: answer, question: question, image: image)
    }

    /// The line of `predictions.jsonl`.
    public var json: JSON {
        var members = [JSON.Member("question_id", id.json), JSON.Member("answer", .string(answer))]
        if let question { members.append(JSON.Member("question", .string(question))) }
        if let image { members.append(JSON.Member("image", .string(image))) }
        return .object(members + extra)
    }
}

/// Reads predictions: the result list of the VQA challenge `[{"question_id": 1, "answer": "yes"}, …]`, that of the COCO
/// caption challenge `[{"image_id": 1, "caption": "a dog"}, …]`, or
/// JSON lines with the same keys as ``PredictionWriter`` makes. Other keys are ignored. The first fault is
/// thrown with file and record, line or byte.
public func readPredictions(_ path: String) throws -> [Prediction] {
    var log = ProblemLog(stopsAtFatal: true)
    var predictions: [Prediction] = []
    let word = try recordWord(of: path)
    try readRecords(of: path, log: &log, parse: Prediction.init(reading:)) { prediction, number, _ in
        var prediction = prediction
        prediction.place = "\(path), \(word) \(number)"
        predictions.append(prediction)
    }
    return predictions
}

/// Writes the result list of the VQA challenge, one record for each sample of `data` and in that order. Every
/// sample needs exactly one prediction.
func writeResultList(
    _ predictions: [Prediction], for data: TaskData, to path: String,
    keys: (id: String, answer: String) = ("question_id", "answer")
) throws {
    var answers: [QuestionID: String] = [:]
    for prediction in predictions where answers.updateValue(prediction.answer, forKey: prediction.id) != nil {
        throw VQAError(
            "cannot write the submission", at: "question \(prediction.id)", because: "it has two predictions")
    }
    var file = try AtomicFile(path)
    var text = "["
    for (index, sample) in data.samples.enumerated() {
        guard let answer = answers[sample.id] else {
            throw VQAError(
                "cannot write the submission", at: "question \(sample.id)", because: "it has no prediction",
                remedy: "run the evaluation to its end first")
        }
        let record = JSON.object([
            JSON.Member(keys.id, sample.id.json), JSON.Member(keys.answer, .string(answer)),
        ])
        text += (index == 0 ? "\n" : ",\n") + record.text()
        if text.utf8.count > 1 << 16 {
            try file.write(text)
            text = ""
        }
    }
    try file.write(text + "\n]\n")
    try file.commit()
}

/// `predictions.jsonl` while it grows: each prediction is one line, handed to the system at once, so that a
/// killed evaluation loses at most the line it was writing.
public final class PredictionWriter {
    private let path: String
    private let descriptor: Int32
    /// The predictions that the file held when it was opened for resuming.
    public let finished: [Prediction]

    /// Opens `path` for appending.
    ///
    /// - Parameter resuming: true keeps what is there: complete lines become ``finished``, and a last line
    ///   without a line break, torn by a kill, is cut off. False starts an empty file.
    /// - Throws: a faulty line in the middle, a question that was answered twice, a file that is something
    ///   else, another process that writes to the same file. The file is then as it was.
    public init(_ path: String, resuming: Bool) throws {
        self.path = path
        let descriptor = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        func failure(_ why: String) -> VQAError {
            VQAError("cannot write the predictions", at: path, because: why, kind: .failure)
        }
        guard descriptor >= 0 else { throw failure(systemReason()) }
        do {
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                throw failure("another process is writing to it")
            }
            let (found, length) = resuming ? try readFinished(path) : ([], 0)
            guard ftruncate(descriptor, off_t(length)) == 0 else { throw failure(systemReason()) }
            finished = found
        } catch {
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Appends one line.
    public func append(_ prediction: Prediction) throws {
        try Array((prediction.json.text() + "\n").utf8).withUnsafeBytes {
            try writeAll($0, to: descriptor, path: path)
        }
    }
}

/// The predictions of the complete lines of `path`, and the number of bytes of these lines. What follows them
/// must be the beginning of a line that ``PredictionWriter`` was killed in: nobody's other file is cut.
private func readFinished(_ path: String) throws -> (predictions: [Prediction], length: Int) {
    var predictions: [Prediction] = []
    var seen: Set<QuestionID> = []
    var log = ProblemLog(stopsAtFatal: true)
    let file = try MappedFile(path)
    defer { withExtendedLifetime(file) {} }
    let bytes = file.bytes.bindMemory(to: UInt8.self)
    let length = bytes.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
    let lines = UnsafeBufferPointer(rebasing: bytes[..<length])
    try readLines(lines, of: path, log: &log, parse: Prediction.init(reading:)) { prediction, line, _ in
        guard seen.insert(prediction.id).inserted else {
            throw VQAError(
                "cannot resume", at: "\(path), line \(line)",
                because: "the question \(prediction.id) was answered before",
                remedy: "remove one of the two lines")
        }
        predictions.append(prediction)
    }
    let torn = bytes[length...]
    guard torn.starts(with: lineStart.prefix(torn.count)) else {
        throw VQAError(
            "cannot resume", at: path, because: "it does not end in a prediction",
            remedy: "start again with another file")
    }
    return (predictions, length)
}

/// How each line of ``PredictionWriter`` begins.
private let lineStart = Array("{\"question_id\":".utf8)
