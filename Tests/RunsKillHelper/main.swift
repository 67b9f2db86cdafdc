// Saves checkpoints and adapters into the run folder of its first argument until it is killed. Every file of one
// checkpoint begins with its step, so that the test can tell a mixture from a whole. Only tests start this program.
import Runs
import Support

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

func fill(_ folder: String, step: Int) throws {
    for (name, lines) in [("model.safetensors", 400), ("optimizer.safetensors", 800), ("state.json", 1)] {
        try writeFile(String(repeating: "\(step)\n", count: lines), to: "\(folder)/\(name)")
    }
}

func run(_ path: String) throws {
    let isNew = !fileExists("\(path)/config.yaml")
    let folder =
        isNew
        ? try RunFolder.create(configurationName: "kill", output: path) { _ in }
        : try RunFolder.resume(path) { _ in }
    if isNew {
        var reader = ConfigurationReader(try ConfigurationSource(yaml: "", name: "kill"))
        try folder.write(configuration: reader.finish())
    }
    var step = try folder.newestCheckpoint()?.step ?? 0
    let metrics = try folder.openMetrics(keepingThrough: step)
    while true {
        try Array("s".utf8).withUnsafeBytes { try writeAll($0, to: 1, path: "standard output") }
        step += 1
        try metrics.append(step: step, [.init("loss", .number(1 / Double(step)))])
        try folder.saveCheckpoint(step: step) { try fill($0, step: step) }
        try folder.saveAdapter { try fill($0, step: step) }
    }
}

do {
    try run(CommandLine.arguments.count > 1 ? CommandLine.arguments[1] : "")
} catch {
    try? writeFile("\(error)\n", to: "\(CommandLine.arguments.last ?? ".").error")
    exit(1)
}
