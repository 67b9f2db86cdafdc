import Support

/// Conversations about images in LLaVA's format, the training data of LLaVA 1.5, ShareGPT4V, SQ-LLaVA and MAPD: a JSON list of
/// `id` (number or string), `image` (a name, a list of names, or absent) and `conversations[]` of `from` and `value`.
///
/// Splits name the published files below the root; any other file is read by naming it. Images are relative to the root, those
/// of `pretrain` to `llava/llava_pretrain/images` (or `images`, where that is there).
///
/// A sample's `question` and `answer` are the first exchange without `<image>`; a longer conversation is in ``Sample/turns``, with
/// `<image>` where the file has it. As in LLaVA's own program an answer before the first question is dropped, and ids may repeat:
/// from the second on the record's number is added. Turns from `vuser` are questions that the model learns to ask (SQ-LLaVA);
/// their numbers, from 0, are in the label `vuser`.
public struct LLaVAConversations: VQATask {
    /// The family itself has no settings.
    public init() {}

    private static let published = [
        "pretrain": "blip_laion_cc_sbu_558k.json", "cc3m": "chat.json", "instruct": "llava_v1_5_mix665k.json",
        "sharegpt4v": "sharegpt4v_mix665k_cap23k_coco-ap9k_lcs3k_sam9k_div2k.json",
        "sharegpt4v-pretrain": "share-captioner_coco_lcs_sam_1246k_1107.json",
        "sharegpt4v-captions": "sharegpt4v_instruct_gpt4-vision_cap100k.json",
    ]

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "llava", aliases: ["llava-conversations", "sharegpt4v"],
        summary: "conversations about images in LLaVA's format",
        needs: "the published JSON file of the split, images where its records say",
        splits: ["pretrain", "cc3m", "instruct", "sharegpt4v", "sharegpt4v-pretrain", "sharegpt4v-captions"])

    /// The published names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard let file = Self.published[split] else { throw unknownSplit(split) }
        var images = root
        if split == "pretrain" || split == "cc3m" {
            let usual = split == "pretrain" ? "\(root)/llava/llava_pretrain/images" : "\(root)/images"
            images = isFolder(usual) ? usual : isFolder("\(root)/images") ? "\(root)/images" : usual
        }
        return TaskFiles(questions: "\(root)/\(file)", images: images)
    }

    /// The question as it is.
    public func prompt(for sample: Sample) -> String { sample.question }

    /// The whole text without white space around it: answers are sentences.
    public func answer(fromGenerated text: String, for sample: Sample) -> String { String(text[...].trimmed) }

    /// Reads all records into memory; ``forEach(in:images:log:_:)`` does without.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var data = TaskData(task: name, split: split ?? "", samples: [])
        data.recordWord = try recordWord(of: files.questions)
        try forEach(in: files.questions, images: files.images, log: &log) { data.samples.append($0) }
        let textOnly = data.samples.count { $0.imageID.isEmpty }
        if textOnly > 0 { data.notes.append("\(textOnly) conversations are without image") }
        return data
    }

    /// Hands out one sample after the other, in the order of the file, and holds none of them. The parts of the file that were
    /// read leave the memory, so that a file of gigabytes needs none.
    public func forEach(
        in file: String, images: String?, log: inout ProblemLog, _ body: (Sample) throws -> Void
    ) throws {
        var used: Set<QuestionID> = []
        try readRecords(of: file, log: &log, parse: Record.init(reading:)) { record, number, log in
            do {
                var sample = try record.sample(number, images: images)
                if !used.insert(sample.id).inserted {
                    sample.id = QuestionID("\(sample.id.text)#\(number)")
                    used.insert(sample.id)
                }
                try body(sample)
            } catch let error as VQAError {
                try log.report(.badRecord, error)
            }
        }
    }

    /// One record as the file has it.
    private struct Record {
        var id: QuestionID?
        var images: [String] = []
        var turns: [Turn] = []
        var selfAsked: [Int] = []

        init(reading cursor: inout JSONCursor) throws {
            try cursor.beginObject()
            while let key = try cursor.nextKey() {
                switch key {
                case "id": id = try QuestionID(reading: &cursor)
                case "image":
                    switch try cursor.peek() {
                    case .null: try cursor.skipValue()
                    case .array: images = try readStrings(&cursor, "the image")
                    default: images = [try readString(&cursor, "the image")]
                    }
                case "conversations":
                    try cursor.beginArray()
                    while try cursor.nextElement() { try readTurn(&cursor) }
                default: try cursor.skipValue()
                }
            }
            guard turns.count >= 2 else {
                throw cursor.failure("the conversation has no question with an answer")
            }
        }

        private mutating func readTurn(_ cursor: inout JSONCursor) throws {
            var speaker: String?
            var text: String?
            try cursor.beginObject()
            while let key = try cursor.nextKey() {
                switch key {
                case "from": speaker = try readString(&cursor, "from")
                case "value": text = try readString(&cursor, "the value")
                default: try cursor.skipValue()
                }
            }
            guard let speaker, let text else { throw cursor.failure("a turn has no from or no value") }
            switch speaker {
            case "human", "user", "vuser":
                guard turns.last?.speaker != .user else {
                    throw cursor.failure("two questions follow each other")
                }
                if speaker == "vuser" { selfAsked.append(turns.count) }
                turns.append(Turn(.user, text))
            case "gpt", "assistant":
                // LLaVA drops an answer that no question precedes.
                if turns.isEmpty { return }
                guard turns.last?.speaker == .user else {
                    throw cursor.failure("two answers follow each other")
                }
                turns.append(Turn(.assistant, text))
            default: throw cursor.failure("a turn is from '\(speaker.prefix(40))', neither human nor gpt")
            }
        }

        func sample(_ number: Int, images folder: String?) throws -> Sample {
            let answer = turns[1].text
            var sample = Sample(
                id: id ?? QuestionID(number), imageID: images.first ?? "",
                images: try folder.map { folder in try images.map { try path($0, inside: folder) } } ?? [],
                question: turns[0].text.withoutImageMarks, answers: [answer], answer: answer, record: number)
            if turns.count > 2 || images.count > 1 { sample.turns = turns }
            if !selfAsked.isEmpty {
                sample.labels["vuser"] = selfAsked.map(String.init).joined(separator: ",")
            }
            return sample
        }
    }
}

extension String {
    /// Without `<image>`, and without the white space that was around it.
    fileprivate var withoutImageMarks: String {
        let mark = Array("<image>".utf8)
        let bytes = Array(utf8)
        var rest: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index] == mark[0], bytes[index...].starts(with: mark) {
                index += mark.count
            } else {
                rest.append(bytes[index])
                index += 1
            }
        }
        return String(Substring(decoding: rest, as: UTF8.self).trimmed)
    }
}
