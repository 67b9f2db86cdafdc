import Foundation
import Runs
import Support
import Testing

private func emptyConfiguration() throws -> ResolvedConfiguration {
    var reader = ConfigurationReader(try ConfigurationSource(yaml: "", name: "x"))
    _ = reader.integer("seed", default: 1)
    return try reader.finish()
}

private func newRun(
    _ folder: TemporaryFolder, name: String? = nil, replacing: Bool = false
) throws -> RunFolder {
    let run = try RunFolder.create(
        configurationName: "Examples/my dvp.v2", name: name, under: folder["runs"], replacing: replacing
    ) { _ in }
    try run.write(configuration: emptyConfiguration())
    return run
}

@Suite("Run folder")
struct RunFolderTests {
    @Test("A run without a name is named by its configuration and the time, and latest points at it")
    func defaultName() throws {
        let folder = try TemporaryFolder()
        let first = try newRun(folder)
        #expect(first.name.wholeMatch(of: /Examples-my-dvp-v2-\d{8}-\d{6}/) != nil, "\(first.name)")
        let second = try newRun(folder)
        #expect(first.path != second.path)
        let target = try FileManager.default.destinationOfSymbolicLink(atPath: folder["runs/latest"])
        #expect(target == second.name)
        #expect(folder.names("runs").count == 3)
    }

    @Test("Latest is followed to the run's own name")
    func resumeLatest() throws {
        let folder = try TemporaryFolder()
        _ = try newRun(folder, name: "a")
        let resumed = try RunFolder.resume("latest", under: folder["runs"]) { _ in }
        #expect(resumed.name == "a")
        #expect(resumed.path == folder["runs/a"])
    }

    @Test("A folder named latest is left alone, with a warning")
    func latestIsAFolder() throws {
        let folder = try TemporaryFolder()
        try makeFolder(folder["runs/latest"])
        let warnings = Warnings()
        _ = try RunFolder.create(
            configurationName: "c", name: "a", under: folder["runs"], warn: warnings.add)
        #expect(warnings.lines.count == 1)
        #expect(folder.names("runs") == ["a", "latest"])
    }

    @Test("A run is not overwritten without being asked, and then only what belongs to a run is removed")
    func overwriting() throws {
        let folder = try TemporaryFolder()
        do {
            let run = try newRun(folder, name: "a")
            try run.saveAdapter { try writeFile("x", to: "\($0)/adapter_config.json") }
            try writeFile("mine", to: "\(run.path)/notes.txt")
        }
        let unfinished = #expect(throws: VQAError.self) { try newRun(folder, name: "a") }
        #expect(unfinished?.kind == .badInput)
        #expect(unfinished?.remedy?.contains("--resume") == true)
        do {
            let run = try RunFolder.resume("a", under: folder["runs"]) { _ in }
            var record = RunRecord(
                runInfo: .init(name: "a", command: []), metaInfo: .init(programVersion: "1"))
            record.runInfo.status = .finished
            try run.write(record)
        }
        let finished = #expect(throws: VQAError.self) { try newRun(folder, name: "a") }
        #expect(finished?.why == "a finished run is there")
        #expect(folder.names("runs/a/adapter") == ["adapter_config.json", "manifest.json"])
        _ = try newRun(folder, name: "a", replacing: true)
        #expect(folder.names("runs/a") == [".lock", "config.yaml", "notes.txt"])
    }

    @Test("A folder with other things in it is never used")
    func foreignFolder() throws {
        let folder = try TemporaryFolder()
        try makeFolder(folder["photos"])
        try writeFile("x", to: folder["photos/cat.jpg"])
        let error = #expect(throws: VQAError.self) {
            try RunFolder.create(configurationName: "c", output: folder["photos/"], replacing: true) { _ in }
        }
        #expect(error?.why == "the folder holds other files (cat.jpg)")
        #expect(folder.names("photos").contains("cat.jpg"))
    }

    @Test("Two processes cannot use one run; the lock ends with the object")
    func locking() throws {
        let folder = try TemporaryFolder()
        do {
            let run = try newRun(folder, name: "a")
            let error = #expect(throws: VQAError.self) {
                try RunFolder.resume("a", under: folder["runs"]) { _ in }
            }
            #expect(error?.why == "another process is using it")
            #expect(error?.kind == .badInput)
            withExtendedLifetime(run) {}
        }
        _ = try RunFolder.resume("a", under: folder["runs"]) { _ in }
    }

    @Test(
        "Names that are paths or tricks are refused",
        arguments: ["", "a/b", "../a", ".hidden", "latest", "a\0b", String(repeating: "n", count: 300)])
    func badNames(name: String) throws {
        let folder = try TemporaryFolder()
        #expect(throws: VQAError.self) { try newRun(folder, name: name) }
        #expect(folder.names("runs") == [])
    }

    @Test("A place that cannot be written is one line of bad input, and nothing is left behind")
    func unwritable() throws {
        let folder = try TemporaryFolder()
        try writeFile("a file", to: folder["file"])
        let error = #expect(throws: VQAError.self) {
            try RunFolder.create(configurationName: "c", output: folder["file/run"]) { _ in }
        }
        #expect(error?.kind == .badInput)
        #expect(folder.names() == ["file"])
        #expect(throws: VQAError.self) { try RunFolder.resume(folder["none"]) { _ in } }
        #expect(throws: VQAError.self) { try RunFolder.resume(folder.path) { _ in } }
        #expect(throws: VQAError.self) { try RunFolder.resume("/") { _ in } }
        #expect(throws: VQAError.self) {
            try RunFolder.create(configurationName: "c", output: folder["runs/latest"]) { _ in }
        }
    }

    @Test(
        "A read-only folder is one line of bad input", .enabled(if: getuid() != 0, "root may write anywhere"))
    func readOnly() throws {
        let folder = try TemporaryFolder()
        try makeFolder(folder["runs"])
        chmod(folder["runs"], 0o555)
        defer { chmod(folder["runs"], 0o755) }
        let error = #expect(throws: VQAError.self) { try newRun(folder, name: "a") }
        #expect(error?.kind == .badInput)
        #expect(error?.description.contains("\n") == false)
    }

    @Test("Files are written and read back")
    func files() throws {
        let folder = try TemporaryFolder()
        let run = try newRun(folder, name: "a")
        #expect(try run.readRecord() == nil)
        var record = RunRecord(
            runInfo: .init(name: "a", command: ["vqa", "train"]), metaInfo: .init(programVersion: "1"))
        record.trainInfo.finalLoss = 0.25
        try run.write(record)
        #expect(try run.readRecord() == record)
        try run.write(scores: .object([.init("overall", .number(97.5))]))
        #expect(try JSON(contentsOf: run.scoresPath)["overall"]?.double == 97.5)
        try run.write(report: ReportContent(title: "t", headline: .init(name: "accuracy", percent: 1)))
        #expect(folder.text("runs/a/report.html").hasPrefix("<!DOCTYPE html>"))
        var reader = ConfigurationReader(try ConfigurationSource(file: run.configPath))
        #expect(reader.integer("seed", default: 5) == 1)
        try writeFile("{\"run_info\": 3}", to: run.recordPath)
        #expect(throws: VQAError.self) { try run.readRecord() }
    }
}

@Suite("Metrics log")
struct MetricsLogTests {
    @Test("A resumed run keeps the lines up to its checkpoint and drops later and torn ones")
    func truncation() throws {
        let folder = try TemporaryFolder()
        let run = try newRun(folder, name: "a")
        do {
            let log = try run.openMetrics(keepingThrough: nil)
            for step in 1...10 { try log.append(step: step, [.init("loss", .number(1 / Double(step)))]) }
        }
        let whole = folder.text("runs/a/metrics.jsonl")
        try writeFile(whole + "{\"step\":11,\"lo", to: run.metricsPath)
        #expect(try readJSONLines(run.metricsPath).count == 10)
        do {
            let log = try run.openMetrics(keepingThrough: 7)
            try log.append(step: 8, [.init("loss", .number(.nan)), .init("lr", .integer(1))])
        }
        let lines = try readJSONLines(run.metricsPath)
        #expect(lines.compactMap { $0["step"]?.integer } == Array(1...8))
        #expect(lines.last?.text() == #"{"step":8,"loss":null,"lr":1}"#)
        #expect(
            whole.hasPrefix(
                folder.text("runs/a/metrics.jsonl").split(separator: "\n")[..<7].joined(separator: "\n")))
        _ = try run.openMetrics(keepingThrough: 0)
        #expect(folder.text("runs/a/metrics.jsonl") == "")
    }

    @Test("Predictions go on after the last whole line")
    func predictions() throws {
        let folder = try TemporaryFolder()
        let run = try newRun(folder, name: "a")
        for _ in 0..<2 {
            let file = try JSONLinesFile(run.predictionsPath) { $0["answer"] != nil }
            try file.append(
                .object([.init("question_id", .integer(1)), .init("answer", .string("yes\nno"))]))
        }
        #expect(try readJSONLines(run.predictionsPath).count == 2)
        try writeFile(folder.text("runs/a/predictions.jsonl") + "{\"question_id\":3", to: run.predictionsPath)
        do {
            let file = try JSONLinesFile(run.predictionsPath) { _ in true }
            try file.append(.object([.init("question_id", .integer(3))]))
        }
        #expect(
            try readJSONLines(run.predictionsPath).compactMap { $0["question_id"]?.integer } == [1, 1, 3])
    }

    @Test("A new run starts empty and rubbish ends what is kept")
    func rubbish() throws {
        let folder = try TemporaryFolder()
        let run = try newRun(folder, name: "a")
        let good = "{\"step\":1}\n"
        for (text, kept) in [
            (good + "{\"step\":2", good), (good + "\0\0\0\n{\"step\":2}\n", good), (good + "{}\n", good),
            ("\n", ""), ("", ""), (good + "[[[\n", good), (good + "{\"step\":1e30}\n", good),
        ] {
            try writeFile(text, to: run.metricsPath)
            _ = try run.openMetrics(keepingThrough: 100)
            #expect(folder.text("runs/a/metrics.jsonl") == kept)
        }
        _ = try run.openMetrics(keepingThrough: nil)
        #expect(folder.text("runs/a/metrics.jsonl") == "")
    }
}
