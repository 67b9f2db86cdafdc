import Foundation
import Support
import Tasks
import Testing

@Suite("LLaVA-OneVision's mathematics as published")
struct OneVisionShardsTests {
    private let subset = "geo170k(qa)"

    /// Runs `body` with a root that holds the subset.
    private func withRoot(_ body: (String) throws -> Void) throws {
        try withFolder { root in
            try makeFolder("\(root)/\(subset)")
            for name in try listFolder(fixture("parquet/\(subset)")) {
                try FileManager.default.copyItem(
                    atPath: fixture("parquet/\(subset)/\(name)"), toPath: "\(root)/\(subset)/\(name)")
            }
            try body(root)
        }
    }

    private func shard(_ root: String, _ number: Int) -> String {
        "\(root)/\(subset)/train-0000\(number)-of-00002.parquet"
    }

    @Test("reads all shards in order and unpacks the images once")
    func layout() throws {
        try withRoot { root in
            let data = try OneVisionMath().load(root, split: subset)
            #expect(data.samples.map(\.id.text) == ["g1", "g2", "g3", "g4", "g1#5"])
            #expect(data.samples.map(\.record) == [1, 2, 3, 4, 5] && data.recordWord == "row")
            #expect(data.samples[0].question == "How long is AB?" && data.samples[0].turns.count == 2)
            #expect(data.samples[0].turns[0].text == "<image>\nHow long is AB?")
            #expect(data.samples[0].answers == ["AB is 3 + 2.\nThe answer is 5."])
            #expect(data.samples.map(\.images.count) == [1, 1, 0, 1, 1])
            #expect(
                data.samples[0].images == data.samples[1].images && data.samples[2].imageID == "question g3")
            #expect(data.samples[0].imageID == data.samples[1].imageID)
            #expect(try readFile(data.samples[0].images[0], limit: 99) == [0x89] + Array("PNG one".utf8))
            let files = try listFolder("\(root)/\(subset)-images")
            #expect(files.count == 2 && Set(files.map { $0.suffix(4) }) == [".jpg", ".png"])
            #expect(try OneVisionMath().load(root, split: subset).samples == data.samples)
            let scores = try score(
                data.samples.map { Prediction($0.answers[0], to: $0) }, on: data, task: OneVisionMath())
            #expect(scores.overall == 100)
            let report = validate(
                OneVisionMath(), files: try OneVisionMath().files(in: root, split: subset), split: subset)
            #expect(report.questions == 5 && report.images == 2 && !report.isFatal)
        }
    }

    @Test("reads one file, and without images")
    func oneFile() throws {
        try withRoot { root in
            let data = try OneVisionMath().load(TaskFiles(questions: shard(root, 0)), split: nil)
            #expect(data.samples.map(\.id.text) == ["g1", "g2", "g3"])
            #expect(data.samples.allSatisfy { $0.images.isEmpty })
            #expect(try listFolder(root) == [subset])
        }
    }

    @Test("a name of both layouts means the guide's file when it is there")
    func names() throws {
        try withFolder { root in
            let task = OneVisionMath()
            let guide = "\(root)/Image_data/mavis_math_metagen/mavis_math_metagen_dataset.json"
            #expect(try task.files(in: root, split: "mavis_math_metagen").questions == guide)
            try makeFolder("\(root)/mavis_math_metagen")
            let published = try task.files(in: root, split: "mavis_math_metagen")
            #expect(published.questions == "\(root)/mavis_math_metagen")
            #expect(published.images == "\(root)/mavis_math_metagen-images")
            try makeFolder("\(root)/Image_data/mavis_math_metagen")
            try writeFile("[]", to: guide)
            #expect(try task.files(in: root, split: "mavis_math_metagen").questions == guide)
            #expect(
                try task.files(in: root, split: "tabmwp(cauldron)").questions == "\(root)/tabmwp(cauldron)")
            let found = message { _ = try task.files(in: root, split: "geo170k(q)") }
            #expect(found.contains("did you mean 'geo170k(qa)'?"), "\(found)")
        }
    }

    @Test("missing, foreign and damaged files are named, with the row")
    func faults() throws {
        try withRoot { root in
            func found() -> String { message { _ = try OneVisionMath().load(root, split: subset) } }
            let second = shard(root, 1)
            let bytes = try readFile(second, limit: 1 << 20)
            removeFile(second)
            #expect(found().contains("the file train-00001-of-00002.parquet is missing"))
            try writeFile("", to: "\(root)/\(subset)/train-00000-of-00001.parquet")
            #expect(found().contains("are of different sets"))
            removeFile("\(root)/\(subset)/train-00000-of-00001.parquet")
            try Data(bytes.dropLast(5)).write(to: URL(fileURLWithPath: second))
            #expect(found().contains("\(second): it is cut off"))
            let files = try OneVisionMath().files(in: root, split: subset)
            let report = validate(OneVisionMath(), files: files, split: subset)
            #expect(report.questions == 3 && report.log.problems.map(\.kind) == [.unreadableFile])
            #expect(report.log.problems[0].place == second)
            removeFile(second)
            removeFile(shard(root, 0))
            #expect(found().contains("it has no file train-00000-of-"))
            #expect(
                message { _ = try OneVisionMath().load(root, split: "tabmwp(cauldron)") }.contains("tabmwp"))
        }
    }

    @Test("rows that cannot be used are reported with file and row")
    func badRows() throws {
        let path = fixture("parquet/onevision_faults.parquet")
        let report = validate(OneVisionMath(), files: TaskFiles(questions: path), split: nil)
        #expect(
            report.log.problems.map { "\($0.place.split(separator: "/").last ?? "") \($0.why)" } == [
                "onevision_faults.parquet, row 1 it has no id",
                "onevision_faults.parquet, row 2 it has no conversations",
                "onevision_faults.parquet, row 3 turn 1 of the conversation is not from 'human' with a value",
                "onevision_faults.parquet, row 4 the conversation has no reply",
                "onevision_faults.parquet, row 5 the question e is empty",
            ])
        #expect(report.questions == 2)
        try withFolder { folder in
            let files = TaskFiles(questions: path, images: "\(folder)/images")
            let report = validate(OneVisionMath(), files: files, split: nil)
            #expect(report.log.problems.last?.why == "its image has no bytes" && report.questions == 1)
            #expect(
                message { _ = try OneVisionMath().load(files, split: nil) }.contains(
                    "\(path), row 1: it has no id"))
        }
        let other = fixture("parquet/required.parquet")
        let found = message { _ = try OneVisionMath().load(TaskFiles(questions: other), split: nil) }
        #expect(found.contains("it has no column 'id'"), "\(found)")
    }

    @Test("mutated shards never trap, with their images")
    func mutations() throws {
        let whole = try readFile(fixture("parquet/\(subset)/train-00000-of-00002.parquet"), limit: 1 << 20)
        try withFolder { folder in
            let path = "\(folder)/file.parquet"
            try mutate(whole, at: path, seed: 92, milliseconds: 500) {
                _ = validate(OneVisionMath(), files: TaskFiles(questions: path), split: nil).lines
                _ = try OneVisionMath().load(
                    TaskFiles(questions: path, images: "\(folder)/images"), split: nil)
            }
        }
    }
}
