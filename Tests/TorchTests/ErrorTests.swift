import Support
import Testing
import Torch

extension TorchTests {
    @Suite struct Errors {
        @Test("shapes that do not fit")
        func shapes() throws {
            let (a, b) = (try Tensor.zeros([2, 3]), try Tensor.zeros([4, 5]))
            let error = expectError(.shape) { _ = try a.matmul(b) }
            #expect(error?.operation == "matmul")
            #expect(error?.message.contains("[2, 3] Float, [4, 5] Float") == true)
            #expect("\(try #require(error))".hasPrefix("tensor operation matmul failed: "))
            expectError(.shape) { _ = try a + b }
            expectError(.shape) { _ = try a.reshaped([7]) }
            expectError(.shape) { _ = try a.reshaped([-1, -1]) }
            expectError(.shape) { _ = try a.expanded([2, 4]) }
            expectError(.shape) { _ = try Tensor.concatenated([], 0) }
            expectError(.shape) { _ = try Tensor.stacked([]) }
            expectError(.shape) { _ = try Tensor.stacked([a, b]) }
            expectError(.shape) { _ = try a.indexed([]) }
            expectError(.shape) { _ = try a.replacing([], with: a) }
            expectError(.shape) { try a.copy(from: b) }
            expectError(.shape) { try a.copy(from: .zeros([1, 3])) }
            expectError(.shape) { try a.setGradient(b) }
            expectError(.shape) { try a.setGradient(.zeros([1, 3])) }
            expectError(.shape) { _ = try a.item() }
            expectError(.shape) { _ = try Tensor.einsum("ij,jk", [a]) }
            expectError(.shape) { _ = try a.layerNorm([4], epsilon: 1e-5) }
            expectError(.shape) { _ = try a.padded([1]) }
            expectError(.shape) { _ = try Tensor.einsum("", []) }
        }

        @Test("arguments that would divide by zero or make no sense")
        func arguments() throws {
            let image = try Tensor.zeros([1, 4, 3, 3])
            let kernel = try Tensor.zeros([4, 4, 1, 1])
            for (stride, padding, dilation, groups) in [
                (0, 0, 1, 1), (-1, 0, 1, 1), (1, -1, 1, 1), (1, 0, 0, 1), (1, 0, 1, 0), (1, 0, 1, -2),
                (1, 0, 1, 3),
                (1, .max, 1, 1), (1, 0, .max, 3), (.max, .max, .max, .max),
            ] {
                expectError(.shape) {
                    _ = try image.convolved(
                        kernel, stride: stride, padding: padding, dilation: dilation, groups: groups)
                }
            }
            expectError(.shape) { _ = try image.groupNorm(0, epsilon: 1e-5) }
            expectError(.shape) { _ = try image.groupNorm(-1, epsilon: 1e-5) }
            expectError(.shape) { _ = try image.maxPool(0, stride: 1) }
            expectError(.shape) { _ = try image.maxPool(1, stride: 0) }
            #expect(throws: TorchError.self) { _ = try image.maxPool(2, stride: 1, padding: .max) }
            expectError(.shape) { _ = try image.averagePool(-1, 2) }
            expectError(.shape) { _ = try image.interpolated(0, 2, .bilinear) }
            expectError(.shape) { _ = try image.interpolated(2, 2, .nearest, antialias: true) }
            expectError(.shape) { _ = try image.sliced(0, 0, 1, step: 0) }
            expectError(.shape) { _ = try image.dropout(1.5) }
            expectError(.shape) { _ = try image.dropout(.nan) }
            expectError(.shape) { _ = try image.repeated([-1, 1, 1, 1]) }
            expectError(.shape) { _ = try image.repeatedEach(-1, 0) }
            expectError(.shape) { _ = try Tensor.arange(0, 5, step: 0) }
            expectError(.shape) { _ = try Tensor.arange(0, .nan) }
            expectError(.shape) { _ = try Tensor.permutation(-1) }
            expectError(.shape) { _ = try Tensor.integers([2], 3, 3) }
            expectError(.shape) { _ = try Tensor.uniform([2], 1, 0) }
            expectError(.shape) { _ = try Tensor.normal([2], deviation: -1) }
            expectError(.shape) { _ = try Tensor.zeros([3]).multinomial(1) }
            expectError(.shape) { _ = try Tensor.ones([3]).multinomial(0) }
            expectError(.shape) {
                _ = try image.attention(key: image, value: image, mask: image, causal: true)
            }
        }

        @Test("indices and dimensions out of range")
        func indices() throws {
            let a = try Tensor.zeros([2, 3])
            for dimension in [2, -3, .max, .min] {
                expectError(.index) { _ = try a.transposed(dimension, 0) }
                expectError(.index) { _ = try a.softmax(dimension) }
                expectError(.index) { _ = try a.sum([dimension]) }
                expectError(.index) { _ = try a.selected(dimension, 0) }
                expectError(.index) { _ = try a.sliced(dimension, 0) }
                expectError(.index) { _ = try a.argmax(dimension) }
                expectError(.index) { _ = try a.sorted(dimension) }
                expectError(.index) { _ = try Tensor.concatenated([a, a], dimension) }
                expectError(.index) { _ = try a.flipped([dimension]) }
                expectError(.index) { _ = try a.rolled(1, dimension) }
            }
            for dimension in [3, -4, .max, .min] { expectError(.index) { _ = try a.unsqueezed(dimension) } }
            expectError(.index) { _ = try a.selected(0, 2) }
            expectError(.index) { _ = try a.selected(1, -4) }
            expectError(.index) { _ = try a.selected(0, indices: Tensor([2])) }
            expectError(.index) { _ = try a.embedding(Tensor([0, -1])) }
            expectError(.index) { _ = try a.indexed([Tensor([5])]) }
            expectError(.index) { _ = try a.gathered(1, Tensor([3], [1, 1])) }
            expectError(.index) { _ = try a.scattered(1, Tensor([-1], [1, 1]), a) }
            expectError(.index) { _ = try a.top(4) }
            expectError(.index) { _ = try a.top(-1) }
            expectError(.index) { _ = try a.crossEntropy(Tensor([0, 3])) }
            expectError(.index) { _ = try Tensor.zeros([2, 0]).max([1]) }
        }

        @Test("element types that do not fit")
        func types() throws {
            let (floats, integers) = (try Tensor.zeros([2, 2]), try Tensor([1, 2, 3, 4], [2, 2]))
            expectError(.type) { _ = try floats.matmul(integers) }
            expectError(.type) { _ = try integers.mean() }
            expectError(.type) { try integers.requireGradient() }
            expectError(.type) { _ = try floats.embedding(floats) }
            expectError(.type) { _ = try floats.linear(floats.to(.bfloat16)) }
            expectError(.type) { try floats.setGradient(floats.to(.float64)) }
            expectError(.type) { _ = try floats.masked(integers, 0) }
            expectError(.type) { _ = try floats.gathered(0, floats) }
            expectError(.type) { _ = try integers.masked(integers .> 0, .infinity) }
        }

        @Test("kernels that do not exist, and a device that is not there")
        func missing() throws {
            let meta = try Tensor.empty([2], on: .meta)
            expectError(.notImplemented) { _ = try meta.floats() }
            expectError(.notImplemented) { _ = try meta.bytes() }
            expectError(.notImplemented) { _ = try meta.sum().item() }
            expectError(.notImplemented) { _ = try meta.to(.cpu) }
            expectError(.notImplemented) {
                _ = try Tensor([true, false]).reshaped([1, 2]).matmul(Tensor([true, true]))
            }
            expectError(.shape) { try meta.withMutableBytes { _ in } }
            guard try !Engine.hasCUDA() else { return }
            expectError(.shape) { _ = try Tensor.zeros([1], on: .cuda(0)) }
            expectError(.shape) { _ = try Tensor.zeros([1]).to(.cuda(.max)) }
        }

        @Test("sizes beyond memory or beyond numbers")
        func sizes() throws {
            let error = expectError(.outOfMemory) { _ = try Tensor.zeros([1 << 50], .uint8) }
            #expect(error?.description.contains("use a smaller batch") == true)
            expectError(.outOfMemory) { _ = try Tensor.empty([1 << 24, 1 << 24]) }
            let one = try Tensor.zeros([1])
            expectError(.outOfMemory) { _ = try one.expanded([1 << 50]).clone() }
            expectError(.outOfMemory) { _ = try one.expanded([1 << 50]) + 1 }
            expectError(.outOfMemory) { _ = try Tensor.normal([1 << 48]) }
            expectError(.outOfMemory) { _ = try Tensor.arange(0, 1e15) }
            for shape in [
                [-1], [.min], [.max], [1 << 32, 1 << 32], [.max, .max], [2, -3], [0, -1], [1 << 62, 4],
            ] {
                expectError(.shape) { _ = try Tensor.zeros(shape) }
                expectError(.shape) { _ = try Tensor.empty(shape, on: .meta) }
                expectError(.shape) { _ = try Tensor.uniform(shape) }
                expectError(.shape) { _ = try Tensor([1] as [Float], shape) }
            }
            expectError(.shape) { _ = try Tensor([1, 2] as [Float], [3]) }
            expectError(.shape) { _ = try one.expanded([1 << 62, 1 << 4]) }
            for tensor in [
                try one.expanded([1 << 50]), try one.expanded([1 << 61]), try one.expanded([1 << 62]),
            ] {
                // Never a trap, whichever limit is met first.
                #expect(throws: TorchError.self) { _ = try tensor.floats() }
                #expect(throws: TorchError.self) { _ = try tensor.doubles() }
                #expect(throws: TorchError.self) { _ = try tensor.bytes() }
                #expect(throws: TorchError.self) { _ = try tensor.to(.bfloat16) }
                #expect(tensor.description.hasSuffix("float32)"))
            }
            let giant = try Tensor.empty([1 << 60], on: .meta)
            #expect(
                giant.count == 1 << 60 && giant.shape == [1 << 60] && giant.device == .meta && giant.rank == 1
            )
            #expect(giant.description == "Tensor([\(1 << 60)], float32)")
            expectError(.notImplemented) { _ = try giant.floats() }
            #expect(throws: TorchError.self) { _ = try one.repeatedEach(.max, 0) }
            #expect(throws: TorchError.self) { _ = try one.repeated([.max, .max]) }
            #expect(throws: TorchError.self) { _ = try one.padded([.max, .max]) }
            #expect(throws: TorchError.self) { _ = try one.padded([.min, .min]) }
            #expect(throws: TorchError.self) { _ = try one.multinomial(.max, replacement: true) }
            #expect(throws: TorchError.self) { _ = try Tensor.permutation(.max) }
            #expect(throws: TorchError.self) {
                _ = try Tensor.zeros([1, 1, 2, 2]).interpolated(.max, .max, .bilinear)
            }
            #expect(throws: TorchError.self) { _ = try Tensor.zeros([1, 1, 2, 2]).averagePool(.max, .max) }
        }

        @Test("tensors without elements go through")
        func empty() throws {
            let none = try Tensor.zeros([0, 3])
            #expect(none.count == 0 && none.shape == [0, 3])
            #expect(try none.floats().isEmpty && none.bytes().isEmpty && none.integers().isEmpty)
            #expect(try Tensor([] as [Float]).shape == [0])
            #expect(try Tensor([] as [Float], [4, 0]).transposed(0, 1).contiguous().floats().isEmpty)
            #expect(
                try (none + 1).shape == [0, 3] && none.sum().item() == 0
                    && none.sum([0]).floats() == [0, 0, 0])
            #expect(
                try none.matmul(.zeros([3, 2])).shape == [0, 2]
                    && none.linear(.zeros([5, 3])).shape == [0, 5])
            #expect(
                try none.softmax(1).shape == [0, 3] && none.layerNorm([3], epsilon: 1e-5).shape == [0, 3])
            #expect(try Tensor.concatenated([none, .zeros([2, 3])], 0).shape == [2, 3])
            #expect(try none.sorted(0).values.shape == [0, 3] && none.nonzero().shape == [0, 2])
            #expect(try none.selected(where: none .> 0).shape == [0])
            #expect(try Tensor.zeros([4, 3]).selected(0, indices: Tensor([] as [Int])).shape == [0, 3])
            #expect(try Tensor.zeros([4, 3]).embedding(Tensor([] as [Int])).shape == [0, 3])
            #expect(try Tensor.zeros([2, 3]).replacing([Tensor([] as [Int])], with: none).shape == [2, 3])
            let query = try Tensor.zeros([1, 2, 0, 4])
            #expect(try query.attention(key: query, value: query).shape == [1, 2, 0, 4])
            #expect(try Tensor.permutation(0).integers().isEmpty && Tensor.arange(0, 0).count == 0)
            #expect(try none.crossEntropy(Tensor([] as [Int])).item().isNaN)
            #expect(none.description == "Tensor([0, 3], float32, )")
            try none.withMutableBytes { #expect($0.count == 0) }
            try none.copy(from: none.clone())
            // Sizes of a tensor without elements may be any that libtorch takes.
            #expect(throws: TorchError.self) { _ = try Tensor.zeros([0, .max, .max]) }
            let wide = try Tensor.zeros([0, 1 << 40, 3, 1])
            #expect(try mergeHeads(wide).shape == [0, 3, 1 << 40])
        }

        @Test("a library that is missing or none of ours is told in one line")
        func unavailable() throws {
            func open(_ path: String?) throws { _ = try Engine.open(path) }
            #expect(expectError(.unavailable) { try open(nil) }?.message.contains("make setup") == true)
            let missing = expectError(.unavailable) { try open("/nonexistent/folder\n/engine.so") }
            #expect(missing?.description.hasPrefix("cannot load libtorch: ") == true)
            expectError(.unavailable) { try open(#filePath) }
            #if os(Linux)
                let other = expectError(.unavailable) { try open("libm.so.6") }
                #expect(other?.message.contains("no symbol ct_table") == true)
            #endif
            try open(Engine.libraryPath())
        }

        @Test("the facts about the library")
        func facts() throws {
            #expect(try Engine.version().hasPrefix("2."))
            #expect(try !Engine.cpuCapability().isEmpty && Engine.threads() >= 1)
            let threads = try Engine.threads()
            for count in [1, 0, -5, threads] { try Engine.setThreads(count) }
            #expect(try Engine.threads() == threads)
            _ = Engine.hasNativeBFloat16
        }
    }
}
