import Testing
import Torch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The text of a file of the proc file system, which has no size.
private func processFile(_ path: String) -> String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    var text: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 65536)
    while case let count = fread(&part, 1, part.count, file), count > 0 { text += part[..<count] }
    return String(decoding: text, as: UTF8.self)
}

extension TorchTests {
    @Suite struct Memory {
        /// A linear layer, a norm, attention and a loss.
        final class Step {
            var linear: Linear
            var norm: LayerNorm
            let optimizer: Optimizer
            let x: Tensor

            init() throws {
                linear = try Linear(16, 16)
                norm = try LayerNorm(16)
                try linear.initialize(seed: 1, prefix: "linear.")
                try norm.initialize(seed: 1, prefix: "norm.")
                try linear.setTrainable { _ in true }
                try norm.setTrainable { _ in true }
                optimizer = Optimizer(
                    .adamW(),
                    [ParameterGroup(try linear.parameters(prefix: "l.") + norm.parameters(prefix: "n."))])
                x = try Tensor.normal([4, 8, 16], Generator(seed: 2))
            }

            func callAsFunction() throws -> Double {
                try optimizer.clearGradients()
                let hidden = try splitHeads(norm(linear(x)), 2)
                let out = try mergeHeads(hidden.attention(key: hidden, value: hidden, causal: true))
                let loss = try out.dropout(0.1).meanSquaredError(x)
                try loss.backward()
                try optimizer.clipGradients(to: 1)
                try optimizer.step(rate: 1e-3)
                return try loss.item()
            }
        }

        private func residentBytes() -> Int {
            Int(processFile("/proc/self/statm").split(separator: " ").dropFirst().first ?? "") ?? 0
        }

        @Test("two hundred training steps hold no more tensors and memory than five")
        func steps() throws {
            let step = try Step()
            var losses: [Double] = []
            for _ in 0..<5 { losses.append(try step()) }
            let tensors = Engine.liveTensors()
            let pages = residentBytes()
            for _ in 5..<200 {
                losses.append(try step())
                #expect(Engine.liveTensors() == tensors)
            }
            #expect((residentBytes() - pages) * 4096 < 2 << 20)
            #expect(losses[199] < losses[0])
        }

        @Test("errors, also in the middle of an expression, leak nothing")
        func errors() throws {
            let a = try Tensor.ones([2, 3])
            let before = Engine.liveTensors()
            for _ in 0..<50 {
                #expect(throws: TorchError.self) { try (a + 1).matmul(a * 2) }
                #expect(throws: TorchError.self) { try Tensor.stacked([a + 1, a.transposed(0, 1)]) }
                #expect(throws: TorchError.self) { try a.top(9) }
            }
            #expect(Engine.liveTensors() == before)
        }

        @Test("a graph is released with its last result, however deep it is")
        func graphs() throws {
            let x = try Tensor.ones([1])
            try x.requireGradient()
            let before = Engine.liveTensors()
            var y = x
            for _ in 0..<20000 { y = try y + 1 }
            #expect(try y.item() == 20001)
            y = x
            #expect(Engine.liveTensors() == before)
        }

        @Test("a mapped tensor keeps its owner as long as its storage lives")
        func owners() throws {
            final class Owner {
                let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 24, alignment: 8)
                let released: () -> Void
                init(_ released: @escaping () -> Void) {
                    self.released = released
                    bytes.bindMemory(to: Float.self).update(repeating: 1.5)
                }
                deinit {
                    bytes.deallocate()
                    released()
                }
            }
            var released = 0
            /// The memory is only valid while the owner lives, which the tensor must see to.
            func mapped(_ shape: [Int], _ dtype: DType, count: Int = 24, offset: Int = 0) throws -> Tensor {
                let owner = Owner { released += 1 }
                let bytes = UnsafeRawBufferPointer(rebasing: owner.bytes[offset..<offset + count])
                return try Tensor(mapping: bytes, shape, dtype, owner: owner)
            }
            var view: Tensor?
            do {
                let tensor = try mapped([2, 3], .float32)
                #expect(released == 0 && tensor.isContiguous)
                view = try tensor.selected(0, 1)
            }
            #expect(released == 0)
            #expect(try view?.floats() == [1.5, 1.5, 1.5])
            view = nil
            #expect(released == 1)
            do {
                let none = try mapped([0, 3], .float32, count: 0)
                #expect(none.count == 0)
            }
            #expect(released == 2)
            expectError(.shape) { _ = try mapped([5], .float32) }
            expectError(.shape) { _ = try mapped([-6], .float32) }
            expectError(.shape) { _ = try mapped([2], .float64, count: 16, offset: 4) }
            #expect(released == 5)
        }

        @Test("a generator and the tensors it made are released apart")
        func generators() throws {
            var tensor: Tensor?
            do { tensor = try Tensor.normal([2], Generator(seed: 3)) }
            #expect(try tensor?.floats().count == 2)
            let (a, b) = (
                try Generator(seed: 1, epoch: 2, sample: 3, purpose: "x"),
                try Generator(seed: 1, purpose: "x")
            )
            #expect(try Tensor.normal([3], a).floats() != Tensor.normal([3], b).floats())
        }

        @Test("the counter may be read on other threads while one works")
        func threads() async throws {
            let reader = Task.detached { (0..<20_000).allSatisfy { _ in Engine.liveTensors() >= 0 } }
            do {
                let step = try Step()
                for _ in 0..<20 { _ = try step() }
            }
            #expect(await reader.value)
        }

        #if os(Linux)
            @Test("one OpenMP runtime is loaded")
            func runtimes() throws {
                _ = try Engine.version()
                let libraries = Set(
                    processFile("/proc/self/maps").split(separator: "\n").compactMap { line in
                        line.split(separator: " ").last.map(String.init)
                    }.filter { path in
                        let name = path.split(separator: "/").last ?? ""
                        return ["libgomp", "libiomp", "libomp"].contains { name.hasPrefix($0) }
                    })
                #expect(libraries.count == 1, "\(libraries)")
            }
        #endif
    }
}
