import Runs
import Support
import TestWorld
import Training
import Testing

/// The first losses of DVP on each language model in each mode, as they were when the tensors of each stage had been
/// found equal to the specification's.
@Suite(.serialized) struct DVPLossCurveTests {
    static let curves: [String: [Double]] = [
        "bert released": [
            3.4425511, 3.3795242, 3.4208946, 3.1406250, 2.9329581, 2.8744910, 3.3364720, 3.3433671, 2.7756543,
            2.6825218,
        ],
        "bert fixed": [
            3.4424946, 3.3796535, 3.4209695, 3.1296768, 2.9059777, 2.8380771, 3.3336246, 3.3415823, 2.7601638,
            2.6809194,
        ],
        "t5 released": [
            3.5193057, 3.4839435, 3.5048687, 3.2423739, 3.0511351, 2.9924998, 3.4019260, 3.3682399, 2.8930547,
            2.8145847,
        ],
        "t5 fixed": [
            3.5136023, 3.4577699, 3.4992223, 3.2024441, 2.9887459, 2.9320793, 3.4290934, 3.3895228, 2.8664107,
            2.7964211,
        ],
        "llama released": [
            3.4585848, 3.4350100, 3.0003495, 2.0320990, 1.4376845, 1.4217961, 3.2267487, 2.9169517, 1.8267792,
            1.4956094,
        ],
        "llama fixed": [
            3.6381631, 3.3971057, 3.5820830, 2.6997790, 2.1712258, 1.8675112, 3.3529613, 3.0208950, 1.8472710,
            1.7039535,
        ],
        "t5 fixed answers=write": [
            4.2616916, 4.1633964, 4.3668399, 4.1862216, 4.1538382, 4.2605672, 3.5584228, 3.7110598, 4.1878061,
            4.1919465,
        ],
        "llama fixed answers=write": [
            3.1925108, 3.1999362, 3.1625855, 3.1781387, 3.1794012, 3.1729670, 3.1768517, 3.2037539, 3.1485314,
            3.1682999,
        ],
    ]

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
                "baselines=false", "prompt_width=12", "drop_rate=0", "optim_type=sgd", "learning_rate=0.002",
                "lr_mult=1",
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
