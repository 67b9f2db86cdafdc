import Support
import Testing
import Torch

extension TorchTests {
    @Suite struct Operations {
        @Test("every operation gives PyTorch's numbers, types and shapes")
        func goldens() throws {
            let cases = try GoldenCase.all()
            #expect(cases.count > 250)
            for (index, golden) in cases.enumerated() {
                let name = "case \(index) \(golden.operation) \(golden.options.text())"
                guard let results = try results(of: golden) else {
                    Issue.record("\(name): no such operation")
                    continue
                }
                #expect(results.count == golden.outputs.count, "\(name)")
                for (result, expected) in zip(results, golden.outputs) {
                    try expectClose(result, expected, name)
                }
            }
        }

        private func results(of golden: GoldenCase) throws -> [Tensor]? {
            for family in [elementwise, binary, memory, shape, indexing, layer, loss, random] {
                if let result = try family(golden) { return [result] }
            }
            return try reduction(golden) ?? batchNorm(golden)
        }

        @Test("operations leave their arguments alone and share memory where PyTorch does")
        func sharing() throws {
            let whole = try Tensor([1, 2, 3, 4, 5, 6] as [Float], [2, 3])
            let view = try whole.transposed(0, 1).sliced(0, 1, 2)
            try whole.scale(by: 10)
            #expect(try view.floats() == [20, 50])
            #expect(view.strides == [1, 3] && view.shape == [1, 2] && !whole.isContiguous == false)
            let copy = try whole.clone()
            try whole.fill(0)
            #expect(try copy.floats() == [10, 20, 30, 40, 50, 60])
            #expect(
                try whole.replacing([Tensor([1])], with: Tensor([7] as [Float])).floats() == [
                    0, 0, 0, 7, 7, 7,
                ])
            #expect(try whole.floats().allSatisfy { $0 == 0 })
            #expect(try copy.to(.float32) === copy && copy.dropout(0) === copy)
        }

        @Test("attention with dropout drops by the default generator")
        func attentionDropout() throws {
            let query = try Tensor.normal([1, 2, 4, 8], Generator(seed: 1))
            func run(_ dropout: Double) throws -> [Float] {
                try Generator.seedDefault(5)
                return try query.attention(key: query, value: query, dropout: dropout).floats()
            }
            #expect(try run(0.5) == run(0.5))
            #expect(try run(0.5) != run(0))
        }

        @Test("values survive the way to Swift and back in every element type")
        func transfer() throws {
            for dtype in DType.allCases {
                let tensor = try Tensor([0, 1, 1, 0] as [Double], [2, 2]).to(dtype)
                #expect(
                    tensor.dtype == dtype && tensor.shape == [2, 2] && tensor.count == 4 && tensor.rank == 2)
                #expect(try tensor.transposed(0, 1).doubles() == [0, 1, 1, 0])
                let bytes = try tensor.bytes()
                #expect(bytes.count == 4 * dtype.size)
                let again = try bytes.withUnsafeBytes { try Tensor(copying: $0, [2, 2], dtype) }
                #expect(try again.integers() == [0, 1, 1, 0])
                #expect(try again.sum().item() == 2)
            }
            #expect(try Tensor([.max, .min]).integers() == [.max, .min])
            #expect(try Tensor([Int.max]).integerItem() == .max)
            #expect(try Tensor([true, false]).integers() == [1, 0])
            #expect("\(try Tensor([1.5, -2] as [Float]))" == "Tensor([2], float32, 1.5 -2.0)")
            let written = try Tensor.zeros([2, 2])
            try written.withMutableBytes { $0.storeBytes(of: Float(3), toByteOffset: 4, as: Float.self) }
            #expect(try written.floats() == [0, 3, 0, 0])
        }
    }
}
