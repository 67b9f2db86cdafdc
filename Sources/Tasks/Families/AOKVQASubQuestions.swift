import Support

/// The questions and answers about parts of an image that Q&A Prompts shows the model beside the question (spec 4.2).
public struct AOKVQASubQuestions: Sendable {
    /// One question that was generated for a tag of the image, and the tag, which is its answer.
    public struct Pair: Sendable, Equatable {
        /// The generated question.
        public let question: String
        /// The tag.
        public let answer: String

        /// Pairs the two.
        public init(question: String, answer: String) {
            self.question = question
            self.answer = answer
        }
    }

    private struct Key: Hashable, Sendable {
        let question: QuestionID
        let image: String
    }

    private var pairs: [Key: [Pair]] = [:]

    /// The number of questions that have an entry.
    public var count: Int { pairs.count }

    /// Reads `sub_questions.json`, a list of `{"question_id", "image_id", "sub_qa": [{"sub_question", "tag_answer"}]}` with
    /// the image's id in 12 digits; more keys are ignored. A second entry for the same question is an error.
    public init(contentsOf path: String) throws {
        var log = ProblemLog(stopsAtFatal: true)
        try withText(of: path) { bytes in
            var cursor = JSONCursor(bytes, source: path)
            try readList(&cursor, log: &log, parse: Self.readRecord) { record, number, log in
                guard pairs.updateValue(record.pairs, forKey: record.key) == nil else {
                    return try log.report(
                        .duplicateID, at: "\(path), record \(number)",
                        "the question \(record.key.question) has an entry already")
                }
            }
            try cursor.end()
        }
    }

    /// The pairs of a sample in the order of the file; nil when it has no entry. The entry must be about the same image:
    /// an id that was not padded to 12 digits counts too, which the released code misses.
    public subscript(_ sample: Sample) -> [Pair]? {
        pairs[Key(question: sample.id, image: zeroPadded(sample.imageID))]
    }

    private static func readRecord(_ cursor: inout JSONCursor) throws -> (key: Key, pairs: [Pair]) {
        var question: QuestionID?
        var image: QuestionID?
        var pairs: [Pair]?
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "question_id": question = try QuestionID(reading: &cursor)
            case "image_id": image = try QuestionID(reading: &cursor)
            case "sub_qa":
                var found: [Pair] = []
                try cursor.beginArray()
                while try cursor.nextElement() { found.append(try readPair(&cursor)) }
                pairs = found
            default: try cursor.skipValue()
            }
        }
        guard let question else { throw cursor.failure("the record has no question_id") }
        guard let image else {
            throw cursor.failure("the record of the question \(question) has no image_id")
        }
        guard let pairs else { throw cursor.failure("the record of the question \(question) has no sub_qa") }
        return (Key(question: question, image: zeroPadded(image.text)), pairs)
    }

    private static func readPair(_ cursor: inout JSONCursor) throws -> Pair {
        var question: String?
        var answer: String?
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "sub_question": question = try readString(&cursor, key)
            case "tag_answer": answer = try readString(&cursor, key)
            default: try cursor.skipValue()
            }
        }
        guard let question, let answer else {
            throw cursor.failure("an entry of sub_qa needs sub_question and tag_answer")
        }
        return Pair(question: question, answer: answer)
    }
}

/// The tags of images, from which the sub-questions are made (spec 4.3).
public struct AOKVQATags: Sendable {
    private var tags: [String: [String]] = [:]

    /// The number of images that have tags.
    public var count: Int { tags.count }

    /// Reads `tags.json`: a list of `{"image_id", "tags"}`, or an object of tags by image id. Tags are one text with
    /// ` | ` between them, or a list of texts.
    public init(contentsOf path: String) throws {
        var log = ProblemLog(stopsAtFatal: true)
        try withText(of: path) { bytes in
            var cursor = JSONCursor(bytes, source: path)
            if try cursor.peek() == .object {
                try readMembers(&cursor, log: &log) { key, cursor in
                    (image: key, tags: try Self.readTags(&cursor))
                } use: { record, _, _ in
                    tags[zeroPadded(record.image)] = record.tags
                }
            } else {
                try readList(&cursor, log: &log, parse: Self.readRecord) { record, _, _ in
                    tags[zeroPadded(record.image)] = record.tags
                }
            }
            try cursor.end()
        }
    }

    /// The tags of a sample's image; nil when it has none.
    public subscript(_ sample: Sample) -> [String]? { tags[zeroPadded(sample.imageID)] }

    private static func readRecord(_ cursor: inout JSONCursor) throws -> (image: String, tags: [String]) {
        var image: QuestionID?
        var tags: [String]?
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "image_id": image = try QuestionID(reading: &cursor)
            case "tags": tags = try readTags(&cursor)
            default: try cursor.skipValue()
            }
        }
        guard let image, let tags else { throw cursor.failure("a record needs image_id and tags") }
        return (image.text, tags)
    }

    private static func readTags(_ cursor: inout JSONCursor) throws -> [String] {
        guard try cursor.peek() == .string else { return try readStrings(&cursor, "tags") }
        return try cursor.string().split(separator: "|").map { String($0.trimmed) }.filter { !$0.isEmpty }
    }
}
