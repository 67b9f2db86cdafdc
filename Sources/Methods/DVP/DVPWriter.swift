import Backbones
import Support
import Torch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Lets a language model with a visual prompt write, the most probable token each time.
///
/// Below the prompt a decoder has one position less than above it, so each part keeps the keys and values of its own
/// tokens.
struct DVPWriter {
    private let model: DVP
    private let endIDs: Set<Int>

    init(_ model: DVP, endIDs: Set<Int>) { (self.model, self.endIDs) = (model, endIDs) }

    /// - Parameters:
    ///   - texts: what each row reads.
    ///   - visual: [rows, N, V].
    /// - Returns: the ids of each answer without its end, and how probable it was.
    func write(_ texts: [[Int]], visual: Tensor, limit: Int) throws -> [(ids: [Int], probability: Double)] {
        switch model.language {
        case .bert:
            throw VQAError("cannot write", because: "BERT does not write", remedy: "use answers=classify")
        case .decoder(let decoder): try write(texts, decoder, visual, limit)
        case .t5(let t5): try write(texts, t5, visual, limit)
        }
    }

    private func write(_ texts: [[Int]], _ decoder: Decoder, _ visual: Tensor, _ limit: Int) throws -> [(
        ids: [Int], probability: Double
    )] {
        let batch = try TokenBatch(texts, isLeft: true)
        let (rows, length) = (texts.count, batch.ids.shape[1])
        let prompts = model.settings.promptTokens
        let layer = model.settings.insertLayer
        let below = try decoder.cache(rows: rows, capacity: length + limit)
        let above = try decoder.cache(rows: rows, capacity: prompts + length + limit)
        var mask: Tensor? = batch.isPadded ? batch.mask : nil
        let pass = model.pass()

        var lower = try decoder.hidden(
            decoder.embed(batch.ids), mask: mask, cache: below, tap: pass.lowerTap, layers: 0..<layer)
        below.advance(by: length)
        let text = DVPText(hidden: lower, mask: mask, layer: layer)
        let prompt = try model.prompted(text, model.language.query(text, model.settings), visual: visual)
        var upper = try decoder.hidden(
            prompt.joined, mask: extended(mask, rows, prompts, inFront: true), cache: above, tap: pass.tap,
            layers: layer..<decoder.layers.count,
            bias: pass.bias(layer..<decoder.layers.count, prompts: prompts, keys: prompts + length))
        var state = Written(rows: rows, endIDs: endIDs)
        while true {
            let scores = try decoder.logits(upper.selected(1, upper.shape[1] - 1))
            guard let next = try state.take(scores), state.length < limit else { break }
            mask = try extended(mask, rows, 1, inFront: false)
            lower = try decoder.hidden(
                decoder.embed(Tensor(next, [rows, 1])), mask: mask, cache: below, tap: pass.lowerTap,
                layers: 0..<layer)
            below.advance(by: 1)
            upper = try decoder.hidden(
                model.typed(lower), mask: extended(mask, rows, prompts, inFront: true), cache: above,
                tap: pass.tap, layers: layer..<decoder.layers.count,
                bias: pass.bias(
                    layer..<decoder.layers.count, prompts: prompts, keys: above.length + 1))
        }
        return state.found
    }

    /// The mask with positions that are seen; nil stays nil.
    private func extended(_ mask: Tensor?, _ rows: Int, _ count: Int, inFront: Bool) throws -> Tensor? {
        guard let mask else { return nil }
        let seen = try Tensor.ones([rows, count], .bool)
        return try .concatenated(inFront ? [seen, mask] : [mask, seen], 1)
    }

    /// Answers are short, and so is what T5's decoder reads: it is run again for each token.
    private func write(_ texts: [[Int]], _ t5: T5, _ visual: Tensor, _ limit: Int) throws -> [(
        ids: [Int], probability: Double
    )] {
        let batch = try TokenBatch(texts)
        let pass = model.pass()
        let read = try model.lower.begin(batch.ids, mask: batch.isPadded ? batch.mask : nil, pass: pass)
        var state = Written(rows: texts.count, endIDs: endIDs)
        var written = [[Int]](repeating: [t5.configuration.startID], count: texts.count)
        while true {
            let ids = try Tensor(written.flatMap { $0 }, [texts.count, written.first?.count ?? 0])
            let start = try model.lower.start(
                read.encoded ?? read.hidden, mask: read.mask, written: ids, pass: pass)
            let text = try model.lower.advanced(start, to: model.settings.insertLayer, pass: pass)
            let query = try model.language.query(text, model.settings)
            let hidden = try model.fused(text, query, visual: visual, pass: pass).hidden
            let scores = try t5.logits(hidden.selected(1, hidden.shape[1] - 1))
            guard let next = try state.take(scores), state.length < limit else { break }
            for row in written.indices { written[row].append(next[row]) }
        }
        return state.found
    }
}

/// What has been written.
private struct Written {
    private var answers: [[Int]]
    private var logarithms: [Double]
    private(set) var length = 0
    private var isDone: [Bool]
    private let endIDs: Set<Int>

    init(rows: Int, endIDs: Set<Int>) {
        answers = Array(repeating: [], count: rows)
        logarithms = Array(repeating: 0, count: rows)
        isDone = Array(repeating: false, count: rows)
        self.endIDs = endIDs
    }

    var found: [(ids: [Int], probability: Double)] { zip(answers, logarithms).map { ($0, exp($1)) } }

    /// Adds the best token of scores [rows, V] to every row that has not ended, and gives it; nil when all have ended.
    mutating func take(_ scores: Tensor) throws -> [Int]? {
        let shares = try scores.to(.float32).logSoftmax(-1)
        let next = try shares.argmax(-1).integers()
        let best = try shares.max([-1]).floats()
        length += 1
        for row in answers.indices where !isDone[row] {
            logarithms[row] += Double(best[row])
            if endIDs.contains(next[row]) { isDone[row] = true } else { answers[row].append(next[row]) }
        }
        return isDone.contains(false) ? next : nil
    }
}
