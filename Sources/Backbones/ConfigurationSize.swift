import Support

extension JSON {
    /// A size in a model's `config.json`: a positive integer of at most 16 million, or of at most `limit`.
    ///
    /// - Parameters:
    ///   - fallback: what an absent or null key means.
    ///   - limit: the largest size; blocks, which are made one by one, need a lower one.
    ///   - source: the file, for errors.
    func size(_ key: String, _ fallback: Int, limit: Int = 1 << 24, source: String) throws -> Int {
        guard let value = self[key], !value.isNull else { return fallback }
        guard let number = value.integer, number > 0, number <= limit else {
            throw VQAError(
                "cannot use the model", at: "\(source), \(key)",
                because: "it is \(value.text().prefix(60)), not a size")
        }
        return number
    }

    /// The id of a special token, under its name or an older one: an integer of at most 16 million.
    func tokenID(_ key: String, _ older: String, _ fallback: Int, source: String) throws -> Int {
        guard let value = self[key] ?? self[older], !value.isNull else { return fallback }
        guard let id = value.integer, (-(1 << 24)...(1 << 24)).contains(id) else {
            throw VQAError(
                "cannot use the model", at: "\(source), \(key)",
                because: "it is \(value.text().prefix(60)), no id")
        }
        return id
    }

    /// How many blocks are stacked: a size of at most 1,024.
    func depth(_ key: String, _ fallback: Int, source: String) throws -> Int {
        try size(key, fallback, limit: 1024, source: source)
    }

    /// A small number added under a root: finite, not negative.
    func epsilon(_ key: String, _ fallback: Double, source: String) throws -> Double {
        guard let value = self[key], !value.isNull else { return fallback }
        guard let number = value.double, number >= 0, number < 1 else {
            throw VQAError(
                "cannot use the model", at: "\(source), \(key)",
                because: "it is \(value.text().prefix(60)), not a number in 0…1")
        }
        return number
    }

    /// The configuration of one part of a joined model: the member `key`, nothing (all defaults) when the file describes a
    /// joined model and leaves this part out, and the whole when the file describes the part alone.
    func part(_ key: String) -> JSON {
        if let part = self[key], !part.isNull { return part }
        let parts = ["vision_config", "text_config", "qformer_config", "perceiver_config"]
        return parts.contains { self[$0] != nil } ? .object([]) : self
    }

    /// The function of a feed-forward part, by the name that the reference gives it.
    func activation(_ key: String, _ fallback: ActivationFunction, source: String) throws
        -> ActivationFunction
    {
        guard let value = self[key], !value.isNull else { return fallback }
        guard let known = value.string.flatMap(ActivationFunction.init) else {
            let names = ActivationFunction.allCases.map(\.rawValue).joined(separator: ", ")
            throw VQAError(
                "cannot use the model", at: "\(source), \(key)",
                because: "\(value.text().prefix(60)) is not one of \(names)")
        }
        return known
    }
}

/// Refuses a configuration whose `size` does not divide into `part` equal parts.
func requireMultiple(
    _ name: String, _ size: Int, of partName: String, _ part: Int, source: String
) throws {
    guard part > 0, size % part == 0 else {
        throw VQAError(
            "cannot use the model", at: source,
            because: "\(name) \(size) is not a multiple of \(partName) \(part)")
    }
}
