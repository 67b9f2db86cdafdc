import Support

/// Values of a PyTorch file that are no tensors: counters, options, names of authors. They are listed, never
/// used.
public struct SkippedValues: Sendable, Equatable {
    /// How many there are.
    public internal(set) var count = 0
    /// The first of them as `epoch = 3`.
    public internal(set) var examples: [String] = []

    static let exampleLimit = 100
}

/// Lists the tensors in a tree of dictionaries, lists and tuples under dotted names such as
/// `optimizer.state.0.exp_avg`.
///
/// The tree may share and even contain its own branches, so steps, depth and the length of names are bounded.
struct TorchFlattening {
    /// Names with the number of their tensor in the unpickler, in the order of the file.
    private(set) var tensors: [(name: String, tensor: Int)] = []
    private(set) var skipped = SkippedValues()
    private let source: Unpickler
    private var names: Set<String> = []
    private var steps = 0
    private var nameBytes = 0

    private static let stepLimit = 500_000
    private static let depthLimit = 32
    private static let nameLimit = 1024
    private static let nameBytesLimit = 32 << 20

    /// Flattens `value`, which `source` has read.
    init(_ value: PickleValue, of source: Unpickler) throws {
        self.source = source
        switch value {
        case .dictionary, .list, .tuple, .tensor: try visit(Self.unwrapped(value, source), name: "", depth: 0)
        default: throw source.failure("the file holds neither a dictionary nor a tensor")
        }
    }

    /// Keys under which training programs keep the weights, beside counters and options.
    private static let wrappers: Set<String> = [
        "state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params",
    ]

    /// The inner dictionary when `value` is a wrapper that has no other tensors; otherwise `value`.
    private static func unwrapped(_ value: PickleValue, _ source: Unpickler) -> PickleValue {
        var value = value
        for _ in 0..<4 {
            guard case .dictionary(let number) = value else { return value }
            var inner: [PickleValue] = []
            var others: [PickleValue] = []
            for (key, item) in source.dictionaries[number] {
                if case .text(let text) = key, wrappers.contains(text), case .dictionary = item {
                    inner.append(item)
                } else {
                    others.append(item)
                }
            }
            guard inner.count == 1, !holdsTensor(others, source) else { return value }
            value = inner[0]
        }
        return value
    }

    /// True when a tensor is within reach of `values`. Each container is looked at once.
    private static func holdsTensor(_ values: [PickleValue], _ source: Unpickler) -> Bool {
        var sequences: Set<Int> = []
        var dictionaries: Set<Int> = []
        var open = values
        while let value = open.popLast() {
            switch value {
            case .tensor: return true
            case .list(let number), .tuple(let number):
                if sequences.insert(number).inserted { open += source.sequences[number] }
            case .dictionary(let number):
                if dictionaries.insert(number).inserted { open += source.dictionaries[number].map(\.value) }
            default: break
            }
        }
        return false
    }

    private mutating func visit(_ value: PickleValue, name: String, depth: Int) throws {
        steps += 1
        guard steps <= Self.stepLimit else {
            throw source.failure("its tree holds more than \(Self.stepLimit) values")
        }
        guard depth <= Self.depthLimit else {
            throw source.failure("its tree is nested deeper than \(Self.depthLimit)")
        }
        switch value {
        case .tensor(let number): try add(number, name: name.isEmpty ? "tensor" : name)
        case .list(let number), .tuple(let number):
            for (index, element) in source.sequences[number].enumerated() {
                try visit(element, name: joined(name, String(index)), depth: depth + 1)
            }
        case .dictionary(let number):
            for (key, element) in source.dictionaries[number] {
                try visit(element, name: joined(name, text(ofKey: key)), depth: depth + 1)
            }
        default: skip(value, name: name)
        }
    }

    private func text(ofKey key: PickleValue) throws -> String {
        switch key {
        case .text(let text): return text
        case .integer(let number): return String(number)
        default: throw source.failure("a dictionary has a key that is neither a text nor an integer")
        }
    }

    private func joined(_ name: String, _ key: String) throws -> String {
        guard name.utf8.count + key.utf8.count < Self.nameLimit else {
            throw source.failure("the name \(shortened(name + key)) is longer than \(Self.nameLimit) bytes")
        }
        return name.isEmpty ? key : "\(name).\(key)"
    }

    private mutating func add(_ tensor: Int, name: String) throws {
        guard tensors.count < Unpickler.tensorLimit else {
            throw source.failure("its tree holds more than \(Unpickler.tensorLimit) tensors")
        }
        nameBytes += name.utf8.count
        guard nameBytes <= Self.nameBytesLimit else {
            throw source.failure("the names of its tensors are too long")
        }
        guard names.insert(name).inserted else {
            throw source.failure("two tensors have the name \(shortened(name))")
        }
        tensors.append((name, tensor))
    }

    private mutating func skip(_ value: PickleValue, name: String) {
        skipped.count += 1
        guard skipped.examples.count < SkippedValues.exampleLimit else { return }
        let text =
            switch value {
            case .none: "None"
            case .bool(let value): value ? "True" : "False"
            case .integer(let value): String(value)
            case .float(let value): value.description
            case .text(let value): "\"\(shortened(value))\""
            case .other(let value): value
            case .global(.elementType(let type)): type.rawValue
            default: "a value without numbers"
            }
        skipped.examples.append(oneLine("\(shortened(name)) = \(text)"))
    }
}
