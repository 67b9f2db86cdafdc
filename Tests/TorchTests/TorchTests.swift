import Support
import Testing
import Torch

/// Every test of tensors, one after the other: recording, autocast, counters and the default generator belong
/// to the whole process.
@Suite(.serialized) enum TorchTests {}

/// The folder with this module's golden files.
let fixtures =
    #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/")
    + "/Fixtures/Torch"

/// A file of the folder.
func fixture(_ name: String) throws -> JSON { try JSON(contentsOf: "\(fixtures)/\(name)") }

extension JSON {
    /// The member, which must be there.
    func required(_ key: String) throws -> JSON { try #require(self[key], "no \(key)") }

    /// A number, or the name of one that JSON cannot write.
    var looseNumber: Double? { double ?? string.flatMap { Double($0) } }

    var integers: [Int]? { array?.compactMap(\.integer) }

    /// The tensor of a golden file: type, shape, values.
    func tensor() throws -> Tensor {
        let values = try #require(self["values"]?.array).map { try #require($0.looseNumber) }
        let shape = try #require(self["shape"]?.integers)
        let dtype = try #require(DType(named: self["type"]?.string))
        return try Tensor(values, shape).to(dtype)
    }

    /// The tensors of an object, by name.
    func tensors() throws -> [String: Tensor] {
        try Dictionary(uniqueKeysWithValues: #require(members).map { ($0.key, try $0.value.tensor()) })
    }
}

extension DType {
    /// The type of that name, for example `float32`.
    init?(named name: String?) {
        guard let found = DType.allCases.first(where: { "\($0)" == name }) else { return nil }
        self = found
    }
}

/// Records an issue unless both tensors have one type and shape and |a − b| ≤ tolerance · max(1, |b|)
/// everywhere.
func expectClose(
    _ found: Tensor, _ expected: Tensor, tolerance: Double = 1e-5, _ what: String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    #expect(found.dtype == expected.dtype, "\(what): element type", sourceLocation: sourceLocation)
    #expect(found.shape == expected.shape, "\(what): shape", sourceLocation: sourceLocation)
    guard found.shape == expected.shape else { return }
    let (a, b) = (try found.doubles(), try expected.doubles())
    let wrong = a.indices.first { index in
        !(a[index] == b[index] || a[index].isNaN && b[index].isNaN
            || abs(a[index] - b[index]) <= tolerance * max(1, abs(b[index])))
    }
    if let wrong {
        Issue.record(
            "\(what): element \(wrong) is \(a[wrong]), not \(b[wrong])", sourceLocation: sourceLocation)
    }
}

/// The error that `body` throws must be a ``TorchError`` of this kind, told in one line.
@discardableResult
func expectError(
    _ kind: TorchError.Kind, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) -> TorchError? {
    do {
        try body()
        Issue.record("no error was thrown", sourceLocation: sourceLocation)
    } catch let error as TorchError {
        let text = error.description
        #expect(error.kind == kind, "\(text)", sourceLocation: sourceLocation)
        #expect(
            !text.contains("\n") && !text.contains("Exception raised from"), "\(text)",
            sourceLocation: sourceLocation)
        return error
    } catch {
        Issue.record("another error: \(error)", sourceLocation: sourceLocation)
    }
    return nil
}
