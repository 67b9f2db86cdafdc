import Testing
import Torch

extension TorchTests {
    @Suite struct Autocast {
        @Test("matrix products and convolutions are done in the asked type, the rest is not")
        func types() throws {
            let (a, b) = (try Tensor.ones([2, 3]), try Tensor.ones([3, 3]))
            for dtype in [DType.bfloat16, .float16] {
                try withAutocast(dtype) { () throws in
                    #expect(try a.matmul(b).dtype == dtype)
                    #expect(try a.linear(b).dtype == dtype)
                    #expect(
                        try Tensor.ones([1, 1, 3, 3]).convolved(Tensor.ones([1, 1, 2, 2])).dtype == dtype)
                    #expect(try (a + 1).dtype == .float32)
                    #expect(try a.matmul(b).crossEntropy(Tensor([0, 1])).dtype == .float32)
                }
            }
            try withAutocast(.float32) { () throws in #expect(try a.matmul(b).dtype == .float32) }
            #expect(try a.matmul(b).dtype == .float32)
        }

        @Test("it nests, ends after an error, and refuses other types")
        func restored() throws {
            struct Stop: Error {}
            let a = try Tensor.ones([2, 2])
            try withAutocast(.bfloat16) { () throws in
                try withAutocast(.float16) { () throws in #expect(try a.matmul(a).dtype == .float16) }
                #expect(try a.matmul(a).dtype == .bfloat16)
                #expect(throws: Stop.self) { try withAutocast(.float16) { throw Stop() } }
                #expect(try a.matmul(a).dtype == .bfloat16)
            }
            #expect(throws: Stop.self) { try withAutocast(.bfloat16) { throw Stop() } }
            #expect(try a.matmul(a).dtype == .float32)
            expectError(.type) { try withAutocast(.int64) {} }
            #expect(try a.matmul(a).dtype == .float32)
        }

        @Test("gradients of fp32 parameters stay fp32, also when the weight was first used without recording")
        func gradients() throws {
            let (x, weight) = (try Tensor.ones([2, 3]), try Tensor.ones([4, 3]))
            try weight.requireGradient()
            let loss = try withAutocast(.bfloat16) {
                _ = try withoutGradients { try x.linear(weight) }
                return try x.linear(weight).sum()
            }
            try loss.backward()
            let gradient = try #require(try weight.gradient())
            #expect(gradient.dtype == .float32)
            #expect(try gradient.floats() == Array(repeating: 2, count: 12))
            // A cast weight is forgotten at the end of the region.
            try withoutGradients { try weight.fill(2) }
            #expect(try withAutocast(.bfloat16) { try x.linear(weight).floats().allSatisfy { $0 == 6 } })
        }
    }
}
