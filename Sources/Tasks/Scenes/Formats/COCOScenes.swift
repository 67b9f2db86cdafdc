import Support

/// The captions of COCO 2017: `annotations/captions_<split>2017.json`, five captions an image.
struct COCOScenes: SceneWriter {
    let size: Int
    let folder: String
    private var captions: SceneFile?
    private var images = 0..<0
    private var split = SceneSplit.train

    init(size: Int, folder: String) { (self.size, self.folder) = (size, folder) }

    func imagePath(_ image: Int, _ split: SceneSplit) -> String { "\(split)2017/\(Self.name(image))" }

    private static func name(_ image: Int) -> String { "\(paddedImageID(image)).jpg" }

    mutating func begin(_ split: SceneSplit, images: Range<Int>) throws {
        try makeFolder("\(folder)/annotations")
        (self.images, self.split) = (images, split)
        let head = """
            {"info":{"description":"Made-up scenes in the format of COCO 2017","version":"1.0","year":2017},\
            "licenses":[{"id":1,"name":"none needed: drawn by a program","url":""}],"images":[
            """
        captions = try SceneFile(
            "\(folder)/annotations/captions_\(split)2017.json", head: head, tail: "\n]}\n")
        for image in images {
            try captions?.add([
                "license": 1, "file_name": .string(Self.name(image)), "height": .integer(size),
                "width": .integer(size), "id": .integer(image),
            ])
        }
        try captions?.addText("\n],\"annotations\":[")
    }

    mutating func add(_ record: SceneRecord) throws {
        for (index, caption) in record.scene.captions().enumerated() {
            let item: JSON = [
                "image_id": .integer(record.image), "id": .integer(record.questionID(index)),
                "caption": .string(caption),
            ]
            let isFirst = record.image == images.lowerBound && index == 0
            try captions?.addText((isFirst ? "\n" : ",\n") + item.text())
        }
    }

    mutating func end() throws { try captions?.finish() }
}
