import Testing
import Torch

extension TorchTests {
    /// Attention over few positions, which the engine computes itself, beside libtorch's in float64.
    @Suite struct ShortAttention {
        /// Sizes [B, H, G, T, S, D] that divide by nothing, and the largest.
        static let shapes = [
            [1, 1, 1, 1, 1, 1], [2, 3, 3, 5, 7, 4], [1, 4, 2, 2, 9, 33], [3, 6, 2, 16, 16, 32],
            [2, 2, 1, 17, 31, 64], [1, 1, 1, 128, 128, 256],
        ]

        enum Mask: CaseIterable { case none, allowed, added, causal }

        /// Query, key and value as leaves, and the mask.
        struct Inputs {
            let leaves: [Tensor]
            let mask: Tensor?
            let causal: Bool
            let scale: Double

            /// - Parameter blinds: let the first row of the first head see nothing, of a mask that allows.
            init(_ shape: [Int], _ mask: Mask, _ dtype: DType, blinds: Bool = true) throws {
                let random = try Generator(seed: 11)
                let (b, h, g, t, s, d) = (shape[0], shape[1], shape[2], shape[3], shape[4], shape[5])
                // As a linear map gives them: [B, T, H, D], seen from another side.
                leaves = try [(h, t), (g, s), (g, s)].map { heads, length in
                    let leaf = try Tensor.normal([b, length, heads, d], random).transposed(1, 2).to(dtype)
                    try leaf.requireGradient()
                    return leaf
                }
                switch mask {
                case .allowed:
                    var allowed = try Tensor.uniform([b, h, t, s], 0, 1, random).doubles().map { $0 > 0.3 }
                    for index in 0..<s { allowed[index] = !blinds }
                    self.mask = try Tensor(allowed, [b, h, t, s])
                case .added: self.mask = try .normal([1, h, 1, s], random)
                default: self.mask = nil
                }
                causal = mask == .causal
                scale = 0.3
            }

            /// Of the leaves, or of the same numbers in float64.
            func attention(of leaves: [Tensor]) throws -> Tensor {
                let dtype = leaves[0].dtype
                let mask = try mask.map { $0.dtype == .bool ? $0 : try $0.to(dtype) }
                return try leaves[0].attention(
                    key: leaves[1], value: leaves[2], mask: mask, causal: causal, scale: scale,
                    grouped: leaves[0].shape[1] != leaves[1].shape[1])
            }

            func exact() throws -> [Tensor] {
                try leaves.map {
                    let leaf = try $0.detached().to(.float64)
                    try leaf.requireGradient()
                    return leaf
                }
            }
        }

        @Test("values and gradients equal libtorch's", arguments: shapes, Mask.allCases)
        func equal(_ shape: [Int], _ mask: Mask) throws {
            for (dtype, tolerance) in [(DType.float32, 5e-6), (.float16, 5e-3), (.bfloat16, 4e-2)] {
                let inputs = try Inputs(shape, mask, dtype)
                let leaves = try inputs.exact()
                let expected = try inputs.attention(of: leaves)
                let direction = try Tensor.normal(expected.shape, try Generator(seed: 12)).to(dtype)
                try expected.backward(direction.to(.float64))
                try withEachKernels { kernels in
                    let found = try inputs.attention(of: inputs.leaves)
                    #expect(found.dtype == dtype)
                    let label = "\(kernels), \(dtype)"
                    #expect(try relativeDifference(found, expected) <= tolerance, "\(label)")
                    try found.backward(direction)
                    for (leaf, exact) in zip(inputs.leaves, leaves) {
                        let gradient = try #require(try leaf.gradient())
                        let wanted = try #require(try exact.gradient())
                        let error = try (gradient.to(.float64) - wanted).abs().max().item()
                        let size = try max(1, wanted.abs().max().item())
                        #expect(error <= tolerance * size, "\(label)")
                        try leaf.setGradient(nil)
                    }
                }
            }
        }

        /// By its formula, in operations that libtorch differentiates twice.
        func written(_ inputs: Inputs, of leaves: [Tensor]) throws -> Tensor {
            let heads = leaves[0].shape[1]
            let (keys, values) = try (leaves[1].expandedHeads(to: heads), leaves[2].expandedHeads(to: heads))
            var scores = try leaves[0].matmul(keys.transposed(2, 3)) * inputs.scale
            let (asking, seen) = (scores.shape[2], scores.shape[3])
            if let mask = inputs.mask {
                scores = try mask.dtype == .bool ? scores.masked(mask.not(), -1e30) : scores + mask
            }
            if inputs.causal {
                let later = try Tensor.ones([asking, seen], .bool).lowerTriangle().not()
                scores = try scores.masked(later, -1e30)
            }
            return try scores.softmax(-1).matmul(values)
        }

        @Test("second derivatives equal those of the formula", arguments: Mask.allCases)
        func second(_ mask: Mask) throws {
            let inputs = try Inputs([2, 4, 2, 5, 6, 8], mask, .float32, blinds: false)
            func curvature(_ leaves: [Tensor], _ attention: ([Tensor]) throws -> Tensor) throws -> [Tensor] {
                let value = try attention(leaves).square().sum()
                let slopes = try gradients(of: [value], withRespectTo: leaves, createGraph: true)
                let cubes = try slopes.map { try #require($0).power(3).sum() }
                let bent = try cubes.reduce(.zeros([1], leaves[0].dtype), +)
                return try gradients(of: [bent], withRespectTo: leaves).map { try #require($0) }
            }
            let found = try curvature(inputs.leaves) { try inputs.attention(of: $0) }
            let expected = try curvature(inputs.exact()) { try written(inputs, of: $0) }
            for (found, wanted) in zip(found, expected) {
                #expect(try relativeDifference(found, wanted) <= 1e-5)
            }
        }

        @Test("only what needs a gradient gets one, and a second pass backward is refused")
        func parts() throws {
            let inputs = try Inputs([2, 2, 2, 3, 4, 5], .none, .float32)
            try inputs.leaves[1].requireGradient(false)
            let sum = try inputs.attention(of: inputs.leaves).sum()
            try sum.backward()
            #expect(try inputs.leaves[0].gradient() != nil && inputs.leaves[2].gradient() != nil)
            #expect(try inputs.leaves[1].gradient() == nil)
            #expect(throws: TorchError.self) { try sum.backward() }
            let without = try withoutGradients { try inputs.attention(of: inputs.leaves) }
            #expect(!without.requiresGradient)
        }

        @Test("a number that is none stays in its row")
        func notANumber() throws {
            var numbers = [Float](repeating: 0.5, count: 12)
            for broken in [Float.nan, .infinity] {
                numbers[5] = broken
                let x = try Tensor([Float](repeating: 0.25, count: 12), [1, 1, 3, 4])
                let found = try Tensor(numbers, [1, 1, 3, 4]).attention(key: x, value: x).doubles()
                #expect(found.map(\.isNaN) == (0..<12).map { (4..<8).contains($0) })
            }
        }

        @Test("many passes hold no memory")
        func memory() throws {
            let inputs = try Inputs([2, 2, 1, 6, 6, 8], .allowed, .float32)
            let before = Engine.liveTensors()
            for _ in 0..<200 {
                try inputs.attention(of: inputs.leaves).sum().backward()
                for leaf in inputs.leaves { try leaf.setGradient(nil) }
            }
            #expect(Engine.liveTensors() == before)
        }
    }
}

extension Tensor {
    /// [B, G, S, D] → [B, heads, S, D], neighbouring heads alike.
    fileprivate func expandedHeads(to heads: Int) throws -> Tensor {
        let (b, g, s, d) = (shape[0], shape[1], shape[2], shape[3])
        return try unsqueezed(2).expanded([b, g, heads / g, s, d]).reshaped([b, heads, s, d])
    }
}
