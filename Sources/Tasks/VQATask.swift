import Support

/// The files of one split.
public struct TaskFiles: Sendable, Equatable {
    /// The file with the questions.
    public var questions: String
    /// The file with the answers, when they are not with the questions.
    public var annotations: String?
    /// The folder that image names are relative to; nil reads the questions without images.
    public var images: String?
    /// The file with the complete list of answers, when the data set has one.
    public var answerList: String?
    /// A further file that the family knows how to use: the text found in TextVQA's images, GQA's valid answers.
    public var extra: String?

    /// Names the files; only the questions are needed.
    public init(
        questions: String, annotations: String? = nil, images: String? = nil, answerList: String? = nil,
        extra: String? = nil
    ) {
        self.extra = extra
        self.questions = questions
        self.annotations = annotations
        self.images = images
        self.answerList = answerList
    }
}

/// A way to break a score down: `{"<name>": {"<label>": percentage}}` in the result.
public struct Grouping: Sendable {
    /// The key in the result, such as `per_answer_type`.
    public let name: String
    /// The label of a sample, or nil when the data set gives none.
    public let label: @Sendable (Sample) -> String?

    /// A breakdown by the given label.
    public init(_ name: String, _ label: @escaping @Sendable (Sample) -> String?) {
        self.name = name
        self.label = label
    }
}

/// What a family is called and what it needs.
public struct TaskDescription: Sendable {
    /// The short name, such as `vqav2`, in small letters.
    public let name: String
    /// Other names that users know, in small letters.
    public let aliases: [String]
    /// What it is, on one line.
    public let summary: String
    /// Which files must lie where, on one line.
    public let needs: String
    /// The splits that ``VQATask/files(in:split:)`` knows.
    public let splits: [String]

    /// Describes a family.
    public init(name: String, aliases: [String] = [], summary: String, needs: String, splits: [String]) {
        self.name = name
        self.aliases = aliases
        self.summary = summary
        self.needs = needs
        self.splits = splits
    }
}

/// A family of data sets: where its files lie, how they are read, what the model is asked, how its answer is
/// cleaned and scored, and the file that the evaluation server takes.
///
/// A new family is one file with one conforming type, and one line in ``TaskRegistry``. Everything but the
/// name, the files and the reader has a default.
public protocol VQATask: Sendable {
    /// Name, files and splits.
    var about: TaskDescription { get }
    /// The breakdowns of a score.
    var groupings: [Grouping] { get }

    /// The files of `split` in the usual layout below `root`. Nothing is opened except to tell layouts apart.
    func files(in root: String, split: String) throws -> TaskFiles

    /// Reads the samples of `split` (nil: everything in the files) in the order of the file. Faults go to
    /// `log`, which decides whether to stop.
    func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData

    /// The text that a language model is given, without image marks and chat template.
    func prompt(for sample: Sample) -> String

    /// The answer in what a language model wrote.
    func answer(fromGenerated text: String, for sample: Sample) -> String

    /// An error when these data ask for something that is no text: no program that writes text can answer them, learn from
    /// them or be scored on them, though they can be read and checked.
    func requireTextAnswers(_ data: TaskData) throws

    /// The measure of these data.
    func metric(for data: TaskData) -> any AnswerMetric

    /// The name of the file that ``writeSubmission(_:for:to:)`` writes, as the benchmark's server or program expects it.
    func submissionFile(for data: TaskData) -> String

    /// The keys that a prediction file may give the answer under, the preferred one first.
    var answerKeys: [String] { get }

    /// The predictions with the ids of `data`, where a prediction file of the data set's users names questions in another
    /// way.
    func joined(_ predictions: [Prediction], to data: TaskData) throws -> [Prediction]

    /// Writes the file that the data set's evaluation server takes.
    func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws
}

extension VQATask {
    /// The short name, such as `vqav2`.
    public var name: String { about.name }
    /// The splits that ``files(in:split:)`` knows.
    public var splits: [String] { about.splits }

    /// By the class of the answer and by the class of the question.
    public var groupings: [Grouping] {
        [Grouping("per_answer_type", \.answerType), Grouping("per_question_type", \.questionType)]
    }

    /// `Question: … Short answer:`, with the options when there are any.
    public func prompt(for sample: Sample) -> String {
        let options = sample.choices.map { " Options: \($0.joined(separator: ", "))." } ?? ""
        return "Question: \(sample.question)\(options) Short answer:"
    }

    /// The first line that is not blank, without white space around it and without one full stop at its end.
    public func answer(fromGenerated text: String, for sample: Sample) -> String { firstLine(of: text) }

    /// `answer` as in the VQA challenge, `prediction` as in GQA, `text` as LLaVA writes it.
    public var answerKeys: [String] { defaultAnswerKeys }

    /// As they are.
    public func joined(_ predictions: [Prediction], to data: TaskData) throws -> [Prediction] { predictions }

    /// All data ask for a text.
    public func requireTextAnswers(_ data: TaskData) throws {}

    /// ``ExactMatch``.
    public func metric(for data: TaskData) -> any AnswerMetric { ExactMatch() }

    /// `submission.json`.
    public func submissionFile(for data: TaskData) -> String { "submission.json" }

    /// The list of the VQA challenge: `[{"question_id": …, "answer": "…"}]` in the order of the data.
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
        try writeResultList(predictions, for: data, to: path)
    }

    /// Reads the samples of `split` below `root` and stops at the first fatal fault; the others become notes.
    public func load(_ root: String, split: String) throws -> TaskData {
        try load(files(in: root, split: split), split: split)
    }

    /// Reads the samples of `files` and stops at the first fatal fault; the others become notes.
    public func load(_ files: TaskFiles, split: String?) throws -> TaskData {
        var log = ProblemLog(stopsAtFatal: true)
        var data = try read(files, split: split, log: &log)
        data.notes += log.summary
        return data
    }

    /// The error for a split that is not among ``splits``.
    func unknownSplit(_ split: String) -> VQAError {
        VQAError(
            "there is no such split", at: split,
            because: "\(name) has \(splits.joined(separator: ", "))",
            remedy: nearestMatch(to: split, in: splits).map { "did you mean '\($0)'?" })
    }
}

/// The first line of `text` that is not blank, without white space around it and without one full stop at its
/// end.
func firstLine(of text: String) -> String {
    for line in text.split(whereSeparator: \.isNewline) {
        var words = line.trimmed
        if words.hasSuffix(".") { words = words.dropLast().trimmed }
        if !words.isEmpty { return String(words) }
    }
    return ""
}

extension Substring {
    /// Without white space at both ends.
    var trimmed: Substring {
        var rest = self
        while let first = rest.first, first.isWhitespace { rest.removeFirst() }
        while let last = rest.last, last.isWhitespace { rest.removeLast() }
        return rest
    }
}

/// The task families by name.
public enum TaskRegistry {
    /// All families, one line each.
    public static let all: [any VQATask] = [
        EasyVQA(),
        ScienceQA(),
        SEEDBench(),
        POPE(),
        SNLIVE(),
        NLVR(),
        NLVR2(),
        SHAPES(),
        MMBench(),
        MMBench(language: .chinese),
        MMVet(),
        LLaVABench(),
        VLICLBench(),
        VLICLBench(scoring: .mapd),
        OneVisionMath(),
        VQAv2(),
        OKVQA(),
        AOKVQA(.directAnswer),
        AOKVQA(.multipleChoice),
        AOKVQA(.released),
        GQA(),
        VisualGenome(),
        VizWiz(),
        TextVQA(),
        Table(),
        COCOCaptions(),
        COCOKarpathy(),
        Flickr30k(),
        Nocaps(),
        ConceptualCaptions(),
        LLaVAConversations(),
        ViLTTables(),
    ]

    /// The family with this short name or alias, in any case of letters; an unknown name is an error with the
    /// nearest known one.
    public static func named(_ name: String) throws -> any VQATask {
        let wanted = name.lowercased()
        if let found = all.first(where: { $0.name == wanted || $0.about.aliases.contains(wanted) }) {
            return found
        }
        let near = nearestMatch(to: wanted, in: all.flatMap { [$0.name] + $0.about.aliases })
        throw VQAError(
            "there is no such task", at: name,
            because: "the tasks are \(all.map(\.name).joined(separator: ", "))",
            remedy: near.map { "did you mean '\($0)'?" })
    }
}
