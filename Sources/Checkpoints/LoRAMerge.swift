import Support
import Torch

/// Adds a LoRA adapter to the weights of its base model and writes the sum as safetensors:
/// W + scale · B·A, computed in float32 as peft's `merge_and_unload` does, and rounded to the base's type. Modules that
/// the adapter holds whole take the place of the base's.
///
/// Strict: a tensor of the adapter that has none in the base, or one of another shape, is an error that names it.
///
/// - Parameters:
///   - adapter: a folder by peft: see ``LoRAAdapter``.
///   - base: whatever ``Checkpoint`` opens, or a GGUF model.
///   - rename: the base's name of a module or tensor that the adapter calls otherwise.
///   - destination, type, shardBytes, progress: see ``convertCheckpoint(from:to:type:shardBytes:rename:progress:)``.
@discardableResult
public func mergeAdapter(
    _ adapter: String, into base: String, to destination: String, type: ConversionType = .keep,
    shardBytes: Int? = nil, rename: (String) throws -> String = { $0 },
    progress: (ConversionProgress) throws -> Void = { _ in }
) throws -> ConversionSummary {
    let adapter = try LoRAAdapter(opening: adapter, rename: rename)
    let (checkpoint, configuration) = try openForConversion(base)
    for name in adapter.names { try adapter.check(name, against: checkpoint) }
    let outputs = try checkpoint.infos.map { info in
        try ConversionOutput(info.name, info, type) {
            let view = try checkpoint.tensor(named: info.name)
            return try adapter.changes[info.name].map { try adapter.apply($0, to: view) } ?? view
        }
    }
    let summary = try write(
        outputs, to: destination, shardBytes: shardBytes, configuration: configuration, progress: progress)
    return try summary.adding(copyCompanions(of: base, to: destination, type: type))
}

extension LoRAAdapter {
    /// Throws unless the base has the tensor that is to be changed, in a shape that fits.
    fileprivate func check(_ name: String, against base: Checkpoint) throws {
        guard let change = changes[name] else { return }
        let tensors = [change.replacement, change.pair?.a, change.pair?.b, change.bias?.name].compactMap {
            $0
        }
        guard let info = base.info(named: name) else {
            throw failure(
                tensors.first ?? name, "the base model \(base.path) has no tensor \(shortened(name))")
        }
        func expect(_ tensor: String, _ found: [Int], _ expected: [Int]) throws {
            guard found != expected else { return }
            throw failure(
                tensor,
                "expected \(describe(expected)) for \(shortened(name)) of the base, found \(describe(found))")
        }
        if let replacement = change.replacement {
            try expect(replacement, shape(replacement), info.shape)
        }
        if let bias = change.bias { try expect(bias.name, shape(bias.name), info.shape) }
        if let pair = change.pair {
            let (a, b) = (shape(pair.a), shape(pair.b))
            let product = productShape(a, b, isEmbedding: pair.isEmbedding)
            guard let product, product == info.shape else {
                throw failure(
                    pair.b,
                    "\(describe(b)) times A's \(describe(a)) does not fit \(describe(info.shape)) of \(shortened(name))"
                )
            }
        }
    }

    private func shape(_ tensor: String) -> [Int] { checkpoint.info(named: tensor)?.shape ?? [] }

    /// The shape of B·A as the base stores it: [out, in…], or [in, out] when transposed. Nil when they do not fit
    /// each other. For convolutions A is [r, in, height, width] and B [out, r, 1, 1].
    private func productShape(_ a: [Int], _ b: [Int], isEmbedding: Bool) -> [Int]? {
        guard a.count >= 2, b.count >= 2, b[1] == a[0], b.dropFirst(2).allSatisfy({ $0 == 1 }) else {
            return nil
        }
        let product = [b[0]] + a.dropFirst()
        guard isEmbedding || isTransposed else { return product }
        return product.count == 2 ? product.reversed() : nil
    }

    /// The changed tensor, in the base's type.
    fileprivate func apply(_ change: Change, to base: TensorView) throws -> TensorView {
        // What replaces the base's tensor may be stored in another type.
        let start = try change.replacement.map { try checkpoint.tensor(named: $0) } ?? base
        guard change.pair != nil || change.bias != nil else { return try start.asType(of: base) }
        let wide: DType = base.elementType == .float64 ? .float64 : .float32
        var sum = try start.tensor().to(wide)
        if let pair = change.pair {
            let (a, b) = (try numbers(pair.a, wide), try numbers(pair.b, wide))
            var product = try b.reshaped([b.shape[0], -1]).matmul(a.reshaped([a.shape[0], -1]))
            if pair.isEmbedding || isTransposed { product = try product.transposed(0, 1) }
            sum = try sum + product.reshaped(sum.shape) * pair.scale
        }
        if let bias = change.bias { sum = try sum + numbers(bias.name, wide) * bias.scale }
        return try sum.to(base.elementType.dtype).view(as: base.info)
    }

    private func numbers(_ name: String, _ type: DType) throws -> Tensor {
        try checkpoint.tensor(named: name).tensor().to(type)
    }

    private func failure(_ tensor: String, _ why: String) -> VQAError {
        VQAError(
            "cannot merge the adapter", at: "\(checkpoint.path), tensor \(shortened(tensor))", because: why,
            remedy: "check that the adapter was made for this base model")
    }
}

extension TensorView {
    /// These numbers in the type of `base`, which has their shape, under its name.
    fileprivate func asType(of base: TensorView) throws -> TensorView {
        if elementType == base.elementType { return TensorView(info: base.info, bytes: bytes, owner: owner) }
        return try tensor().to(base.elementType.dtype).view(as: base.info)
    }
}

extension Tensor {
    /// A copy of the numbers, which have the type and shape of `info`.
    fileprivate func view(as info: TensorInfo) throws -> TensorView {
        let copy = try OwnedBytes(count: info.byteCount, for: info)
        try contiguous().withMutableBytes { copy.bytes.copyMemory(from: UnsafeRawBufferPointer($0)) }
        return TensorView(info: info, bytes: UnsafeRawBufferPointer(copy.bytes), owner: copy)
    }
}
