import Foundation
import Support
import Tasks
import Testing

/// A PNG of one pixel, in base64: longer than 64 digits, as every image is.
private let pixel =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="

@Suite("MMBench")
struct MMBenchTests {
    static let table =
        "index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\timage\tsource\tl2-category\tcomment\tsplit\n"
        + "5\t\"What \"\"is\"\" it?\"\tLook.\tcat\tdog\t\tbird\tB\tanimals\t\(pixel)\ts\tlogic\t\tdev\n"
        + "1000005\tWhat is it?\tnan\tdog\tcat\tNone\t\tA\tanimals\t5\ts\tlogic\t\tdev\n"
        + "7\tA 5\" disk?\t\tyes\tno\tperhaps\tnever\tD\tobjects\t\(pixel)\ts\tfine\t\tdev\n"

    private func withData<Result>(_ body: (String, TaskData) throws -> Result) throws -> Result {
        try withFolder { root in
            try writeFile(Self.table, to: "\(root)/mmbench_dev_20230712.tsv")
            return try body(root, MMBench().load(root, split: "dev"))
        }
    }

    @Test("reads rows, options up to the first missing one, and images written once")
    func layout() throws {
        try withData { root, data in
            #expect(data.samples.map(\.id.json) == [5, 1_000_005, 7])
            #expect(
                data.samples[0].question == "What \"is\" it?" && data.samples[2].question == "A 5\" disk?")
            #expect(
                data.samples.map { $0.choices?.count } == [2, 2, 4]
                    && data.samples.map(\.correctChoice) == [1, 0, 3])
            #expect(data.samples[0].context == "Look." && data.samples[1].context == nil)
            let image = try #require(data.samples[0].images.first)
            #expect(data.samples.map(\.images) == [[image], [image], [image]])
            #expect(image.hasPrefix("\(root)/decoded/mmbench/") && image.hasSuffix(".png"))
            #expect(Data(try readFile(image, limit: 1000)) == Data(base64Encoded: pixel))
            #expect(data.samples[0].imageID == data.samples[1].imageID)
        }
    }

    @Test("asks in English and in Chinese")
    func prompt() throws {
        try withData { _, data in
            #expect(
                MMBench().prompt(for: data.samples[0])
                    == "Look.\nWhat \"is\" it?\nA. cat\nB. dog\n\(Choices.instruction)")
            #expect(MMBench(language: .chinese).prompt(for: data.samples[1]).hasSuffix("B. cat\n请直接回答选项字母。"))
        }
    }

    @Test("circular accuracy needs every rotation, vanilla the first alone")
    func circular() throws {
        try withData { _, data in
            func figures(_ answers: [String]) throws -> [String: Double] {
                let predictions = zip(answers, data.samples).map { Prediction($0, to: $1) }
                let scores = try score(predictions, on: data, task: MMBench())
                return Dictionary(uniqueKeysWithValues: scores.figures.map { ($0.name, $0.value) })
            }
            let right = try figures(["B", "(A) dog", "never"])
            #expect(right == ["circular": 100, "vanilla": 100, "circular/logic": 100, "circular/fine": 100])
            let half = try figures(["B", "B", "D"])
            #expect(half == ["circular": 50, "vanilla": 100, "circular/logic": 0, "circular/fine": 100])
            let none = try figures(["hm", "A", "D"])
            #expect(none["circular"] == 50 && none["vanilla"] == 50)
        }
    }

    @Test("rotations that the table lacks are made")
    func rotations() throws {
        try withData { _, data in
            var once = data
            once.samples = [data.samples[2]]
            let all = MMBench.rotated(once)
            #expect(all.samples.map(\.id.json) == [7, 1_000_007, 2_000_007, 3_000_007])
            #expect(all.samples[1].choices == ["no", "perhaps", "never", "yes"])
            #expect(
                all.samples.map(\.correctChoice) == [3, 2, 1, 0]
                    && all.samples.allSatisfy { $0.answer == "never" })
        }
    }

    @Test("writes the sheet that the server takes")
    func submission() throws {
        try withData { root, data in
            let answers = ["B", "A & <b>", "line\nbreak"]
            let predictions = zip(answers, data.samples).map { Prediction($0, to: $1) }
            try MMBench().writeSubmission(predictions, for: data, to: "\(root)/sheet.xlsx")
            let bytes = try readFile("\(root)/sheet.xlsx", limit: 1 << 20)
            #expect(bytes.starts(with: Array("PK\u{3}\u{4}".utf8)))
            let text = String(decoding: bytes, as: UTF8.self)
            #expect(
                text.contains(#"<c r="G1" t="inlineStr"><is><t xml:space="preserve">prediction</t></is></c>"#)
            )
            #expect(text.contains(#"<c r="A3"><v>1000005</v></c>"#) && text.contains("A &amp; &lt;b&gt;"))
            #expect(text.contains("line&#10;break") && !text.contains(#"r="E2""#))
            // Python's zipfile checks names, sizes and checksums.
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = ["python3", "-m", "zipfile", "-t", "\(root)/sheet.xlsx"]
            process.standardOutput = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            #expect(process.terminationStatus == 0)
        }
    }

    @Test("names every fault")
    func faults() throws {
        let faults = [
            ("5\t\"What", "x\t\"What", "line 2: the index is no number"),
            ("\tcat\tdog\t\t", "\t\tdog\t\t", "there is no option A"),
            ("bird\tB", "bird\tD", "line 2: the answer 'D' is the letter of no option"),
            ("A\tB\tC", "A\tB\tB", "two columns"),
            ("question", "q", "it has no column 'question'"),
            (pixel, String(pixel.reversed()), "digits follow the padding"),
            (
                pixel, pixel.replacingOccurrences(of: "iVBOR", with: "aVBOR"),
                "line 2: it is no JPEG, PNG or WebP image"
            ),
            (pixel, pixel.replacingOccurrences(of: "C", with: "~"), "it is no base64 text"),
            (pixel + "\ts\tlogic", "9\ts\tlogic", "its image is that of the row '9', which has none"),
            ("\t\tdev\n1", "\tdev\n1", "line 2: it has 13 fields, the header has 14"),
        ]
        for (before, after, expected) in faults {
            try withFile(Self.table.replacingOccurrences(of: before, with: after)) { file in
                let files = TaskFiles(questions: file, images: "\(file)-decoded")
                let found = message { _ = try MMBench().load(files, split: nil) }
                #expect(found.contains(expected), "\(found)")
            }
        }
    }
}

@Suite("SEED-Bench, MM-Vet and LLaVA-Bench")
struct BenchTests {
    @Test("SEED-Bench: images, videos or both, types by name, letters as predictions")
    func seed() throws {
        func question(_ id: String, _ kind: String, _ type: Int) -> String {
            """
            {"answer": "B", "choice_a": "One", "choice_b": "Two", "choice_c": 3, "choice_d": "Four", "data_id": "i\(id)",
            "data_type": "\(kind)", "question": "How many?", "question_id": "\(id)", "question_type_id": \(type)}
            """
        }
        let text =
            "{\"questions\": [\(question("1", "image", 5)), \(question("v2", "video", 10)), \(question("3", "image", 1))],"
            + #""question_type": {"Scene Understanding": 1, "Instances Counting": 5}}"#
        try withFolder { root in
            try writeFile(text, to: "\(root)/SEED-Bench.json")
            let data = try SEEDBench().load(root, split: "image")
            #expect(data.samples.map(\.questionType) == ["Instances Counting", "Scene Understanding"])
            #expect(
                data.notes == ["1 questions about videos were left out"] && data.samples[0].choices?[2] == "3"
            )
            #expect(data.samples[0].images == ["\(root)/SEED-Bench-image/i1"])
            let videos = try SEEDBench().load(root, split: "video")
            #expect(videos.samples.map(\.images) == [["\(root)/SEED-Bench-video-image/10_v2.png"]])
            #expect(videos.notes == ["2 questions about images were left out"])
            let all = try SEEDBench().load(root, split: "all")
            #expect(all.samples.map { $0.labels["data_type"] } == ["image", "video", "image"])
            #expect(
                all.samples[1].images == ["\(root)/SEED-Bench-video-image/10_v2.png"] && all.notes.isEmpty)
            #expect(
                SEEDBench().prompt(for: data.samples[0])
                    == "How many?\nA. One\nB. Two\nC. 3\nD. Four\n\(Choices.instruction)")
            #expect(SEEDBench().answer(fromGenerated: "(B) Two.", for: data.samples[0]) == "B")
            let predictions = zip(["B", "C"], data.samples).map { Prediction($0, to: $1) }
            let scores = try score(predictions, on: data, task: SEEDBench())
            #expect(scores.groups[0].percentages == ["Instances Counting": 100, "Scene Understanding": 0])
            try SEEDBench().writeSubmission(predictions, for: data, to: "\(root)/p.jsonl")
            #expect(
                try String(contentsOfFile: "\(root)/p.jsonl", encoding: .utf8)
                    == "{\"question_id\":\"1\",\"prediction\":\"B\"}\n{\"question_id\":\"3\",\"prediction\":\"C\"}\n"
            )
        }
        for (before, after, expected) in [
            (#""answer": "B""#, #""answer": "E""#, "the answer 'E' is the letter of no option"),
            (#""choice_d": "Four""#, #""x": 1"#, "the record has no choice_d"),
            (#""questions""#, #""q""#, "no key 'questions'"),
        ] {
            try withFile(text.replacingOccurrences(of: before, with: after)) { file in
                #expect(
                    message { _ = try SEEDBench().load(TaskFiles(questions: file), split: nil) }.contains(
                        expected))
            }
        }
    }

    @Test("MM-Vet: the judge's sheet, and the parts that occur as a local stand-in")
    func mmVet() throws {
        let text = """
            {"v1_0": {"imagename": "v1_0.png", "question": "x?", "answer": "-1<AND>-5", "capability": ["ocr", "math", "ocr"]},
            "v1_1": {"imagename": "v1_1.jpg", "question": "y?", "answer": "two<OR>2", "capability": ["rec"], "imagesource": "s"}}
            """
        try withFolder { root in
            try writeFile(text, to: "\(root)/mm-vet.json")
            let data = try MMVet().load(root, split: "test")
            #expect(
                data.samples[0].labels["capabilities"] == "math_ocr"
                    && data.samples[1].images == ["\(root)/images/v1_1.jpg"])
            #expect(MMVet().prompt(for: data.samples[0]) == "x?")
            let predictions = zip(["x = -1", "There are Two."], data.samples).map { Prediction($0, to: $1) }
            let scores = try score(predictions, on: data, task: MMVet())
            #expect(scores.metric == "contains-not-the-judge" && scores.perQuestion == [0.5, 1])
            #expect(
                scores.figures.map(\.name) == ["math", "ocr", "rec"]
                    && scores.figures.map(\.value) == [50, 50, 100])
            try MMVet().writeSubmission(predictions, for: data, to: "\(root)/sheet.json")
            #expect(
                try JSON(contentsOf: "\(root)/sheet.json") == ["v1_0": "x = -1", "v1_1": "There are Two."])
        }
        for (before, after, expected) in [
            (#""imagename": "v1_0.png""#, #""imagename": "/etc""#, "leads out of the folder"),
            (#"["rec"]"#, #""rec""#, "no list capability"),
            (#""v1_1": {"#, #""": {"#, "the id is empty"), (#""v1_1""#, #""v1_0""#, "appears twice"),
        ] {
            try withFile(text.replacingOccurrences(of: before, with: after)) { file in
                let found = message {
                    _ = try MMVet().load(TaskFiles(questions: file, images: "i"), split: nil)
                }
                #expect(
                    found.contains(expected)
                        || (expected == "appears twice" && found.contains("was used in record 1")), "\(found)"
                )
            }
        }
    }

    @Test("LLaVA-Bench: references, the judge's context kept from the model, answers file and review scores")
    func llavaBench() throws {
        try withFolder { root in
            try writeFile(
                """
                {"question_id": 0, "image": "001.jpg", "text": "Name?", "category": "conv"}
                {"question_id": 1, "image": "001.jpg", "text": "Describe.", "category": "detail"}

                """, to: "\(root)/questions.jsonl")
            try writeFile(#"{"image": "001.jpg", "caption": ["a", "b"]}"#, to: "\(root)/context.jsonl")
            let answers =
                "{\"question_id\": 0, \"text\": \"Diamond Head\"}\n{\"question_id\": 1, \"text\": \"a hill\"}\n"
            try writeFile(answers, to: "\(root)/answers_gpt4.jsonl")
            let data = try LLaVABench().load(root, split: "test")
            #expect(data.samples[0].labels["judge_context"] == "a\nb" && data.samples[0].context == nil)
            #expect(
                LLaVABench().prompt(for: data.samples[0]) == "Name?" && data.samples[1].answers == ["a hill"])
            let predictions = zip(["diamond head!", "a tree on a hill"], data.samples).map {
                Prediction($0, to: $1)
            }
            let scores = try score(predictions, on: data, task: LLaVABench())
            #expect(scores.perQuestion == [1, 2 * 2 / 7.0] && scores.metric == "word-f1-not-the-judge")
            try LLaVABench().writeSubmission(predictions, for: data, to: "\(root)/a.jsonl")
            let lines = try String(contentsOfFile: "\(root)/a.jsonl", encoding: .utf8).split(separator: "\n")
            let first = try JSON(parsing: Array(lines[0].utf8), source: "a")
            #expect(
                first["prompt"] == "Name?" && first["text"] == "diamond head!"
                    && first["metadata"] == .object([]))
            #expect(first["answer_id"]?.string?.count == 22 && lines.count == 2)
            try writeFile(
                """
                {"category": "llava_bench_conv", "tuple": [8.0, 6]}
                {"category": "llava_bench_detail", "tuple": [9, 9.0]}
                {"category": "llava_bench_conv", "tuple": [7, 3]}

                """, to: "\(root)/reviews.jsonl")
            #expect(
                try LLaVABench.judgedScores("\(root)/reviews.jsonl")
                    == ["llava_bench_conv": 60, "llava_bench_detail": 100, "all": 75])
            try writeFile("{\"question_id\": 0, \"text\": \"x\"}\n", to: "\(root)/answers_gpt4.jsonl")
            #expect(
                message { _ = try LLaVABench().load(root, split: "test") }.contains(
                    "the question 1 has no reference answer"))
        }
    }
}

@Suite("VL-ICL Bench")
struct VLICLTests {
    static let files = [
        "clevr/query.json":
            #"[{"id": "q1", "image": ["clevr/query/1.png"], "question": "material: rubber", "answer": 2}]"#,
        "clevr/support.json": "["
            + (0..<9).map {
                #"{"id": "s\#($0)", "image": ["clevr/support/\#($0).png"], "question": "shape: cube", "answer": \#($0)}"#
            }
            .joined(separator: ",") + "]",
        "operator_induction/query.json":
            #"[{"id": "o", "image": ["a.png"], "question": "What?", "answer": 35, "operator": "x"}]"#,
        "operator_induction/support.json":
            #"[{"id": "s", "image": ["b.png"], "question": "What?", "answer": [12, -2, 35]}]"#,
        "matching_mi/query.json":
            #"[{"id": 1, "image": ["a.png", "b.png"], "question": "", "answer": "yes"}]"#,
        "matching_mi/support.json": """
        [{"id": 1, "same": {"image": ["a", "b"], "question": "same?", "answer": "yes"},
        "diff": {"image": ["a", "c"], "question": "same?", "answer": "no"}}]
        """,
        "open_mi/query.json": """
        [{"id": "m", "image": ["x.jpg"], "question": "This is a", "answer": "dax", "classes": ["dax", "blick", "wug"],
        "support": {"dax": {"images": ["d0", "d1"]}, "blick": {"images": ["b0", "b1"]}, "wug": {"images": ["w0", "w1"]}}}]
        """,
        "textocr/query.json":
            #"[{"id": "t", "image": ["t.jpg"], "question": "What text?", "answer": "3.14"}]"#,
        "textocr/support.json": "[]",
    ]

    private func withRoot<Result>(_ body: (String) throws -> Result) throws -> Result {
        try withFolder(of: Self.files, body)
    }

    @Test("reads queries and support of every task")
    func layout() throws {
        try withRoot { root in
            let clevr = try VLICLBench().load(root, split: "clevr")
            #expect(clevr.samples[0].answers == ["2"] && clevr.samples[0].questionType == "material")
            #expect(clevr.samples[0].images == ["\(root)/clevr/query/1.png"])
            let operators = try VLICLBench().load(root, split: "operator_induction/support")
            #expect(operators.samples[0].answers == ["12", "-2", "35"])
            let matching = try VLICLBench().load(root, split: "matching_mi")
            #expect(matching.samples[0].images.count == 2)
            let pairs = try VLICLBench().load(root, split: "matching_mi/support")
            #expect(
                pairs.samples.map(\.id.text) == ["1/same", "1/diff"]
                    && pairs.samples.map(\.answer) == ["yes", "no"])
            let classes = try VLICLBench().load(root, split: "open_mi/support")
            #expect(classes.samples.count == 6 && classes.samples[1].id.text == "m/dax/1")
            #expect(try VLICLBench().load(root, split: "textocr/support").samples.isEmpty)
            let unknown = message { _ = try VLICLBench().load(root, split: "x") }
            #expect(unknown.contains("there is no such split"))
            let whole = TaskFiles(questions: "\(root)/clevr/support.json")
            #expect(try VLICLBench().load(whole, split: nil).samples.count == 9)
        }
    }

    @Test("demonstrations: by seed and query alone, fewer shots are the beginning of more")
    func demonstrations() throws {
        try withRoot { root in
            func drawn(_ task: String, _ shots: Int, seed: Int = 0) throws -> [Sample] {
                let query = try VLICLBench().load(root, split: task).samples[0]
                let support = try VLICLBench().load(root, split: "\(task)/support")
                return VLICLBench.demonstrations(for: query, from: support, shots: shots, seed: seed)
            }
            let eight = try drawn("clevr", 8)
            let three = try drawn("clevr", 3)
            #expect(eight.count == 8 && Set(eight.map(\.id)).count == 8 && Array(eight.prefix(3)) == three)
            let other = try drawn("clevr", 8, seed: 1)
            let (all, none) = (try drawn("clevr", 99), try drawn("clevr", -1))
            #expect(other != eight && all.count == 9 && none.isEmpty)
            #expect(try drawn("operator_induction", 1).map(\.answers) == [["35"]])
            #expect(try drawn("matching_mi", 1).map(\.answer) == ["yes", "no"])
            let open = try drawn("open_mi", 2)
            #expect(
                open.count == 4 && open[0].answer == open[2].answer
                    && Set(open.compactMap(\.answer)).contains("dax"))
            #expect(
                open.map { $0.imageID.last } == ["0", "0", "1", "1"]
                    && Set(open.compactMap(\.answer)).count == 2)
        }
    }

    @Test("the prompt's instructions")
    func prompts() throws {
        try withRoot { root in
            let sample = try VLICLBench().load(root, split: "textocr").samples[0]
            #expect(VLICLBench().prompt(for: sample) == "What text?\nAnswer:")
            #expect(
                VLICLBench(instruction: .concise).prompt(for: sample)
                    == "Answer with the text inside the red box.\nWhat text?\nAnswer:")
            for task in VLICLBench.tasks {
                var other = sample
                other.labels["task"] = task
                let texts = [VLICLBench.Instruction.none, .concise, .detailed].map {
                    VLICLBench(instruction: $0).prompt(for: other)
                }
                #expect(Set(texts).count == 3 && texts[2].utf8.count > texts[1].utf8.count)
            }
        }
    }

    @Test("scores as the benchmark and as MAPD do")
    func scoring() throws {
        func score(
            _ scoring: VLICLBench.Scoring, _ answer: String, _ truth: String, _ task: String
        ) throws -> Double {
            var sample = Sample(id: QuestionID(1), imageID: "a", question: "q", answers: [truth])
            sample.labels["task"] = task
            return try VLICLAccuracy(scoring: scoring).scores(of: [answer], for: [sample])[0]
        }
        // The vectors of MAPD's specification.
        let mapd: [(String, String, String, Double)] = [
            ("Answer: 12", "12", "operator_induction", 1), ("-3", "-3", "operator_induction", 0),
            ("The answer is 7.", "7", "clevr", 1), ("seven", "7", "clevr", 0),
            ("4\nbecause", "4", "clevr", 1),
            ("1,000", "1000", "clevr", 0), ("dax", "Dax", "open_mi", 1), ("A dax", "dax", "open_mi", 0),
            ("3.14", "3.14", "textocr", 0), (".com", ".com", "textocr", 1),
            ("answer", "answer", "textocr", 0),
        ]
        for (answer, truth, task, expected) in mapd {
            #expect(try score(.mapd, answer, truth, task) == expected, "\(answer)")
        }
        let own: [(String, String, String, Double)] = [
            ("The answer is 7.", "7", "clevr", 0), ("7.", "7", "clevr", 1),
            ("= 12", "12", "operator_induction", 1),
            ("answer", "Answer", "textocr", 1), ("Yes, they are", "yes", "matching_mi", 1),
            ("no\nyes", "no", "matching_mi", 1),
            ("hm", "no", "matching_mi", 1), ("", "", "textocr", 1),
            ("12", "12", "operator_induction_interleaved", 1),
        ]
        for (answer, truth, task, expected) in own {
            #expect(try score(.benchmark, answer, truth, task) == expected, "\(answer)")
        }
    }

    @Test("names every fault and writes results")
    func faults() throws {
        let faults = [
            ("clevr/query.json", #""answer": 2"#, #""answer": [2]"#, "the answer is neither"),
            ("clevr/query.json", #"["clevr/query/1.png"]"#, "[]", "the image is no list of names"),
            ("clevr/query.json", "clevr/query/1.png", "../1.png", "leads out of the folder"),
            ("operator_induction/query.json", #""x"}"#, #""/"}"#, "the operator '/' is none of"),
        ]
        for (name, before, after, expected) in faults {
            try withRoot { root in
                let text = (Self.files[name] ?? "").replacingOccurrences(of: before, with: after)
                try writeFile(text, to: "\(root)/\(name)")
                let found = message {
                    _ = try VLICLBench().load(root, split: String(name.split(separator: "/")[0]))
                }
                #expect(found.contains(expected), "\(found)")
            }
        }
        try withRoot { root in
            let data = try VLICLBench().load(root, split: "clevr")
            try VLICLBench().writeSubmission(
                [Prediction("2", to: data.samples[0])], for: data, to: "\(root)/r.json")
            #expect(try JSON(contentsOf: "\(root)/r.json").array?.first?["prediction"] == "2")
        }
    }
}

@Suite("LLaVA-OneVision's mathematics")
struct OneVisionMathTests {
    @Test("reads records with their turns")
    func layout() throws {
        try withFolder { root in
            try makeFolder("\(root)/Image_data/tabmwp_cauldron")
            try writeFile(
                """
                [{"id": "1", "image": "tabmwp/1.png", "conversations": [{"from": "human", "value": "<image>\\nHow many?"},
                {"from": "gpt", "value": "2 + 3 = 5.\\nThe answer is 5."}]}]
                """, to: "\(root)/Image_data/tabmwp_cauldron/tabmwp_cauldron_dataset_val.json")
            let data = try OneVisionMath().load(root, split: "tabmwp_cauldron/val")
            #expect(data.samples[0].question == "How many?" && data.samples[0].turns.count == 2)
            #expect(data.samples[0].images == ["\(root)/Image_data/tabmwp/1.png"])
            let scores = try score(
                [Prediction("Answer: 5.0", to: data.samples[0])], on: data, task: OneVisionMath())
            #expect(scores.overall == 100)
        }
        for (text, expected) in [
            (
                #"[{"id": 1, "conversations": [{"from": "gpt", "value": "x"}]}]"#,
                "turn 1 of the conversation is not from 'human'"
            ),
            (
                #"[{"id": 1, "conversations": [{"from": "human", "value": "x"}]}]"#,
                "the conversation has no reply"
            ),
            (#"[{"id": 1, "conversations": []}]"#, "the record has no conversations"),
        ] {
            try withFile(text) { file in
                #expect(
                    message { _ = try OneVisionMath().load(TaskFiles(questions: file), split: nil) }.contains(
                        expected))
            }
        }
    }

    @Test("compares results: numbers by value, letters and words as they are")
    func results() {
        let cases: [(String, String, Double)] = [
            ("1,200", "1200", 1), ("0.75", "3/4", 1), ("$5.00", "5", 1), ("20 cm", "20", 1), ("50%", "50", 1),
            ("35", "3.5", 0),
            ("-3", "3", 0), ("Answer: B", "So the answer is (B).", 1), ("Answer: A", "Answer: B", 0),
            ("1/0", "5", 0),
            ("5 + 2", "5", 0), ("x = 5", "5", 0), ("first\nlast", "last", 1), ("", "", 0),
            ("a rhombus", "A rhombus.", 1),
            ("100.05", "100", 1), ("100.2", "100", 0), ("2024-01-02", "2024", 0),
            ("Answer:C: 30°", "Answer:C", 1),
        ]
        for (answer, truth, expected) in cases {
            let sample = Sample(id: QuestionID(1), imageID: "a", question: "q", answers: [truth])
            #expect(
                MathAccuracy().scores(of: [answer], for: [sample]) == [expected], "'\(answer)' '\(truth)'")
        }
    }
}
