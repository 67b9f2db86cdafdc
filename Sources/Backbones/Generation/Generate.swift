import Support
import Torch

/// Generates after each prompt: greedy search, sampling, beam search or beam sampling, as the options say.
///
/// Token for token what the reference's `generate` (transformers 5) gives in float32, except that draws come from
/// a generator of ours: a draw depends on seed, number of the prompt, sequence and step, on nothing else.
///
/// - Parameters:
///   - session: a model with the prompts, not started.
///   - prompts: the ids of each row's prompt, without padding; for an encoder–decoder the decoder's start token
///     (``GenerationOptions/decoderPrompt(rows:)``); empty when the prompt was given as embeddings. Penalties and
///     n-grams count these ids; the reference counts its padding too, in `no_repeat_ngram_size` alone.
///   - options: how to generate.
///   - embedded: positions of the prompt that were given as embeddings without ids; see ``GenerationLength``.
///   - numbers: a number for each prompt that decides its draws, so that they do not depend on how prompts are
///     put into batches; 0, 1, … when nil.
///   - decode: the text of tokens, for stop strings.
///   - onToken: called for every new token with the index of the result and the token; false stops everything.
///     With beams nothing is known before the end, so all calls come then.
///   - shouldStop: asked before every step; true ends the open sequences as they are.
/// - Returns: `returnSequences` results for each prompt, prompt by prompt, the best first.
/// - Throws: `VQAError` for options that cannot be met, and what the session throws.
public func generate(
    _ session: any GenerationSession, prompt prompts: [[Int]], options: GenerationOptions, embedded: Int = 0,
    numbers: [Int]? = nil, decode: (([Int]) throws -> String)? = nil,
    onToken: ((_ sequence: Int, _ token: Int) throws -> Bool)? = nil, shouldStop: () -> Bool = { false }
) throws -> [GeneratedSequence] {
    try options.validate()
    guard !prompts.isEmpty else { return [] }
    guard numbers == nil || numbers?.count == prompts.count, session.rows == prompts.count else {
        throw VQAError(
            GenerationOptions.what,
            because: "there are \(prompts.count) prompts for \(session.rows) rows of the model")
    }
    guard options.stopStrings.isEmpty || decode != nil else {
        throw VQAError(
            GenerationOptions.what, at: "stop_strings", because: "the text of tokens is not known here",
            remedy: "give a tokenizer")
    }
    let longest = prompts.map(\.count).max() ?? 0
    let length = try GenerationLength(options, prompt: longest, embedded: embedded)
    let plan = GenerationPlan(
        options: options, prompts: prompts, numbers: numbers ?? Array(prompts.indices),
        processors: LogitsProcessors(options, length),
        stop: StopRule(options, maximumNew: length.maximumNew, decode: decode ?? { _ in "" }),
        maximumNew: length.maximumNew)
    guard !shouldStop() else { return plan.nothing() }
    return try withoutGradients {
        let logits = try checkedLogits(session.start(), rows: prompts.count)
        if options.beams > 1 {
            let results = try beamSearch(session, logits, plan, shouldStop)
            try replay(results, onToken)
            return results
        }
        return try singleSearch(session, logits, plan, onToken, shouldStop)
    }
}

/// What both searches need to know.
struct GenerationPlan {
    let options: GenerationOptions
    let prompts: [[Int]]
    let numbers: [Int]
    let processors: LogitsProcessors
    let stop: StopRule
    let maximumNew: Int

    /// The source of the draws of one sequence.
    func random(prompt: Int, sequence: Int) -> CounterRandom {
        CounterRandom(seed: options.seed, epoch: numbers[prompt], sample: sequence, purpose: "generation")
    }

    /// The results when nothing was done.
    func nothing() -> [GeneratedSequence] {
        prompts.indices.flatMap { prompt in
            (0..<options.returnSequences).map { _ in
                GeneratedSequence(prompt: prompt, ids: [], score: nil, reason: .cancelled)
            }
        }
    }
}

/// Logits [rows, V] as float32, or an error.
func checkedLogits(_ logits: Tensor, rows: Int) throws -> Tensor {
    guard logits.rank == 2, logits.shape[0] == rows, logits.shape[1] > 0 else {
        throw VQAError(
            GenerationOptions.what, because: "the model gave logits \(logits.shape) for \(rows) rows",
            kind: .failure)
    }
    return logits.dtype == .float32 ? logits : try logits.to(.float32)
}

private func replay(_ results: [GeneratedSequence], _ onToken: ((Int, Int) throws -> Bool)?) throws {
    guard let onToken else { return }
    for (index, result) in results.enumerated() {
        for token in result.ids where try !onToken(index, token) { return }
    }
}

// MARK: Greedy search and sampling

/// A sequence while it grows.
private struct OpenSequence {
    let prompt: Int
    let ids: [Int]
    var new: [Int] = []
    var reason: FinishReason?
    var random: CounterRandom
}

private func singleSearch(
    _ session: any GenerationSession, _ first: Tensor, _ plan: GenerationPlan,
    _ onToken: ((Int, Int) throws -> Bool)?, _ shouldStop: () -> Bool
) throws -> [GeneratedSequence] {
    let copies = plan.options.returnSequences
    var sequences = plan.prompts.indices.flatMap { prompt in
        (0..<copies).map {
            OpenSequence(
                prompt: prompt, ids: plan.prompts[prompt], random: plan.random(prompt: prompt, sequence: $0))
        }
    }
    var logits = first
    if copies > 1 {
        try session.reorder(sequences.map(\.prompt))
        logits = try logits.repeatedEach(copies, 0)
    }
    // The sequence of each row of the session.
    var rows = Array(sequences.indices)
    for step in 0..<plan.maximumNew {
        let scores = try plan.processors(
            logits, rows.map { sequences[$0].ids + sequences[$0].new }, newTokens: step)
        let tokens = try plan.options.doSample ? sampled(scores, rows, &sequences) : best(scores)
        for (index, token) in zip(rows, tokens) where sequences[index].reason == nil {
            sequences[index].new.append(token)
            sequences[index].reason = try plan.stop.reason(
                prompt: sequences[index].ids, new: sequences[index].new)
            if let onToken, try !onToken(index, token) { return closed(sequences) }
        }
        let open = rows.indices.filter { sequences[rows[$0]].reason == nil }
        if open.isEmpty || shouldStop() { break }
        if open.count < rows.count, !plan.options.keepsFinishedRows {
            try session.reorder(open)
            rows = open.map { rows[$0] }
        }
        let fed = rows.map { sequences[$0].reason == nil ? sequences[$0].new.last : nil }
        logits = try checkedLogits(session.step(fed.map { $0 ?? plan.options.filler }), rows: rows.count)
    }
    return closed(sequences)
}

private func closed(_ sequences: [OpenSequence]) -> [GeneratedSequence] {
    sequences.map {
        GeneratedSequence(prompt: $0.prompt, ids: $0.new, score: nil, reason: $0.reason ?? .cancelled)
    }
}

/// The token with the highest score of each row [R, V].
private func best(_ scores: Tensor) throws -> [Int] {
    let indices = try scores.argmax(1, keep: true)  // [R, 1]
    // NaN counts as the highest.
    guard try !scores.gathered(1, indices).floats().contains(where: \.isNaN) else { throw notNumbers() }
    return try indices.integers()
}

/// One draw for each row of scores [R, V]; every sequence uses up one random number a step.
private func sampled(_ scores: Tensor, _ rows: [Int], _ sequences: inout [OpenSequence]) throws -> [Int] {
    let uniforms = rows.map { uniform(&sequences[$0].random) }
    let (indices, totals) = try draw(scores.softmax(1), uniforms)
    try totals.forEach(checkTotal)
    return indices
}
