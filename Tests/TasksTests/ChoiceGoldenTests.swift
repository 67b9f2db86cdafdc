import Support
import Tasks
import Testing

/// The figures of the official programs on generated answers; see `Tools/goldens/choice.py`.
@Suite("The official evaluation programs")
struct ChoiceGoldenTests {
    private let golden: JSON

    init() throws { golden = try JSON(contentsOf: fixture("choice.json")) }

    private func rows(_ section: JSON?) throws -> [[JSON]] {
        try #require((section?["rows"] ?? section)?.array).map { try #require($0.array) }
    }

    private func figures(
        _ samples: [Sample], _ answers: [String], _ task: any VQATask
    ) throws -> (overall: Double, named: [String: Double]) {
        let data = TaskData(task: task.name, split: "", samples: samples)
        let predictions = zip(answers, samples).map { Prediction($0, to: $1) }
        let scores = try score(
            predictions, on: data, task: task, options: ScoreOptions(bootstrap: Bootstrap(resamples: 1)))
        return (scores.overall, Dictionary(uniqueKeysWithValues: scores.figures.map { ($0.name, $0.value) }))
    }

    @Test("POPE: accuracy, precision, recall, F1 and share of yes of both files")
    func pope() throws {
        var samples: [Sample] = []
        var answers: [String] = []
        for file in ["random", "popular"] {
            for row in try rows(golden["pope"]?[file]) {
                var sample = Sample(
                    id: QuestionID(samples.count), imageID: "\(samples.count)", question: "q",
                    answers: [try #require(row[1].string)])
                sample.labels["category"] = file
                samples.append(sample)
                answers.append(try #require(row[0].string))
            }
        }
        let found = try figures(samples, answers, POPE()).named
        let names = [
            "Accuracy": "accuracy", "Precision": "precision", "Recall": "recall", "F1 score": "f1",
            "Yes ratio": "yes_ratio",
        ]
        for file in ["random", "popular"] {
            for (official, ours) in names {
                let expected = try #require(golden["pope"]?[file]?["figures"]?[official]?.double)
                let value = try #require(found["\(file)/\(ours)"])
                #expect(abs(value - 100 * expected) < 1e-6, "\(file) \(official)")
            }
        }
    }

    @Test("NLVR2: accuracy and consistency")
    func nlvr2() throws {
        let lines = try rows(golden["nlvr2"])
        let samples = try lines.map { row in
            let id = try #require(row[0].string)
            var sample = Sample(
                id: QuestionID(id), imageID: id, question: "q",
                answers: [try #require(row[1].string).lowercased()])
            let parts = id.split(separator: "-")
            sample.labels["sentence"] = "\(parts[0])-\(parts[1])--\(parts[3])"
            return sample
        }
        let found = try figures(samples, lines.map { try #require($0[2].string) }, NLVR2())
        let precision = try #require(golden["nlvr2"]?["figures"]?["precision"]?.double)
        let consistency = try #require(golden["nlvr2"]?["figures"]?["consistency"]?.double)
        #expect(abs(found.overall - 100 * precision) <= 0.005)
        #expect(abs((found.named["consistency"] ?? -1) - 100 * consistency) < 1e-6)
    }

    @Test("ScienceQA: every column of the table over 4,241 questions")
    func scienceQA() throws {
        let subjects = ["natural science", "social science", "language science"]
        let lines = try rows(golden["scienceqa"]).map { try $0.map { try #require($0.integer) } }
        let samples = lines.enumerated().map { index, row in
            var sample = Sample(
                id: QuestionID(String(index)), imageID: "\(index)", question: "q", answers: ["x"],
                choices: ["w", "x", "y", "z"])
            sample.correctChoice = row[4]
            sample.context = row[2] == 1 ? "hint" : nil
            sample.labels = [
                "subject": subjects[row[0]], "grade": "grade\(row[1])",
                "image": row[3] == 1 ? "with image" : "without image",
            ]
            return sample
        }
        let answers = lines.map { Choices.letter($0[5]) ?? "none" }
        let found = try figures(samples, answers, ScienceQA())
        let names = [
            "acc_natural": "NAT", "acc_social": "SOC", "acc_language": "LAN", "acc_has_text": "TXT",
            "acc_has_image": "IMG", "acc_no_context": "NO", "acc_grade_1_6": "G1-6",
            "acc_grade_7_12": "G7-12",
        ]
        for (official, ours) in names {
            let expected = try #require(golden["scienceqa"]?["figures"]?[official]?.double)
            #expect(abs((found.named[ours] ?? -1) - expected) <= 0.005001, "\(ours)")
        }
        #expect(found.overall == golden["scienceqa"]?["figures"]?["acc_average"]?.double)
    }

    @Test("MMBench: the option in 600 texts")
    func matching() throws {
        for row in try rows(golden["matching"]) {
            let text = try #require(row[0].string)
            let choices = try #require(row[1].array).compactMap(\.string)
            let expected = row[2].string.flatMap { Choices.index(of: $0, among: 4) }
            #expect(
                ChoiceRule.vlmEvalKit.choice(in: text, among: choices) == expected, "'\(text)' \(choices)")
        }
    }

    @Test("VL-ICL Bench: the score of 600 texts")
    func vlicl() throws {
        for row in try rows(golden["vl_icl"]) {
            let (text, truth) = (try #require(row[0].string), try #require(row[1].string))
            var sample = Sample(id: QuestionID(1), imageID: "a", question: "q", answers: [truth])
            let task: String = try #require(row[2].string)
            sample.labels["task"] = task
            let score = try VLICLAccuracy().scores(of: [text], for: [sample])[0]
            #expect(score == row[3].double, "'\(text)' '\(truth)' \(sample.labels["task"] ?? "")")
        }
    }
}
