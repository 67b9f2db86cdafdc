import Support
import Testing

@Suite struct InspectTests {
    private func inspect(_ path: String, _ kind: String) throws -> JSON {
        let text = try Program.run(["inspect", path])
        #expect(text.code == 0, "\(text.errors)")
        #expect(text.errors.isEmpty)
        #expect(text.output.hasPrefix("\(path): \(kind)\n"))
        let json = try Program.run(["inspect", path, "--json"]).json()
        #expect(json["kind"]?.string == kind)
        #expect(json["path"]?.string == path)
        return json
    }

    @Test("checkpoints of every format", arguments: ["types.safetensors", "types.pt", "types.legacy.pt"])
    func checkpoint(_ name: String) throws {
        let json = try inspect(Program.fixture("Checkpoints/\(name)"), "checkpoint")
        let tensors = try #require(json["tensors"]?.array)
        #expect(tensors.count == json["tensor_count"]?.integer)
        #expect(
            tensors.allSatisfy {
                $0["name"]?.string != nil && $0["dtype"]?.string != nil && $0["shape"]?.array != nil
            })
    }

    @Test("layers share a line, unless all are wanted") func folding() throws {
        let folder = try TemporaryFolder()
        let path = try folder.layers("model.safetensors", count: 3)
        let folded = try Program.run(["inspect", path]).output
        #expect(folded.contains("layer.*.weight"))
        #expect(folded.contains("3 ×"))
        let all = try Program.run(["inspect", path, "--all"]).output
        #expect(!all.contains("*"))
        #expect(all.contains("layer.2.weight"))
    }

    @Test("a model's folder") func model() throws {
        let folder = try TemporaryFolder()
        _ = try folder.layers("model.safetensors", count: 1)
        _ = try folder.write(
            "config.json", "{\"model_type\":\"bert\",\"architectures\":[\"BertModel\"],\"hidden_size\":2}")
        let json = try inspect(folder.path, "model")
        #expect(json["architecture"]?["model_type"]?.string == "bert")
        #expect(json["sizes"]?["hidden_size"]?.integer == 2)
        #expect(json["tensor_count"]?.integer == 1)
    }

    @Test("an adapter's folder") func adapter() throws {
        let folder = try TemporaryFolder()
        _ = try folder.layers("adapter_model.safetensors", count: 2)
        _ = try folder.write(
            "adapter_config.json", "{\"peft_type\":\"LORA\",\"r\":8,\"target_modules\":[\"q\",\"v\"]}")
        let json = try inspect(folder.path, "adapter")
        #expect(json["config"]?["peft_type"]?.string == "LORA")
        #expect(try Program.run(["inspect", folder.path]).output.contains("target_modules  q, v"))
    }

    @Test("a run's folder, finished or hardly begun") func run() throws {
        let folder = try TemporaryFolder()
        _ = try folder.write("config.yaml", "method: dvp\n")
        _ = try folder.write("metrics.jsonl", "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":1.25}\n{\"ste")
        var json = try inspect(folder.path, "run")
        #expect(json["step"]?.integer == 2)
        #expect(json["loss"]?.double == 1.25)
        try makeFolder(folder.path + "/checkpoints/step-20")
        _ = try folder.write("scores.json", "{\"overall\":97.5,\"n\":200,\"ci95\":[95.5,99.0]}")
        _ = try folder.write(
            "run.json",
            "{\"run_info\":{\"name\":\"r\",\"status\":\"finished\"},\"train_info\":{},\"meta_info\":{}}")
        json = try inspect(folder.path, "run")
        #expect(json["checkpoints"]?.array == [20])
        #expect(json["scores"]?["overall"]?.double == 97.5)
        #expect(
            try Program.run(["inspect", folder.path]).output.contains(
                "97.50 % (95 %: 95.50 to 99.00) on 200 questions"))
    }

    @Test("a data set's folder") func data() throws {
        let folder = try TemporaryFolder()
        try folder.easyVQA()
        let json = try inspect(folder.path, "data set")
        #expect(json["task"]?.string == "easy-vqa")
        #expect(json["splits"]?["train"]?["questions"]?.integer == 2)
        #expect(json["splits"]?["test"]?["images"]?.integer == 1)
    }

    @Test("an image") func image() throws {
        let folder = try TemporaryFolder()
        let path = try folder.image("dot.png")
        let json = try inspect(path, "image")
        #expect(json["format"]?.string == "PNG")
        #expect(json["width"]?.integer == 1)
        #expect(json["height"]?.integer == 1)
    }

    @Test("files of JSON") func json() throws {
        #expect(
            try inspect(Program.fixture("Tasks/questions.json"), "questions")["keys"]?.array?.isEmpty == false
        )
        _ = try inspect(Program.fixture("Tasks/annotations.json"), "annotations")
        #expect(
            try inspect(Program.fixture("Tasks/predictions.json"), "predictions")["records"]?.integer == 200)
        let tokenizer = try inspect(Program.fixture("Tokenizers/tokenizer.json"), "tokenizer")
        #expect(tokenizer["vocabulary_size"]?.integer != nil)
        let folder = try TemporaryFolder()
        let lines = "{\"question_id\":1,\"answer\":\"a\"}\n{\"question_id\":2,\"answer\":\"b\"}\n"
        #expect(try inspect(folder.write("p.jsonl", lines), "predictions")["records"]?.integer == 2)
    }

    @Test("what is damaged or unknown is one line that names it") func damaged() throws {
        let folder = try TemporaryFolder()
        let texts = [
            "cut.json": "{\"questions\": [", "empty": "", "words.txt": "hello", "cut.safetensors": "\u{8}",
            "cut.png": "\u{89}PNG", "tab.yaml": "a: [1",
            "lfs.bin": "version https://git-lfs.github.com/spec/v1\n",
            "page.safetensors": "<!DOCTYPE html><html></html>", "GGUF": "GGUF",
        ]
        for (name, text) in texts {
            let path = try folder.write(name, text)
            #expect(try Program.fails(["inspect", path]).contains(path), "\(name)")
        }
        #expect(try Program.fails(["inspect", folder.path]).contains(folder.path))
        #expect(try Program.fails(["inspect", folder.path + "/none"]).contains("/none"))
        _ = try folder.write("run/config.yaml", "a: 1\n")
        _ = try folder.write("run/run.json", "{\"run_info\":")
        _ = try Program.fails(["inspect", folder.path + "/run"])
        _ = try folder.write("adapter/adapter_config.json", "[]")
        _ = try Program.fails(["inspect", folder.path + "/adapter"])
    }

    @Test("the embedded models", .enabled(if: Program.hasModels, "needs make setup")) func embedded() throws {
        let minilm = try Program.run(["inspect", "minilm", "--json"]).json()
        #expect(minilm["architecture"]?["model_type"]?.string == "bert")
        #expect(minilm["tokenizer"]?["model"]?.string == "WordPiece")
        #expect(minilm["tensor_count"]?.integer == 104)
        let image = try Program.run(["inspect", "efficientnet-lite0", "--json"]).json()
        #expect(image["format"]?.string == "PyTorch legacy pickle")
    }
}
