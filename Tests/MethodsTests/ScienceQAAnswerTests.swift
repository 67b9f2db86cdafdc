import Backbones
import Checkpoints
import Methods
import Support
import Tasks
import Testing
import Tokenizers
import Torch

/// Prompts, answers, tokens, generation and training of DVP's ScienceQA program.
@Suite(.serialized) struct ScienceQAAnswerTests {
    static func sample(
        _ id: String = "7", image: Bool = true, lecture: String = "L\nl", solution: String = "S  s"
    ) -> Sample {
        var sample = Sample(
            id: QuestionID(id), imageID: id, images: image ? ["\(id).png"] : [], question: "Which  one?",
            choices: ["x", "y", "z"])
        sample.correctChoice = 1
        sample.context = "Look."
        sample.passages = ["lecture": lecture, "solution": solution]
        return sample
    }

    // MARK: Formats

    static let inputs: [(String, String)] = [
        ("CQM", "Context: Look.\nQuestion: Which one?\nOptions: (A) x (B) y (C) z"),
        ("QCM", "Question: Which one?\nContext: Look.\nOptions: (A) x (B) y (C) z"),
        ("QCML", "Question: Which one?\nContext: Look.\nOptions: (A) x (B) y (C) z\nBECAUSE: L\\nl"),
        ("QCME", "Question: Which one?\nContext: Look.\nOptions: (A) x (B) y (C) z\nBECAUSE: S s"),
        ("QCMLE", "Question: Which one?\nContext: Look.\nOptions: (A) x (B) y (C) z\nBECAUSE: L\\nl S s"),
        ("QCLM", "Question: Which one?\nContext: Look.\nBECAUSE: L\\nl\nOptions: (A) x (B) y (C) z"),
        ("QCEM", "Question: Which one?\nContext: Look.\nBECAUSE: S s\nOptions: (A) x (B) y (C) z"),
        ("QCLEM", "Question: Which one?\nContext: Look.\nBECAUSE: L\\nl S s\nOptions: (A) x (B) y (C) z"),
    ]

    @Test("every input is written as published", arguments: inputs)
    func input(_ name: String, _ text: String) throws {
        let format = try ScienceQAFormat(named: name + "-A")
        #expect(
            format.prompt(for: Self.sample()) == text + "\nResponse:" && format.description == name + "-A")
    }

    static let outputs: [(String, String, String)] = [
        ("A", "The answer is B.", "The answer is B."),
        ("AL", "The answer is B. BECAUSE: L\\nl", "The answer is B. BECAUSE: S s"),
        ("AE", "The answer is B. BECAUSE: S s", "The answer is B. BECAUSE: L\\nl"),
        ("ALE", "The answer is B. BECAUSE: L\\nl S s", "The answer is B. BECAUSE: L\\nl S s"),
        ("AEL", "The answer is B. BECAUSE: S s L\\nl", "The answer is B. BECAUSE: S s L\\nl"),
        ("LA", "L\\nl The answer is B.", "L\\nl The answer is B."),
        ("EA", "S s The answer is B.", "S s The answer is B."),
        ("LEA", "L\\nl S s The answer is B.", "L\\nl S s The answer is B."),
        ("ELA", "S s L\\nl The answer is B.", "S s L\\nl The answer is B."),
    ]

    @Test("every output is written as named, and as released", arguments: outputs)
    func output(_ name: String, _ fixed: String, _ released: String) throws {
        #expect(try ScienceQAFormat(named: "QCM-" + name).target(for: Self.sample()) == fixed)
        #expect(
            try ScienceQAFormat(named: "QCM-" + name, isReleased: true).target(for: Self.sample()) == released
        )
    }

    @Test("without hint, caption, reasons or right option") func lacking() throws {
        var sample = Self.sample(lecture: "", solution: "")
        let (fixed, released) = (ScienceQAFormat(), ScienceQAFormat(isReleased: true))
        #expect(fixed.target(for: sample) == "The answer is B.")
        #expect(released.target(for: sample) == "The answer is B. BECAUSE:")
        sample.context = nil
        #expect(fixed.prompt(for: sample).contains("\nContext: N/A\n"))
        #expect(fixed.prompt(for: sample, caption: "A cat.").contains("\nContext: A cat.\n"))
        #expect(fixed.prompt(for: Self.sample(), caption: "A cat.").contains("\nContext: Look. A cat.\n"))
        sample.correctChoice = nil
        #expect(fixed.target(for: sample) == nil)
        #expect(fixed.prompt(for: sample) == ScienceQA(form: .lavin).prompt(for: sample))
        for name in ["QCM", "QCM-", "-A", "QCM-A-L", "QMC-ALE"] {
            #expect(throws: VQAError.self) { try ScienceQAFormat(named: name) }
        }
    }

    // MARK: Tokens

    static func words() throws -> ScienceQAWords {
        let tests = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        return try ScienceQAWords(
            Tokenizer(contentsOf: "/\(tests)/Fixtures/Tokenizers/subwords/spm-llama/tokenizer.model"))
    }

    /// The ids are sentencepiece 0.2.3's.
    @Test("prompt and answer become tokens as released") func tokens() throws {
        let words = try Self.words()
        #expect(
            try words.prefix()
                == ScienceQAPrefix(
                    image: [291, 564, 303, 584, 531], none: [291, 564, 303, 584, 531, 578, 605, 561]))
        let whole = try words.example(
            prompt: "Response:", target: "The answer is B. BECAUSE: a", hasImage: true)
        let ids = [
            531, 582, 269, 571, 263, 540, 532, 584, 566, 272, 450, 437, 485, 531, 698, 554, 531, 698, 563,
            682, 561, 611, 290, 584, 428,
        ]
        #expect(whole.ids == [1] + ids + [2] && whole.promptLength == 8 && whole.hasImage)
        let asked = try words.example(prompt: "Response:", target: nil, hasImage: false)
        #expect(asked.ids == [1] + ids.prefix(8) && asked.promptLength == 8)
        let options = try words.options(prompt: "Response:", count: 3, hasImage: false)
        // ` A` is one piece here, ` B` and ` C` are two.
        #expect(options.prompt.ids == [1] + ids.prefix(13) && options.prompt.promptLength == 8)
        #expect(options.options == [[497], [531, 698], [531, 682]])
        #expect(try words.options(prompt: "Response:", count: 1, hasImage: false).options[0].count == 1)
        #expect(try words.text(Array(whole.ids.dropFirst(9))).hasSuffix("is B. BECAUSE: a"))
    }

    @Test("samples without answer are left out of training, unreadable images everywhere") func data() throws
    {
        var open = Self.sample("8", image: false)
        open.correctChoice = nil
        let samples = [Self.sample("6"), open, Self.sample("7"), Self.sample("9", image: false)]
        func make(_ answers: Bool) throws -> ScienceQAData {
            try ScienceQAData(samples, Self.words(), format: ScienceQAFormat(), answers: answers) {
                $0.id.text == "6" ? nil : 4
            }
        }
        let (training, asking) = (try make(true), try make(false))
        #expect(training.items.map(\.sample) == [2, 3] && training.unanswerable == 1 && training.unseen == 1)
        #expect(training.items.map(\.image) == [4, nil])
        #expect(asking.items.map(\.sample) == [1, 2, 3] && asking.unanswerable == 0 && asking.unseen == 1)
        #expect(asking.items.allSatisfy { $0.example.ids.count == $0.example.promptLength + 1 })
    }

    @Test("the option is read as released and repaired") func options() {
        let sample = Self.sample()
        let (released, fixed) = (ScienceQASettings.released, ScienceQASettings.fixed)
        for settings in [released, fixed] {
            #expect(settings.option(in: "The answer is C. BECAUSE: The answer is A.", for: sample) == 2)
            #expect(settings.option(in: "The answer is A.", prompt: "The answer is B. ", for: sample) == 1)
        }
        // D is no option of three.
        #expect(fixed.option(in: "The answer is D.", for: sample) == nil)
        let drawn = (0..<40).map { released.option(in: "hm", for: Self.sample("\($0)")) }
        #expect(Set(drawn) == [0, 1, 2] && released.option(in: "hm", for: Self.sample("0")) == drawn[0])
    }

    // MARK: Generation

    static let prompts = [
        ScienceQAExample(ids: [1, 5, 6, 7, 8, 9, 10, 11, 3, 12, 4, 13], promptLength: 11, hasImage: true),
        ScienceQAExample(ids: [1, 15, 16, 17, 20, 21, 22, 23, 24, 25], promptLength: 9, hasImage: false),
    ]

    /// Scores of the next token after each of `tokens`, of both rows.
    static func stepwise(
        _ model: ScienceQADVP, _ prompts: [ScienceQAExample], _ pixels: Tensor, _ tokens: [Int]
    ) throws
        -> [Tensor]
    {
        let session = try ScienceQASession(model, prompts, pixels: pixels, newTokens: tokens.count)
        var found = [try session.start()]
        for token in tokens { found.append(try session.step([Int](repeating: token, count: prompts.count))) }
        return found
    }

    @Test("repaired, going on with a cache equals reading everything anew", arguments: [0, 1, 2])
    func cache(_ layer: Int) throws {
        let model = try ScienceQAWorld.model(layer, .fixed)
        let pixels = try ScienceQAWorld.pixels()
        let tokens = [28, 3, 19]
        let found = try Self.stepwise(model, Self.prompts, pixels, tokens)
        for (row, prompt) in Self.prompts.enumerated() {
            var whole = prompt
            whole.ids += tokens
            let hidden = try model([whole], pixels: pixels.sliced(0, row, row + 1)).hidden
            let end = hidden.shape[1]
            for step in 0...tokens.count {
                let wanted = try model.decoder.logits(hidden.sliced(1, end - 1 - tokens.count + step))
                    .selected(1, 0).floats()
                for (x, y) in try zip(found[step].selected(0, row).floats(), wanted) {
                    #expect(abs(x - y) < 1e-4)
                }
            }
        }
    }

    /// The one difference of released generation when nothing else is as released.
    @Test("as released, positions in generation are one too low and the hidden prompt is seen")
    func releasedSteps()
        throws
    {
        let pixels = try ScienceQAWorld.pixels()
        func second(_ change: (inout ScienceQASettings) -> Void) throws -> [Float] {
            let model = try ScienceQAWorld.model(1, .fixed, change)
            return try Self.stepwise(model, [Self.prompts[0]], pixels.sliced(0, 0, 1), [28])[1].floats()
        }
        let fixed = try second { _ in }
        #expect(try second { $0.decodePositions = .shifted } != fixed)
        let aliased = try second { $0.slotMask = .aliased }
        #expect(aliased != fixed)
        // With the same mask, other weights of the cross-attention reach the token that is fed alone.
        var other = try ScienceQAWorld.model(1, .fixed) { $0.slotMask = .aliased }
        try other.forEachParameter { slot, tensor in
            if slot.key.hasPrefix("cross_attn") { tensor = try tensor * 3 }
        }
        let steps = try Self.stepwise(other, [Self.prompts[0]], pixels.sliced(0, 0, 1), [28])
        #expect(try steps[1].floats() != aliased)
        let first = try Self.stepwise(
            ScienceQAWorld.model(1, .fixed) { $0.slotMask = .aliased }, [Self.prompts[0]],
            pixels.sliced(0, 0, 1), [])
        #expect(try steps[0].floats() == first[0].floats())
    }

    @Test("as released, the rest of longer prompts is fed token by token") func shortest() throws {
        let pixels = try ScienceQAWorld.pixels()
        let model = try ScienceQAWorld.model(1, .released)
        let session = try ScienceQASession(model, Self.prompts, pixels: pixels, newTokens: 4)
        // 23 columns against 15.
        #expect(session.pending == [[7, 8, 9, 10, 11, 3, 12, 4, 13].suffix(8).map { $0 }, []])
        let short = ScienceQAExample(ids: [1, 15], promptLength: 1, hasImage: false)
        let error = #expect(throws: VQAError.self) {
            try ScienceQASession(model, [Self.prompts[0], short], pixels: pixels, newTokens: 4)
        }
        #expect(error?.description.contains("own-prompt") == true)
    }

    /// Answers of the two prompts in both orders and alone.
    static func answers(_ settings: ScienceQASettings) throws -> [[[Int]]] {
        let pixels = try ScienceQAWorld.pixels()
        let model = try ScienceQAWorld.model(1, settings) { $0.maxNewTokens = 9 }
        let both = try model.generate(prompts, pixels: pixels, numbers: [5, 6], end: 2)
        let turned = try model.generate(
            prompts.reversed(), pixels: pixels.flipped([0]), numbers: [6, 5], end: 2)
        let alone = try [0, 1].flatMap { row in
            try model.generate(
                [prompts[row]], pixels: pixels.sliced(0, row, row + 1), numbers: [5 + row], end: 2)
        }
        return [both, turned.reversed(), alone]
    }

    @Test("repaired answers do not depend on the batch, drawn ones neither") func batchAnswers() throws {
        let greedy = try Self.answers(.fixed)
        #expect(greedy[0] == greedy[1] && greedy[0] == greedy[2])
        #expect(greedy[0].allSatisfy { (1...9).contains($0.count) })
        var drawing = ScienceQASettings.fixed
        drawing.choosing = .sampled(temperature: 5, topP: 0.9, seed: 3)
        let drawn = try Self.answers(drawing)
        #expect(drawn[0] == drawn[1] && drawn[0] == drawn[2] && drawn[0] != greedy[0])
        drawing.choosing = .sampled(temperature: 1e-6, topP: 0.75, seed: 3)
        #expect(try Self.answers(drawing)[0] == greedy[0])
        let released = try Self.answers(.released)
        #expect(released[0].allSatisfy { (0...9).contains($0.count) })
    }

    @Test("options are scored by the logits of their letters") func optionScores() throws {
        let model = try ScienceQAWorld.model(1, .fixed)
        let pixels = try ScienceQAWorld.pixels().sliced(0, 0, 1)
        let scores = try model.optionScores(
            Self.prompts[0], options: [[10], [11, 12], [13]], pixels: pixels)
        let next = try Self.stepwise(model, [Self.prompts[0]], pixels, [11])
        let logs = try next.map { try $0.logSoftmax(1).doubles() }
        #expect(abs(scores[0] - logs[0][10]) < 1e-5 && abs(scores[2] - logs[0][13]) < 1e-5)
        #expect(abs(scores[1] - (logs[0][11] + logs[1][12]) / 2) < 1e-5)
        #expect(throws: VQAError.self) {
            try model.optionScores(Self.prompts[0], options: [[]], pixels: pixels)
        }
    }
}
