import Support

extension JSON {
    /// A size in a model's `config.json`: a positive integer of at most 16 million.
    ///
    /// - Parameters:
    ///   - fallback: what an absent or null key means.
    ///   - source: the file, for errors.
    func size(_ key: String, _ fallback: Int, source: String) throws -> Int {
        guard let value = self[key], !value.isNull else { return fallback }
        guard let number = value.integer, number > 0, number <= 1 << 24 else {
            throw VQAError(
                "cannot use the model", at: "\(source), \(key)",
                because: "it is \(value.text().prefix(60)), not a size")
        }
        return number
    }
}
