import Foundation
import Support
import Testing

@Suite(.enabled(if: Program.hasEngine, "needs `make setup`")) struct GenerateTests {
    @Test(
        "greedy search and beams give the reference's tokens, with and without images and template",
        arguments: GoldenFolder.names)
    func tokens(_ name: String) throws {
        let golden = try GoldenFolder(name)
        for prompt in golden.cases {
            for wanted in prompt.outputs {
                let beams = try #require(wanted["options"]?["num_beams"]?.integer)
                let penalty = wanted["options"]?["length_penalty"]?.double ?? 1
                let outcome = try Program.run(
                    ["generate", "--model", golden.path, "--dtype", "float32", "--max-new-tokens", "9"]
                        + ["--beams", "\(beams)", "--length-penalty", "\(penalty)"]
                        + (prompt.isChat ? ["--chat"] : []) + prompt.arguments)
                try #require(outcome.code == 0, "\(outcome.errors)")
                let json = try outcome.json()
                #expect(json.members?.map(\.key) == ["ids", "text"])
                #expect(json["ids"] == wanted["ids"], "\(name), \(beams) beams: \(prompt.text)")
                #expect(json["text"] == wanted["text"])
            }
        }
    }

    @Test("a streamed text is the whole text") func stream() throws {
        let golden = try GoldenFolder("qwen2")
        let prompt = try #require(golden.cases.first)
        let command = ["generate", "--model", golden.path, "--max-new-tokens", "9"] + prompt.arguments
        let streamed = try Program.run(command + ["--stream"])
        #expect(streamed.code == 0)
        #expect(try streamed.output == Program.run(command).json()["text"]?.string.map { $0 + "\n" })
    }

    @Test("bad prompts, images and options are one line") func badInput() throws {
        let (qwen, llava) = (Program.fixture("Folders/qwen2"), Program.fixture("Folders/llava"))
        let image = Program.fixture("Folders/images/small.png")
        func fails(_ model: String, _ prompt: String, _ more: String...) throws -> String {
            try Program.fails(["generate", "--model", model, "--prompt", prompt] + more)
        }
        #expect(try fails(llava, "<image> a").contains("marks 1 image with <image>, 0 were given"))
        #expect(try fails(llava, "a", "--image", image).contains("marks 0 images"))
        #expect(try fails(qwen, "a", "--image", image).contains("reads text only"))
        #expect(try fails(llava, "<image>", "--image", "none.png").contains("none.png"))
        #expect(try fails(llava, "<image>", "--image", llava + "/config.json").contains("not an image"))
        #expect(try fails(qwen, String(repeating: "what ", count: 600)).contains("context has 512"))
        #expect(try fails(qwen, "").contains("no tokens"))
        #expect(try fails(qwen, "a", "--dtype", "foo").contains("--dtype foo"))
        #expect(try fails(qwen, "a", "--beams", "0").contains("num_beams"))
        #expect(try fails(qwen, "a", "--max-new-tokens", "0").contains("max_new_tokens"))
        #expect(try fails(qwen + "/none", "a").contains("no file or folder"))
    }

    /// What is done to a copy of the folder, and what the line must say.
    enum Damage: String, CaseIterable {
        case unknownType = "lama is not one of"
        case noTokenizer = "it has no tokenizer.json"
        case largeTokenizer = "the tokenizer has 2701 tokens, the embedding 704"
        case cutWeights = "truncated"
        case loopingTemplate = "steps"

        func apply(_ model: String) throws {
            func edit(_ name: String, _ old: String, _ new: String) throws {
                let path = "\(model)/\(name)"
                let text = String(decoding: try readFile(path, limit: 1 << 20), as: UTF8.self)
                try #require(text.contains(old))
                try writeFile(text.replacingOccurrences(of: old, with: new), to: path)
            }
            switch self {
            case .unknownType: try edit("config.json", "\"model_type\":\"qwen2\"", "\"model_type\":\"lama\"")
            case .noTokenizer: try FileManager.default.removeItem(atPath: "\(model)/tokenizer.json")
            case .largeTokenizer:
                let more = (701..<2701).map {
                    "{\"id\":\($0),\"content\":\"<x\($0)>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                        + "\"normalized\":false,\"special\":false},"
                }
                try edit("tokenizer.json", "\"added_tokens\":[", "\"added_tokens\":[" + more.joined())
            case .cutWeights:
                let bytes = try readFile("\(model)/model.safetensors", limit: 1 << 20)
                try Data(bytes.dropLast(100)).write(to: URL(filePath: "\(model)/model.safetensors"))
            case .loopingTemplate:
                try writeFile(
                    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
                    to: "\(model)/chat_template.jinja")
            }
        }
    }

    @Test("a damaged folder is one line", arguments: Damage.allCases) func damage(_ damage: Damage) throws {
        let folder = try TemporaryFolder()
        let model = try GoldenFolder("qwen2").copied(into: folder)
        try damage.apply(model)
        let line = try Program.fails(["generate", "--model", model, "--prompt", "a", "--chat"])
        #expect(line.contains(damage.rawValue), "\(line)")
    }

    @Test("a cut GGUF file is one line") func cutGGUF() throws {
        let folder = try TemporaryFolder()
        let whole = try readFile(Program.fixture("Checkpoints/gguf/llama.gguf"), limit: 1 << 24)
        for size in [3, 20, 200, whole.count - 64] {
            let path = try folder.write("cut.gguf", Array(whole.prefix(size)))
            let line = try Program.fails(["generate", "--model", path, "--prompt", "a"])
            #expect(line.contains("cut.gguf"), "\(line)")
        }
    }

    @Test("Ctrl-C ends a long generation soon, with what was made") func interrupt() throws {
        let process = Process()
        process.executableURL = URL(filePath: try Program.path())
        process.arguments = [
            "generate", "--model", Program.fixture("Folders/t5"), "--prompt", "a", "--stream",
            "--max-new-tokens", "30000", "--min-new-tokens", "30000",
        ]
        process.currentDirectoryURL = Program.root
        let (output, errors) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        // The first piece of text: it generates.
        let first = output.fileHandleForReading.availableData
        #expect(!first.isEmpty)
        let clock = ContinuousClock()
        let start = clock.now
        kill(process.processIdentifier, SIGINT)
        let rest = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        #expect(clock.now - start < .seconds(10))
        #expect(process.terminationReason == .exit)
        #expect(rest.last == 10)
        #expect(errors.fileHandleForReading.readDataToEndOfFile().isEmpty)
    }
}
