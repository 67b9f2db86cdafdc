import Runs
import Support
import TestWorld
import Training
import Testing

/// The first losses of DVP on each language model in each mode, as they were when the tensors of each stage had been
/// found equal to the specification's.
@Suite(.serialized) struct DVPLossCurveTests {
    static let curves: [String: [Double]] = [:]

    @Test(
        "the first losses are the stored ones",
        arguments: [
            "bert released", "bert fixed", "t5 released", "t5 fixed", "llama released", "llama fixed",
            "t5 fixed answers=write", "llama fixed answers=write",
        ])
    func curve(_ name: String) throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let words = name.split(separator: " ")
        let outcome = try world.train(
            "run",
            [
                "language_model=\(world.folder)/\(words[0])", "preset=\(words[1])", "use_adapter=true",
                "baselines=false", "prompt_width=12", "drop_rate=0", "learning_rate=0.001", "lr_mult=1",
                "max_steps=10",
            ] + words.dropFirst(2).map(String.init))
        let losses = try readJSONLines("\(outcome.folder)/metrics.jsonl").compactMap { $0["loss"]?.double }
        let wanted = Self.curves[name] ?? []
        #expect(losses.count == 10 && wanted.count == 10, "\(losses)")
        for (found, stored) in zip(losses, wanted) {
            #expect(abs(found - stored) <= 1e-5 * max(1, stored), "\(losses)")
        }
    }
}
