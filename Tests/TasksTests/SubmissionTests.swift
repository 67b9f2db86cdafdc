import Foundation
import Support
import Tasks
import Testing

@Suite("Submission files of the benchmarks")
struct SubmissionTests {
    /// Writes a submission for the data in `text`, and reads it back.
    private func written(
        _ task: any VQATask, _ text: String, _ answers: [String]
    ) throws -> (json: JSON, back: [Prediction]) {
        try withFolder { folder in
            try writeFile(text, to: "\(folder)/q.json")
            let data = try task.load(TaskFiles(questions: "\(folder)/q.json"), split: nil)
            let predictions = zip(answers, data.samples).map { Prediction($0, to: $1) }
            let path = "\(folder)/submission.json"
            try task.writeSubmission(predictions.reversed(), for: data, to: path)
            #expect(
                message { try task.writeSubmission([], for: data, to: path) }.contains("it has no prediction")
            )
            return (try JSON(contentsOf: path), try readPredictions(path, for: task))
        }
    }

    @Test("have each benchmark's form and are read back")
    func forms() throws {
        let gqa = try written(GQA(), Official.gqa, ["a", "b", "c", "d \"e\"", "f"])
        #expect(gqa.json.array?.first == ["questionId": "1", "prediction": "a"])
        #expect(gqa.back.map(\.answer) == ["a", "b", "c", "d \"e\"", "f"])
        let vizWiz = try written(VizWiz(), Official.vizWiz, ["a", "b"])
        #expect(vizWiz.json == [["image": "V_0.jpg", "answer": "a"], ["image": "V_1.jpg", "answer": "b"]])
        #expect(vizWiz.back.map(\.id.text) == ["V_0.jpg", "V_1.jpg"])
        let textVQA = try written(TextVQA(), Official.textVQA, ["The Nokia.", "b"])
        #expect(textVQA.json.array?.first == ["question_id": 34602, "answer": "nokia"])
        #expect(textVQA.back.count == 2)
        let direct = try written(AOKVQA(.directAnswer), Official.aokvqa, ["cigar", "y"])
        #expect(direct.json["b"] == ["direct_answer": "y"])
        #expect(direct.back.map(\.answer) == ["cigar", "y"])
        let choice = try written(AOKVQA(.multipleChoice), Official.aokvqa, ["food", "x"])
        #expect(choice.json["22jbM6gDxdaMaunuzgrsBB"] == ["multiple_choice": "food"])
        #expect(choice.back.map(\.answer) == ["food", "x"])
    }

    @Test("are named as each benchmark's server or program expects")
    func names() {
        let expected = [
            "mmbench": "submission.xlsx", "mmbench-cn": "submission.xlsx", "seed-bench": "submission.jsonl",
            "pope": "submission.jsonl", "llava-bench": "submission.jsonl", "nlvr": "submission.csv",
            "nlvr2": "submission.csv", "coco-captions": "captions_val2014_vqa_results.json",
        ]
        var found: [String: String] = [:]
        for task in TaskRegistry.all {
            let data = TaskData(task: task.name, split: "val2014", samples: [])
            let name = task.submissionFile(for: data)
            if name != "submission.json" { found[task.name] = name }
        }
        #expect(found == expected)
        #expect(
            COCOCaptions().submissionFile(for: TaskData(task: "", split: "../x", samples: []))
                == "submission.json")
    }

    @Test("A-OKVQA's leaderboard file has both settings, and each reads its own")
    func leaderboard() throws {
        try withFolder { folder in
            let path = "\(folder)/l.json"
            let data = TaskData(task: "aokvqa", split: "", samples: [sample(1, ["x"]), sample(2, ["y"])])
            let direct = data.samples.map { Prediction("d\($0.id)", to: $0) }
            let choices = data.samples.map { Prediction("c\($0.id)", to: $0) }
            try AOKVQA.writeLeaderboard(directAnswers: direct, choices: choices, for: data, to: path)
            #expect(try readPredictions(path, for: AOKVQA(.directAnswer)).map(\.answer) == ["d1", "d2"])
            #expect(try readPredictions(path, for: AOKVQA(.multipleChoice)).map(\.answer) == ["c1", "c2"])
            #expect(message { _ = try readPredictions(path, for: GQA()) }.contains("has none of answer"))
        }
    }

    @Test("every form of predictions is read")
    func predictionForms() throws {
        let forms = [
            #"[{"questionId": "7", "prediction": "yes"}]"#, #"{"7": "yes"}"#,
            #"{"question_id": 7, "prompt": "q", "text": "yes", "answer_id": "z", "metadata": {}}"#,
            #"[{"image": "7", "answer": "yes"}]"#, #"{"text": "yes", "question_id": "7"}"#,
            #"[{"image": "a.png", "question_id": 7, "answer": "yes", "text": "other"}]"#,
            #"[{"image": null, "question_id": 7, "answer": "yes"}]"#,
        ]
        for form in forms {
            try withFile(form) { path in
                let found = try readPredictions(path)
                #expect(found.map(\.id.text) == ["7"] && found.map(\.answer) == ["yes"], "\(form)")
            }
        }
    }

    @Test("bad predictions are one clear line each")
    func faults() throws {
        let faults = [
            #"[{"questionId": "7", "prediction": 5}]"#: "the answer is not a string",
            #"[{"questionId": "7", "prediction": null}]"#: "the answer is not a string",
            #"{"7": 5}"#: "has no question_id",
            #"{"7": "a", "8": 5}"#:
                "record 2: the answer to the question 8 is neither a string nor an object",
            #"[{"question_id": 1e999, "answer": "x"}]"#: "a 64-bit integer, not 1e999",
            #"[{"question_id": 99999999999999999999, "answer": "x"}]"#: "not 99999999999999999999",
            #"[{"questionId": "7", "prediction": "x"#: "byte 37",
            #"{"7": "a", "8": "#: "byte 16",
            #"[{"prediction": "x"}]"#: "the prediction has no question_id",
            #"[{"questionId": "7"}]"#: "the prediction for the question 7 has no answer",
            #"[{"questionId": "7", "questionId": "8", "prediction": "x"}]"#: "appears twice",
            #"{"": "x"}"#: "the question_id is empty",
        ]
        for (text, expected) in faults {
            let found = try withFile(text) { path in message { _ = try readPredictions(path) } }
            #expect(found.contains(expected), "\(text): \(found)")
            #expect(!found.contains("\n"))
        }
        let latin = Array(#"[{"questionId": "7", "prediction": ""#.utf8) + [0xE9] + Array("\"}]".utf8)
        let found = try withFile(latin) { path in message { _ = try readPredictions(path) } }
        #expect(found.contains("not UTF-8") && found.contains("byte"))
    }
}
