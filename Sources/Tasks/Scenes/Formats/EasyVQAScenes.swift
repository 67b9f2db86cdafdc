import Support

/// The layout of the package easy-vqa: one shape an image, `answers.txt`, `<split>/questions.json`, `<split>/images`.
struct EasyVQAScenes: SceneWriter {
    let folder: String
    private var questions: SceneFile?

    init(folder: String) { self.folder = folder }

    func imagePath(_ image: Int, _ split: SceneSplit) -> String { "\(split)/images/\(image).png" }

    mutating func begin(_ split: SceneSplit, images: Range<Int>) throws {
        let answers =
            SceneShape.allCases.map(\.rawValue) + SceneColor.allCases.map(\.rawValue) + ["yes", "no"]
        try writeFile(answers.joined(separator: "\n") + "\n", to: "\(folder)/answers.txt")
        questions = try SceneFile("\(folder)/\(split)/questions.json", head: "[", tail: "\n]\n")
    }

    mutating func add(_ record: SceneRecord) throws {
        for asked in record.asked {
            try questions?.add([.string(asked.text), .string(asked.answer), .integer(record.image)])
        }
    }

    mutating func end() throws { try questions?.finish() }

    // MARK: Scenes

    private static let presence = [
        "is there %?", "is % present?", "does the image contain %?", "is there % in the image?",
    ]
    private static let absence = ["is there not %?", "does the image not contain %?", "is % not present?"]

    /// Images of one object. Eight of them have all colours and all shapes once, so that «what color is the shape?» has
    /// each answer once; every question with yes or no goes to one image of each answer.
    static func group(seed: Int, firstImage: Int, count: Int) -> [SceneWithQuestions] {
        var random = CounterRandom(seed: seed, sample: firstImage, purpose: "scene questions")
        let colors = random.shuffled(SceneColor.allCases)
        let shapes = random.shuffled(SceneShape.allCases)
        var group = (0..<count).map { index in
            let object = SceneObject(
                shape: shapes[index % 8], color: colors[index % 8],
                size: random.one(of: SceneSize.allCases), texture: .plain, cell: random.drawn(below: 9))
            var scene = Scene(objects: [object])
            var places = CounterRandom(seed: seed, sample: firstImage + index, purpose: "scene places")
            scene.settle(&places)
            return SceneWithQuestions(scene: scene)
        }
        let whole = min(8, count)
        if whole == 8 {
            let shapeText = random.one(of: ["what shape is present?", "what shape is in the image?"])
            for index in 0..<8 {
                let object = group[index].scene.objects[0]
                group[index].asked = [
                    SceneAsked(
                        text: "what color is the shape?", type: "color", answer: object.color.rawValue,
                        answers: SceneAttribute.color.values),
                    SceneAsked(
                        text: shapeText, type: "shape", answer: object.shape.rawValue,
                        answers: SceneAttribute.shape.values),
                ]
            }
        }
        // Images beyond the eighth repeat colours and shapes; they are asked instead of their doubles.
        for index in 0..<whole {
            let asked = index + 8 < count ? index + 8 : index
            for thing in ["\(colors[index]) shape", shapes[index].rawValue] {
                let isAbsence = random.drawn(below: 3) == 0
                let form = random.one(of: isAbsence ? absence : presence)
                let text = form.split(separator: "%", omittingEmptySubsequences: false)
                    .joined(separator: withArticle(thing))
                let other = (index + 1 + random.drawn(below: whole - 1)) % whole
                let type = thing.hasSuffix("shape") ? "is there the color" : "is there the shape"
                for (image, isThere) in [(asked, true), (other, false)] {
                    group[image].asked.append(
                        SceneAsked(
                            text: text, type: type, answer: isThere != isAbsence ? "yes" : "no",
                            answers: ["yes", "no"]))
                }
            }
        }
        return group
    }
}
