import CTorch
import Support

/// The update rule of an optimiser.
public enum OptimizerKind: Sendable, Equatable {
    /// PyTorch's AdamW: decay first, epsilon added after the bias correction (Loshchilov and Hutter 2019).
    case adamW(beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8)
    /// The form of early Hugging Face releases, which several of the methods were trained with: epsilon is
    /// added before the bias correction, and decay comes after the step, on the updated weight, with the
    /// plain rate.
    case adamWOriginal(beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8)
    /// Adam with decay added to the gradient.
    case adam(beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8)
    case sgd(momentum: Double = 0, nesterov: Bool = false)
}

/// Parameters that share a learning rate and a decay.
public struct ParameterGroup {
    /// What is updated, with the names a checkpoint of the state uses.
    public var parameters: [NamedTensor]
    /// The learning rate of a step is multiplied by this.
    public var rateScale: Double
    /// Weight decay, applied as the rule says.
    public var decay: Double

    /// A group with the plain learning rate and no decay unless told otherwise.
    public init(_ parameters: [NamedTensor], rateScale: Double = 1, decay: Double = 0) {
        self.parameters = parameters
        self.rateScale = rateScale
        self.decay = decay
    }
}

/// Updates parameters in place from their gradients. A parameter without a gradient is left alone, its state
/// too.
public final class Optimizer {
    /// The update rule.
    public let kind: OptimizerKind
    /// The parameters with their rates and decays.
    public let groups: [ParameterGroup]

    /// What the rule remembers of one parameter.
    private struct State {
        var steps = 0
        /// Running mean of the gradient, or momentum.
        var mean: Tensor?
        /// Running mean of its square.
        var square: Tensor?
    }
    private var states: [[State]]

    /// Keeps the parameters; state for them is made at their first step with a gradient.
    public init(_ kind: OptimizerKind, _ groups: [ParameterGroup]) {
        self.kind = kind
        self.groups = groups
        states = groups.map { group in group.parameters.map { _ in State() } }
    }

    /// Those of all groups, in order.
    public var parameters: [NamedTensor] { groups.flatMap(\.parameters) }

    /// Forgets the gradients.
    public func clearGradients() throws(TorchError) {
        for group in groups {
            for parameter in group.parameters { try parameter.tensor.setGradient(nil) }
        }
    }

    /// The Euclidean length of all gradients together; more than `limit`, they are scaled down to it.
    @discardableResult
    public func clipGradients(to limit: Double? = nil) throws(TorchError) -> Double {
        let found = try gradientList()
        guard !found.isEmpty else { return 0 }
        let torch = try engine()
        var norm = 0.0
        try check(withHandles(found) { torch.pointee.total_norm($0, $1, &norm) }, torch)
        // PyTorch's clip_grad_norm_ adds the same 1e-6.
        if let limit, norm.isFinite, norm + 1e-6 > limit {
            try check(withHandles(found) { torch.pointee.scale_all($0, $1, limit / (norm + 1e-6)) }, torch)
        }
        return norm
    }

    func scaleGradients(by factor: Double) throws(TorchError) {
        let found = try gradientList()
        guard !found.isEmpty else { return }
        let torch = try engine()
        try check(withHandles(found) { torch.pointee.scale_all($0, $1, factor) }, torch)
    }

    private func gradientList() throws(TorchError) -> [Tensor] {
        var found: [Tensor] = []
        for group in groups {
            for parameter in group.parameters {
                if let gradient = try parameter.tensor.gradient() { found.append(gradient) }
            }
        }
        return found
    }

    /// One update with the given learning rate.
    public func step(rate: Double) throws(TorchError) {
        for index in groups.indices { try step(group: index, rate: rate * groups[index].rateScale) }
    }

    private func step(group index: Int, rate: Double) throws(TorchError) {
        let group = groups[index]
        var tensors: [Tensor] = []
        var slopes: [Tensor] = []
        var active: [Int] = []
        for (position, parameter) in group.parameters.enumerated() {
            guard let gradient = try parameter.tensor.gradient() else { continue }
            tensors.append(parameter.tensor)
            slopes.append(gradient)
            active.append(position)
            try prepare(&states[index][position], like: parameter.tensor)
        }
        guard !active.isEmpty else { return }
        let means = active.compactMap { states[index][$0].mean }
        let squares = active.compactMap { states[index][$0].square }
        let steps = active.map { Int64(states[index][$0].steps) }
        let torch = try engine()
        let status = withHandles(tensors) { values, n in
            withHandles(slopes) { slopes, _ in
                update(
                    torch, values, slopes, means: means, squares: squares, steps: steps, n, rate: rate,
                    decay: group.decay)
            }
        }
        try check(status, torch)
    }

    private func prepare(_ state: inout State, like parameter: Tensor) throws(TorchError) {
        if needsMean, state.mean == nil {
            state.mean = try .zeros(parameter.shape, parameter.dtype, on: parameter.device)
        }
        if needsSquare, state.square == nil {
            state.square = try .zeros(parameter.shape, parameter.dtype, on: parameter.device)
        }
        state.steps += 1
    }

    private var needsMean: Bool { if case .sgd(let momentum, _) = kind { momentum != 0 } else { true } }
    private var needsSquare: Bool { if case .sgd = kind { false } else { true } }

    private func update(
        _ torch: UnsafePointer<CTTable>, _ values: UnsafePointer<CTTensor>, _ slopes: UnsafePointer<CTTensor>,
        means: [Tensor], squares: [Tensor], steps: [Int64], _ n: Int32, rate: Double, decay: Double
    ) -> Int32 {
        switch kind {
        case .adamW(let beta1, let beta2, let epsilon), .adam(let beta1, let beta2, let epsilon):
            let decoupled = if case .adamW = kind { true } else { false }
            return withHandles(means) { means, _ in
                withHandles(squares) { squares, _ in
                    torch.pointee.adam_step(
                        values, slopes, means, squares, steps, n, decoupled, rate, beta1, beta2, decay,
                        epsilon)
                }
            }
        case .adamWOriginal(let beta1, let beta2, let epsilon):
            return withHandles(means) { means, _ in
                withHandles(squares) { squares, _ in
                    torch.pointee.adamw_original_step(
                        values, slopes, means, squares, steps, n, rate, beta1, beta2, decay, epsilon)
                }
            }
        case .sgd(let momentum, let nesterov):
            return withHandles(means) { means, _ in
                torch.pointee.sgd_step(values, slopes, means, n, rate, momentum, decay, nesterov)
            }
        }
    }

    // MARK: Saving

    /// The state as named tensors and step counts, for a checkpoint. The tensors are those that the next step
    /// changes: write or clone them before it.
    public func state() -> (tensors: [NamedTensor], steps: [String: Int]) {
        var tensors: [NamedTensor] = []
        var steps: [String: Int] = [:]
        for (group, states) in zip(groups, states) {
            for (parameter, state) in zip(group.parameters, states) where state.steps > 0 {
                steps[parameter.key] = state.steps
                if let mean = state.mean { tensors.append(NamedTensor("mean." + parameter.key, mean)) }
                if let square = state.square {
                    tensors.append(NamedTensor("square." + parameter.key, square))
                }
            }
        }
        return (tensors, steps)
    }

    /// Puts back a copy of what ``state()`` gave. The saved state and the parameters must fit exactly: a
    /// tensor that is missing, of another shape or of no parameter is an error, which leaves the optimiser as
    /// it was.
    public func restore(tensors: [NamedTensor], steps: [String: Int]) throws {
        var saved = Dictionary(tensors.map { ($0.key, $0.tensor) }) { first, _ in first }
        var counts = steps
        let restored = try groups.map { group in
            try group.parameters.map { parameter in
                guard let count = counts.removeValue(forKey: parameter.key) else { return State() }
                guard count > 0 else {
                    throw mismatch(parameter.key, "the step count \(count) is not positive")
                }
                return State(
                    steps: count,
                    mean: needsMean
                        ? try take("mean." + parameter.key, from: &saved, like: parameter.tensor) : nil,
                    square: needsSquare
                        ? try take("square." + parameter.key, from: &saved, like: parameter.tensor) : nil)
            }
        }
        if let key = counts.keys.sorted().first { throw mismatch(key, "there is no such parameter") }
        if let key = saved.keys.sorted().first { throw mismatch(key, "there is no such state") }
        states = restored
    }

    private func take(
        _ key: String, from saved: inout [String: Tensor], like parameter: Tensor
    ) throws -> Tensor {
        guard let tensor = saved.removeValue(forKey: key) else { throw mismatch(key, "it is missing") }
        guard tensor.shape == parameter.shape else {
            throw mismatch(key, "it has shape \(tensor.shape), the parameter \(parameter.shape)")
        }
        // A copy: the caller's may be mapped, read-only memory.
        return try tensor.detached().to(parameter.dtype).to(parameter.device).contiguous().clone()
    }

    private func mismatch(_ key: String, _ why: String) -> VQAError {
        VQAError("cannot restore the optimiser", at: key, because: why)
    }
}

/// Scales losses so that fp16 gradients do not vanish, and finds its scale by trial: it doubles after a run
/// of finite steps and halves when a gradient overflows, whose step is then skipped. PyTorch's constants.
public struct LossScaler: Sendable {
    /// What the next loss is multiplied by.
    public private(set) var scale: Double
    /// Steps made since the scale last changed; a checkpoint keeps it beside the scale.
    public private(set) var finiteSteps: Int
    private let interval: Int

    /// - Parameters:
    ///   - interval: finite steps in a row after which the scale doubles.
    ///   - finiteSteps: those already made, when a checkpoint says so.
    public init(scale: Double = 65536, interval: Int = 2000, finiteSteps: Int = 0) {
        (self.scale, self.interval, self.finiteSteps) = (scale, interval, finiteSteps)
    }

    /// Multiplies the loss before the backward pass.
    public func scaled(_ loss: Tensor) throws(TorchError) -> Tensor { try loss * scale }

    /// Divides the gradients by the scale and makes the step when all are finite; tells whether it did.
    public mutating func step(_ optimizer: Optimizer, rate: Double, clip: Double? = nil) throws(TorchError)
        -> Bool
    {
        try optimizer.scaleGradients(by: 1 / scale)
        guard try optimizer.clipGradients(to: clip).isFinite else {
            scale /= 2
            finiteSteps = 0
            return false
        }
        try optimizer.step(rate: rate)
        finiteSteps += 1
        if finiteSteps >= interval {
            scale *= 2
            finiteSteps = 0
        }
        return true
    }
}
