import Support

/// Gathers the samples of one file and checks what every family checks: ids are there once, questions and answers are not
/// empty, images stay in their folder.
struct SampleCollector {
    /// What was gathered.
    private(set) var data: TaskData
    /// Shares the storage of repeated texts.
    var pool = StringPool()
    private let file: String
    private var seen: [QuestionID: Int] = [:]

    /// An empty collection of the task's samples in `file`; `word` is `record` or `line`.
    init(_ task: any VQATask, split: String?, file: String, word: String = "record") {
        data = TaskData(task: task.name, split: split ?? "", samples: [])
        data.recordWord = word
        self.file = file
    }

    /// Where a record stands: `file, record 3`.
    func place(_ number: Int) -> String { "\(file), \(data.recordWord) \(number)" }

    /// Adds the sample of a record, about the image `image` of `folder` when it has not named its images itself. A sample
    /// that cannot be used is reported.
    mutating func add(
        _ sample: Sample, image: String? = nil, in folder: String? = nil, number: Int,
        log: inout ProblemLog
    ) throws {
        if let first = seen[sample.id] {
            return try log.report(
                .duplicateID, at: place(number),
                "the question id \(sample.id) was used in \(data.recordWord) \(first)")
        }
        seen[sample.id] = number
        if sample.question.isEmpty {
            try log.report(.emptyQuestion, at: place(number), "the question \(sample.id) is empty")
        }
        if sample.answers.contains("") {
            try log.report(.emptyAnswer, at: place(number), "an answer to the question \(sample.id) is empty")
        }
        var sample = sample
        sample.record = number
        if let image, let folder {
            do {
                sample.images = [pool(try path(image, inside: folder))]
            } catch {
                return try log.report(.badRecord, at: place(number), (error as? VQAError)?.why ?? "\(error)")
            }
        }
        data.samples.append(sample)
    }

    /// Adds a note for the user.
    mutating func note(_ text: String) { data.notes.append(text) }
}

/// The first of `names` that exists below `root`, else the first: a file that is missing is then named in the error.
func firstExisting(_ names: [String], in root: String) -> String {
    firstExisting(names.map { "\(root)/\($0)" })
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
