import Support

extension ImageProcessor {
    /// The processor of a checkpoint's folder: the `image_processor` part of `processor_config.json` when
    /// there is one, else `preprocessor_config.json`, else what the `config.json` of an original LLaVA release
    /// says of its tower (`mm_vision_tower`). `image_aspect_ratio` in `config.json`, which only those releases
    /// have, is followed: `pad` pads to a square, `square` does not.
    public init(folder: String) throws {
        let model = try ModelFacts(folder: folder)
        if let (json, source) = try ImageProcessor.settings(in: folder) {
            try self.init(json, source: source, modelType: model.type)
        } else if let size = try model.towerSize() {
            self = .llava(size: size)
        } else {
            throw VQAError(
                "cannot find the image processor", at: folder,
                because:
                    "it has no preprocessor_config.json and no image_processor in a processor_config.json",
                remedy: "copy preprocessor_config.json from the checkpoint")
        }
        if try model.padsToSquare() { self = paddingToSquare() }
    }

    private static func settings(in folder: String) throws -> (JSON, source: String)? {
        let joint = "\(folder)/processor_config.json"
        if fileExists(joint), let nested = try JSON(contentsOf: joint, limit: 1 << 20)["image_processor"],
            !nested.isNull
        {
            return (nested, "\(joint), image_processor")
        }
        let single = "\(folder)/preprocessor_config.json"
        return fileExists(single) ? (try JSON(contentsOf: single, limit: 1 << 20), single) : nil
    }
}

/// What `config.json` says of images; a folder without the file says nothing.
private struct ModelFacts {
    let json: JSON
    let source: String

    init(folder: String) throws {
        source = "\(folder)/config.json"
        json = fileExists(source) ? try JSON(contentsOf: source, limit: 16 << 20) : .null
    }

    var type: String? { json["model_type"]?.string }

    private func failure(_ key: String, _ why: String, remedy: String) -> VQAError {
        VQAError("cannot use the image processor", at: "\(source), \(key)", because: why, remedy: remedy)
    }

    /// The side of the input of the CLIP tower that an original LLaVA release names.
    func towerSize() throws -> Int? {
        guard let tower = json["mm_vision_tower"]?.string else { return nil }
        let name = tower.lowercased().split(separator: "/").last ?? ""
        guard name.hasPrefix("clip-vit") else {
            throw failure(
                "mm_vision_tower", "\(tower.prefix(80)) is not a CLIP tower",
                remedy: "copy the tower's preprocessor_config.json into the folder")
        }
        return name.hasSuffix("-336") ? 336 : 224
    }

    func padsToSquare() throws -> Bool {
        guard let value = json["image_aspect_ratio"], !value.isNull else { return false }
        switch value.string {
        case "pad": return true
        case "square": return false
        default:
            throw failure(
                "image_aspect_ratio", "expected pad or square",
                remedy: "several views of an image (anyres) are not supported")
        }
    }
}
