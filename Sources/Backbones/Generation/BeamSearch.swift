#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif
import Support
import Torch

// Beam search as transformers 5 does it (`GenerationMixin._beam_search`), with the bookkeeping of a prompt's beams
// in plain arrays. All scores are float32 and the order of ties is that of torch.topk, so results are the same token
// for token.
//
// Legend: A prompts that are still open, K beams, C candidates a prompt, V vocabulary.

/// The score of what must not win: of beams that do not exist yet, of sequences that have not ended.
private let hopeless: Float = -1e9

/// A sequence that has ended, or, without reason, the place for one.
private struct Hypothesis {
    var new: [Int] = []
    var score = hopeless
    var reason: FinishReason?
}

/// A continuation of one of the beams by one token.
private struct Candidate {
    let beam: Int
    let new: [Int]
    let score: Float
    let reason: FinishReason?
}

func beamSearch(
    _ session: any GenerationSession, _ first: Tensor, _ plan: GenerationPlan, _ shouldStop: () -> Bool
) throws -> [GeneratedSequence] {
    let beams = plan.options.beams
    // Enough that K of them go on even when every beam also ends in every possible way.
    let count = max(2, 1 + plan.options.eosIDs.count) * beams
    let (choices, overflow) = first.shape[1].multipliedReportingOverflow(by: beams)
    guard !overflow, count <= choices else {
        throw VQAError(
            GenerationOptions.what, at: "num_beams",
            because: "it is \(beams), and the vocabulary has only \(first.shape[1]) tokens")
    }
    var groups = plan.prompts.indices.map { BeamGroup(prompt: plan.prompts[$0], plan: plan) }
    var random = plan.prompts.indices.map { plan.random(prompt: $0, sequence: 0) }
    try session.reorder(groups.indices.flatMap { Array(repeating: $0, count: beams) })
    var logits = try first.repeatedEach(beams, 0)  // [A·K, V]
    var open = Array(groups.indices)
    for step in 0..<plan.maximumNew {
        let totals = try accumulated(logits, open.map { groups[$0] }, plan, step)  // [A, K·V]
        let chosen =
            try plan.options.doSample
            ? sampled(totals, count, open, &random) : best(totals, count)
        for (row, index) in open.enumerated() where !groups[index].isDone {
            try groups[index].advance(chosen[row], vocabulary: first.shape[1])
        }
        if groups.allSatisfy(\.isDone) || shouldStop() { break }
        let kept = open.indices.filter { plan.options.keepsFinishedRows || !groups[open[$0]].isDone }
        let order = kept.flatMap { row in groups[open[row]].sources.map { row * beams + $0 } }
        open = kept.map { open[$0] }
        if order != Array(0..<session.rows) { try session.reorder(order) }
        let tokens = open.flatMap { groups[$0].nextTokens }
        logits = try checkedLogits(session.step(tokens), rows: tokens.count)
    }
    return groups.indices.flatMap { groups[$0].results(prompt: $0) }
}

/// The log-probability of every beam with every next token, [A, K·V].
private func accumulated(_ logits: Tensor, _ groups: [BeamGroup], _ plan: GenerationPlan, _ step: Int) throws
    -> Tensor
{
    let sequences = groups.flatMap { group in group.running.map { group.prompt + $0 } }
    let next = try plan.processors(logits.logSoftmax(1), sequences, newTokens: step)
    let scores = groups.flatMap(\.scores)
    let before = try Tensor(scores, [scores.count, 1]).to(logits.device)
    return try (next + before).reshaped([groups.count, -1])
}

/// A score and an index into beams × vocabulary.
private typealias Choice = (score: Float, index: Int)

private func best(_ totals: Tensor, _ count: Int) throws -> [[Choice]] {
    let (values, indices) = try totals.top(count, 1)
    return rows(try values.floats(), try indices.integers(), count)
}

/// Draws without replacement in proportion to the probabilities, in the order of drawing.
private func sampled(_ totals: Tensor, _ count: Int, _ open: [Int], _ random: inout [CounterRandom]) throws
    -> [[Choice]]
{
    var generators = open.map { random[$0] }
    let drawn = try drawWithoutReplacement(totals.softmax(1), count, &generators)
    for (row, index) in open.enumerated() { random[index] = generators[row] }
    let indices = drawn.flatMap(\.self)
    let values = try totals.gathered(1, Tensor(indices, [open.count, count]).to(totals.device))
    return rows(try values.floats(), indices, count)
}

private func rows(_ values: [Float], _ indices: [Int], _ count: Int) -> [[Choice]] {
    stride(from: 0, to: values.count, by: count).map { start in
        (start..<min(start + count, values.count)).map { (values[$0], indices[$0]) }
    }
}

// MARK: The beams of one prompt

/// The beams of one prompt: K that go on and the best K that have ended.
private struct BeamGroup {
    let prompt: [Int]
    let plan: GenerationPlan
    /// New tokens of the beams that go on, best first; empty lists before the first step.
    private(set) var running: [[Int]]
    /// Their sums of log-probabilities.
    private(set) var scores: [Float]
    /// The beam that each of them continues.
    private(set) var sources: [Int]
    private(set) var isDone = false
    private var finished: [Hypothesis]
    private var canImprove = true
    private var options: GenerationOptions { plan.options }
    private var isFull: Bool { finished.allSatisfy { $0.reason != nil } }

    init(prompt: [Int], plan: GenerationPlan) {
        let beams = plan.options.beams
        self.prompt = prompt
        self.plan = plan
        running = Array(repeating: [], count: beams)
        // All beams are alike at first: only one of them counts.
        scores = [0] + Array(repeating: hopeless, count: beams - 1)
        sources = Array(0..<beams)
        finished = Array(repeating: Hypothesis(), count: beams)
    }

    /// What to feed for each beam.
    var nextTokens: [Int] { running.map { isDone ? options.filler : $0.last ?? options.filler } }

    /// Goes on by one token.
    mutating func advance(_ choices: [Choice], vocabulary: Int) throws {
        let candidates = try choices.map { choice in
            guard !choice.score.isNaN else { throw notNumbers() }
            let beam = choice.index / vocabulary
            let new = running[beam] + [choice.index % vocabulary]
            return Candidate(
                beam: beam, new: new, score: choice.score,
                reason: try plan.stop.reason(prompt: prompt, new: new))
        }
        try keepRunning(candidates)
        try keepFinished(candidates)
        decideImprovement()
        isDone =
            !canImprove || (options.earlyStopping == .whenFull && isFull)
            || candidates.allSatisfy { $0.reason != nil }
        if isDone { sources = Array(sources.indices) }
    }

    private mutating func keepRunning(_ candidates: [Candidate]) throws {
        let values = candidates.map { $0.reason == nil ? $0.score : $0.score + hopeless }
        let order = try Tensor(values).top(options.beams).indices.integers()
        running = order.map { candidates[$0].new }
        scores = order.map { values[$0] }
        sources = order.map { candidates[$0].beam }
    }

    /// Only the first K candidates may end; the others are there so that K can go on.
    private mutating func keepFinished(_ candidates: [Candidate]) throws {
        let isClosed = isFull && options.earlyStopping == .whenFull
        let ended = candidates.enumerated().map { rank, candidate in
            let ends = candidate.reason != nil && rank < options.beams
            var score = normalised(candidate.score, length: candidate.new.count)
            if isClosed { score += hopeless }
            if !canImprove { score += hopeless }
            if !ends { score += hopeless }
            return Hypothesis(new: candidate.new, score: score, reason: ends ? candidate.reason : nil)
        }
        let all = finished + ended
        finished = try Tensor(all.map(\.score)).top(options.beams).indices.integers().map { all[$0] }
    }

    private mutating func decideImprovement() {
        guard canImprove, let best = scores.first, let length = running.first?.count else { return }
        let isPatient = options.earlyStopping == .never && options.lengthPenalty > 0
        let reachable = normalised(best, length: isPatient ? plan.maximumNew : length)
        let worst = finished.map(\.score).min() ?? hopeless
        canImprove = finished.contains { reachable > ($0.reason == nil ? hopeless : worst) }
    }

    private func normalised(_ score: Float, length: Int) -> Float {
        score / Float(pow(Double(length), options.lengthPenalty))
    }

    /// The best sequences; when the search was cut short, open beams fill up.
    func results(prompt index: Int) -> [GeneratedSequence] {
        var best = finished
        if !isDone {
            let open = zip(running, scores).map { new, score in
                Hypothesis(
                    new: new, score: normalised(score, length: max(1, new.count)), reason: .cancelled)
            }
            best = (finished.filter { $0.reason != nil } + open).sorted { $0.score > $1.score }
        }
        return best.prefix(options.returnSequences).map {
            // Without reason: every next token was forbidden, so that no sequence could end.
            GeneratedSequence(prompt: index, ids: $0.new, score: $0.score, reason: $0.reason ?? .length)
        }
    }
}
