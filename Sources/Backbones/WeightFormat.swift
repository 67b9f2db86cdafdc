import Support
import Torch

/// How the weights of a frozen model are kept in memory.
public enum WeightFormat: String, Sendable, CaseIterable {
    /// As the file has them; quantised GGUF weights stay so. float32 where the processor has no fast form of a half type.
    case automatic = "auto"
    case float32, bfloat16, float16
    /// 8 bits a number, with a scale and a minimum for every 32.
    case int8
    /// 4 bits a number, with a scale and a minimum for every 32.
    case int4

    /// The format of that name.
    public init(named name: String) throws {
        guard let format = WeightFormat(rawValue: name) else {
            throw VQAError(
                "cannot keep the weights", at: "--dtype \(name)",
                because: "it is not one of " + WeightFormat.allCases.map(\.rawValue).joined(separator: ", "),
                remedy: nearestMatch(to: name, in: WeightFormat.allCases.map(\.rawValue)).map {
                    "did you mean '\($0)'?"
                })
        }
        self = format
    }

    /// The type of plain tensors, given that of the file; nil keeps it.
    private func plain(_ stored: DType) -> DType? {
        switch self {
        case .automatic: stored == .bfloat16 && Engine.hasNativeBFloat16 ? nil : .float32
        case .float32, .int8, .int4: .float32
        case .bfloat16: .bfloat16
        case .float16: .float16
        }
    }

    private var bits: Int? {
        switch self {
        case .int8: 8
        case .int4: 4
        default: nil
        }
    }

    /// Brings the mapped weights of a model to this format, one after the other: each is let go before the next is made.
    ///
    /// Maps are packed, except those with fewer than 32 inputs, which would not get smaller; tables, norms and biases are not.
    public func apply(to module: inout some Module) throws {
        if let bits {
            try module.forEachLayer { _, layer in
                guard var linear = layer as? Linear, linear.quantised == nil,
                    (linear.weight.shape.last ?? 0) >= 32
                else { return }
                try linear.quantise(bits: bits)
                layer = linear
            }
        }
        try module.forEachParameter { slot, tensor in
            guard !slot.isBuffer, tensor.dtype.isFloatingPoint, tensor.device != .meta else { return }
            // A table is read row by row: half a type is enough for it.
            if bits != nil, slot.key.contains("embed_tokens") || slot.key.hasSuffix("shared.weight") {
                return
            }
            if let wanted = plain(tensor.dtype) { tensor = try tensor.to(wanted) }
        }
    }
}
