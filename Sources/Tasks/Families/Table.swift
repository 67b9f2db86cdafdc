import Support

/// A user's own data: one row or line a question, as CSV with a header or as JSON lines (see `docs/data.md`).
///
/// Columns: `image` and `question` are needed; `answer` or `answers`, `question_id`, `question_type`,
/// `answer_type`, `split`, `choices`, `rationale` may be there; others are ignored. In CSV a cell with
/// several values separates them by `|`; in JSON they are a list.
///
/// The root is the file itself, or a folder with `<split>.csv`, `<split>.jsonl`, `data.csv` or `data.jsonl`.
/// Image names are relative to the file's folder.
public struct Table: VQATask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "table", aliases: ["csv", "jsonl", "own"],
        summary: "your own questions, as CSV or JSON lines",
        needs: "a CSV or JSON-lines file with the columns image, question, answer, and the images beside it",
        splits: ["train", "val", "test"])

    /// Other words for the three splits.
    private static let splitAliases = [
        "training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test",
    ]

    /// The file itself, or the first of `<split>.csv`, `<split>.jsonl`, `data.csv`, `data.jsonl` in the
    /// folder.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard isFolder(root) else { return TaskFiles(questions: root, images: Self.folder(of: root)) }
        let names = [split, "data"].flatMap { name in ["csv", "jsonl"].map { "\(root)/\(name).\($0)" } }
        guard let file = names.first(where: fileExists) else {
            throw VQAError(
                "cannot find the table", at: root,
                because: "there is none of \(names.joined(separator: ", "))",
                remedy: "name the file itself, or call it \(split).csv")
        }
        return TaskFiles(questions: file, images: root)
    }

    private static func folder(of file: String) -> String {
        file.lastIndex(of: "/").map { $0 == file.startIndex ? "/" : String(file[..<$0]) } ?? "."
    }

    /// The official accuracy when every question has ten answers, ``ExactMatch`` otherwise.
    public func metric(for data: TaskData) -> any AnswerMetric {
        data.samples.allSatisfy { $0.answers.count == 10 } ? VQAAccuracy() : ExactMatch()
    }

    /// Reads CSV or JSON lines, told apart by the first character.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var builder = TableBuilder(task: self, files: files, split: split)
        builder.data.recordWord = try recordWord(of: files.questions)
        let isJSON = try withText(of: files.questions) { bytes in
            bytes.first { $0 > 0x20 }.map { $0 == UInt8(ascii: "{") || $0 == UInt8(ascii: "[") } ?? false
        }
        if isJSON {
            try readRecords(of: files.questions, log: &log, parse: TableRow.init(reading:)) {
                row, number, log in
                try builder.add(row, number: number, log: &log)
            }
        } else {
            try readCSV(files.questions, into: &builder, log: &log)
        }
        return try builder.finish()
    }

    private func readCSV(_ file: String, into builder: inout TableBuilder, log: inout ProblemLog) throws {
        try withText(of: file) { bytes in
            var reader = CSVReader(bytes, source: file)
            guard let header = try reader.next() else {
                throw VQAError("cannot read the table", at: file, because: "it is empty")
            }
            let columns = try TableRow.Columns(header.fields, file: file)
            while true {
                do {
                    guard let row = try reader.next() else { return }
                    let values = try TableRow(
                        row.fields, columns: columns, place: "\(file), line \(row.line)")
                    try builder.add(values, number: row.line, log: &log)
                } catch {
                    try log.report(.badRecord, error)
                }
            }
        }
    }

    /// The name of a split in ``splits``, or nil when it is unknown.
    func canonical(_ split: String) -> String? {
        let word = split.lowercased()
        return splits.contains(word) ? word : Self.splitAliases[word]
    }
}

/// Collects the rows of one split.
private struct TableBuilder {
    let task: Table
    let files: TaskFiles
    let split: String?
    var data: TaskData
    private var seen: [QuestionID: Int] = [:]
    private var rows = 0
    private var pool = StringPool()

    init(task: Table, files: TaskFiles, split: String?) {
        self.task = task
        self.files = files
        self.split = split
        data = TaskData(task: task.name, split: split ?? "", samples: [])
    }

    mutating func add(_ row: TableRow, number: Int, log: inout ProblemLog) throws {
        rows += 1
        let (file, word) = (files.questions, data.recordWord)
        func place() -> String { "\(file), \(word) \(number)" }
        let id = row.id ?? QuestionID(rows)
        if let first = seen.updateValue(number, forKey: id) {
            return try log.report(
                .duplicateID, at: place(), "the question id \(id) was used in \(word) \(first)")
        }
        guard try isWanted(row.split, at: place(), log: &log) else { return }
        if row.question.isEmpty { try log.report(.emptyQuestion, at: place(), "the question is empty") }
        if row.answers.contains("") { try log.report(.emptyAnswer, at: place(), "an answer is empty") }
        var images: [String] = []
        do {
            if let folder = files.images {
                images = try row.images.map { pool(try path($0, inside: folder)) }
            }
        } catch {
            return try log.report(.badRecord, at: place(), (error as? VQAError)?.why ?? "\(error)")
        }
        data.samples.append(
            Sample(
                id: id, imageID: pool(row.images.joined(separator: "|")), images: images,
                question: row.question,
                answers: row.answers, questionType: row.questionType.map { pool($0) },
                answerType: row.answerType.map { pool($0) }, choices: row.choices, rationale: row.rationale,
                record: number))
    }

    /// True when the row is in the split asked for. A row without split is in every split.
    private func isWanted(_ word: String?, at place: @autoclosure () -> String, log: inout ProblemLog) throws
        -> Bool
    {
        guard let word else { return true }
        if word == split { return true }
        guard let known = task.canonical(word) else {
            let near = nearestMatch(to: word, in: task.splits).map { "; did you mean '\($0)'?" } ?? ""
            try log.report(
                .unknownSplit, at: place(),
                "the split '\(word)' is none of \(task.splits.joined(separator: ", "))\(near)")
            return false
        }
        return split.map { (task.canonical($0) ?? $0) == known } ?? true
    }

    func finish() throws -> TaskData {
        guard !data.samples.isEmpty || rows == 0 else {
            throw VQAError(
                "cannot use the data", at: files.questions,
                because: "none of its \(rows) rows is usable and in the split '\(split ?? "any")'")
        }
        return data
    }
}
