import Foundation
import Support
import Tasks
import Testing

@Suite("Hostile input")
struct RobustnessTests {
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

    @Test("mutated files of the other benchmarks never trap, in reading, scoring or submitting")
    func benchmarks() throws {
        let cases: [(any VQATask, String)] = [
            (AOKVQA(.directAnswer), Official.aokvqa), (AOKVQA(.multipleChoice), Official.aokvqa),
            (AOKVQA(.released), Official.aokvqa), (GQA(), Official.gqa),
            (VisualGenome(), Official.visualGenome), (VizWiz(), Official.vizWiz),
            (TextVQA(), Official.textVQA), (OKVQA(), Official.okvqaQuestions),
        ]
        for (number, (task, text)) in cases.enumerated() {
            try mutate(text, seed: 20 + number, milliseconds: 300) { path in
                let files = TaskFiles(questions: path, images: "/nowhere")
                _ = validate(task, files: files, split: nil).lines
                let data = try task.load(files, split: nil)
                let given = data.samples.map { sample in
                    let text = (sample.answers + [sample.question]).joined(separator: " ")
                    return Prediction(task.answer(fromGenerated: text, for: sample), to: sample)
                }
                _ = data.samples.map(task.prompt)
                try task.writeSubmission(given, for: data, to: path + ".submission")
                _ = try score(
                    given, on: data, task: task, options: ScoreOptions(bootstrap: Bootstrap(resamples: 3)))
            }
        }
    }

    @Test("mutated companion files and prediction files of the other benchmarks never trap")
    func companions() throws {
        try withFile(Official.gqa) { questions in
            try mutate(Official.gqaChoices, seed: 40, milliseconds: 300) { path in
                _ = try GQA().load(TaskFiles(questions: questions, extra: path), split: nil)
            }
        }
        try withFile(Official.textVQA) { questions in
            try mutate(Official.textVQAFound, seed: 41, milliseconds: 300) { path in
                _ = try TextVQA().load(TaskFiles(questions: questions, extra: path), split: nil)
            }
            try mutate(Official.textVQALLaVA, seed: 42, milliseconds: 300) { path in
                let files = TaskFiles(questions: path, annotations: questions, images: "i")
                _ = validate(TextVQA(), files: files, split: nil).lines
                _ = try TextVQA().load(files, split: nil)
            }
        }
        try withFile(Official.okvqaQuestions) { questions in
            try mutate(Official.okvqaAnnotations, seed: 43, milliseconds: 300) { path in
                _ = try OKVQA().load(TaskFiles(questions: questions, annotations: path), split: nil)
            }
        }
        try mutate(Official.subQuestions, seed: 44, milliseconds: 300) { path in
            _ = try AOKVQASubQuestions(contentsOf: path)
        }
        try mutate(
            #"[{"image_id": 12, "tags": "cat | red dog"}, {"image_id": "x", "tags": ["a"]}]"#, seed: 45,
            milliseconds: 300
        ) {
            _ = try AOKVQATags(contentsOf: $0)
        }
        for (number, text) in [
            #"{"b": {"multiple_choice": "x", "direct_answer": "y"}, "c": "z"}"#,
            #"[{"questionId": "1", "prediction": "x"}, {"image": "a.jpg", "answer": "y"}]"#,
            "{\"question_id\": \"ab\", \"prompt\": \"q\\nReference OCR token: a\\nb\", \"text\": \"t\"}\n",
        ].enumerated() {
            try mutate(text, seed: 50 + number, milliseconds: 300) { path in
                let data = TaskData(task: "textvqa", split: "", samples: [sample(1, ["x"])])
                _ = try TextVQA().joined(readPredictions(path, for: AOKVQA(.directAnswer)), to: data)
            }
        }
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
