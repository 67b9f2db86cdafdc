import Foundation
import Support
import Tasks
import Testing

@Suite("Damaged captions, conversations and Arrow tables")
struct CaptionRobustnessTests {
    private func mutate(_ original: [UInt8], seed: Int, _ read: (String) throws -> Void) throws {
        try withFolder { folder in
            let path = "\(folder)/file.token"
            try TasksTests.mutate(original, at: path, seed: seed, milliseconds: 300) { try read(path) }
        }
    }

    private func mutate(_ text: String, seed: Int, _ task: any VQATask, split: String? = nil) throws {
        try mutate(Array(text.utf8), seed: seed) { path in
            let files = TaskFiles(questions: path, images: "/nowhere")
            _ = validate(task, files: files, split: split).lines
            _ = try task.load(TaskFiles(questions: path), split: split)
        }
    }

    @Test("mutated caption and conversation files never trap")
    func texts() throws {
        try mutate(
            """
            {"images": [{"id": 1, "file_name": "a.jpg", "domain": "in"}], "annotations": [{"image_id": 1, "caption": "é \\u00e9"}]}
            """, seed: 1, COCOCaptions())
        try mutate(
            """
            {"images": [{"filepath": "v", "filename": "x.jpg", "cocoid": 3, "split": "test", "sentences": [{"raw": "A"}]}]}
            """, seed: 2, COCOKarpathy(), split: "test")
        try mutate("1.jpg#0\tTwo men .\n1.jpg#1\tMen\n2.jpg#0\té\n", seed: 3, Flickr30k(), split: "all")
        try mutate("a cat\thttp://a.b/c\né\thttp://a.b/d\n", seed: 4, ConceptualCaptions())
        try mutate(
            """
            [{"id": "1", "image": ["a"], "conversations": [{"from": "human", "value": "<image>\\nq"}, {"from": "gpt", "value": "a"},
            {"from": "vuser", "value": "b"}, {"from": "gpt", "value": "c"}]}, {"id": 2, "conversations": []}]
            """, seed: 5, LLaVAConversations())
        let results = Array(#"[{"image_id": 1, "caption": "a"}, {"image_id": "b", "caption": "c"}]"#.utf8)
        try mutate(results, seed: 6) { _ = try readPredictions($0) }
    }

    @Test(
        "mutated Arrow files and streams never trap",
        arguments: ["vqav2_train", "vqav2_test", "snli_ve_dev", "stream", "lz4"])
    func tables(_ name: String) throws {
        let bytes = try readFile(fixture("arrow/\(name).arrow"), limit: 1 << 20)
        try withFolder { images in
            try mutate(bytes, seed: 7) { path in
                let files = TaskFiles(questions: path, images: images)
                _ = validate(ViLTTables(), files: files, split: nil).lines
                _ = try ViLTTables().load(TaskFiles(questions: path), split: nil)
            }
        }
    }

    @Test("any text is tokenised")
    func anyText() {
        let tokenizer = CaptionTokenizer()
        var random = CounterRandom(seed: 8, sample: 0, purpose: "caption mutations")
        let end = ContinuousClock.now + mutationTime(milliseconds: 300)
        let parts = [
            "&apos;", "&", "<a ", "\"", "'", "n't", ".", "-", "1", "é", "\u{AD}", "\u{1F600}", "\u{0}", " ",
            "http://", "@", "\n",
        ]
        while ContinuousClock.now < end {
            let text = (0..<40).map { _ in
                Bool.random(using: &random)
                    ? parts.randomElement(using: &random) ?? ""
                    : String(
                        UnicodeScalar(UInt16.random(in: 0...0xD7FF, using: &random)).map(Character.init)
                            ?? " ")
            }.joined()
            #expect(tokenizer.tokens(of: text).allSatisfy { !$0.isEmpty && !$0.contains(" ") })
        }
    }
}
