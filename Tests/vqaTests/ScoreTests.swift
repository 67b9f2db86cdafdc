import Support
import Testing

@Suite struct ScoreTests {
    private let files = [
        "--questions", Program.fixture("Tasks/questions.json"), "--annotations",
        Program.fixture("Tasks/annotations.json"),
    ]
    private let predictions = ["--predictions", Program.fixture("Tasks/predictions.json")]

    @Test("the official figures, in the documented form") func official() throws {
        let outcome = try Program.run(["score", "--task", "vqav2"] + files + predictions)
        #expect(outcome.code == 0)
        let scores = try outcome.json()
        let official = try JSON(contentsOf: Program.fixture("Tasks/scores.json"))
        #expect(scores["overall"] == official["overall"])
        for (ours, theirs) in [
            ("per_answer_type", "perAnswerType"), ("per_question_type", "perQuestionType"),
        ] {
            let expected = try #require(official[theirs]?.members)
            #expect(scores[ours]?.members?.count == expected.count)
            for member in expected { #expect(scores[ours]?[member.key]?.double == member.value.double) }
        }
        let interval = try #require(scores["ci95"]?.array).compactMap(\.double)
        let overall = try #require(scores["overall"]?.double)
        #expect(interval.count == 2 && interval[0] <= overall && overall <= interval[1])
        #expect(scores["n"]?.integer == official["perQuestion"]?.array?.count)
        #expect(scores["task"]?.string == "vqav2")
    }

    @Test("a table for people") func table() throws {
        let outcome = try Program.run(["score", "--task", "vqav2", "--table"] + files + predictions)
        #expect(outcome.code == 0)
        #expect(outcome.output.contains("83.95 %"))
        #expect(outcome.output.contains("yes/no"))
    }

    @Test("a table says which figures are missing, and why") func remarks() throws {
        let folder = try TemporaryFolder()
        let scenes = folder.path + "/scenes"
        let made = try Program.run(
            ["scenes", "--format", "coco", "--images", "6", "--size", "64", "--output", scenes])
        try #require(made.code == 0, "\(made.errors)")
        let captions = scenes + "/annotations/captions_test2017.json"
        let images = try #require(try JSON(contentsOf: captions)["images"]?.array)
        let rows = images.map { image -> JSON in
            ["image_id": image["id"] ?? .null, "caption": "a red circle"]
        }
        let answers = try folder.write("captions.json", Array(JSON.array(rows).text().utf8))
        let outcome = try Program.run(
            [
                "score", "--task", "coco-captions", "--table", "--questions", captions, "--predictions",
                answers,
            ],
            environment: ["VQA_CAPTION_TOOLS": folder.path + "/none"])
        #expect(outcome.code == 0 && outcome.output.contains("rouge_l"))
        for name in ["METEOR", "SPICE"] {
            #expect(outcome.output.contains("\n\(name) was not computed: "))
        }
    }

    @Test("a misspelt task gets the nearest one as a hint") func task() throws {
        let error = try Program.fails(["score", "--task", "vqa-v2x"] + files + predictions)
        #expect(error.contains("vqav2"))
        #expect(
            try Program.fails(["score", "--task", "easyvqq"] + files + predictions).contains("did you mean"))
    }

    @Test("damaged, missing and wrong files are one line that names the file") func damaged() throws {
        let folder = try TemporaryFolder()
        let texts = [
            "cut.json": "[{\"question_id\": 1, \"answer\": \"yes\"}, {\"question_id\"",
            "number.json": "3",
            "page.json": "<html>not found</html>", "keys.json": "[{\"id\": 1}]",
            "unknown.json": "[{\"question_id\": 99, \"answer\": \"yes\"}]",
        ]
        for (name, text) in texts {
            let path = try folder.write(name, text)
            let error = try Program.fails(["score", "--task", "vqav2"] + files + ["--predictions", path])
            #expect(error.contains(path), "\(name)")
            _ = try Program.fails(
                ["score", "--task", "vqav2", "--questions", path, "--annotations", path] + predictions)
        }
        for path in [folder.path, folder.path + "/none.json"] {
            let error = try Program.fails(["score", "--task", "vqav2"] + files + ["--predictions", path])
            #expect(error.contains(path))
        }
    }

    @Test("missing predictions are refused unless allowed") func missing() throws {
        let folder = try TemporaryFolder()
        let one = [
            "--predictions", try folder.write("one.json", "[{\"question_id\": 0, \"answer\": \"yes\"}]"),
        ]
        _ = try Program.fails(["score", "--task", "vqav2"] + files + one)
        let scores = try Program.run(["score", "--task", "vqav2", "--allow-missing"] + files + one).json()
        #expect(scores["missing"]?.integer == scores["n"]?.integer.map { $0 - 1 })
    }

    @Test("answers beside the questions need no annotations") func easy() throws {
        let folder = try TemporaryFolder()
        let questions = try folder.write(
            "questions.json",
            "[[\"what color is the circle?\", \"red\", 0], [\"is there a circle?\", \"yes\", 0]]")
        let predictions = try folder.write(
            "p.jsonl", "{\"question_id\":0,\"answer\":\"red\"}\n{\"question_id\":1,\"answer\":\"no\"}\n")
        let scores = try Program.run(
            ["score", "--task", "easy-vqa", "--questions", questions, "--predictions", predictions]).json()
        #expect(scores["overall"]?.double == 50)
        #expect(scores["n"]?.integer == 2)
    }
}
