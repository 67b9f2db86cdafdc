import Runs
import Support
import Testing

@Suite("Machine, time and numbers")
struct MachineTests {
    @Test("The machine's facts are all there")
    func facts() {
        let facts = MachineFacts.current()
        #expect(!facts.system.isEmpty)
        #expect(!facts.kernel.isEmpty)
        #expect(!facts.architecture.isEmpty)
        #expect(facts.logicalCores >= 1)
        #expect(facts.memoryBytes > 64 << 20)
        #expect(facts.json["logical_cores"]?.integer == facts.logicalCores)
        #expect(facts.summary.contains("GiB"))
    }

    @Test("Peak memory grows with what is touched")
    func peakMemory() {
        let before = peakResidentBytes()
        #expect(before > 1 << 20)
        let block = [UInt8](repeating: 1, count: before + 64 << 20)
        #expect(peakResidentBytes() >= before)
        #expect(block.count > 0)
    }

    @Test("Times and numbers are written as people read them")
    func texts() {
        #expect(timestampUTC(1_738_324_800) == "2025-01-31T12:00:00Z")
        #expect(timestampUTC(0) == "1970-01-01T00:00:00Z")
        #expect(
            [0, 45.4, 59.6, 150, 3723, 273_600].map(durationText) == [
                "0s", "45s", "1:00", "2:30", "1:02:03", "3d 4h",
            ])
        #expect(durationText(.infinity) == "?")
        #expect(decimal(3.14159, 2) == "3.14")
        #expect(decimal(-0.004, 2) == "0.00")
        #expect(decimal(-0.05, 1) == "-0.1")
        #expect(decimal(0.05, 3) == "0.050")
        #expect(decimal(99.96, 1) == "100.0")
        #expect(decimal(1e300, 2) == "1e+300")
        #expect(decimal(.nan, 1) == "nan")
        #expect(decimal(7.5, 0) == "8")
        #expect(
            [0, 999, 1500, 999_960, 20_300_000].map(byteText) == [
                "0 B", "999 B", "1.5 kB", "1.0 MB", "20.3 MB",
            ])
    }

    @Test("A stopwatch goes on from what was used before")
    func stopwatch() {
        let watch = Stopwatch(alreadyElapsed: 100)
        #expect(watch.seconds >= 100)
        #expect(watch.seconds < 160)
    }
}

@Suite("Run record")
struct RunRecordTests {
    @Test("The three blocks survive writing and reading")
    func roundTrip() throws {
        var record = RunRecord(
            runInfo: .init(name: "dvp", command: ["vqa", "train", "a b.yaml"]),
            metaInfo: .init(programVersion: "0.1.0"))
        record.runInfo.status = .failed
        record.runInfo.error = "out of memory"
        record.runInfo.totalSeconds = 12.5
        record.runInfo.configuration = .object([.init("lr", .number(1e-4))])
        record.trainInfo.finalLoss = 0.125
        record.trainInfo.trainableParameters = 1234
        record.trainInfo.metrics = .object([.init("overall", .number(97.4))])
        record.metaInfo.libraries = ["libtorch": "2.13.0", "Yams": "6.2.2"]
        record.metaInfo.dataHashes = ["questions.json": "ab"]
        let text = record.json.text(indented: true)
        let again = try RunRecord(
            json: JSON(parsing: Array(text.utf8), source: "run.json"), source: "run.json")
        #expect(again == record)
        #expect(record.json.members?.map(\.key) == ["run_info", "train_info", "meta_info"])
    }

    @Test("A record of another form is an error; missing details are not")
    func strictness() throws {
        for text in ["{}", "[]", #"{"run_info":{"name":"a","status":"odd"},"train_info":{},"meta_info":{}}"#]
        {
            #expect(throws: VQAError.self) {
                try RunRecord(json: JSON(parsing: Array(text.utf8), source: "x"), source: "x")
            }
        }
        let small = #"{"run_info":{"name":"a","status":"running"},"train_info":{},"meta_info":{}}"#
        let record = try RunRecord(json: JSON(parsing: Array(small.utf8), source: "x"), source: "x")
        #expect(record.runInfo.name == "a")
        #expect(record.trainInfo.finalLoss == nil)
    }
}

@Suite("Progress bar")
struct ProgressBarTests {
    /// A terminal of a given width whose clock the test moves.
    private final class Screen {
        var columns: Int?
        var time = 0.0
        var output = ""

        init(columns: Int?) { self.columns = columns }

        func bar(total: Int, startingAt: Int = 0, every: Double? = nil, unicode: Bool = false) -> ProgressBar
        {
            ProgressBar(
                label: "train", total: total, startingAt: startingAt, plainInterval: every,
                terminal: .init(
                    columns: { self.columns }, time: { self.time }, write: { self.output += $0 },
                    isUnicode: unicode))
        }
    }

    @Test("Bar, rate, time left and loss stand on one line that fits the terminal")
    func line() {
        let screen = Screen(columns: 80)
        var bar = screen.bar(total: 200)
        screen.time = 10
        bar.update(step: 50, loss: 0.43217)
        #expect(
            bar.line(columns: 80)
                == "train  25% ######..................... 50/200  5.0 step/s  ETA 30s  loss 0.4322")
        for columns in 0...200 { #expect(bar.line(columns: columns).count <= max(0, columns - 1)) }
        #expect(bar.line(columns: 60) == "train  25% #####............... 50/200  5.0 step/s  ETA 30s")
        #expect(bar.line(columns: 30) == "train  25% ##......... 50/200")
        #expect(screen.output.hasPrefix("\r\u{1B}[Ktrain  25%"))
    }

    @Test("Block characters show eighths")
    func blocks() {
        let screen = Screen(columns: 80)
        var bar = screen.bar(total: 64, unicode: true)
        bar.update(step: 9)
        #expect(bar.line(columns: 60).contains("█████▋░"))
        bar.update(step: 64)
        #expect(!bar.line(columns: 60).contains("░"))
        #expect(bar.line(columns: 60).contains("100%"))
    }

    @Test("Drawing is sparse, the end is always drawn, and finishing leaves nothing")
    func drawing() {
        let screen = Screen(columns: 80)
        var bar = screen.bar(total: 1000)
        for step in 1...1000 {
            screen.time += 0.001
            bar.update(step: step)
        }
        #expect(screen.output.split(separator: "\r").count == 11)
        #expect(screen.output.contains("1000/1000"))
        bar.say("saved\na checkpoint")
        bar.finish()
        bar.finish()
        #expect(screen.output.hasSuffix("\r\u{1B}[Ksaved a checkpoint\n"))
    }

    @Test("Without a terminal nothing is printed, or one line an interval")
    func noTerminal() {
        let silent = Screen(columns: nil)
        var bar = silent.bar(total: 10)
        bar.update(step: 5, loss: 1)
        bar.finish()
        #expect(silent.output == "")
        let plain = Screen(columns: nil)
        bar = plain.bar(total: 100, startingAt: 40, every: 30)
        for step in 41...100 {
            plain.time += 1
            bar.update(step: step, loss: 0.5)
        }
        #expect(
            plain.output == """
                train  70/100  1.0 step/s  ETA 30s  loss 0.5000
                train  100/100  1.0 step/s  ETA 0s  loss 0.5000

                """)
    }

    @Test("Slow steps, no steps and odd numbers")
    func oddNumbers() {
        let screen = Screen(columns: 100)
        var bar = screen.bar(total: 10, startingAt: 3)
        screen.time = 30
        bar.update(step: 4, loss: .nan)
        #expect(bar.line(columns: 100).contains("30.0 s/step  ETA 3:00  loss nan"))
        bar.update(step: 40)
        #expect(bar.line(columns: 100).contains("100%"))
        let empty = screen.bar(total: -1)
        #expect(empty.line(columns: 50).contains("100%"))
    }
}
