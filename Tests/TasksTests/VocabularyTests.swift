import Support
import Tasks
import Testing

@Suite("Answer vocabulary and baselines")
struct VocabularyTests {
    private func target(_ number: Int, _ score: Float) -> AnswerVocabulary.Target {
        AnswerVocabulary.Target(number: number, score: score)
    }

    @Test("the example of the DVP specification: net 1.0, netting 0.3, mesh 0.9, «a net» dropped")
    func example() throws {
        let vocabulary = try AnswerVocabulary(["mesh", "netting", "net"], rule: .released)
        let annotators = Array(repeating: "net", count: 5) + ["netting", "mesh", "mesh", "mesh", "a net"]
        #expect(
            vocabulary.targets(for: sample(1, annotators)) == [target(2, 1), target(1, 0.3), target(0, 0.9)])
    }

    @Test("the fixed rule counts annotators' answers after the normaliser")
    func fixed() throws {
        let vocabulary = try AnswerVocabulary(["net", "2"], rule: .fixed)
        let annotators = ["net", "Net.", "a net", "two", "x", "x", "x", "x", "x", "x"]
        #expect(vocabulary.targets(for: sample(1, annotators)) == [target(0, 0.9), target(1, 0.3)])
    }

    @Test("counts normalised answers from nine on, in the order of first appearance, over several sets")
    func counting() throws {
        func data(_ answers: [(String, Int)]) -> TaskData {
            let words = answers.flatMap { Array(repeating: $0.0, count: $0.1) }
            return TaskData(task: "t", split: "", samples: words.enumerated().map { sample($0, [$1]) })
        }
        let train = data([("Yes", 8), ("rare", 8), ("two", 4)])
        let val = data([("yes.", 1), ("2", 5), ("late", 9)])
        let vocabulary = try AnswerVocabulary(countedIn: [train, val], rule: .released)
        #expect(vocabulary.answers == ["yes", "2", "late"])
        #expect(vocabulary.number(of: "late") == 2)
        #expect(vocabulary.targets(for: train.samples[0]) == [target(0, 1)])
        #expect(vocabulary.targets(for: train.samples[8]).isEmpty)
        let coverage = vocabulary.coverage(of: train)
        #expect(coverage.covered == 12)
        #expect(
            "\(coverage)" == "3 answers cover 12 of 20 questions; the best score they can reach is 60.0 %")
        #expect(
            message { _ = try AnswerVocabulary(countedIn: [data([("x", 3)])], rule: .released) }.contains(
                "lower"))
    }

    @Test("is saved and loaded unchanged, and read from a plain list")
    func files() throws {
        try withFolder { folder in
            let vocabulary = try AnswerVocabulary(["yes", "no \"x\"", "café"], rule: .fixed)
            try vocabulary.save(to: "\(folder)/answers.json")
            #expect(try AnswerVocabulary(contentsOf: "\(folder)/answers.json") == vocabulary)
            try writeFile(#"["a", "b"]"#, to: "\(folder)/list.json")
            #expect(try AnswerVocabulary(contentsOf: "\(folder)/list.json").answers == ["a", "b"])
            for (text, expected) in [
                (#"["a", "a"]"#, "it is there twice"), (#"["a", 1]"#, "an answer is not a string"),
                ("[]", "no answer is given"), ("{}", "is missing"), ("1", "there is no list"),
            ] {
                try writeFile(text, to: "\(folder)/list.json")
                let found = message { _ = try AnswerVocabulary(contentsOf: "\(folder)/list.json") }
                #expect(found.contains(expected), "\(found)")
            }
        }
    }

    @Test("the priors: the most frequent answer to the same question, else of all; ties go to the first")
    func priors() throws {
        func data(_ rows: [(String, String)]) -> TaskData {
            TaskData(
                task: "easy-vqa", split: "",
                samples: rows.enumerated().map { sample($0, image: $0, [$1.1], question: $1.0) })
        }
        let train = data([("a?", "no"), ("a?", "yes"), ("b?", "red"), ("b?", "red"), ("b?", "yes")])
        let test = data([("a?", "no"), ("b?", "red"), ("c?", "yes")])
        let baseline = try PriorBaseline(train: train)
        #expect(baseline.mostFrequentAnswer == "yes")
        #expect(baseline.perQuestion(test).map(\.answer) == ["no", "red", "yes"])
        #expect(try score(baseline.perQuestion(test), on: test, task: EasyVQA()).overall == 100)
        #expect(try score(baseline.global(test), on: test, task: EasyVQA()).overall == 33.33)
        #expect(message { _ = try PriorBaseline(train: data([])) }.contains("no answers"))
    }
}
