import Testing
import Torch

/// Runs `body` with every set of kernels that this processor can run.
func withEachKernels(_ body: (String) throws -> Void) throws {
    defer { _ = try? Engine.selectKernels(nil) }
    for name in ["baseline", "avx2", "avx512"] where try Engine.selectKernels(name) {
        #expect(try Engine.kernels() == name)
        try body(name)
    }
}

/// The largest difference of two tensors, as a part of the largest number of the second.
func relativeDifference(_ a: Tensor, _ b: Tensor) throws -> Double {
    #expect(a.shape == b.shape)
    let expected = try b.detached().to(.float64)
    let most = try expected.abs().max().item()
    return try (a.detached().to(.float64) - expected).abs().max().item() / max(most, 1e-30)
}

extension TorchTests {
    @Suite struct QuantisedWeights {
        /// A weight of N(0, 1) numbers with a few that are much larger.
        private func weight(_ out: Int, _ columns: Int, seed: UInt64 = 1) throws -> Tensor {
            let plain = try Tensor.normal([out, columns], Generator(seed: seed))
            return try plain + (plain .> 2).to(.float32) * 3
        }

        @Test("given values, scales and minima come back exactly, by every kernel", arguments: [4, 8])
        func exact(bits: Int) throws {
            let (out, columns, groups) = (37, 70, 3)
            let generator = try Generator(seed: 3)
            let values = try Tensor.integers([out, columns], 0, 1 << bits, generator)
            // Halves of any size, subnormal ones among them.
            let scales = try Tensor.normal([out, groups], generator).to(.float16)
            let minima = try (Tensor.normal([out, groups], generator) * 1e-6).to(.float16)
            let each = { (side: Tensor) throws -> Tensor in
                try side.to(.float64).repeatedEach(32, 1).sliced(1, 0, columns)
            }
            let expected = try (values.to(.float64) * each(scales) + each(minima)).to(.float32)
            let quantised = try QuantisedWeight(
                values: values.to(.uint8), scales: scales, minima: minima, bits: bits)
            #expect(quantised.shape == [out, columns] && quantised.bits == bits)
            #expect(quantised.byteCount == 3 * 3 * (64 + 64 * bits))
            try withEachKernels { name in
                #expect(try relativeDifference(quantised.dequantised(), expected) < 1e-7, "\(name)")
                let rows = try quantised.rows(Tensor([36, 0, 17, 17, 2, 31], [2, 3]))
                let wanted = try expected.embedding(Tensor([36, 0, 17, 17, 2, 31], [2, 3]))
                #expect(try relativeDifference(rows, wanted) < 1e-7, "\(name)")
            }
        }

        @Test("rounding is to the nearest step of each group", arguments: [4, 8])
        func rounding(bits: Int) throws {
            let original = try weight(19, 96)
            let quantised = try QuantisedWeight(original, bits: bits)
            let groups = try original.reshaped([19, 3, 32])
            let range = try groups.max([2], keep: true) - groups.min([2], keep: true)
            let error = try (quantised.dequantised().reshaped([19, 3, 32]) - groups).abs()
            let steps = Double((1 << bits) - 1)
            #expect(try (error / (range / steps)).max().item() < 0.5 + 0.03 * Double(bits))
            #expect(try error.mean().item() > 0)
        }

        @Test("every kernel rounds alike, from every type that holds the same numbers", arguments: [4, 8])
        func sameRounding(bits: Int) throws {
            // Numbers of few bits, which bfloat16 and float16 hold exactly; ties between two steps are among them.
            let numbers = try Tensor.integers([19, 70], -15, 16, Generator(seed: 9)).to(.float32) * 0.125
            let expected = try QuantisedWeight(numbers, bits: bits).packed.bytes()
            try withEachKernels { name in
                for type in [DType.float64, .float32, .float16, .bfloat16] {
                    let found = try QuantisedWeight(numbers.to(type), bits: bits).packed.bytes()
                    #expect(found == expected, "\(name) \(type)")
                }
                for bad in [Double.nan, .infinity] {
                    let spoilt = try Tensor.concatenated([numbers, Tensor(full: bad, [19, 1])], 1)
                    #expect(throws: TorchError.self, "\(name)") { try QuantisedWeight(spoilt, bits: bits) }
                }
            }
        }

        @Test("constant groups, zeros and a last group of one number survive")
        func degenerate() throws {
            let flat = try QuantisedWeight(Tensor(full: 0.25, [3, 33]), bits: 4)
            #expect(try flat.dequantised().floats().allSatisfy { $0 == 0.25 })
            let zero = try QuantisedWeight(.zeros([1, 1]), bits: 8)
            #expect(try zero.dequantised().floats() == [0])
            #expect(try Tensor([2] as [Float], [1, 1]).linear(zero).floats() == [0])
        }

        @Test("GGUF blocks are represented exactly")
        func blocks() throws {
            let (out, groups) = (21, 3)
            let random = try Tensor.integers([out * groups * 34], 0, 256, Generator(seed: 5)).integers()
            for format in [QuantisedWeight.BlockFormat.q4_0, .q4_1, .q8_0] {
                var bytes: [UInt8] = []
                var expected: [Float] = []
                for block in 0..<out * groups {
                    let (d, m) = (Float16(0.013 * Float(block - 20)), Float16(0.4 - 0.02 * Float(block)))
                    bytes += withUnsafeBytes(of: d.bitPattern.littleEndian, Array.init)
                    if format == .q4_1 { bytes += withUnsafeBytes(of: m.bitPattern.littleEndian, Array.init) }
                    let values = random[(block * 34)..<(block * 34 + 4 * format.bits)].map(UInt8.init)
                    bytes += values
                    for index in 0..<32 {
                        let pair = values[index % 16]
                        let nibble = index < 16 ? pair & 15 : pair >> 4
                        let number =
                            switch format {
                            case .q4_0: Float(d) * Float(Int(nibble) - 8)
                            case .q4_1: Float(d) * Float(nibble) + Float(m)
                            case .q8_0: Float(d) * Float(Int8(bitPattern: values[index]))
                            }
                        expected.append(number)
                    }
                }
                let weight = try bytes.withUnsafeBytes {
                    try QuantisedWeight(blocks: $0, format, shape: [out, groups * 32])
                }
                let found = try weight.dequantised().floats()
                for (a, b) in zip(found, expected) {
                    #expect(abs(a - b) <= 1e-6 * max(1, abs(b)), "\(format)")
                }
                #expect(throws: TorchError.self) {
                    try bytes.dropLast().withUnsafeBytes {
                        try QuantisedWeight(blocks: $0, format, shape: [out, groups * 32])
                    }
                }
            }
        }

        @Test("products equal those of the dequantised matrix, for few and many rows, by every kernel")
        func products() throws {
            for (out, columns) in [(37, 70), (16, 32), (5, 31), (130, 257)] {
                for bits in [4, 8] {
                    let quantised = try QuantisedWeight(weight(out, columns), bits: bits)
                    let full = try quantised.dequantised(.float64)
                    let bias = try Tensor.normal([out], Generator(seed: 9))
                    try withEachKernels { name in
                        for rows in [1, 2, 3, 4, 5, 32, 33] {
                            let x = try Tensor.normal([rows, columns], Generator(seed: 7))
                            let expected = try x.to(.float64).linear(full, bias.to(.float64))
                            let found = try x.linear(quantised, bias)
                            #expect(found.dtype == .float32)
                            let difference = try relativeDifference(found, expected)
                            #expect(
                                difference < 1e-5, "\(name) \(out)×\(columns), \(bits) bits, \(rows) rows")
                        }
                    }
                }
            }
        }

        @Test("a matrix larger than the scratch tile is multiplied tile by tile")
        func tiles() throws {
            let quantised = try QuantisedWeight(weight(150, 30_016), bits: 4)
            let x = try Tensor.normal([35, 30_016], Generator(seed: 7))
            try x.requireGradient()
            let found = try x.linear(quantised)
            let full = try quantised.dequantised(.float64)
            #expect(try relativeDifference(found, x.detached().to(.float64).linear(full)) < 1e-5)
            let slope = try Tensor.normal([35, 150], Generator(seed: 8))
            try found.backward(slope)
            let gradient = try #require(try x.gradient())
            #expect(try relativeDifference(gradient, slope.to(.float64).matmul(full)) < 1e-5)
        }

        @Test("the result does not depend on the number of threads")
        func threads() throws {
            let before = try Engine.threads()
            defer { try? Engine.setThreads(before) }
            let quantised = try QuantisedWeight(weight(150, 96), bits: 4)
            let x = try Tensor.normal([3, 96], Generator(seed: 7))
            let results = try [1, 2, 3].map { count in
                try Engine.setThreads(count)
                return try x.linear(quantised).floats() + quantised.dequantised().floats()
            }
            #expect(results[0] == results[1] && results[0] == results[2])
        }

        @Test("gradients are those of the dequantised matrix", arguments: [2, 30])
        func gradients(rows: Int) throws {
            let quantised = try QuantisedWeight(weight(37, 70), bits: 4)
            let full = try quantised.dequantised()
            func slopes(_ product: (Tensor, Tensor) throws -> Tensor) throws -> [Tensor] {
                let x = try Tensor.normal([2, rows, 70], Generator(seed: 7))
                let bias = try Tensor.normal([37], Generator(seed: 9))
                try x.requireGradient()
                try bias.requireGradient()
                try product(x, bias).tanh().sum().backward()
                return [try #require(try x.gradient()), try #require(try bias.gradient())]
            }
            let found = try slopes { try $0.linear(quantised, $1) }
            let expected = try slopes { try $0.linear(full, $1) }
            for (a, b) in zip(found, expected) { #expect(try relativeDifference(a, b) < 1e-5) }
            let leaf = try Tensor.ones([1, 70])
            try leaf.requireGradient()
            let unrecorded = try withoutGradients { try leaf.linear(quantised) }
            #expect(try !unrecorded.requiresGradient && leaf.linear(quantised).requiresGradient)
        }

        @Test("second derivatives are refused")
        func secondDerivatives() throws {
            let quantised = try QuantisedWeight(weight(5, 32), bits: 4)
            let x = try Tensor.ones([1, 32])
            try x.requireGradient()
            let y = try x.linear(quantised).square().sum()
            let error = #expect(throws: TorchError.self) { try y.backward(createGraph: true) }
            #expect(error?.message.contains("second derivatives") == true)
        }

        @Test("bf16 input and autocast give bf16 results", arguments: [3, 40])
        func bfloat16(rows: Int) throws {
            let quantised = try QuantisedWeight(weight(37, 70), bits: 8)
            let x = try Tensor.normal([rows, 70], Generator(seed: 7))
            let expected = try x.linear(quantised)
            let half = try x.to(.bfloat16).linear(quantised)
            let cast = try withAutocast(.bfloat16) { try x.linear(quantised) }
            #expect(half.dtype == .bfloat16 && cast.dtype == .bfloat16)
            #expect(try relativeDifference(half, expected) < 0.02)
            #expect(try relativeDifference(cast, expected) < 0.02)
        }

        @Test(
            "where rounding is allowed, many rows are multiplied in bf16 and few as before, by every kernel")
        func rounded() throws {
            for (out, columns) in [(37, 70), (64, 96)] {
                for bits in [4, 8] {
                    let plain = try QuantisedWeight(weight(out, columns), bits: bits)
                    var rounding = plain
                    rounding.rounds = true
                    let bias = try Tensor.normal([out], Generator(seed: 5))
                    let half = try plain.dequantised(.bfloat16)
                    try withEachKernels { name in
                        let few = try Tensor.normal([32, columns], Generator(seed: 7))
                        #expect(
                            try few.linear(rounding, bias).floats() == few.linear(plain, bias).floats(),
                            "\(name)")
                        let many = try Tensor.normal([3, 11, columns], Generator(seed: 7))
                        let found = try many.linear(rounding, bias)
                        let expected = try many.to(.bfloat16).linear(half).to(.float32) + bias
                        #expect(found.dtype == .float32 && found.shape == [3, 11, out])
                        #expect(try relativeDifference(found, expected) < 0.004, "\(name)")
                        #expect(try relativeDifference(found, many.linear(plain, bias)) < 0.02, "\(name)")
                        let cast = try many.to(.bfloat16)
                        #expect(
                            try cast.linear(rounding).floats() == cast.linear(plain).floats(), "\(name)")
                    }
                }
            }
        }

        @Test("what does not fit is refused with a reason")
        func errors() throws {
            let good = try QuantisedWeight(weight(5, 33), bits: 4)
            #expect(throws: TorchError.self) { try QuantisedWeight(weight(5, 33), bits: 5) }
            #expect(throws: TorchError.self) { try QuantisedWeight(.ones([5]), bits: 4) }
            #expect(throws: TorchError.self) { try QuantisedWeight(.ones([0, 5]), bits: 4) }
            #expect(throws: TorchError.self) { try QuantisedWeight(.ones([5, 5], .int64), bits: 4) }
            for value in [Double.nan, .infinity, 1e30] {
                #expect(throws: TorchError.self) {
                    try QuantisedWeight(Tensor(full: value, [1, 3]), bits: 4)
                }
            }
            #expect(throws: TorchError.self) { try Tensor.ones([2, 34]).linear(good) }
            #expect(throws: TorchError.self) { try Tensor.ones([2, 33], .int64).linear(good) }
            #expect(throws: TorchError.self) { try good.rows(Tensor([5])) }
            #expect(throws: TorchError.self) { try good.rows(Tensor([-1])) }
            var wrong = good
            wrong.packed = try .zeros([1, 1, 320], .uint8)
            #expect(throws: TorchError.self) { try Tensor.ones([2, 33]).linear(wrong) }
            #expect(throws: TorchError.self) { try wrong.dequantised() }
            let unfilled = try QuantisedWeight(.empty([5, 33], on: .meta), bits: 4)
            #expect(unfilled.packed.shape == good.packed.shape)
            #expect(throws: TorchError.self) { try Tensor.ones([2, 33]).linear(unfilled) }
            let high = try Tensor(full: 16, [1, 32], .uint8)
            let one = try Tensor.ones([1, 1])
            #expect(throws: TorchError.self) {
                try QuantisedWeight(values: high, scales: one, minima: one, bits: 4)
            }
            #expect(try Engine.selectKernels("none") == false)
        }

        @Test("many products and gradients hold no memory")
        func memory() throws {
            let quantised = try QuantisedWeight(weight(64, 96), bits: 4)
            let x = try Tensor.normal([40, 96], Generator(seed: 7))
            try x.requireGradient()
            let before = Engine.liveTensors()
            for _ in 0..<200 {
                try x.linear(quantised).sum().backward()
                try x.setGradient(nil)
                _ = try x.detached().sliced(0, 0, 1).linear(quantised)
            }
            #expect(Engine.liveTensors() == before)
        }
    }

    @Suite struct LinearFields {
        @Test("a quantised layer is saved as its packed weight and loads into an empty one")
        func roundTrip() throws {
            var saved = try Linear(70, 37)
            try saved.initialize(seed: 1)
            let x = try Tensor.normal([2, 70], Generator(seed: 7))
            let exact = try saved(x)
            try saved.quantise(bits: 8)
            #expect(saved.weight.shape == [37, 70] && saved.weight.device == .meta)
            let tensors = try saved.parameters(prefix: "layer.")
            #expect(tensors.map(\.key) == ["layer.weight.packed", "layer.bias"])
            #expect(try relativeDifference(saved(x), exact) < 0.01)

            var loaded = try Linear(70, 37)
            try loaded.quantise(bits: 8)
            #expect(try loaded.parameters().allSatisfy { $0.tensor.device == .meta })
            let files = Dictionary(uniqueKeysWithValues: tensors.map { ($0.key, $0.tensor) })
            try loaded.forEachParameter(prefix: "layer.") { slot, tensor in
                let found = try #require(files[slot.key])
                #expect(found.shape == tensor.shape && found.dtype == tensor.dtype)
                tensor = found
            }
            #expect(try loaded(x).floats() == saved(x).floats())
        }

        @Test("a quantised weight is neither trained nor converted")
        func frozen() throws {
            var layer = try Linear(64, 16)
            try layer.initialize(seed: 1)
            try layer.quantise(bits: 4)
            try layer.setTrainable { _ in true }
            try layer.convertFrozen(to: .bfloat16)
            #expect(try layer.trainableParameters().map(\.key) == ["bias"])
            #expect(layer.quantised?.packed.dtype == .uint8)
            #expect(throws: TorchError.self) {
                try layer.quantise(QuantisedWeight(.ones([16, 65]), bits: 4))
            }
        }

        @Test(
            "a LoRA adds its change, has peft's keys, and trains above a quantised weight",
            arguments: [nil, 4])
        func lora(bits: Int?) throws {
            var layer = try Linear(70, 37)
            layer.lora = try LoRA(70, 37, rank: 3, scale: 0.5)
            try layer.initialize(seed: 1, prefix: "q_proj.")
            if let bits { try layer.quantise(bits: bits) }
            let weightKey = bits == nil ? "weight" : "weight.packed"
            #expect(
                try layer.parameters(prefix: "q_proj.").map(\.key) == [
                    "q_proj." + weightKey, "q_proj.bias", "q_proj.lora_A.weight", "q_proj.lora_B.weight",
                ])
            let x = try Tensor.normal([5, 70], Generator(seed: 7))
            var bare = layer
            bare.lora = nil
            #expect(try layer(x).floats() == bare(x).floats())
            let b = try Tensor.normal([37, 3], Generator(seed: 4))
            layer.lora?.b = b
            let a = try #require(layer.lora?.a)
            let expected = try bare(x) + x.matmul(a.transposed(0, 1)).matmul(b.transposed(0, 1)) * 0.5
            #expect(try relativeDifference(layer(x), expected) < 1e-5)

            try layer.setTrainable { $0.contains("lora_") }
            try layer(x).square().sum().backward()
            #expect(try layer.trainableParameters().map(\.key) == ["lora_A.weight", "lora_B.weight"])
            #expect(try layer.trainableParameters().allSatisfy { try $0.tensor.gradient() != nil })

            var merged = layer
            if bits == nil {
                try merged.mergeLoRA()
                #expect(merged.lora == nil && !merged.weight.requiresGradient)
                #expect(try relativeDifference(merged(x), expected) < 1e-5)
            } else {
                #expect(throws: TorchError.self) { try merged.mergeLoRA() }
            }
        }

        @Test("dropout of a LoRA reaches its own input alone")
        func dropout() throws {
            var layer = try Linear(8, 4, bias: false)
            layer.lora = try LoRA(8, 4, rank: 2, scale: 1, dropout: 0.99)
            try layer.initialize(seed: 1)
            let x = try Tensor.ones([50, 8])
            let bare = try x.linear(layer.weight)
            #expect(try layer(x).floats() == bare.floats())
            layer.lora?.b = try .ones([4, 2])
            let change = try (layer(x) - bare).abs().amaxOfRows()
            #expect(change.contains(0) && change.contains { $0 > 0 })
            layer.lora?.dropout = 0
            #expect(try (layer(x) - bare).abs().amaxOfRows().allSatisfy { $0 > 0 })
        }

        @Test("a quantised embedding gives the rows of its table")
        func embedding() throws {
            var table = try Embedding(11, 40)
            try table.initialize(seed: 1)
            let quantised = try QuantisedWeight(table.weight, bits: 8)
            try table.quantise(quantised)
            let ids = try Tensor([3, 10, 0, 3], [2, 2])
            #expect(try table(ids).floats() == quantised.dequantised().embedding(ids).floats())
            #expect(try table.parameters().map(\.key) == ["weight.packed"])
            #expect(throws: TorchError.self) {
                try table.quantise(QuantisedWeight(.ones([11, 41]), bits: 4))
            }
        }
    }
}

extension Tensor {
    /// The largest number of each row of a matrix.
    fileprivate func amaxOfRows() throws -> [Float] { try max([1]).floats() }
}
