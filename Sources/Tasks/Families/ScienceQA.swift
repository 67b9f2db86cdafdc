import Support

/// ScienceQA (Lu et al. 2022): multiple-choice questions from school books, half of them about an image.
///
/// Layout below the root: `problems.json` (`{id: {question, choices, answer, hint, image, grade, subject, topic, category,
/// skill, lecture, solution, split}}`), `pid_splits.json` (`{split: [id]}`) and the images `images/SPLIT/ID/image.png`. The
/// hint is the sample's context, lecture and solution together are its rationale, and each its passage. A question without image has an empty
/// list of images.
///
/// LLaVA's list (`llava_test_CQM-A.json` and the like: `id`, `image`, `conversations`) can stand in place of
/// `problems.json`; its prompts are then taken as they are written.
public struct ScienceQA: VQATask {
    /// The published forms of prompt and evaluation.
    public enum Form: String, Sendable {
        /// LLaVA: context, question, options, and the instruction to answer with the letter; no option is wrong.
        case llava
        /// The data set's own program: question, context, options, `Answer:`; no option is a random one.
        case official
        /// LaVIN and DVP: question, context, options, `Response:`; no option is a random one.
        case lavin
    }

    /// The form of prompt and evaluation.
    public var form: Form

    /// LLaVA's form unless told otherwise.
    public init(form: Form = .llava) { self.form = form }

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "scienceqa", aliases: ["sqa", "science-qa"],
        summary: "ScienceQA: multiple choice from school books, with hints, some with an image",
        needs: "problems.json, pid_splits.json, images/SPLIT/ID/image.png",
        splits: ["train", "val", "test", "trainval", "minitrain", "minival", "minitest"])

    /// By subject, by grade, and with or without image.
    public var groupings: [Grouping] {
        [
            Grouping("per_subject") { $0.labels["subject"] }, Grouping("per_grade") { $0.labels["grade"] },
            Grouping("per_image") { $0.labels["image"] },
        ]
    }

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        return TaskFiles(
            questions: "\(root)/problems.json", annotations: "\(root)/pid_splits.json",
            images: "\(root)/images")
    }

    /// LLaVA: `scripts/convert_sqa_to_llava_base_prompt.py` (CQM) and the instruction of LLaVA 1.5; the data set:
    /// `models/base_prompt.py` (QCM); LaVIN: the same with `Response:`.
    public func prompt(for sample: Sample) -> String {
        if let written = sample.turns.first?.text {
            return String(written.replacing("<image>", with: "")[...].trimmed) + "\n" + Choices.instruction
        }
        let question = "Question: \(sample.question)"
        let context = "Context: \(sample.context ?? "N/A")"
        let options = "Options: \(Choices.inline(sample.choices ?? []))"
        let lines =
            switch form {
            case .llava: [context, question, options, Choices.instruction]
            case .official: [question, context, options, "Answer:"]
            case .lavin: [question, context, options, "Response:"]
            }
        return lines.joined(separator: "\n").replacing("  ", with: " ")
    }

    /// What LaVIN and DVP train the model to write (output format ALE): `The answer is B. BECAUSE: …`.
    public func target(for sample: Sample) -> String? {
        guard let letter = sample.correctChoice.flatMap(Choices.letter) else { return nil }
        let reason = (sample.rationale ?? "").replacing("\n", with: "\\n").replacing("  ", with: " ")
        return reason.isEmpty ? "The answer is \(letter)." : "The answer is \(letter). BECAUSE: \(reason)"
    }

    /// The whole text: the metric reads the option from it.
    public func answer(fromGenerated text: String, for sample: Sample) -> String { String(text[...].trimmed) }

    /// Accuracy with the columns of the official table.
    public func metric(for data: TaskData) -> any AnswerMetric { ScienceQAAccuracy(form: form) }

    /// `{"results": {id: option}}`, options from 0 and -1 for none.
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
        let answers = try matchedAnswers(predictions, for: data)
        let metric = ScienceQAAccuracy(form: form)
        let results = zip(data.samples, answers).map { sample, answer in
            JSON.Member(sample.id.text, .integer(metric.choice(answer, for: sample) ?? -1))
        }
        try writeFile(JSON.object([JSON.Member("results", .object(results))]).text() + "\n", to: path)
    }

    // MARK: Reading

    /// Reads the problems that `pid_splits.json` puts into `split`, in its order; without that file, those whose own
    /// `split` it is, in the order of the file.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        if try recordWord(of: files.questions) == "record" {
            return try readConverted(files, split: split, log: &log)
        }
        var collector = SampleCollector(self, split: split, file: files.questions)
        try withText(of: files.questions) { bytes in
            var cursor = JSONCursor(bytes, source: files.questions)
            try readMembers(&cursor, log: &log) { key, cursor in
                try sample(JSONRecord(reading: &cursor), id: key, images: files.images)
            } use: { sample, number, log in
                try collector.add(sample, number: number, log: &log)
            }
            try cursor.end()
        }
        var data = collector.data
        guard let split else { return data }
        guard let list = files.annotations else {
            data.samples.removeAll { $0.labels["split"] != split }
            return data
        }
        data.samples = try select(split, from: list, among: data.samples, log: &log)
        return data
    }

    private func sample(_ record: JSONRecord, id: String, images: String?) throws -> Sample {
        guard !id.isEmpty else { throw record.failure("the id is empty") }
        let choices = try record.texts("choices")
        guard (1...26).contains(choices.count) else {
            throw record.failure("it has \(choices.count) choices")
        }
        let split = try record.optionalText("split") ?? "test"
        let image = try record.optionalText("image").map { "\(split)/\(id)/\($0)" }
        var sample = Sample(
            id: QuestionID(id), imageID: image ?? "question \(id)", question: try record.text("question"),
            choices: choices)
        if let image, let images { sample.images = [try path(image, inside: images)] }
        let answer = try record.integer("answer")
        guard choices.indices.contains(answer) else {
            throw record.failure("the answer \(answer) is none of \(choices.count) choices")
        }
        sample.setCorrectChoice(answer)
        let hint = try record.optionalText("hint") ?? ""
        sample.context = hint.isEmpty ? nil : hint
        for part in ["lecture", "solution"] { sample.passages[part] = try record.optionalText(part) }
        let reasons = ["lecture", "solution"].compactMap { sample.passages[$0] }.filter { !$0.isEmpty }
        if !reasons.isEmpty { sample.rationales = [reasons.joined(separator: " ")] }
        sample.labels = ["split": split, "image": image == nil ? "without image" : "with image"]
        for key in ["subject", "grade", "topic", "category", "skill", "task"] {
            if let label = try record.optionalText(key) { sample.labels[key] = label }
        }
        return sample
    }

    /// The samples of a split in the order of `pid_splits.json`.
    private func select(
        _ split: String, from file: String, among samples: [Sample], log: inout ProblemLog
    ) throws -> [Sample] {
        let json = try JSON(contentsOf: file, limit: 64 << 20)
        guard let ids = json[split]?.array else {
            let known = json.members?.map(\.key) ?? []
            throw VQAError(
                "cannot read the splits", at: file, because: "there is no split '\(split)'",
                remedy: nearestMatch(to: split, in: known).map { "did you mean '\($0)'?" })
        }
        var index: [String: Int] = [:]
        for (position, sample) in samples.enumerated() { index[sample.id.text] = position }
        var chosen: [Sample] = []
        for id in ids {
            guard let word = JSONRecord.word(id), let position = index.removeValue(forKey: word) else {
                try log.report(
                    .badRecord, at: file,
                    "the split '\(split)' names the problem \(id.text().prefix(40)), which is not there or is named twice"
                )
                continue
            }
            chosen.append(samples[position])
        }
        return chosen
    }

    // MARK: LLaVA's list

    private func readConverted(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var collector = SampleCollector(self, split: split, file: files.questions)
        try withText(of: files.questions) { bytes in
            var cursor = JSONCursor(bytes, source: files.questions)
            try readList(&cursor, log: &log) { cursor in
                try convertedSample(
                    JSONRecord(reading: &cursor), split: split ?? "test", images: files.images)
            } use: { sample, number, log in
                try collector.add(sample, number: number, log: &log)
            }
            try cursor.end()
        }
        return collector.data
    }

    private func convertedSample(_ record: JSONRecord, split: String, images: String?) throws -> Sample {
        let id = try record.id("id")
        let turns = try record.conversation()
        let text = String(turns[0].text.replacing("<image>", with: "")[...].trimmed)
        let parts = ConvertedPrompt(text)
        guard !parts.choices.isEmpty else { throw record.failure("the question \(id) lists no options") }
        let image = try record.optionalText("image")
        var sample = Sample(
            id: id, imageID: image ?? "question \(id)", question: parts.question, choices: parts.choices)
        sample.context = parts.context
        sample.turns = turns
        sample.labels = ["image": image == nil ? "without image" : "with image"]
        if let image, let images { sample.images = [try path(image, inside: "\(images)/\(split)")] }
        if turns.count > 1 {
            let rules: [ChoiceRule] = [.llava, .lavin, .lenient]
            guard
                let index = rules.lazy.compactMap({ $0.choice(in: turns[1].text, among: parts.choices) })
                    .first
            else { throw record.failure("the answer of the question \(id) names no option") }
            sample.setCorrectChoice(index)
        }
        return sample
    }
}

/// The parts of a prompt in LLaVA's list: lines `Context: …`, `Question: …` (or the question alone), and the options as
/// `Options: (A) … (B) …` or as lines `A. …`.
struct ConvertedPrompt {
    var question = ""
    var context: String?
    var choices: [String] = []

    init(_ text: String) {
        var rest: [Substring] = []
        for line in text.split(whereSeparator: \.isNewline) {
            if line.hasPrefix("Options: ") {
                choices = Self.inlineChoices(line.dropFirst("Options: ".count))
            } else if let letter = Choices.letter(choices.count), line.hasPrefix("\(letter). ") {
                choices.append(String(line.dropFirst(3).trimmed))
            } else if line.hasPrefix("Context: ") {
                let words = line.dropFirst("Context: ".count).trimmed
                context = words == "N/A" ? nil : String(words)
            } else if choices.isEmpty {
                rest.append(line.hasPrefix("Question: ") ? line.dropFirst("Question: ".count) : line)
            }
        }
        question = rest.joined(separator: "\n")
    }

    /// Splits `(A) x (B) y` at the letters in their order.
    private static func inlineChoices(_ line: Substring) -> [String] {
        var choices: [String] = []
        var rest = line
        while let letter = Choices.letter(choices.count), rest.hasPrefix("(\(letter)) ") {
            rest = rest.dropFirst(4)
            let next = Choices.letter(choices.count + 1).flatMap { rest.firstRange(of: " (\($0)) ") }
            choices.append(String(rest[..<(next?.lowerBound ?? rest.endIndex)].trimmed))
            rest = next.map { rest[$0.lowerBound...].dropFirst() } ?? ""
        }
        return choices
    }
}
