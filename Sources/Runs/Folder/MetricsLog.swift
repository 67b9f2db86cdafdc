import Support

/// `metrics.jsonl`: one JSON object a step.
public struct MetricsLog: ~Copyable {
    private let file: JSONLinesFile

    /// Opens the file and removes the lines after `step`, which a resumed run will write again, with any torn last
    /// line. `nil` removes all.
    init(_ path: String, keepingThrough step: Int?) throws {
        file = try JSONLinesFile(path) { line in
            guard let step, let found = line["step"]?.integer else { return false }
            return found <= step
        }
    }

    /// Appends one line; `step` comes first in it.
    public func append(step: Int, _ values: [JSON.Member]) throws {
        try file.append(.object([.init("step", .integer(step))] + values))
    }
}
