import Support

/// One row of a user's own data, before it is checked against the others.
struct TableRow {
    var id: QuestionID?
    var images: [String] = []
    var question = ""
    /// Empty when the row has no answer at all, as a test set may.
    var answers: [String] = []
    var questionType: String?
    var answerType: String?
    var split: String?
    var choices: [String]?
    var rationale: String?

    static let names = [
        "image", "question", "answer", "answers", "question_id", "question_type", "answer_type", "split",
        "choices", "rationale",
    ]

    // MARK: CSV

    /// Where each known column stands.
    struct Columns {
        let positions: [String: Int]
        let count: Int

        init(_ header: [String], file: String) throws {
            var positions: [String: Int] = [:]
            for (position, name) in header.enumerated() {
                let name = String(name[...].trimmed).lowercased()
                guard TableRow.names.contains(name) else { continue }
                guard positions.updateValue(position, forKey: name) == nil else {
                    throw VQAError(
                        "cannot read the table", at: "\(file), line 1",
                        because: "the column '\(name)' appears twice")
                }
            }
            for needed in ["image", "question"] where positions[needed] == nil {
                let near = nearestMatch(to: needed, in: header)
                throw VQAError(
                    "cannot read the table", at: "\(file), line 1",
                    because:
                        "there is no column '\(needed)' among \(header.joined(separator: ", ").prefix(200))",
                    remedy: near.map { "rename '\($0)'?" }
                        ?? "the first line names the columns, separated by commas: image,question,answer")
            }
            self.positions = positions
            count = header.count
        }
    }

    /// A row of a CSV file.
    init(_ fields: [String], columns: Columns, place: @autoclosure () -> String) throws {
        guard fields.count == columns.count else {
            throw VQAError(
                "cannot read the table", at: place(),
                because: "it has \(fields.count) fields, the header has \(columns.count)",
                remedy: "put fields with commas in double quotes")
        }
        func cell(_ name: String) -> String? {
            columns.positions[name].map { String(fields[$0][...].trimmed) }
        }
        func filled(_ name: String) -> String? { cell(name).flatMap { $0.isEmpty ? nil : $0 } }
        func parts(_ name: String) -> [String]? {
            filled(name)?.split(separator: "|", omittingEmptySubsequences: false).map { String($0.trimmed) }
        }
        images = parts("image") ?? []
        guard !images.isEmpty, !images.contains("") else {
            throw VQAError("cannot read the table", at: place(), because: "the image is empty")
        }
        question = cell("question") ?? ""
        answers = parts("answers") ?? filled("answer").map { [$0] } ?? []
        id = filled("question_id").map { text in
            // "007" is a name, 7 a number.
            Int(text).flatMap { String($0) == text ? QuestionID($0) : nil } ?? QuestionID(text)
        }
        questionType = filled("question_type")
        answerType = filled("answer_type")
        split = filled("split")
        choices = parts("choices")
        rationale = filled("rationale")
    }

    // MARK: JSON

    /// A line of a JSON-lines file.
    init(reading cursor: inout JSONCursor) throws {
        var answer: String?
        var hasQuestion = false
        guard try cursor.peek() == .object else { throw cursor.failure("a record is not an object") }
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            if Self.names.contains(key), cursor.null() { continue }
            switch key {
            case "image", "answers", "choices":
                let values =
                    try cursor.peek() == .array
                    ? readStrings(&cursor, key) : [readString(&cursor, key)]
                switch key {
                case "image": images = values
                case "answers": answers = values
                default: choices = values
                }
            case "question":
                question = try readString(&cursor, key)
                hasQuestion = true
            case "answer": answer = try readString(&cursor, key)
            case "question_id": id = try QuestionID(reading: &cursor)
            case "question_type": questionType = try readString(&cursor, key)
            case "answer_type": answerType = try readString(&cursor, key)
            case "split": split = try readString(&cursor, key)
            case "rationale": rationale = try readString(&cursor, key)
            default: try cursor.skipValue()
            }
        }
        guard !images.isEmpty, !images.contains("") else { throw cursor.failure("there is no image") }
        guard hasQuestion else { throw cursor.failure("there is no question") }
        if answers.isEmpty, let answer { answers = [answer] }
    }
}
