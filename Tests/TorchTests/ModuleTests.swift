import Testing
import Torch

/// A module with every kind of member.
private struct Network: Module {
    var embedding: Embedding
    var layers: [Block]
    var extra: Linear?
    var norm: BatchNorm
    var scale: Tensor

    struct Block: Module {
        var dense: Linear
        var norm: LayerNorm

        mutating func visit(_ visitor: ParameterVisitor) throws {
            try visitor("dense", &dense)
            try visitor("norm", &norm)
        }
    }

    init(extra: Bool = false, blocks: Int = 2) throws {
        embedding = try Embedding(7, 4, .normal(deviation: 0.02))
        layers = try (0..<blocks).map { _ in Block(dense: try Linear(4, 4), norm: try LayerNorm(4)) }
        self.extra = extra ? try Linear(4, 2, bias: false, (.xavier(4, 2), .zeros)) : nil
        norm = try BatchNorm(4)
        scale = try .empty([1], on: .meta)
    }

    mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("embedding", &embedding)
        try visitor("layer", &layers)
        try visitor("extra", &extra)
        try visitor("norm", &norm)
        try visitor("scale", &scale, .constant(0.5))
    }
}

extension TorchTests {
    @Suite struct Modules {
        @Test("keys are the checkpoint's, in its order")
        func keys() throws {
            let network = try Network(extra: true)
            #expect(
                try network.parameters().map(\.key) == [
                    "embedding.weight", "layer.0.dense.weight", "layer.0.dense.bias", "layer.0.norm.weight",
                    "layer.0.norm.bias", "layer.1.dense.weight", "layer.1.dense.bias", "layer.1.norm.weight",
                    "layer.1.norm.bias", "extra.weight", "norm.weight", "norm.bias", "norm.running_mean",
                    "norm.running_var", "norm.num_batches_tracked", "scale",
                ])
            #expect(try Network().parameters(prefix: "model.").map(\.key).contains("model.scale"))
            #expect(try !Network().parameters().map(\.key).contains("extra.weight"))
            #expect(try network.parameters().map(\.tensor.count).reduce(0, +) == 28 + 2 * 28 + 8 + 17 + 1)
            #expect(try network.parameters().allSatisfy { $0.tensor.device == .meta })
        }

        @Test("an error in the middle leaves the names in order")
        func errors() throws {
            struct Stop: Error {}
            var network = try Network()
            var keys: [String] = []
            let visitor = ParameterVisitor(prefix: "a.") { slot, _ in
                keys.append(slot.key)
                if slot.key == "a.layer.1.norm.weight" { throw Stop() }
            }
            #expect(throws: Stop.self) { try network.visit(visitor) }
            var more = try Linear(1, 1)
            try visitor("b", &more)
            #expect(keys.suffix(2) == ["a.b.weight", "a.b.bias"])
        }

        @Test("first values depend on the seed and the name alone")
        func initialization() throws {
            func values(_ network: Network, seed: Int = 1) throws -> [String: [Float]] {
                var network = network
                try network.initialize(seed: seed)
                return try Dictionary(
                    uniqueKeysWithValues: network.parameters().map { ($0.key, try $0.tensor.floats()) })
            }
            let small = try values(Network(blocks: 1))
            let large = try values(Network(extra: true, blocks: 3))
            for (key, value) in small { #expect(large[key] == value, "\(key)") }
            #expect(small["layer.0.dense.weight"] != large["layer.1.dense.weight"])
            #expect(try values(Network(), seed: 2)["embedding.weight"] != small["embedding.weight"])
            #expect(
                small["layer.0.norm.weight"] == [1, 1, 1, 1] && small["norm.running_mean"] == [0, 0, 0, 0])
            #expect(small["scale"] == [0.5] && small["norm.running_var"] == [1, 1, 1, 1])
            #expect(large["layer.2.dense.weight"]?.allSatisfy { abs($0) <= 0.5 } == true)
            #expect(large["extra.weight"]?.allSatisfy { abs($0) <= 1 } == true)
            let deviation = try Tensor(#require(small["embedding.weight"])).variance().item().squareRoot()
            #expect(deviation > 0.01 && deviation < 0.03)
        }

        @Test("initialising fills what has no memory, in its element type, and nothing else")
        func partial() throws {
            var network = try Network()
            network.scale = try Tensor([9] as [Float])
            network.embedding.weight = try .empty([7, 4], .bfloat16, on: .meta)
            try network.initialize(seed: 1)
            #expect(try network.scale.item() == 9)
            #expect(network.embedding.weight.dtype == .bfloat16 && network.embedding.weight.device == .cpu)
            #expect(network.norm.batches.dtype == .int64)
        }

        @Test("copies of a module share tensors until one is replaced")
        func values() throws {
            var first = try Network()
            try first.initialize(seed: 1)
            var second = first
            #expect(second.layers[0].dense.weight === first.layers[0].dense.weight)
            second.layers[0].dense.weight = try first.layers[0].dense.weight * 2
            #expect(second.layers[0].dense.weight !== first.layers[0].dense.weight)
            #expect(second.layers[1].dense.weight === first.layers[1].dense.weight)
        }

        @Test("trainable parameters are fp32 leaves of their own, frozen ones stay the same objects")
        func training() throws {
            var network = try Network()
            try network.initialize(seed: 1)
            let dense = try network.layers[1].dense.weight.to(.bfloat16)
            network.layers[1].dense.weight = dense
            let before = try network.parameters()
            try network.setTrainable { $0.hasPrefix("layer.1.") || $0.hasPrefix("norm.") }
            let after = try network.parameters()
            let expected = [
                "layer.1.dense.weight", "layer.1.dense.bias", "layer.1.norm.weight", "layer.1.norm.bias",
                "norm.weight", "norm.bias",
            ]
            #expect(try network.trainableParameters().map(\.key) == expected)
            for (old, new) in zip(before, after) {
                if expected.contains(new.key) {
                    #expect(new.tensor.isLeaf && new.tensor.dtype == .float32 && new.tensor !== old.tensor)
                    try withoutGradients { try new.tensor.fill(7) }
                    #expect(try old.tensor.doubles() != new.tensor.doubles(), "\(new.key) shares memory")
                } else {
                    #expect(new.tensor === old.tensor, "\(new.key)")
                }
            }
            try network.setTrainable(prefix: "model.") { $0 == "model.scale" }
            #expect(try network.trainableParameters().map(\.key) == ["scale"])
            #expect(try network.layers[1].dense.bias?.floats() == [7, 7, 7, 7])
        }

        @Test("only frozen floating-point tensors are converted")
        func conversion() throws {
            var network = try Network()
            try network.initialize(seed: 1)
            try network.setTrainable { $0 == "scale" }
            try network.convertFrozen(to: .bfloat16) { !$0.hasPrefix("embedding") }
            #expect(network.layers[0].dense.weight.dtype == .bfloat16 && network.norm.mean.dtype == .bfloat16)
            #expect(network.embedding.weight.dtype == .float32 && network.norm.batches.dtype == .int64)
            #expect(network.scale.dtype == .float32 && network.scale.requiresGradient)
        }

        @Test("layers compute what they say")
        func layers() throws {
            let x = try Tensor.normal([2, 3, 4], Generator(seed: 1))
            func ready<Part: Module>(_ part: Part) throws -> Part {
                var part = part
                try part.initialize(seed: 3)
                return part
            }
            let linear = try ready(Linear(4, 6))
            try expectClose(
                linear(x), x.matmul(linear.weight.transposed(0, 1)) + #require(linear.bias), "linear")
            let centred = try x - x.mean([-1], keep: true)
            let normed = try centred / (x.variance([-1], keep: true) + 1e-5).sqrt()
            try expectClose(ready(LayerNorm(4))(x), normed, "layer norm")
            try expectClose(
                ready(RMSNorm(4))(x), x / (x.square().mean([-1], keep: true) + 1e-6).sqrt(), "rms norm")
            let table = try ready(Embedding(5, 4))
            #expect(try table(Tensor([3, 3], [2, 1])).shape == [2, 1, 4])
            let image = try x.reshaped([1, 4, 3, 2])
            let convolution = try ready(
                Convolution(4, 6, kernel: 3, stride: 2, padding: 1, groups: 2, bias: false))
            #expect(try convolution(image).shape == [1, 6, 2, 1])
            #expect(try ready(BatchNorm(4))(image).shape == [1, 4, 3, 2])
            try expectClose(mergeHeads(splitHeads(x, 2)), x, "heads")
            #expect(try splitHeads(x, 2).shape == [2, 2, 3, 2])
            expectError(.shape) { _ = try splitHeads(x, 3) }
            expectError(.shape) { _ = try splitHeads(x, 0) }
            expectError(.shape) { _ = try mergeHeads(x) }
        }

        @Test("sizes without sense are errors")
        func sizes() throws {
            expectError(.shape) { _ = try Linear(-1, 4) }
            expectError(.shape) { _ = try Linear(.max, .max) }
            expectError(.shape) { _ = try Convolution(1 << 40, 1 << 40, kernel: 3) }
            expectError(.shape) { _ = try Embedding(.max, 2) }
            // No memory is asked for, so only the product of the sizes could overflow.
            _ = try? Convolution(1 << 62, 0, kernel: 1 << 40)
            #expect(Initialization.xavier(.max, .max) == .xavier(.max, .max))
            #expect(Initialization.fanIn(0) == .uniform(bound: 1))
        }
    }
}
