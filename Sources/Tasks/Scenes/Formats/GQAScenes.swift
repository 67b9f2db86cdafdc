import Support

/// The files of GQA (cs.stanford.edu/people/dorarad/gqa): `<split>_balanced_questions.json`, an object by question id, and
/// `<split>_sceneGraphs.json`. The split `test` is GQA's `testdev`, which has no scene graphs.
///
/// A comparison or position is asked both ways around («left of», «right of»), so that there are equivalent and entailed
/// questions for the measure of consistency.
struct GQAScenes: SceneWriter {
    let size: Int
    let folder: String
    private var questions: SceneFile?
    private var graphs: SceneFile?

    init(size: Int, folder: String) { (self.size, self.folder) = (size, folder) }

    private static func set(_ split: SceneSplit) -> String { split == .test ? "testdev" : split.rawValue }

    func imagePath(_ image: Int, _ split: SceneSplit) -> String { "images/\(image).jpg" }

    mutating func begin(_ split: SceneSplit, images: Range<Int>) throws {
        let set = Self.set(split)
        questions = try SceneFile("\(folder)/\(set)_balanced_questions.json", head: "{", tail: "\n}\n")
        graphs =
            split == .test
            ? nil : try SceneFile("\(folder)/\(set)_sceneGraphs.json", head: "{", tail: "\n}\n")
    }

    mutating func add(_ record: SceneRecord) throws {
        try graphs?.add(String(record.image), graph(record))
        for (index, asked) in record.asked.enumerated() {
            guard let question = asked.question else { continue }
            let converse = question.converse.flatMap { converse in
                record.asked.firstIndex { $0.question == converse }.map { String(record.questionID($0)) }
            }
            let id = String(record.questionID(index))
            try questions?.add(id, json(record, asked, question, id: id, converse: converse))
        }
    }

    mutating func end() throws {
        for file in [questions, graphs] { try file?.finish() }
    }

    // MARK: Questions

    private func json(
        _ record: SceneRecord, _ asked: SceneAsked, _ question: SceneQuestion, id: String, converse: String?
    ) -> JSON {
        let steps = program(question, record)
        let types = Self.types(question)
        let others: [JSON] = converse.map { [.string($0)] } ?? []
        return [
            "semantic": .array(
                steps.map { step in
                    [
                        "operation": .string(step.operation),
                        "dependencies": .array(step.dependencies.map { .integer($0) }),
                        "argument": .string(step.argument),
                    ]
                }),
            "entailed": .array(others), "equivalent": .array([.string(id)] + others),
            "question": .string(asked.text), "imageId": .string(String(record.image)), "isBalanced": true,
            "groups": ["global": types.group.map { .string($0) } ?? .null, "local": .string(types.local)],
            "answer": .string(asked.answer),
            "semanticStr": .string(
                steps.map { step in
                    let dependencies = step.dependencies.isEmpty ? "" : " \(step.dependencies)"
                    return "\(step.operation): \(step.argument)\(dependencies)"
                }.joined(separator: "->")),
            "annotations": [
                "answer": .object([]), "question": .object(mentions(question, asked.text, record)),
                "fullAnswer": .object([]),
            ],
            "types": [
                "detailed": .string(types.detailed), "semantic": .string(types.semantic),
                "structural": .string(types.structural),
            ],
            "fullAnswer": .string(Scene.sentence(asked)),
        ]
    }

    private static func types(_ question: SceneQuestion) -> (
        structural: String, semantic: String, detailed: String, group: String?, local: String
    ) {
        let name = question.first.noun
        switch question.kind {
        case .query(let attribute):
            return ("query", "attr", "\(attribute)", "\(attribute)", "10q-\(name)_\(attribute)")
        case .existence, .count: return ("verify", "obj", "exist", nil, "10c-\(name)")
        case .position: return ("verify", "rel", "relVerify", nil, "13-\(name)_position")
        case .size, .number: return ("compare", "attr", "comparative", nil, "10-\(name)_size")
        case .verification:
            return ("verify", "attr", "verifyAttr", nil, "06-\(name)_\(question.second.valueName)")
        }
    }

    private struct Step {
        let operation: String
        let dependencies: [Int]
        let argument: String
    }

    /// The reasoning steps that lead to the answer.
    private func program(_ question: SceneQuestion, _ record: SceneRecord) -> [Step] {
        var steps: [Step] = []
        func add(_ operation: String, _ dependencies: [Int], _ argument: String) {
            steps.append(Step(operation: operation, dependencies: dependencies, argument: argument))
        }
        /// Selects by shape, then keeps what fits the adjectives; returns the last step.
        func choose(_ filter: SceneFilter) -> Int {
            add("select", [], "\(filter.shape?.rawValue ?? "object") (\(ids(filter, record)))")
            for (name, value) in [
                ("size", filter.size?.rawValue), ("texture", filter.texture?.rawValue),
                ("color", filter.color?.rawValue),
            ] {
                if let value { add("filter \(name)", [steps.count - 1], value) }
            }
            return steps.count - 1
        }
        switch question.kind {
        case .query(let attribute): add("query", [choose(question.first)], "\(attribute)")
        case .existence, .count: add("exist", [choose(question.first)], "?")
        case .position(let side):
            let other = choose(question.second)
            add(
                "verify rel", [other],
                "\(question.first.noun),\(side.phrase),s (\(ids(question.first, record)))")
        case .size, .number:
            let first = choose(question.first)
            let second = choose(question.second)
            add("compare", [first, second], question.kind == .size(larger: true) ? "larger" : "smaller")
        case .verification:
            let last = choose(question.first)
            let second = question.second
            let name =
                second.color != nil
                ? "color" : second.size != nil ? "size" : second.shape != nil ? "shape" : "texture"
            add("verify \(name)", [last], second.valueName)
        }
        return steps
    }

    private func objectID(_ image: Int, _ index: Int) -> String { String(image * 100 + index) }

    /// The ids of the objects that fit, `-` for none.
    private func ids(_ filter: SceneFilter, _ record: SceneRecord) -> String {
        let objects = record.scene.objects
        let found = objects.indices.filter { filter.matches(objects[$0]) }.map { objectID(record.image, $0) }
        return found.isEmpty ? "-" : found.joined(separator: ",")
    }

    /// The object that each noun of the question stands for, by the position of the word.
    private func mentions(_ question: SceneQuestion, _ text: String, _ record: SceneRecord) -> [JSON.Member] {
        let words = text.split { !$0.isLetter && !$0.isNumber }.map(String.init)
        var result: [JSON.Member] = []
        var filters = [question.first]
        switch question.kind {
        case .size, .position: filters.append(question.second)
        default: break
        }
        for filter in filters {
            let found = ids(filter, record)
            guard found != "-", !found.contains(","), let noun = filter.noun.split(separator: " ").last,
                let position = words.firstIndex(of: String(noun))
            else { continue }
            result.append(JSON.Member(String(position), .string(found)))
        }
        return result
    }

    // MARK: Scene graphs

    private func graph(_ record: SceneRecord) -> JSON {
        let objects = record.scene.objects
        let members = objects.enumerated().map { index, object -> JSON.Member in
            func pixels(_ length: Int) -> Int { length * size / 1024 }
            let relations = objects.enumerated().flatMap { other, target in
                SceneQuestion.Side.allCases.filter { SceneQuestion.isOn($0, object, target) }.map {
                    side -> JSON in
                    ["name": .string(side.phrase), "object": .string(objectID(record.image, other))]
                }
            }
            let attributes = [
                object.size.rawValue, object.texture.rawValue, object.color.rawValue,
            ]
            return JSON.Member(
                objectID(record.image, index),
                [
                    "name": .string(object.shape.rawValue), "x": .integer(pixels(object.x - object.radius)),
                    "y": .integer(pixels(object.y - object.radius)), "w": .integer(pixels(2 * object.radius)),
                    "h": .integer(pixels(2 * object.radius)),
                    "attributes": .array(attributes.map { .string($0) }), "relations": .array(relations),
                ])
        }
        return ["width": .integer(size), "height": .integer(size), "objects": .object(members)]
    }
}
