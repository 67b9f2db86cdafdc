import Methods
import Runs
import Support
import TestWorld
import Testing
import Training

/// Other language models than BERT, answers that are written, and the search, from configuration to adapter.
@Suite(.serialized) struct DVPFormsTests {
    /// A language model of the tiny world, and how it answers.
    struct Form: Sendable, CustomTestStringConvertible {
        let model: String
        let settings: [String]
        var testDescription: String { "\(model) \(settings.joined(separator: " "))" }
    }

    static let forms = [
        Form(model: "t5", settings: []), Form(model: "t5", settings: ["answers=write"]),
        Form(model: "t5", settings: ["preset=released", "use_adapter=true"]),
        Form(model: "llama", settings: []), Form(model: "llama", settings: ["answers=write"]),
        Form(model: "llama", settings: ["prompt_tokens=3", "answers=write"]),
        Form(model: "llama", settings: ["frozen_format=int8"]),
        Form(model: "bert", settings: ["prompt_tokens=2", "loss=one_answer"]),
    ]

    static func overrides(_ world: TinyWorld, _ form: Form) -> [String] {
        ["language_model=\(world.folder)/\(form.model)", "baselines=false", "prompt_width=12"] + form.settings
    }

    @Test(
        "a run adapts, is resumed to the same bytes, and its adapter answers as it was tested",
        arguments: forms)
    func whole(_ form: Form) throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let settings = Self.overrides(world, form)
        let whole = try world.train("whole", settings)
        #expect(throws: VQAError.self) { _ = try world.train("parts", settings, stopAfter: 7) }
        let resumed = try world.train("parts", settings, resume: true)
        for name in ["metrics.jsonl", "adapter/adapter_model.safetensors", "predictions.jsonl"] {
            #expect(
                try readFile("\(whole.folder)/\(name)", limit: 1 << 24)
                    == readFile("\(resumed.folder)/\(name)", limit: 1 << 24), "\(name)")
        }
        let losses = try readJSONLines("\(whole.folder)/metrics.jsonl").compactMap { $0["loss"]?.double }
        #expect(losses.count == whole.record.trainInfo.steps && losses.allSatisfy(\.isFinite))
        #expect((losses.last ?? 1) < (losses.first ?? 0))

        let model = try AdaptedModel(adapter: "\(whole.folder)/adapter")
        let first = try #require(readJSONLines("\(whole.folder)/predictions.jsonl").first)
        let answers = try model.answers(image: "\(world.folder)/data/3.png", question: "what color is it?")
        #expect(answers.first?.text == first["answer"]?.string)
        #expect(answers.allSatisfy { (0...1).contains($0.probability ?? -1) })
    }

    @Test("with the stores and without them the losses agree", arguments: forms) func stores(_ form: Form)
        throws
    {
        let world = try TinyWorld()
        defer { world.remove() }
        let settings = Self.overrides(world, form) + ["drop_rate=0", "max_epoch=1"]
        let plain = try world.train("plain", settings + ["cache_features=false"])
        let cached = try world.train("cached", settings)
        let a = try readJSONLines("\(plain.folder)/metrics.jsonl").compactMap { $0["loss"]?.double }
        let b = try readJSONLines("\(cached.folder)/metrics.jsonl").compactMap { $0["loss"]?.double }
        #expect(a.count == b.count && !a.isEmpty)
        for (x, y) in zip(a, b) { #expect(abs(x - y) <= 1e-4 * max(1, abs(y))) }
    }

    @Test(
        "frozen weights and products in bfloat16 learn as those in float32 do",
        arguments: forms + [Form(model: "bert", settings: ["preset=released", "use_adapter=true"])])
    func halfPrecision(_ form: Form) throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let settings = Self.overrides(world, form) + ["drop_rate=0", "max_epoch=1", "baselines=true"]
        func losses(_ precision: String) throws -> [Double] {
            let outcome = try world.train(precision, settings + ["precision=\(precision)"])
            #expect(outcome.record.metaInfo.dtype == precision)
            #expect(try !readJSONLines("\(outcome.folder)/predictions.jsonl").isEmpty)
            return try readJSONLines("\(outcome.folder)/metrics.jsonl").compactMap { $0["loss"]?.double }
        }
        let (whole, half) = (try losses("float32"), try losses("bfloat16"))
        #expect(whole.count == half.count && whole.count > 4)
        // bfloat16 keeps 8 bits of a number, and differences add up from step to step.
        for (x, y) in zip(whole, half) { #expect(abs(x - y) <= 0.1 * max(1, x), "\(whole), \(half)") }
    }

    @Test("the batch of an evaluation does not change what is written") func batches() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let form = Form(model: "llama", settings: ["answers=write", "max_epoch=4"])
        let outcome = try world.train("run", Self.overrides(world, form))
        func evaluate(_ batch: Int) throws -> [UInt8] {
            var request = EvaluationRequest(task: "table", split: "test")
            request.adapter = "\(outcome.folder)/adapter"
            (request.dataRoot, request.batchSize) = ("\(world.folder)/data", batch)
            (request.output, request.cacheFolder) = ("\(world.folder)/e\(batch)", "\(world.folder)/cache")
            _ = try Evaluation(request).run(say: { _ in }, shouldStop: { false })
            return try readFile("\(world.folder)/e\(batch)/predictions.jsonl", limit: 1 << 20)
        }
        let whole = try evaluate(64)
        #expect(try evaluate(1) == whole && evaluate(5) == whole)
    }

    @Test("a written answer of BERT, and a model with eyes of its own, are refused") func refused() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        var error = #expect(throws: VQAError.self) { _ = try world.train("run", ["answers=write"]) }
        #expect(error?.description.contains("BERT does not write") == true)
        error = #expect(throws: VQAError.self) {
            _ = try world.train(
                "run",
                [
                    "language_model=\(world.folder)/llama", "frozen_format=int8", "use_adapter=false",
                    "prompt_width=12",
                ])
        }
        #expect(error?.description.contains("packed weights cannot be trained") == true)
    }

    // MARK: Epochs

    @Test("the best epoch on held-out images is kept, and a resumed run keeps the same") func bestEpoch()
        throws
    {
        let world = try TinyWorld()
        defer { world.remove() }
        let settings = ["holdout_images=4", "max_epoch=4", "baselines=false"]
        let whole = try world.train("whole", settings)
        #expect(whole.record.runInfo.notes.contains { $0.contains("kept: epoch") })
        #expect(throws: VQAError.self) { _ = try world.train("parts", settings, stopAfter: 20) }
        let resumed = try world.train("parts", settings, resume: true)
        let name = "adapter/adapter_model.safetensors"
        #expect(
            try readFile("\(whole.folder)/\(name)", limit: 1 << 24)
                == readFile("\(resumed.folder)/\(name)", limit: 1 << 24))
        #expect(resumed.record.runInfo.notes == whole.record.runInfo.notes)
    }

    @Test("an adapter can be tested alone, and be begun with") func loading() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let first = try world.train("first", ["baselines=false"])
        let load = "load_path=\(first.folder)/adapter"
        let tested = try world.train("tested", [load, "test_only=true", "baselines=false"])
        #expect(tested.scores == first.scores && tested.record.trainInfo.steps == 0)
        let second = try world.train("second", [load, "baselines=false"])
        func firstLoss(_ outcome: TrainingRun.Outcome) throws -> Double {
            try readJSONLines("\(outcome.folder)/metrics.jsonl").first?["loss"]?.double ?? .nan
        }
        #expect(try firstLoss(second) < firstLoss(first))
        #expect(throws: VQAError.self) {
            _ = try world.train("third", [load, "insert_layer=0", "baselines=false"])
        }
    }

    // MARK: Search

    @Test("a search's configuration is not trained with") func searchStage() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let error = #expect(throws: VQAError.self) { _ = try world.train("run", ["search_stage=true"]) }
        #expect(error?.description.contains("give it to vqa search") == true)
        #expect(!fileExists("\(world.folder)/run"))
    }

    @Test("choosing on the test split is said in the run", arguments: ["test", "train+test"])
    func choosingOnTest(_ split: String) throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let outcome = try world.train("run", ["validation_split=\(split)", "baselines=false"])
        #expect(outcome.record.runInfo.notes.contains { $0.contains("also what it is tested on") })
    }

    static func search(
        _ world: TinyWorld, _ name: String, _ settings: [String], resume: Bool = false, stopAfter: Int? = nil
    ) throws -> PlacementSearch.Outcome {
        var asked = 0
        let configuration = try world.configuration(settings)
        return try PlacementSearch(configuration, file: "tiny.yaml") { _ in }.run(
            resume: resume ? "\(world.folder)/\(name)" : nil,
            output: resume ? nil : "\(world.folder)/\(name)", command: ["vqa", "search", "tiny.yaml", "x=1"]
        ) {
            asked += 1
            return stopAfter.map { asked > $0 } ?? false
        }
    }

    @Test("a search chooses among the layers it is given, and refuses others") func someLayers() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let found = try Self.search(world, "some", ["search_layers=[2, 1]", "holdout_images=4"])
        #expect(found.placement.ranking.map(\.layer).sorted() == [1, 2])
        #expect(found.placement.percentByLayer.keys.sorted() == [1, 2])
        #expect([1, 2].contains(found.placement.layer))
        for layers in ["[0, 3]", "[1, 1]"] {
            #expect {
                _ = try Self.search(world, "bad", ["search_layers=\(layers)", "holdout_images=4"])
            } throws: { "\($0)".contains("use some of 0 to 2") }
        }
    }

    @Test("layers are compared from search_begin on; as released, from the first step") func begin() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        func compared(_ name: String, _ settings: [String]) throws -> [Bool] {
            let found = try Self.search(world, name, settings + ["search_epochs=2", "holdout_images=4"])
            return try readJSONLines("\(found.folder)/metrics.jsonl").filter { $0["layer"] != nil }
                .map { $0["policy"] != nil }
        }
        let all = try compared("released", ["preset=released"])
        #expect(all.count >= 4 && all.allSatisfy { $0 })
        for (name, share) in [("half", 0.5), ("quarter", 0.25)] {
            let later = try compared(name, share == 0.5 ? [] : ["search_begin=\(share)"])
            let first = Int((share * Double(later.count)).rounded(.down))
            #expect(later == later.indices.map { $0 >= first }, "\(name)")
        }
    }

    @Test(
        "a search chooses, reports, and is resumed to the same numbers",
        arguments: [
            [], ["preset=released", "use_adapter=false", "drop_rate=0.1"],
            ["language_model=llama", "answers=write"], ["language_model=t5"],
            ["language_model=llama", "precision=bfloat16"],
        ])
    func search(_ settings: [String]) throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let settings =
            settings.map { $0.replacing("language_model=", with: "language_model=\(world.folder)/") } + [
                "search_epochs=2", "holdout_images=4", "prompt_width=12",
            ]
        let whole = try Self.search(world, "whole", settings)
        #expect(whole.placement.ranking.count == 3 && whole.placement.percentByLayer.count == 3)
        #expect(whole.nextCommand == "vqa train tiny.yaml x=1 insert_layer=\(whole.placement.layer)")
        for name in ["search.json", "report.html", "run.json", "metrics.jsonl"] {
            #expect(fileExists("\(whole.folder)/\(name)"), "\(name)")
        }
        #expect(throws: VQAError.self) { _ = try Self.search(world, "parts", settings, stopAfter: 6) }
        let resumed = try Self.search(world, "parts", settings, resume: true)
        for name in ["search.json", "metrics.jsonl"] {
            #expect(
                try readFile("\(whole.folder)/\(name)", limit: 1 << 24)
                    == readFile("\(resumed.folder)/\(name)", limit: 1 << 24), "\(name)")
        }
    }
}
