import Methods
import Runs
import Support
import Tasks
import Testing
import TestWorld
import Training

/// Runs of DVP's ScienceQA program from configuration to answers.
@Suite(.serialized) struct ScienceQARunTests {
    private static func configuration(_ world: TinyWorld, _ overrides: [String]) throws
        -> TrainingConfiguration
    {
        try TrainingConfiguration(
            ConfigurationSource(yaml: world.scienceQAYaml, name: "tiny.yaml", overrides: overrides))
    }

    private static func train(
        _ world: TinyWorld, _ name: String, _ overrides: [String] = [], resume: Bool = false,
        stopAfter steps: Int? = nil
    ) throws -> TrainingRun.Outcome {
        var asked = 0
        return try TrainingRun(configuration(world, overrides)) { _ in }.run(
            resume: resume ? "\(world.folder)/\(name)" : nil,
            output: resume ? nil : "\(world.folder)/\(name)", command: ["vqa", "train"]
        ) {
            asked += 1
            return steps.map { asked > $0 } ?? false
        }
    }

    @Test("a run trains and tests, and its adapter answers the same", arguments: ["fixed", "released"])
    func wholeRun(_ preset: String) throws {
        let world = try TinyWorld(images: 4)
        defer { world.remove() }
        try world.writeScienceQA()
        let outcome = try Self.train(world, "run", ["preset=\(preset)", "validation_split=val"])
        #expect(outcome.finished && outcome.scores.count == 6)
        #expect(outcome.scores.groups.contains { $0.name == "per_image" })
        let adapter = outcome.folder + "/adapter"
        let config = try JSON(contentsOf: adapter + "/adapter_config.json")
        #expect(config["peft_type"]?.string == "DVP-SCIENCEQA")
        #expect(config["slot_mask"]?.string == (preset == "fixed" ? "copied" : "aliased"))
        var request = EvaluationRequest(task: "scienceqa", split: "test")
        (request.adapter, request.dataRoot) = (adapter, world.folder + "/scienceqa")
        (request.output, request.batchSize) = (world.folder + "/evaluation", 16)
        let again = try Evaluation(request).run(say: { _ in }, shouldStop: { false })
        #expect(again.scores?.overall == outcome.scores.overall)
        func answers(_ folder: String) throws -> [String] {
            try readJSONLines(folder + "/predictions.jsonl").map { $0.text() }
        }
        #expect(try answers(again.folder) == answers(outcome.folder))
        let said = try adapterAnswers(
            adapter, image: world.folder + "/scienceqa/images/train/0/image.png", question: "Which color?",
            choices: ["red", "green", "blue"])
        #expect(said.count == 1 && said[0].probability == nil)
    }

    @Test(
        "an adapter answers with the frozen weights kept as in training",
        arguments: [["precision=bfloat16"], ["frozen_format=int8"]])
    func frozenWeights(_ kept: [String]) throws {
        let world = try TinyWorld(images: 4)
        defer { world.remove() }
        try world.writeScienceQA()
        let outcome = try Self.train(world, "run", kept + ["answer_by=options", "max_epoch=1"])
        let config = try JSON(contentsOf: outcome.folder + "/adapter/adapter_config.json")
        let found = ["precision", "frozen_format"].compactMap { key in
            config[key]?.string.map { "\(key)=\($0)" }
        }
        #expect(found.count == 2 && found.contains(kept[0]))
        var request = EvaluationRequest(task: "scienceqa", split: "test")
        (request.adapter, request.output) = (outcome.folder + "/adapter", world.folder + "/evaluation")
        request.dataRoot = world.folder + "/scienceqa"
        let again = try Evaluation(request).run(say: { _ in }, shouldStop: { false })
        for folder in [again.folder, outcome.folder] {
            #expect(try readJSONLines(folder + "/predictions.jsonl").count == 6)
        }
        #expect(again.scores?.overall == outcome.scores.overall)
    }

    @Test("by options every answer is a letter; batches do not matter") func options() throws {
        let world = try TinyWorld(images: 4)
        defer { world.remove() }
        try world.writeScienceQA()
        let outcome = try Self.train(world, "run", ["answer_by=options", "max_epoch=1"])
        let letters = try readJSONLines(outcome.folder + "/predictions.jsonl").map { $0["answer"]?.string }
        #expect(letters.count == 6 && letters.allSatisfy { ["A", "B", "C"].contains($0) })
    }

    @Test("a run that was interrupted goes on to the same adapter") func resume() throws {
        let world = try TinyWorld(images: 4)
        defer { world.remove() }
        try world.writeScienceQA()
        let whole = try Self.train(world, "whole")
        // Fourteen images are read first.
        #expect(throws: VQAError.self) { try Self.train(world, "parts", stopAfter: 16) }
        let steps = try readJSONLines("\(world.folder)/parts/metrics.jsonl").count
        #expect(steps > 0 && steps < 4)
        let parts = try Self.train(world, "parts", resume: true)
        let bytes = try [whole, parts].map {
            try readFile($0.folder + "/adapter/adapter_model.safetensors", limit: 1 << 24)
        }
        #expect(bytes[0] == bytes[1])
        // Begin with it, and only test.
        let tested = try Self.train(
            world, "tested", ["test_only=true", "load_path=\(whole.folder)/adapter"])
        #expect(tested.scores.overall == whole.scores.overall)
    }

    @Test("the search compares the layers of the language model") func search() throws {
        let world = try TinyWorld(images: 4)
        defer { world.remove() }
        try world.writeScienceQA()
        let configuration = try Self.configuration(
            world, ["preset=released", "validation_split=val", "search_sample=3"])
        #expect(configuration.search.settings.stepSize == 10)
        let outcome = try PlacementSearch(configuration, file: "tiny.yaml") { _ in }.run(
            output: world.folder + "/search", command: ["vqa", "search"], shouldStop: { false })
        #expect(outcome.placement.percentByLayer.count == 3)
        #expect(outcome.placement.percentByLayer.values.allSatisfy { (0...100).contains($0) })
        #expect(outcome.placement.ranking.map(\.pulls).reduce(0, +) == 3 * 2)
    }

    @Test("what does not fit is one line each")
    func badInput() throws {
        let world = try TinyWorld(images: 4)
        defer { world.remove() }
        try world.writeScienceQA(problems: 8)
        func refusal(_ overrides: [String]) throws -> String {
            do {
                _ = try Self.train(world, "bad", overrides)
                return "no refusal"
            } catch {
                return "\(error)"
            }
        }
        for (overrides, part) in [
            (["vision_model=efficientnet-lite0"], "adapters inside a CLIP"),
            (["language_model=\(world.folder)/t5"], "not a decoder"),
            (["language_model=\(world.folder)/llama"], "no tokens that begin and end"),
            (["insert_layer=3"], "use 0 to 2"), (["prompt_format=ABC"], "QCM-ALE"),
            (["max_text_len=16"], "max_text_len"), (["adapter_dim=3"], "even"),
        ] {
            let line = try refusal(overrides)
            #expect(line.contains(part) && !line.contains("\n"), "\(overrides): \(line)")
        }
    }
}
