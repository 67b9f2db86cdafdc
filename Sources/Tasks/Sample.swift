import Support

/// The identity of a question. Files give it as a number (VQA v2) or as a string (GQA, A-OKVQA); two ids are
/// equal when their texts are, and the original kind is kept so that a submission file shows it as the data
/// set did.
public struct QuestionID: Hashable, Sendable, CustomStringConvertible {
    /// What ids are compared by. Equal texts have equal keys: a text that is a number as Swift writes it is always kept as
    /// that number, because numbers are much cheaper to compare and to hash, and big data sets have numbers.
    private enum Key: Hashable {
        case number(Int)
        case text(String)

        func hash(into hasher: inout Hasher) {
            switch self {
            case .number(let number): hasher.combine(number)
            case .text(let text): hasher.combine(text)
            }
        }
    }

    private let key: Key
    /// True when the file gave a JSON number.
    public let isNumber: Bool

    /// The id as text: `"42"` for the number 42.
    public var text: String {
        switch key {
        case .number(let number): String(number)
        case .text(let text): text
        }
    }

    /// An id that the file gave as a string.
    public init(_ text: String) {
        key = wholeNumber(text).map(Key.number) ?? .text(text)
        isNumber = false
    }

    /// An id that the file gave as a number.
    public init(_ number: Int) {
        key = .number(number)
        isNumber = true
    }

    /// Reads an integer or a non-empty string; anything else is an error that names the byte.
    public init(reading cursor: inout JSONCursor) throws {
        switch try cursor.peek() {
        case .number: self.init(try cursor.integer())
        case .string:
            let text = try cursor.string()
            guard !text.isEmpty else { throw cursor.failure("the question_id is empty") }
            self.init(text)
        default: throw cursor.failure("the question_id is neither a number nor a string")
        }
    }

    /// The id in its original kind.
    public var json: JSON {
        switch key {
        case .number(let number) where isNumber: .integer(number)
        default: .string(text)
        }
    }

    /// The text.
    public var description: String { text }

    /// By text.
    public static func == (a: QuestionID, b: QuestionID) -> Bool { a.key == b.key }

    /// By text.
    public func hash(into hasher: inout Hasher) { hasher.combine(key) }
}

/// The number that Swift writes as `text`; nil for any other text, such as `007` and `+7`.
private func wholeNumber(_ text: String) -> Int? {
    guard let first = text.utf8.first, first <= UInt8(ascii: "9"), text.utf8.count <= 20,
        let number = Int(text)
    else { return nil }
    return String(number) == text ? number : nil
}

/// One question about one or more images, with its answers.
public struct Sample: Sendable, Equatable {
    /// Unique within the data set.
    public var id: QuestionID
    /// The image's name in the data set. Questions with equal `imageID` are about the same picture: they are
    /// grouped for speed, and resampled together for confidence intervals.
    public var imageID: String
    /// Paths of the images; empty when the data were read without an image folder.
    public var images: [String]
    /// The question as the data set has it.
    public var question: String
    /// What the annotators said: ten for VQA v2, one for most others, none when the answers are not
    /// published.
    public var answers: [String]
    /// The one answer to train on: the file's own choice (`multiple_choice_answer`), else the most frequent
    /// of `answers`, the first one among equals.
    public var answer: String?
    /// The wording class of the question, such as `how many`.
    public var questionType: String?
    /// The class of the answer, such as `yes/no`.
    public var answerType: String?
    /// The options of a multiple-choice question.
    public var choices: [String]?
    /// The position in `choices` of the right one.
    public var correctChoice: Int?
    /// Why the answer is right, when the data set says so; A-OKVQA gives three.
    public var rationales: [String] = []
    /// Named texts of the record that some prompts and targets use apart: ScienceQA's `lecture` and `solution`.
    public var passages: [String: String] = [:]
    /// What the model may read besides the question: a hint, a caption, the text that was found in the image.
    public var context: String?
    /// Further classes that a score is broken down by, such as `subject` or `category`.
    public var labels: [String: String] = [:]
    /// The conversation, when the sample is more than one question and answer; `question` and `answer` are then its
    /// first exchange.
    public var turns: [Turn] = []
    /// Where the sample stands in its file, from 1: the record of a JSON list, the line of a CSV or
    /// JSON-lines file.
    public var record: Int

    /// The first of ``rationales``.
    public var rationale: String? { rationales.first }

    /// Without `answer`, the most frequent of `answers` is taken.
    public init(
        id: QuestionID, imageID: String, images: [String] = [], question: String, answers: [String] = [],
        answer: String? = nil, questionType: String? = nil, answerType: String? = nil,
        choices: [String]? = nil,
        rationale: String? = nil, record: Int = 0
    ) {
        self.id = id
        self.imageID = imageID
        self.images = images
        self.question = question
        self.answers = answers
        self.answer = answer ?? (answers.count == 1 ? answers.first : mostFrequent(answers))
        self.questionType = questionType
        self.answerType = answerType
        self.choices = choices
        self.rationales = rationale.map { [$0] } ?? []
        self.record = record
    }
}

/// One side's words in a conversation.
public struct Turn: Sendable, Equatable {
    /// Who speaks.
    public enum Speaker: String, Sendable { case user, assistant }

    /// Who speaks.
    public var speaker: Speaker
    /// What is said, with `<image>` where the data set puts the image.
    public var text: String

    /// One side's words.
    public init(_ speaker: Speaker, _ text: String) {
        self.speaker = speaker
        self.text = text
    }
}

/// The most frequent of `words`, the first one among equals; nil when there is none.
public func mostFrequent(_ words: some Sequence<String>) -> String? {
    var counts: [String: Int] = [:]
    var order: [String] = []
    for word in words {
        if counts.updateValue((counts[word] ?? 0) + 1, forKey: word) == nil { order.append(word) }
    }
    var best: (word: String, count: Int)?
    for word in order {
        let count = counts[word] ?? 0
        if count > best?.count ?? 0 { best = (word, count) }
    }
    return best?.word
}

/// The samples of one split of one data set.
public struct TaskData: Sendable {
    /// The short name of the task, such as `vqav2`.
    public var task: String
    /// The split as asked for; empty when whole files were read.
    public var split: String
    /// In the order of the file.
    public var samples: [Sample]
    /// The complete list of answers, when the data set comes with one.
    public var answerList: [String]?
    /// What the reader noticed and the user should know, one line each.
    public var notes: [String]
    /// What only the family itself can use, such as GQA's entailed questions.
    public var details: (any Sendable)?
    /// What ``Sample/record`` counts: `record` or `line`.
    public var recordWord = "record"

    /// Data made in memory.
    public init(
        task: String, split: String, samples: [Sample], answerList: [String]? = nil, notes: [String] = []
    ) {
        self.task = task
        self.split = split
        self.samples = samples
        self.answerList = answerList
        self.notes = notes
    }

    /// The same data with at most the first `count` samples; all of them when `count` is nil.
    public func limited(to count: Int?) -> TaskData {
        guard let count, count < samples.count else { return self }
        var result = self
        result.samples = Array(samples.prefix(max(0, count)))
        return result
    }

    /// The number of images of `self` that `other` has too: more than none between training and validation
    /// data means that the validation score is too good.
    public func imagesShared(with other: TaskData) -> Int {
        Set(samples.flatMap(\.images)).intersection(other.samples.lazy.flatMap(\.images)).count
    }
}
