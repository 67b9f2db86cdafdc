import Support
import Torch

/// Everything that changes logits before a token is chosen, in the order in which the reference applies it:
/// repetition penalty, repeated n-grams, bad words, shortest length, forced first and last token, suppressed
/// tokens; then, for sampling, temperature, top-k, top-p, min-p.
///
/// Legend: R rows, V vocabulary.
public struct LogitsProcessors {
    private let options: GenerationOptions
    private let length: GenerationLength
    private let eos: [Int]
    private let badWords: [[Int]]

    /// - Parameters:
    ///   - options: what to apply.
    ///   - length: of prompt and result.
    public init(_ options: GenerationOptions, _ length: GenerationLength) {
        self.options = options
        self.length = length
        eos = options.eosIDs
        // Forbidding the end of a sequence is what the shortest length is for.
        badWords = options.badWords.filter { word in !options.eosIDs.contains { [$0] == word } }
    }

    /// The scores [R, V] to choose the next token from; what must not be chosen is −∞.
    ///
    /// - Parameters:
    ///   - scores: logits or, in beam search, log-probabilities, float32 [R, V].
    ///   - sequences: prompt and new tokens of each row, without padding.
    ///   - newTokens: how many tokens were generated so far.
    public func callAsFunction(_ scores: Tensor, _ sequences: [[Int]], newTokens: Int) throws -> Tensor {
        let constrained = try constrained(scores, sequences, newTokens)
        return options.doSample ? try warped(constrained) : constrained
    }

    // MARK: Constraints

    private func constrained(_ logits: Tensor, _ sequences: [[Int]], _ newTokens: Int) throws -> Tensor {
        var scores = logits
        let total = length.prompt + newTokens
        if options.repetitionPenalty != 1 { scores = try penalised(scores, sequences) }
        if options.noRepeatNgram > 0 {
            scores = try banning(scores, sequences.map { repeatingTokens($0, options.noRepeatNgram) })
        }
        if !badWords.isEmpty { scores = try banning(scores, sequences.map(completions)) }
        if total < length.minimum { scores = try banningEverywhere(scores, eos) }
        if let token = options.forcedBOS, total == 1 {
            scores = try forcing(scores, [token], "forced_bos_token_id")
        }
        if !options.forcedEOS.isEmpty, total == length.maximum - 1 {
            scores = try forcing(scores, options.forcedEOS, "forced_eos_token_id")
        }
        scores = try banningEverywhere(scores, options.suppressedTokens)
        // A forced first token comes before the first free one.
        let firstFree = length.prompt > 1 || options.forcedBOS == nil ? 0 : 1
        if newTokens == firstFree { scores = try banningEverywhere(scores, options.suppressedFirstTokens) }
        return scores
    }

    /// Divides positive and multiplies negative scores of the tokens that were there already.
    private func penalised(_ scores: Tensor, _ sequences: [[Int]]) throws -> Tensor {
        guard let places = try places(sequences, scores) else { return scores }
        let found = try scores.indexed(places)
        let penalty = options.repetitionPenalty
        let changed = try Tensor.choose(found .< 0, found * penalty, found / penalty)
        return try scores.replacing(places, with: changed)
    }

    /// The tokens that would repeat an n-gram of `sequence`.
    private func repeatingTokens(_ sequence: [Int], _ size: Int) -> [Int] {
        guard sequence.count >= size else { return [] }
        let prefix = sequence.suffix(size - 1)
        return (0...(sequence.count - size)).compactMap { start in
            let last = start + size - 1
            return sequence[start..<last] == prefix ? sequence[last] : nil
        }
    }

    /// The tokens that would complete a bad word after `sequence`.
    private func completions(_ sequence: [Int]) -> [Int] {
        badWords.compactMap { word in sequence.suffix(word.count - 1) == word.dropLast() ? word.last : nil }
    }

    private func banning(_ scores: Tensor, _ tokens: [[Int]]) throws -> Tensor {
        guard let places = try places(tokens, scores) else { return scores }
        return try scores.replacing(places, with: Tensor([-Float.infinity]).to(scores.device))
    }

    private func banningEverywhere(_ scores: Tensor, _ tokens: [Int]) throws -> Tensor {
        guard !tokens.isEmpty else { return scores }
        return try banning(scores, Array(repeating: tokens, count: scores.shape[0]))
    }

    private func forcing(_ scores: Tensor, _ tokens: [Int], _ key: String) throws -> Tensor {
        let forced = try scores.clone()
        try forced.fill(-.infinity)
        let rows = Array(repeating: tokens, count: scores.shape[0])
        guard tokens.allSatisfy({ $0 < scores.shape[1] }), let places = try places(rows, scores) else {
            throw VQAError(
                GenerationOptions.what, at: key,
                because: "it is \(tokens), and the vocabulary has \(scores.shape[1]) tokens")
        }
        return try forced.replacing(places, with: Tensor([0 as Float]).to(scores.device))
    }

    /// Row and column of every token that the vocabulary has, nil when there is none.
    private func places(_ tokens: [[Int]], _ scores: Tensor) throws -> [Tensor?]? {
        var rows: [Int] = []
        var columns: [Int] = []
        for (row, tokens) in tokens.enumerated() {
            for token in tokens where token >= 0 && token < scores.shape[1] {
                rows.append(row)
                columns.append(token)
            }
        }
        guard !rows.isEmpty else { return nil }
        return [try Tensor(rows).to(scores.device), try Tensor(columns).to(scores.device)]
    }

    // MARK: Sampling

    private func warped(_ constrained: Tensor) throws -> Tensor {
        var scores = constrained
        // Beams need one token more than there are ends, so that they can go on.
        let kept = min(options.beams > 1 ? max(2, eos.count + 1) : 1, scores.shape[1])
        if options.temperature != 1 { scores = try scores / options.temperature }
        if options.topK > 0 { scores = try topK(scores, max(options.topK, kept)) }
        if options.topP < 1 { scores = try topP(scores, kept) }
        if let share = options.minP { scores = try minP(scores, share, kept) }
        return scores
    }

    private func topK(_ scores: Tensor, _ count: Int) throws -> Tensor {
        let best = try scores.top(min(count, scores.shape[1]), 1).values  // [R, k]
        let last = try best.sliced(1, best.shape[1] - 1)
        return try scores.masked(scores .< last, -.infinity)
    }

    private func topP(_ scores: Tensor, _ kept: Int) throws -> Tensor {
        let (rows, size) = (scores.shape[0], scores.shape[1])
        let (ascending, order) = try scores.sorted(1)
        let mass = try ascending.softmax(1).cumulativeSum(1)
        let tail = try (mass .<= (1 - options.topP)).sliced(1, 0, size - kept)
        let head = try Tensor.zeros([rows, kept], .bool).to(scores.device)
        let removed = try Tensor.concatenated([tail, head], 1)
        return try scores.masked(removed.scattered(1, order, removed), -.infinity)
    }

    private func minP(_ scores: Tensor, _ share: Double, _ kept: Int) throws -> Tensor {
        let probabilities = try scores.softmax(1)
        let least = try probabilities.max([1], keep: true) * share
        let best = try probabilities.top(kept, 1).indices  // [R, kept]
        let no = try Tensor.zeros(best.shape, .bool).to(scores.device)
        let removed = try (probabilities .< least).scattered(1, best, no)
        return try scores.masked(removed, -.infinity)
    }
}
