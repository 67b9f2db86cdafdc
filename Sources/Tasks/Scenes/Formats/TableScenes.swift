import Support

/// CSV files `<split>.csv` for the task `table`, with ten answers, choices and a reason.
struct TableScenes: SceneWriter {
    let seed: Int
    let folder: String
    private var rows: SceneFile?

    init(seed: Int, folder: String) { (self.seed, self.folder) = (seed, folder) }

    func imagePath(_ image: Int, _ split: SceneSplit) -> String {
        "images/\(split)/\(paddedImageID(image)).png"
    }

    mutating func begin(_ split: SceneSplit, images: Range<Int>) throws {
        let columns = "question_id,image,question,answers,question_type,answer_type,split,choices,rationale\n"
        rows = try SceneFile("\(folder)/\(split).csv", head: columns, tail: "")
    }

    mutating func add(_ record: SceneRecord) throws {
        for (index, asked) in record.asked.enumerated() {
            let id = record.questionID(index)
            let cells = [
                String(id), record.path, asked.text,
                SceneAnnotators.answers(to: asked, seed: seed, question: id).map(\.text).joined(
                    separator: "|"),
                asked.type, asked.answerType, record.split.rawValue,
                SceneAnnotators.choices(for: asked, seed: seed, question: id).choices.joined(separator: "|"),
                record.scene.rationales(for: asked)[0],
            ]
            try rows?.addText(cells.map(Self.quoted).joined(separator: ",") + "\n")
        }
    }

    private static func quoted(_ cell: String) -> String {
        guard cell.contains(where: { $0 == "," || $0 == "\"" || $0.isNewline }) else { return cell }
        return "\"" + cell.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"")
            + "\""
    }

    mutating func end() throws { try rows?.finish() }
}
