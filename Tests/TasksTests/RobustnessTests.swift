import Foundation
import Support
import Tasks
import Testing

@Suite("Hostile input")
struct RobustnessTests {
    /// Reads mutations of `text` for a short while. Reaching the end is the proof: a trap would end the
    /// program.
    private func mutate(_ text: String, seed: Int, _ read: (String) throws -> Void) throws {
        let clock = ContinuousClock()
        let end = clock.now.advanced(by: .milliseconds(700))
        var random = CounterRandom(seed: seed, purpose: "fuzz")
        let original = Array(text.utf8)
        let tokens = [
            "\"", "{", "}", "[", "]", ",", ":", "\n", "\\u", "-", "1e999", "99999999999999999999", "null",
            "\0", "\u{FEFF}", "|",
        ]
        .map { Array($0.utf8) }
        try withFolder { folder in
            let path = "\(folder)/file"
            while clock.now < end {
                var bytes = original
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let place = Int.random(in: 0...bytes.count, using: &random)
                    switch Int.random(in: 0..<5, using: &random) {
                    case 0: bytes.removeSubrange(place...)
                    case 1: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
                    case 2:
                        if place < bytes.count {
                            bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                        }
                    case 3: bytes.insert(contentsOf: tokens.randomElement(using: &random) ?? [], at: place)
                    default: bytes.removeSubrange(place..<min(bytes.count, place + 7))
                    }
                }
                try Data(bytes).write(to: URL(fileURLWithPath: path))
                do {
                    try read(path)
                } catch let error as VQAError {
                    #expect(!"\(error)".contains("\n"))
                }
            }
        }
    }

    @Test("mutated question, annotation, table, prediction and vocabulary files never trap")
    func mutations() throws {
        let questions = """
            {"data_subtype": "val2014", "questions": [
            {"question_id": 1, "image_id": 12, "question": "é \\u00e9?"},
            {"question_id": "b", "image_id": "x", "question": "q"}]}
            """
        let annotations = """
            {"annotations": [{"question_id": 1, "answers": [{"answer": "1,000 a."}, {"answer": "x"}],
            "question_type": "what", "multiple_choice_answer": "x"}]}
            """
        let table = """
            image,question,answers,split,question_id
            a.png,"q ""x""\",a|b|c,train,1
            b.png,q,"x
            y",val,2

            """
        let line = """
            {"question_id": 1, "answer": "yes", "image": "a", "question": "q", "choices": ["a"], "split": "x"}

            """
        let vocabulary = """
            {"minimum_count": 1, "normalises_answers": true, "normalises_annotators": true, "answers": ["a"]}
            """
        try mutate(questions, seed: 1) { path in
            _ = try VQAv2().load(TaskFiles(questions: path, images: "img"), split: nil)
        }
        try mutate(questions, seed: 2) { path in
            _ = validate(VQAv2(), files: TaskFiles(questions: path, images: "/nowhere"), split: nil).lines
        }
        try withFile(questions) { questions in
            try mutate(annotations, seed: 3) { path in
                let files = TaskFiles(questions: questions, annotations: path)
                let report = validate(VQAv2(), files: files, split: nil)
                _ = report.json.text()
                _ = try VQAv2().load(files, split: nil)
            }
        }
        try mutate(table, seed: 4) { path in
            _ = validate(Table(), files: TaskFiles(questions: path, images: "i"), split: "train").lines
            _ = try Table().load(TaskFiles(questions: path), split: nil)
        }
        try mutate(line + line, seed: 5) { path in
            _ = validate(Table(), files: TaskFiles(questions: path), split: nil).lines
            _ = try readPredictions(path)
        }
        try mutate(line, seed: 6) { path in _ = try PredictionWriter(path, resuming: true).finished }
        try mutate(#"[["is there a circle?", "no", 3], ["q", "yes", 0]]"#, seed: 7) { path in
            _ = validate(EasyVQA(), files: TaskFiles(questions: path, images: "i"), split: "val").lines
        }
        try mutate(vocabulary, seed: 8) { _ = try AnswerVocabulary(contentsOf: $0) }
    }

    @Test("deep nesting, huge numbers of annotators and absurd answers are survived")
    func extremes() throws {
        try withFile(#"{"x": \#(String(repeating: "[", count: 100_000))"#) { path in
            #expect(
                message { _ = try VQAv2().load(TaskFiles(questions: path), split: nil) }.contains(
                    "nested deeper"))
        }
        let many = sample(1, Array(repeating: "yes", count: 100_000) + ["no"])
        #expect(VQAAccuracy().scores(of: ["yes"], for: [many]) == [1])
        let long = String(repeating: "a,1.-\u{301} ", count: 20_000)
        #expect(VQAAccuracy().scores(of: [long], for: [sample(1, [long, "x"])]).count == 1)
        #expect(VQAAccuracy().scores(of: [""], for: [sample(1, ["", "", "", "", "the"])]) == [1])
        let odd = Bootstrap(seed: .min, resamples: -5, level: 2)
        let data = TaskData(task: "t", split: "", samples: [sample(1, ["a"])])
        let scores = try score(
            [Prediction("a", to: data.samples[0])], on: data, task: EasyVQA(),
            options: ScoreOptions(bootstrap: odd))
        #expect(scores.low == 100 && scores.high == 100)
    }
}
