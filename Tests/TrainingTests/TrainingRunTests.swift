import Backbones
import Methods
import Runs
import Support
import Tasks
import TestWorld
import Testing
import Torch

import Training

@Suite(.serialized) struct TrainingRunTests {
    @Test("a run trains, tests, reports, and its adapter answers") func wholeRun() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let outcome = try world.train("run", ["max_epoch=40", "learning_rate=0.003", "drop_rate=0"])
        #expect(outcome.scores.count == 24)
        // Frozen random models: well above the 50 % of yes and no by chance is enough here.
        #expect(outcome.scores.overall > (outcome.baselines.first?.scores.overall ?? 100))
        let folder = outcome.folder
        for name in [
            "config.yaml", "run.json", "metrics.jsonl", "scores.json", "report.html", "predictions.jsonl",
        ] {
            #expect(fileExists("\(folder)/\(name)"), "\(name)")
        }
        let lines = try readJSONLines("\(folder)/metrics.jsonl")
        #expect(lines.count == outcome.record.trainInfo.steps)
        #expect(
            lines.allSatisfy { $0["loss"]?.double?.isFinite == true && $0["lr"] != nil && $0["epoch"] != nil }
        )

        let model = try AdaptedModel(adapter: "\(folder)/adapter")
        let answers = try model.answers(image: "\(world.folder)/data/3.png", question: "what color is it?")
        let predicted = try JSON(contentsOf: "\(folder)/scores.json")
        #expect(predicted["overall"]?.double == outcome.scores.overall)
        #expect(answers.count == 5 && answers[0].probability ?? -1 >= answers[1].probability ?? 2)
        #expect(answers.map(\.text).contains("red"))
    }

    @Test("a resumed run computes in the type that it was started in, whatever auto would choose now")
    func resumedPrecision() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        for started in ["float32", "bfloat16"] {
            let settings = ["precision=auto", "baselines=false"]
            #expect(throws: VQAError.self) { _ = try world.train(started, settings, stopAfter: 7) }
            let path = "\(world.folder)/\(started)/run.json"
            let other = started == "float32" ? "bfloat16" : "float32"
            let record = try String(decoding: readFile(path, limit: 1 << 20), as: UTF8.self)
            try writeFile(record.replacing("\"\(other)\"", with: "\"\(started)\""), to: path)
            let resumed = try world.train(started, settings, resume: true)
            #expect(resumed.record.metaInfo.dtype == started)
        }
    }

    @Test(
        "interrupted anywhere, a resumed run gives the same losses and the same adapter",
        arguments: [1, 5, 7, 13])
    func resume(_ steps: Int) throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let settings = ["drop_rate=0.1", "baselines=false"]
        let whole = try world.train("whole", settings)
        let error = #expect(throws: VQAError.self) {
            _ = try world.train("parts", settings, stopAfter: steps)
        }
        #expect(error?.kind == .failure && error?.description.contains("--resume") == true)
        let resumed = try world.train("parts", settings, resume: true)
        #expect(
            try readFile("\(whole.folder)/metrics.jsonl", limit: 1 << 20)
                == readFile("\(resumed.folder)/metrics.jsonl", limit: 1 << 20))
        for name in ["adapter_model.safetensors", "adapter_config.json"] {
            #expect(
                try readFile("\(whole.folder)/adapter/\(name)", limit: 1 << 24)
                    == readFile("\(resumed.folder)/adapter/\(name)", limit: 1 << 24), "\(name)")
        }
    }

    @Test("the stores change nothing: losses with and without them agree") func stores() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let settings = ["drop_rate=0", "baselines=false", "max_epoch=1"]
        let plain = try world.train("plain", settings + ["cache_features=false"])
        let cached = try world.train("cached", settings)
        let a = try readJSONLines("\(plain.folder)/metrics.jsonl").compactMap { $0["loss"]?.double }
        let b = try readJSONLines("\(cached.folder)/metrics.jsonl").compactMap { $0["loss"]?.double }
        #expect(a.count == b.count && !a.isEmpty)
        for (x, y) in zip(a, b) { #expect(abs(x - y) <= 1e-4 * max(1, abs(y))) }
    }

    @Test("accumulation gives the gradient of the whole batch") func accumulation() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let settings = ["drop_rate=0", "baselines=false", "max_epoch=1"]
        let whole = try world.train("whole", settings)
        let parts = try world.train("parts", settings + ["accumulation=3"])
        let a = try readJSONLines("\(whole.folder)/metrics.jsonl").compactMap { $0["loss"]?.double }
        let b = try readJSONLines("\(parts.folder)/metrics.jsonl").compactMap { $0["loss"]?.double }
        for (x, y) in zip(a, b) { #expect(abs(x - y) <= 1e-4 * max(1, abs(y))) }
    }

    @Test("full fine-tuning and the released preset run", arguments: ["released", "fixed"])
    func fineTuning(_ preset: String) throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let outcome = try world.train(
            "run",
            ["preset=\(preset)", "use_adapter=false", "max_epoch=1", "batch_size=8", "baselines=false"])
        #expect(outcome.record.trainInfo.trainableParameters == outcome.record.trainInfo.totalParameters)
    }

    @Test("frozen tensors are the same bytes after training") func frozen() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let before = try TextEncoder("\(world.folder)/bert").weights
        let outcome = try world.train("run", ["baselines=false"])
        let after = try AdaptedModel(adapter: "\(outcome.folder)/adapter").model
        for parameter in try after.parameters() where !after.isTrained(parameter.key) {
            let original = try #require(before[String(parameter.key.dropFirst("bert_model.".count))])
            #expect(try parameter.tensor.bytes() == original.bytes())
        }
    }

    @Test("an adapter refuses other frozen weights") func otherWeights() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let outcome = try world.train("run", ["baselines=false", "max_steps=2"])
        let path = "\(world.folder)/bert/model.safetensors"
        var bytes = try readFile(path, limit: 1 << 24)
        bytes[bytes.count - 1] ^= 1
        var file = try AtomicFile(path)
        try bytes.withUnsafeBytes { try file.write($0) }
        try file.commit()
        let error = #expect(throws: VQAError.self) {
            _ = try AdaptedModel(adapter: "\(outcome.folder)/adapter")
        }
        #expect(error?.description.contains("other weights") == true)
    }

    @Test("an evaluation goes on where it was interrupted, and the batch size does not matter")
    func evaluation() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let outcome = try world.train("run", ["baselines=false"])
        func evaluate(_ name: String, batch: Int, stop: Bool = false) throws -> Evaluation.Result {
            var request = EvaluationRequest(task: "table", split: "test")
            request.adapter = "\(outcome.folder)/adapter"
            (request.dataRoot, request.batchSize) = ("\(world.folder)/data", batch)
            (request.output, request.cacheFolder) = ("\(world.folder)/\(name)", "\(world.folder)/cache")
            return try Evaluation(request).run(say: { _ in }, shouldStop: { stop })
        }
        let whole = try evaluate("a", batch: 64)
        #expect(whole.scores?.overall == outcome.scores.overall)
        #expect(throws: VQAError.self) { _ = try evaluate("b", batch: 1, stop: true) }
        #expect(try evaluate("b", batch: 1).scores == whole.scores)
        #expect(try evaluate("b", batch: 7).scores == whole.scores)
    }

    @Test("bad input is one line each") func badInput() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        try writeFile("not an image", to: "\(world.folder)/data/0.png")
        var error = #expect(throws: VQAError.self) { _ = try world.train("broken") }
        #expect(error?.description.contains("0.png") == true)
        let outcome = try world.train(
            "skipping", ["broken_image_share=0.2", "baselines=false", "max_steps=2"])
        #expect(outcome.record.trainInfo.steps == 2)
        error = #expect(throws: VQAError.self) {
            _ = try world.train("split", ["train_split=nowhere", "broken_image_share=0.2"])
        }
        error = #expect(throws: VQAError.self) {
            _ = try world.train("layer", ["insert_layer=3", "broken_image_share=0.2"])
        }
        #expect(error?.description.contains("use 0 to 2") == true)
        #expect(throws: ConfigurationProblems.self) { _ = try world.configuration(["insert_leyer=1"]) }
    }

    @Test("the presets give the release's and our own defaults") func presets() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let released = try world.configuration(["preset=released"])
        #expect(released.headRateScale == 10 && released.decay == .linear)
        #expect(released.optimizer == .adamWOriginal(beta2: 0.98))
        #expect(
            !released.dvp.hasVisualNorm && !released.dvp.freezesBelowInsertion && !released.dvp.usesAdapters)
        let fixed = try world.configuration()
        #expect(fixed.dvp.hasVisualNorm && fixed.dvp.freezesBelowInsertion && fixed.dvp.usesAdapters)
        #expect(fixed.decay == .cosine && fixed.optimizer == .adamW())
    }
}
