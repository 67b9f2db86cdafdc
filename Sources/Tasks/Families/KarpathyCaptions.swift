import Support

/// COCO captions in the splits of Karpathy and Fei-Fei (arXiv 1412.2306), the ones that captioning papers report.
///
/// Layout below the root: `dataset_coco.json` and the folders of images that it names, `train2014/` and `val2014/`. Splits as in
/// the file, and `train+restval`, what most train on (113,287 images).
public struct COCOKarpathy: CaptionTask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "coco-karpathy", aliases: ["karpathy", "coco-captions-karpathy"],
        summary: "COCO captions in Karpathy's splits",
        needs: "dataset_coco.json, image folders train2014/ and val2014/",
        splits: ["train", "restval", "train+restval", "val", "test"])

    /// The file for all splits.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        return TaskFiles(questions: "\(root)/dataset_coco.json", images: root)
    }

    /// Reads one sample an image; ids are COCO's.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        try KarpathyFile.read(files, task: name, split: split, log: &log)
    }
}

/// Flickr30k captions: 31,783 photographs with five captions each.
///
/// Layout below the root: `dataset_flickr30k.json` (Karpathy's splits), or else the official `results_20130124.token`, which has
/// no splits (only `all` can be read from it), and the folder of images `flickr30k-images/` or `flickr30k_images/`.
public struct Flickr30k: CaptionTask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "flickr30k", aliases: ["flickr30k-captions", "flickr"],
        summary: "Flickr30k: photographs of people with five captions each",
        needs: "dataset_flickr30k.json or results_20130124.token, image folder flickr30k-images/",
        splits: ["train", "val", "test", "all"])

    /// Karpathy's file for the splits, either file for `all`.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let folder = isFolder("\(root)/flickr30k_images") ? "flickr30k_images" : "flickr30k-images"
        let karpathy = "\(root)/dataset_flickr30k.json"
        let isToken = split == "all" && !fileExists(karpathy)
        return TaskFiles(
            questions: isToken ? "\(root)/results_20130124.token" : karpathy, images: "\(root)/\(folder)")
    }

    /// Reads one sample an image; ids are the names of the files without `.jpg`.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        let split = split == "all" ? nil : split
        guard files.questions.hasSuffix(".token") else {
            return try KarpathyFile.read(files, task: name, split: split, log: &log)
        }
        if let split {
            throw VQAError(
                "cannot read the split", at: split, because: "\(files.questions) has no splits",
                remedy: "use dataset_flickr30k.json, or the split 'all'")
        }
        return try readTokens(files, log: &log)
    }

    /// Reads lines of `<image>.jpg#<number>`, a tab, and the caption.
    private func readTokens(_ files: TaskFiles, log: inout ProblemLog) throws -> TaskData {
        var data = TaskData(task: name, split: "", samples: [])
        data.recordWord = "line"
        var index: [String: Int] = [:]
        try withText(of: files.questions) { bytes in
            for (number, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated()
            {
                let place = "\(files.questions), line \(number + 1)"
                guard let text = String(validating: line, as: UTF8.self) else {
                    try log.report(.badRecord, at: place, "it is not UTF-8")
                    continue
                }
                if text.allSatisfy(\.isWhitespace) { continue }
                let parts = text.split(separator: "\t", maxSplits: 1)
                guard parts.count == 2, let hash = parts[0].lastIndex(of: "#") else {
                    try log.report(
                        .badRecord, at: place, "a line is an image, '#', a number, a tab and a caption")
                    continue
                }
                let image = String(parts[0][..<hash])
                let caption = String(parts[1].trimmed)
                if caption.isEmpty { try log.report(.emptyAnswer, at: place, "the caption is empty") }
                if let known = index[image] {
                    data.samples[known].answers.append(caption)
                    continue
                }
                do {
                    index[image] = data.samples.count
                    data.samples.append(try sample(image, caption, line: number + 1, images: files.images))
                } catch {
                    index[image] = nil
                    try log.report(.badRecord, error)
                }
            }
        }
        return data
    }

    private func sample(_ image: String, _ caption: String, line: Int, images: String?) throws -> Sample {
        let id = image.hasSuffix(".jpg") ? String(image.dropLast(4)) : image
        return Sample(
            id: QuestionID(id), imageID: id, images: try images.map { [try path(image, inside: $0)] } ?? [],
            question: CaptionRecords.instruction, answers: [caption], answer: caption, record: line)
    }
}

/// The file of one data set in Karpathy's splits: `images[]` of `split`, `filename`, sometimes `filepath` and `cocoid`, and
/// `sentences[]` of `raw`.
enum KarpathyFile {
    private struct Image {
        var id: QuestionID?
        var folder: String?
        var file = ""
        var split = ""
        var captions: [String] = []
    }

    /// Reads the images of `split`; nil reads all.
    static func read(_ files: TaskFiles, task: String, split: String?, log: inout ProblemLog) throws
        -> TaskData
    {
        var data = TaskData(task: task, split: split ?? "", samples: [])
        let wanted = split.map { Set($0.split(separator: "+").map(String.init)) }
        var seen: Set<QuestionID> = []
        var found = false
        try withText(of: files.questions) { bytes in
            var cursor = JSONCursor(bytes, source: files.questions)
            try cursor.beginObject()
            while let key = try cursor.nextKey() {
                guard key == "images" else {
                    try cursor.skipValue()
                    continue
                }
                found = true
                try readList(&cursor, log: &log, parse: image) { image, record, log in
                    let place = "\(files.questions), record \(record)"
                    if let wanted, !wanted.contains(image.split) { return }
                    if image.captions.isEmpty {
                        return try log.report(
                            .questionWithoutAnnotation, at: place, "the image has no caption")
                    }
                    do {
                        let sample = try sample(image, record: record, images: files.images)
                        guard seen.insert(sample.id).inserted else {
                            return try log.report(
                                .duplicateID, at: place, "the image \(sample.id) is there twice")
                        }
                        data.samples.append(sample)
                    } catch {
                        try log.report(.badRecord, error)
                    }
                }
            }
            try cursor.end()
        }
        guard found else {
            throw VQAError(
                "cannot read the captions", at: files.questions, because: "there is no key 'images'")
        }
        return data
    }

    private static func sample(_ image: Image, record: Int, images: String?) throws -> Sample {
        let name = image.folder.map { "\($0)/\(image.file)" } ?? image.file
        let id =
            image.id ?? QuestionID(image.file.hasSuffix(".jpg") ? String(image.file.dropLast(4)) : image.file)
        var sample = Sample(
            id: id, imageID: id.text, images: try images.map { [try path(name, inside: $0)] } ?? [],
            question: CaptionRecords.instruction, answers: image.captions, answer: image.captions.first,
            record: record)
        sample.labels["split"] = image.split
        return sample
    }

    private static func image(_ cursor: inout JSONCursor) throws -> Image {
        var image = Image()
        try cursor.beginObject()
        while let key = try cursor.nextKey() {
            switch key {
            case "cocoid": image.id = try QuestionID(reading: &cursor)
            case "filepath": image.folder = try readString(&cursor, "the filepath")
            case "filename": image.file = try readString(&cursor, "the filename")
            case "split": image.split = try readString(&cursor, "the split")
            case "sentences":
                try cursor.beginArray()
                while try cursor.nextElement() {
                    try cursor.beginObject()
                    while let part = try cursor.nextKey() {
                        if part == "raw" {
                            image.captions.append(try readString(&cursor, "the sentence's raw"))
                        } else {
                            try cursor.skipValue()
                        }
                    }
                }
            default: try cursor.skipValue()
            }
        }
        guard !image.file.isEmpty else { throw cursor.failure("the image has no filename") }
        return image
    }
}
