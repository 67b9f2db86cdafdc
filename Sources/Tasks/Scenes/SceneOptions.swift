import Support

/// A part of the data.
enum SceneSplit: String, CaseIterable, Sendable { case train, val, test }

/// How the images are divided, in percent.
public struct SceneSplits: Equatable, Sendable {
    /// The share to train on.
    public var train: Int
    /// The share to choose settings on.
    public var val: Int
    /// The share to report on.
    public var test: Int

    /// Shares of 0 to 100 that make 100 together; a share of 0 leaves the split out.
    public init(train: Int = 80, val: Int = 10, test: Int = 10) {
        (self.train, self.val, self.test) = (train, val, test)
    }

    /// How many of `images` each split gets: at least two, because a question must have two answers.
    ///
    /// - Parameter images: two at least for each split.
    func counts(of images: Int) -> [(split: SceneSplit, count: Int)] {
        let shares = [train, val, test]
        var counts = shares.map { images * $0 / 100 }
        let first = shares.firstIndex { $0 > 0 } ?? 0
        counts[first] += images - counts.reduce(0, +)
        // A split that came out too small takes from the largest.
        while let small = counts.indices.first(where: { shares[$0] > 0 && counts[$0] < 2 }),
            let large = counts.indices.max(by: { counts[$0] < counts[$1] }), counts[large] > 2
        {
            counts[large] -= 1
            counts[small] += 1
        }
        return zip(SceneSplit.allCases, counts).filter { $0.1 > 0 }.map { ($0, $1) }
    }
}

/// What to make. The same options give the same bytes on every machine.
public struct SceneOptions: Equatable, Sendable {
    /// Another seed gives other scenes.
    public var seed: Int
    /// How many images, all splits together: 2 to 10,000,000.
    public var images: Int
    /// Pixels a side, 64 to 448. Textures of small objects are hard to see below 96.
    public var size: Int
    /// How the images are divided.
    public var splits: SceneSplits
    /// Objects an image, within 1...8. Some kinds of questions need four.
    public var objects: ClosedRange<Int>
    /// Questions an image: 1 to 12. Now and then an image has one less, for the balance of the answers.
    public var questions: Int

    /// 2,000 images of 128 pixels with five questions each, unless told otherwise.
    public init(
        seed: Int = 0, images: Int = 2000, size: Int = 128, splits: SceneSplits = SceneSplits(),
        objects: ClosedRange<Int> = 1...8, questions: Int = 5
    ) {
        (self.seed, self.images, self.size) = (seed, images, size)
        (self.splits, self.objects, self.questions) = (splits, objects, questions)
    }

    /// Refuses what cannot be made.
    func check() throws {
        func refuse(_ name: String, _ value: String, _ range: String) -> VQAError {
            VQAError("cannot make scenes", at: "\(name) \(value)", because: "it must be \(range)")
        }
        let shares = [splits.train, splits.val, splits.test]
        guard shares.allSatisfy((0...100).contains), shares.reduce(0, +) == 100 else {
            throw refuse(
                "splits", shares.map(String.init).joined(separator: ","), "three percentages that make 100")
        }
        let fewest = 2 * shares.count { $0 > 0 }
        guard (fewest...10_000_000).contains(images) else {
            throw refuse("images", "\(images)", "\(fewest) to 10000000, two for each split")
        }
        guard (64...448).contains(size) else { throw refuse("size", "\(size)", "64 to 448 pixels") }
        guard objects.lowerBound >= 1, (4...8).contains(objects.upperBound) else {
            throw refuse(
                "objects", "\(objects.lowerBound)-\(objects.upperBound)",
                "within 1-8, and up to 4 at least")
        }
        guard (1...12).contains(questions) else { throw refuse("questions", "\(questions)", "1 to 12") }
    }

    var json: JSON {
        [
            "seed": .integer(seed), "images": .integer(images), "size": .integer(size),
            "splits": [
                "train": .integer(splits.train), "val": .integer(splits.val), "test": .integer(splits.test),
            ],
            "objects": [.integer(objects.lowerBound), .integer(objects.upperBound)],
            "questions": .integer(questions),
        ]
    }
}

/// The layout of the files. All but ``vlicl`` put five or so questions to every image.
public enum SceneFormat: String, CaseIterable, Sendable {
    case vqav2, aokvqa, gqa, llava, coco, easyVQA = "easy-vqa", vlicl, table

    private static let aliases = [
        "vqa": vqav2, "easyvqa": easyVQA, "captions": coco, "cococaptions": coco, "csv": table,
    ]

    /// The format of this name, in any case of letters, with or without `-` and `_`.
    public static func named(_ name: String) throws -> SceneFormat {
        func plain(_ text: String) -> String { text.lowercased().filter { $0 != "-" && $0 != "_" } }
        let wanted = plain(name)
        if let found = allCases.first(where: { plain($0.rawValue) == wanted }) ?? aliases[wanted] {
            return found
        }
        throw VQAError(
            "there is no such format", at: name,
            because: "the formats are \(allCases.map(\.rawValue).joined(separator: ", "))",
            remedy: nearestMatch(to: name, in: allCases.map(\.rawValue)).map { "did you mean '\($0)'?" })
    }
}
