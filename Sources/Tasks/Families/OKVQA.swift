import Support

/// OK-VQA (okvqa.allenai.org): open questions about COCO 2014 photographs that need outside knowledge; ten answers each,
/// in the official VQA format. `answer` is the stemmed form of what the annotator wrote, `raw_answer`.
///
/// Layout below the root: `OpenEnded_mscoco_<set>_questions.json`, `mscoco_<set>_annotations.json` and the folder of
/// images `<set>/COCO_<set>_<image id, 12 digits>.jpg`, where `<set>` is `train2014` or `val2014`.
///
/// The measure is the official VQA accuracy between the stemmed answers; the model's answer is stemmed too
/// (``OKVQAStemmer``), as LIVE does (spec 6.3), because a written-out plural would equal no reference.
public struct OKVQA: VQATask {
    /// How the model's answer is brought to the form of the references; nil leaves it as it is.
    public var stemmer: (any AnswerStemmer)?

    /// With the data set's stemming unless told otherwise.
    public init(stemmer: (any AnswerStemmer)? = OKVQAStemmer()) { self.stemmer = stemmer }

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "okvqa", aliases: ["ok-vqa", "ok_vqa"],
        summary: "OK-VQA: questions about COCO photographs that need outside knowledge, ten answers each",
        needs: "OpenEnded_mscoco_SET_questions.json, mscoco_SET_annotations.json, image folder SET/",
        splits: ["train", "val"])

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let set = "\(split)2014"
        return TaskFiles(
            questions: "\(root)/OpenEnded_mscoco_\(set)_questions.json",
            annotations: "\(root)/mscoco_\(set)_annotations.json", images: "\(root)/\(set)")
    }

    /// Reads questions and annotations as ``VQAv2`` does. The question type becomes the name of the knowledge category.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var data = TaskData(task: name, split: split ?? "", samples: [])
        try OfficialAnnotations.read(files, into: &data, log: &log) { data, log in
            let set = try VQAv2.readQuestions(files.questions, into: &data, log: &log)
            guard let images = files.images else { return }
            try VQAv2.nameImages(
                set ?? (split == "val" ? "val2014" : "train2014"), in: images, of: &data, log: &log)
        }
        for index in data.samples.indices {
            if let type = data.samples[index].questionType {
                data.samples[index].questionType = Self.categories[type] ?? type
            }
        }
        return data
    }

    /// The first line in lower case, cut at the first comma and before a word that begins a new exchange (LIVE, spec 6.2).
    public func answer(fromGenerated text: String, for sample: Sample) -> String {
        var line = firstLine(of: text)[...]
        for mark in ["Question", "Answer", "Short", ", "] {
            if let place = line.firstRange(of: mark) { line = line[..<place.lowerBound] }
        }
        return firstLine(of: line.lowercased())
    }

    /// The official accuracy, after stemming.
    public func metric(for data: TaskData) -> any AnswerMetric { StemmedVQAAccuracy(stemmer: stemmer) }

    /// The data set's ten knowledge categories by the word in `question_type`.
    private static let categories = [
        "one": "vehicles and transportation", "two": "brands, companies and products",
        "three": "objects, material and clothing", "four": "sports and recreation",
        "five": "cooking and food", "six": "geography, history, language and culture",
        "seven": "people and everyday life", "eight": "plants and animals",
        "nine": "science and technology", "ten": "weather and climate",
    ]
}
