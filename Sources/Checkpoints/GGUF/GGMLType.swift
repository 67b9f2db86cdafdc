/// How the numbers of a tensor are stored in a GGUF file.
///
/// Codes and block sizes: `ggml.h` and `ggml-common.h` of github.com/ggml-org/ggml. The names with `IQ`, `TQ`,
/// `MX`, `NV`, Q8_K and Q1_0 are known by size alone: such a tensor is listed but its numbers are refused.
public enum GGMLType: UInt32, Sendable, CaseIterable, CustomStringConvertible {
    case f32 = 0
    case f16 = 1
    case q4_0 = 2
    case q4_1 = 3
    case q5_0 = 6
    case q5_1 = 7
    case q8_0 = 8
    case q2_K = 10
    case q3_K = 11
    case q4_K = 12
    case q5_K = 13
    case q6_K = 14
    case q8_K = 15
    case iq2_XXS = 16
    case iq2_XS = 17
    case iq3_XXS = 18
    case iq1_S = 19
    case iq4_NL = 20
    case iq3_S = 21
    case iq2_S = 22
    case iq4_XS = 23
    case i8 = 24
    case i16 = 25
    case i32 = 26
    case i64 = 27
    case f64 = 28
    case iq1_M = 29
    case bf16 = 30
    case tq1_0 = 34
    case tq2_0 = 35
    case mxfp4 = 39
    case nvfp4 = 40
    case q1_0 = 41

    /// Numbers that are stored together; 1 for plain types. The innermost dimension is a multiple of it.
    public var blockSize: Int { block.size }
    /// Bytes of one block.
    public var blockBytes: Int { block.bytes }

    private var block: (size: Int, bytes: Int) {
        switch self {
        case .f32, .i32: (1, 4)
        case .f16, .bf16, .i16: (1, 2)
        case .f64, .i64: (1, 8)
        case .i8: (1, 1)
        case .q4_0: (32, 18)
        case .q4_1: (32, 20)
        case .q5_0: (32, 22)
        case .q5_1: (32, 24)
        case .q8_0: (32, 34)
        case .q2_K: (256, 84)
        case .q3_K: (256, 110)
        case .q4_K: (256, 144)
        case .q5_K: (256, 176)
        case .q6_K: (256, 210)
        case .q8_K: (256, 292)
        case .iq2_XXS: (256, 66)
        case .iq2_XS: (256, 74)
        case .iq3_XXS: (256, 98)
        case .iq1_S: (256, 50)
        case .iq4_NL: (32, 18)
        case .iq3_S: (256, 110)
        case .iq2_S: (256, 82)
        case .iq4_XS: (256, 136)
        case .iq1_M: (256, 56)
        case .tq1_0: (256, 54)
        case .tq2_0: (256, 66)
        case .mxfp4: (32, 17)
        case .nvfp4: (64, 36)
        case .q1_0: (128, 18)
        }
    }

    /// The same type as a safetensors file would have it; nil for quantised types.
    public var elementType: ElementType? {
        switch self {
        case .f32: .float32
        case .f16: .float16
        case .bf16: .bfloat16
        case .f64: .float64
        case .i8: .int8
        case .i16: .int16
        case .i32: .int32
        case .i64: .int64
        default: nil
        }
    }

    /// True when several numbers share a scale.
    public var isQuantised: Bool { elementType == nil }

    /// The name ggml uses, such as `Q4_K`.
    public var description: String { Self.names[self] ?? "type \(rawValue)" }

    private static let names: [GGMLType: String] = [
        .f32: "F32", .f16: "F16", .q4_0: "Q4_0", .q4_1: "Q4_1", .q5_0: "Q5_0", .q5_1: "Q5_1", .q8_0: "Q8_0",
        .q2_K: "Q2_K", .q3_K: "Q3_K", .q4_K: "Q4_K", .q5_K: "Q5_K", .q6_K: "Q6_K", .q8_K: "Q8_K",
        .iq2_XXS: "IQ2_XXS", .iq2_XS: "IQ2_XS", .iq3_XXS: "IQ3_XXS", .iq1_S: "IQ1_S", .iq4_NL: "IQ4_NL",
        .iq3_S: "IQ3_S", .iq2_S: "IQ2_S", .iq4_XS: "IQ4_XS", .i8: "I8", .i16: "I16", .i32: "I32", .i64: "I64",
        .f64: "F64", .iq1_M: "IQ1_M", .bf16: "BF16", .tq1_0: "TQ1_0", .tq2_0: "TQ2_0", .mxfp4: "MXFP4",
        .nvfp4: "NVFP4", .q1_0: "Q1_0",
    ]
}

/// The bytes of a tensor of that shape, outermost dimension first; nil when the innermost dimension is no whole
/// number of blocks, a dimension is negative or the product exceeds 63 bits.
func byteCount(of shape: [Int], _ type: GGMLType) -> Int? {
    // No dimension at all is one number.
    guard (shape.last ?? 1) % type.blockSize == 0,
        let elements = byteCounts(of: shape, .int8)?.elements
    else { return nil }
    let (bytes, overflow) = (elements / type.blockSize).multipliedReportingOverflow(by: type.blockBytes)
    return overflow ? nil : bytes
}
