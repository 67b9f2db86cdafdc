import Support

/// One record of a file as a tree, for data sets whose records are small. Its accessors name the key that is missing or
/// of the wrong kind.
struct JSONRecord {
    private let json: JSON
    /// Behind the record: where faults of the record are reported.
    private let end: JSONCursor

    /// Reads the next value, which must be an object.
    init(reading cursor: inout JSONCursor) throws {
        guard try cursor.peek() == .object else { throw cursor.failure("the record is not an object") }
        json = try JSON(reading: &cursor)
        end = cursor
    }

    /// An error at the end of this record.
    func failure(_ why: String) -> VQAError { end.failure(why) }

    /// The value of a key, nil when it is absent or null.
    func value(_ key: String) -> JSON? {
        guard let value = json[key], !value.isNull else { return nil }
        return value
    }

    /// A string.
    func text(_ key: String) throws -> String {
        guard let value = value(key) else { throw failure("the record has no \(key)") }
        guard let text = value.string else { throw failure("\(key) is not a string") }
        return text
    }

    /// A string, nil when it is absent or null.
    func optionalText(_ key: String) throws -> String? { value(key) == nil ? nil : try text(key) }

    /// A string, or a number as text, nil when it is absent or null.
    func optionalWord(_ key: String) throws -> String? {
        guard let value = value(key) else { return nil }
        guard let word = Self.word(value) else { throw failure("\(key) is neither a string nor a number") }
        return word
    }

    /// The text of a string or an integer.
    static func word(_ value: JSON) -> String? { value.string ?? value.integer.map(String.init) }

    /// A list of strings.
    func texts(_ key: String) throws -> [String] {
        guard let values = value(key)?.array else { throw failure("the record has no list \(key)") }
        return try values.map { value in
            guard let text = value.string else { throw failure("\(key) is not a list of strings") }
            return text
        }
    }

    /// An integer.
    func integer(_ key: String) throws -> Int {
        guard let number = value(key)?.integer else { throw failure("the record has no integer \(key)") }
        return number
    }

    /// An id: a number or a string that is not empty.
    func id(_ key: String) throws -> QuestionID {
        switch value(key) {
        case .integer(let number): return QuestionID(number)
        case .string(let text) where !text.isEmpty: return QuestionID(text)
        default: throw failure("the record has no \(key)")
        }
    }

    /// The turns of LLaVA's records: `conversations` of `from` (`human`, `gpt`) and `value`, one after the other.
    func conversation() throws -> [Turn] {
        guard let entries = value("conversations")?.array, !entries.isEmpty else {
            throw failure("the record has no conversations")
        }
        return try entries.enumerated().map { position, entry in
            let expected = position % 2 == 0 ? "human" : "gpt"
            guard entry["from"]?.string == expected, let text = entry["value"]?.string else {
                throw failure(
                    "turn \(position + 1) of the conversation is not from '\(expected)' with a value")
            }
            return Turn(position % 2 == 0 ? .user : .assistant, text)
        }
    }
}

/// The answers in the order of the data, for submission files; a sample without exactly one is an error.
func matchedAnswers(_ predictions: [Prediction], for data: TaskData) throws -> [String] {
    let answers = try answersByQuestion(predictions)
    return try data.samples.map { try onlyAnswer(to: $0, in: answers) }
}

/// Writes one line for each sample.
func writeLines(
    _ predictions: [Prediction], for data: TaskData, to path: String, _ line: (Sample, String) -> String
) throws {
    let answers = try matchedAnswers(predictions, for: data)
    var file = try AtomicFile(path)
    var text = ""
    for (sample, answer) in zip(data.samples, answers) {
        text += line(sample, answer) + "\n"
        if text.utf8.count > 1 << 16 {
            try file.write(text)
            text = ""
        }
    }
    try file.write(text)
    try file.commit()
}
