import CTorch

/// A weight matrix [out, in] of 4 or 8 bits a number: w ≈ scale · q + minimum, with fp16 scale and minimum for every 32
/// numbers of a row. It takes 5 or 9 bits a number and is multiplied without being unpacked as a whole.
///
/// Numbers of GGUF's Q4_0, Q4_1 and Q8_0 blocks are represented exactly. Products are those of the dequantised matrix
/// in fp32 (see ``rounds``), on the CPU only. Gradients flow through to the input, so that adapters above and below can be
/// trained; the weight itself is frozen, and there are no second derivatives.
public struct QuantisedWeight {
    /// How GGUF files store blocks of 32 numbers.
    public enum BlockFormat: Int32, Sendable {
        case q4_0 = 0
        case q4_1 = 1
        case q8_0 = 2

        /// Bits of one number.
        public var bits: Int { self == .q8_0 ? 8 : 4 }
    }

    /// Numbers of a row that share scale and minimum.
    public static let groupSize = 32

    /// Scales, minima and values in the order of the kernels, uint8 [⌈out / 16⌉, ⌈in / 32⌉, 64 + 64 · bits]. A buffer:
    /// this is what a checkpoint of ours holds.
    public var packed: Tensor
    /// 4 or 8.
    public let bits: Int
    /// [out, in]
    public let shape: [Int]
    /// Whether more than 32 rows of a float32 input are multiplied in bfloat16, which is several times as fast where the
    /// processor has it: input, weight and result are rounded to 8 bits then.
    public var rounds = false

    /// The numbers of `weight` [out, in] rounded to the nearest of 16 or 256 steps between the smallest and the largest
    /// of each group. On the meta device it gets a shape and no memory.
    public init(_ weight: Tensor, bits: Int) throws(TorchError) {
        let shape = weight.shape
        if weight.device == .meta {
            self.packed = try QuantisedWeight.unfilled(shape, bits)
        } else {
            self.packed = try .make(weight) {
                $0.pointee.quantise(weight.handle, Int32(clamping: bits), $1)
            }
        }
        (self.bits, self.shape) = (bits, shape)
    }

    /// Exactly scale · value + minimum.
    ///
    /// - Parameters:
    ///   - values: uint8 [out, in], below 2^bits.
    ///   - scales: [out, ⌈in / 32⌉], rounded to fp16.
    ///   - minima: as the scales.
    public init(values: Tensor, scales: Tensor, minima: Tensor, bits: Int) throws(TorchError) {
        packed = try .make((values, scales, minima)) {
            $0.pointee.pack_values(
                values.handle, scales.handle, minima.handle, Int32(clamping: bits), $1)
        }
        (self.bits, shape) = (bits, values.shape)
    }

    /// The numbers of a matrix in a GGUF file, row by row, without loss.
    ///
    /// - Parameters:
    ///   - blocks: all blocks of the matrix; copied.
    ///   - shape: [out, in]; `in` is a multiple of 32.
    public init(
        blocks: UnsafeRawBufferPointer, _ format: BlockFormat, shape: [Int]
    ) throws(TorchError) {
        guard shape.count == 2 else {
            throw TorchError(.shape, operation: "pack_blocks", message: "needs [out, in], got \(shape)")
        }
        packed = try .make(()) {
            $0.pointee.pack_blocks(
                blocks.baseAddress, Int64(blocks.count), format.rawValue, Int64(shape[0]), Int64(shape[1]), $1
            )
        }
        (bits, self.shape) = (format.bits, shape)
    }

    private static func unfilled(_ shape: [Int], _ bits: Int) throws(TorchError) -> Tensor {
        guard bits == 4 || bits == 8, shape.count == 2 else {
            throw TorchError(
                .shape, operation: "quantise",
                message: "needs [out, in] and 4 or 8 bits, got \(shape) and \(bits)")
        }
        let rows = (shape[0] - 1) / 16 + 1
        let groups = (shape[1] - 1) / groupSize + 1
        return try .empty([rows, groups, 64 + 64 * bits], .uint8, on: .meta)
    }

    /// Bytes of scales, minima and values.
    public var byteCount: Int { packed.count }

    /// The numbers themselves, [out, in].
    public func dequantised(_ dtype: DType = .float32) throws(TorchError) -> Tensor {
        try .make(packed) {
            $0.pointee.dequantise(
                packed.handle, Int32(bits), Int64(shape[0]), Int64(shape[1]), dtype.rawValue, $1)
        }
    }

    /// The rows that int64 `indices` name, float32 [indices.shape…, in].
    public func rows(_ indices: Tensor) throws(TorchError) -> Tensor {
        try .make((packed, indices)) {
            $0.pointee.packed_rows(
                packed.handle, Int32(bits), Int64(shape[0]), Int64(shape[1]), indices.handle, $1)
        }
    }
}

extension Tensor {
    /// self [..., in] · weightᵀ + bias → [..., out], in the type of self.
    public func linear(_ weight: QuantisedWeight, _ bias: Tensor? = nil) throws(TorchError) -> Tensor {
        guard shape.last == weight.shape[1] else {
            throw TorchError(
                .shape, operation: "linear",
                message: "the input \(shape) does not end in the \(weight.shape[1]) columns of the weight")
        }
        return try .make((self, weight.packed, bias)) {
            $0.pointee.packed_linear(
                handle, weight.packed.handle, Int32(weight.bits), Int64(weight.shape[0]), bias?.handle,
                weight.rounds, $1)
        }
    }
}

extension Engine {
    /// The instruction set of our own loops: `baseline`, `avx2` or `avx512`.
    public static func kernels() throws(TorchError) -> String {
        String(cString: try engine().pointee.kernels())
    }

    /// Chooses them by name, or with nil the best; false when the processor cannot run them. For tests and
    /// benchmarks.
    @discardableResult
    public static func selectKernels(_ name: String?) throws(TorchError) -> Bool {
        let torch = try engine()
        guard let name else { return torch.pointee.select_kernels(nil) }
        return name.withCString { torch.pointee.select_kernels($0) }
    }
}
