import Foundation
import Support
import Tasks
import Testing

private let nlgFolder = "\(sharedData)/nlg-eval"
private let hasNLG = fileExists("\(nlgFolder)/hyp.txt")
private let captionTools = ProcessInfo.processInfo.environment["VQA_CAPTION_TOOLS"]

private struct Corpus: Decodable {
    var references: [[String]]
    var candidates: [String]
    var bleu: [Double]
    var rougeL: [Double]
    var cider: [Double]
    var ciderPlain: [Double]
    var meteor: Double
}

private func corpus() throws -> Corpus {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(
        Corpus.self, from: Data(contentsOf: URL(fileURLWithPath: fixture("captions/corpus.json"))))
}

/// The lines of a file of nlg-eval's example.
private func nlgLines(_ name: String) throws -> [String] {
    try String(contentsOfFile: "\(nlgFolder)/\(name).txt", encoding: .utf8).split(separator: "\n")
        .map(String.init)
}

private func close(_ a: [Double], _ b: [Double], _ tolerance: Double = 1e-6) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= tolerance }
}

private func sum(_ rows: [CaptionMeasures.BLEUCounts]) -> CaptionMeasures.BLEUCounts {
    rows.reduce(into: CaptionMeasures.BLEUCounts()) { all, row in
        for order in 0..<4 {
            all.matches[order] += row.matches[order]
            all.total[order] += row.total[order]
        }
        all.length += row.length
        all.referenceLength += row.referenceLength
    }
}

private func samples(_ references: [[String]]) -> [Sample] {
    references.enumerated().map {
        Sample(id: QuestionID($0), imageID: String($0), question: "", answers: $1)
    }
}

@Suite("Caption measures")
struct CaptionMeasureTests {
    @Test("captions are tokenised as by the official program")
    func tokens() throws {
        struct Row: Decodable {
            var text: String
            var tokens: [String]
        }
        let lines = try String(contentsOfFile: fixture("captions/tokens.jsonl"), encoding: .utf8).split(
            separator: "\n")
        #expect(lines.count > 1000)
        let tokenizer = CaptionTokenizer()
        var different: [String] = []
        for line in lines {
            let row = try JSONDecoder().decode(Row.self, from: Data(line.utf8))
            let ours = tokenizer.tokens(of: row.text)
            if ours != row.tokens { different.append("\(row.text): \(ours), not \(row.tokens)") }
        }
        #expect(different == [])
    }

    @Test("a made-up corpus has the official scores")
    func golden() throws {
        let corpus = try corpus()
        let measures = CaptionMeasures(candidates: corpus.candidates, references: corpus.references)
        #expect(close(CaptionMeasures.bleu(of: sum(measures.bleu)), corpus.bleu))
        #expect(close(measures.rougeL, corpus.rougeL))
        #expect(close(measures.cider, corpus.cider))
        let plain = CaptionMeasures(
            candidates: corpus.candidates, references: corpus.references, cider: .plain)
        #expect(close(plain.cider, corpus.ciderPlain))
    }

    @Test("published examples of spec and nlg-eval", .enabled(if: hasNLG, "needs ../shared/data/nlg-eval"))
    func examples() throws {
        let references = zip(try nlgLines("ref1"), try nlgLines("ref2")).map { [$0, $1] }
        let measures = CaptionMeasures(candidates: try nlgLines("hyp"), references: references)
        #expect(
            close(CaptionMeasures.bleu(of: sum(measures.bleu)), [0.55, 0.428174, 0.284043, 0.201143]))
        #expect(close([measures.rougeL.reduce(0, +) / 2], [0.522104]))
        #expect(close([measures.cider.reduce(0, +) / 2], [1.242192]))
    }

    @Test("three captions have the scores that are known for them")
    func three() {
        let measures = CaptionMeasures(
            candidates: [
                "a man riding a wave on a surfboard", "a cat sitting on a mat", "two dogs play in the snow",
            ],
            references: [
                ["a man rides a wave on a surfboard", "a surfer riding a large wave in the ocean"],
                ["a cat is sitting on the mat", "a black cat sits on a rug"],
                ["two dogs playing in snow", "dogs run in the snow"],
            ])
        #expect(close(CaptionMeasures.bleu(of: sum(measures.bleu)), [0.95, 0.818895, 0.576496, 0.432022]))
        #expect(close(measures.cider, [3.739162, 2.047821, 2.713724]))
        #expect(close(measures.rougeL, [0.875, 0.758706, 0.739394]))
    }

    @Test("the report has CIDEr in per cent and says why METEOR is missing")
    func report() throws {
        let corpus = try corpus()
        var data = TaskData(task: "coco-captions", split: "", samples: samples(corpus.references))
        struct Task: VQATask {
            let about = COCOCaptions().about
            func files(in root: String, split: String) throws -> TaskFiles { TaskFiles(questions: root) }
            func read(_ files: TaskFiles, split: String?, log: inout ProblemLog) throws -> TaskData {
                TaskData(task: name, split: "", samples: [])
            }
            func metric(for data: TaskData) -> any AnswerMetric {
                CaptionMetric { throw VQAError("METEOR was not computed", because: "there is no Java") }
            }
        }
        var predictions = zip(corpus.candidates, data.samples).map { Prediction($0, to: $1) }
        let options = ScoreOptions(bootstrap: Bootstrap(resamples: 20))
        let scores = try score(predictions, on: data, task: Task(), options: options)
        let mean = corpus.cider.reduce(0, +) / Double(corpus.cider.count)
        #expect(abs(scores.overall - 100 * mean) < 0.0051)
        #expect(scores.figures.map(\.name) == ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider"])
        let rouge = corpus.rougeL.reduce(0, +) / Double(corpus.rougeL.count)
        #expect(close(scores.figures.map { $0.value / 100 }, corpus.bleu + [rouge, mean]))
        #expect(scores.figures.allSatisfy { ($0.low ?? .infinity) <= $0.value && $0.value <= ($0.high ?? 0) })
        #expect(scores.remarks == ["METEOR was not computed: there is no Java"])
        #expect(scores.json.text().contains("there is no Java"))
        #expect(scores.unexpected.count == corpus.candidates.count { $0.isEmpty })

        // The order of records and predictions changes nothing.
        data.samples.reverse()
        predictions.shuffle()
        let other = try score(predictions, on: data, task: Task(), options: options)
        #expect(other.overall == scores.overall && other.low == scores.low)
        #expect(close(other.figures.map(\.value), scores.figures.map(\.value), 1.5e-6))
    }

    @Test("METEOR is the official program's", .enabled(if: captionTools != nil, "needs VQA_CAPTION_TOOLS"))
    func meteor() throws {
        let corpus = try corpus()
        let metric = CaptionMetric()
        let figures = try #require(metric.figures(of: corpus.candidates, for: samples(corpus.references)))
        let sums = (0..<figures.rows[0].count).map { column in figures.rows.reduce(0) { $0 + $1[column] } }
        let place = try #require(figures.names.firstIndex(of: "meteor"))
        #expect(abs(figures.values(sums)[place] / 100 - corpus.meteor) < 1e-6)
    }

    @Test(
        "METEOR of nlg-eval's published example",
        .enabled(if: captionTools != nil && hasNLG, "needs VQA_CAPTION_TOOLS and ../shared/data/nlg-eval"))
    func meteorExample() throws {
        let references = zip(try nlgLines("ref1"), try nlgLines("ref2")).map { [$0, $1] }
        let figures = try #require(
            CaptionMetric().figures(of: try nlgLines("hyp"), for: samples(references)))
        let sums = (0..<figures.rows[0].count).map { column in figures.rows.reduce(0) { $0 + $1[column] } }
        let place = try #require(figures.names.firstIndex(of: "meteor"))
        #expect(abs(figures.values(sums)[place] / 100 - 0.295797) < 1e-6)
    }

    @Test("a program that fails, hangs, floods or babbles is a remark", .timeLimit(.minutes(1)))
    func programs() throws {
        try withFolder { folder in
            try makeFolder("\(folder)/meteor")
            try makeFolder("\(folder)/spice")
            try writeFile("", to: "\(folder)/meteor/meteor-1.5.jar")
            try writeFile("", to: "\(folder)/spice/spice-1.0.jar")
            try makeFolder("\(folder)/spice/lib")
            try writeFile("", to: "\(folder)/spice/lib/stanford-corenlp-3.6.0.jar")
            let models = "\(folder)/spice/lib/stanford-corenlp-3.6.0-models.jar"
            try writeFile("", to: models)
            func remarks(_ script: String, limit: Int = 1 << 20) throws -> [String] {
                try writeFile("#!/bin/sh\n\(script)\n", to: "\(folder)/java")
                chmod("\(folder)/java", 0o755)
                var java = JavaMeasures(java: "\(folder)/java", tools: folder)
                java.timeLimit = 1
                java.outputLimit = limit
                let tool = java
                return CaptionMetric { tool }.figures(of: ["a dog"], for: samples([["a dog"]]))?.remarks ?? []
            }
            func each(_ script: String, limit: Int = 1 << 20, says why: String) throws {
                let remarks = try remarks(script, limit: limit)
                #expect(remarks.count == 2 && remarks[0].contains(why), "\(remarks)")
            }
            try each("exit 3", says: "ended with the status 3")
            try each("kill -9 $$", says: "ended by the signal 9")
            try each("exec sleep 20", says: "more than 1 s")
            try each("exec cat /dev/zero", limit: 1000, says: "without end")
            try each("echo nan 1 2", says: "not one line a caption")
            let spice = """
                case "$*" in *spice*) printf '[{"image_id": 0, "scores": {"All": {"f": 0.25, "pr": 1}}}]' > "$7";; *) exit 1;; esac
                """
            let left = try remarks(spice)
            #expect(left.count == 1 && left[0].hasPrefix("METEOR"))
            unlink(models)
            let without = try remarks(spice)
            #expect(without.count == 2 && without[1].contains("Stanford CoreNLP is not there"))
        }
    }

    @Test("empty captions, missing references and absurd lengths are survived")
    func extremes() {
        let long = String(repeating: "a b c. ", count: 20_000)
        let odd = String(repeating: "<a ", count: 20_000) + String(repeating: "<!a", count: 20_000)
        let measures = CaptionMeasures(
            candidates: ["", long, "x", odd, "\u{0}\u{1F600}\u{D}\u{A}"],
            references: [[""], [long, "a"], [], [""], ["a"]])
        #expect(measures.rougeL[0] == 1 && measures.rougeL[1] == 1 && measures.rougeL[2] == 0)
        #expect(measures.cider.allSatisfy { $0.isFinite })
        #expect(CaptionMeasures.bleu(of: sum(measures.bleu)).allSatisfy { $0.isFinite })
        #expect(CaptionMeasures(candidates: [], references: []).cider == [])
    }
}
