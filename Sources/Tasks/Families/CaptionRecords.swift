import Support

/// A data set of images with reference captions: one sample an image, `answers` are the references.
protocol CaptionTask: VQATask {}

extension CaptionTask {
    /// The instruction that LLaVA 1.5 was tuned with for one-sentence captions (arXiv 2310.03744, table of format prompts).
    public func prompt(for sample: Sample) -> String { CaptionRecords.instruction }

    /// ``CaptionMetric``.
    public func metric(for data: TaskData) -> any AnswerMetric { CaptionMetric() }

    /// By domain, where the data set has some.
    public var groupings: [Grouping] { [Grouping("per_domain") { $0.labels["domain"] }] }

    /// The result list of the COCO caption challenge: `[{"image_id": …, "caption": "…"}]` in the order of the data.
    public func writeSubmission(_ predictions: [Prediction], for data: TaskData, to path: String) throws {
        try writeResultList(predictions, for: data, to: path, keys: ("image_id", "caption"))
    }
}

/// The annotation format of COCO captions, which nocaps shares: an object with `images[]` of `id` and `file_name`, and
/// `annotations[]` of `image_id` and `caption`.
enum CaptionRecords {
    static let instruction = "Provide a one-sentence caption for the provided image."

    private struct Image {
        var id: QuestionID
        var file: String
        var domain: String?
    }

    /// Reads one sample an image in the order of `images`.
    ///
    /// - Parameter folder: the image folder; nil reads without images.
    static func readCOCO(
        _ file: String, images folder: String?, into data: inout TaskData, log: inout ProblemLog
    ) throws {
        var captions: [QuestionID: [String]] = [:]
        var firstRecord: [QuestionID: Int] = [:]
        var hasImages = false
        var hasCaptions = false
        try withText(of: file) { bytes in
            var cursor = JSONCursor(bytes, source: file)
            try cursor.beginObject()
            while let key = try cursor.nextKey() {
                switch key {
                case "images":
                    hasImages = true
                    try readList(&cursor, log: &log, parse: image) { image, record, log in
                        try add(image, record: record, of: file, images: folder, to: &data, log: &log)
                    }
                case "annotations":
                    hasCaptions = true
                    try readList(&cursor, log: &log, parse: annotation) { annotation, record, log in
                        if annotation.caption.allSatisfy(\.isWhitespace) {
                            let place = "\(file), record \(record)"
                            return try log.report(
                                .emptyAnswer, at: place,
                                "the caption of the image \(annotation.image) is empty")
                        }
                        captions[annotation.image, default: []].append(annotation.caption)
                        if firstRecord[annotation.image] == nil { firstRecord[annotation.image] = record }
                    }
                default: try cursor.skipValue()
                }
            }
            try cursor.end()
        }
        guard hasImages else {
            throw VQAError("cannot read the captions", at: file, because: "there is no key 'images'")
        }
        guard hasCaptions else { return }
        try join(captions, firstRecord, of: file, into: &data, log: &log)
    }

    private static func add(
        _ image: Image, record: Int, of file: String, images folder: String?, to data: inout TaskData,
        log: inout ProblemLog
    ) throws {
        var sample = Sample(id: image.id, imageID: image.id.text, question: instruction, record: record)
        sample.labels["domain"] = image.domain
        if let folder {
            do {
                sample.images = [try path(image.file, inside: folder)]
            } catch {
                return try log.report(.badRecord, error)
            }
        }
        data.samples.append(sample)
    }

    /// Gives each image its captions.
    private static func join(
        _ captions: [QuestionID: [String]], _ firstRecord: [QuestionID: Int], of file: String,
        into data: inout TaskData, log: inout ProblemLog
    ) throws {
        var seen: Set<QuestionID> = []
        var kept: [Sample] = []
        for var sample in data.samples {
            let place = "\(file), record \(sample.record)"
            guard seen.insert(sample.id).inserted else {
                try log.report(.duplicateID, at: place, "the image id \(sample.id) was used before")
                continue
            }
            guard let answers = captions[sample.id] else {
                try log.report(.questionWithoutAnnotation, at: place, "the image \(sample.id) has no caption")
                continue
            }
            sample.answers = answers
            sample.answer = answers.first
            kept.append(sample)
        }
        for (image, record) in firstRecord.sorted(by: { $0.value < $1.value }) where !seen.contains(image) {
            try log.report(
                .annotationWithoutQuestion, at: "\(file), record \(record)",
                "there is no image with the id \(image)")
        }
        data.samples = kept
    }

    private static func image(_ cursor: inout JSONCursor) throws -> Image {
        var id: QuestionID?
        var file: String?
        var domain: String?
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "id": id = try QuestionID(reading: &cursor)
            case "file_name": file = try readString(&cursor, "the file_name")
            case "domain": domain = try readString(&cursor, "the domain")
            default: try cursor.skipValue()
            }
        }
        guard let id else { throw cursor.failure("the image has no id") }
        guard let file else { throw cursor.failure("the image \(id) has no file_name") }
        return Image(id: id, file: file, domain: domain)
    }

    private static func annotation(_ cursor: inout JSONCursor) throws -> (image: QuestionID, caption: String)
    {
        var image: QuestionID?
        var caption: String?
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "image_id": image = try QuestionID(reading: &cursor)
            case "caption": caption = try readString(&cursor, "the caption")
            default: try cursor.skipValue()
            }
        }
        guard let image else { throw cursor.failure("the annotation has no image_id") }
        guard let caption else { throw cursor.failure("the annotation of the image \(image) has no caption") }
        return (image, caption)
    }
}
