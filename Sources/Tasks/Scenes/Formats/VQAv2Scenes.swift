import Support

/// The files of VQA v2 (visualqa.org): questions, annotations with ten answers, complementary pairs.
///
/// The test set of the challenge has no annotations; here they are written all the same, for scoring.
struct VQAv2Scenes: SceneWriter {
    let seed: Int
    let folder: String
    private var questions: SceneFile?
    private var annotations: SceneFile?
    private var pairs: SceneFile?
    private var group = 0
    /// The questions of this group by their text, in the order of the texts.
    private var texts: [String] = []
    private var sharing: [String: [(id: Int, answer: String)]] = [:]

    init(seed: Int, folder: String) { (self.seed, self.folder) = (seed, folder) }

    private static func set(_ split: SceneSplit) -> String {
        split == .test ? "test2015" : "\(split)2014"
    }

    func imagePath(_ image: Int, _ split: SceneSplit) -> String {
        "\(Self.set(split))/COCO_\(Self.set(split))_\(paddedImageID(image)).jpg"
    }

    mutating func begin(_ split: SceneSplit, images: Range<Int>) throws {
        let set = Self.set(split)
        let common = """
            "info":{"description":"Made-up scenes in the format of VQA v2","version":"1.0"},\
            "license":{"name":"none needed: drawn by a program"},"data_type":"mscoco","data_subtype":"\(set)"
            """
        questions = try SceneFile(
            "\(folder)/v2_OpenEnded_mscoco_\(set)_questions.json",
            head: "{\(common),\"task_type\":\"Open-Ended\",\"questions\":[", tail: "\n]}\n")
        annotations = try SceneFile(
            "\(folder)/v2_mscoco_\(set)_annotations.json", head: "{\(common),\"annotations\":[",
            tail: "\n]}\n")
        pairs = try SceneFile(
            "\(folder)/v2_mscoco_\(set)_complementary_pairs.json", head: "[", tail: "\n]\n")
    }

    mutating func add(_ record: SceneRecord) throws {
        if record.group != group { try writePairs() }
        group = record.group
        for (index, asked) in record.asked.enumerated() {
            let id = record.questionID(index)
            try questions?.add([
                "image_id": .integer(record.image), "question": .string(asked.text),
                "question_id": .integer(id),
            ])
            let answers = SceneAnnotators.answers(to: asked, seed: seed, question: id)
            let list = answers.enumerated().map { number, answer -> JSON in
                [
                    "answer": .string(answer.text), "answer_confidence": .string(answer.confidence),
                    "answer_id": .integer(number + 1),
                ]
            }
            try annotations?.add([
                "question_type": .string(Self.questionType(asked)),
                "multiple_choice_answer": .string(asked.answer),
                "answers": .array(list), "image_id": .integer(record.image),
                "answer_type": .string(asked.answerType), "question_id": .integer(id),
            ])
            if sharing[asked.text] == nil { texts.append(asked.text) }
            sharing[asked.text, default: []].append((id, asked.answer))
        }
    }

    /// Pairs the questions of a group that have one text and different answers. Sorted by answers, of which none is more
    /// frequent than another, the first half has no answer at the place where the second half has it.
    private mutating func writePairs() throws {
        for text in texts {
            let questions = (sharing[text] ?? []).sorted { ($0.answer, $0.id) < ($1.answer, $1.id) }
            let half = questions.count / 2
            for (one, other) in zip(questions.prefix(half), questions.dropFirst(half)) {
                try pairs?.add([.integer(one.id), .integer(other.id)])
            }
        }
        (texts, sharing) = ([], [:])
    }

    mutating func end() throws {
        try writePairs()
        for file in [questions, annotations, pairs] { try file?.finish() }
    }

    /// The class by the question's first words, from the challenge's own list of them.
    private static func questionType(_ asked: SceneAsked) -> String {
        let known = ["how many", "what color is the", "is there a", "are there", "is the", "what"]
        return known.first { asked.text.lowercased().hasPrefix($0) } ?? "none of the above"
    }
}
