import Foundation

/// A folder of a test's own, removed with the object.
final class TemporaryFolder {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("runs-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// The path of `name` inside.
    subscript(_ name: String) -> String { "\(path)/\(name)" }

    /// The names inside `name`, sorted.
    func names(_ name: String = "") -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "\(path)/\(name)")) ?? []).sorted()
    }

    /// The text of a file, or an empty one.
    func text(_ name: String) -> String {
        (try? String(contentsOfFile: "\(path)/\(name)", encoding: .utf8)) ?? ""
    }
}

/// The lines that code under test sends to its `warn` closure.
final class Warnings {
    private(set) var lines: [String] = []

    func add(_ line: String) { lines.append(line) }
}
