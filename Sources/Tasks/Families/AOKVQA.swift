import Support

/// A-OKVQA 1.0 (github.com/allenai/aokvqa): questions about COCO 2017 photographs that need knowledge and reasoning; four
/// options, ten direct answers and three rationales each.
///
/// Layout below the root, or below its folder `annotations` or `aokvqa`: `aokvqa_v1p0_<split>.json`; images
/// `<split>2017/<image id, 12 digits>.jpg`. The two files that Q&A Prompts adds are read by ``AOKVQASubQuestions``.
public struct AOKVQA: VQATask {
    /// What is asked of the model, and how it is scored.
    public enum Setting: String, Sendable {
        /// A free answer, scored as the official program does; questions marked difficult for it are left out.
        case directAnswer
        /// One of the four options.
        case multipleChoice
        /// A free answer with the options in view, scored as the released code of Q&A Prompts does.
        case released
    }

    /// What is asked of the model.
    public let setting: Setting

    /// The family in one of its settings.
    public init(_ setting: Setting) { self.setting = setting }

    /// Name, files and splits.
    public var about: TaskDescription {
        let (name, aliases, what) =
            switch setting {
            case .directAnswer: ("aokvqa", ["a-okvqa", "aokvqa-da"], "direct answers")
            case .multipleChoice: ("aokvqa-mc", ["a-okvqa-mc"], "four options")
            case .released:
                ("aokvqa-released", ["aokvqa-legacy"], "direct answers as Q&A Prompts' code scores them")
            }
        return TaskDescription(
            name: name, aliases: aliases,
            summary: "A-OKVQA: knowledge and reasoning about COCO photographs, \(what)",
            needs: "aokvqa_v1p0_SPLIT.json, image folder SPLIT2017/", splits: ["train", "val", "test"])
    }

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let file = "aokvqa_v1p0_\(split).json"
        return TaskFiles(
            questions: firstExisting(["", "annotations/", "aokvqa/"].map { "\(root)/\($0)\(file)" }),
            images: firstExisting(["", "coco/"].map { "\(root)/\($0)\(split)2017" }))
    }

    /// Reads the list of questions; records of another split than the one asked for are stepped over.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var collector = SampleCollector(self, split: split, file: files.questions)
        try withText(of: files.questions) { bytes in
            var cursor = JSONCursor(bytes, source: files.questions)
            try readList(&cursor, log: &log, parse: readRecord) { record, number, log in
                if let split, let other = record.split, other != split { return }
                let set = record.split ?? split ?? "val"
                let folder = files.images.map { Self.isSplitFolder($0) ? $0 : "\($0)/\(set)2017" }
                try collector.add(
                    record.sample, image: "\(zeroPadded(record.sample.imageID)).jpg", in: folder,
                    number: number, log: &log)
            }
            try cursor.end()
        }
        return collector.data
    }

    private static func isSplitFolder(_ folder: String) -> Bool {
        ["train2017", "val2017", "test2017"].contains { folder.hasSuffix($0) }
    }

    private func readRecord(_ cursor: inout JSONCursor) throws -> (sample: Sample, split: String?) {
        var id: QuestionID?
        var image: QuestionID?
        var question: String?
        var split: String?
        var choices: [String]?
        var correct: Int?
        var answers: [String] = []
        var rationales: [String] = []
        var isDifficult: Bool?
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "question_id": id = try QuestionID(reading: &cursor)
            case "image_id": image = try QuestionID(reading: &cursor)
            case "question": question = try readString(&cursor, "the question")
            case "split": split = try readString(&cursor, key)
            case "choices": choices = try readStrings(&cursor, key)
            case "correct_choice_idx": correct = try cursor.integer()
            case "direct_answers": answers = try readStrings(&cursor, key)
            case "rationales": rationales = try readStrings(&cursor, key)
            case "difficult_direct_answer": isDifficult = try cursor.bool()
            default: try cursor.skipValue()
            }
        }
        guard let id else { throw cursor.failure("the record has no question_id") }
        guard let image else { throw cursor.failure("the question \(id) has no image_id") }
        guard let question else { throw cursor.failure("the record \(id) has no question") }
        guard let choices, !choices.isEmpty else { throw cursor.failure("the question \(id) has no choices") }
        if let correct, !choices.indices.contains(correct) {
            throw cursor.failure(
                "correct_choice_idx \(correct) of the question \(id) is outside its \(choices.count) choices")
        }
        let right = correct.map { [choices[$0]] } ?? []
        var sample = Sample(
            id: id, imageID: image.text, question: question,
            answers: setting == .multipleChoice ? right : answers,
            choices: setting == .directAnswer ? nil : choices)
        sample.correctChoice = setting == .directAnswer ? nil : correct
        sample.rationales = rationales
        sample.labels = Self.labels(isDifficult ?? false)
        return (sample, split)
    }

    /// Two dictionaries that all samples share.
    private static func labels(_ isDifficult: Bool) -> [String: String] { isDifficult ? difficult : plain }
    private static let difficult = ["difficult_direct_answer": "true"]
    private static let plain = ["difficult_direct_answer": "false"]

    /// The template of Q&A Prompts (spec 3.1). The options are shown in the settings that have them: the released code
    /// shows them for direct answers too.
    public func prompt(for sample: Sample) -> String {
        let options = sample.choices.map { "\nPossible options: \($0.joined(separator: ", "))" } ?? ""
        return "Question: \(sample.question)\(options)\nShort answer:"
    }

    /// In lower case; with options the one that the text names (``chosenOption(in:of:)``), if it does.
    public func answer(fromGenerated text: String, for sample: Sample) -> String {
        let line = firstLine(of: text)
        guard setting == .multipleChoice, let choices = sample.choices else { return line.lowercased() }
        return chosenOption(in: line, of: choices).map { choices[$0] } ?? line.lowercased()
    }

    /// The measure of the setting.
    public func metric(for data: TaskData) -> any AnswerMetric {
        switch setting {
        case .directAnswer: DirectAnswerAccuracy(.official)
        case .multipleChoice: OptionEquality()
        case .released: DirectAnswerAccuracy(.released)
        }
    }

    /// By whether the question is marked difficult to answer directly.
    public var groupings: [Grouping] {
        [
            Grouping("per_difficulty") {
                $0.labels["difficult_direct_answer"] == "true" ? "difficult" : "plain"
            }
        ]
    }

    /// `direct_answer` or `multiple_choice` of the leaderboard's file before the usual keys.
    public var answerKeys: [String] { [leaderboardKey] + defaultAnswerKeys }

    private var leaderboardKey: String { setting == .multipleChoice ? "multiple_choice" : "direct_answer" }

    /// The leaderboard's file: `{"<question id>": {"direct_answer": "…"}}`, or with `multiple_choice`.
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
        let answers = try answersByQuestion(predictions)
        try writeFile(
            Self.leaderboard(
                try data.samples.map { (id: $0.id, [(leaderboardKey, try onlyAnswer(to: $0, in: answers))]) }),
            to: path)
    }

    /// The leaderboard's file with both settings: every sample needs one answer in each.
    public static func writeLeaderboard(
        directAnswers: [Prediction], choices: [Prediction], for data: TaskData, to path: String
    ) throws {
        let (direct, choice) = (try answersByQuestion(directAnswers), try answersByQuestion(choices))
        let rows = try data.samples.map { sample in
            let pair = [
                ("multiple_choice", try onlyAnswer(to: sample, in: choice)),
                ("direct_answer", try onlyAnswer(to: sample, in: direct)),
            ]
            return (id: sample.id, pair)
        }
        try writeFile(leaderboard(rows), to: path)
    }

    private static func leaderboard(_ rows: [(id: QuestionID, answers: [(String, String)])]) -> String {
        let lines = rows.map { row in
            let answers = JSON.object(row.answers.map { JSON.Member($0.0, .string($0.1)) })
            return "\(JSON.string(row.id.text).text()): \(answers.text())"
        }
        return "{\n" + lines.joined(separator: ",\n") + "\n}\n"
    }
}

/// The position of the option that `text` names: the option itself in any case of letters, its letter (`B`, `(b)`, `B.`,
/// `B: word`), or the one option that occurs in the text as whole words; nil when it names none or several.
///
/// Source: the three parsers that the specifications describe: LAVIS and LLaVA (letter), A-OKVQA (text).
public func chosenOption(in text: String, of options: [String]) -> Int? {
    func words(_ text: String) -> [String] {
        text.lowercased().split { !$0.isLetter && !$0.isNumber }.map(String.init)
    }
    let plain = words(text)
    if let exact = options.firstIndex(where: { $0.lowercased() == text.lowercased() }) { return exact }
    if let same = options.firstIndex(where: { !plain.isEmpty && words($0) == plain }) { return same }
    if let letter = optionLetter(in: text), letter < options.count { return letter }
    let found = options.indices.filter { index in
        let option = words(options[index])
        guard !option.isEmpty, option.count <= plain.count else { return false }
        return (0...plain.count - option.count).contains {
            plain[$0..<$0 + option.count].elementsEqual(option)
        }
    }
    return Set(found.map { options[$0] }).count == 1 ? found.first : nil
}

/// The position of a letter that stands alone or with a mark at the beginning: 1 for `B`, `(B)`, `b.` and `B: word`.
private func optionLetter(in text: String) -> Int? {
    let opened = text.first == "("
    let rest = opened ? text.dropFirst() : text[...]
    guard let letter = rest.first, letter.isASCII, letter.isLetter,
        let value = letter.uppercased().utf8.first
    else { return nil }
    let after = rest.dropFirst().first
    let closes = opened ? after == ")" : after == nil || after == "." || after == ")" || after == ":"
    return closes ? Int(value - UInt8(ascii: "A")) : nil
}
