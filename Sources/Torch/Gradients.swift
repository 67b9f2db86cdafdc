import CTorch
import Support

// Automatic differentiation.
extension Tensor {
    /// True when operations on this tensor are recorded for the backward pass.
    public var requiresGradient: Bool { facts { $0.pointee.requires_gradient(handle) } ?? false }

    /// True for tensors that no recorded operation made.
    public var isLeaf: Bool { facts { $0.pointee.is_leaf(handle) } ?? true }

    /// Starts or stops recording for this leaf.
    public func requireGradient(_ value: Bool = true) throws(TorchError) {
        try Tensor.run(self) { $0.pointee.set_requires_gradient(handle, value) }
    }

    /// The same values, outside the graph.
    public func detached() throws(TorchError) -> Tensor { try .make(self) { $0.pointee.detach(handle, $1) } }

    /// What backward passes have added up in this leaf, or nil.
    public func gradient() throws(TorchError) -> Tensor? {
        let torch = try engine()
        var result: CTTensor?
        try check(withExtendedLifetime(self) { torch.pointee.gradient(handle, &result) }, torch)
        return result.map { Tensor(adopting: $0) }
    }

    /// Replaces what backward passes have added up; nil forgets it. Type, shape and device must be equal.
    public func setGradient(_ gradient: Tensor?) throws(TorchError) {
        try Tensor.run((self, gradient)) { $0.pointee.set_gradient(handle, gradient?.handle) }
    }

    /// Adds the derivatives of this scalar (or, with `gradient`, of any tensor) to the gradients of the
    /// leaves.
    ///
    /// - Parameters:
    ///   - retainGraph: keep the graph for another pass.
    ///   - createGraph: record the pass itself, for second derivatives.
    public func backward(_ gradient: Tensor? = nil, retainGraph: Bool = false, createGraph: Bool = false)
        throws(TorchError)
    {
        try Tensor.backward([self], [gradient], retainGraph: retainGraph, createGraph: createGraph)
    }

    fileprivate static func backward(
        _ roots: [Tensor], _ gradients: [Tensor?], retainGraph: Bool, createGraph: Bool
    ) throws(TorchError) {
        let given = gradients.map { $0?.handle }
        try run((gradients, roots)) { torch in
            withHandles(roots) { handles, count in
                given.withUnsafeBufferPointer {
                    torch.pointee.backward(
                        handles, $0.baseAddress, count, retainGraph || createGraph, createGraph)
                }
            }
        }
    }
}

/// The derivatives of `outputs` with respect to `inputs`, without touching the leaves' gradients.
///
/// - Parameters:
///   - outputGradients: one for each output; scalars need none.
///   - allowUnused: give nil for inputs that the outputs do not depend on, rather than throw.
public func gradients(
    of outputs: [Tensor], withRespectTo inputs: [Tensor], outputGradients: [Tensor?]? = nil,
    retainGraph: Bool = false,
    createGraph: Bool = false, allowUnused: Bool = false
) throws(TorchError) -> [Tensor?] {
    guard !outputs.isEmpty, !inputs.isEmpty, outputGradients.map({ $0.count == outputs.count }) ?? true else {
        throw TorchError(
            .shape, operation: "gradients", message: "needs outputs, inputs and one gradient an output")
    }
    let torch = try engine()
    var results = [CTTensor?](repeating: nil, count: inputs.count)
    let given = outputGradients?.map { $0?.handle }
    let status = withExtendedLifetime(outputGradients) {
        withHandles(outputs) { outputHandles, outputCount in
            withHandles(inputs) { inputHandles, inputCount in
                func call(_ gradients: UnsafePointer<CTTensor?>?) -> Int32 {
                    torch.pointee.gradients(
                        outputHandles, outputCount, gradients, inputHandles, inputCount,
                        retainGraph || createGraph,
                        createGraph, allowUnused, &results)
                }
                return given?.withUnsafeBufferPointer { call($0.baseAddress) } ?? call(nil)
            }
        }
    }
    try check(status, torch)
    return results.map { $0.map { Tensor(adopting: $0) } }
}

/// Runs `body` without recording operations. The closure is synchronous on purpose: recording belongs to the
/// thread.
public func withoutGradients<Result>(_ body: () throws -> Result) throws -> Result {
    try withGradientRecording(false, body)
}

/// Runs `body` with recording on, inside a `withoutGradients` as well.
public func withGradients<Result>(_ body: () throws -> Result) throws -> Result {
    try withGradientRecording(true, body)
}

private func withGradientRecording<Result>(_ value: Bool, _ body: () throws -> Result) throws -> Result {
    let torch = try engine()
    let before = torch.pointee.gradient_enabled()
    torch.pointee.set_gradient_enabled(value)
    defer { torch.pointee.set_gradient_enabled(before) }
    return try body()
}

/// Runs `body` with matrix products and convolutions in `dtype` (bf16 or fp16), as PyTorch's autocast does;
/// with float32 it just runs `body`.
public func withAutocast<Result>(_ dtype: DType, on device: Device = .cpu, _ body: () throws -> Result) throws
    -> Result
{
    guard dtype != .float32 else { return try body() }
    return try AutocastRegion(device.code.kind, true, dtype.rawValue).run(body)
}

/// Autocast of one kind of device: on or off, and the type it casts to.
private struct AutocastRegion {
    let kind: Int32
    let enabled: Bool
    let type: Int32

    init(_ kind: Int32, _ enabled: Bool, _ type: Int32) {
        (self.kind, self.enabled, self.type) = (kind, enabled, type)
    }

    static func current(_ kind: Int32) throws(TorchError) -> AutocastRegion {
        let torch = try engine()
        return AutocastRegion(kind, torch.pointee.autocast_enabled(kind), torch.pointee.autocast_type(kind))
    }

    func run<Result>(_ body: () throws -> Result) throws -> Result {
        let before = try AutocastRegion.current(kind)
        try set()
        defer {
            // The outermost region forgets the weights it has cast.
            if !before.enabled { try? engine().pointee.clear_autocast_cache() }
            try? before.set()
        }
        return try body()
    }

    private func set() throws(TorchError) {
        let torch = try engine()
        try check(torch.pointee.set_autocast(kind, enabled, type), torch)
    }
}

/// Runs `body` on `inputs` without keeping what is needed for the backward pass, and runs it again during
/// that pass: less memory for one more forward (activation checkpointing, Chen et al. 2016).
///
/// Parameters used inside get their gradients from ``Tensor/backward(_:retainGraph:createGraph:)`` as usual;
/// every other tensor that requires a gradient must be one of `inputs`. The second run sees the default
/// random generator and the autocast of the first, so dropout repeats itself. An error of the second run
/// comes back from the backward pass, as ``TorchError/Kind/callback``. Second derivatives are refused.
public func recomputed(_ inputs: [Tensor], _ body: @escaping ([Tensor]) throws -> [Tensor]) throws -> [Tensor]
{
    let torch = try engine()
    let enabled = torch.pointee.gradient_enabled()
    guard enabled else { return try body(inputs) }
    guard inputs.contains(where: \.requiresGradient) else {
        throw TorchError(
            .internal, operation: "recomputed",
            message: "no input requires a gradient, so none would reach the body")
    }
    let context = try Recomputation(
        inputs: inputs, state: .make(()) { $0.pointee.default_generator_state($1) },
        autocast: [.current(Int32(CT_CPU)), .current(Int32(CT_CUDA))], body: body)
    let values = try withoutGradients { try body(inputs) }
    guard !values.isEmpty else { return values }
    var results = [CTTensor?](repeating: nil, count: values.count)
    let status = withHandles(inputs) { inputHandles, inputCount in
        withHandles(values) { valueHandles, valueCount in
            torch.pointee.custom_function(
                inputHandles, inputCount, valueHandles, valueCount, recomputeBackward,
                Unmanaged.passRetained(context).toOpaque(),
                { Unmanaged<Recomputation>.fromOpaque($0).release() }, &results)
        }
    }
    try check(status, torch)
    return results.compactMap { $0.map { Tensor(adopting: $0) } }
}

/// What the second run of ``recomputed(_:_:)`` needs.
private final class Recomputation {
    let inputs: [Tensor]
    let state: Tensor
    let autocast: [AutocastRegion]
    let body: ([Tensor]) throws -> [Tensor]

    init(
        inputs: [Tensor], state: Tensor, autocast: [AutocastRegion],
        body: @escaping ([Tensor]) throws -> [Tensor]
    ) {
        (self.inputs, self.state, self.autocast, self.body) = (inputs, state, autocast, body)
    }

    /// The gradients of the inputs, given those of the outputs.
    func gradients(_ given: [Tensor?]) throws -> [Tensor?] {
        let now: Tensor = try .make(()) { $0.pointee.default_generator_state($1) }
        try Tensor.run(state) { $0.pointee.set_default_generator_state(state.handle) }
        defer { try? Tensor.run(now) { $0.pointee.set_default_generator_state(now.handle) } }
        let fresh = try inputs.map { input in
            let copy = try input.detached()
            if input.requiresGradient { try copy.requireGradient() }
            return copy
        }
        let outputs = try withGradients { try run(autocast[...], fresh) }
        guard outputs.count == given.count else {
            throw TorchError(
                .internal, operation: "recomputed",
                message: "the second run gave \(outputs.count) results, the first \(given.count)")
        }
        let used = zip(outputs, given).filter { $0.requiresGradient && $1 != nil }
        if !used.isEmpty {
            try Tensor.backward(used.map(\.0), used.map(\.1), retainGraph: false, createGraph: false)
        }
        return try fresh.map { try $0.gradient() }
    }

    /// Runs the body inside the autocast regions it had at first.
    private func run(_ regions: ArraySlice<AutocastRegion>, _ fresh: [Tensor]) throws -> [Tensor] {
        guard let region = regions.first else { return try body(fresh) }
        return try region.run { try run(regions.dropFirst(), fresh) }
    }
}

private let recomputeBackward: CTBackward = {
    context, gradients, count, results, resultCount, message, capacity in
    let recomputation = Unmanaged<Recomputation>.fromOpaque(context).takeUnretainedValue()
    do {
        let torch = try engine()
        let given: [Tensor?] = try (0..<Int(count)).map { index in
            guard let handle = gradients[index] else { return nil }
            var shared: CTTensor?
            try check(torch.pointee.share(handle, &shared), torch)
            return shared.map { Tensor(adopting: $0) }
        }
        let computed = try recomputation.gradients(given)
        for (index, gradient) in computed.enumerated() where index < Int(resultCount) {
            guard let gradient else { continue }
            var shared: CTTensor?
            try check(torch.pointee.share(gradient.handle, &shared), torch)
            results[index] = shared
        }
        return 0
    } catch {
        let text = oneLine("\(error)").utf8.prefix(Int(capacity) - 1)
        for (index, byte) in text.enumerated() { message[index] = CChar(bitPattern: byte) }
        message[text.count] = 0
        return Int32(CT_ERROR_CALLBACK)
    }
}
