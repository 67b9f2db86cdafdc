import Support

/// COCO captions (arXiv 1504.00325) in the official format, five and more captions an image.
///
/// Layout below the root: `annotations/captions_SET.json`, or the file beside the images, and the folder of images `SET/`;
/// SET is `train2014`, `val2014`, `train2017` or `val2017`.
public struct COCOCaptions: CaptionTask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "coco-captions", aliases: ["coco-caption", "coco_captions", "mscoco-captions"],
        summary: "COCO captions: photographs with five captions each",
        needs: "annotations/captions_SPLIT.json, image folder SPLIT/",
        splits: ["train2014", "val2014", "train2017", "val2017"])

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        let beside = "\(root)/captions_\(split).json"
        return TaskFiles(
            questions: fileExists(beside) ? beside : "\(root)/annotations/captions_\(split).json",
            images: "\(root)/\(split)")
    }

    /// The server looks for `captions_SET_METHOD_results.json`.
    public func submissionFile(for data: TaskData) -> String {
        splits.contains(data.split) ? "captions_\(data.split)_vqa_results.json" : "submission.json"
    }

    /// Reads one sample an image.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var data = TaskData(task: name, split: split ?? "", samples: [])
        try CaptionRecords.readCOCO(files.questions, images: files.images, into: &data, log: &log)
        return data
    }
}
