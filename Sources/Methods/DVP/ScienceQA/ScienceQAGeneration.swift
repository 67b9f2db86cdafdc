import Backbones
import Support
import Tasks
import Torch

extension ScienceQADVP {
    /// Writes an answer to each problem: its new tokens, without the one that ends a text.
    ///
    /// - Parameters:
    ///   - prompts: problems without answers.
    ///   - pixels: [B, 3, S, S], anything for problems without image.
    ///   - numbers: of the problems, on which their random draws depend; a problem draws alike in any batch.
    ///   - end: the token that ends a text.
    public func generate(
        _ prompts: [ScienceQAExample], pixels: Tensor?, numbers: [Int]? = nil, end: Int
    ) throws -> [[Int]] {
        let session = try ScienceQASession(
            self, prompts, pixels: pixels, newTokens: settings.maxNewTokens)
        let numbers = numbers ?? Array(prompts.indices)
        guard numbers.count == prompts.count else {
            throw VQAError(
                "cannot answer a batch", because: "there are \(numbers.count) numbers of \(prompts.count)")
        }
        var answers = [[Int]](repeating: [], count: prompts.count)
        var isDone = [Bool](repeating: settings.maxNewTokens < 1, count: prompts.count)
        var logits = try session.start()
        while true {
            let chosen = try choose(logits, numbers: numbers, steps: answers.map(\.count))
            var fed = chosen
            for row in chosen.indices {
                if let word = session.nextOfPrompt(row) {
                    fed[row] = word
                } else if !isDone[row] {
                    isDone[row] = chosen[row] == end || answers[row].count + 1 == settings.maxNewTokens
                    if chosen[row] != end { answers[row].append(chosen[row]) }
                }
            }
            if isDone.allSatisfy({ $0 }) { return answers }
            logits = try session.step(fed)
        }
    }

    /// One token a row, of [B, V].
    private func choose(_ logits: Tensor, numbers: [Int], steps: [Int]) throws -> [Int] {
        guard case .sampled(let temperature, let topP, let seed) = settings.choosing, temperature > 0 else {
            return try logits.argmax(1).integers()
        }
        let shares = try (logits.to(.float32) / temperature).softmax(1)
        return try numbers.indices.map { row in
            var random = CounterRandom(
                seed: seed, epoch: steps[row], sample: numbers[row], purpose: "ScienceQA answer")
            let uniform = Double(random.next() >> 11) * 0x1p-53
            return try draw(shares.selected(0, row).floats(), topP: topP, uniform)
        }
    }

    /// A token of the likeliest ones: each whose likelier ones have at most the probability `topP` together.
    private func draw(_ shares: [Float], topP: Double, _ uniform: Double) throws -> Int {
        guard shares.allSatisfy(\.isFinite) else {
            throw VQAError(
                "cannot answer a problem", because: "the model's scores are not numbers (NaN)",
                remedy: "use float32, and check the weights", kind: .failure)
        }
        var kept: [(token: Int, mass: Double)] = []
        var mass = 0.0
        for token in shares.indices.sorted(by: { (shares[$1], $0) < (shares[$0], $1) }) {
            guard mass <= topP else { break }
            mass += Double(shares[token])
            kept.append((token, mass))
        }
        return kept.first { $0.mass > uniform * mass }?.token ?? kept.last?.token ?? 0
    }

    /// The mean log-probability of each option, whatever else the model would write.
    ///
    /// - Parameters:
    ///   - prompt: the problem, with `The answer is` behind its prompt.
    ///   - options: the tokens of each option's letter.
    ///   - pixels: [1, 3, S, S], nil without image.
    public func optionScores(_ prompt: ScienceQAExample, options: [[Int]], pixels: Tensor?) throws -> [Double]
    {
        try withoutGradients {
            guard !options.isEmpty, options.allSatisfy({ !$0.isEmpty }) else {
                throw VQAError("cannot score options", because: "an option has no tokens")
            }
            let (sight, images) = try sight([prompt], pixels)
            var whole = prompt
            let examples = options.map { option in
                whole.ids = prompt.ids + option
                return whole
            }
            let limit = max(settings.maxLength, decoder.configuration.positions)
            let layout = try ScienceQALayout(examples, prefix, classTokens: classTokens, limit: limit)
            let hidden = try read(layout, sight, images: examples.map { _ in images[0] }).hidden
            return try options.indices.map { row in
                let end = layout.lengths[row]
                let start = max(1, end - options[row].count)
                guard start < end else { return -.infinity }
                let states = try hidden.selected(0, row).sliced(0, start - 1, end - 1)
                let logs = try decoder.logits(states).to(.float32).logSoftmax(1)
                let ids = try Tensor(Array(layout.ids[row][start..<end]), [end - start, 1])
                return try logs.gathered(1, ids).mean().item()
            }
        }
    }
}

extension ScienceQASettings {
    /// The option that a generated text names: the first `The answer is X.` of a valid letter. A text without one counts
    /// as ``unreadOption`` says.
    ///
    /// - Parameter prompt: read before the text, as the release does; nil reads the text alone.
    public func option(in text: String, prompt: String? = nil, for sample: Sample) -> Int? {
        ChoiceAccuracy(rule: .lavin, fallback: unreadOption == .random ? .random : .wrong)
            .choice((prompt ?? "") + text, for: sample)
    }
}
