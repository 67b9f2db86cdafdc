import Foundation
import Support
import Tasks
import Testing

@Suite("VL-ICL Bench: tasks whose answer is an image")
struct VLICLImageTests {
    private static func query(_ task: String, label: String, answer: String, captions: Bool) -> String {
        let classes = ["dax", "wug", "blick"].map { name in
            let images = (0..<3).map { "\"\(task)/support/\(name)\($0).jpg\"" }.joined(separator: ", ")
            let texts = (0..<3).map { "\"\(name) of \($0)\"" }.joined(separator: ", ")
            return "\"\(name)\": {\"images\": [\(images)]" + (captions ? ", \"captions\": [\(texts)]}" : "}")
        }
        return """
            [{"id": "q7", \(answer)"question": "Generate a \(label)", "task_label": "\(label)",
            "classes": ["dax", "wug", "blick"], "support": {\(classes.joined(separator: ",\n"))}}]
            """
    }

    static let files = [
        "open_t2i_mi/query.json": query(
            "open_t2i_mi", label: "dax", answer: #""image": "open_t2i_mi/query/q7.jpg", "answer": "lion", "#,
            captions: false),
        "fast_attr_t2i/query.json": query("fast_attr_t2i", label: "wug", answer: "", captions: true),
        "fast_count_t2i/query.json": query("fast_count_t2i", label: "blick", answer: "", captions: true),
        "cobsat/query.json": """
        [{"id": "c", "question": "car: ", "latent": "attribute", "attribute": "red", "object": "car", "task": "color",
        "answer": ["red", "car"]}]
        """,
        "cobsat/support.json": "["
            + [
                ("red", "attribute", "color"), ("red", "attribute", "color"), ("red", "attribute", "color"),
                ("blue", "attribute", "color"), ("red", "object", "color"), ("red", "attribute", "style"),
            ]
            .enumerated().map { number, item in
                """
                {"id": "s\(number)", "image": "cobsat/support/\(number).jpg", "question": "cup: ", "latent": "\(item.1)",
                "attribute": "\(item.0)", "object": "cup", "task": "\(item.2)"}
                """
            }.joined(separator: ",") + "]",
    ]

    private func withRoot<Result>(
        _ changes: [String: String] = [:], _ body: (String) throws -> Result
    ) throws -> Result {
        try withFolder(of: Self.files.merging(changes, uniquingKeysWith: { $1 }), body)
    }

    @Test("reads queries without an image to show, and support with the text that asks for it")
    func layout() throws {
        try withRoot { root in
            let task = VLICLBench()
            let query = try task.load(root, split: "open_t2i_mi").samples[0]
            #expect(query.question == "Generate a dax" && query.images.isEmpty && query.answers.isEmpty)
            #expect(query.imageID == "open_t2i_mi/query/q7.jpg" && query.passages == ["answer": "lion"])
            let support = try task.load(root, split: "open_t2i_mi/support").samples
            #expect(support.count == 9 && support[4].id.text == "q7/wug/1")
            #expect(support[4].images == ["\(root)/open_t2i_mi/support/wug1.jpg"])
            #expect(support[4].question == "Generate a wug" && support[4].answers.isEmpty)

            #expect(try task.load(root, split: "fast_attr_t2i").samples[0].imageID == "q7.jpg")
            let attributes = try task.load(root, split: "fast_attr_t2i/support").samples
            #expect(attributes[8].question == "Generate a blick of 2")
            let counts = try task.load(root, split: "fast_count_t2i/support").samples
            #expect(counts[0].question == "Generate dax of 0")

            let hidden = try task.load(root, split: "cobsat").samples[0]
            #expect(hidden.passages == ["latent": "red", "non_latent": "car"])
            #expect(hidden.questionType == "color" && hidden.answers.isEmpty)
            let drawn = try task.load(root, split: "cobsat/support").samples
            #expect(drawn.count == 6 && drawn[5].images == ["\(root)/cobsat/support/5.jpg"])
            let whole = TaskFiles(questions: "\(root)/cobsat/support.json")
            #expect(try task.load(whole, split: nil).samples.count == 6)
        }
    }

    @Test("validation counts queries and misses images of the support")
    func validation() throws {
        try withRoot { root in
            for (split, questions, missing) in [
                ("open_t2i_mi", 1, 0), ("open_t2i_mi/support", 9, 9), ("fast_attr_t2i", 1, 0),
                ("fast_attr_t2i/support", 9, 9), ("fast_count_t2i/support", 9, 9), ("cobsat", 1, 0),
                ("cobsat/support", 6, 6),
            ] {
                let files = try VLICLBench().files(in: root, split: split)
                let report = validate(VLICLBench(), files: files, split: split)
                #expect(report.questions == questions, "\(split)")
                #expect(report.log.counts == (missing > 0 ? [.missingImage: missing] : [:]), "\(split)")
            }
        }
    }

    @Test("demonstrations: both classes by turns, or the same hidden concept")
    func demonstrations() throws {
        try withRoot { root in
            func drawn(_ task: String, _ shots: Int, seed: Int = 0) throws -> [Sample] {
                let query = try VLICLBench().load(root, split: task).samples[0]
                let support = try VLICLBench().load(root, split: "\(task)/support")
                return VLICLBench.demonstrations(for: query, from: support, shots: shots, seed: seed)
            }
            for (task, label) in [
                ("open_t2i_mi", "dax"), ("fast_attr_t2i", "wug"), ("fast_count_t2i", "blick"),
            ] {
                let two = try drawn(task, 2)
                let names = two.compactMap { $0.labels["class"] }
                #expect(names.count == 4 && names[0] == names[2] && names[1] == names[3])
                #expect(Set(names).count == 2 && names.contains(label))
                #expect(two.map { $0.imageID.dropLast(4).last } == ["0", "0", "1", "1"])
                #expect(try Array(drawn(task, 99).prefix(4)) == two && drawn(task, 99).count == 6)
                let others = try (0..<20).map { try Set(drawn(task, 1, seed: $0).map(\.question)) }
                #expect(Set(others).count == 2, "each other class is drawn by some seed")
            }
            let all = try drawn("cobsat", 99)
            #expect(Set(all.map(\.id.text)) == ["s0", "s1", "s2"])
            #expect(try Array(all.prefix(2)) == drawn("cobsat", 2) && drawn("cobsat", 0).isEmpty)
        }
    }

    @Test("the prompt's instructions, where the benchmark has them, and no request for a text")
    func prompts() throws {
        try withRoot { root in
            for (task, hasInstructions) in [
                ("open_t2i_mi", true), ("cobsat", true), ("fast_attr_t2i", false), ("fast_count_t2i", false),
            ] {
                let sample = try VLICLBench().load(root, split: task).samples[0]
                #expect(VLICLBench().prompt(for: sample) == sample.question)
                let texts = [VLICLBench.Instruction.none, .concise, .detailed].map {
                    VLICLBench(instruction: $0).prompt(for: sample)
                }
                #expect(Set(texts).count == (hasInstructions ? 3 : 1), "\(task)")
            }
        }
    }

    @Test("refuses to score, compare, submit and measure in one line that says why")
    func refusal() throws {
        try withRoot { root in
            for task in [VLICLBench(), VLICLBench(scoring: .mapd)] {
                for split in VLICLBench.imageTasks {
                    let data = try task.load(root, split: split)
                    let predictions = data.samples.map { Prediction("lion", to: $0) }
                    let expected =
                        "cannot answer, learn or score these data: \(task.name) \(split): the answers are images, and this "
                        + "program writes text; take one of open_mi, operator_induction, "
                    for found in [
                        message { try task.requireTextAnswers(data) },
                        message { _ = try score(predictions, on: data, task: task) },
                        message { _ = try compare(predictions, with: predictions, on: data, task: task) },
                        message { try task.writeSubmission(predictions, for: data, to: "\(root)/r.json") },
                    ] {
                        #expect(found.hasPrefix(expected), "\(found)")
                    }
                    let measured = message {
                        _ = try task.metric(for: data).scores(of: ["lion"], for: data.samples)
                    }
                    #expect(measured.contains("the answers are images"), "\(measured)")
                    #expect(!fileExists("\(root)/r.json"))
                }
            }
            let text = TaskData(task: "vl-icl", split: "", samples: [])
            #expect(message { try VLICLBench().requireTextAnswers(text) } == "no error")
        }
    }

    @Test("the judge's questions and the figures of its replies")
    func judge() throws {
        try withRoot { root in
            let open = try VLICLBench().load(root, split: "open_t2i_mi").samples
            #expect(
                try VLICLJudge.questions(about: open[0])
                    == ["Decide whether the image contains lion. Answer with 'yes' or 'no'.\n"])
            #expect(try VLICLJudge.scores(of: [["No."], ["YES"]], for: open + open) == ["total": 50])
            let hidden = try VLICLBench().load(root, split: "cobsat").samples
            #expect(
                try VLICLJudge.questions(about: hidden[0])[1]
                    == "Decide whether the image contains the following concept: car. Answer with 'yes' or 'no'.\n"
            )
            let replies = [["Yes", "yes, it does"], ["yes", "no"], ["Yes.", "no"], ["no", "no"]]
            #expect(
                try VLICLJudge.scores(of: replies, for: [Sample](repeating: hidden[0], count: 4))
                    == ["total": 25, "latent": 75, "non_latent": 25])
            let support = try VLICLBench().load(root, split: "cobsat/support").samples
            let fast = try VLICLBench().load(root, split: "fast_attr_t2i").samples
            for (replies, queries, expected) in [
                ([], [], "there are none"), ([], open, "there are 0 for 1 queries"),
                ([["yes"]], hidden, "it has 1 replies to 2 questions"),
                ([["yes"], ["yes", "yes"]], open + hidden, "it is of another task"),
                ([["yes", "no"]], Array(support.prefix(1)), "give a query, not a demonstration"),
                ([["yes"]], fast, "has published no judge's questions for fast_attr_t2i"),
            ] as [([[String]], [Sample], String)] {
                let found = message { _ = try VLICLJudge.scores(of: replies, for: queries) }
                #expect(found.contains(expected), "\(found)")
            }
        }
    }

    @Test("names every fault and goes on to the next record")
    func faults() throws {
        for (split, before, after, expected) in [
            ("open_t2i_mi", #""task_label": "dax""#, #""task_label": "zup""#, "'zup' is none of the classes"),
            ("open_t2i_mi", #""task_label": "dax","#, "", "the record has no task_label"),
            ("open_t2i_mi", #""answer": "lion", "#, "", "the record has no answer"),
            ("open_t2i_mi", #""open_t2i_mi/query/q7.jpg""#, "3", "the image is no list of names"),
            ("open_t2i_mi/support", #""classes""#, #""names""#, "the record has no list classes"),
            ("open_t2i_mi/support", #""support""#, #""shots""#, "the record has no support"),
            ("open_t2i_mi/support", #""wug": {"images""#, #""wug": {"files""#, "'wug' has no list of images"),
            ("open_t2i_mi/support", "open_t2i_mi/support/dax0", "../dax0", "leads out of the folder"),
            ("fast_attr_t2i/support", #", "wug of 2""#, "", "'wug' has not a caption for each image"),
            ("fast_count_t2i/support", #""blick of 1""#, "4", "'blick' has not a caption for each image"),
            ("cobsat", #"["red", "car"]"#, #""red car""#, "the answer is no list of two texts"),
            ("cobsat", #""latent": "attribute", "#, "", "the record has no latent"),
            ("cobsat", #""attribute": "red", "#, "", "the record has no 'attribute', which it calls latent"),
            ("cobsat", #", "task": "color""#, "", "the record has no task"),
            ("cobsat/support", #""cobsat/support/0.jpg""#, "[]", "the image is no list of names"),
        ] {
            let task = split.split(separator: "/")[0]
            let name = split == "cobsat/support" ? "cobsat/support.json" : "\(task)/query.json"
            let whole = Self.files[name] ?? ""
            let broken = whole.replacingOccurrences(of: before, with: after)
            #expect(broken != whole, "\(split): \(before)")
            let other = whole.replacingOccurrences(of: #""id": ""#, with: #""id": "other "#)
            try withRoot([name: broken.dropLast() + "," + other.dropFirst()]) { root in
                let files = TaskFiles(questions: "\(root)/\(name)", images: root)
                var log = ProblemLog(stopsAtFatal: false)
                let data = try VLICLBench().read(files, split: split, log: &log)
                #expect(log.counts == [.badRecord: 1], "\(split): \(log.summary)")
                #expect(log.problems.first?.why.contains(expected) == true, "\(log.summary)")
                #expect(data.samples.contains { $0.id.text.hasPrefix("other ") }, "\(split)")
            }
        }
    }

    @Test("mutated files never trap")
    func mutations() throws {
        for (index, (name, text)) in Self.files.sorted(by: { $0.key < $1.key }).enumerated() {
            let task = String(name.split(separator: "/")[0])
            try withFolder { folder in
                let files = TaskFiles(questions: "\(folder)/q", images: folder)
                try mutate(Array(text.utf8), at: files.questions, seed: 60 + index, milliseconds: 150) {
                    let isSupport = name.hasSuffix("support.json")
                    let queries = try VLICLBench().load(files, split: isSupport ? "\(task)/support" : task)
                    let support =
                        task == "cobsat" ? queries : try VLICLBench().load(files, split: "\(task)/support")
                    for query in queries.samples {
                        _ = VLICLBench.demonstrations(for: query, from: support, shots: 2, seed: 0)
                        _ = VLICLBench(instruction: .concise).prompt(for: query)
                        _ = try? VLICLJudge.questions(about: query)
                    }
                }
            }
        }
    }
}
