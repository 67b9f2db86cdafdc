import Foundation
import Support
import Tasks
import Testing

@Suite("Caption and conversation readers")
struct CaptionReaderTests {
    private let coco = """
        {"info": {}, "images": [{"id": 9, "file_name": "b.jpg"}, {"id": 4, "file_name": "a.jpg", "domain": "near-domain"}],
        "annotations": [{"id": 1, "image_id": 4, "caption": "A dog."}, {"id": 2, "image_id": 9, "caption": "A cat"},
        {"id": 3, "image_id": 4, "caption": "Dogs"}]}
        """

    @Test("COCO captions become one sample an image")
    func cocoCaptions() throws {
        try withFile(coco) { file in
            let data = try COCOCaptions().load(TaskFiles(questions: file, images: "img"), split: nil)
            #expect(data.samples.map(\.id.text) == ["9", "4"])
            #expect(data.samples.map(\.images) == [["img/b.jpg"], ["img/a.jpg"]])
            #expect(data.samples[1].answers == ["A dog.", "Dogs"] && data.samples[1].answer == "A dog.")
            #expect(
                COCOCaptions().prompt(for: data.samples[0])
                    == "Provide a one-sentence caption for the provided image.")
            let nocaps = try Nocaps().load(TaskFiles(questions: file), split: "val")
            #expect(nocaps.samples.map { Nocaps().groupings[0].label($0) } == [nil, "near-domain"])
        }
        #expect(
            try COCOCaptions().files(in: "/r", split: "val2017")
                == TaskFiles(questions: "/r/annotations/captions_val2017.json", images: "/r/val2017"))
        #expect(message { _ = try COCOCaptions().files(in: "/r", split: "val217") }.contains("did you mean"))
    }

    @Test("caption results are written as the servers take them, and read back")
    func submission() throws {
        try withFile(coco) { file in
            let data = try COCOCaptions().load(TaskFiles(questions: file), split: nil)
            let predictions = data.samples.map { Prediction("a \"dog\" \($0.id)", to: $0) }
            try withFolder { folder in
                try COCOCaptions().writeSubmission(predictions, for: data, to: "\(folder)/r.json")
                let text = try String(contentsOfFile: "\(folder)/r.json", encoding: .utf8)
                #expect(
                    text == """
                        [
                        {"image_id":9,"caption":"a \\"dog\\" 9"},
                        {"image_id":4,"caption":"a \\"dog\\" 4"}
                        ]

                        """ || text.contains(#""image_id": 9, "caption": "a \"dog\" 9""#))
                let back = try readPredictions("\(folder)/r.json")
                #expect(
                    back.map(\.id) == predictions.map(\.id) && back.map(\.answer) == predictions.map(\.answer)
                )
                #expect(try score(back, on: data, task: COCOCaptions()).count == 2)
            }
        }
        let both = #"[{"image_id": [1], "question_id": 2, "answer": "x", "caption": 3}]"#
        try withFile(both) { file in
            let read = try readPredictions(file)
            #expect(read.map(\.id.text) == ["2"])
        }
        try withFile(#"[{"image_id": 2}]"#) { file in
            #expect(message { _ = try readPredictions(file) }.contains("has no answer"))
        }
    }

    @Test("faults of caption files are named")
    func captionFaults() throws {
        let text = """
            {"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "a"}, {"id": 2, "file_name": "../b"},
            {"id": 3, "file_name": "c"}, {"file_name": "d"}],
            "annotations": [{"image_id": 1, "caption": "x"}, {"image_id": 7, "caption": "y"}, {"image_id": 1, "caption": " "},
            {"image_id": 1}]}
            """
        try withFile(text) { file in
            let report = validate(COCOCaptions(), files: TaskFiles(questions: file, images: "i"), split: nil)
            #expect(
                report.log.counts == [
                    .duplicateID: 1, .badRecord: 3, .questionWithoutAnnotation: 1,
                    .annotationWithoutQuestion: 1,
                    .emptyAnswer: 1, .missingImage: 1,
                ])
            #expect(report.questions == 1)
        }
        try withFile("{}") { file in
            #expect(
                message { _ = try COCOCaptions().load(TaskFiles(questions: file), split: nil) }.contains(
                    "'images'"))
        }
    }

    @Test("Karpathy's splits and Flickr30k's token file")
    func karpathy() throws {
        let text = """
            {"dataset": "coco", "images": [
            {"filepath": "val2014", "filename": "x.jpg", "cocoid": 391895, "split": "test", "imgid": 0,
             "sentences": [{"tokens": ["a"], "raw": "A man.", "sentid": 1}, {"raw": "Men"}]},
            {"filepath": "train2014", "filename": "y.jpg", "cocoid": 5, "split": "restval", "sentences": [{"raw": "b"}]},
            {"filename": "z.jpg", "split": "train", "sentences": [{"raw": "c"}]},
            {"filename": "e.jpg", "split": "val", "sentences": []}]}
            """
        try withFile(text) { file in
            let files = TaskFiles(questions: file, images: "r")
            let test = try COCOKarpathy().load(files, split: "test")
            #expect(
                test.samples.map(\.id.text) == ["391895"] && test.samples[0].answers == ["A man.", "Men"])
            #expect(test.samples[0].images == ["r/val2014/x.jpg"])
            let training = try COCOKarpathy().load(files, split: "train+restval")
            #expect(training.samples.map(\.id.text) == ["5", "z"])
            #expect(message { _ = try COCOKarpathy().load(files, split: "val") }.contains("no caption"))
            #expect(try Flickr30k().load(files, split: "train").samples.map(\.images) == [["r/z.jpg"]])
        }
        let tokens = "1.jpg#0\tTwo men .\n1.jpg#1\tMen\n\n2.jpg#0\tA dog\n"
        try withFile(tokens, named: "results.token") { file in
            let data = try Flickr30k().load(TaskFiles(questions: file, images: "f"), split: "all")
            #expect(
                data.samples.map(\.id.text) == ["1", "2"] && data.samples[0].answers == ["Two men .", "Men"])
            #expect(data.samples[1].images == ["f/2.jpg"])
            #expect(
                message { _ = try Flickr30k().load(TaskFiles(questions: file), split: "test") }.contains(
                    "no splits"))
        }
        try withFile("1.jpg\tx\n../2.jpg#0\ty\n3.jpg#0\n", named: "x.token") { file in
            let report = validate(Flickr30k(), files: TaskFiles(questions: file, images: "f"), split: "all")
            #expect(report.log.counts == [.badRecord: 3])
        }
    }

    @Test("Conceptual Captions find their pictures by each downloader's names")
    func conceptual() throws {
        let text = "a cat\thttp://a.b/c\na dog\thttp://a.b/d\nbad line\n \thttp://a.b/e\n"
        for name in ["1_2889842085", "00000/000000001.jpg", "1.jpg"] {
            try withFolder { folder in
                try makeFolder("\(folder)/training/00000")
                try writeFile(text, to: "\(folder)/Train_GCC-training.tsv")
                let crc = name.hasPrefix("1_") ? "1_\(checksum("http://a.b/d"))" : name
                try writeFile("", to: "\(folder)/training/\(crc)")
                let files = try ConceptualCaptions().files(in: folder, split: "train")
                var log = ProblemLog(stopsAtFatal: false)
                let data = try ConceptualCaptions().read(files, split: "train", log: &log)
                #expect(data.samples.map(\.images) == [["\(folder)/training/\(crc)"]])
                #expect(data.samples.map(\.answers) == [["a dog"]] && data.samples[0].id.text == "1")
                #expect(log.counts == [.badRecord: 1, .emptyAnswer: 1])
                #expect(data.notes.first?.hasPrefix("3 of 4 lines have no picture") == true)
            }
        }
    }

    /// CRC-32, bit by bit from the definition.
    private func checksum(_ text: String) -> UInt32 {
        var value = ~UInt32(0)
        for byte in text.utf8 {
            for bit in 0..<8 {
                let mixed = (value ^ UInt32(byte >> UInt8(bit))) & 1
                value = value >> 1 ^ (mixed == 1 ? 0xEDB8_8320 : 0)
            }
        }
        return ~value
    }

    @Test("conversations in LLaVA's format")
    func conversations() throws {
        let text = """
            [{"id": "000000033471", "image": "coco/a.jpg", "conversations": [
              {"from": "human", "value": "<image>\\nWhat is it?"}, {"from": "gpt", "value": "A bus."},
              {"from": "vuser", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
            {"id": "000000033471", "image": "coco/a.jpg", "model": "x", "conversations": [
              {"from": "human", "value": "Describe.\\n<image>"}, {"from": "gpt", "value": "Yes."}]},
            {"id": 7, "conversations": [{"from": "gpt", "value": "lost"}, {"from": "human", "value": "Hi"},
              {"from": "gpt", "value": "Ho"}]},
            {"id": "m", "image": ["a.jpg", "b.jpg"], "conversations": [
              {"from": "human", "value": "<image> and <image>?"}, {"from": "gpt", "value": "No"}]}]
            """
        try withFile(text) { file in
            let data = try LLaVAConversations().load(TaskFiles(questions: file, images: "i"), split: nil)
            #expect(data.samples.map(\.id.text) == ["000000033471", "000000033471#2", "7", "m"])
            #expect(data.samples.map(\.question) == ["What is it?", "Describe.", "Hi", "and ?"])
            #expect(
                data.samples.map(\.images) == [
                    ["i/coco/a.jpg"], ["i/coco/a.jpg"], [], ["i/a.jpg", "i/b.jpg"],
                ])
            #expect(data.samples.map(\.turns.count) == [4, 0, 0, 2])
            #expect(data.samples[0].turns[2] == Turn(.user, "Why?") && data.samples[0].labels["vuser"] == "2")
            #expect(data.notes == ["1 conversations are without image"])
            var log = ProblemLog(stopsAtFatal: true)
            var answers: [String?] = []
            try LLaVAConversations().forEach(in: file, images: nil, log: &log) { answers.append($0.answer) }
            #expect(answers == ["A bus.", "Yes.", "Ho", "No"])
        }
    }

    @Test("faulty conversations are named")
    func conversationFaults() throws {
        func record(_ turns: String, image: String = #""a""#) -> String {
            #"{"id": 1, "image": \#(image), "conversations": [\#(turns)]}"#
        }
        let human = #"{"from": "human", "value": "q"}"#
        let gpt = #"{"from": "gpt", "value": "a"}"#
        for (text, why) in [
            (record(human), "no question with an answer"), (record("\(human), \(human)"), "two questions"),
            (record("\(human), \(gpt), \(gpt)"), "two answers"),
            (record(#"{"from": "system", "value": ""}"#), "'system'"),
            (record(#"{"from": "human"}"#), "no value"),
            (record("\(human), \(gpt)", image: #""../a""#), "leads out"),
            (record("\(human), \(gpt)", image: "3"), "not a string"),
        ] {
            try withFile("[\(text)]") { file in
                #expect(
                    message {
                        _ = try LLaVAConversations().load(TaskFiles(questions: file, images: "i"), split: nil)
                    }
                    .contains(why), "\(text)")
            }
        }
    }

    @Test("every new family is in the registry and names its published files")
    func registry() throws {
        for name in ["coco-captions", "karpathy", "flickr30k", "nocaps", "cc3m", "llava", "vilt"] {
            let task = try TaskRegistry.named(name)
            for split in task.splits {
                #expect(try task.files(in: "/r", split: split).questions.hasPrefix("/r/"))
            }
            #expect(message { _ = try task.files(in: "/r", split: "nonsense") }.contains("no such split"))
        }
    }
}
