import Support

/// Three tasks in the layout of VL-ICL Bench (github.com/ys-zong/VL-ICL, `utils/utils.py` and `utils/ICL_utils.py`):
/// `<task>/support.json`, `<task>/query.json` and their images, whose names are relative to the data set's folder.
///
/// * `open_mi`: every query brings five classes with made-up names and five images each; what they share is shape, colour
///   and texture.
/// * `clevr`: «shape: star» asks for the number of stars, in groups with balanced answers.
/// * `operator_induction`: two digits and a question mark; what the mark means must be induced.
///
/// The splits are `support` and `query`. Digits have a hundred pairs, whatever the number of images asked for; the other
/// two tasks share that number about evenly.
struct VLICLScenes {
    let options: SceneOptions
    let folder: String

    private static let operators = ["+", "-", "x"]

    /// Writes all three tasks and counts their questions.
    func write(_ manifest: inout SceneManifest) throws {
        for task in ["open_mi", "clevr", "operator_induction"] {
            for part in ["support", "query"] { try makeFolder("\(folder)/\(task)/\(part)") }
        }
        let induction = try writeClevr(&manifest)
        let open = try writeOpenMI(&manifest)
        let digits = try writeOperators(&manifest)
        manifest.images = [
            ("support", induction.support + open.support + digits.support),
            ("query", induction.query + open.query + digits.query),
        ]
    }

    private func list(_ task: String, _ name: String) throws -> SceneFile {
        try SceneFile("\(folder)/\(task)/\(name).json", head: "[", tail: "\n]\n")
    }

    private func record(
        _ id: String, _ image: String, _ question: String, _ answer: JSON, _ rest: [JSON.Member] = []
    ) -> JSON {
        .object(
            [
                JSON.Member("id", .string(id)), JSON.Member("image", [.string(image)]),
                JSON.Member("question", .string(question)), JSON.Member("answer", answer),
            ] + rest)
    }

    // MARK: Counting

    /// Four parts in five are support.
    private func writeClevr(_ manifest: inout SceneManifest) throws -> (support: Int, query: Int) {
        let count = max(16, options.images / 2)
        let query = max(8, count / 5)
        let maker = SceneQuestionMaker(objects: options.objects, topics: [.countOfAttribute])
        for (part, images) in [("support", 1..<count - query + 1), ("query", count - query + 1..<count + 1)] {
            let file = try list("clevr", part)
            let groups = SceneGenerator.groups(of: images)
            for start in stride(from: 0, to: groups.count, by: 16) {
                let block = Array(groups[start..<min(groups.count, start + 16)])
                let made = try concurrently(block.count) { index in
                    let images = block[index]
                    let scenes = SceneGroup(
                        seed: options.seed, firstImage: images.lowerBound, count: images.count,
                        objects: options.objects
                    ).make(questions: 1, maker: maker)
                    for (image, made) in zip(images, scenes) {
                        try draw(made.scene, "clevr/\(part)/\(paddedImageID(image)).png")
                    }
                    return scenes
                }
                for (image, made) in zip(block.joined(), made.joined()) {
                    // The image that would make a group's answers uneven is left without a question.
                    guard let asked = made.asked.first, let filter = asked.question?.first else { continue }
                    let text = "\(Self.attribute(filter)): \(filter.valueName)"
                    let named = SceneAsked(
                        text: text, type: "clevr", answer: asked.answer, answers: asked.answers)
                    manifest.add(named, to: part)
                    let name = paddedImageID(image)
                    try file.add(
                        record(
                            "clevr_\(part)_\(name)", "clevr/\(part)/\(name).png", text,
                            .integer(Int(asked.answer) ?? 0)))
                }
            }
            try file.finish()
        }
        return (count - query, query)
    }

    /// The benchmark's word for what the filter looks at; `material` is our texture.
    private static func attribute(_ filter: SceneFilter) -> String {
        filter.shape != nil
            ? "shape" : filter.color != nil ? "color" : filter.size != nil ? "size" : "material"
    }

    private func draw(_ scene: Scene, _ path: String) throws {
        try writeSceneImage(SceneCanvas(side: options.size, scene: scene), to: "\(folder)/\(path)")
    }

    // MARK: Made-up names

    private func writeOpenMI(_ manifest: inout SceneManifest) throws -> (support: Int, query: Int) {
        // A query has 26 images of its own.
        let count = max(2, options.images / 2 / 26)
        let (support, query) = (try list("open_mi", "support"), try list("open_mi", "query"))
        for start in stride(from: 0, to: count, by: 16) {
            let block = start..<min(count, start + 16)
            let episodes = try concurrently(block.count) { try episode(block.lowerBound + $0) }
            for episode in episodes {
                manifest.add(
                    SceneAsked(
                        text: "This is a", type: "open_mi", answer: episode.answer, answers: episode.names),
                    to: "query")
                try query.add(episode.query)
                for record in episode.support { try support.add(record) }
            }
        }
        try support.finish()
        try query.finish()
        return (count * 25, count)
    }

    private struct Episode: Sendable {
        var query: JSON = .null
        var support: [JSON] = []
        var names: [String] = []
        var answer = ""
    }

    private func episode(_ number: Int) throws -> Episode {
        var random = CounterRandom(seed: options.seed, sample: number, purpose: "scene classes")
        let shapes = random.shuffled(SceneShape.allCases).prefix(5)
        var result = Episode()
        while result.names.count < 5 {
            let name = Self.name(&random)
            if !result.names.contains(name) { result.names.append(name) }
        }
        let concepts = shapes.map { shape in
            SceneObject(
                shape: shape, color: random.one(of: SceneColor.allCases), size: .large,
                texture: random.one(of: SceneTexture.allCases), cell: 0)
        }
        func write(_ concept: SceneObject, _ path: String) throws {
            var object = concept
            object.cell = random.drawn(below: 9)
            object.size = random.one(of: SceneSize.allCases)
            var scene = Scene(objects: [object])
            scene.settle(&random)
            try draw(scene, path)
        }
        var classes: [JSON.Member] = []
        for (name, concept) in zip(result.names, concepts) {
            let paths = (0..<5).map { "open_mi/support/\(number)_\(name)_\($0).png" }
            for (index, path) in paths.enumerated() {
                try write(concept, path)
                result.support.append(
                    record("open_mi_support_\(number)_\(name)_\(index)", path, "This is a", .string(name)))
            }
            classes.append(
                JSON.Member(
                    name,
                    ["images": .array(paths.map { .string($0) }), "caption": .string("This is a \(name)")]))
        }
        let answer = random.drawn(below: 5)
        result.answer = result.names[answer]
        let path = "open_mi/query/\(number).png"
        try write(concepts[answer], path)
        result.query = record(
            "open_mi_query_\(number)", path, "This is a", .string(result.answer),
            [
                JSON.Member("classes", .array(result.names.map { .string($0) })),
                JSON.Member("support", .object(classes)),
            ])
        return result
    }

    /// A name that no language has, such as `kraxo`.
    private static func name(_ random: inout CounterRandom) -> String {
        random.one(of: ["bl", "dr", "fl", "gl", "gr", "kr", "pl", "sk", "sn", "tr", "vl", "zw"])
            + random.one(of: ["a", "e", "i", "o", "u"])
            + random.one(of: ["b", "d", "g", "k", "m", "n", "p", "v", "x", "z"])
            + random.one(of: ["a", "i", "o", "u"])
    }

    // MARK: Digits

    /// Eighty pairs are support, with the results of all three operators; each of the other twenty is a query three times.
    private func writeOperators(_ manifest: inout SceneManifest) throws -> (support: Int, query: Int) {
        let task = "operator_induction"
        let question = "What is the result of the following mathematical expression?"
        var random = CounterRandom(seed: options.seed, purpose: "scene digits")
        let pairs = random.shuffled((0..<100).map { ($0 / 10, $0 % 10) })
        let (support, query) = (try list(task, "support"), try list(task, "query"))
        for (index, (a, b)) in pairs.enumerated() {
            let part = index < 80 ? "support" : "query"
            let path = "\(task)/\(part)/\(a)_\(b).png"
            try writeSceneImage(digits("\(a)?\(b)", &random), to: "\(folder)/\(path)")
            let results = [a + b, a - b, a * b]
            if index < 80 {
                try support.add(
                    record("\(task)_support_\(a)_\(b)", path, question, .array(results.map { .integer($0) })))
                continue
            }
            for (name, result) in zip(Self.operators, results) {
                manifest.add(
                    SceneAsked(
                        text: question, type: task, answer: String(result),
                        answers: results.map(String.init)), to: part)
                try query.add(
                    record(
                        "\(task)_query_\(a)_\(b)_\(name)", path, question, .integer(result),
                        [JSON.Member("operator", .string(name))]))
            }
        }
        try support.finish()
        try query.finish()
        return (80, 20)
    }

    /// Rows of five dots from the top, the leftmost dot in the highest bit.
    private static let glyphs: [Character: [Int]] = [
        "0": [14, 17, 19, 21, 25, 17, 14], "1": [4, 12, 4, 4, 4, 4, 14], "2": [14, 17, 1, 2, 4, 8, 31],
        "3": [31, 2, 4, 2, 1, 17, 14], "4": [2, 6, 10, 18, 31, 2, 2], "5": [31, 16, 30, 1, 1, 17, 14],
        "6": [6, 8, 16, 30, 17, 17, 14], "7": [31, 1, 2, 4, 8, 8, 8], "8": [14, 17, 17, 14, 17, 17, 14],
        "9": [14, 17, 17, 15, 1, 2, 12], "?": [14, 17, 1, 2, 4, 0, 4],
    ]

    private func digits(_ text: String, _ random: inout CounterRandom) -> SceneCanvas {
        var canvas = SceneCanvas(
            side: options.size, background: Scene.tints[random.drawn(below: Scene.tints.count)].pixel)
        let color = random.one(of: [SceneColor.black, .blue, .red, .green, .purple]).pixel
        let dot = 40 + random.drawn(below: 9)
        for (position, character) in text.enumerated() {
            let left = 171 + 341 * position - 5 * dot / 2
            let top = 512 - 7 * dot / 2
            for (row, bits) in (Self.glyphs[character] ?? []).enumerated() {
                for column in 0..<5 where bits >> (4 - column) & 1 == 1 {
                    canvas.drawRectangle(
                        x: left + column * dot..<left + (column + 1) * dot,
                        y: top + row * dot..<top + (row + 1) * dot, color: color)
                }
            }
        }
        return canvas
    }
}
