import Support
import Torch

extension GGUFTensor {
    /// The tensor in the wanted element type. In its own type it is mapped and nothing is copied; quantised numbers
    /// become float32 first. Read-only.
    public func tensor(_ dtype: DType = .float32) throws -> Tensor { try view().tensor().to(dtype) }
}

extension GGUFModel {
    /// All tensors by Hugging Face name. F32, F16 and BF16 are mapped in their own type unless `dtype` says otherwise;
    /// quantised ones are float32 or `dtype`.
    public func tensors(_ dtype: DType? = nil) throws -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for name in checkpoint.names {
            let tensor = try checkpoint.tensor(named: name).tensor()
            result[name] = try dtype.map { try tensor.to($0) } ?? tensor
        }
        return result
    }
}

extension GGUFTensor {
    /// The matrix as a packed weight of 4 or 8 bits; nil for types that are not quantised.
    ///
    /// Q4_0, Q4_1 and Q8_0 keep their numbers exactly. The other types share a scale in ways the packed form does not
    /// have: 4-bit ones keep their 4 bits with scales rounded to fp16, wider ones are rounded to 8 bits.
    public func packed() throws -> QuantisedWeight? {
        guard type.isQuantised, shape.count == 2 else { return nil }
        let exact: [GGMLType: QuantisedWeight.BlockFormat] = [.q4_0: .q4_0, .q4_1: .q4_1, .q8_0: .q8_0]
        if let format = exact[type] {
            return try withBytes { try QuantisedWeight(blocks: $0, format, shape: shape) }
        }
        let blocks = try blocks()
        guard blocks.bits == 4, blocks.groupSize == QuantisedWeight.groupSize, let minima = blocks.minima
        else {
            return try QuantisedWeight(tensor(.float32), bits: 8)
        }
        let groups = [shape[0], shape[1] / blocks.groupSize]
        let values = try blocks.values.withUnsafeBytes { try Tensor(copying: $0, shape, .uint8) }
        return try QuantisedWeight(
            values: values, scales: Tensor(blocks.scales, groups), minima: Tensor(minima, groups), bits: 4)
    }
}

extension Module {
    /// Puts the tensors of a GGUF model into this module, quantised ones as they are. Strict, as
    /// ``load(_:from:prefix:)``.
    public mutating func load(_ model: GGUFModel) throws {
        let expected = try parameters().map { StrictMatch.Expected($0.key, $0.tensor.shape) }
        let found = Dictionary(uniqueKeysWithValues: model.checkpoint.infos.map { ($0.name, $0) })
        try StrictMatch(expected: expected, found: found, path: model.file.path).check()
        var packed: Set<String> = []
        try forEachLayer { name, layer in
            guard let weight = try model.tensor(named: name + ".weight").packed() else { return }
            try layer.quantise(weight)
            packed.insert(name + ".weight.packed")
        }
        try forEachParameter { slot, tensor in
            if packed.contains(slot.key) { return }
            tensor = try model.tensor(named: slot.key).tensor(.float32)
        }
    }
}
