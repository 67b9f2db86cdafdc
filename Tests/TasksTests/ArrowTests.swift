import Foundation
import Support
import Tasks
import Testing

@Suite("Arrow tables")
struct ArrowTests {
    private func load(_ name: String, images: String? = nil) throws -> TaskData {
        try ViLTTables().load(
            TaskFiles(questions: fixture("arrow/\(name).arrow"), images: images), split: nil)
    }

    @Test("a table as a file and as a stream", arguments: ["vqav2_train", "stream"])
    func table(_ name: String) throws {
        let data = try load(name)
        #expect(data.samples.map(\.id.text) == ["420", "421", "70", "422", "423", "424"])
        #expect(data.samples.map(\.imageID) == ["42", "42", "-7", "42", "42", "42"])
        #expect(
            data.samples.map(\.question) == [
                "what is it?", "is it red?", "où est-il?", "why?", "who?", "when?",
            ])
        #expect(data.samples.map(\.record) == [1, 1, 2, 3, 3, 3])
        #expect(data.samples[0].answers == ["net", "net", "net", "net", "mesh"])
        #expect(data.samples.map(\.answer) == ["net", "yes", "là", "a", "c", "d"])
        let given = ["mesh", "Yes.", "no", "a", "b", "d"]
        let scores = TableScore().scores(of: given, for: data.samples)
        #expect(zip(scores, [0.3, 0.9, 0, 0.3, 0.6, 1]).allSatisfy { abs($0 - $1) < 1e-12 })
    }

    @Test("images are unpacked once, by what they hold")
    func images() throws {
        try withFolder { folder in
            let data = try load("vqav2_train", images: "\(folder)/images")
            let files = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/images")
            #expect(files.count == 2 && Set(files.map { $0.suffix(4) }) == [".jpg", ".png"])
            #expect(data.samples[0].images == data.samples[3].images)
            #expect(try readFile(data.samples[2].images[0], limit: 100) == [0x89] + Array("PNG two".utf8))
            #expect(try load("vqav2_train", images: "\(folder)/images").samples == data.samples)
        }
    }

    @Test("tables without answers, with wide offsets and with texts as ids")
    func kinds() throws {
        let test = try load("vqav2_test")
        #expect(
            test.samples.map(\.id.text) == ["10", "20", "21"]
                && test.samples.allSatisfy { $0.answers.isEmpty })
        let entailment = try load("snli_ve_dev")
        #expect(entailment.samples.map(\.id.text) == ["1-1", "1-2"])
        #expect(entailment.samples.map(\.answer) == ["entailment", "contradiction"])
        #expect(entailment.samples[0].imageID == "4705552913.jpg")
        #expect(TableScore().scores(of: ["entailment", "neutral"], for: entailment.samples) == [1, 0])
    }

    @Test("compression is refused by its name, and other files are no tables")
    func refusals() throws {
        #expect(message { _ = try load("lz4") }.contains("compressed with LZ4"))
        #expect(message { _ = try load("zstd") }.contains("compressed with Zstandard"))
        for text in [
            "", "ARROW1", "ARROW1\0\0 and no more of it ARROW1", "[{}]",
            String(repeating: "\u{7F}", count: 99),
        ] {
            try withFile(text) { file in
                #expect(
                    message { _ = try ViLTTables().load(TaskFiles(questions: file), split: nil) }
                        .contains("cannot read the Arrow table"))
            }
        }
    }
}
