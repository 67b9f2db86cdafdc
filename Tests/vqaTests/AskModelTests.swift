import Foundation
import Support
import Testing

@Suite(.enabled(if: Program.hasEngine, "needs `make setup`")) struct AskModelTests {
    private let model = Program.fixture("Folders/llava")
    private let image = Program.fixture("Folders/images/wide.png")

    @Test("a question is asked by the model's template, and its answer is one line") func ask() throws {
        let golden = try GoldenFolder("llava")
        let turn = try #require(golden.cases.first { $0.isChat && !$0.images.isEmpty })
        let wanted = try #require(turn.outputs.first?["text"]?.string)
        let command = [
            "ask", image, turn.text, "--model", model, "--dtype", "float32", "--max-new-tokens", "9",
        ]
        let json = try Program.run(command + ["--json"]).json()
        #expect(json["question"]?.string == turn.text)
        #expect(json["image"]?.string == image)
        let answer = try #require(json["answer"]?.string)
        #expect(answer == oneLine(wanted).trimmingCharacters(in: .whitespaces))
        #expect(try Program.run(command).output == answer + "\n")
    }

    @Test("a caption is the answer to an instruction") func caption() throws {
        let words = "what colour is the shape?"
        let common = ["--model", model, "--max-new-tokens", "5"]
        let caption = try Program.run(["caption", image, "--instruction", words, "--json"] + common).json()
        let answer = try Program.run(["ask", image, words, "--json"] + common).json()
        #expect(caption["caption"]?.string?.isEmpty == false)
        #expect(caption["caption"] == answer["answer"])
    }

    @Test("what cannot be asked is one line") func refusals() throws {
        let text = Program.fixture("Folders/qwen2")
        #expect(try Program.fails(["ask", image, "a?", "--model", text]).contains("reads text only"))
        #expect(try Program.fails(["caption", image, "--model", text]).contains("reads text only"))
        #expect(try Program.fails(["ask", "none.png", "a?", "--model", model]).contains("none.png"))
        #expect(try Program.fails(["ask", image, "a?", "--model", "no-model"]).contains("no-model"))
        #expect(try Program.fails(["caption", image, "--model", model, "--dtype", "foo"]).contains("foo"))
    }
}

@Suite(.enabled(if: Program.hasEngine, "needs `make setup`")) struct ValidateLanguageModelTests {
    private func checks(_ path: String, code: Int32 = 0) throws -> [JSON] {
        let outcome = try Program.run(["validate", "model", path, "--json"])
        #expect(outcome.code == code, "\(outcome.output)\(outcome.errors)")
        let json = try outcome.json()
        #expect(json["ok"]?.bool == (code == 0))
        return try #require(json["checks"]?.array)
    }

    @Test(
        "folders of language and joined models are held against their architecture",
        arguments: GoldenFolder.names)
    func good(_ name: String) throws {
        let checks = try checks(Program.fixture("Folders/\(name)"))
        let names = Set(checks.compactMap { $0["name"]?.string })
        #expect(names.isSuperset(of: ["config.json", "weights", "architecture", "tokenizer"]))
        #expect(names.contains("images") == (name == "llava"))
        #expect(checks.allSatisfy { $0["grade"]?.string == "ok" })
    }

    @Test(
        "every damage is found", arguments: [GenerateTests.Damage.noTokenizer, .largeTokenizer, .cutWeights])
    func damaged(_ damage: GenerateTests.Damage) throws {
        let folder = try TemporaryFolder()
        let model = try GoldenFolder("qwen2").copied(into: folder)
        try damage.apply(model)
        #expect(try checks(model, code: 2).contains { $0["grade"]?.string == "error" })
    }

    @Test("weights of another size are named") func otherSize() throws {
        let folder = try TemporaryFolder()
        let model = try GoldenFolder("llava").copied(into: folder)
        let path = model + "/config.json"
        let text = String(decoding: try readFile(path, limit: 1 << 20), as: UTF8.self)
        let parts = text.split(separator: "\"intermediate_size\":47", omittingEmptySubsequences: false)
        try #require(parts.count == 2)
        try writeFile(parts.joined(separator: "\"intermediate_size\":48"), to: path)
        let bad = try checks(model, code: 2).filter { $0["grade"]?.string == "error" }
        #expect(bad.contains { $0["text"]?.string?.contains("mlp.") == true }, "\(bad)")
    }

    @Test("GGUF files too, whole and cut") func gguf() throws {
        let path = Program.fixture("Checkpoints/gguf/types.gguf")
        let report = try Program.run(["inspect", path, "--json"]).json()
        #expect(report["kind"]?.string == "GGUF file")
        #expect(report["tensors"]?.array?.count == report["tensor_count"]?.integer)
        let folder = try TemporaryFolder()
        let cut = try folder.write("cut.gguf", Array(try readFile(path, limit: 1 << 24).dropLast(64)))
        #expect(try Program.fails(["inspect", cut]).contains("cut.gguf"))
        #expect(try checks(cut, code: 2).contains { $0["grade"]?.string == "error" })
    }

    @Test("inspect shows the parts of a joined model") func inspectParts() throws {
        let report = try Program.run(["inspect", Program.fixture("Folders/llava"), "--json"]).json()
        #expect(report["architecture"]?["model_type"]?.string == "llava")
        #expect(report["text_sizes"]?["intermediate_size"]?.integer == 47)
        #expect(report["vision_sizes"]?["image_size"]?.integer == 28)
        #expect(report["image_processor"]?.string == "processor_config.json")
    }
}
