import Foundation
import Runs
import Support
import Testing

private func fill(_ folder: String, step: Int) throws {
    try makeFolder("\(folder)/state")
    try writeFile("weights \(step)", to: "\(folder)/model.safetensors")
    try writeFile("moments \(step)", to: "\(folder)/state/optimizer.safetensors")
}

private struct Interrupted: Error {}

@Suite("Checkpoints")
struct CheckpointTests {
    private let folder: TemporaryFolder
    private let warnings = Warnings()
    private let store: CheckpointStore

    init() throws {
        folder = try TemporaryFolder()
        store = CheckpointStore(folder["checkpoints"], warn: warnings.add)
    }

    private func save(_ steps: Int...) throws {
        for step in steps { try store.save(step: step, expectedBytes: 0) { try fill($0, step: step) } }
    }

    @Test("The newest two are kept, each with a manifest of sizes and hashes, and latest names the newest")
    func keepsTwo() throws {
        #expect(try store.newest() == nil)
        try save(5, 10, 100)
        #expect(folder.names("checkpoints") == ["latest", "step-10", "step-100"])
        #expect(folder.text("checkpoints/latest") == "step-100\n")
        #expect(try store.newest() == Checkpoint(step: 100, folder: folder["checkpoints/step-100"]))
        let manifest = try JSON(contentsOf: folder["checkpoints/step-100/manifest.json"])
        #expect(manifest["step"]?.integer == 100)
        #expect(
            manifest["files"]?.members?.map(\.key) == ["model.safetensors", "state/optimizer.safetensors"])
        // sha256 of "weights 100", by sha256sum.
        #expect(
            manifest["files"]?["model.safetensors"]?["sha256"]?.string
                == "17536fec213c0685e2a9e6e1e71f085e79aea937133acced6d414c155900950d")
        #expect(warnings.lines.isEmpty)
    }

    @Test(
        "A broken checkpoint is passed over with a line that says so",
        arguments: [
            "truncated", "changed", "missing", "no manifest", "bad manifest", "escaping", "other step",
        ])
    func fallsBack(fault: String) throws {
        try save(1, 2)
        let broken = folder["checkpoints/step-2"]
        switch fault {
        case "truncated": try writeFile("weight", to: "\(broken)/model.safetensors")
        case "changed": try writeFile("weights 3", to: "\(broken)/model.safetensors")
        case "missing": try FileManager.default.removeItem(atPath: "\(broken)/state/optimizer.safetensors")
        case "no manifest": try FileManager.default.removeItem(atPath: "\(broken)/manifest.json")
        case "bad manifest": try writeFile("{\"version\": 1, \"files\": 3}", to: "\(broken)/manifest.json")
        case "other step":
            let text = folder.text("checkpoints/step-2/manifest.json")
            try writeFile(text.replacing("\"step\": 2", with: "\"step\": 1"), to: "\(broken)/manifest.json")
        default:
            try writeFile(
                "{\"version\":1,\"step\":2,\"files\":{\"../step-1/model.safetensors\":{\"bytes\":9}}}",
                to: "\(broken)/manifest.json")
        }
        #expect(try store.newest() == Checkpoint(step: 1, folder: folder["checkpoints/step-1"]))
        #expect(warnings.lines.count == 2)
        #expect(warnings.lines.first?.hasPrefix("passing over a broken checkpoint: ") == true)
        // Going on from step 1, the next save drops the broken one, not the good one.
        try save(2)
        #expect(try store.newest()?.step == 2)
        #expect(folder.names("checkpoints") == ["latest", "step-1", "step-2"])
    }

    @Test("Only broken checkpoints are an error, not a silent new start")
    func allBroken() throws {
        try save(1)
        try writeFile("x", to: folder["checkpoints/step-1/model.safetensors"])
        let error = #expect(throws: VQAError.self) { try store.newest() }
        #expect(error?.what == "cannot resume")
    }

    @Test("Steps beyond the one resumed from are given up at the next save")
    func abandonedCourse() throws {
        try save(10, 20)
        try writeFile("x", to: folder["checkpoints/step-20/model.safetensors"])
        #expect(try store.newest()?.step == 10)
        try save(15)
        #expect(folder.names("checkpoints") == ["latest", "step-10", "step-15"])
    }

    @Test("A failure at any step leaves the old checkpoints whole and no temporary files")
    func faults() throws {
        var reached = 0
        for resaved in [false, true] {
            for failing in 0..<100 {
                try? FileManager.default.removeItem(atPath: folder["checkpoints"])
                try save(1, 2)
                var count = 0
                let faulty = CheckpointStore(folder["checkpoints"], warn: warnings.add) { _ in
                    count += 1
                    if count > failing { throw Interrupted() }
                }
                let step = resaved ? 2 : 3
                let done: Void? = try? faulty.save(step: step, expectedBytes: 0) { try fill($0, step: step) }
                let newest = try #require(try store.newest())
                #expect([2, step].contains(newest.step))
                #expect(folder.names("checkpoints").allSatisfy { !$0.hasSuffix(".tmp") })
                try save(4)
                #expect(folder.names("checkpoints").count == 3)
                if done != nil { break }
                reached += 1
            }
        }
        #expect(reached > 20)
        #expect(warnings.lines.isEmpty)
    }

    @Test("What fails while the files are written is passed on, and links are refused")
    func bodyFails() throws {
        try save(1)
        #expect(throws: Interrupted.self) {
            try store.save(step: 2, expectedBytes: 0) {
                try fill($0, step: 2)
                throw Interrupted()
            }
        }
        #expect(throws: VQAError.self) {
            try store.save(step: 2, expectedBytes: 0) { symlink("/etc/hostname", "\($0)/link") }
        }
        #expect(folder.names("checkpoints") == ["latest", "step-1"])
        #expect(throws: VQAError.self) { try save(-1) }
    }

    @Test("Too little space is found before anything is written")
    func space() throws {
        try save(1)
        for bytes in [Int.max, 1 << 60] {
            let error = #expect(throws: VQAError.self) {
                try store.save(step: 2, expectedBytes: bytes) { _ in Issue.record("must not be reached") }
            }
            #expect(error?.kind == .badInput)
            #expect(error?.description.contains("free some space") == true)
        }
        #expect(try store.newest()?.step == 1)
    }

    @Test("A folder set aside by a killed process is found again")
    func setAside() throws {
        try save(1)
        try FileManager.default.moveItem(
            atPath: folder["checkpoints/step-1"], toPath: folder["checkpoints/step-1.replaced"])
        #expect(try store.newest()?.folder == folder["checkpoints/step-1.replaced"])
        try save(1)
        #expect(folder.names("checkpoints") == ["latest", "step-1"])
    }

    @Test("Foreign names in the folder are left alone")
    func foreignNames() throws {
        try makeFolder(folder["checkpoints/step-best"])
        try makeFolder(folder["checkpoints/step--3"])
        try writeFile("x", to: folder["checkpoints/notes.tmp"])
        try save(1, 2, 3)
        #expect(
            folder.names("checkpoints") == [
                "latest", "notes.tmp", "step--3", "step-2", "step-3", "step-best",
            ])
    }
}

/// Where the test program lies; the helper is built beside it.
private let helperPath: String = {
    let program = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return URL(fileURLWithPath: program).deletingLastPathComponent().appendingPathComponent("RunsKillHelper")
        .path
}()

@Suite("Killed processes")
struct KillTests {
    @Test(
        "200 kills at random moments leave a usable checkpoint and adapter every time",
        .enabled(
            if: FileManager.default.isExecutableFile(atPath: helperPath),
            "the helper program was not found beside the tests"))
    func kills() throws {
        let folder = try TemporaryFolder()
        var random = CounterRandom(seed: 1, purpose: "kills")
        var last = 0
        // The first round measures how long one checkpoint and one adapter take on this disk; the others are killed
        // at a moment within that.
        var longest = 0.0
        for round in 0..<201 {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: helperPath)
            process.arguments = [folder["run"]]
            let output = Pipe()
            process.standardOutput = output
            try process.run()
            // The helper prints a character when it starts saving and after each adapter.
            #expect(output.fileHandleForReading.readData(ofLength: 1).count == 1)
            if round == 0 {
                let watch = Stopwatch()
                #expect(output.fileHandleForReading.readData(ofLength: 3).count == 3)
                longest = min(2, 1.1 * watch.seconds / 3)
            } else {
                usleep(UInt32(1e6 * Double.random(in: 0...longest, using: &random)))
            }
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
            #expect(folder.text("run.error") == "")
            last = try check(folder, after: last)
        }
        // How many were complete depends on the disk; that some were shows that the kills met real work.
        #expect(last > 0)
    }

    /// Everything the next start relies on; returns the newest step.
    private func check(_ folder: TemporaryFolder, after last: Int) throws -> Int {
        let warnings = Warnings()
        let run = try RunFolder.resume(folder["run"], warn: warnings.add)
        #expect(warnings.lines.isEmpty)
        let newest = try #require(try run.newestCheckpoint())
        #expect(newest.step >= last)
        var folders = [newest.folder]
        if last > 0 { folders.append(run.adapterPath) }
        for path in folders where fileExists(path) {
            try DurableFolder.verify(path)
            let steps = try ["model.safetensors", "optimizer.safetensors", "state.json"].map {
                try String(contentsOfFile: "\(path)/\($0)", encoding: .utf8).prefix { $0 != "\n" }
            }
            #expect(Set(steps).count == 1)
        }
        #expect(last == 0 || fileExists(run.adapterPath))
        _ = try run.openMetrics(keepingThrough: newest.step)
        #expect(try readJSONLines(run.metricsPath).count == newest.step)
        #expect(folder.names("run").allSatisfy { !$0.hasSuffix(".tmp") })
        return newest.step
    }
}
