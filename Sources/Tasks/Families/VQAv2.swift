import Support

/// VQA v2 (visualqa.org) and everything in its official format: a file of questions, a file of annotations
/// with ten answers each, COCO 2014/2015 images.
///
/// Layout below the root: `v2_OpenEnded_mscoco_<set>_questions.json`, `v2_mscoco_<set>_annotations.json` and
/// the folder of images `<images>/COCO_<images>_<image id, 12 digits>.jpg`, where `<set>` is `train2014`,
/// `val2014`, `test-dev2015` or `test2015`, and `<images>` the same without `-dev`.
public struct VQAv2: VQATask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "vqav2", aliases: ["vqa", "vqa-v2", "vqa_v2", "vqa2"],
        summary: "VQA v2: open questions about COCO photographs, ten answers each",
        needs:
            "v2_OpenEnded_mscoco_SET_questions.json, v2_mscoco_SET_annotations.json, image folder SET/",
        splits: ["train", "val", "test-dev", "test"])

    private static let sets = [
        "train": "train2014", "val": "val2014", "test-dev": "test-dev2015", "test": "test2015",
    ]

    /// The official names; the test splits have no annotations.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard let set = Self.sets[split] else { throw unknownSplit(split) }
        return TaskFiles(
            questions: "\(root)/v2_OpenEnded_mscoco_\(set)_questions.json",
            annotations: split.hasPrefix("test") ? nil : "\(root)/v2_mscoco_\(set)_annotations.json",
            images: "\(root)/\(Self.imageSet(set))")
    }

    /// The name of the images' set: the two test sets share their images.
    private static func imageSet(_ set: String) -> String { set == "test-dev2015" ? "test2015" : set }

    /// The official accuracy.
    public func metric(for data: TaskData) -> any AnswerMetric { VQAAccuracy() }

    /// The first line in lower case: where all annotators agree the official program compares texts as they
    /// are, and the annotators' answers are in lower case.
    public func answer(fromGenerated text: String, for sample: Sample) -> String {
        firstLine(of: text).lowercased()
    }

    /// Reads the questions, then joins the annotations by question id. The images belong to the set that the
    /// file names in `data_subtype`; without that key, to the set of `split`, else to `train2014`.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var data = TaskData(task: name, split: split ?? "", samples: [])
        try OfficialAnnotations.read(files, into: &data, log: &log) { data, log in
            let set = try Self.readQuestions(files.questions, into: &data, log: &log)
            guard let images = files.images else { return }
            try Self.nameImages(
                set ?? split.flatMap { Self.sets[$0] } ?? "train2014", in: images, of: &data, log: &log)
        }
        return data
    }

    /// Reads `questions[]`; returns the file's `data_subtype`.
    static func readQuestions(_ file: String, into data: inout TaskData, log: inout ProblemLog) throws
        -> String?
    {
        var set: String?
        var found = false
        var seen: [QuestionID: Int] = [:]
        try withText(of: file) { bytes in
            // Growing step by step copies everything several times; records are at least about this long.
            seen.reserveCapacity(bytes.count / 96)
            data.samples.reserveCapacity(bytes.count / 96)
            var cursor = JSONCursor(bytes, source: file)
            try cursor.beginObject()
            while let key = try cursor.nextKey() {
                switch key {
                case "data_subtype": set = try cursor.peek() == .string ? cursor.string() : nil
                case "questions":
                    found = true
                    try readList(&cursor, log: &log, parse: readQuestion) { sample, record, log in
                        if let first = seen.updateValue(record, forKey: sample.id) {
                            return try log.report(
                                .duplicateID, at: "\(file), record \(record)",
                                "the question id \(sample.id) was used in record \(first)")
                        }
                        if sample.question.isEmpty {
                            try log.report(
                                .emptyQuestion, at: "\(file), record \(record)",
                                "the question \(sample.id) is empty")
                        }
                        data.samples.append(sample)
                        data.samples[data.samples.count - 1].record = record
                    }
                default: try cursor.skipValue()
                }
            }
            try cursor.end()
        }
        guard found else {
            throw VQAError("cannot read the questions", at: file, because: "there is no key 'questions'")
        }
        return set.map(imageSet)
    }

    private static let questionKeys: [StaticString] = ["question_id", "image_id", "question"]

    private static func readQuestion(_ cursor: inout JSONCursor) throws -> Sample {
        var id: QuestionID?
        var image: QuestionID?
        var question: String?
        try cursor.beginObject()
        while let key = try cursor.nextKey(among: questionKeys) {
            switch key {
            case 0: id = try QuestionID(reading: &cursor)
            case 1: image = try QuestionID(reading: &cursor)
            case 2: question = try readString(&cursor, "the question")
            default: try cursor.skipValue()
            }
        }
        guard let id else { throw cursor.failure("the record has no question_id") }
        guard let image else { throw cursor.failure("the question \(id) has no image_id") }
        guard let question else { throw cursor.failure("the record \(id) has no question") }
        return Sample(id: id, imageID: image.text, question: question)
    }

    /// Turns image ids into paths; the questions of an image share one.
    static func nameImages(
        _ set: String, in folder: String, of data: inout TaskData, log: inout ProblemLog
    ) throws {
        var paths: [String: [String]] = [:]
        for index in data.samples.indices {
            let image = data.samples[index].imageID
            // The questions of an image mostly follow each other.
            if index > 0, data.samples[index - 1].imageID == image, !data.samples[index - 1].images.isEmpty {
                data.samples[index].images = data.samples[index - 1].images
                continue
            }
            if let known = paths[image] {
                data.samples[index].images = known
                continue
            }
            let digits = String(repeating: "0", count: max(0, 12 - image.utf8.count)) + image
            do {
                let named = [try path("COCO_\(set)_\(digits).jpg", inside: folder)]
                paths[image] = named
                data.samples[index].images = named
            } catch {
                try log.report(.badRecord, error)
            }
        }
    }
}
