/// A quantised type: how one block of it is taken apart.
///
/// Every number of a block is w = scale · q + minimum, where q is a small integer and each group of numbers has its
/// scale and, in some types, its minimum. All products that lead to a scale, to a minimum and to scale · q are exact
/// in float32 (a half has 11 bits, a factor at most 8, q at most 8), so a single rounding is left, that of the sum,
/// and the result is that of ggml bit for bit.
///
/// Layouts: `ggml-common.h` and the `dequantize_row` functions of `ggml-quants.c`, github.com/ggml-org/ggml.
protocol BlockFormat {
    static var size: Int { get }
    static var bytes: Int { get }
    /// Numbers that share a scale.
    static var group: Int { get }
    static var hasMinima: Bool { get }
    /// Bits of a value.
    static var bits: Int { get }
    /// Takes the block at `block` apart into `size` values, and `size / group` scales and minima. Without minima,
    /// `minima` is not touched.
    static func unpack(
        _ block: UnsafePointer<UInt8>, _ values: UnsafeMutablePointer<Int8>,
        _ scales: UnsafeMutablePointer<Float>, _ minima: UnsafeMutablePointer<Float>)
    // Given once for all below. Requirements, so that each type gets its own compiled code.
    static func dequantise(_ source: UnsafeRawBufferPointer, to target: UnsafeMutablePointer<Float>)
    static func unpackAll(
        _ source: UnsafeRawBufferPointer, values: UnsafeMutablePointer<Int8>,
        scales: UnsafeMutablePointer<Float>, minima: UnsafeMutablePointer<Float>?)
}

/// The half-precision number at `bytes`.
@inline(__always)
private func half(_ bytes: UnsafePointer<UInt8>) -> Float {
    floatFromHalf(UInt16(bytes[0]) | UInt16(bytes[1]) << 8)
}

/// Bytes 0…15 hold the numbers 0…15 in their low halves and 16…31 in their high halves.
@inline(__always)
private func nibbles(_ bytes: UnsafePointer<UInt8>, _ values: UnsafeMutablePointer<Int8>, minus offset: Int8)
{
    for i in 0..<16 {
        values[i] = Int8(truncatingIfNeeded: bytes[i] & 15) &- offset
        values[16 + i] = Int8(truncatingIfNeeded: bytes[i] >> 4) &- offset
    }
}

/// As `nibbles`, with the fifth bit of number i in bit i of the four bytes at `high`.
@inline(__always)
private func fiveBits(
    _ bytes: UnsafePointer<UInt8>, _ high: UnsafePointer<UInt8>, _ values: UnsafeMutablePointer<Int8>,
    minus offset: Int8
) {
    for i in 0..<16 {
        let low = high[i / 8] >> UInt8(truncatingIfNeeded: i % 8) & 1
        let above = high[2 + i / 8] >> UInt8(truncatingIfNeeded: i % 8) & 1
        values[i] = Int8(truncatingIfNeeded: bytes[i] & 15 | low << 4) &- offset
        values[16 + i] = Int8(truncatingIfNeeded: bytes[i] >> 4 | above << 4) &- offset
    }
}

// MARK: Blocks of 32

/// Half scale, 16 bytes of 4-bit values less 8.
enum Q4_0: BlockFormat {
    static let size = 32, bytes = 18, group = 32, hasMinima = false, bits = 4

    @inline(__always) static func unpack(
        _ block: UnsafePointer<UInt8>, _ values: UnsafeMutablePointer<Int8>,
        _ scales: UnsafeMutablePointer<Float>, _ minima: UnsafeMutablePointer<Float>
    ) {
        scales[0] = half(block)
        nibbles(block + 2, values, minus: 8)
    }
}

/// Half scale, half minimum, 16 bytes of 4-bit values.
enum Q4_1: BlockFormat {
    static let size = 32, bytes = 20, group = 32, hasMinima = true, bits = 4

    @inline(__always) static func unpack(
        _ block: UnsafePointer<UInt8>, _ values: UnsafeMutablePointer<Int8>,
        _ scales: UnsafeMutablePointer<Float>, _ minima: UnsafeMutablePointer<Float>
    ) {
        scales[0] = half(block)
        minima[0] = half(block + 2)
        nibbles(block + 4, values, minus: 0)
    }
}

/// Half scale, 4 bytes of fifth bits, 16 bytes of low bits; values less 16.
enum Q5_0: BlockFormat {
    static let size = 32, bytes = 22, group = 32, hasMinima = false, bits = 5

    @inline(__always) static func unpack(
        _ block: UnsafePointer<UInt8>, _ values: UnsafeMutablePointer<Int8>,
        _ scales: UnsafeMutablePointer<Float>, _ minima: UnsafeMutablePointer<Float>
    ) {
        scales[0] = half(block)
        fiveBits(block + 6, block + 2, values, minus: 16)
    }
}

/// Half scale, half minimum, 4 bytes of fifth bits, 16 bytes of low bits.
enum Q5_1: BlockFormat {
    static let size = 32, bytes = 24, group = 32, hasMinima = true, bits = 5

    @inline(__always) static func unpack(
        _ block: UnsafePointer<UInt8>, _ values: UnsafeMutablePointer<Int8>,
        _ scales: UnsafeMutablePointer<Float>, _ minima: UnsafeMutablePointer<Float>
    ) {
        scales[0] = half(block)
        minima[0] = half(block + 2)
        fiveBits(block + 8, block + 4, values, minus: 0)
    }
}

/// Half scale, 32 signed bytes.
enum Q8_0: BlockFormat {
    static let size = 32, bytes = 34, group = 32, hasMinima = false, bits = 8

    @inline(__always) static func unpack(
        _ block: UnsafePointer<UInt8>, _ values: UnsafeMutablePointer<Int8>,
        _ scales: UnsafeMutablePointer<Float>, _ minima: UnsafeMutablePointer<Float>
    ) {
        scales[0] = half(block)
        for i in 0..<32 { values[i] = Int8(bitPattern: block[2 + i]) }
    }
}

// MARK: Blocks of 256

/// The 8 scales and 8 minima of Q4_K and Q5_K: 6 bits each in the 12 bytes after the two halves `d` and `dmin`.
@inline(__always)
private func sixBitScales(
    _ block: UnsafePointer<UInt8>, _ scales: UnsafeMutablePointer<Float>,
    _ minima: UnsafeMutablePointer<Float>
) {
    let (scale, minimum, packed) = (half(block), half(block + 2), block + 4)
    for i in 0..<4 {
        let (first, second, rest) = (packed[i], packed[4 + i], packed[8 + i])
        scales[i] = scale * Float(first & 63)
        minima[i] = -(minimum * Float(second & 63))
        scales[4 + i] = scale * Float(rest & 15 | (first >> 6) << 4)
        minima[4 + i] = -(minimum * Float(rest >> 4 | (second >> 6) << 4))
    }
}

/// 16 bytes of 4-bit scales and minima, 64 bytes of 2-bit values, halves `d` and `dmin`.
enum Q2_K: BlockFormat {
    static let size = 256, bytes = 84, group = 16, hasMinima = true, bits = 2

    @inline(__always) static func unpack(
        _ block: UnsafePointer<UInt8>, _ values: UnsafeMutablePointer<Int8>,
        _ scales: UnsafeMutablePointer<Float>, _ minima: UnsafeMutablePointer<Float>
    ) {
        let (scale, minimum) = (half(block + 80), half(block + 82))
        for i in 0..<16 {
            scales[i] = scale * Float(block[i] & 15)
            minima[i] = -(minimum * Float(block[i] >> 4))
        }
        twoBits(block + 16, values)
    }

    /// 32 bytes hold 128 numbers: the lowest two bits of each are the first 32 numbers, and so on.
    @inline(__always)
    static func twoBits(_ bytes: UnsafePointer<UInt8>, _ values: UnsafeMutablePointer<Int8>) {
        for side in 0..<2 {
            for part in 0..<4 {
                let (source, target) = (bytes + 32 * side, values + 128 * side + 32 * part)
                for i in 0..<32 {
                    target[i] = Int8(truncatingIfNeeded: source[i] >> UInt8(truncatingIfNeeded: 2 * part) & 3)
                }
            }
        }
    }
}

/// 32 bytes of third bits, 64 bytes of low bits, 16 scales of 6 bits less 32 in 12 bytes, a half. Where the third
/// bit is not set, 4 is taken off the value.
enum Q3_K: BlockFormat {
    static let size = 256, bytes = 110, group = 16, hasMinima = false, bits = 3

    @inline(__always) static func unpack(
        _ block: UnsafePointer<UInt8>, _ values: UnsafeMutablePointer<Int8>,
        _ scales: UnsafeMutablePointer<Float>, _ minima: UnsafeMutablePointer<Float>
    ) {
        let (packed, scale) = (block + 96, half(block + 108))
        for i in 0..<16 {
            let low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4
            let high = packed[8 + i % 4] >> UInt8(truncatingIfNeeded: i / 4 * 2) & 3
            scales[i] = scale * Float(Int(low | high << 4) - 32)
        }
        Q2_K.twoBits(block + 32, values)
        for part in 0..<8 {
            for i in 0..<32 {
                let bit = block[i] >> UInt8(truncatingIfNeeded: part) & 1
                values[32 * part + i] &-= Int8(truncatingIfNeeded: (bit ^ 1) << 2)
            }
        }
    }
}

/// Halves `d` and `dmin`, 12 bytes of scales and minima, 128 bytes: 32 bytes hold 64 numbers, the first 32 in
/// their low halves.
enum Q4_K: BlockFormat {
    static let size = 256, bytes = 144, group = 32, hasMinima = true, bits = 4

    @inline(__always) static func unpack(
        _ block: UnsafePointer<UInt8>, _ values: UnsafeMutablePointer<Int8>,
        _ scales: UnsafeMutablePointer<Float>, _ minima: UnsafeMutablePointer<Float>
    ) {
        sixBitScales(block, scales, minima)
        for part in 0..<4 {
            let (source, target) = (block + 16 + 32 * part, values + 64 * part)
            for i in 0..<32 {
                target[i] = Int8(truncatingIfNeeded: source[i] & 15)
                target[32 + i] = Int8(truncatingIfNeeded: source[i] >> 4)
            }
        }
    }
}

/// As Q4_K, with 32 bytes of fifth bits before the 128: bit k of byte i belongs to number 32·k + i.
enum Q5_K: BlockFormat {
    static let size = 256, bytes = 176, group = 32, hasMinima = true, bits = 5

    @inline(__always) static func unpack(
        _ block: UnsafePointer<UInt8>, _ values: UnsafeMutablePointer<Int8>,
        _ scales: UnsafeMutablePointer<Float>, _ minima: UnsafeMutablePointer<Float>
    ) {
        sixBitScales(block, scales, minima)
        let high = block + 16
        for part in 0..<4 {
            let (source, target) = (block + 48 + 32 * part, values + 64 * part)
            let shift = UInt8(truncatingIfNeeded: 2 * part)
            for i in 0..<32 {
                target[i] = Int8(truncatingIfNeeded: source[i] & 15 | (high[i] >> shift & 1) << 4)
                target[32 + i] = Int8(truncatingIfNeeded: source[i] >> 4 | (high[i] >> (shift + 1) & 1) << 4)
            }
        }
    }
}

/// 128 bytes of low four bits, 64 bytes of high two bits, 16 signed scales, a half; values less 32.
enum Q6_K: BlockFormat {
    static let size = 256, bytes = 210, group = 16, hasMinima = false, bits = 6

    @inline(__always) static func unpack(
        _ block: UnsafePointer<UInt8>, _ values: UnsafeMutablePointer<Int8>,
        _ scales: UnsafeMutablePointer<Float>, _ minima: UnsafeMutablePointer<Float>
    ) {
        let scale = half(block + 208)
        for i in 0..<16 { scales[i] = scale * Float(Int8(bitPattern: block[192 + i])) }
        for part in 0..<2 {
            let (low, high, target) = (block + 64 * part, block + 128 + 32 * part, values + 128 * part)
            for i in 0..<32 {
                let bits = high[i]
                target[i] = Int8(truncatingIfNeeded: low[i] & 15 | bits << 4 & 48) &- 32
                target[32 + i] = Int8(truncatingIfNeeded: low[32 + i] & 15 | bits << 2 & 48) &- 32
                target[64 + i] = Int8(truncatingIfNeeded: low[i] >> 4 | bits & 48) &- 32
                target[96 + i] = Int8(truncatingIfNeeded: low[32 + i] >> 4 | bits >> 2 & 48) &- 32
            }
        }
    }
}

extension GGMLType {
    /// How its blocks are taken apart; nil for plain types and for those known by size alone.
    var format: (any BlockFormat.Type)? {
        switch self {
        case .q4_0: Q4_0.self
        case .q4_1: Q4_1.self
        case .q5_0: Q5_0.self
        case .q5_1: Q5_1.self
        case .q8_0: Q8_0.self
        case .q2_K: Q2_K.self
        case .q3_K: Q3_K.self
        case .q4_K: Q4_K.self
        case .q5_K: Q5_K.self
        case .q6_K: Q6_K.self
        default: nil
        }
    }
}

// MARK: All blocks of a tensor

extension BlockFormat {
    /// Writes the float32 numbers of all blocks in `source` to `target`, which has room for them.
    static func dequantise(_ source: UnsafeRawBufferPointer, to target: UnsafeMutablePointer<Float>) {
        guard let base = source.assumingMemoryBound(to: UInt8.self).baseAddress else { return }
        withScratch { values, scales, minima in
            for index in 0..<source.count / bytes {
                unpack(base + index * bytes, values, scales, minima)
                for g in 0..<size / group {
                    let (q, w, scale) = (values + g * group, target + index * size + g * group, scales[g])
                    if hasMinima {
                        let minimum = minima[g]
                        for i in 0..<group { w[i] = scale * Float(q[i]) + minimum }
                    } else {
                        for i in 0..<group { w[i] = scale * Float(q[i]) }
                    }
                }
            }
        }
    }

    /// Takes all blocks in `source` apart into arrays that have room for them.
    static func unpackAll(
        _ source: UnsafeRawBufferPointer, values: UnsafeMutablePointer<Int8>,
        scales: UnsafeMutablePointer<Float>, minima: UnsafeMutablePointer<Float>?
    ) {
        guard let base = source.assumingMemoryBound(to: UInt8.self).baseAddress else { return }
        let groups = size / group
        withScratch { _, _, unused in
            for index in 0..<source.count / bytes {
                let minima = minima.map { $0 + index * groups } ?? unused
                unpack(base + index * bytes, values + index * size, scales + index * groups, minima)
            }
        }
    }

    /// Room for one block's parts.
    @inline(__always)
    private static func withScratch(
        _ body: (UnsafeMutablePointer<Int8>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) -> Void
    ) {
        withUnsafeTemporaryAllocation(of: Int8.self, capacity: size) { values in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * (size / group)) { factors in
                guard let values = values.baseAddress, let factors = factors.baseAddress else { return }
                body(values, factors, factors + size / group)
            }
        }
    }
}
