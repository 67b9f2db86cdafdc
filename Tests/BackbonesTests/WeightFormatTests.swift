import Backbones
import Checkpoints
import Testing
import Torch

/// What holds the weights of a model while it is converted.
@Suite(.serialized) struct WeightFormatTests {
    private final class Replaced {
        weak var tensor: Tensor?
        init(_ tensor: Tensor) { self.tensor = tensor }
    }

    /// Replaces every tensor and counts how many of the old ones were alive at most.
    private func mostAlive(_ model: inout some Module) throws -> (alive: Int, all: Int) {
        var replaced: [Replaced] = []
        var most = 0
        try model.forEachParameter { _, tensor in
            most = max(most, replaced.count { $0.tensor != nil })
            replaced.append(Replaced(tensor))
            tensor = try tensor.clone()
        }
        return (most, replaced.count)
    }

    @Test(
        "a weight is let go before the next one is made",
        arguments: ["llava-llama", "instructblip-vicuna", "instructblip-t5", "idefics", "idefics2"])
    func oneAfterTheOther(name: String) throws {
        let test = try JoinedTests.Case(name)
        func weights() throws -> [String: Tensor] { try Checkpoint(opening: test.folder).tensors() }
        let found: (alive: Int, all: Int)
        switch name {
        case "llava-llama":
            var model = try Llava(LlavaConfiguration(test.json, source: test.folder))
            try model.load(weights(), from: test.folder)
            found = try mostAlive(&model)
        case "idefics":
            var model = try Idefics(IdeficsConfiguration(test.json, source: test.folder))
            try model.load(weights(), from: test.folder)
            found = try mostAlive(&model)
        case "idefics2":
            var model = try Idefics2(Idefics2Configuration(test.json, source: test.folder))
            try model.load(weights(), from: test.folder)
            found = try mostAlive(&model)
        default:
            var model = try InstructBLIP(InstructBLIPConfiguration(test.json, source: test.folder))
            try model.load(weights(), from: test.folder)
            found = try mostAlive(&model)
        }
        // An optional part is shown through a copy: the nine tensors of a Q-Former's cross-attention at most. A decoder of
        // this size has 21.
        #expect(found.all > 40 && found.alive <= 10, "\(found.alive) of \(found.all)")
    }
}
