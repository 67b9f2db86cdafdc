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
