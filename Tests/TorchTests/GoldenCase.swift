import Support
import Testing
import Torch

/// One case of `operations.json`: an operation on inputs with options, and what PyTorch gives for it.
struct GoldenCase {
    let operation: String
    let inputs: [Tensor?]
    let options: JSON
    let outputs: [Tensor]

    init(_ json: JSON, _ pool: [String: JSON]) throws {
        operation = try #require(json["operation"]?.string)
        options = try json.required("options")
        inputs = try #require(json["inputs"]?.array).map { input in
            guard let name = input.string else { return nil }
            return try #require(pool[name]).tensor()
        }
        outputs = try #require(json["outputs"]?.array).map { try $0.tensor() }
    }

    /// All cases of the file.
    static func all() throws -> [GoldenCase] {
        let file = try fixture("operations.json")
        let pool = Dictionary(
            uniqueKeysWithValues: try #require(file["tensors"]?.members).map { ($0.key, $0.value) })
        return try #require(file["cases"]?.array).map { try GoldenCase($0, pool) }
    }

    /// An input that is always there.
    subscript(index: Int) -> Tensor {
        get throws { try #require(inputs[index]) }
    }

    func integer(_ key: String) throws -> Int { try #require(options[key]?.integer, "\(operation) \(key)") }
    func double(_ key: String) throws -> Double { try #require(options[key]?.double, "\(operation) \(key)") }
    func flag(_ key: String) throws -> Bool {
        try #require(options[key]?.bool as Bool?, "\(operation) \(key)")
    }
    func text(_ key: String) throws -> String { try #require(options[key]?.string, "\(operation) \(key)") }
    func list(_ key: String) throws -> [Int] { try #require(options[key]?.integers, "\(operation) \(key)") }
    func dtype() throws -> DType { try #require(DType(named: options["type"]?.string)) }

    func reduction() throws -> LossReduction {
        switch try text("reduction") {
        case "none": .none
        case "mean": .mean
        default: .sum
        }
    }
}
