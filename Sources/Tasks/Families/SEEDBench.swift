import Support

/// SEED-Bench (Li et al. 2023): multiple-choice questions with four options, about images in nine dimensions and about
/// videos in three.
///
/// Layout below the root: `SEED-Bench.json` (`questions[]` of `question_id`, `question`, `choice_a` … `choice_d`, `answer`,
/// `data_id`, `data_type`, `question_type_id`, and `question_type` with the names), the folder `SEED-Bench-image` with a
/// file of the name `data_id` each, and for videos the folder `SEED-Bench-video-image` with the middle frame of each question,
/// `TYPE_ID.png`, as haotian-liu/LLaVA's `extract_video_frames.py` takes it out. Questions of the other kind are left out
/// and counted in a note.
public struct SEEDBench: VQATask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "seed-bench", aliases: ["seed", "seedbench", "seed_bench"],
        summary: "SEED-Bench: four options about an image or a video's middle frame, twelve dimensions",
        needs: "SEED-Bench.json, image folders SEED-Bench-image/, SEED-Bench-video-image/",
        splits: ["image", "video", "all"])

    /// By dimension, and by image and video.
    public var groupings: [Grouping] {
        [
            Grouping("per_question_type", \.questionType),
            Grouping("per_data_type") { $0.labels["data_type"] },
        ]
    }

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let folder = split == "all" ? "" : split == "video" ? "/SEED-Bench-video-image" : "/SEED-Bench-image"
        return TaskFiles(questions: "\(root)/SEED-Bench.json", images: root + folder)
    }

    /// The prompt of LLaVA 1.5.
    public func prompt(for sample: Sample) -> String {
        Choices.prompt(question: sample.question, choices: sample.choices ?? [])
    }

    /// The letter, else the first line.
    public func answer(fromGenerated text: String, for sample: Sample) -> String {
        letter(fromGenerated: text, for: sample)
    }

    /// The share of right options. On letters it is the figure of haotian-liu/LLaVA,
    /// `scripts/convert_seed_for_submission.py`, which knows no option texts.
    public func metric(for data: TaskData) -> any AnswerMetric { ChoiceAccuracy() }

    /// The leaderboard takes one record a line.
    public func submissionFile(for data: TaskData) -> String { "submission.jsonl" }

    /// `{"question_id": …, "prediction": "B"}`, one a line.
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
        try writeLines(predictions, for: data, to: path) { sample, answer in
            JSON.object([
                JSON.Member("question_id", sample.id.json), JSON.Member("prediction", .string(answer)),
            ]).text()
        }
    }

    /// Reads the questions of the split, those about images without one; types get their names from `question_type`.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var collector = SampleCollector(self, split: split, file: files.questions)
        var names: [String: String] = [:]
        var others = 0
        var found = false
        try withText(of: files.questions) { bytes in
            var cursor = JSONCursor(bytes, source: files.questions)
            try cursor.beginObject()
            while let key = try cursor.nextKey() {
                switch key {
                case "question_type":
                    for member in try JSON(reading: &cursor).members ?? [] {
                        if let number = member.value.integer { names[String(number)] = member.key }
                    }
                case "questions":
                    found = true
                    try readList(&cursor, log: &log) { cursor in
                        try sample(
                            JSONRecord(reading: &cursor), split: split ?? "image", images: files.images)
                    } use: { sample, number, log in
                        guard let sample else { return others += 1 }
                        try collector.add(sample, number: number, log: &log)
                    }
                default: try cursor.skipValue()
                }
            }
            try cursor.end()
        }
        guard found else {
            throw VQAError(
                "cannot read the questions", at: files.questions, because: "there is no key 'questions'")
        }
        if others > 0 {
            let kind = split == "video" ? "images" : "videos"
            collector.note("\(others) questions about \(kind) were left out")
        }
        var data = collector.data
        for index in data.samples.indices {
            if let type = data.samples[index].questionType {
                data.samples[index].questionType = names[type] ?? type
            }
        }
        return data
    }

    /// The sample of a record, nil for one that is not of the split. Its type is still a number.
    private func sample(_ record: JSONRecord, split: String, images: String?) throws -> Sample? {
        let isVideo = try record.optionalText("data_type") == "video"
        guard split == "all" || split == (isVideo ? "video" : "image") else { return nil }
        let choices = try ["choice_a", "choice_b", "choice_c", "choice_d"].map(record.word)
        let answer = try record.optionalText("answer")
        let (id, type) = (try record.id("question_id"), try record.optionalWord("question_type_id"))
        var image = isVideo ? "\(type ?? "")_\(id).png" : try record.text("data_id")
        if split == "all" { image = (isVideo ? "SEED-Bench-video-image/" : "SEED-Bench-image/") + image }
        var sample = Sample(
            id: id, imageID: image, images: try images.map { [try path(image, inside: $0)] } ?? [],
            question: try record.text("question"), questionType: type, choices: choices)
        sample.labels["data_type"] = isVideo ? "video" : "image"
        try sample.setCorrectChoice(letter: answer, record)
        return sample
    }
}

extension JSONRecord {
    /// A string or a number as text.
    func word(_ key: String) throws -> String {
        guard let word = try optionalWord(key) else { throw failure("the record has no \(key)") }
        return word
    }
}

extension Sample {
    /// Takes the right option from its letter; nil leaves the question without answer.
    mutating func setCorrectChoice(letter: String?, _ record: JSONRecord) throws {
        guard let letter else { return }
        guard let choices, let index = Choices.index(of: letter, among: choices.count) else {
            throw record.failure("the answer '\(letter.prefix(20))' is the letter of no option")
        }
        setCorrectChoice(index)
    }

    /// Takes the right option and its text as answer.
    mutating func setCorrectChoice(_ index: Int) {
        guard let choices, choices.indices.contains(index) else { return }
        correctChoice = index
        answers = [choices[index]]
        answer = choices[index]
    }
}
