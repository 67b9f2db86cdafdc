import Foundation
import Support
import Tasks
import Testing

private let popeFolder = "\(sharedData)/pope"
private let hasPope = fileExists("\(popeFolder)/coco_pope_random.json")
private let hasShapes = fileExists("\(sharedData)/shapes/shapes_dataset.tar.gz")

@Suite("POPE")
struct POPETests {
    private let lines = """
        {"question_id": 1, "image": "a.jpg", "text": "Is there a dog in the image?", "label": "yes"}
        {"question_id": 2, "image": "a.jpg", "text": "Is there a cat in the image?", "label": "no"}

        """

    @Test("reads a file, or three together, and asks as LLaVA does")
    func layout() throws {
        try withFolder { root in
            try makeFolder("\(root)/coco")
            for name in ["random", "popular", "adversarial"] {
                try writeFile(lines, to: "\(root)/coco/coco_pope_\(name).json")
            }
            let one = try POPE().load(root, split: "popular")
            #expect(one.samples.map(\.id.json) == [1, 2] && one.samples[1].answers == ["no"])
            #expect(
                one.samples[0].images == ["\(root)/val2014/a.jpg"]
                    && one.samples[0].labels["category"] == "popular")
            #expect(
                POPE().prompt(for: one.samples[0])
                    == "Is there a dog in the image?\nAnswer the question using a single word or phrase.")
            let all = try POPE().load(root, split: "all")
            #expect(
                all.samples.map(\.id.text)
                    == ["random", "popular", "adversarial"].flatMap { ["\($0)/1", "\($0)/2"] })
        }
    }

    @Test("takes a text for yes or no as the official program does")
    func rule() {
        let no = ["no", "No", "No.", "There is not, I think", "no,", "no cat. Yes"]
        let yes = ["yes", "NO", "nothing", "Yes. It is not", "", "none", "no\ncat", "No;"]
        for text in no { #expect(!POPEAccuracy.isYes(text), "\(text)") }
        for text in yes { #expect(POPEAccuracy.isYes(text), "\(text)") }
        let sample = Sample(id: QuestionID(1), imageID: "a", question: "q", answers: ["no"])
        #expect(
            !POPEAccuracy().isExpected("NO idea", for: sample)
                && POPEAccuracy().isExpected("Yes!", for: sample))
        #expect(POPE().answer(fromGenerated: "Yes, there is.", for: sample) == "yes")
        #expect(POPE().answer(fromGenerated: "\n maybe.", for: sample) == "maybe")
    }

    @Test("reports accuracy, precision, recall, F1 and the share of yes, by file and averaged")
    func figures() throws {
        var samples: [Sample] = []
        for (index, (file, label)) in [("r", "yes"), ("r", "yes"), ("r", "no"), ("p", "yes"), ("p", "no")]
            .enumerated()
        {
            var sample = Sample(id: QuestionID(index), imageID: "i\(index)", question: "q", answers: [label])
            sample.labels["category"] = file
            samples.append(sample)
        }
        let data = TaskData(task: "pope", split: "all", samples: samples)
        let answers = ["yes", "no", "yes", "no", "no"]
        let scores = try score(zip(answers, samples).map { Prediction($0, to: $1) }, on: data, task: POPE())
        let figures = Dictionary(uniqueKeysWithValues: scores.figures.map { ($0.name, $0.value) })
        #expect(scores.overall == 40)
        #expect(
            figures["r/accuracy"] == 33.333333 && figures["r/precision"] == 50 && figures["r/recall"] == 50)
        #expect(figures["r/f1"] == 50 && figures["r/yes_ratio"] == 66.666667)
        #expect(
            figures["p/f1"] == 0 && figures["average/f1"] == 25 && figures["average/accuracy"] == 41.666667)
    }

    @Test("refuses faulty lines and writes the answers in the order of the questions")
    func faults() throws {
        try withFile(lines.replacingOccurrences(of: #""no""#, with: #""maybe""#)) { file in
            #expect(
                message { _ = try POPE().load(TaskFiles(questions: file), split: nil) }.contains(
                    "line 2, byte 94: the label 'maybe' is neither yes nor no"))
        }
        try withFile(lines.replacingOccurrences(of: "a.jpg", with: "/a.jpg")) { file in
            let files = TaskFiles(questions: file, images: "i")
            #expect(validate(POPE(), files: files, split: nil).log.counts[.badRecord] == 2)
        }
        try withFile(lines) { file in
            let data = try POPE().load(TaskFiles(questions: file), split: nil)
            let predictions = data.samples.reversed().map { Prediction("yes", to: $0) }
            try withFolder { folder in
                try POPE().writeSubmission(predictions, for: data, to: "\(folder)/answers.jsonl")
                let written = try readPredictions("\(folder)/answers.jsonl")
                #expect(written.map(\.id.json) == [1, 2] && written[0].question == data.samples[0].question)
                let one = [Prediction("yes", to: data.samples[0])]
                #expect(
                    message { try POPE().writeSubmission(one, for: data, to: "\(folder)/x") }.contains(
                        "has no prediction"))
                #expect(
                    message { try POPE().writeSubmission(one + one, for: data, to: "\(folder)/x") }.contains(
                        "has two predictions"))
            }
        }
    }

    @Test(
        "the real files: three times 3,000 questions about 500 images, half of them yes",
        .enabled(if: hasPope, "the shared POPE files are absent"))
    func real() throws {
        for split in ["random", "popular", "adversarial"] {
            let data = try POPE().load(popeFolder, split: split)
            #expect(data.samples.count == 3000 && Set(data.samples.map(\.imageID)).count == 500)
            #expect(data.samples.count { $0.answer == "yes" } == 1500)
        }
        let all = try POPE().load(popeFolder, split: "all")
        let scores = try score(all.samples.map { Prediction("Yes", to: $0) }, on: all, task: POPE())
        #expect(scores.overall == 50)
        #expect(scores.figures.first { $0.name == "average/f1" }?.value == 66.666667)
        #expect(scores.figures.first { $0.name == "average/yes_ratio" }?.value == 100)
    }
}

@Suite("SNLI-VE")
struct SNLIVETests {
    private let lines = """
        {"annotator_labels": ["neutral"], "Flickr30kID": "3416050480", "gold_label": "neutral", "pairID": "1.jpg#1r1n", "sentence1": "c", "sentence2": "A dog runs."}
        {"Flickr30K_ID": 12, "gold_label": "-", "pairID": "2", "sentence2": "x"}
        {"Flickr30K_ID": "12.jpg", "gold_label": "entailment", "sentence2": "y"}

        """

    @Test("reads pairs, leaves out those without agreement, and asks in words")
    func layout() throws {
        try withFile(lines) { file in
            let data = try SNLIVE().load(TaskFiles(questions: file, images: "f"), split: "dev")
            #expect(
                data.samples.map(\.id.text) == ["1.jpg#1r1n", "3"]
                    && data.notes == ["1 pairs without agreement were left out"])
            #expect(data.samples[0].images == ["f/3416050480.jpg"] && data.samples[1].images == ["f/12.jpg"])
            #expect(data.answerList == SNLIVE.labels && data.samples[0].answer == "neutral")
            let sample = data.samples[0]
            #expect(
                SNLIVE().prompt(for: sample)
                    == "Does the image describe \"A dog runs.\"? Answer yes, no or maybe.")
            let meanings = [
                "Yes.": "entailment", "No": "contradiction", "Maybe so": "neutral", "Neutral": "neutral",
                "hm": "hm",
            ]
            for (text, label) in meanings {
                #expect(SNLIVE().answer(fromGenerated: text, for: sample) == label)
            }
            let metric = SNLIVE().metric(for: data)
            #expect(metric.isExpected("Neutral", for: sample) && !metric.isExpected("yes", for: sample))
            let scores = try score(
                data.samples.map { Prediction("neutral", to: $0) }, on: data, task: SNLIVE())
            #expect(
                scores.overall == 50 && scores.groups[0].percentages == ["neutral": 100, "entailment": 0])
        }
    }

    @Test("names every fault")
    func faults() throws {
        let faults = [
            (
                #"{"Flickr30K_ID": 1, "gold_label": "maybe", "sentence2": "x"}"#,
                "the gold_label 'maybe' is none of"
            ),
            (#"{"gold_label": "neutral", "sentence2": "x"}"#, "the record has no Flickr30K_ID"),
            (#"{"Flickr30K_ID": 1, "gold_label": "neutral"}"#, "the record has no sentence2"),
            (#"{"Flickr30K_ID": "../1", "sentence2": "x"}"#, "line 1: it leads out of the folder"),
            ("3", "not an object"),
        ]
        for (line, expected) in faults {
            try withFile(line) { file in
                let found = message {
                    _ = try SNLIVE().load(TaskFiles(questions: file, images: "i"), split: nil)
                }
                #expect(found.contains(expected), "\(found)")
            }
        }
    }
}

@Suite("NLVR and NLVR2")
struct NLVRTests {
    @Test("NLVR: six images a record, consistency by presentation")
    func nlvr() throws {
        let lines = """
            {"sentence": "There is a box", "label": "true", "identifier": "72-0", "directory": "5"}
            {"sentence": "There is a box", "label": "false", "identifier": "72-1", "directory": 5}

            """
        try withFolder { root in
            try makeFolder("\(root)/dev")
            try writeFile(lines, to: "\(root)/dev/dev.json")
            let data = try NLVR().load(root, split: "dev")
            #expect(data.samples.count == 12 && data.samples[7].id.text == "dev-72-1-1.png")
            #expect(data.samples[0].images == ["\(root)/dev/images/5/dev-72-0-0.png"])
            let predictions = data.samples.map { Prediction($0.answer ?? "", to: $0) }
            let scores = try score(predictions, on: data, task: NLVR())
            #expect(
                scores.overall == 100 && scores.figures[0].name == "consistency"
                    && scores.figures[0].value == 100)
            let one = try score(
                data.samples.enumerated().map { Prediction($0 == 7 ? "true" : $1.answer ?? "", to: $1) },
                on: data, task: NLVR())
            #expect(one.figures[0].value == 0)
            try NLVR().writeSubmission(predictions, for: data, to: "\(root)/p.csv")
            #expect(
                try String(contentsOfFile: "\(root)/p.csv", encoding: .utf8).hasPrefix(
                    "dev-72-0-0.png,true\n"))
        }
    }

    @Test("NLVR2: two images, consistency over the pairs of a sentence")
    func nlvr2() throws {
        let lines = """
            {"sentence": "Two dogs", "label": "True", "identifier": "dev-850-0-1", "directory": 3}
            {"sentence": "Two dogs", "label": "False", "identifier": "dev-850-1-1"}
            {"sentence": "A cat", "label": "False", "identifier": "train-850-1-0", "directory": 3}

            """
        try withFolder { root in
            try writeFile(lines, to: "\(root)/dev.json")
            try makeFolder("\(root)/images/dev")
            let data = try NLVR2().load(root, split: "dev")
            #expect(
                data.samples[0].images == ["img0", "img1"].map { "\(root)/images/dev/dev-850-0-\($0).png" })
            #expect(data.samples[2].images[0] == "\(root)/images/dev/3/train-850-1-img0.png")
            #expect(NLVR2().prompt(for: data.samples[0]).contains("two images true or false? Two dogs"))
            #expect(NLVR2().answer(fromGenerated: "Yes, it is", for: data.samples[0]) == "true")
            #expect(NLVR2().answer(fromGenerated: "hm", for: data.samples[0]) == "hm")
            let answers = ["True", "true", "false"]
            let predictions = zip(answers, data.samples).map { Prediction($0, to: $1) }
            let scores = try score(predictions, on: data, task: NLVR2())
            #expect(scores.overall == 66.67 && scores.figures[0].value == 50)
            try NLVR2().writeSubmission(predictions, for: data, to: "\(root)/p.csv")
            #expect(
                try String(contentsOfFile: "\(root)/p.csv", encoding: .utf8)
                    == "dev-850-0-1,True\ndev-850-1-1,True\ntrain-850-1-0,False\n")
        }
        for (line, expected) in [
            (#"{"sentence": "x", "identifier": "dev-1-0"}"#, "has not the form SPLIT-SET-PAIR-SENTENCE"),
            (
                #"{"sentence": "x", "identifier": "dev-1-0-0", "label": 3}"#,
                "the label is neither true nor false"
            ),
            (#"{"identifier": "dev-1-0-0"}"#, "the record has no sentence"),
        ] {
            try withFile(line) { file in
                let found = message { _ = try NLVR2().load(TaskFiles(questions: file), split: nil) }
                #expect(found.contains(expected), "\(found)")
            }
        }
    }
}

@Suite("SHAPES")
struct SHAPESTests {
    /// An array of `count` images of 2 × 2 pixels as NumPy writes it.
    static func array(_ count: Int, shape: String? = nil, kind: String = "|u1") -> [UInt8] {
        let shape = shape ?? "(\(count), 2, 2, 3)"
        var header = "{'descr': '\(kind)', 'fortran_order': False, 'shape': \(shape), }"
        header += String(repeating: " ", count: 117 - header.utf8.count) + "\n"
        return [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + Array(header.utf8)
            + (0..<(count * 12)).map { UInt8($0 % 251) }
    }

    private func withRoot<Result>(
        _ array: [UInt8] = SHAPESTests.array(2), output: String = "true\nfalse\n",
        _ body: (String) throws -> Result
    ) throws -> Result {
        try withFolder { root in
            try writeFile("is a circle red\nis a circle blue\n", to: "\(root)/val.query_str.txt")
            try writeFile("(is red circle)\n(is blue circle)\n", to: "\(root)/val.query")
            try writeFile(output, to: "\(root)/val.output")
            try Data(array).write(to: URL(fileURLWithPath: "\(root)/val.input.npy"))
            return try body(root)
        }
    }

    @Test("joins questions, answers, trees and images; images become PNG files once")
    func layout() throws {
        try withRoot { root in
            let data = try SHAPES().load(root, split: "val")
            #expect(
                data.samples.map(\.answers) == [["yes"], ["no"]]
                    && data.samples[0].labels["query"] == "(is red circle)")
            #expect(SHAPES().prompt(for: data.samples[0]) == "is a circle red? Answer with yes or no.")
            #expect(SHAPES().answer(fromGenerated: "True.", for: data.samples[0]) == "yes")
            let image = try #require(data.samples[1].images.first)
            #expect(image.hasPrefix("\(root)/decoded/shapes/") && image.hasSuffix(".png"))
            let before = try FileManager.default.attributesOfItem(atPath: image)[.modificationDate] as? Date
            #expect(try SHAPES().load(root, split: "val").samples == data.samples)
            #expect(
                try FileManager.default.attributesOfItem(atPath: image)[.modificationDate] as? Date == before)
            // Signature, size, colour type, and the stored rows: filter 0 and the pixels from 12 on.
            let bytes = try readFile(image, limit: 1000)
            #expect(bytes[16..<26] == [0, 0, 0, 2, 0, 0, 0, 2, 8, 2])
            #expect(Array(bytes[48..<62]) == [0, 12, 13, 14, 15, 16, 17, 0, 18, 19, 20, 21, 22, 23])
        }
    }

    @Test("refuses arrays and files that do not fit")
    func faults() throws {
        let arrays: [([UInt8], String)] = [
            (Self.array(3), "its shape is [3, 2, 2, 3], not [2, height, width, 3]"),
            (Self.array(2, shape: "(2, 9, 2, 3)"), "needs 108 bytes, there are 24"),
            (Self.array(2, shape: "(9223372036854775807, 9, 2, 3)"), "is too large"),
            (Self.array(2, shape: "(2, x)"), "its shape is no list of sizes"),
            (Self.array(2, kind: "<f8"), "it is no array of bytes in C order"),
            ([1, 2], "it is no NumPy file"),
            (Array(Self.array(2).prefix(20)), "its header is longer than the file"),
        ]
        for (array, expected) in arrays {
            try withRoot(array) { root in
                let found = message { _ = try SHAPES().load(root, split: "val") }
                #expect(found.contains(expected), "\(found)")
            }
        }
        try withRoot(output: "true\n") { root in
            #expect(
                message { _ = try SHAPES().load(root, split: "val") }.contains(
                    "it has 1 lines, the questions have 2"))
        }
        try withRoot(output: "true\nmaybe\n") { root in
            #expect(
                message { _ = try SHAPES().load(root, split: "val") }.contains(
                    "line 2: 'maybe' is neither true nor false"))
        }
    }

    @Test(
        "the real files: 640, 1,024 and 1,024 questions",
        .enabled(if: hasShapes, "the shared SHAPES files are absent"))
    func real() throws {
        try withFolder { root in
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = ["tar", "xzf", "\(sharedData)/shapes/shapes_dataset.tar.gz", "-C", root]
            try process.run()
            process.waitUntilExit()
            for (split, count) in [("train.small", 640), ("val", 1024), ("test", 1024)] {
                var files = try SHAPES().files(in: root, split: split)
                if split != "train.small" { files.images = nil }
                let data = try SHAPES().load(files, split: split)
                #expect(data.samples.count == count)
                if split == "test" {
                    #expect(data.samples.count { $0.answer == "yes" } == 375)
                    #expect(Set(data.samples.compactMap { $0.labels["query"] }).count == 16)
                }
                if split == "train.small" {
                    #expect(
                        data.samples.allSatisfy { $0.images.allSatisfy(fileExists) && $0.images.count == 1 })
                }
            }
        }
    }
}
