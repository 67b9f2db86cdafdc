import Foundation
import Support
import Tasks
import Testing

@Suite("Hostile input to the multiple-choice and yes/no readers")
struct ChoiceRobustnessTests {
    private func mutate(_ original: [UInt8], at path: String, seed: Int, _ read: () throws -> Void) throws {
        try TasksTests.mutate(original, at: path, seed: seed, milliseconds: 250, read)
    }

    /// Everything that is done with data: read, validated, asked, scored, submitted.
    private func use(_ task: any VQATask, _ files: TaskFiles, split: String?, in folder: String) throws {
        _ = validate(task, files: files, split: split).json.text()
        let data = try task.load(files, split: split)
        var predictions: [Prediction] = []
        for (index, sample) in data.samples.enumerated() {
            let texts = [
                task.prompt(for: sample), "B. x", "The answer is A.", sample.answer ?? "no", "",
                sample.question,
            ]
            predictions.append(
                Prediction(task.answer(fromGenerated: texts[index % 6], for: sample), to: sample))
        }
        try task.writeSubmission(predictions, for: data, to: "\(folder)/submission")
        _ = try score(
            predictions, on: data, task: task, options: ScoreOptions(bootstrap: Bootstrap(resamples: 2))
        ).json.text()
    }

    private func mutate(_ task: any VQATask, _ text: String, split: String? = nil, seed: Int) throws {
        try withFolder { folder in
            let files = TaskFiles(questions: "\(folder)/q", images: "\(folder)/images")
            try mutate(Array(text.utf8), at: files.questions, seed: seed) {
                try use(task, files, split: split, in: folder)
            }
        }
    }

    @Test("mutated question files never trap")
    func questions() throws {
        try mutate(ScienceQA(), ScienceQATests.problems, seed: 1)
        try mutate(
            ScienceQA(),
            #"[{"id": "8", "image": "8/i.png", "conversations": [{"from": "human", "value": "C\nOptions: (A) x (B) y\nA. z"}, {"from": "gpt", "value": "The answer is B."}]}]"#,
            seed: 2)
        let yesNo = #"{"question_id": 1, "image": "a.jpg", "text": "Is there?", "label": "yes"}"# + "\n"
        try mutate(POPE(), yesNo + yesNo.replacingOccurrences(of: "1", with: "2"), seed: 3)
        try mutate(SNLIVE(), #"{"Flickr30K_ID": 1, "gold_label": "neutral", "sentence2": "x"}"#, seed: 4)
        try mutate(
            NLVR(), #"{"sentence": "x", "label": "true", "identifier": "72-0", "directory": "5"}"#,
            split: "dev", seed: 5)
        try mutate(
            NLVR2(), #"{"sentence": "x", "label": "True", "identifier": "train-1-0-1", "directory": 5}"#,
            seed: 6)
        try mutate(MMBench(), MMBenchTests.table, seed: 7)
        try mutate(
            SEEDBench(),
            #"{"questions": [{"answer": "B", "choice_a": "1", "choice_b": "2", "choice_c": 3, "choice_d": "", "data_id": "i", "data_type": "image", "question": "?", "question_id": "1", "question_type_id": 1}], "question_type": {"S": 1}}"#,
            seed: 8)
        try mutate(
            MMVet(),
            #"{"v1_0": {"imagename": "v.png", "question": "x?", "answer": "-1<AND>-5<OR>x", "capability": ["ocr", "math"]}}"#,
            seed: 9)
        try mutate(
            LLaVABench(), #"{"question_id": 0, "image": "1.jpg", "text": "Name?", "category": "conv"}"#,
            seed: 10)
        try mutate(
            OneVisionMath(),
            #"[{"id": "1", "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "Answer: 1,000.5/3 cm"}]}]"#,
            seed: 11)
        for (index, (name, text)) in VLICLTests.files.sorted(by: { $0.key < $1.key }).filter({
            $0.value.count > 20
        }).enumerated() {
            let task = name.split(separator: "/")[0]
            let split = name.hasSuffix("support.json") ? "\(task)/support" : String(task)
            if index % 2 == 0 || split.hasSuffix("support") {
                try mutate(VLICLBench(), text, split: split, seed: 20 + index)
            }
        }
        try mutate(
            VLICLBench(scoring: .mapd), VLICLTests.files["open_mi/query.json"] ?? "",
            split: "open_mi/support", seed: 30)
    }

    @Test("mutated second files never trap: splits, references, reviews, arrays, answers")
    func others() throws {
        try withFolder { folder in
            try writeFile(ScienceQATests.problems, to: "\(folder)/q")
            let files = TaskFiles(questions: "\(folder)/q", annotations: "\(folder)/a")
            try mutate(Array(#"{"test": ["2", 1, "1"]}"#.utf8), at: "\(folder)/a", seed: 40) {
                try use(ScienceQA(), files, split: "test", in: folder)
            }
        }
        try withFolder { folder in
            try writeFile(#"{"question_id": 0, "image": "1.jpg", "text": "Name?"}"#, to: "\(folder)/q")
            let files = TaskFiles(questions: "\(folder)/q", annotations: "\(folder)/a")
            try mutate(Array(#"{"question_id": 0, "text": "x y"}"#.utf8), at: "\(folder)/a", seed: 41) {
                try use(LLaVABench(), files, split: nil, in: folder)
            }
            try mutate(
                Array(#"{"image": "1.jpg", "caption": ["a"]}"#.utf8), at: "\(folder)/context.jsonl", seed: 42
            ) {
                try use(LLaVABench(), TaskFiles(questions: "\(folder)/q"), split: nil, in: folder)
            }
            try mutate(Array(#"{"category": "c", "tuple": [8.0, 6]}"#.utf8), at: "\(folder)/r", seed: 43) {
                _ = try LLaVABench.judgedScores("\(folder)/r")
            }
        }
        try withFolder { folder in
            try writeFile("is a circle red\nis it\n", to: "\(folder)/x.query_str.txt")
            try writeFile("true\nfalse\n", to: "\(folder)/x.output")
            let files = TaskFiles(
                questions: "\(folder)/x.query_str.txt", annotations: "\(folder)/x.output",
                images: "\(folder)/images")
            try mutate(SHAPESTests.array(2), at: "\(folder)/x.input.npy", seed: 44) {
                try use(SHAPES(), files, split: nil, in: folder)
            }
        }
    }

    @Test("long texts of one kind are read in time that grows with their length")
    func long() {
        var sample = Sample(
            id: QuestionID(1), imageID: "a", question: "q", answers: ["x"], choices: ["x", "y"])
        sample.labels["task"] = "clevr"
        for part in ["The answer is ", "A. ", "Answer: ", "(", "1,", "\n", ".", " ", "\u{301}", "no, "] {
            let text = String(repeating: part, count: 20_000)
            for rule in ChoiceRule.allCases { _ = rule.choice(in: text, among: ["x", "y"]) }
            for metric in [
                POPEAccuracy(), MathAccuracy(), VLICLAccuracy(scoring: .mapd), WordOverlap(), MMVetContains(),
            ] as [any AnswerMetric] {
                #expect((try? metric.scores(of: [text], for: [sample]).count) == 1)
            }
        }
    }
}
