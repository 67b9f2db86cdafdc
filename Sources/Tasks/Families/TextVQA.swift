import Support

/// TextVQA 0.5.1 (textvqa.org): questions about text in Open Images photographs, ten answers each.
///
/// Layout below the root: `TextVQA_0.5.1_<split>.json`, an object with `data[]`; images
/// `train_images/<image id>.jpg` for train and val, `test_images/…` for test. The text that was found in the images,
/// `TextVQA_Rosetta_OCR_v0.2_<split>.json`, is used when it is there: it becomes the sample's `context`.
///
/// The questions may instead be in LLaVA's form, `llava_textvqa_val_v051_ocr.jsonl` (JSON lines of `question_id`, which is
/// the image's id, `image`, `text` with the prompt); the official file is then given as annotations.
public struct TextVQA: VQATask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "textvqa", aliases: ["text-vqa"],
        summary: "TextVQA: questions about text in photographs, ten answers each",
        needs: "TextVQA_0.5.1_SPLIT.json, image folder train_images/ or test_images/",
        splits: ["train", "val", "test"])

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let text = "\(root)/TextVQA_Rosetta_OCR_v0.2_\(split).json"
        return TaskFiles(
            questions: "\(root)/TextVQA_0.5.1_\(split).json",
            images: "\(root)/\(split == "test" ? "test" : "train")_images",
            extra: fileExists(text) ? text : nil)
    }

    /// Reads the official file, or LLaVA's questions with the official file as annotations.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var official = files
        official.questions = files.annotations ?? files.questions
        var data = try readOfficial(official, split: split, log: &log)
        if files.annotations != nil {
            try chooseLLaVAQuestions(files.questions, from: &data, images: files.images, log: &log)
        }
        return data
    }

    private func readOfficial(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        let found = try files.extra.map { try Self.readFoundText($0, log: &log) } ?? [:]
        var collector = SampleCollector(self, split: split, file: files.questions)
        var hasData = false
        try withText(of: files.questions) { bytes in
            var cursor = JSONCursor(bytes, source: files.questions)
            try cursor.beginObject()
            while let key = try cursor.nextKey() {
                guard key == "data" else {
                    try cursor.skipValue()
                    continue
                }
                hasData = true
                try readList(&cursor, log: &log, parse: Self.readRecord) { sample, number, log in
                    var sample = sample
                    if let tokens = found[sample.imageID] { sample.context = tokens }
                    try collector.add(
                        sample, image: "\(sample.imageID).jpg", in: files.images, number: number, log: &log)
                }
            }
            try cursor.end()
        }
        guard hasData else {
            throw VQAError(
                "cannot read the questions", at: files.questions, because: "there is no key 'data'",
                remedy: files.annotations == nil && files.questions.hasSuffix("l")
                    ? "give TextVQA_0.5.1_val.json as annotations beside LLaVA's questions" : nil)
        }
        return collector.data
    }

    private static func readRecord(_ cursor: inout JSONCursor) throws -> Sample {
        var id: QuestionID?
        var image: QuestionID?
        var question: String?
        var answers: [String] = []
        var tokens: [String]?
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "question_id": id = try QuestionID(reading: &cursor)
            case "image_id": image = try QuestionID(reading: &cursor)
            case "question": question = try readString(&cursor, "the question")
            case "answers": answers = try readStrings(&cursor, key)
            case "ocr_tokens": tokens = try readStrings(&cursor, key)
            default: try cursor.skipValue()
            }
        }
        guard let id else { throw cursor.failure("the record has no question_id") }
        guard let image else { throw cursor.failure("the question \(id) has no image_id") }
        guard let question else { throw cursor.failure("the record \(id) has no question") }
        var sample = Sample(id: id, imageID: image.text, question: question, answers: answers)
        sample.context = tokens?.joined(separator: ", ")
        return sample
    }

    /// By image, the text found in it: `{"data": [{"image_id", "ocr_tokens": […]}]}`.
    private static func readFoundText(_ file: String, log: inout ProblemLog) throws -> [String: String] {
        var found: [String: String] = [:]
        try withText(of: file) { bytes in
            var cursor = JSONCursor(bytes, source: file)
            try cursor.beginObject()
            while let key = try cursor.nextKey() {
                guard key == "data" else {
                    try cursor.skipValue()
                    continue
                }
                try readList(&cursor, log: &log) { cursor in
                    var image: QuestionID?
                    var tokens: [String] = []
                    try cursor.beginObject()
                    while let key = try cursor.nextKey() {
                        switch key {
                        case "image_id": image = try QuestionID(reading: &cursor)
                        case "ocr_tokens": tokens = try readStrings(&cursor, key)
                        default: try cursor.skipValue()
                        }
                    }
                    guard let image else { throw cursor.failure("the record has no image_id") }
                    return (image: image.text, tokens: tokens)
                } use: { record, _, _ in
                    found[record.image] = record.tokens.joined(separator: ", ")
                }
            }
            try cursor.end()
        }
        return found
    }

    // MARK: LLaVA's form

    /// Keeps the samples that LLaVA's file asks for, in its order, with the found text of its prompts.
    private func chooseLLaVAQuestions(
        _ file: String, from data: inout TaskData, images: String?, log: inout ProblemLog
    ) throws {
        let index = Self.index(data.samples)
        var chosen: [Sample] = []
        var used: [Int: Int] = [:]
        data.recordWord = "line"
        let all = data.samples
        try readRecords(of: file, log: &log, parse: Self.readLLaVARecord) { record, line, log in
            let place = "\(file), line \(line)"
            guard let parts = llavaQuestion(in: record.text),
                let position = index[Self.key(record.image, parts.question)]
            else {
                return try log.report(
                    .questionWithoutAnnotation, at: place,
                    "no question of the annotations is about the image \(record.image) with these words")
            }
            if let first = used.updateValue(line, forKey: position) {
                return try log.report(.duplicateID, at: place, "the question was asked in line \(first)")
            }
            var sample = all[position]
            sample.record = line
            sample.context = parts.tokens ?? sample.context
            if let images, let name = record.file {
                do {
                    sample.images = [try path(name, inside: images)]
                } catch {
                    return try log.report(.badRecord, at: place, (error as? VQAError)?.why ?? "\(error)")
                }
            }
            chosen.append(sample)
        }
        data.samples = chosen
    }

    private static func readLLaVARecord(
        _ cursor: inout JSONCursor
    ) throws -> (image: String, file: String?, text: String) {
        var image: QuestionID?
        var file: String?
        var text: String?
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "question_id": image = try QuestionID(reading: &cursor)
            case "image": file = try readString(&cursor, "the image")
            case "text": text = try readString(&cursor, "the text")
            default: try cursor.skipValue()
            }
        }
        guard let image else { throw cursor.failure("the record has no question_id") }
        guard let text else { throw cursor.failure("the record \(image) has no text") }
        return (image.text, file, text)
    }

    private static func key(_ image: String, _ question: String) -> String {
        "\(image)\u{0}\(question.lowercased())"
    }

    private static func index(_ samples: [Sample]) -> [String: Int] {
        var index: [String: Int] = [:]
        for (position, sample) in samples.enumerated() {
            index[key(sample.imageID, sample.question)] = position
        }
        return index
    }

    /// LLaVA's answer files name the image and repeat the prompt; they are joined by image and question, as its
    /// `eval_textvqa.py` does. Predictions with the data's own ids stay as they are.
    public func joined(_ predictions: [Prediction], to data: TaskData) throws -> [Prediction] {
        let known = Set(data.samples.lazy.map(\.id))
        guard predictions.contains(where: { !known.contains($0.id) }) else { return predictions }
        let index = Self.index(data.samples)
        return predictions.map { prediction in
            guard !known.contains(prediction.id), let prompt = prediction.question,
                let question = llavaQuestion(in: prompt)?.question,
                let position = index[Self.key(prediction.id.text, question)]
            else { return prediction }
            var prediction = prediction
            prediction.id = data.samples[position].id
            return prediction
        }
    }

    // MARK: Prompt and measure

    /// LLaVA's wording (spec 5.3), with the found text when there is any.
    public func prompt(for sample: Sample) -> String {
        let tokens = sample.context.map { "\nReference OCR token: \($0)" } ?? ""
        return "\(sample.question)\(tokens)\n\(shortAnswerRequest)"
    }

    /// The accuracy of MMF's and LLaVA's evaluator.
    public func metric(for data: TaskData) -> any AnswerMetric { TextVQAAccuracy() }

    /// The list of the VQA challenge, with normalised answers as LLaVA's conversion for the server writes.
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
        try writeList(predictions, for: data, to: path) { sample, answer in
            ["question_id": sample.id.json, "answer": .string(evalAINormalisedAnswer(answer))]
        }
    }
}

/// The question, and the found text if there is any, in a prompt of LLaVA's question or answer files: the first line, or
/// the second when the first is the found text; or the older form `OCR tokens: …. Question: … Short answer:`.
func llavaQuestion(in prompt: String) -> (question: String, tokens: String?)? {
    let mark = "Reference OCR token: "
    let lines = prompt.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    if prompt.hasPrefix("OCR tokens: ") {
        guard let start = prompt.firstRange(of: "Question: "),
            let end = prompt[start.upperBound...].firstRange(of: " Short answer:")
        else { return nil }
        return (String(prompt[start.upperBound..<end.lowerBound]), nil)
    }
    func tokens(_ line: String) -> String? {
        line.hasPrefix(mark) ? String(line.dropFirst(mark.count)) : nil
    }
    switch lines.count {
    case 2: return (lines[0], nil)
    case 3 where prompt.contains(mark):
        return prompt.hasPrefix("Reference OCR token:")
            ? (lines[1], tokens(lines[0])) : (lines[0], tokens(lines[1]))
    default: return nil
    }
}
