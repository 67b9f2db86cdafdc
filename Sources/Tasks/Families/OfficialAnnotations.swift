import Support

/// The annotation file of the VQA challenge, which VQA v2, OK-VQA and others share: an object with
/// `annotations[]` of `question_id`, `answers[].answer`, `multiple_choice_answer`, `question_type`,
/// `answer_type`.
enum OfficialAnnotations {
    private struct Annotation {
        var id: QuestionID
        var record = 0
        var answers: [String] = []
        var answer: String?
        var questionType: String?
        var answerType: String?
    }

    /// What was read of a file, up to the error that ended the reading.
    private struct Annotations {
        var list: [Annotation] = []
        var log: ProblemLog
        var error: (any Error)?
    }

    /// Lets `readQuestions` fill the samples, and reads the annotations of `files`, if there are any, into the samples with the
    /// same question id. A sample without annotation and an annotation without sample are reported. The two files are read at
    /// the same time.
    static func read(
        _ files: TaskFiles, into data: inout TaskData, log: inout ProblemLog,
        readQuestions: (inout TaskData, inout ProblemLog) throws -> Void
    ) throws {
        guard let file = files.annotations else { return try readQuestions(&data, &log) }
        let stopsAtFatal = log.stopsAtFatal
        let (_, annotations) = try both {
            try readQuestions(&data, &log)
        } and: {
            readAll(of: file, stopsAtFatal: stopsAtFatal)
        }
        try join(annotations, of: file, questions: files.questions, into: &data, log: &log)
    }

    private static func join(
        _ annotations: Annotations, of file: String, questions: String, into data: inout TaskData,
        log: inout ProblemLog
    ) throws {
        var positions = Positions()
        var annotated = [Int](repeating: 0, count: data.samples.count)
        for annotation in annotations.list {
            func place() -> String { "\(file), record \(annotation.record)" }
            guard let position = positions.next(annotation.id, in: data.samples) else {
                try log.report(
                    .annotationWithoutQuestion, at: place(),
                    "there is no question with the id \(annotation.id)")
                continue
            }
            guard annotated[position] == 0 else {
                try log.report(
                    .duplicateID, at: place(),
                    "the question \(annotation.id) was annotated in record \(annotated[position])")
                continue
            }
            annotated[position] = annotation.record
            if annotation.answers.contains(where: \.isEmpty) {
                try log.report(
                    .emptyAnswer, at: place(), "an answer to the question \(annotation.id) is empty")
            }
            data.samples[position].answers = annotation.answers
            data.samples[position].answer = annotation.answer ?? mostFrequent(annotation.answers)
            data.samples[position].questionType = annotation.questionType
            data.samples[position].answerType = annotation.answerType
        }
        log.collect(annotations.log)
        if let error = annotations.error { throw error }
        for (sample, record) in zip(data.samples, annotated) where record == 0 {
            try log.report(
                .questionWithoutAnnotation, at: "\(questions), record \(sample.record)",
                "the question \(sample.id) has no annotation in \(file)")
        }
    }

    /// Where the samples stand, by id. Annotations mostly come in the order of the questions: as long as they do, the next
    /// sample is the one, and no table is made.
    private struct Positions {
        private var table: [QuestionID: Int]?
        private var following = 0

        mutating func next(_ id: QuestionID, in samples: [Sample]) -> Int? {
            if following < samples.count, samples[following].id == id {
                following += 1
                return following - 1
            }
            let known =
                table
                ?? Dictionary(
                    samples.enumerated().lazy.map { ($1.id, $0) }, uniquingKeysWith: { first, _ in first })
            table = known
            guard let position = known[id] else { return nil }
            following = position + 1
            return position
        }
    }

    private static func readAll(of file: String, stopsAtFatal: Bool) -> Annotations {
        var result = Annotations(log: ProblemLog(stopsAtFatal: stopsAtFatal))
        do {
            try readAll(of: file, into: &result)
        } catch {
            result.error = error
        }
        return result
    }

    private static func readAll(of file: String, into result: inout Annotations) throws {
        var found = false
        var pool = StringPool()
        try withText(of: file) { bytes, mapped in
            // Records of ten answers have seven hundred bytes and more.
            result.list.reserveCapacity(bytes.count / 700)
            var cursor = JSONCursor(bytes, source: file)
            try cursor.beginObject()
            while let key = try cursor.nextKey() {
                guard key == "annotations" else {
                    try cursor.skipValue()
                    continue
                }
                found = true
                try readList(&cursor, of: mapped, log: &result.log, parse: parse) { annotation, record, _ in
                    var annotation = annotation
                    annotation.record = record
                    annotation.questionType = annotation.questionType.map { pool($0) }
                    annotation.answerType = annotation.answerType.map { pool($0) }
                    result.list.append(annotation)
                }
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
