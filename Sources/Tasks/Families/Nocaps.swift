import Support

/// nocaps (arXiv 1812.08658): Open Images photographs with ten captions each, in three domains by how far their objects are
/// from COCO's. Format of COCO captions, with `domain` at each image.
///
/// Layout below the root: `nocaps_val_4500_captions.json`, `nocaps_test_image_info.json` (no captions: for submissions), and
/// the folders of images `validation/` and `test/`, or `val/` where that is there.
public struct Nocaps: CaptionTask {
    /// The family itself has no settings.
    public init() {}

    /// Name, files and splits.
    public let about = TaskDescription(
        name: "nocaps", summary: "nocaps: captions of objects that COCO has not, by domain",
        needs:
            "nocaps_val_4500_captions.json or nocaps_test_image_info.json, image folder validation/ or test/",
        splits: ["val", "test"])

    /// The official names.
    public func files(in root: String, split: String) throws -> TaskFiles {
        guard splits.contains(split) else { throw unknownSplit(split) }
        guard split == "val" else {
            return TaskFiles(questions: "\(root)/nocaps_test_image_info.json", images: "\(root)/test")
        }
        let images = isFolder("\(root)/val") ? "\(root)/val" : "\(root)/validation"
        return TaskFiles(questions: "\(root)/nocaps_val_4500_captions.json", images: images)
    }

    /// Reads one sample an image; its domain is the label `domain`.
    public func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
        var data = TaskData(task: name, split: split ?? "", samples: [])
        try CaptionRecords.readCOCO(files.questions, images: files.images, into: &data, log: &log)
        return data
    }
}
