import Support

/// The files of A-OKVQA (github.com/allenai/aokvqa): `aokvqa_v1p0_<split>.json` and COCO 2017 image names.
///
/// `aokvqa_v1p0_test.json` lacks the answers, as the official one does; `aokvqa_v1p0_test_answers.json` has them too.
struct AOKVQAScenes: SceneWriter {
    let seed: Int
    let folder: String
    private var records: SceneFile?
    private var hidden: SceneFile?

    init(seed: Int, folder: String) { (self.seed, self.folder) = (seed, folder) }

    func imagePath(_ image: Int, _ split: SceneSplit) -> String { "\(split)2017/\(paddedImageID(image)).jpg" }

    mutating func begin(_ split: SceneSplit, images: Range<Int>) throws {
        func file(_ name: String) throws -> SceneFile {
            try SceneFile("\(folder)/aokvqa_v1p0_\(name).json", head: "[", tail: "\n]\n")
        }
        records = try file(split == .test ? "test_answers" : split.rawValue)
        hidden = split == .test ? try file("test") : nil
    }

    mutating func add(_ record: SceneRecord) throws {
        for (index, asked) in record.asked.enumerated() {
            let id = record.questionID(index)
            let (choices, correct) = SceneAnnotators.choices(for: asked, seed: seed, question: id)
            let answers = SceneAnnotators.answers(to: asked, seed: seed, question: id).map(\.text)
            func strings(_ texts: [String]) -> JSON { .array(texts.map { .string($0) }) }
            let open: [JSON.Member] = [
                JSON.Member("split", .string(record.split.rawValue)),
                JSON.Member("image_id", .integer(record.image)),
                JSON.Member("question_id", .string(Self.questionID(id, seed: seed))),
                JSON.Member("question", .string(asked.text)), JSON.Member("choices", strings(choices)),
            ]
            // Here it is never hard to agree: seven of ten give the right answer at least.
            let difficult = JSON.Member("difficult_direct_answer", false)
            try hidden?.add(.object(open + [difficult]))
            try records?.add(
                .object(
                    open + [
                        JSON.Member("correct_choice_idx", .integer(correct)),
                        JSON.Member("direct_answers", strings(answers)), difficult,
                        JSON.Member("rationales", strings(record.scene.rationales(for: asked))),
                    ]))
        }
    }

    /// 22 letters and digits, as the official ids are.
    private static func questionID(_ id: Int, seed: Int) -> String {
        let letters = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
        var random = CounterRandom(seed: seed, sample: id, purpose: "scene question id")
        return String((0..<22).map { _ in random.one(of: letters) })
    }

    mutating func end() throws {
        for file in [records, hidden] { try file?.finish() }
    }
}
