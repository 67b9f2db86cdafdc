import Support

/// Compares what a model expects with what a checkpoint holds. Loading is strict: a missing, unused or
/// misshapen key is an error that names file, key, what was expected and what was found.
public struct StrictMatch: Sendable {
    /// A parameter of the model.
    public struct Expected: Sendable, Equatable {
        /// Its name in the model.
        public let key: String
        /// The sizes of its dimensions.
        public let shape: [Int]

        /// A parameter of that key and shape.
        public init(_ key: String, _ shape: [Int]) {
            self.key = key
            self.shape = shape
        }
    }

    /// A parameter whose tensor has another shape than expected.
    public struct Misshapen: Sendable, Equatable {
        /// Its name in the model.
        public let key: String
        /// The shape in the model.
        public let expected: [Int]
        /// The tensor in the checkpoint.
        public let found: TensorInfo
    }

    /// For every parameter that has a tensor, the tensor's name in the checkpoint.
    public private(set) var names: [String: String] = [:]
    /// Parameters without a tensor, in the model's order.
    public private(set) var missing: [Expected] = []
    /// Tensors without a parameter, sorted by name.
    public private(set) var unused: [TensorInfo] = []
    /// Parameters with a tensor of another shape, in the model's order.
    public private(set) var misshapen: [Misshapen] = []
    private let path: String

    /// - Parameters:
    ///   - expected: the model's parameters; a key may occur once.
    ///   - remap: the parameter of a tensor's name; nil leaves the tensor out on purpose.
    public init(
        expected: [Expected], in checkpoint: Checkpoint, remap: (String) -> String? = { $0 }
    ) throws {
        var found: [String: TensorInfo] = [:]
        for info in checkpoint.infos {
            guard let key = remap(info.name) else { continue }
            if let other = found.updateValue(info, forKey: key) {
                throw VQAError(
                    "cannot load the weights", at: checkpoint.path,
                    because:
                        "\(shortened(other.name)) and \(shortened(info.name)) are both the parameter \(shortened(key))"
                )
            }
        }
        self.init(expected: expected, found: found, path: checkpoint.path)
    }

    /// - Parameters:
    ///   - found: the tensors there are, by the parameter they are for.
    ///   - path: the file, for errors.
    public init(expected: [Expected], found: [String: TensorInfo], path: String) {
        self.path = path
        var found = found
        for parameter in expected {
            guard let info = found.removeValue(forKey: parameter.key) else {
                missing.append(parameter)
                continue
            }
            names[parameter.key] = info.name
            if info.shape != parameter.shape {
                misshapen.append(Misshapen(key: parameter.key, expected: parameter.shape, found: info))
            }
        }
        unused = found.values.sorted { $0.name < $1.name }
    }

    /// True when every parameter has its tensor and no tensor is left.
    public var isComplete: Bool { missing.isEmpty && unused.isEmpty && misshapen.isEmpty }

    /// Throws one error that lists the first few keys of each sort.
    public func check() throws {
        guard !isComplete else { return }
        let sorts = [
            list(
                "missing",
                missing.map {
                    "\(shortened($0.key)) expected \(Checkpoints.describe($0.shape)), found nothing"
                }),
            list("misshapen", misshapen.map(describe)),
            list("unused", unused.map(describe)),
        ]
        throw VQAError(
            "cannot load the weights", at: path,
            because: sorts.compactMap { $0 }.joined(separator: "; "),
            remedy: "check that the weights belong to this model and its config.json")
    }

    private func describe(_ problem: Misshapen) -> String {
        "\(shortened(problem.key)) expected \(Checkpoints.describe(problem.expected)), "
            + "found \(Checkpoints.describe(problem.found.shape))\(fileNote(problem.found))"
    }

    private func describe(_ info: TensorInfo) -> String {
        "\(shortened(info.name)) expected nothing, found \(Checkpoints.describe(info.shape))\(fileNote(info))"
    }

    /// The file of a tensor, when it is a part of an index.
    private func fileNote(_ info: TensorInfo) -> String { info.file == path ? "" : " in \(info.file)" }

    /// `2 missing keys (a …, b …)`; nil when there are none.
    private func list(_ sort: String, _ texts: [String]) -> String? {
        guard !texts.isEmpty else { return nil }
        let more = texts.count > 5 ? ", and \(texts.count - 5) more" : ""
        return "\(texts.count) \(sort) \(texts.count == 1 ? "key" : "keys") ("
            + texts.prefix(5).joined(separator: ", ") + more + ")"
    }
}
