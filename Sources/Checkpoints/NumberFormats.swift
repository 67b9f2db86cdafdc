/// Conversions between the floating-point types of a checkpoint, as PyTorch and NumPy do them: to a narrower type the
/// nearest number, the even one of two. Written with bits, so that they do not depend on the processor.

/// The float32 of a half-precision number; exact.
@inline(__always)
func floatFromHalf(_ half: UInt16) -> Float {
    let (sign, exponent) = (UInt32(half & 0x8000) << 16, half & 0x7C00)
    let fraction = UInt32(half & 0x03FF)
    if exponent == 0 {
        // A subnormal number: the fraction counts steps of 2^-24.
        return Float(bitPattern: (Float(fraction) * 0x1p-24).bitPattern | sign)
    }
    // Both exponents' biases differ by 112; infinity and NaN have all exponent bits.
    let wide = exponent == 0x7C00 ? 0x7F80_0000 : (UInt32(exponent) << 13) &+ (112 << 23)
    return Float(bitPattern: sign | wide | fraction << 13)
}

/// The float32 of a bfloat16 number; exact.
@inline(__always)
func floatFromBFloat16(_ number: UInt16) -> Float { Float(bitPattern: UInt32(number) << 16) }

/// The nearest bfloat16; NaN stays NaN.
@inline(__always)
func bfloat16(_ number: Float) -> UInt16 {
    let bits = number.bitPattern
    if number.isNaN { return 0x7FC0 }
    return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16)
}

/// The nearest half-precision number; from 65,520 on infinity, NaN stays NaN.
@inline(__always)
func half(_ number: Float) -> UInt16 {
    let sign = UInt16(truncatingIfNeeded: number.bitPattern >> 16) & 0x8000
    let bits = number.bitPattern & 0x7FFF_FFFF
    if bits > 0x7F80_0000 { return sign | 0x7E00 }
    if bits >= 0x477F_F000 { return sign | 0x7C00 }
    if bits < 0x3880_0000 {
        // Below 2^-14: adding 0.5 leaves the count of steps of 2^-24, rounded, in the lowest bits.
        let steps = (Float(bitPattern: bits) + 0.5).bitPattern &- Float(0.5).bitPattern
        return sign | UInt16(truncatingIfNeeded: steps)
    }
    let rounded = bits &+ 0x0FFF &+ (bits >> 13 & 1)
    return sign | UInt16(truncatingIfNeeded: (rounded &- (112 << 23)) >> 13)
}

/// Reads `count` numbers of a type from number `start` of `source` as float32, which rounds 64-bit types.
func readFloats(
    _ source: UnsafeRawBufferPointer, _ type: ElementType, from start: Int, count: Int,
    into target: UnsafeMutablePointer<Float>
) {
    @inline(__always) func read<Stored: BitwiseCopyable>(_: Stored.Type, _ convert: (Stored) -> Float) {
        let size = MemoryLayout<Stored>.size
        for i in 0..<count {
            target[i] = convert(source.loadUnaligned(fromByteOffset: (start + i) * size, as: Stored.self))
        }
    }
    switch type {
    case .float32: read(Float.self) { $0 }
    case .float16: read(UInt16.self, floatFromHalf)
    case .bfloat16: read(UInt16.self, floatFromBFloat16)
    case .float64: read(Double.self) { Float($0) }
    case .int64: read(Int64.self) { Float($0) }
    case .int32: read(Int32.self) { Float($0) }
    case .int16: read(Int16.self) { Float($0) }
    case .int8: read(Int8.self) { Float($0) }
    case .uint8, .bool: read(UInt8.self) { Float($0) }
    }
}
