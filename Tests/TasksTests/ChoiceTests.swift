import Foundation
import Support
import Tasks
import Testing

@Suite("Multiple choice")
struct ChoiceTests {
    private let colours = ["red", "dark red", "blue", "a cat"]

    @Test("LLaVA's prompt: hint, question, options, instruction")
    func prompt() {
        #expect(
            Choices.prompt(hint: "Look.", question: "Which?", choices: ["x", "y"])
                == "Look.\nWhich?\nA. x\nB. y\nAnswer with the option's letter from the given choices directly."
        )
        #expect(Choices.inline(["x", "y"]) == "(A) x (B) y")
        #expect(Choices.letter(25) == "Z" && Choices.letter(26) == nil && Choices.letter(-1) == nil)
        #expect(Choices.index(of: "C", among: 2) == nil && Choices.index(of: "b", among: 2) == nil)
    }

    @Test("each rule reads the option as its program does")
    func rules() {
        let cases: [(ChoiceRule, String, Int?)] = [
            (.letterOrText, " B ", 1), (.letterOrText, "B.", nil), (.letterOrText, "Dark Red", 1),
            (.letterOrText, "E", nil), (.letterOrText, "", nil),
            (.llava, "B", 1), (.llava, "B. dark red", 1), (.llava, "B.", nil), (.llava, "B dark", nil),
            (.llava, "So. The answer is C.", 2), (.llava, "The answer is C. The answer is A.", nil),
            (.llava, "The answer is C", nil), (.llava, "E", nil), (.llava, " B", nil),
            (.scienceQA, "B", nil), (.scienceQA, "The answer is D.", 3), (.scienceQA, "The answer is Dx", 3),
            (.scienceQA, "The answer is A. The answer is A.", nil),
            (.lavin, "The answer is B. The answer is A.", 1), (.lavin, "the answer is B.", nil),
            (.vlmEvalKit, "(B)", 1), (.vlmEvalKit, "The best is C.", 2), (.vlmEvalKit, "A or B", nil),
            (.vlmEvalKit, "it is BLUE", 2), (.vlmEvalKit, "Z", nil), (.vlmEvalKit, "dark red", nil),
            (.vlmEvalKit, "C is what I would say in this case", nil),
            (.lenient, "(C) blue", 2), (.lenient, "C: blue", 2), (.lenient, "The answer is (C)", 2),
            (.lenient, "Answer: B", 1), (.lenient, "A cat.", 3), (.lenient, "I see a cat", 3),
            (.lenient, "blue or a cat", nil), (.lenient, "An option", nil), (.lenient, "", nil),
        ]
        for (rule, text, expected) in cases {
            #expect(rule.choice(in: text, among: colours) == expected, "\(rule) '\(text)'")
        }
    }

    private func question(_ id: Int, _ choices: [String], right: Int) -> Sample {
        var sample = Sample(
            id: QuestionID(id), imageID: String(id), question: "?", answers: [choices[right]],
            choices: choices)
        sample.correctChoice = right
        return sample
    }

    @Test("permuting the options permutes the answers and leaves the scores")
    func permutation() {
        var random = CounterRandom(seed: 1, purpose: "permutation")
        let choices = ["one bird", "two dogs", "nothing", "a tree"]
        for round in 0..<100 {
            let order = Array(choices.indices).shuffled(using: &random)
            let shuffled = order.map { choices[$0] }
            for rule in ChoiceRule.allCases {
                for (index, text) in choices.enumerated() {
                    let place = order.firstIndex(of: index)
                    let letter = place.flatMap(Choices.letter) ?? ""
                    if [.letterOrText, .lenient, .vlmEvalKit].contains(rule) {
                        #expect(rule.choice(in: text, among: shuffled) == place)
                    }
                    #expect(
                        rule.choice(in: "The answer is \(letter).", among: shuffled) == place
                            || rule == .letterOrText)
                }
            }
            let right = round % 4
            let sample = question(1, shuffled, right: order.firstIndex(of: right) ?? 0)
            #expect(ChoiceAccuracy().scores(of: [choices[right]], for: [sample]) == [1])
            #expect(ChoiceAccuracy().scores(of: [choices[(right + 1) % 4]], for: [sample]) == [0])
        }
    }

    @Test("an answer without option is wrong and listed, or a draw that depends on the id alone")
    func fallback() throws {
        let samples = (0..<400).map { question($0, colours, right: 1) }
        let strict = ChoiceAccuracy(rule: .scienceQA)
        #expect(strict.scores(of: ["hm"], for: [samples[0]]) == [0])
        #expect(
            !strict.isExpected("hm", for: samples[0])
                && strict.isExpected("The answer is A.", for: samples[0]))
        let lucky = ChoiceAccuracy(rule: .scienceQA, fallback: .random)
        #expect(lucky.name == "choice-accuracy-scienceqa-random-choice")
        let scores = lucky.scores(of: Array(repeating: "hm", count: 400), for: samples)
        let backwards = lucky.scores(of: Array(repeating: "hm", count: 400), for: samples.reversed())
        #expect(scores == backwards.reversed())
        #expect((60...140).contains(scores.reduce(0, +)))
    }

    @Test("scores and figures of every family do not depend on the order of the records")
    func order() throws {
        var random = CounterRandom(seed: 2, purpose: "order")
        for task in TaskRegistry.all {
            var samples: [Sample] = []
            for index in 0..<60 {
                var sample = question(index % 20 + index / 20 * 1_000_000, colours, right: index % 4)
                if !(task is MMBench) { sample.answers = [["yes", "no", "true", "A"][index % 4]] }
                sample.answer = sample.answers[0]
                sample.labels = [
                    "category": ["random", "popular"][index % 2], "l2-category": "c\(index % 3)",
                    "task": "clevr",
                    "subject": "natural science", "grade": "grade\(index % 12 + 1)",
                    "sentence": "s\(index % 7)",
                    "capabilities": index % 2 == 0 ? "ocr_math" : "ocr", "image": "with image",
                ]
                samples.append(sample)
            }
            let predictions = samples.map {
                Prediction(["B", "yes", "no", "true"].randomElement(using: &random) ?? "", to: $0)
            }
            let options = ScoreOptions(bootstrap: Bootstrap(resamples: 20))
            let data = TaskData(task: task.name, split: "", samples: samples)
            var other = data
            other.samples.shuffle(using: &random)
            let first = try score(predictions, on: data, task: task, options: options)
            let second = try score(
                predictions.shuffled(using: &random), on: other, task: task, options: options)
            #expect(first.overall == second.overall && first.figures == second.figures, "\(task.name)")
            #expect(first.low == second.low && first.groups == second.groups, "\(task.name)")
        }
    }
}

@Suite("ScienceQA")
struct ScienceQATests {
    static let problems = """
        {"1": {"question": "Which  one?", "choices": ["x", "y"], "answer": 1, "hint": "", "image": null, "task": "closed choice",
        "grade": "grade2", "subject": "natural science", "lecture": "L\\nl", "solution": "S", "split": "test"},
        "2": {"question": "Who?", "choices": ["a", "b", "c"], "answer": 0, "hint": "Look.", "image": "image.png",
        "grade": "grade8", "subject": "social science", "lecture": "", "solution": "", "split": "test"},
        "3": {"question": "When?", "choices": ["now", "then"], "answer": 0, "hint": "", "image": "image.png",
        "grade": "grade8", "subject": "language science", "lecture": "", "solution": "", "split": "train"}}
        """

    private func withRoot<Result>(_ body: (String) throws -> Result) throws -> Result {
        try withFolder { root in
            try writeFile(Self.problems, to: "\(root)/problems.json")
            try writeFile(#"{"train": ["3"], "test": ["2", "1"]}"#, to: "\(root)/pid_splits.json")
            return try body(root)
        }
    }

    @Test("reads problems in the order of the split, with and without image")
    func layout() throws {
        try withRoot { root in
            let data = try ScienceQA().load(root, split: "test")
            #expect(data.samples.map(\.id.text) == ["2", "1"])
            let (two, one) = (data.samples[0], data.samples[1])
            #expect(two.images == ["\(root)/images/test/2/image.png"] && two.context == "Look.")
            #expect(one.images.isEmpty && one.context == nil && one.rationale == "L\nl S")
            #expect(one.passages == ["lecture": "L\nl", "solution": "S"])
            #expect(one.imageID != two.imageID && one.correctChoice == 1 && one.answers == ["y"])
            #expect(one.labels["subject"] == "natural science" && one.labels["grade"] == "grade2")
            #expect(
                try ScienceQA().load(TaskFiles(questions: "\(root)/problems.json"), split: "train").samples
                    .count == 1)
            #expect(
                try ScienceQA().load(TaskFiles(questions: "\(root)/problems.json"), split: nil).samples.count
                    == 3)
        }
    }

    @Test("asks in the three published forms")
    func prompts() throws {
        try withRoot { root in
            let data = try ScienceQA().load(root, split: "test")
            let (two, one) = (data.samples[0], data.samples[1])
            #expect(
                ScienceQA().prompt(for: two)
                    == "Context: Look.\nQuestion: Who?\nOptions: (A) a (B) b (C) c\n\(Choices.instruction)")
            #expect(
                ScienceQA(form: .official).prompt(for: one)
                    == "Question: Which one?\nContext: N/A\nOptions: (A) x (B) y\nAnswer:")
            #expect(ScienceQA(form: .lavin).prompt(for: one).hasSuffix("\nOptions: (A) x (B) y\nResponse:"))
            #expect(ScienceQA().target(for: one) == "The answer is B. BECAUSE: L\\nl S")
            #expect(ScienceQA().target(for: two) == "The answer is A.")
        }
    }

    @Test("reads LLaVA's list and keeps its prompts")
    func converted() throws {
        let text = """
            [{"id": "7", "image": "7/image.png", "conversations": [{"from": "human",
            "value": "Context: N/A\\nQuestion: Which?\\nOptions: (A) the (big) one (B) two\\n<image>"},
            {"from": "gpt", "value": "The answer is B."}]},
            {"id": "8", "conversations": [{"from": "human", "value": "Which?\\nA. x\\nB. y"}, {"from": "gpt", "value": "A"}]}]
            """
        try withFile(text) { file in
            let data = try ScienceQA().load(TaskFiles(questions: file, images: "i"), split: "test")
            #expect(
                data.samples[0].choices == ["the (big) one", "two"] && data.samples[0].correctChoice == 1)
            #expect(data.samples[0].images == ["i/test/7/image.png"] && data.samples[0].question == "Which?")
            #expect(
                ScienceQA().prompt(for: data.samples[0])
                    == "Context: N/A\nQuestion: Which?\nOptions: (A) the (big) one (B) two\n\(Choices.instruction)"
            )
            #expect(data.samples[1].choices == ["x", "y"] && data.samples[1].correctChoice == 0)
        }
    }

    @Test("scores by the official columns and writes results that read back")
    func scores() throws {
        try withRoot { root in
            let data = try ScienceQA().load(root, split: "test")
            let predictions = [
                Prediction("The answer is A.", to: data.samples[0]), Prediction("hm", to: data.samples[1]),
            ]
            let scores = try score(predictions, on: data, task: ScienceQA())
            #expect(scores.overall == 50 && scores.unexpected == [QuestionID("1")])
            let figures = Dictionary(uniqueKeysWithValues: scores.figures.map { ($0.name, $0.value) })
            #expect(
                figures == [
                    "NAT": 0, "SOC": 100, "LAN": 0, "TXT": 100, "IMG": 100, "NO": 0, "G1-6": 0, "G7-12": 100,
                ])
            try ScienceQA().writeSubmission(predictions, for: data, to: "\(root)/results.json")
            #expect(try JSON(contentsOf: "\(root)/results.json") == ["results": ["2": 0, "1": -1]])
        }
    }

    @Test("names every fault")
    func faults() throws {
        let faults = [
            (#""answer": 1"#, #""answer": 2"#, "the answer 2 is none of 2 choices"),
            (#"["x", "y"]"#, "[]", "it has 0 choices"),
            (#"["x", "y"]"#, #"["x", 3]"#, "choices is not a list of strings"),
            (#""question": "Who?""#, #""q": 1"#, "the record has no question"),
            (#""image.png""#, #""../image.png""#, "leads out of the folder"),
        ]
        for (before, after, expected) in faults {
            try withFile(Self.problems.replacingOccurrences(of: before, with: after)) { file in
                let files = TaskFiles(questions: file, images: "images")
                let found = message { _ = try ScienceQA().load(files, split: nil) }
                #expect(found.contains(expected), "\(found)")
                #expect(validate(ScienceQA(), files: files, split: nil).log.counts[.badRecord] ?? 0 >= 1)
            }
        }
        try withRoot { root in
            try writeFile(#"{"test": ["1", "9", "1"]}"#, to: "\(root)/pid_splits.json")
            let files = try ScienceQA().files(in: root, split: "test")
            #expect(validate(ScienceQA(), files: files, split: "test").log.counts[.badRecord] == 2)
            #expect(
                message { _ = try ScienceQA().load(files, split: "tests") }.contains("did you mean 'test'?"))
        }
    }
}
