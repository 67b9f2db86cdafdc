import Support
import Testing

@Suite struct ValidateDataTests {
    @Test("good data: a summary for each file of questions, exit code 0") func good() throws {
        let folder = try TemporaryFolder()
        try folder.easyVQA()
        let outcome = try Program.run(["validate", "data", "--task", "easy-vqa", "--data", folder.path])
        #expect(outcome.code == 0)
        #expect(outcome.output.contains("no problems"))
        let reports = try Program.run([
            "validate", "data", "--task", "easy-vqa", "--data", folder.path, "--json",
        ]).json()
        #expect(reports.array?.map { $0["split"]?.string } == ["train", "test"])
        #expect(
            reports.array?.allSatisfy { $0["decoded"]?.integer == 1 && $0["fatal"]?.bool == false } == true)
    }

    @Test("every fault is found, exit code 2") func faults() throws {
        let folder = try TemporaryFolder()
        try folder.easyVQA()
        _ = try folder.write("train/images/0.png", "no image")
        _ = try folder.write(
            "train/questions.json", "[[\"a?\", \"red\", 0], [\"b?\", \"mauve\", 0], [\"c?\", \"red\", 7]]")
        let command = ["validate", "data", "--task", "easy-vqa", "--data", folder.path, "--split", "train"]
        let outcome = try Program.run(command)
        #expect(outcome.code == 2)
        #expect(outcome.errors.isEmpty)
        for word in ["does not decode", "mauve", "7.png", "record 3"] {
            #expect(outcome.output.contains(word), "\(word)")
        }
        let json = try Program.run(command + ["--json"])
        #expect(json.code == 2)
        #expect(try json.json().array?.first?["fatal"]?.bool == true)
    }

    @Test("files one by one") func files() throws {
        let outcome = try Program.run([
            "validate", "data", "--task", "vqav2", "--questions", Program.fixture("Tasks/questions.json"),
            "--annotations",
            Program.fixture("Tasks/annotations.json"),
        ])
        #expect(outcome.code == 0, "\(outcome.output)")
        #expect(outcome.output.contains("200 questions"))
    }

    @Test("support beside queries is looked at; drawn answers are refused")
    func demonstrations() throws {
        let folder = try TemporaryFolder()
        _ = try folder.write(
            "open_t2i_mi/query.json",
            """
            [{"id": "q", "question": "Generate a dax", "answer": "lion", "task_label": "dax", "classes": ["dax"],
            "support": {"dax": {"images": ["open_t2i_mi/support/dax0.jpg"]}}}]
            """)
        let outcome = try Program.run(["validate", "data", "--task", "vl-icl", "--data", folder.path])
        #expect(outcome.code == 2 && outcome.output.contains("support/dax0.jpg"), "\(outcome.output)")
        let refused = try Program.fails([
            "train", folder.write("a.yaml", "task: vl-icl\nmethod: dvp\n"), "data_root=\(folder.path)",
            "train_split=open_t2i_mi", "test_split=open_t2i_mi",
        ])
        #expect(refused.contains("the answers are images"), "\(refused)")
    }

    @Test("truncated JSON is a fault of the data") func truncated() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("questions.json", "{\"questions\": [{\"question_id\": 1,")
        let outcome = try Program.run(["validate", "data", "--task", "vqav2", "--questions", path])
        #expect(outcome.code == 2)
        #expect(outcome.output.contains(path))
    }

    @Test("what cannot be looked at is one line") func refused() throws {
        let folder = try TemporaryFolder()
        #expect(
            try Program.fails(["validate", "data", "--task", "easyvqq", "--data", "r"]).contains(
                "did you mean"))
        _ = try Program.fails(["validate", "data", "--task", "easy-vqa", "--data", folder.path])
        _ = try Program.fails(["validate", "data", "--task", "easy-vqa", "--data", folder.path + "/none"])
        #expect(
            try Program.fails([
                "validate", "data", "--task", "easy-vqa", "--data", folder.path, "--split", "tset",
            ])
            .contains("'test'"))
        _ = try Program.fails(["validate", "data", "--task", "vqav2"])
    }
}

@Suite struct ValidateModelTests {
    @Test(
        "the embedded models are good", .enabled(if: Program.hasEngine, "needs make setup"),
        arguments: ["minilm", "efficientnet-lite0"])
    func good(_ name: String) throws {
        let outcome = try Program.run(["validate", "model", name])
        #expect(outcome.code == 0, "\(outcome.output)\(outcome.errors)")
        let json = try Program.run(["validate", "model", name, "--json"]).json()
        #expect(json["ok"]?.bool == true)
        #expect(json["checks"]?.array?.allSatisfy { $0["grade"]?.string == "ok" } == true)
    }

    @Test("every wrong part is found, exit code 2", .enabled(if: Program.hasEngine, "needs make setup"))
    func faults() throws {
        let folder = try TemporaryFolder()
        _ = try folder.layers("model.safetensors", count: 2)
        _ = try folder.write(
            "config.json", "{\"model_type\":\"bert\",\"hidden_size\":12,\"num_hidden_layers\":1}")
        let outcome = try Program.run(["validate", "model", folder.path])
        #expect(outcome.code == 2)
        for word in [
            "tokenizer", "missing", "embeddings.word_embeddings.weight", "unused", "layer.0.weight", "more",
        ] {
            #expect(outcome.output.contains(word), "\(word)")
        }
        #expect(try Program.run(["validate", "model", folder.path, "--json"]).json()["ok"]?.bool == false)
    }

    @Test(
        "a configuration of absurd size is refused at once",
        .enabled(if: Program.hasEngine, "needs make setup"))
    func absurd() throws {
        let folder = try TemporaryFolder()
        _ = try folder.layers("model.safetensors", count: 2)
        _ = try folder.write("config.json", "{\"model_type\":\"bert\",\"num_hidden_layers\":16000000}")
        let outcome = try Program.run(["validate", "model", folder.path])
        #expect(outcome.code == 2)
        #expect(outcome.output.contains("16000000 layers"))
    }

    @Test("unknown architectures, empty folders and damaged files, exit code 2") func unknown() throws {
        let folder = try TemporaryFolder()
        #expect(try Program.run(["validate", "model", folder.path]).code == 2)
        _ = try folder.write("config.json", "{\"model_type\":\"gpt2\"}")
        #expect(try Program.run(["validate", "model", folder.path]).output.contains("gpt2"))
        _ = try folder.write("config.json", "{\"model_type\":")
        #expect(try Program.run(["validate", "model", folder.path]).code == 2)
        #expect(try Program.run(["validate", "model", Program.fixture("Checkpoints/types.pt")]).code == 2)
        _ = try Program.fails(["validate", "model", folder.path + "/none"])
    }

    @Test("without libtorch it says so, exit code 1", .enabled(if: Program.hasModels, "needs make setup"))
    func noEngine() throws {
        let error = try Program.fails(
            ["validate", "model", "minilm"], code: 1, environment: ["VQA_ENGINE": "/none.so"])
        #expect(error.contains("make setup"))
    }
}
