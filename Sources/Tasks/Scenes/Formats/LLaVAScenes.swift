import Support

/// The records of LLaVA: `llava_<split>.json`, a list of `id`, `image`, `conversations`. Each image has one dialogue: its
/// questions with short answers, then a request for a description and the description.
struct LLaVAScenes: SceneWriter {
    let folder: String
    private var records: SceneFile?

    init(folder: String) { self.folder = folder }

    func imagePath(_ image: Int, _ split: SceneSplit) -> String {
        "images/\(split)/\(paddedImageID(image)).png"
    }

    mutating func begin(_ split: SceneSplit, images: Range<Int>) throws {
        records = try SceneFile("\(folder)/llava_\(split).json", head: "[", tail: "\n]\n")
    }

    mutating func add(_ record: SceneRecord) throws {
        var turns: [JSON] = []
        func say(_ speaker: String, _ text: String) {
            turns.append(["from": .string(speaker), "value": .string(text)])
        }
        for (index, asked) in record.asked.enumerated() {
            // The image and the wish for short answers stand in the first turn only, as in LLaVA's mixture.
            say(
                "human",
                index == 0
                    ? "<image>\n\(asked.text)\nAnswer the question using a single word or phrase."
                    : asked.text)
            say("gpt", asked.answer)
        }
        say("human", (record.asked.isEmpty ? "<image>\n" : "") + "Describe the image in detail.")
        say("gpt", record.scene.detail())
        try records?.add([
            "id": .string(paddedImageID(record.image)), "image": .string(record.path),
            "conversations": .array(turns),
        ])
    }

    mutating func end() throws { try records?.finish() }
}
