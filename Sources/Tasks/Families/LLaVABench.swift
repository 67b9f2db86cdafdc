import Support

/// LLaVA-Bench in the wild (Liu et al. 2023): 60 open questions about 24 images; a judge compares the answers with those of
/// GPT-4.
///
/// Layout below the root: `questions.jsonl` (`question_id`, `image`, `text`, `category`), `answers_gpt4.jsonl` (the
/// reference answers: `question_id`, `text`), `context.jsonl` (`image`, `caption`: what the judge knows of the image, kept
/// in the label `judge_context` and never shown to the model) and the folder `images`.
public struct LLaVABench: VQATask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "llava-bench", aliases: ["llavabench", "llava-bench-in-the-wild", "llava_bench"],
        summary: "LLaVA-Bench in the wild: open questions, compared with GPT-4 by a judge",
        needs: "questions.jsonl, answers_gpt4.jsonl, context.jsonl, image folder images/", splits: ["test"])

    /// By category: conversation, detail, complex.
    public var groupings: [Grouping] { [Grouping("per_category", \.questionType)] }

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let answers = "\(root)/answers_gpt4.jsonl"
        return TaskFiles(
            questions: "\(root)/questions.jsonl", annotations: fileExists(answers) ? answers : nil,
            images: "\(root)/images")
    }

    /// The question alone.
    public func prompt(for sample: Sample) -> String { sample.question }

    /// The whole text.
    public func answer(fromGenerated text: String, for sample: Sample) -> String { String(text[...].trimmed) }

    /// The local stand-in for the judge; see ``WordOverlap``.
    public func metric(for data: TaskData) -> any AnswerMetric { WordOverlap() }

    /// One record a line.
    public func submissionFile(for data: TaskData) -> String { "submission.jsonl" }

    /// The answers file that `llava/eval/eval_gpt_review_bench.py` takes.
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
        try writeLines(predictions, for: data, to: path) { sample, answer in
            var hash = SHA256()
            hash.add(sample.id.text)
            hash.add(answer)
            return JSON.object([
                JSON.Member("question_id", sample.id.json),
                JSON.Member("prompt", .string(prompt(for: sample))),
                JSON.Member("text", .string(answer)),
                JSON.Member("answer_id", .string(String(hash.hexadecimal().prefix(22)))),
                JSON.Member("model_id", "swift-vqa"), JSON.Member("metadata", .object([])),
            ]).text()
        }
    }

    /// The scores in a judge's review file (`tuple`: reference and model, 1 to 10): 100 · Σ model / Σ reference for each
    /// category and for `all`, with one decimal (`llava/eval/summarize_gpt_review.py`).
    public static func judgedScores(_ reviews: String) throws -> [String: Double] {
        var log = ProblemLog(stopsAtFatal: true)
        var sums: [String: (reference: Double, model: Double)] = [:]
        try readRecords(of: reviews, log: &log) { cursor in
            let record = try JSONRecord(reading: &cursor)
            guard let pair = record.value("tuple")?.array?.compactMap(\.double), pair.count == 2 else {
                throw record.failure("the record has no tuple of two scores")
            }
            return (try record.optionalText("category"), pair)
        } use: { review, _, _ in
            for key in [review.0, "all"] {
                guard let key else { continue }
                sums[key, default: (0, 0)].reference += review.1[0]
                sums[key, default: (0, 0)].model += review.1[1]
            }
        }
        return sums.mapValues { sum in (percent(sum.model, of: sum.reference) * 10).rounded() / 10 }
    }

    /// Reads the questions, then joins references and contexts.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var collector = SampleCollector(
            self, split: split, file: files.questions, word: try recordWord(of: files.questions))
        let contexts = try readContexts(beside: files.questions, log: &log)
        let references = try files.annotations.map { try readReferences($0, log: &log) } ?? [:]
        try readRecords(of: files.questions, log: &log) { cursor in
            let record = try JSONRecord(reading: &cursor)
            let image = try record.text("image")
            var sample = Sample(
                id: try record.id("question_id"), imageID: image,
                images: try files.images.map { [try path(image, inside: $0)] } ?? [],
                question: try record.text("text"), questionType: try record.optionalText("category"))
            sample.labels["judge_context"] = contexts[image]
            if let reference = references[sample.id] {
                (sample.answers, sample.answer) = ([reference], reference)
            }
            return sample
        } use: { sample, number, log in
            if files.annotations != nil, sample.answers.isEmpty {
                try log.report(
                    .questionWithoutAnnotation, at: collector.place(number),
                    "the question \(sample.id) has no reference answer")
            }
            try collector.add(sample, number: number, log: &log)
        }
        return collector.data
    }

    private func readReferences(_ file: String, log: inout ProblemLog) throws -> [QuestionID: String] {
        var references: [QuestionID: String] = [:]
        try readRecords(of: file, log: &log) { cursor in
            let record = try JSONRecord(reading: &cursor)
            return (try record.id("question_id"), try record.text("text"))
        } use: { pair, number, log in
            if references.updateValue(pair.1, forKey: pair.0) != nil {
                try log.report(
                    .duplicateID, at: "\(file), line \(number)", "the question \(pair.0) has two references")
            }
        }
        return references
    }

    private func readContexts(beside questions: String, log: inout ProblemLog) throws -> [String: String] {
        let folder = questions.lastIndex(of: "/").map { questions[...$0] } ?? ""
        let file = "\(folder)context.jsonl"
        guard fileExists(file) else { return [:] }
        var contexts: [String: String] = [:]
        try readRecords(of: file, log: &log) { cursor in
            let record = try JSONRecord(reading: &cursor)
            let caption = record.value("caption")
            let lines = try caption?.string.map { [$0] } ?? record.texts("caption")
            return (try record.text("image"), lines.joined(separator: "\n"))
        } use: { pair, _, _ in
            contexts[pair.0] = pair.1
        }
        return contexts
    }
}

/// A local stand-in for a judge: the F1 of the words that answer and reference share, each as often as it occurs in both.
/// **Not** the score that LLaVA-Bench publishes.
public struct WordOverlap: AnswerMetric {
    /// The measure has no settings.
    public init() {}

    /// In reports.
    public let name = "word-f1-not-the-judge"

    /// The best F1 over the references.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        zip(answers, samples).map { answer, sample in
            let words = Self.words(answer)
            return sample.answers.map { Self.f1(words, Self.words($0)) }.max() ?? 0
        }
    }

    private static func words(_ text: String) -> [String: Int] {
        text.lowercased().split { !$0.isLetter && !$0.isNumber }.reduce(into: [:]) {
            $0[String($1), default: 0] += 1
        }
    }

    private static func f1(_ a: [String: Int], _ b: [String: Int]) -> Double {
        let shared = a.reduce(0) { $0 + min($1.value, b[$1.key] ?? 0) }
        let all = a.values.reduce(0, +) + b.values.reduce(0, +)
        return all == 0 ? 0 : 2 * Double(shared) / Double(all)
    }
}
