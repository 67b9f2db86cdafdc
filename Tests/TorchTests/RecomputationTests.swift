import Testing
import Torch

extension TorchTests {
    @Suite struct Recomputation {
        /// Two outputs, dropout, captured parameters; the second output does not need the first.
        struct Block {
            let weight: Tensor
            let bias: Tensor

            init() throws {
                weight = try Tensor.normal([6, 6], Generator(seed: 3))
                bias = try Tensor.normal([6], Generator(seed: 4))
                try weight.requireGradient()
                try bias.requireGradient()
            }

            func callAsFunction(_ inputs: [Tensor]) throws -> [Tensor] {
                let hidden = try inputs[0].linear(weight, bias).gelu().dropout(0.4)
                return [
                    try hidden * inputs[1], try hidden.linear(weight).argmax(1), try hidden.square().sum([0]),
                ]
            }
        }

        /// Values, then the gradients of both inputs and both parameters.
        func run(recomputing: Bool, autocast: DType = .float32) throws -> [Tensor] {
            let block = try Block()
            let (x, y) = (
                try Tensor.normal([4, 6], Generator(seed: 1)), try Tensor.normal([4, 6], Generator(seed: 2))
            )
            try x.requireGradient()
            try y.requireGradient()
            try Generator.seedDefault(9)
            let outputs = try withAutocast(autocast) {
                let start = try x * 1
                return try recomputing ? recomputed([start, y]) { try block($0) } : block([start, y])
            }
            let after = try Tensor.uniform([3])
            try (outputs[0].tanh().sum() + outputs[2].square().mean()).backward()
            return outputs + [after, try Tensor.uniform([3])]
                + (try [x, y, block.weight, block.bias].map { try #require(try $0.gradient()) })
        }

        @Test("values, random numbers and gradients are those of the plain run")
        func equal() throws {
            let (plain, again) = (try run(recomputing: false), try run(recomputing: true))
            #expect(plain.count == 9 && again.count == 9)
            for (index, (a, b)) in zip(again, plain).enumerated() {
                try expectClose(a, b, tolerance: 1e-6, "result \(index)")
            }
        }

        @Test("the second run has the autocast of the first")
        func autocast() throws {
            let (plain, again) = (
                try run(recomputing: false, autocast: .bfloat16),
                try run(recomputing: true, autocast: .bfloat16)
            )
            for (index, (a, b)) in zip(again, plain).enumerated() {
                try expectClose(a, b, tolerance: 0.01, "result \(index)")
            }
            #expect(again[0].dtype == .float32 && again[2].dtype == plain[2].dtype)
            #expect(try Tensor.ones([2, 2]).matmul(Tensor.ones([2, 2])).dtype == .float32)
        }

        @Test("nothing but inputs is kept, and a chain of blocks releases everything")
        func memory() throws {
            func chain() throws -> Int {
                var x = try Tensor.ones([8, 8])
                try x.requireGradient()
                for _ in 0..<50 { x = try recomputed([x]) { [try $0[0].tanh().exp().tanh() * 0.5] }[0] }
                let held = Engine.liveTensors()
                try x.sum().backward()
                return held
            }
            _ = try chain()
            let before = Engine.liveTensors()
            let held = try chain()
            #expect(held - before < 50 * 3 + 10)
            #expect(Engine.liveTensors() == before)
        }

        @Test("an unused output and an input without a gradient are fine")
        func partial() throws {
            let (x, mask) = (try Tensor([1.0, 2.0]), try Tensor([true, false]))
            try x.requireGradient()
            let outputs = try recomputed([x, mask]) { [try $0[0].masked($0[1], 0), try $0[0].exp()] }
            try outputs[0].sum().backward()
            #expect(try x.gradient()?.doubles() == [0, 1])
            #expect(try recomputed([x]) { _ in [] }.isEmpty)
            let constant = try recomputed([x]) { try [$0[0] * 2, Tensor([4.0])] }
            try (constant[0].sum() + constant[1].sum()).backward()
            #expect(try x.gradient()?.doubles() == [2, 3])
        }

        @Test("without recording the body just runs")
        func off() throws {
            let x = try Tensor([1.0])
            #expect(try withoutGradients { try recomputed([x]) { [try $0[0] * 2] }[0].item() } == 2)
            expectError(.internal) { _ = try recomputed([x]) { $0 } }
        }

        @Test("an error of the second run comes back from the backward pass with its text")
        func failure() throws {
            struct Stop: Error, CustomStringConvertible { let description = "the disk\nis full" }
            let x = try Tensor([1.0])
            try x.requireGradient()
            let before = Engine.liveTensors()
            var runs = 0
            func failing() throws -> Tensor {
                runs = 0
                return try recomputed([x]) { inputs in
                    runs += 1
                    if runs == 2 { throw Stop() }
                    return [try inputs[0] * 2]
                }[0]
            }
            let error = expectError(.callback) { try failing().backward() }
            #expect(error?.message.contains("the disk is full") == true)
            #expect(error?.operation == "backward")
            // The first run's error is the caller's own.
            #expect(throws: Stop.self) { _ = try recomputed([x]) { _ in throw Stop() } }
            var second = false
            let inner = expectError(.callback) {
                try recomputed([x]) { inputs in
                    defer { second = true }
                    return [second ? try inputs[0].matmul(Tensor.ones([3, 2])) : try inputs[0] * 2]
                }[0].backward()
            }
            #expect(inner?.message.contains("matmul") == true)
            #expect(Engine.liveTensors() == before)
        }

        @Test("second derivatives and a second pass are refused")
        func refused() throws {
            let x = try Tensor([1.0])
            try x.requireGradient()
            let y = try recomputed([x]) { [try $0[0].square()] }[0]
            expectError(.internal) { _ = try gradients(of: [y], withRespectTo: [x], createGraph: true) }
            let z = try recomputed([x]) { [try $0[0].square()] }[0]
            try z.backward()
            expectError(.internal) { try z.backward() }
            let kept = try recomputed([x]) { [try $0[0].square()] }[0]
            try kept.backward(retainGraph: true)
            try kept.backward()
            #expect(try x.gradient()?.item() == 6)
        }
    }
}
