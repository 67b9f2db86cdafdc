import Support

/// The keys that a prediction file gives the answer under: the VQA challenge's, GQA's, LLaVA's, the COCO captions'.
let defaultAnswerKeys = ["answer", "prediction", "text", "caption"]

/// The keys that a prediction file names the question by: the VQA challenge's, GQA's; VizWiz names the image, and so do
/// captions.
private let idKeys = ["question_id", "questionId", "image", "image_id"]

/// Reads predictions in any of the forms that the benchmarks' users have:
///
/// * a JSON list, or JSON lines, of objects with the question under `question_id` (VQA), `questionId` (GQA) or, without
///   these, `image` (VizWiz) or `image_id` (captions), and the answer under `answer`, `prediction` (GQA), `text` (LLaVA's
///   answer files) or `caption`;
/// * an object of answers by question id, as A-OKVQA's program takes them;
/// * A-OKVQA's leaderboard file, an object of objects by question id, with the answer under a key of the task.
///
/// Other keys are ignored. The first fault is thrown with file and record, line or byte.
///
/// - Parameter task: says under which keys an answer is looked for; nil takes the keys above.
public func readPredictions(_ path: String, for task: (any VQATask)? = nil) throws -> [Prediction] {
    let keys = task?.answerKeys ?? defaultAnswerKeys
    var log = ProblemLog(stopsAtFatal: true)
    var predictions: [Prediction] = []
    if try isKeyedByQuestion(path, answerKeys: keys) {
        try withText(of: path) { bytes in
            var cursor = JSONCursor(bytes, source: path)
            try readMembers(&cursor, log: &log) { key, cursor in
                try Prediction(ofQuestion: key, reading: &cursor, answerKeys: keys)
            } use: { prediction, number, _ in
                var prediction = prediction
                prediction.place = "\(path), record \(number)"
                predictions.append(prediction)
            }
            try cursor.end()
        }
        return predictions
    }
    let word = try recordWord(of: path)
    try readRecords(of: path, log: &log) {
        try Prediction(reading: &$0, answerKeys: keys)
    } use: { prediction, number, _ in
        var prediction = prediction
        prediction.place = "\(path), \(word) \(number)"
        predictions.append(prediction)
    }
    return predictions
}

/// True for one JSON object whose first key is no key of a prediction: it must be the id of a question.
private func isKeyedByQuestion(_ path: String, answerKeys: [String]) throws -> Bool {
    try withText(of: path) { bytes in
        guard bytes.first(where: { $0 > 0x20 }) == UInt8(ascii: "{") else { return false }
        var cursor = JSONCursor(bytes, source: path)
        try cursor.beginObject()
        guard let key = try? cursor.nextKey(), let kind = try? cursor.peek() else { return false }
        let others = ["question", "prompt", "answer_id", "model_id", "metadata", "category"]
        return !(idKeys + answerKeys + others).contains(key) && (kind == .object || kind == .string)
    }
}

extension Prediction {
    /// Reads an object with a question's id and an answer.
    init(reading cursor: inout JSONCursor, answerKeys: [String] = defaultAnswerKeys) throws {
        var ids = [QuestionID?](repeating: nil, count: idKeys.count)
        var answers = [String?](repeating: nil, count: answerKeys.count)
        var question: String?
        var prompt: String?
        guard try cursor.peek() == .object else { throw cursor.failure("a prediction is not an object") }
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            func once(_ known: Bool) throws {
                if known { throw cursor.failure("the key \(key) appears twice in one prediction") }
            }
            if let place = idKeys.firstIndex(of: key) {
                // An image may stand beside the id, in whatever form.
                let kind = try cursor.peek()
                if place > 1, kind != .string, kind != .number || key == "image" {
                    try cursor.skipValue()
                    continue
                }
                try once(ids[place] != nil)
                ids[place] = try QuestionID(reading: &cursor)
            } else if let place = answerKeys.firstIndex(of: key) {
                if key == "caption", try cursor.peek() != .string {
                    try cursor.skipValue()
                    continue
                }
                try once(answers[place] != nil)
                answers[place] = try readString(&cursor, "the answer")
            } else if key == "question" || key == "prompt", try cursor.peek() == .string {
                if key == "prompt" { prompt = try cursor.string() } else { question = try cursor.string() }
            } else {
                try cursor.skipValue()
            }
        }
        guard let id = ids.lazy.compactMap({ $0 }).first else {
            throw cursor.failure("the prediction has no question_id")
        }
        guard let answer = answers.lazy.compactMap({ $0 }).first else {
            throw cursor.failure("the prediction for the question \(id) has no answer")
        }
        self.init(id: id, answer: answer, question: question ?? prompt, image: ids[2]?.text)
    }

    /// Reads the value of a question's id: the answer, or an object that has it under one of `answerKeys`.
    fileprivate init(ofQuestion id: String, reading cursor: inout JSONCursor, answerKeys: [String]) throws {
        guard !id.isEmpty else { throw cursor.failure("the question_id is empty") }
        switch try cursor.peek() {
        case .string: self.init(id: QuestionID(id), answer: try cursor.string())
        case .object:
            var answers = [String?](repeating: nil, count: answerKeys.count)
            try cursor.beginObject()
            while let key = try cursor.nextKey() {
                if let place = answerKeys.firstIndex(of: key) {
                    answers[place] = try readString(&cursor, "the answer")
                } else {
                    try cursor.skipValue()
                }
            }
            guard let answer = answers.lazy.compactMap({ $0 }).first else {
                throw cursor.failure(
                    "the prediction for the question \(id) has none of \(answerKeys.joined(separator: ", "))")
            }
            self.init(id: QuestionID(id), answer: answer)
        default: throw cursor.failure("the answer to the question \(id) is neither a string nor an object")
        }
    }
}

/// Writes the result list of the VQA challenge, or one with other keys, one record for each sample of `data` and in that
/// order. Every sample needs exactly one prediction.
func writeResultList(
    _ predictions: [Prediction], for data: TaskData, to path: String,
    keys: (id: String, answer: String) = ("question_id", "answer")
) throws {
    try writeList(predictions, for: data, to: path) { sample, answer in
        .object([JSON.Member(keys.id, sample.id.json), JSON.Member(keys.answer, .string(answer))])
    }
}

/// Writes a JSON list with one record for each sample of `data` and in that order.
func writeList(
    _ predictions: [Prediction], for data: TaskData, to path: String, record: (Sample, String) -> JSON
) throws {
    let answers = try answersByQuestion(predictions)
    var file = try AtomicFile(path)
    var text = "["
    for (index, sample) in data.samples.enumerated() {
        let answer = try onlyAnswer(to: sample, in: answers)
        text += (index == 0 ? "\n" : ",\n") + record(sample, answer).text()
        if text.utf8.count > 1 << 16 {
            try file.write(text)
            text = ""
        }
    }
    try file.write(text + "\n]\n")
    try file.commit()
}

/// The answers by question; a second prediction for one is an error.
func answersByQuestion(_ predictions: [Prediction]) throws -> [QuestionID: String] {
    var answers: [QuestionID: String] = [:]
    for prediction in predictions where answers.updateValue(prediction.answer, forKey: prediction.id) != nil {
        throw VQAError(
            "cannot write the submission", at: "question \(prediction.id)", because: "it has two predictions")
    }
    return answers
}

/// The answer to `sample`; none is an error.
func onlyAnswer(to sample: Sample, in answers: [QuestionID: String]) throws -> String {
    guard let answer = answers[sample.id] else {
        throw VQAError(
            "cannot write the submission", at: "question \(sample.id)", because: "it has no prediction",
            remedy: "run the evaluation to its end first")
    }
    return answer
}
