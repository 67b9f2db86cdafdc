import Foundation
import Runs
import Support
import Testing

/// A PNG header of a width; enough for the page, which does not decode.
private func png(width: UInt8) -> [UInt8] {
    [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52, 0, 0, 0, width]
        + [UInt8](repeating: 7, count: 20)
}

private func sample() -> ReportContent {
    var content = ReportContent(
        title: "DVP on MiniLM",
        headline: .init(name: "DVP", percent: 97.43, interval: 97.1...97.8, count: 9673))
    content.baselines = [
        .init(name: "no image", percent: 66.9), .init(name: "prior", percent: 66.7, interval: 66...67.4),
    ]
    content.loss = (1...1000).map { .init(step: $0, loss: 3 / Double($0)) }
    content.questionTypes = [.init(name: "what color", percent: 95, count: 1234)]
    content.answerTypes = [.init(name: "yes/no", percent: 99, count: 10)]
    content.examples = [
        .init(
            image: png(width: 64), question: "What color?", expected: ["red"], prediction: "red",
            isRight: true,
            candidates: [.init(answer: "red", probability: 0.9), .init(answer: "blue", probability: 0.1)]),
        .init(
            image: nil, question: "Is it?", expected: ["yes"], prediction: "no", isRight: false, score: 0.3),
    ]
    content.facts = [.init("Cost", "Training time", "4:31")]
    content.reproduceCommand = "vqa train a.yaml"
    content.askCommand = "vqa ask 'x'"
    content.configuration = "lr: 0.1\n"
    content.notes = ["It saturates."]
    return content
}

@Suite("Report page")
struct ReportTests {
    @Test("The page holds score, baselines, curve, types, examples, facts and commands")
    func contents() {
        let page = sample().html()
        for words in [
            "<title>DVP on MiniLM</title>", "97.4<span>%</span>",
            "95 % interval 97.1 to 97.8 · 9,673 questions",
            "30.5 points above the best baseline (no image)", "no image: 66.9 %", "polyline class=\"smooth\"",
            "what color: 95.0 %, n = 1,234", "yes/no", "✓ right", "✗ wrong · 30.0 %",
            "data:image/png;base64,iVBORw0KGgo",
            "class=\"tiny\"", "red: 90.0 %", "Training time", "vqa train a.yaml", "vqa ask &#39;x&#39;",
            "lr: 0.1",
            "It saturates.", "Wrong <span>1</span>",
        ] {
            #expect(page.contains(words), "\(words)")
        }
    }

    @Test("It loads nothing and runs nothing")
    func selfContained() {
        let page = sample().html()
        for words in ["http://", "https://", "<script", "<link", "url(", "@import", "<iframe"] {
            #expect(!page.contains(words), "\(words)")
        }
        #expect(page.contains("default-src 'none'; img-src data:"))
    }

    @Test("Every text is escaped wherever it stands")
    func escaping() {
        let attack = "\"'><script>alert(1)</script>&amp;\u{0}\u{1B}</style></title></pre>"
        var content = sample()
        content.title = attack
        content.subtitle = attack
        content.headline.name = attack
        content.baselines = [.init(name: attack, percent: 1)]
        content.questionTypes = [.init(name: attack, percent: 1, count: 1)]
        content.answerTypes = content.questionTypes
        content.facts = [.init(attack, attack, attack)]
        content.reproduceCommand = attack
        content.askCommand = attack
        content.configuration = attack
        content.notes = [attack]
        content.examples = [
            .init(
                image: Array("<svg onload=alert(1)>".utf8), question: attack, expected: [attack],
                prediction: attack, isRight: false, candidates: [.init(answer: attack, probability: 0.5)])
        ]
        let page = content.html()
        #expect(!page.contains("<script"))
        #expect(!page.contains("onload"))
        #expect(!page.contains("\u{0}") && !page.contains("\u{1B}"))
        #expect(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;"))
        // No attack ends a tag early: each of these stands once, from the page itself.
        for end in ["</style>", "</title>"] {
            #expect(page.components(separatedBy: end).count == 2, "\(end)")
        }
    }

    @Test("Empty content and numbers that are none make a page all the same")
    func oddContent() {
        var content = ReportContent(title: "", headline: .init(name: "", percent: .nan))
        #expect(content.html().contains("–"))
        content.headline.percent = 1e300
        content.headline.interval = -Double.infinity ... .infinity
        content.baselines = [.init(name: "b", percent: -.infinity)]
        for losses in [
            [], [1.0], [.nan, .nan], [1, 1, 1], [-5, -5], [.infinity, 1, 2], [1e300, -1e300, 1e308, -1e308],
            [0, 0],
            [1e-300, 2e-300],
        ] {
            content.loss = losses.enumerated().map { .init(step: $0.offset, loss: $0.element) }
            let page = content.html()
            #expect(!page.contains("nan") && !page.contains("inf"), "\(losses)")
        }
        content.loss = [.init(step: .min, loss: 1), .init(step: .max, loss: 2)]
        #expect(content.html().contains("</html>"))
        content.loss = [.init(step: 5, loss: 1), .init(step: 5, loss: 2)]
        #expect(!content.html().contains("polyline class"))
    }

    @Test("A long run is drawn with a bounded number of points and its omissions are told")
    func longRun() {
        var content = sample()
        content.loss = (0..<200_000).map { .init(step: $0, loss: $0 % 1000 == 7 ? .nan : Double($0 % 17)) }
        let page = content.html()
        #expect(page.utf8.count < 100_000)
        #expect(page.contains("steps without a finite loss, 200 of them"))
    }

    @Test("Many types are folded, and images beyond the budget are left out")
    func bounds() {
        var content = sample()
        content.questionTypes = (0..<65).map { .init(name: "type \($0)", percent: 50, count: $0) }
        #expect(content.html().contains("<summary>45 more</summary>"))
        let large = png(width: 255) + [UInt8](repeating: 1, count: 13 << 20)
        content.examples = [0, 1].map {
            .init(image: large, question: "\($0)", expected: [], prediction: "", isRight: true)
        }
        let page = content.html()
        #expect(page.utf8.count < 20 << 20)
        #expect(page.contains("no image"))
    }

    @Test("Only pictures are embedded, whatever the bytes claim")
    func imageKinds() {
        func isEmbedded(_ bytes: [UInt8]) -> Bool {
            var content = sample()
            content.examples = [
                .init(image: bytes, question: "", expected: [], prediction: "", isRight: true)
            ]
            return content.html().contains("src=\"data:image/")
        }
        #expect(isEmbedded([0xFF, 0xD8, 0xFF, 0xE0]))
        #expect(isEmbedded(Array("GIF89a".utf8)))
        #expect(isEmbedded(Array("RIFF0000WEBPVP8 ".utf8)))
        #expect(!isEmbedded(Array("RIFF0000WAVE".utf8)))
        #expect(!isEmbedded(Array("<svg/>".utf8)))
        #expect(!isEmbedded([]))
    }

    @Test("A run's record fills the facts")
    func facts() {
        var record = RunRecord(runInfo: .init(name: "a", command: []), metaInfo: .init(programVersion: "0.1"))
        record.runInfo.method = "DVP"
        record.trainInfo.trainableParameters = 1500
        record.trainInfo.totalParameters = 1_000_000
        record.trainInfo.trainSeconds = 3.25
        record.metaInfo.libraries = ["libtorch": "2.13"]
        let facts = ReportContent.facts(of: record)
        let values = Dictionary(facts.map { ($0.label, $0.value) }) { first, _ in first }
        #expect(values["Trainable parameters"] == "1,500 (0.150 %)")
        #expect(values["Training time"] == "3.3 s")
        #expect(values["Versions"] == "vqa 0.1, libtorch 2.13")
        #expect(values["Task"] == nil)
        #expect(values["Cores and memory"]?.contains("GiB") == true)
    }
}
