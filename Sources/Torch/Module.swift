import Support

/// How a parameter gets its first values when no checkpoint gives them.
public enum Initialization: Sendable, Equatable {
    case constant(Double)
    case normal(deviation: Double)
    /// Uniform in ±bound.
    case uniform(bound: Double)

    /// Every element 0.
    public static let zeros = Initialization.constant(0)
    /// Every element 1.
    public static let ones = Initialization.constant(1)

    /// PyTorch's default for the weight and bias of a layer with `inputs` inputs: uniform in ±1/√inputs.
    public static func fanIn(_ inputs: Int) -> Initialization { fanIn(Double(inputs)) }

    static func fanIn(_ inputs: Double) -> Initialization { .uniform(bound: 1 / max(1, inputs).squareRoot()) }

    /// Xavier: uniform in ±√(6 / (inputs + outputs)).
    public static func xavier(_ inputs: Int, _ outputs: Int) -> Initialization {
        .uniform(bound: (6 / max(1, Double(inputs) + Double(outputs))).squareRoot())
    }
}

/// A piece of a network: a value that holds tensors and other modules.
///
/// A module says once, in ``visit(_:)``, which parameters it has and under which names; the names are the
/// checkpoint's own. Loading, saving, counting, freezing, moving, optimising and printing all go through that
/// one traversal. Copying a module copies references to its tensors: replacing a tensor in the copy leaves
/// the original alone.
///
/// A new module lies on the meta device: it has shapes and no memory until it is loaded or initialised.
public protocol Module {
    /// Shows every parameter, buffer and submodule to `visitor`, in the order of the checkpoint.
    mutating func visit(_ visitor: ParameterVisitor) throws
}

/// What a traversal shows of one parameter.
public struct ParameterSlot: Sendable {
    /// The dotted name, for example `encoder.layer.0.output.dense.weight`.
    public let key: String
    /// How it starts when no checkpoint gives its values.
    public let initialization: Initialization
    /// A tensor that is saved but never trained, such as the running mean of a batch norm.
    public let isBuffer: Bool
}

/// Carries one operation through the modules of a network and keeps track of the names.
public final class ParameterVisitor {
    private var prefix: String
    private let body: (ParameterSlot, inout Tensor) throws -> Void
    private let layerBody: (String, inout any PackableLayer) throws -> Void
    private let hasLayerBody: Bool

    /// - Parameters:
    ///   - prefix: put before every name, its dot included.
    ///   - body: called with every parameter; what it leaves in the tensor stays in the module.
    public init(prefix: String = "", _ body: @escaping (ParameterSlot, inout Tensor) throws -> Void) {
        self.prefix = prefix
        self.body = body
        layerBody = { _, _ in }
        hasLayerBody = false
    }

    /// Goes through layers instead of parameters.
    ///
    /// - Parameter layer: called with every ``Linear`` and ``Embedding`` and its name; what it leaves there stays.
    public init(prefix: String = "", layer: @escaping (String, inout any PackableLayer) throws -> Void) {
        self.prefix = prefix
        body = { _, _ in }
        layerBody = layer
        hasLayerBody = true
    }

    /// A parameter, or with `buffer` a tensor that is saved but never trained.
    public func callAsFunction(
        _ name: String, _ tensor: inout Tensor, _ initialization: Initialization, buffer: Bool = false
    ) throws {
        try body(ParameterSlot(key: prefix + name, initialization: initialization, isBuffer: buffer), &tensor)
    }

    /// A parameter that this module may not have; nil is passed over.
    public func callAsFunction(
        _ name: String, _ tensor: inout Tensor?, _ initialization: Initialization, buffer: Bool = false
    ) throws {
        guard var present = tensor else { return }
        try self(name, &present, initialization, buffer: buffer)
        tensor = present
    }

    /// A submodule, whose names all begin with `name` and a dot.
    public func callAsFunction(_ name: String, _ module: inout some Module) throws {
        if hasLayerBody, try visitLayer(prefix + name, &module) { return }
        let outer = prefix
        defer { prefix = outer }
        prefix += name + "."
        try module.visit(self)
    }

    /// True when the module is a layer that the visit is for.
    private func visitLayer<Layer: Module>(_ name: String, _ module: inout Layer) throws -> Bool {
        guard var layer = module as? any PackableLayer else { return false }
        try layerBody(name, &layer)
        if let changed = layer as? Layer { module = changed }
        return true
    }

    /// A submodule that this module may not have; nil is passed over.
    public func callAsFunction(_ name: String, _ module: inout (some Module)?) throws {
        guard var present = module else { return }
        try self(name, &present)
        module = present
    }

    /// Modules that the checkpoint numbers from 0.
    public func callAsFunction(_ name: String, _ modules: inout [some Module]) throws {
        for index in modules.indices { try self("\(name).\(index)", &modules[index]) }
    }
}

/// A parameter with its name.
public struct NamedTensor {
    /// The dotted name, as in a checkpoint.
    public let key: String
    /// The parameter itself, not a copy.
    public let tensor: Tensor

    /// Pairs the two.
    public init(_ key: String, _ tensor: Tensor) {
        self.key = key
        self.tensor = tensor
    }
}

extension Module {
    /// Calls `body` with every ``Linear`` and ``Embedding``; what it leaves there stays.
    public mutating func forEachLayer(
        prefix: String = "", _ body: @escaping (String, inout any PackableLayer) throws -> Void
    ) throws {
        try visit(ParameterVisitor(prefix: prefix, layer: body))
    }

    /// Calls `body` with every parameter and buffer; what it puts in the place of a tensor stays there.
    public mutating func forEachParameter(
        prefix: String = "", _ body: @escaping (ParameterSlot, inout Tensor) throws -> Void
    ) throws {
        try visit(ParameterVisitor(prefix: prefix, body))
    }

    /// Every parameter and buffer with its name.
    public func parameters(prefix: String = "") throws -> [NamedTensor] {
        var copy = self
        var found: [NamedTensor] = []
        try copy.forEachParameter(prefix: prefix) { slot, tensor in
            found.append(NamedTensor(slot.key, tensor))
        }
        return found
    }

    /// The parameters that require a gradient.
    public func trainableParameters(prefix: String = "") throws -> [NamedTensor] {
        try parameters(prefix: prefix).filter(\.tensor.requiresGradient)
    }

    /// Gives memory and first values to every tensor that has none. The values of a parameter depend on the
    /// seed and its name alone, not on what else is initialised.
    public mutating func initialize(seed: Int, prefix: String = "") throws {
        try forEachParameter(prefix: prefix) { slot, tensor in
            guard tensor.device == .meta else { return }
            let generator = try Generator(seed: seed, purpose: "initialize " + slot.key)
            let shape = tensor.shape
            tensor =
                switch slot.initialization {
                case .constant(let value): try Tensor(full: value, shape, tensor.dtype)
                case .normal(let deviation):
                    try .normal(shape, deviation: deviation, generator).to(tensor.dtype)
                case .uniform(let bound): try .uniform(shape, -bound, bound, generator).to(tensor.dtype)
                }
        }
    }

    /// Makes the parameters whose key satisfies `selected` trainable fp32 tensors of their own, and the
    /// others frozen.
    public mutating func setTrainable(prefix: String = "", _ selected: @escaping (String) -> Bool) throws {
        try forEachParameter(prefix: prefix) { slot, tensor in
            let train = !slot.isBuffer && selected(slot.key)
            guard train || tensor.requiresGradient else { return }
            // A new leaf: mapped weights are read-only, and one tensor may be shared with another copy of the
            // module.
            tensor = train ? try tensor.detached().to(.float32).clone() : try tensor.detached()
            if train { try tensor.requireGradient() }
        }
    }

    /// Converts every frozen floating-point tensor whose key satisfies `selected`.
    public mutating func convertFrozen(
        to dtype: DType, prefix: String = "", _ selected: @escaping (String) -> Bool = { _ in true }
    ) throws {
        try forEachParameter(prefix: prefix) { slot, tensor in
            guard !tensor.requiresGradient, tensor.dtype.isFloatingPoint, selected(slot.key) else { return }
            tensor = try tensor.to(dtype)
        }
    }
}
