import Foundation
import Support
import TestWorld
import Testing

/// Training with the real program: killed, interrupted, resumed.
@Suite(.serialized, .enabled(if: Program.hasEngine, "run 'make setup' first")) struct TrainKillTests {
    private static let settings = ["drop_rate=0.1", "baselines=false", "max_epoch=4", "checkpoint_every=3"]

    private static func arguments(_ world: TinyWorld, _ run: String, _ more: [String] = []) throws -> [String]
    {
        try writeFile(world.yaml, to: world.folder + "/tiny.yaml")
        return ["train", world.folder + "/tiny.yaml"] + settings + ["--output", "\(world.folder)/\(run)"]
            + more
    }

    /// Starts the program, waits until `moment` says so or it ends, and sends it a signal. Gives its exit code,
    /// 128 + the signal when that ended it, and what it said on the standard error.
    private static func start(
        _ arguments: [String], signal: Int32, when moment: () -> Bool
    ) throws -> (code: Int32, errors: String) {
        let process = Process()
        process.executableURL = URL(filePath: try Program.path())
        process.arguments = arguments
        process.currentDirectoryURL = Program.root
        let errors = Pipe()
        process.standardOutput = FileHandle.nullDevice
        process.standardError = errors
        try process.run()
        while process.isRunning, !moment() { usleep(2000) }
        kill(process.processIdentifier, signal)
        let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        let bySignal = process.terminationReason == .uncaughtSignal
        return (bySignal ? 128 + process.terminationStatus : process.terminationStatus, text)
    }

    private static func bytes(_ world: TinyWorld, _ run: String, _ file: String) throws -> [UInt8] {
        try readFile("\(world.folder)/\(run)/\(file)", limit: 1 << 24)
    }

    @Test("killed at any moment and resumed, the losses and the adapter are those of an unbroken run")
    func resumedAfterKills() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let whole = try Program.run(Self.arguments(world, "whole"))
        try #require(whole.code == 0, "\(whole.errors)")
        try? FileManager.default.removeItem(atPath: world.folder + "/cache")
        var random = CounterRandom(seed: 3, purpose: "kills")
        let run = world.folder + "/killed"
        var kills = 0
        for round in 0..<8 {
            // Later rounds live longer, so that every part of a run is hit: reading, encoding, steps, report.
            let life = Duration.milliseconds(Int.random(in: 20...(150 + 100 * round), using: &random))
            let clock = ContinuousClock()
            let start = clock.now
            let resume = fileExists(run + "/config.yaml") ? ["--resume"] : []
            let outcome = try Self.start(Self.arguments(world, "killed", resume), signal: SIGKILL) {
                clock.now - start > life
            }
            #expect(outcome.code == 128 + SIGKILL || outcome.code == 0, "\(outcome.errors)")
            kills += outcome.code == 0 ? 0 : 1
        }
        #expect(kills > 0)
        let resume = fileExists(run + "/config.yaml") ? ["--resume"] : []
        let last = try Program.run(Self.arguments(world, "killed", resume))
        #expect(last.code == 0, "\(last.errors)")
        for file in [
            "metrics.jsonl", "adapter/adapter_model.safetensors", "adapter/adapter_config.json",
            "predictions.jsonl", "scores.json",
        ] {
            #expect(try Self.bytes(world, "whole", file) == Self.bytes(world, "killed", file), "\(file)")
        }
        let left = try FileManager.default.subpathsOfDirectory(atPath: run).filter { $0.hasSuffix(".tmp") }
        #expect(left.isEmpty, "\(left)")
    }

    @Test("Ctrl-C ends a run with a checkpoint and a line that says how to go on") func interrupt() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let run = world.folder + "/run"
        let outcome = try Self.start(Self.arguments(world, "run", ["max_epoch=5000"]), signal: SIGINT) {
            (try? readFile(run + "/metrics.jsonl", limit: 1 << 24).isEmpty) == false
        }
        #expect(outcome.code == 1)
        #expect(outcome.errors.split(separator: "\n").count == 1, "\(outcome.errors)")
        #expect(outcome.errors.contains("go on with --resume \(run)"), "\(outcome.errors)")
        #expect(fileExists(run + "/checkpoints/latest") && !fileExists(run + "/adapter"))
        let record = try JSON(contentsOf: run + "/run.json")
        #expect(record["run_info"]?["status"]?.string == "interrupted")
    }

    @Test("a run goes on only with its own settings, weights and questions") func otherInputs() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        #expect(try Program.run(Self.arguments(world, "run", ["max_steps=2"])).code == 0)
        func refusal(_ more: [String]) throws -> String {
            let outcome = try Program.run(Self.arguments(world, "run", ["max_steps=2", "--resume"] + more))
            #expect(outcome.code == 2 && outcome.errorLines.count == 1, "\(outcome.errors)")
            return outcome.errors
        }
        #expect(try refusal(["learning_rate=0.5"]).contains("learning_rate is 0.5 here and was 0.01 there"))
        let again = try Program.run(Self.arguments(world, "run", ["max_steps=2", "--resume", "name=other"]))
        #expect(again.code == 0, "\(again.errors)")
        let table = world.folder + "/data/data.csv"
        let text = try String(decoding: readFile(table, limit: 1 << 20), as: UTF8.self)
        try writeFile(text.replacing("what color", with: "which color"), to: table)
        #expect(try refusal([]).contains("questions of table"))
    }

    @Test(
        "settings that cannot work end with one line and leave no run",
        arguments: [
            "train_split=[]", "insert_layer=99", "num_heads=5", "test_split=nowhere", "answer_min_count=1000",
            "image_size=32", "clip=0", "task=vqav9", "language_model=nowhere", "cache_dir=/dev/null/x",
        ])
    func badSettings(_ setting: String) throws {
        let world = try TinyWorld()
        defer { world.remove() }
        let outcome = try Program.run(Self.arguments(world, "run", [setting]))
        #expect(outcome.code == 2)
        #expect(outcome.errorLines.count == 1 && outcome.errors.hasPrefix("error: "), "\(outcome.errors)")
        #expect(!fileExists(world.folder + "/run"))
    }

    @Test("an unreadable image is counted within the configured share, and an error above it")
    func brokenImages() throws {
        let world = try TinyWorld()
        defer { world.remove() }
        try writeFile("not an image", to: world.folder + "/data/0.png")
        let refused = try Program.run(Self.arguments(world, "run"))
        #expect(refused.code == 2 && refused.errors.contains("0.png"), "\(refused.errors)")
        #expect(!fileExists(world.folder + "/run"))
        let skipped = try Program.run(Self.arguments(world, "run", ["broken_image_share=0.1"]))
        #expect(skipped.code == 0, "\(skipped.errors)")
        #expect(skipped.output.contains("warning: skipped:") && skipped.output.contains("0.png"))
    }
}
