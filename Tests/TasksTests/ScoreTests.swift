import Support
import Tasks
import Testing

@Suite("Scores")
struct ScoreTests {
    /// 60 questions about 20 images, of which every third prediction is right.
    private let data = TaskData(
        task: "easy-vqa", split: "test",
        samples: (0..<60).map { index in
            var sample = sample(index, image: index / 3, ["answer \(index)"])
            sample.questionType = index % 2 == 0 ? "even" : nil
            return sample
        })

    private var predictions: [Prediction] {
        data.samples.enumerated().map { Prediction($0 % 3 == 0 ? "answer \($0)" : "wrong", to: $1) }
    }

    @Test("have the form of the design")
    func form() throws {
        let json = try score(predictions, on: data, task: EasyVQA()).json
        #expect(
            json.members?.map(\.key) == [
                "task", "split", "metric", "overall", "n", "ci95", "per_answer_type", "per_question_type",
                "counts",
                "missing", "bootstrap",
            ])
        #expect(json["overall"] == .number(33.33))
        #expect(json["n"] == 60)
        #expect(json["per_answer_type"] == .object([]))
        #expect(json["per_question_type"] == ["even": .number(33.33), "other": .number(33.33)])
        #expect(json["counts"]?["per_question_type"] == ["even": 30, "other": 30])
        #expect(json["bootstrap"] == ["unit": "image", "units": 20, "resamples": 1000, "seed": 0])
    }

    @Test("do not depend on the order of predictions or questions")
    func order() throws {
        var random = CounterRandom(seed: 1, purpose: "test")
        let reference = try score(predictions, on: data, task: EasyVQA())
        for _ in 0..<20 {
            var shuffled = data
            shuffled.samples.shuffle(using: &random)
            let found = try score(predictions.shuffled(using: &random), on: shuffled, task: EasyVQA())
            #expect(found.json == reference.json)
        }
    }

    @Test("the interval has the width that the images' spread asks for, and repeats with its seed")
    func interval() throws {
        // 400 images, one question each, half of them right: the standard error is 2.5 points.
        let data = TaskData(task: "t", split: "", samples: (0..<400).map { sample($0, image: $0, ["yes"]) })
        let predictions = data.samples.map {
            Prediction((Int($0.id.text) ?? 0) % 2 == 0 ? "yes" : "no", to: $0)
        }
        let scores = try score(predictions, on: data, task: EasyVQA())
        #expect(abs(scores.low - 45.1) < 0.8)
        #expect(abs(scores.high - 54.9) < 0.8)
        #expect(try score(predictions, on: data, task: EasyVQA()) == scores)
        let other = ScoreOptions(bootstrap: Bootstrap(seed: 1))
        #expect(try score(predictions, on: data, task: EasyVQA(), options: other) != scores)

        // Ten questions on each image, all right or all wrong: as wide as with 40 questions, not with 400.
        var grouped = data
        for index in grouped.samples.indices { grouped.samples[index].imageID = "\(index / 10)" }
        let together = grouped.samples.map {
            Prediction((Int($0.imageID) ?? 0) % 2 == 0 ? "yes" : "no", to: $0)
        }
        let wide = try score(together, on: grouped, task: EasyVQA())
        #expect(abs((wide.high - wide.low) - 31) < 4)
    }

    @Test("round as the official program: two decimals, the binary value decides")
    func rounding() throws {
        // round(100 * 1/16, 2) and so on in Python.
        for (right, count, expected) in [
            (1, 16, 6.25), (1, 3, 33.33), (2, 3, 66.67), (1, 800, 0.12), (3, 800, 0.38),
        ] {
            let data = TaskData(task: "t", split: "", samples: (0..<count).map { sample($0, ["yes"]) })
            let predictions = data.samples.enumerated().map { Prediction($0 < right ? "yes" : "no", to: $1) }
            #expect(try score(predictions, on: data, task: EasyVQA()).overall == expected)
        }
    }

    @Test("refuse missing, repeated and unknown predictions with number and first id")
    func faults() throws {
        func text(_ predictions: [Prediction]) -> String {
            message { _ = try score(predictions, on: data, task: EasyVQA()) }
        }
        #expect(text(Array(predictions.dropFirst(2))).contains("2 of 60 questions have none, the first is 0"))
        #expect(
            text(predictions + predictions.suffix(3)).contains(
                "3 predictions are for a question that already"))
        let stranger = Prediction(id: QuestionID("stranger"), answer: "x", place: "p.json, record 61")
        #expect(
            text(predictions + [stranger]).contains(
                "p.json, record 61: 1 of 61 predictions are for a question"))
        let empty = TaskData(task: "t", split: "", samples: [])
        #expect(
            message { _ = try score([], on: empty, task: EasyVQA()) }.contains("the data have no questions"))
        let unpublished = TaskData(task: "t", split: "", samples: [sample(1, [])])
        let unanswered = message { _ = try score([], on: unpublished, task: EasyVQA()) }
        #expect(unanswered.contains("question 1: it has no answer to compare with"))
    }

    @Test("count missing predictions as wrong when that is allowed, and say how many")
    func missing() throws {
        let options = ScoreOptions(allowsMissing: true)
        let scores = try score(Array(predictions.prefix(30)), on: data, task: EasyVQA(), options: options)
        #expect(scores.missing == 30)
        #expect(scores.overall == 16.67)
        #expect(scores.count == 60)
    }
}

@Suite("Prediction files")
struct PredictionTests {
    @Test("the challenge's list and JSON lines are read alike")
    func forms() throws {
        let list = #"[{"question_id": 1, "answer": "yes", "x": 0}, {"question_id": "b", "answer": "no"}]"#
        let lines =
            "{\"answer\":\"yes\",\"question_id\":1,\"question\":\"q\",\"image\":\"i\"}\n\n"
            + "{\"question_id\":\"b\",\"answer\":\"no\"}"
        for text in [list, lines] {
            try withFile(text) { path in
                let predictions = try readPredictions(path)
                #expect(predictions.map(\.id.json) == [1, "b"])
                #expect(predictions.map(\.answer) == ["yes", "no"])
            }
        }
    }

    @Test("faulty files are refused with file and record, line or byte")
    func faults() throws {
        let texts = [
            #"[{"question_id": 1, "answer": "yes"}, {"question_id": 2, "answer": 3}]"#:
                "byte 67, record 2: the answer is not a string",
            #"[{"question_id": 1, "answer": "yes"}, {"question_id": 2, "ans"#:
                "byte 61, record 2: expected the closing",
            #"[{"question_id": 123456789012345678901234567890, "answer": "yes"}]"#: "a 64-bit integer",
            #"[{"question_id": 1e400, "answer": "yes"}]"#: "a 64-bit integer, not 1e400",
            #"[{"question_id": 1, "answer": "yes", "p": \#(String(repeating: "9", count: 2000))}]"#:
                "of 2000 characters",
            #"[{"question_id": 1}]"#: "the prediction for the question 1 has no answer",
            #"[{"answer": "x"}]"#: "the prediction has no question_id",
            #"[["yes"]]"#: "a prediction is not an object",
            #"[{"question_id": 1, "question_id": 2, "answer": "x"}]"#: "the key question_id appears twice",
            "{\"question_id\":1,\"answer\":\"x\"}\n{\"question_id\":":
                "line 2, byte 15: expected a value, the text ends",
            #"{"question_id": 1, "answer": "x"} {"question_id": 2, "answer": "x"}"#:
                "expected the end of the text",
        ]
        for (text, expected) in texts {
            try withFile(text) { path in
                let found = message { _ = try readPredictions(path) }
                #expect(found.contains(expected), "\(found)")
                #expect(found.contains(path))
            }
        }
        try withFile(Array("[{\"question_id\": 1, \"answer\": \"".utf8) + [0xE9] + Array("\"}]".utf8)) {
            path in
            #expect(
                message { _ = try readPredictions(path) }.contains(
                    "byte 31, record 1: a string that is not UTF-8"))
        }
    }

    @Test("the writer appends whole lines, resumes after a torn one, and refuses what it cannot trust")
    func writer() throws {
        try withFolder { folder in
            let path = "\(folder)/predictions.jsonl"
            let first = Prediction(id: QuestionID(1), answer: "a \"b\"\n", question: "q?", image: "i.png")
            let second = Prediction(
                id: QuestionID("x"), answer: "c", extra: [JSON.Member("probability", 0.5)])
            do {
                let writer = try PredictionWriter(path, resuming: false)
                try writer.append(first)
                #expect(try readPredictions(path).map(\.answer) == [first.answer])
                try writer.append(second)
                #expect(
                    message { _ = try PredictionWriter(path, resuming: true) }.contains("another process"))
            }
            let text = String(decoding: try readFile(path, limit: 1 << 20), as: UTF8.self)
            #expect(text.hasSuffix("{\"question_id\":\"x\",\"answer\":\"c\",\"probability\":0.5}\n"))

            for length in 0..<text.utf8.count {
                try writeFile(String(decoding: Array(text.utf8).prefix(length), as: UTF8.self), to: path)
                let writer = try PredictionWriter(path, resuming: true)
                let finished = writer.finished.map(\.id)
                for prediction in [first, second] where !finished.contains(prediction.id) {
                    try writer.append(prediction)
                }
                #expect(String(decoding: try readFile(path, limit: 1 << 20), as: UTF8.self) == text)
            }
            try writeFile(text + text, to: path)
            #expect(
                message { _ = try PredictionWriter(path, resuming: true) }.contains(
                    "line 3: the question 1 was"))
            for other in ["[{\"question_id\":1,\"answer\":\"x\"}]", "notes", text + "{\"question\":"] {
                try writeFile(other, to: path)
                let found = message { _ = try PredictionWriter(path, resuming: true) }
                #expect(found.contains("it does not end in a prediction"), "\(found)")
                #expect(String(decoding: try readFile(path, limit: 1 << 20), as: UTF8.self) == other)
            }
            try writeFile("[\n]\n", to: path)
            #expect(message { _ = try PredictionWriter(path, resuming: true) }.contains("is not an object"))
            try writeFile("not JSON\n" + text, to: path)
            #expect(message { _ = try PredictionWriter(path, resuming: true) }.contains("line 1, byte 0"))
        }
    }

    @Test("the submission has the data's order and kinds of ids, and needs each question once")
    func submission() throws {
        try withFolder { folder in
            let path = "\(folder)/submit.json"
            let data = TaskData(
                task: "vqav2", split: "test",
                samples: [sample(5, []), Sample(id: QuestionID("b"), imageID: "1", question: "q")])
            let predictions = [
                Prediction("no", to: data.samples[1]), Prediction("yes \"x\"", to: data.samples[0]),
            ]
            try VQAv2().writeSubmission(predictions, for: data, to: path)
            let expected: JSON = [
                ["question_id": 5, "answer": "yes \"x\""], ["question_id": "b", "answer": "no"],
            ]
            #expect(try JSON(contentsOf: path) == expected)
            #expect(
                message { try VQAv2().writeSubmission([predictions[0]], for: data, to: path) }
                    .contains("question 5: it has no prediction"))
            #expect(
                message { try VQAv2().writeSubmission(predictions + predictions, for: data, to: path) }
                    .contains("it has two predictions"))
        }
    }
}
