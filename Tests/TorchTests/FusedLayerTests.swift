import Testing
import Torch

extension TorchTests {
    /// Layers that the engine computes in one pass, beside libtorch's operations in float64.
    @Suite struct FusedLayers {
        /// A layer of two tensors.
        typealias Layer = (Tensor, Tensor) throws -> Tensor

        static let shapes = [[2], [3, 7], [2, 5, 33], [1, 16], [70, 577]]

        private func leaf(_ shape: [Int], seed: UInt64) throws -> Tensor {
            let leaf = try Tensor.normal(shape, try Generator(seed: seed))
            try leaf.requireGradient()
            return leaf
        }

        private func check(_ layer: Layer, _ first: Tensor, _ second: Tensor) throws {
            let exact = try [first, second].map {
                let leaf = try $0.detached().to(.float64)
                try leaf.requireGradient()
                return leaf
            }
            let expected = try layer(exact[0], exact[1])
            let direction = try Tensor.normal(expected.shape, try Generator(seed: 3))
            try expected.backward(direction.to(.float64))
            try withEachKernels { kernels in
                let found = try layer(first, second)
                #expect(found.dtype == .float32)
                #expect(try relativeDifference(found, expected) <= 2e-6, "\(kernels)")
                try found.backward(direction)
                for (leaf, exact) in zip([first, second], exact) {
                    let gradient = try #require(try leaf.gradient())
                    let wanted = try #require(try exact.gradient())
                    #expect(try relativeDifference(gradient, wanted) <= 1e-5, "\(kernels)")
                    try leaf.setGradient(nil)
                }
            }
        }

        @Test("values and gradients of the RMS norm equal libtorch's", arguments: shapes)
        func norm(_ shape: [Int]) throws {
            let size = shape.last ?? 1
            let layer: Layer = { try $0.rmsNorm([size], $1, epsilon: 1e-3) }
            try check(layer, leaf(shape, seed: 1), leaf([size], seed: 2))
        }

        @Test("values and gradients of the gated part equal libtorch's", arguments: shapes)
        func gated(_ shape: [Int]) throws {
            try check({ try $0.siluMultiplied(by: $1) }, leaf(shape, seed: 4), leaf(shape, seed: 5))
        }

        @Test("rows that lie apart in memory are the same rows")
        func strided() throws {
            let x = try leaf([5, 6, 4], seed: 6)
            let norm: Layer = { try $0.transposed(0, 1).rmsNorm([4], $1, epsilon: 1e-5) }
            try check(norm, x, leaf([4], seed: 7))
            try check({ try $0.transposed(0, 2).siluMultiplied(by: $1) }, x, leaf([4, 6, 5], seed: 8))
        }

        @Test("other shapes and types go through libtorch")
        func others() throws {
            let x = try Tensor.normal([2, 3, 4], try Generator(seed: 9))
            let both = try x.rmsNorm([3, 4], epsilon: 1e-5)
            #expect(try abs(both.selected(0, 0).square().mean().item() - 1) < 1e-3)
            let wide = try x.siluMultiplied(by: Tensor.ones([4]) * 2)
            #expect(try relativeDifference(wide, x.silu() * 2) == 0)
            let half = try x.to(.bfloat16).siluMultiplied(by: x.to(.bfloat16))
            #expect(half.dtype == .bfloat16)
            #expect(throws: TorchError.self) { try x.siluMultiplied(by: Tensor.ones([5])) }
            #expect(throws: TorchError.self) { try x.rmsNorm([5], Tensor.ones([5]), epsilon: 1e-5) }
        }

        @Test("second derivatives equal libtorch's")
        func second() throws {
            let layers: [(Layer, [Int])] = [
                ({ try $0.rmsNorm([6], $1, epsilon: 1e-4) }, [6]),
                ({ try $0.siluMultiplied(by: $1) }, [3, 6]),
            ]
            for (layer, shape) in layers {
                let leaves = try [leaf([3, 6], seed: 10), leaf(shape, seed: 11)]
                let exact = try leaves.map { try $0.detached().to(.float64) }
                for leaf in exact { try leaf.requireGradient() }
                func curvature(_ leaves: [Tensor]) throws -> [Tensor] {
                    let value = try layer(leaves[0], leaves[1]).square().sum()
                    let slopes = try gradients(of: [value], withRespectTo: leaves, createGraph: true)
                    let cubes = try slopes.map { try #require($0).power(3).sum() }
                    return try gradients(of: [cubes[0] + cubes[1]], withRespectTo: leaves)
                        .map { try #require($0) }
                }
                for (found, wanted) in try zip(curvature(leaves), curvature(exact)) {
                    #expect(try relativeDifference(found, wanted) <= 2e-5)
                }
            }
        }

        @Test("a number that is none stays in its row, and many passes hold no memory")
        func rows() throws {
            let x = try Tensor([1, .nan, 2, 3] as [Float], [2, 2])
            let normed = try x.rmsNorm([2], Tensor([1, 1] as [Float]), epsilon: 0).doubles()
            #expect(normed.map(\.isNaN) == [true, true, false, false])
            #expect(try x.siluMultiplied(by: x).doubles().map(\.isNaN) == [false, true, false, false])

            let (first, second) = try (leaf([4, 6], seed: 12), leaf([6], seed: 13))
            let before = Engine.liveTensors()
            for _ in 0..<200 {
                let hidden = try first.rmsNorm([6], second, epsilon: 1e-5)
                try hidden.siluMultiplied(by: hidden).sum().backward()
                try first.setGradient(nil)
                try second.setGradient(nil)
            }
            #expect(Engine.liveTensors() == before)
        }
    }
}
