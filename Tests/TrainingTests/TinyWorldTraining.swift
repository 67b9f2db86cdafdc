import Runs
import Support
import Testing
import TestWorld
import Training

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

extension TinyWorld {
    func configuration(_ overrides: [String] = []) throws -> TrainingConfiguration {
        try TrainingConfiguration(ConfigurationSource(yaml: yaml, name: "tiny.yaml", overrides: overrides))
    }

    /// Trains in `name` below the folder.
    func train(
        _ name: String, _ overrides: [String] = [], resume: Bool = false, stopAfter steps: Int? = nil
    ) throws -> TrainingRun.Outcome {
        var asked = 0
        let run = TrainingRun(try configuration(overrides)) { _ in }
        return try run.run(
            resume: resume ? "\(folder)/\(name)" : nil, output: resume ? nil : "\(folder)/\(name)",
            command: ["vqa", "train"]
        ) {
            asked += 1
            return steps.map { asked > $0 } ?? false
        }
    }
}

/// The files of a folder whose names end so.
func filesEnding(_ suffix: String, in folder: String) throws -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var found: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name.hasSuffix(suffix) { found.append("\(folder)/\(name)") }
    }
    return found
}
