import Support

/// One image with its questions, as the writers get it.
struct SceneRecord: Sendable {
    /// Unique over all splits, from 1.
    let image: Int
    /// Images with the same group share their questions.
    let group: Int
    let split: SceneSplit
    /// Relative to the folder of the data set.
    let path: String
    let scene: Scene
    let asked: [SceneAsked]

    /// The id of a question, unique over all splits.
    func questionID(_ index: Int) -> Int { image * 1000 + index }
}

/// Writes one layout. Records come in the order of their images.
protocol SceneWriter {
    /// Where an image lies, relative to the folder of the data set.
    func imagePath(_ image: Int, _ split: SceneSplit) -> String
    /// Opens the files of a split; the folder of its images is there.
    mutating func begin(_ split: SceneSplit, images: Range<Int>) throws
    mutating func add(_ record: SceneRecord) throws
    /// Closes the files of the split.
    mutating func end() throws
}

/// Makes scenes with questions, in the layout of a data set.
///
/// Everything is a function of the options: randomness is keyed by (seed, image, purpose), drawing uses whole numbers
/// only. Memory does not grow with the number of images, except for the table of question texts, of which there are
/// some ten thousand.
public struct SceneGenerator: Sendable {
    /// What to make.
    public let options: SceneOptions

    /// Refuses options out of their ranges.
    public init(_ options: SceneOptions) throws {
        try options.check()
        self.options = options
    }

    /// Writes images and files of questions into `folder`, which is made when it is missing, and `scenes.json` beside
    /// them. A folder with other content is refused; files of an earlier run with the same options are replaced.
    ///
    /// Images are PNG files, also where the layout wants a name that ends in `.jpg`: readers look at the content.
    @discardableResult
    public func write(format: SceneFormat, to folder: String) throws -> SceneManifest {
        var manifest = SceneManifest(format: format, options: options)
        try prepareSceneFolder(folder, for: manifest)
        switch format {
        case .vlicl: try VLICLScenes(options: options, folder: folder).write(&manifest)
        case .vqav2: try write(VQAv2Scenes(seed: options.seed, folder: folder), to: folder, &manifest)
        case .aokvqa: try write(AOKVQAScenes(seed: options.seed, folder: folder), to: folder, &manifest)
        case .gqa: try write(GQAScenes(size: options.size, folder: folder), to: folder, &manifest)
        case .llava: try write(LLaVAScenes(folder: folder), to: folder, &manifest)
        case .coco: try write(COCOScenes(size: options.size, folder: folder), to: folder, &manifest)
        case .table: try write(TableScenes(seed: options.seed, folder: folder), to: folder, &manifest)
        case .easyVQA: try write(EasyVQAScenes(folder: folder), to: folder, &manifest)
        }
        manifest.isComplete = true
        try writeFile(manifest.json.text(indented: true) + "\n", to: "\(folder)/scenes.json")
        return manifest
    }

    /// The splits with the numbers of their images.
    private func parts(_ format: SceneFormat) -> [(split: SceneSplit, images: Range<Int>)] {
        var splits = options.splits
        // easy-VQA has no files for `val`: its readers take a tenth of `train`.
        if format == .easyVQA { (splits.train, splits.val) = (splits.train + splits.val, 0) }
        var first = 1
        return splits.counts(of: options.images).map { split, count in
            defer { first += count }
            return (split, first..<first + count)
        }
    }

    private func write(_ writer: some SceneWriter, to folder: String, _ manifest: inout SceneManifest) throws
    {
        var writer = writer
        for (split, images) in parts(manifest.format) {
            let example = writer.imagePath(images.lowerBound, split)
            if let slash = example.lastIndex(of: "/") { try makeFolder("\(folder)/\(example[..<slash])") }
            try writer.begin(split, images: images)
            // Sixteen groups at a time: enough for the processors, little for the memory.
            let groups = SceneGenerator.groups(of: images)
            for start in stride(from: 0, to: groups.count, by: 16) {
                let block = Array(groups[start..<min(groups.count, start + 16)])
                let paths = block.map { $0.map { writer.imagePath($0, split) } }
                let format = manifest.format
                let records = try concurrently(block.count) { index in
                    try draw(block[index], split, paths[index], format, to: folder)
                }
                for record in records.joined() {
                    if format != .coco {
                        for asked in record.asked { manifest.add(asked, to: split.rawValue) }
                    }
                    try writer.add(record)
                }
            }
            try writer.end()
            manifest.images.append((split.rawValue, images.count))
        }
    }

    /// Groups of eight; the last one has what is left as well.
    static func groups(of images: Range<Int>) -> [Range<Int>] {
        let size = SceneGroup.usualSize
        let count = max(1, images.count / size)
        return (0..<count).map { index in
            let first = images.lowerBound + index * size
            return first..<(index == count - 1 ? images.upperBound : first + size)
        }
    }

    /// Makes the scenes of a group and writes their images.
    private func draw(
        _ images: Range<Int>, _ split: SceneSplit, _ paths: [String], _ format: SceneFormat, to folder: String
    ) throws -> [SceneRecord] {
        let scenes = scenes(images, format)
        return try zip(images, zip(scenes, paths)).map { image, content in
            let (made, path) = content
            try writeSceneImage(SceneCanvas(side: options.size, scene: made.scene), to: "\(folder)/\(path)")
            return SceneRecord(
                image: image, group: images.lowerBound, split: split, path: path, scene: made.scene,
                asked: made.asked)
        }
    }

    private func scenes(_ images: Range<Int>, _ format: SceneFormat) -> [SceneWithQuestions] {
        if format == .easyVQA {
            return EasyVQAScenes.group(seed: options.seed, firstImage: images.lowerBound, count: images.count)
        }
        let group = SceneGroup(
            seed: options.seed, firstImage: images.lowerBound, count: images.count, objects: options.objects)
        var maker = SceneQuestionMaker(objects: options.objects)
        if format == .gqa {
            maker.skipsNumbers = true
            maker.topics = [.yesOrNo, .comparison, .position, .query]
        }
        let scenes = group.make(questions: options.questions, maker: maker)
        return format == .gqa ? scenes.map(withConverses) : scenes
    }

    /// With each comparison the other way around as well.
    private func withConverses(_ made: SceneWithQuestions) -> SceneWithQuestions {
        var made = made
        made.asked += made.asked.compactMap { asked in
            guard let converse = asked.question?.converse,
                let answer = converse.answers.firstIndex(of: asked.answer)
            else { return nil }
            return SceneAsked(converse, answer: answer)
        }
        return made
    }
}

/// `id` with zeros before it, as COCO names its images.
func paddedImageID(_ id: Int) -> String {
    let digits = String(id)
    return String(repeating: "0", count: max(0, 12 - digits.count)) + digits
}
