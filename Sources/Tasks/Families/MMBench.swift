import Support

/// MMBench (Liu et al. 2023), English or Chinese: multiple choice with two to four options, each question asked once for
/// every rotation of its options.
///
/// Layout below the root: one table of tab-separated values, such as `mmbench_dev_20230712.tsv`, with the columns `index`,
/// `question`, `hint`, `A` to `D`, `answer`, `category`, `l2-category`, `image` (base64, or the index of the row that has
/// the image), `split`. A rotation of question i has the index i + 1000000·k. The images are written into the folder
/// `decoded` when they are first read.
public struct MMBench: VQATask {
    /// The language of the questions.
    public enum Language: String, Sendable { case english, chinese }

    /// The language of the questions.
    public let language: Language

    /// English unless told otherwise.
    public init(language: Language = .english) { self.language = language }

    /// Name, files and splits.
    public var about: TaskDescription {
        let isEnglish = language == .english
        return TaskDescription(
            name: isEnglish ? "mmbench" : "mmbench-cn", aliases: isEnglish ? ["mmbench-en"] : ["mmbench_cn"],
            summary:
                "MMBench (\(isEnglish ? "English" : "Chinese")): multiple choice, every rotation of the options",
            needs: isEnglish ? "mmbench_{dev,test}_20230712.tsv" : "mmbench_{dev,test}_cn_20231003.tsv",
            splits: ["dev", "test"])
    }

    /// By ability.
    public var groupings: [Grouping] {
        [
            Grouping("per_l2_category") { $0.labels["l2-category"] },
            Grouping("per_category") { $0.labels["category"] },
        ]
    }

    /// The names of LLaVA's guide and of VLMEvalKit. `images` is where the decoded images go.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let names =
            switch language {
            case .english:
                [
                    "mmbench_\(split)_20230712.tsv", "mmbench_\(split)_en_20231003.tsv",
                    "MMBench_\(split.uppercased())_EN.tsv",
                ]
            case .chinese: ["mmbench_\(split)_cn_20231003.tsv", "MMBench_\(split.uppercased())_CN.tsv"]
            }
        return TaskFiles(questions: firstExisting(names, in: root), images: "\(root)/decoded")
    }

    /// LLaVA 1.5's prompt (`llava/eval/model_vqa_mmbench.py`): hint, question, options, instruction.
    public func prompt(for sample: Sample) -> String {
        Choices.prompt(
            hint: sample.context, question: sample.question, choices: sample.choices ?? [],
            instruction: language == .english ? Choices.instruction : Choices.chineseInstruction)
    }

    /// The whole text: the metric and the evaluation server read the option from it.
    public func answer(fromGenerated text: String, for sample: Sample) -> String { String(text[...].trimmed) }

    /// Row accuracy, with circular and vanilla accuracy as figures.
    public func metric(for data: TaskData) -> any AnswerMetric { CircularAccuracy() }

    /// The server takes Excel files alone.
    public func submissionFile(for data: TaskData) -> String { "submission.xlsx" }

    /// The sheet that the evaluation server takes, an Excel file: `index`, `question`, `A` to `D`, `prediction`, and
    /// `answer` and `split` where the table has them (haotian-liu/LLaVA, `scripts/convert_mmbench_for_submission.py`).
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
        let answers = try matchedAnswers(predictions, for: data)
        let hasAnswers = data.samples.contains { $0.correctChoice != nil }
        let hasSplit = data.samples.contains { $0.labels["split"] != nil }
        let letters = ["A", "B", "C", "D"]
        var rows: [[Cell]] = [
            (["index", "question"] + letters + ["prediction"] + (hasAnswers ? ["answer"] : [])
                + (hasSplit ? ["split"] : [])).map(Cell.text)
        ]
        for (sample, answer) in zip(data.samples, answers) {
            let choices = sample.choices ?? []
            var row: [Cell] = [
                Int(sample.id.text).map(Cell.integer) ?? .text(sample.id.text), .text(sample.question),
            ]
            row += letters.indices.map { $0 < choices.count ? .text(choices[$0]) : .empty }
            row.append(.text(answer))
            if hasAnswers {
                row.append(sample.correctChoice.flatMap(Choices.letter).map(Cell.text) ?? .empty)
            }
            if hasSplit { row.append(sample.labels["split"].map(Cell.text) ?? .empty) }
            rows.append(row)
        }
        try writeSpreadsheet(rows, to: path)
    }

    // MARK: Rotations

    /// The questions with every rotation of their options, for tables that have each question once: rotation k has the
    /// index i + 1000000·k and its options moved k places to the front.
    public static func rotated(_ data: TaskData) -> TaskData {
        var result = data
        result.samples = data.samples.flatMap { sample -> [Sample] in
            guard let choices = sample.choices, choices.count > 1, let index = Int(sample.id.text),
                (0..<Self.step).contains(index)
            else { return [sample] }
            return choices.indices.map { turn in
                var copy = sample
                if turn > 0 { copy.id = QuestionID(index + turn * Self.step) }
                copy.choices = Array(choices[turn...] + choices[..<turn])
                if let right = sample.correctChoice {
                    copy.setCorrectChoice((right - turn + choices.count) % choices.count)
                }
                return copy
            }
        }
        return result
    }

    /// The distance of two rotations' indices.
    static let step = 1_000_000

    /// The question that a row is a rotation of.
    static func question(of sample: Sample) -> String {
        Int(sample.id.text).map { String($0 % step) } ?? sample.id.text
    }

    // MARK: Reading

    /// Reads one row a question; rows that share an image share its file.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var collector = SampleCollector(self, split: split, file: files.questions, word: "line")
        let decoded = files.images.map { DecodedImages(folder: $0, task: name) }
        var images: [String: String] = [:]
        var borrowers: [(row: Int, from: String)] = []
        try withText(of: files.questions) { bytes in
            var reader = CSVReader(bytes, source: files.questions, separator: UInt8(ascii: "\t"))
            let columns = try Columns(reader.next()?.fields, file: files.questions)
            while true {
                do {
                    guard let row = try reader.next() else { break }
                    let record = try columns.row(row.fields, place: collector.place(row.line))
                    let image = record["image"] ?? ""
                    var sample = try sample(record, place: collector.place(row.line))
                    let before = collector.data.samples.count
                    // A short text is the index of the row that has the image.
                    if image.utf8.count > 64, let decoded {
                        do {
                            sample.images = [try decoded.path(base64: image)]
                        } catch let error as VQAError where error.place == nil {
                            throw VQAError(
                                "cannot read the table", at: collector.place(row.line), because: error.why)
                        }
                        images[sample.id.text] = sample.images[0]
                    }
                    try collector.add(sample, number: row.line, log: &log)
                    if decoded != nil, image.utf8.count <= 64, collector.data.samples.count > before {
                        borrowers.append((before, String(image[...].trimmed)))
                    }
                } catch {
                    try log.report(.badRecord, error)
                }
            }
        }
        var data = collector.data
        for (row, owner) in borrowers {
            if let image = images[owner] {
                data.samples[row].images = [image]
            } else {
                try log.report(
                    .missingImage, at: collector.place(data.samples[row].record),
                    "its image is that of the row '\(owner.prefix(20))', which has none")
            }
        }
        return data
    }

    private func sample(_ row: [String: String], place: String) throws -> Sample {
        func refuse(_ why: String) -> VQAError { VQAError("cannot read the table", at: place, because: why) }
        guard let index = Int(row["index"] ?? ""), index >= 0 else { throw refuse("the index is no number") }
        guard let question = row["question"] else { throw refuse("there is no question") }
        // As LLaVA's program: the options end before the first that is missing.
        let choices = Array(
            ["A", "B", "C", "D"].map { Self.given(row[$0]) }.prefix { $0 != nil }.compactMap { $0 })
        guard !choices.isEmpty else { throw refuse("there is no option A") }
        var sample = Sample(
            id: QuestionID(index), imageID: "question \(index % Self.step)", question: question,
            choices: choices)
        sample.context = Self.given(row["hint"])
        for key in ["category", "l2-category", "split", "source"] {
            sample.labels[key] = Self.given(row[key])
        }
        if let letter = Self.given(row["answer"]) {
            guard let right = Choices.index(of: letter, among: choices.count) else {
                throw refuse("the answer '\(letter.prefix(20))' is the letter of no option")
            }
            sample.setCorrectChoice(right)
        }
        return sample
    }

    /// The text of a cell, nil for an empty one and for the words that stand for nothing.
    private static func given(_ cell: String?) -> String? {
        guard let cell, !cell.isEmpty, !["nan", "none"].contains(cell.lowercased()) else { return nil }
        return cell
    }
}

/// The columns of a table by name.
private struct Columns {
    private let names: [String]

    init(_ header: [String]?, file: String) throws {
        guard let header else { throw VQAError("cannot read the table", at: file, because: "it is empty") }
        for name in ["index", "question", "A"] where !header.contains(name) {
            throw VQAError(
                "cannot read the table", at: file, because: "it has no column '\(name)'",
                remedy: "give MMBench's table, tab-separated with a header")
        }
        guard Set(header).count == header.count else {
            throw VQAError("cannot read the table", at: file, because: "two columns have the same name")
        }
        names = header
    }

    func row(_ fields: [String], place: String) throws -> [String: String] {
        guard fields.count == names.count else {
            throw VQAError(
                "cannot read the table", at: place,
                because: "it has \(fields.count) fields, the header has \(names.count)")
        }
        return Dictionary(uniqueKeysWithValues: zip(names, fields))
    }
}
