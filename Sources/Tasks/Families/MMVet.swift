import Support

/// MM-Vet (Yu et al. 2023): 218 open questions that need several abilities at once.
///
/// Layout below the root: `mm-vet.json` (`{"v1_0": {imagename, question, answer, imagesource, capability}}`) and the folder
/// `images`. In an answer `<AND>` joins parts that are all needed, `<OR>` alternatives.
public struct MMVet: VQATask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "mm-vet", aliases: ["mmvet", "mm_vet"], summary: "MM-Vet: open questions, graded by a judge",
        needs: "mm-vet.json, image folder images/", splits: ["test"])

    /// By the set of abilities that a question needs.
    public var groupings: [Grouping] { [Grouping("per_capabilities") { $0.labels["capabilities"] }] }

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        return TaskFiles(questions: "\(root)/mm-vet.json", images: "\(root)/images")
    }

    /// The question alone, as LLaVA 1.5 asks it.
    public func prompt(for sample: Sample) -> String { sample.question }

    /// The whole text.
    public func answer(fromGenerated text: String, for sample: Sample) -> String { String(text[...].trimmed) }

    /// The local stand-in for the judge; see ``MMVetContains``.
    public func metric(for data: TaskData) -> any AnswerMetric { MMVetContains() }

    /// `{"v1_0": "…"}`: the file that the official grader takes.
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
        let answers = try matchedAnswers(predictions, for: data)
        let members = zip(data.samples, answers).map { JSON.Member($0.id.text, .string($1)) }
        try writeFile(JSON.object(members).text(indented: true) + "\n", to: path)
    }

    /// Reads the questions in the order of the file.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var collector = SampleCollector(self, split: split, file: files.questions)
        try withText(of: files.questions) { bytes in
            var cursor = JSONCursor(bytes, source: files.questions)
            try readMembers(&cursor, log: &log) { key, cursor in
                let record = try JSONRecord(reading: &cursor)
                guard !key.isEmpty else { throw record.failure("the id is empty") }
                let image = try record.text("imagename")
                var sample = Sample(
                    id: QuestionID(key), imageID: image,
                    images: try files.images.map { [try path(image, inside: $0)] } ?? [],
                    question: try record.text("question"),
                    answers: try record.optionalText("answer").map { [$0] } ?? [])
                sample.labels["capabilities"] = Set(try record.texts("capability")).sorted().joined(
                    separator: "_")
                sample.labels["source"] = try record.optionalText("imagesource")
                return sample
            } use: { sample, number, log in
                try collector.add(sample, number: number, log: &log)
            }
            try cursor.end()
        }
        return collector.data
    }
}

/// A local stand-in for MM-Vet's judge: the share of the needed parts that occur in the answer, the best of the
/// alternatives; and its mean for each ability. **Not** the official score, which GPT-4 gives.
public struct MMVetContains: AnswerMetric {
    /// The measure has no settings.
    public init() {}

    /// In reports.
    public let name = "contains-not-the-judge"

    /// The share of parts that occur in the answer, whatever the case of letters.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        zip(answers, samples).map { answer, sample in
            let answer = answer.lowercased()
            let alternatives = (sample.answers.first ?? "").lowercased().split(separator: "<or>")
            return alternatives.map { alternative in
                let parts = alternative.split(separator: "<and>").map(\.trimmed).filter { !$0.isEmpty }
                return parts.isEmpty ? 0 : Double(parts.count { answer.contains($0) }) / Double(parts.count)
            }.max() ?? 0
        }
    }

    /// The mean for each ability, as the official table lists them.
    public func figures(of answers: [String], for samples: [Sample]) -> Figures? {
        func abilities(_ sample: Sample) -> [Substring] {
            (sample.labels["capabilities"] ?? "").split(separator: "_")
        }
        let all = Set(samples.flatMap(abilities)).sorted()
        guard !all.isEmpty else { return nil }
        return shares(
            all.map { ability in (String(ability), { abilities($0).contains(ability) }) },
            scores: scores(of: answers, for: samples), of: samples)
    }
}
