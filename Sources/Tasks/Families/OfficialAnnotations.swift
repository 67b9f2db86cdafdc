import Support

/// The annotation file of the VQA challenge, which VQA v2, OK-VQA and others share: an object with
/// `annotations[]` of `question_id`, `answers[].answer`, `multiple_choice_answer`, `question_type`,
/// `answer_type`.
enum OfficialAnnotations {
    private struct Annotation {
        var id: QuestionID
        var answers: [String] = []
        var answer: String?
        var questionType: String?
        var answerType: String?
    }

    /// Reads the annotations of `file` into the samples with the same question id. A sample without
    /// annotation and an annotation without sample are reported.
    static func read(
        _ file: String, questions: String, into data: inout TaskData, log: inout ProblemLog
    ) throws {
        var index: [QuestionID: Int] = [:]
        index.reserveCapacity(data.samples.count)
        for (position, sample) in data.samples.enumerated() { index[sample.id] = position }
        var annotated = [Int](repeating: 0, count: data.samples.count)
        var pool = StringPool()
        try forEach(in: file, log: &log) { annotation, record, log in
            func place() -> String { "\(file), record \(record)" }
            guard let position = index[annotation.id] else {
                return try log.report(
                    .annotationWithoutQuestion, at: place(),
                    "there is no question with the id \(annotation.id)"
                )
            }
            guard annotated[position] == 0 else {
                return try log.report(
                    .duplicateID, at: place(),
                    "the question \(annotation.id) was annotated in record \(annotated[position])")
            }
            annotated[position] = record
            if annotation.answers.contains("") {
                try log.report(
                    .emptyAnswer, at: place(), "an answer to the question \(annotation.id) is empty")
            }
            data.samples[position].answers = annotation.answers
            data.samples[position].answer = annotation.answer ?? mostFrequent(annotation.answers)
            data.samples[position].questionType = annotation.questionType.map { pool($0) }
            data.samples[position].answerType = annotation.answerType.map { pool($0) }
        }
        for (sample, record) in zip(data.samples, annotated) where record == 0 {
            try log.report(
                .questionWithoutAnnotation, at: "\(questions), record \(sample.record)",
                "the question \(sample.id) has no annotation in \(file)")
        }
    }

    private static func forEach(
        in file: String, log: inout ProblemLog, _ body: (Annotation, Int, inout ProblemLog) throws -> Void
    ) throws {
        var found = false
        try withText(of: file) { bytes in
            var cursor = JSONCursor(bytes, source: file)
            try cursor.beginObject()
            while let key = try cursor.nextKey() {
                guard key == "annotations" else {
                    try cursor.skipValue()
                    continue
                }
                found = true
                try readList(&cursor, log: &log, parse: parse, use: body)
            }
            try cursor.end()
        }
        guard found else {
            throw VQAError("cannot read the annotations", at: file, because: "there is no key 'annotations'")
        }
    }

    private static let keys: [StaticString] = [
        "question_id", "answers", "multiple_choice_answer", "question_type", "answer_type",
    ]
    private static let answerKey: [StaticString] = ["answer"]

    /// Reads one annotation. Keys become no strings: there are 18 million of them in VQA v2's training set.
    private static func parse(_ cursor: inout JSONCursor) throws -> Annotation {
        var id: QuestionID?
        var annotation = Annotation(id: QuestionID(0))
        var hasAnswers = false
        try cursor.beginObject()
        while let key = try cursor.nextKey(among: keys) {
            switch key {
            case 0: id = try QuestionID(reading: &cursor)
            case 1:
                hasAnswers = true
                annotation.answers = try parseAnswers(&cursor)
            case 2: annotation.answer = try readString(&cursor, "multiple_choice_answer")
            case 3: annotation.questionType = try readString(&cursor, "question_type")
            case 4: annotation.answerType = try readString(&cursor, "answer_type")
            default: try cursor.skipValue()
            }
        }
        guard let id else { throw cursor.failure("the annotation has no question_id") }
        guard hasAnswers, !annotation.answers.isEmpty else {
            throw cursor.failure("the annotation of the question \(id) has no answers")
        }
        annotation.id = id
        return annotation
    }

    /// Reads `[{"answer": "net", …}, …]`.
    private static func parseAnswers(_ cursor: inout JSONCursor) throws -> [String] {
        let keys = answerKey
        var answers: [String] = []
        answers.reserveCapacity(10)
        try cursor.beginArray()
        while try cursor.nextElement() {
            var text: String?
            try cursor.beginObject()
            while let key = try cursor.nextKey(among: keys) {
                if key == 0 {
                    text = try readString(&cursor, "the answer")
                } else {
                    try cursor.skipValue()
                }
            }
            guard let text else { throw cursor.failure("an entry of answers has no key 'answer'") }
            answers.append(text)
        }
        return answers
    }
}
