import Support
import Torch

extension ElementType {
    /// The same type as libtorch names it.
    public var dtype: DType {
        switch self {
        case .float64: .float64
        case .float32: .float32
        case .float16: .float16
        case .bfloat16: .bfloat16
        case .int64: .int64
        case .int32: .int32
        case .int16: .int16
        case .int8: .int8
        case .uint8: .uint8
        case .bool: .bool
        }
    }

    /// The type of that name.
    public init(_ dtype: DType) {
        switch dtype {
        case .float64: self = .float64
        case .float32: self = .float32
        case .float16: self = .float16
        case .bfloat16: self = .bfloat16
        case .int64: self = .int64
        case .int32: self = .int32
        case .int16: self = .int16
        case .int8: self = .int8
        case .uint8: self = .uint8
        case .bool: self = .bool
        }
    }
}

extension TensorView {
    /// The tensor over the mapped bytes; nothing is copied unless the file left them unaligned. Read-only.
    public func tensor() throws -> Tensor {
        let view = try aligned()
        guard view.elementCount > 0 else { return try .empty(view.shape, view.elementType.dtype) }
        return try Tensor(mapping: view.bytes, view.shape, view.elementType.dtype, owner: view.owner)
    }
}

extension Checkpoint {
    /// All tensors by name, mapped.
    public func tensors() throws -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for name in names { result[name] = try tensor(named: name).tensor() }
        return result
    }
}

extension Module {
    /// Puts the tensors of a checkpoint into this module. Strict: every parameter must be there in its shape, and nothing
    /// may be left over.
    ///
    /// - Parameters:
    ///   - weights: tensors by key, after the architecture's renaming.
    ///   - source: the file, for errors.
    ///   - prefix: of the keys that belong to this module.
    public mutating func load(_ weights: [String: Tensor], from source: String, prefix: String = "") throws {
        let expected = try parameters(prefix: prefix).map { StrictMatch.Expected($0.key, $0.tensor.shape) }
        var found: [String: TensorInfo] = [:]
        for (key, tensor) in weights {
            found[key] = try TensorInfo(
                name: key, elementType: ElementType(tensor.dtype), shape: tensor.shape, file: source)
        }
        try StrictMatch(expected: expected, found: found, path: source).check()
        try forEachParameter(prefix: prefix) { slot, tensor in
            guard let weight = weights[slot.key] else { return }
            // Counters may be stored in another integer type; floating types are kept as the file has them.
            let sameKind = weight.dtype.isFloatingPoint == tensor.dtype.isFloatingPoint
            tensor = sameKind ? weight : try weight.to(tensor.dtype)
        }
    }
}

/// Writes tensors as safetensors, atomically. Two tensors with one key are an error.
public func writeTensors(_ tensors: [NamedTensor], metadata: [String: String] = [:], to path: String) throws {
    let infos = try tensors.map {
        try TensorInfo(name: $0.key, elementType: ElementType($0.tensor.dtype), shape: $0.tensor.shape)
    }
    var writer = try SafetensorsWriter(path, tensors: infos, metadata: metadata)
    let byName = Dictionary(tensors.map { ($0.key, $0.tensor) }) { first, _ in first }
    for info in writer.order {
        guard let tensor = byName[info.name] else { continue }
        try tensor.bytes().withUnsafeBytes { try writer.write($0) }
    }
    try writer.commit()
}
