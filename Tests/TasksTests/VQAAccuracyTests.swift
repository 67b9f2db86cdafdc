import Foundation
import Support
import Tasks
import Testing

@Suite("VQA accuracy")
struct VQAAccuracyTests {
    private func accuracy(_ answer: String, _ annotators: [String]) -> Double {
        VQAAccuracy().scores(of: [answer], for: [sample(1, annotators)])[0]
    }

    @Test("scores 0, 0.3, 0.6, 0.9, 1 for 0 to 4 of ten annotators, and 1 for more")
    func votes() {
        for (votes, expected) in [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (7, 1), (10, 1)] {
            let annotators = (0..<10).map { $0 < votes ? "net" : "other \($0)" }
            #expect(abs(accuracy("net", annotators) - expected) < 1e-12)
        }
    }

    @Test("normalises both sides when annotators differ, and neither when all agree")
    func references() {
        let agreed = Array(repeating: "yes", count: 10)
        #expect(accuracy(" yes\n", agreed) == 1)
        #expect(accuracy("Yes.", agreed) == 0)
        #expect(accuracy("Yes.", agreed.dropLast() + ["no"]) == 1)
        #expect(accuracy("T-shirt", Array(repeating: "the t shirt.", count: 9) + ["shirt"]) == 1)
        #expect(accuracy("two", Array(repeating: "2", count: 9) + ["3"]) == 1)
        let fork = VQAAccuracy(normalisation: .always)
        #expect(fork.scores(of: ["Yes."], for: [sample(1, agreed)]) == [1])
    }

    @Test("compares code points: a composed accent is not a combining one, and nothing to compare scores 0")
    func codePoints() {
        let annotators = Array(repeating: "caf\u{E9}", count: 9) + ["tea"]
        #expect(accuracy("caf\u{E9}", annotators) == 1)
        #expect(accuracy("cafe\u{301}", annotators) == 0)
        #expect(accuracy("tea", []) == 0)
    }

    @Test(
        "gives what the definition gives, for thousands of answers that repeat, differ in accents, or are long"
    )
    func definition() {
        let words = [
            "yes", "Yes.", " yes\n", "two", "2", "caf\u{E9}", "cafe\u{301}", "a dog", "the dog", "dog",
            "left, right",
            "left right", "don't know", "dont know", "", "fifteen bytes x", "sixteen bytes xy",
            "Sixteen bytes, xy",
            "a sentence of more words than fit anywhere", "sentence of more words than fit anywhere", "yes\0",
            "yes\0\0",
        ]
        var random = CounterRandom(seed: 3, purpose: "test")
        func word() -> String { words.randomElement(using: &random) ?? "" }
        var samples: [Sample] = []
        var answers: [String] = []
        for number in 0..<6_000 {
            let common = word()
            samples.append(
                sample(
                    number, (0..<10).map { _ in Int.random(in: 0..<9, using: &random) == 0 ? word() : common }
                ))
            answers.append(word())
        }
        for rule in [VQAAccuracy.Normalisation.official, .always] {
            let scores = VQAAccuracy(normalisation: rule).scores(of: answers, for: samples)
            for (position, score) in scores.enumerated() {
                let expected = defined(answers[position], samples[position].answers, rule)
                #expect(abs(score - expected) < 1e-12, "\(answers[position]) \(samples[position].answers)")
            }
        }
    }

    /// The accuracy as its definition has it, by comparing texts.
    private func defined(
        _ answer: String, _ annotators: [String], _ rule: VQAAccuracy.Normalisation
    ) -> Double {
        func stripped(_ text: String) -> [UInt8] {
            Array(text.trimmingCharacters(in: .whitespacesAndNewlines).utf8)
        }
        var answer = stripped(answer)
        var references = annotators.map(stripped)
        if rule == .always || Set(references).count > 1 {
            func normalised(_ bytes: [UInt8]) -> [UInt8] {
                Array(normalisedAnswer(String(decoding: bytes, as: UTF8.self)).utf8)
            }
            answer = normalised(answer)
            references = references.map(normalised)
        }
        let shares = references.indices.map { left in
            min(1, Double(references.indices.count { $0 != left && references[$0] == answer }) / 3)
        }
        return shares.reduce(0, +) / Double(shares.count)
    }

    @Test("gives the official figures on generated questions of all sorts, question by question")
    func golden() throws {
        let scores = try score(
            task: "vqav2", questions: fixture("questions.json"), annotations: fixture("annotations.json"),
            predictions: fixture("predictions.json"))
        let expected = try JSON(contentsOf: fixture("scores.json"))
        #expect(scores.overall == expected["overall"]?.double)
        #expect(scores.count == 200)
        #expect(scores.groups.map(\.name) == ["per_answer_type", "per_question_type"])
        #expect(scores.groups[0].percentages == percentages(expected["perAnswerType"]))
        #expect(scores.groups[1].percentages == percentages(expected["perQuestionType"]))
        let questions = try #require(expected["perQuestion"]?.array)
        for (found, expected) in zip(scores.perQuestion, questions) {
            #expect(abs(100 * found - (expected.array?[1].double ?? -1)) < 0.0051)
        }
    }

    @Test(
        "gives every figure of the official program on 2,962 real questions",
        .enabled(if: hasOfficialFigures, "the folder vqav2-60k of the shared data is absent"))
    func officialFigures() throws {
        try withFolder { folder in
            let (questions, annotations) = ("\(folder)/questions.json", "\(folder)/annotations.json")
            try unpack("\(officialFolder)/vqa_questions_test.gzip", to: questions)
            try unpack("\(officialFolder)/vqa_annotatons_test.gzip", to: annotations)
            let expected = try JSON(contentsOf: "\(officialFolder)/expected_official_scores_test.json")
            for name in ["all_yes", "first_human"] {
                let scores = try score(
                    task: "vqav2", questions: questions, annotations: annotations,
                    predictions: "\(officialFolder)/pred_test_\(name).json")
                let figures = try #require(expected[name])
                #expect(scores.count == 2962)
                #expect(scores.overall == figures["overall"]?.double)
                #expect(scores.groups[0].percentages == percentages(figures["perAnswerType"]))
                #expect(scores.groups[1].percentages == percentages(figures["perQuestionType"]))
                #expect(scores.low < scores.overall && scores.overall < scores.high)
            }
        }
    }

    private func percentages(_ json: JSON?) -> [String: Double] {
        Dictionary(uniqueKeysWithValues: (json?.members ?? []).map { ($0.key, $0.value.double ?? -1) })
    }
}
