import Support
import Testing
import Torch

extension TorchTests {
    @Suite struct Derivatives {
        /// The inputs of a golden case as leaves, and what PyTorch found.
        struct Golden {
            let inputs: [String: Tensor]
            let loss: Double
            let gradients: [String: Tensor]

            init(_ name: String) throws {
                let json = try fixture("training.json").required("gradients").required(name)
                gradients = try json.required("gradients").tensors()
                inputs = try json.required("inputs").tensors()
                loss = try #require(json["loss"]?.double)
                for tensor in inputs.values where tensor.dtype.isFloatingPoint {
                    try tensor.requireGradient()
                }
            }

            subscript(name: String) -> Tensor {
                get throws { try #require(inputs[name]) }
            }

            /// Goes backward from the loss and compares everything.
            func check(_ name: String, _ found: Tensor) throws {
                #expect(abs(try found.item() - loss) <= 1e-5 * max(1, abs(loss)), "\(name): loss")
                try found.backward()
                #expect(!gradients.isEmpty)
                for (key, expected) in gradients {
                    let gradient = try #require(try self[key].gradient(), "\(name): \(key)")
                    try expectClose(gradient, expected, "\(name): \(key)")
                }
            }
        }

        @Test("gradients of layers, attention and losses equal PyTorch's")
        func layers() throws {
            let p = try Golden("perceptron")
            let hidden = try p["x"].linear(p["w1"], p["b1"]).gelu()
                .layerNorm([5], p["scale"], p["shift"], epsilon: 1e-5)
            try p.check("perceptron", hidden.linear(p["w2"]).crossEntropy(p["labels"], smoothing: 0.1))

            let a = try Golden("attention")
            let mixed =
                try a["q"].attention(key: a["k"], value: a["v"], mask: a["bias"], scale: 0.4) * a["mix"]
            try a.check("attention", mixed.sum())

            let c = try Golden("convolution")
            let image = try c["x"].convolved(c["w"], c["b"], stride: 2, padding: 2, dilation: 2, groups: 2)
            let normed = try image.groupNorm(2, c["scale"], c["shift"], epsilon: 1e-3)
            try c.check("convolution", normed.silu().averagePool(2, 1).square().sum())
        }

        @Test("gradients of indexing and of functions equal PyTorch's")
        func indexing() throws {
            let g = try Golden("indexing")
            let more = try g["more"].unsqueezed(1).expanded([-1, 2, -1])
            let joined = try Tensor.concatenated([g["table"].embedding(g["ids"]), more], 1).sliced(1, 1)
            let picked = try joined.gathered(1, g["places"])
            let spread = try Tensor.zeros([2, 4, 3]).scatterAdded(1, g["places"], picked * 2)
            let pairs = try joined.indexed([Tensor([1, 0, 1]), Tensor([0, 2, 2])]).product(-1).sum()
            let chosen = try joined.selected(2, indices: Tensor([2, 2])).max([1]).sum()
            try g.check("indexing", spread.padded([1, 0], 0.5).square().sum() + pairs + chosen)

            let e = try Golden("elements")
            let (x, y) = (try e["x"], try e["y"])
            let z = try (x.exp() + y.square()).log() + (x * y).softplus() - y.erf() / (x.sigmoid() + 0.5)
            let scaled = try z.tanh() * (x.abs() + 1).sqrt() + (y.square() + 1).power(1.5).rsqrt()
            try e.check("elements", scaled.mean() + z.logSumExp([0, 1]))
        }

        @Test("second derivatives equal PyTorch's")
        func second() throws {
            let s = try Golden("second")
            let cubed = try s["x"].matmul(s["w"]).tanh().power(3).sum()
            let slope = try #require(
                try gradients(of: [cubed], withRespectTo: [s["w"]], createGraph: true)[0])
            try s.check("second", slope.square().sum())

            let m = try Golden("meta")
            let loss = try m["x"].matmul(m["w"]).meanSquaredError(m["y"])
            let step = try #require(try gradients(of: [loss], withRespectTo: [m["w"]], createGraph: true)[0])
            let fast = try m["w"] - step * 0.1
            try m.check("meta", m["x2"].matmul(fast).sin().meanSquaredError(m["y2"]))
        }

        @Test("a backward pass adds to the gradients, from any tensor and through a kept graph")
        func accumulation() throws {
            let x = try Tensor([1, 2, 3] as [Double])
            try x.requireGradient()
            let y = try x.square()
            #expect(x.isLeaf && x.requiresGradient && !y.isLeaf && y.requiresGradient)
            #expect(try x.gradient() == nil && y.gradient() == nil)
            let direction = try Tensor([1, 0, -1] as [Double])
            try y.backward(direction, retainGraph: true)
            try y.backward(direction)
            #expect(try x.gradient()?.doubles() == [4, 0, -12])
            expectError(.internal) { try y.backward(direction) }
            try x.setGradient(direction)
            #expect(try x.gradient()?.doubles() == [1, 0, -1])
            try x.setGradient(nil)
            #expect(try x.gradient() == nil)
            let outside = try y.detached()
            #expect(!outside.requiresGradient && outside.isLeaf)
            expectError(.internal) { try outside.sum().backward() }
            try x.requireGradient(false)
            #expect(!x.requiresGradient)
        }

        @Test("gradients are given for the inputs that are named")
        func named() throws {
            let (x, y, z) = (try Tensor([2.0]), try Tensor([3.0]), try Tensor([5.0]))
            for tensor in [x, y, z] { try tensor.requireGradient() }
            let product = try x * y
            let unused = try gradients(
                of: [product], withRespectTo: [x, z], retainGraph: true, allowUnused: true)
            #expect(try unused[0]?.item() == 3 && unused[1] == nil)
            expectError(.internal) {
                _ = try gradients(of: [product], withRespectTo: [x, z], retainGraph: true)
            }
            let weighted = try gradients(
                of: [product, y.square()], withRespectTo: [y], outputGradients: [Tensor([10.0]), nil])
            #expect(try weighted[0]?.item() == 26)
            #expect(try x.gradient() == nil && y.gradient() == nil)
            expectError(.shape) { _ = try gradients(of: [], withRespectTo: [x]) }
            expectError(.shape) { _ = try gradients(of: [product], withRespectTo: [x], outputGradients: []) }
            expectError(.shape) { try (x * Tensor([1.0, 2.0])).backward() }
        }

        @Test("recording is off and on where it was asked for, also after an error")
        func recording() throws {
            struct Stop: Error {}
            let x = try Tensor([1.0])
            try x.requireGradient()
            #expect(try !withoutGradients { try (x * 2).requiresGradient })
            #expect(try withoutGradients { try withGradients { try (x * 2).requiresGradient } })
            #expect(throws: Stop.self) { try withoutGradients { throw Stop() } }
            #expect(try (x * 2).requiresGradient)
            try withoutGradients {
                #expect(throws: Stop.self) { try withGradients { throw Stop() } }
                #expect(try !(x * 2).requiresGradient)
                try x.scale(by: 3)
            }
            #expect(try x.item() == 3)
            expectError(.internal) { try x.fill(0) }
        }
    }
}
