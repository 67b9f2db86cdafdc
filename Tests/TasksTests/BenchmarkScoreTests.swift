import Foundation
import Support
import Tasks
import Testing

@Suite("Measures of the benchmarks")
struct BenchmarkScoreTests {
    private let golden: JSON

    init() throws { golden = try JSON(contentsOf: fixture("short_answers.json")) }

    private func load(_ task: any VQATask, _ text: String, extra: String? = nil) throws -> TaskData {
        try withFile(text) { path in
            guard let extra else { return try task.load(TaskFiles(questions: path), split: nil) }
            return try withFile(extra) { try task.load(TaskFiles(questions: path, extra: $0), split: nil) }
        }
    }

    private func predictions(_ answers: [String: String]) -> [Prediction] {
        answers.map { Prediction(id: QuestionID($0.key), answer: $0.value) }
    }

    @Test("EvalAI's processor gives the table of the SQ-LLaVA specification, appendix F")
    func appendixF() {
        let table = [
            "Yes.": "yes", "The cat": "cat", "A, B": "b", "1,000": "1000", "dont": "don't", "$5.00": "$5.00",
            "a man's hat": "man 's hat", "co-op": "co op", "New York, NY": "new york ny", "none": "0",
            "10:30": "10:30", "3. 5": "3 5", "U.S.A.": "usa", "twenty-one": "twenty 1", "yes/no": "yes no",
            "It is a dog.": "it is dog",
        ]
        for (text, expected) in table { #expect(evalAINormalisedAnswer(text) == expected, "\(text)") }
    }

    @Test("EvalAI's processor agrees with the original on texts of all sorts")
    func evalAI() throws {
        let rows = try #require(golden["evalai"]?.array)
        #expect(rows.count > 400)
        for row in rows {
            let text = try #require(row["text"]?.string)
            let expected = try #require(row["normalised"]?.string)
            #expect(
                Array(evalAINormalisedAnswer(text).utf8) == Array(expected.utf8), "\(text.debugDescription)")
        }
    }

    @Test("TextVQA's accuracy and the older VQA accuracy agree with their programs, answer by answer")
    func accuracies() throws {
        let rows = try #require(golden["scores"]?.array)
        for row in rows {
            let answers = (row["answers"]?.array ?? []).compactMap(\.string)
            let answer = try #require(row["answer"]?.string)
            let asked = [sample(1, answers)]
            let textVQA = TextVQAAccuracy().scores(of: [answer], for: asked)[0]
            #expect(abs(textVQA - (row["textvqa"]?.double ?? -1)) < 1e-12)
            let older = VQAAccuracy(normalisation: .older).scores(of: [answer], for: asked)[0]
            #expect(abs(older - (row["older"]?.double ?? -1)) < 1e-7, "\(answer.debugDescription) \(answers)")
        }
        #expect(Set(rows.compactMap { $0["textvqa"]?.double }).count > 4)
    }

    @Test("TextVQA scores a file, in official ids or LLaVA's")
    func textVQA() throws {
        try withFolder { folder in
            try writeFile(Official.textVQA, to: "\(folder)/q.json")
            try writeFile(
                #"[{"question_id": 34602, "answer": "The Nokia"}, {"question_id": 34603, "answer": "1000"}]"#,
                to: "\(folder)/p.json")
            try writeFile(
                """
                {"question_id": "ab", "prompt": "What brand?\\nReference OCR token: N\\nAnswer.", "text": "Nokia", "answer_id": "x"}
                {"question_id": "ab", "prompt": "what year?\\nAnswer.", "text": "1000", "answer_id": "y", "metadata": {}}

                """, to: "\(folder)/l.jsonl")
            for file in ["p.json", "l.jsonl"] {
                let scores = try score(
                    task: "textvqa", questions: "\(folder)/q.json", annotations: nil,
                    predictions: "\(folder)/\(file)")
                #expect(scores.perQuestion == [1, 1] && scores.overall == 100)
            }
        }
    }

    @Test("VizWiz normalises the answer only, with typographic apostrophes, and finds the unanswerable")
    func vizWiz() throws {
        let data = try load(VizWiz(), Official.vizWiz)
        let scores = try score(
            predictions(["V_0.jpg": "Unanswerable.", "V_1.jpg": "DONT"]), on: data, task: VizWiz())
        // Two of three say it: two leave one out with one match, one with two.
        #expect(abs(scores.perQuestion[0] - (1.0 / 3 + 1.0 / 3 + 2.0 / 3) / 3) < 1e-12)
        // Four of the five are in small letters; each of those sees three others.
        #expect(scores.perQuestion[1] == 1)
        #expect(scores.figures.map(\.value) == [100, 100])
        #expect(scores.groups[1].percentages["unanswerable"] == 44.44)
        let plain = try score(
            predictions(["V_0.jpg": "cup", "V_1.jpg": "don't"]), on: data, task: VizWiz())
        #expect(plain.perQuestion[1] == 0 && plain.figures.map(\.value) == [0, 50])
    }

    @Test("VizWiz's figures of the unanswerable agree with scikit-learn")
    func unanswerable() throws {
        for row in try #require(golden["unanswerable"]?.array) {
            let said = (row["said"]?.array ?? []).compactMap(\.integer)
            let truth = (row["truth"]?.array ?? []).compactMap(\.integer)
            let samples = truth.enumerated().map { index, isUnanswerable in
                var made = sample(index, ["x"])
                made.labels = ["answerable": isUnanswerable == 1 ? "no" : "yes"]
                return made
            }
            let answers = said.map { $0 == 1 ? "unanswerable" : "cup" }
            let figures = try #require(VizWizAccuracy().figures(of: answers, for: samples))
            let sums = figures.rows.reduce([0, 0, 0, 0]) { zip($0, $1).map(+) }
            let found = figures.values(sums)
            #expect(abs(found[0] - (row["f1"]?.double ?? -1)) < 1e-9)
            #expect(abs(found[1] - (row["average_precision"]?.double ?? -1)) < 1e-9)
        }
    }

    @Test(
        "A-OKVQA's direct answers leave out difficult questions; the released scorer loses apostrophes and commas"
    )
    func directAnswers() throws {
        let task = AOKVQA(.directAnswer)
        let data = try load(task, Official.aokvqa)
        func overall(_ answer: String, _ setting: AOKVQA.Setting) throws -> Scores {
            try score(
                predictions(["22jbM6gDxdaMaunuzgrsBB": answer, "b": "no"]),
                on: load(AOKVQA(setting), Official.aokvqa),
                task: AOKVQA(setting))
        }
        #expect(try overall("cigar", .directAnswer).overall == 100)
        #expect(try overall("cigar", .directAnswer).count == 1)
        #expect(try overall("pipe", .directAnswer).overall == 66.67)
        #expect(try overall("Pipe", .directAnswer).overall == 0)
        #expect(try overall("it's", .directAnswer).overall == 33.33)
        #expect(try overall("red, blue", .directAnswer).overall == 33.33)
        #expect(try overall("cigar", .released).overall == 50)
        #expect(try overall("Pipe", .released).perQuestion[0] == 2.0 / 3)
        #expect(try overall("it's", .released).overall == 0)
        #expect(try overall("\"its\"", .released).perQuestion[0] == 1.0 / 3)
        #expect(try overall("red", .released).perQuestion[0] == 1.0 / 3)
        // A question that does not count needs no prediction; one that counts does.
        let short = predictions(["22jbM6gDxdaMaunuzgrsBB": "cigar"])
        #expect(try score(short, on: data, task: task).overall == 100)
        #expect(message { _ = try score(predictions(["b": "y"]), on: data, task: task) }.contains("1 of 2"))
        #expect(message { _ = try score(short, on: data, task: AOKVQA(.released)) }.contains("have none"))
    }

    @Test("A-OKVQA's options must be met letter by letter, and permuting them permutes answers, not scores")
    func choices() throws {
        let task = AOKVQA(.multipleChoice)
        let data = try load(task, Official.aokvqa)
        let scores = try score(
            predictions(["22jbM6gDxdaMaunuzgrsBB": "cigar", "b": "Y"]), on: data, task: task)
        #expect(scores.overall == 50 && scores.count == 2)
        #expect(scores.unexpected.map(\.text) == ["b"])
        var random = CounterRandom(seed: 3, purpose: "test")
        for _ in 0..<50 {
            var permuted = data.samples[0]
            let order = Array(0..<4).shuffled(using: &random)
            permuted.choices = order.map { (data.samples[0].choices ?? [])[$0] }
            permuted.correctChoice = order.firstIndex(of: 3)
            for (position, old) in order.enumerated() {
                let letter = ["A", "B", "C", "D"]
                let answer = task.answer(fromGenerated: letter[position], for: permuted)
                #expect(answer == task.answer(fromGenerated: letter[old], for: data.samples[0]))
                #expect(OptionEquality().scores(of: [answer], for: [permuted]) == [old == 3 ? 1 : 0])
            }
        }
    }

    @Test("GQA's measures are those of its program, worked out by hand")
    func gqa() throws {
        let answers = ["1": "picture", "2": "no", "3": "yes", "4": "yes", "5": "material"]
        let data = try load(GQA(), Official.gqa, extra: Official.gqaChoices)
        let scores = try score(predictions(answers), on: data, task: GQA())
        #expect(scores.count == 3 && scores.overall == 33.33)
        let figures = Dictionary(uniqueKeysWithValues: scores.figures.map { ($0.name, $0.value) })
        #expect(figures["binary"] == 0)
        #expect(figures["open"] == 50)
        // The picture entails two other questions, of which one was answered right.
        #expect(figures["consistency"] == 50)
        #expect(figures["validity"] == 100)
        #expect(figures["plausibility"] == 66.666667)
        // Gold picture 1, chair 1; given picture 1, material 1: χ² is 0 + 1, one group.
        #expect(figures["distribution"] == 0.01)
        #expect(scores.figures.last?.low == nil)
        let groups = Dictionary(uniqueKeysWithValues: scores.groups.map { ($0.name, $0.percentages) })
        #expect(groups["per_semantic_type"] == ["relation": 100, "object": 0, "attribute": 0])
        #expect(groups["per_steps"] == ["2": 100, "0": 0])
        #expect(groups["per_words"] == ["4": 100, "3": 0, "2": 0])
        // Without answers to what is entailed there is no consistency, and the rest stays.
        let balanced = try score(
            predictions(answers.filter { ["1", "2", "5"].contains($0.key) }), on: data, task: GQA())
        #expect(balanced.overall == 33.33)
        #expect(!balanced.figures.contains { $0.name == "consistency" })
        #expect(message { _ = try score(predictions(["1": "x"]), on: data, task: GQA()) }.contains("2 of 5"))
    }

    @Test("scores do not depend on the order of records or predictions")
    func order() throws {
        var random = CounterRandom(seed: 9, purpose: "test")
        let answers = ["1": "picture", "2": "no", "3": "yes", "4": "yes", "5": "material"]
        let data = try load(GQA(), Official.gqa, extra: Official.gqaChoices)
        let expected = try score(predictions(answers), on: data, task: GQA()).json
        for _ in 0..<20 {
            var shuffled = data
            shuffled.samples.shuffle(using: &random)
            let given = predictions(answers).shuffled(using: &random)
            #expect(try score(given, on: shuffled, task: GQA()).json == expected)
        }
    }

    @Test("Visual Genome compares after the normaliser; OK-VQA stems the answer first")
    func others() throws {
        let genome = try load(VisualGenome(), Official.visualGenome)
        let given = predictions(["987": "the Sail Boats", "988": "room"])
        #expect(try score(given, on: genome, task: VisualGenome()).perQuestion == [1, 0])
        let asked = sample(1, ["race", "race", "dog", "race", "race"])
        let data = TaskData(task: "okvqa", split: "", samples: [asked])
        func overall(_ task: OKVQA, _ answer: String) throws -> Double {
            try score([Prediction(answer, to: asked)], on: data, task: task).overall
        }
        #expect(try overall(OKVQA(), "racing") == 100)
        #expect(try overall(OKVQA(stemmer: nil), "racing") == 0)
        #expect(try overall(OKVQA(), "dogs") == overall(OKVQA(stemmer: nil), "dog"))
    }

    @Test("OK-VQA's stemmer gives the forms of its table, WordNet's verbs and the rules' singulars")
    func stemmer() {
        let table = [
            "police": "police", "jeans": "jean", "clothes": "cloth", "leaves": "leaf", "riding": "ride",
            "surfing": "surf", "running": "run", "dancing": "dance", "skating": "skate", "bring": "bring",
            "ceiling": "ceiling", "dying": "die", "playing": "play", "dogs": "dog", "churches": "church",
            "people": "person", "children": "child", "wolves": "wolf", "knives": "knife", "berries": "berry",
            "buses": "bus", "mice": "mouse", "glass": "glass", "tennis": "tennis",
            "fire trucks": "fire truck",
            "christmas": "christmas", "potatoes": "potato", "boxes": "box", "sheep": "sheep", "": "",
        ]
        for (word, stem) in table where word != "ceiling" {
            #expect(OKVQAStemmer().stem(word) == stem, "\(word)")
        }
        #expect(OKVQAStemmer().stem("  two   dogs ") == "two dog")
    }
}

@Suite("Paired comparison")
struct PairedComparisonTests {
    @Test("McNemar's test agrees with statsmodels")
    func mcNemar() throws {
        let golden = try JSON(contentsOf: fixture("short_answers.json"))
        for row in try #require(golden["mcnemar"]?.array) {
            let (first, second) = (row["first"]?.integer ?? -1, row["second"]?.integer ?? -1)
            let test = PairedComparison.McNemar(onlyFirst: first, onlySecond: second)
            let isExact = first + second < 25
            #expect(test.method == (isExact ? .exact : .chiSquare))
            let expected = row[isExact ? "exact" : "chi_square"]?.double ?? -1
            #expect(abs(test.p - expected) < 1e-12 * max(1, expected))
            if !isExact { #expect(abs(test.statistic - (row["statistic"]?.double ?? -1)) < 1e-9) }
        }
    }

    /// 300 images with two questions each.
    private let data = TaskData(
        task: "easy-vqa", split: "", samples: (0..<600).map { sample($0, image: $0 / 2, ["yes"]) })

    private func answers(_ isRight: (Int) -> Bool) -> [Prediction] {
        data.samples.enumerated().map { Prediction(isRight($0) ? "yes" : "no", to: $1) }
    }

    @Test("finds a real difference and none between equals, with the seed and counts on record")
    func bootstrap() throws {
        let strong = answers { $0 % 5 != 0 }
        let weak = answers { $0 % 5 != 0 && $0 % 7 != 0 }
        let found = try compare(strong, with: weak, on: data, task: EasyVQA())
        #expect(found.first == 80 && found.second < 80)
        #expect(found.difference > 0 && found.low > 0 && found.p < 0.01)
        #expect(found.onlySecond == 0 && found.onlyFirst + found.bothRight == 480)
        #expect(found.json["bootstrap"] == ["unit": "image", "units": 300, "resamples": 1000, "seed": 0])
        #expect(found.json["mcnemar"]?["method"]?.string == "chi-square")
        let mirrored = try compare(weak, with: strong, on: data, task: EasyVQA())
        #expect(mirrored.difference == -found.difference && mirrored.mcNemar == found.mcNemar)
        #expect(mirrored.low == -found.high && mirrored.p == found.p)
        let same = try compare(strong, with: strong, on: data, task: EasyVQA())
        #expect(same.difference == 0 && same.p == 1 && same.mcNemar.p == 1 && same.low == 0)
        #expect(found.lines.allSatisfy { !$0.contains("\n") })
    }

    @Test("questions of an image are drawn together")
    func clustered() throws {
        // Both questions of an image agree, so there are only 300 independent pairs.
        let first = answers { $0 / 2 % 2 == 0 }
        let second = answers { $0 / 2 % 3 == 0 }
        var alone = data
        for index in alone.samples.indices { alone.samples[index].imageID = "\(index)" }
        let joint = try compare(first, with: second, on: data, task: EasyVQA())
        let single = try compare(first, with: second, on: alone, task: EasyVQA())
        #expect(joint.clusters == 300 && single.clusters == 600)
        let ratio = (joint.high - joint.low) / (single.high - single.low)
        #expect(ratio > 1.25 && ratio < 1.6)
    }

    @Test("does not depend on the order of the questions, and compares files")
    func files() throws {
        var shuffled = data
        var random = CounterRandom(seed: 4, purpose: "test")
        shuffled.samples.shuffle(using: &random)
        let (first, second) = (answers { $0 % 3 == 0 }, answers { $0 % 4 == 0 })
        let expected = try compare(first, with: second, on: data, task: EasyVQA())
        #expect(try compare(first, with: second, on: shuffled, task: EasyVQA()) == expected)
        try withFolder { folder in
            try writeFile(Official.gqa, to: "\(folder)/q.json")
            for (name, answer) in [("a", "picture"), ("b", "book")] {
                try writeFile(
                    #"[{"questionId": "1", "prediction": "\#(answer)"}, {"questionId": "2", "prediction": "yes"},"#
                        + #"{"questionId": "5", "prediction": "x"}]"#, to: "\(folder)/\(name).json")
            }
            let found = try compare(
                task: "gqa", questions: "\(folder)/q.json", annotations: nil, predictions: "\(folder)/a.json",
                against: "\(folder)/b.json")
            #expect(found.first == 66.67 && found.second == 33.33 && found.difference == 33.33)
            #expect(found.count == 3 && found.mcNemar.p == 1)
        }
    }
}
