import Support

/// The Arrow tables of ViLT's recipe that DVP trains from (dvp.md 5.1): one row an image, with its encoded bytes and lists of
/// questions and answers. Splits are the names of the tables below the root.
///
/// The images are written once to a folder, as `<SHA-256 of the bytes>.<jpg, png, webp or bin>`. The tables keep, in place of ten
/// annotators, the answers of the vocabulary with scores 0.3, 0.6, 0.9 and 1. A sample has each answer once, twice, three and four
/// times then, and the first best one as the answer to train on.
public struct ViLTTables: VQATask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "vilt-arrow", aliases: ["vilt", "dvp-arrow"],
        summary: "ViLT's and DVP's Arrow tables of VQA v2, GQA and SNLI-VE",
        needs: "SPLIT.arrow; images are unpacked to SPLIT-images/ beside it",
        splits: [
            "vqav2_train", "vqav2_val", "vqav2_trainable_val", "vqav2_rest_val", "vqav2_test",
            "vqav2_test-dev",
            "gqa_train", "gqa_val", "gqa_test-dev", "snli_ve_train", "snli_ve_dev", "snli_ve_test",
        ])

    /// The table, and the folder beside it for its images.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        return TaskFiles(questions: "\(root)/\(split).arrow", images: "\(root)/\(split)-images")
    }

    /// ``TableScore``.
    public func metric(for data: TaskData) -> any AnswerMetric { TableScore() }

    /// The first line in lower case, as the tables' answers are.
    public func answer(fromGenerated text: String, for sample: Sample) -> String {
        firstLine(of: text).lowercased()
    }

    /// Reads one sample a question, row by row. Unpacks the images to the folder of `files`; nil reads without images.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var data = TaskData(task: name, split: split ?? "", samples: [])
        data.recordWord = "row"
        let table = try ArrowTable(files.questions)
        let images = try files.images.map(UnpackedImages.init(folder:))
        var seen: Set<QuestionID> = []
        var row = 0
        for batch in 0..<table.batchCount {
            let columns = try placed(files.questions) { try table.columns(ofBatch: batch) }
            guard let questions = columns["questions"] else {
                throw VQAError(
                    "cannot read the table", at: files.questions, because: "it has no column 'questions'")
            }
            for index in 0..<questions.count {
                row += 1
                do {
                    for sample in try samples(columns, index, row: row, images: images) {
                        guard seen.insert(sample.id).inserted else {
                            try log.report(
                                .duplicateID, at: "\(files.questions), row \(row)",
                                "the question id \(sample.id) was used before")
                            continue
                        }
                        data.samples.append(sample)
                    }
                } catch let error as VQAError {
                    if error.kind == .failure { throw error }
                    try log.report(
                        .badRecord,
                        VQAError(
                            error.what, at: "\(files.questions), row \(row)", because: error.why,
                            remedy: error.remedy))
                }
            }
            table.release(batch: batch)
        }
        return data
    }

    private func placed<Result>(_ file: String, _ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as VQAError {
            throw VQAError(error.what, at: file, because: error.why, remedy: error.remedy, kind: error.kind)
        }
    }

    /// The samples of one row.
    private func samples(
        _ columns: [String: ArrowColumn], _ index: Int, row: Int, images: UnpackedImages?
    ) throws -> [Sample] {
        guard let (questions, range) = try columns["questions"]?.list(index) else { return [] }
        var path: [String] = []
        if let images {
            guard let image = columns["image"], try !image.isNull(index) else {
                throw VQAError("cannot use the row", because: "it has no image")
            }
            path = [try images.path(of: try image.bytes(index))]
        }
        let imageID =
            try (columns["image_id"] ?? columns["identifier"]).map { try text($0, index) } ?? "\(row)"
        let answers = try columns["answers"].map { try $0.list(index) }
        let scores = try columns["answer_scores"].map { try $0.list(index) }
        let ids = try columns["question_id"].map { try $0.list(index) }
        for list in [answers?.range, scores?.range, ids?.range].compactMap(\.self)
        where !list.isEmpty && list.count != range.count {
            throw VQAError("cannot use the row", because: "its lists have different lengths")
        }
        return try range.enumerated().map { number, place in
            let id = try ids.flatMap { ids in
                ids.range.isEmpty ? nil : try questionID(ids.values, ids.range.lowerBound + number)
            }
            var sample = Sample(
                id: id ?? QuestionID("\(row)-\(number + 1)"), imageID: imageID, images: path,
                question: try questions.string(place), record: row)
            if let answers, !answers.range.isEmpty {
                let scores = scores.flatMap {
                    $0.range.isEmpty ? nil : ($0.values, $0.range.lowerBound + number)
                }
                try give(answers.values, answers.range.lowerBound + number, scores, to: &sample)
            }
            return sample
        }
    }

    /// Gives a sample its answers, as often as their scores say.
    private func give(
        _ answers: ArrowColumn, _ place: Int, _ scores: (column: ArrowColumn, place: Int)?,
        to sample: inout Sample
    ) throws {
        guard case .list = answers.type else {
            // SNLI-VE has one word for each hypothesis.
            sample.answers = Array(repeating: try answers.string(place), count: 4)
            sample.answer = sample.answers.first
            return
        }
        let words = try answers.list(place)
        let weights = try scores.map { try $0.column.list($0.place) }
        guard weights == nil || weights?.range.count == words.range.count else {
            throw VQAError("cannot use the row", because: "a question has more answers than scores, or fewer")
        }
        var best = 0
        for (number, word) in words.range.enumerated() {
            let text = try words.values.string(word)
            let score = try weights.map { try $0.values.double($0.range.lowerBound + number) } ?? 1
            let copies = score > 0.95 ? 4 : score > 0.75 ? 3 : score > 0.45 ? 2 : score > 0 ? 1 : 0
            sample.answers += Array(repeating: text, count: copies)
            if copies > best {
                best = copies
                sample.answer = text
            }
        }
    }

    private func text(_ column: ArrowColumn, _ index: Int) throws -> String {
        if case .integer = column.type { return String(try column.integer(index)) }
        return try column.string(index)
    }

    private func questionID(_ column: ArrowColumn, _ index: Int) throws -> QuestionID {
        if case .integer = column.type { return QuestionID(try column.integer(index)) }
        return QuestionID(try column.string(index))
    }
}

/// The score of ViLT's tables: 0.3, 0.6, 0.9 and 1 for an answer that is given once, twice, three times and more often. Answers
/// are compared as they are and normalised; the tables' are normalised.
public struct TableScore: AnswerMetric {
    /// The measure has no settings.
    public init() {}

    /// In reports.
    public let name = "vqa-table-score"

    /// The score of each answer.
    public func scores(of answers: [String], for samples: [Sample]) -> [Double] {
        zip(answers, samples).map { answer, sample in
            let normalised = normalisedAnswer(answer)
            let copies = sample.answers.count { $0 == answer || $0 == normalised }
            return copies >= 4 ? 1 : 0.3 * Double(copies)
        }
    }
}
