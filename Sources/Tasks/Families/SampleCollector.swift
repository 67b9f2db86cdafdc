import Support

/// Gathers the samples of one file and checks what every family checks: ids are there once, questions and answers are not
/// empty, images stay in their folder.
struct SampleCollector {
    /// The file, for messages.
    let file: String
    /// `record` or `line`.
    let word: String
    /// What was gathered.
    private(set) var samples: [Sample] = []
    /// Shares the storage of repeated texts.
    var pool = StringPool()
    private var seen: [QuestionID: Int] = [:]

    init(file: String, word: String = "record") {
        self.file = file
        self.word = word
    }

    /// Where a record stands.
    func place(_ record: Int) -> String { "\(file), \(word) \(record)" }

    /// Adds a sample about the image `image` of `folder`; without folder it has none. A sample that cannot be used is
    /// reported.
    mutating func add(
        _ sample: Sample, image: String? = nil, in folder: String? = nil, record: Int,
        log: inout ProblemLog
    ) throws {
        if let first = seen.updateValue(record, forKey: sample.id) {
            seen[sample.id] = first
            return try log.report(
                .duplicateID, at: place(record), "the question id \(sample.id) was used in \(word) \(first)")
        }
        if sample.question.isEmpty {
            try log.report(.emptyQuestion, at: place(record), "the question \(sample.id) is empty")
        }
        if sample.answers.contains("") {
            try log.report(
                .emptyAnswer, at: place(record), "an answer to the question \(sample.id) is empty")
        }
        var sample = sample
        sample.record = record
        if let image, let folder {
            do {
                sample.images = [pool(try path(image, inside: folder))]
            } catch {
                return try log.report(.badRecord, at: place(record), (error as? VQAError)?.why ?? "\(error)")
            }
        }
        samples.append(sample)
    }
}

/// The first of `candidates` that exists, else the first: the error of a missing file then names the usual place.
func firstExisting(_ candidates: [String]) -> String {
    candidates.first(where: fileExists) ?? candidates.first ?? ""
}

/// A number with zeros in front, as COCO names its images.
func zeroPadded(_ text: String, to width: Int = 12) -> String {
    String(repeating: "0", count: max(0, width - text.utf8.count)) + text
}

/// The sentence that LLaVA-1.5 adds to questions with short answers (arXiv:2310.03744, table 7).
let shortAnswerRequest = "Answer the question using a single word or phrase."
