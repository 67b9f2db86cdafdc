import Backbones
import Support
import Torch

/// Reads the prompts of a batch and then goes on token by token, with the keys and values of what was read kept.
///
/// With ``ScienceQASettings/PromptReading/own`` rows of different lengths stand side by side and no row depends on another.
/// As released, only as much of every prompt is read at once as the shortest has; the rest comes out of ``pending``.
///
/// Legend: B problems, T columns read at once, S columns so far, V vocabulary.
public final class ScienceQASession {
    /// Tokens of each row's prompt that are still to be fed, one a step, before its answer begins.
    public private(set) var pending: [[Int]]
    private let model: ScienceQADVP
    private let layout: ScienceQALayout
    private let sight: ScienceQASight?
    /// The row of `sight` of each problem.
    private let images: [Int?]
    private let cache: KeyValueCache
    private let routes = ScienceQARoutes()
    /// T
    private let columns: Int
    /// What the next tokens of each row see of the columns before them.
    private var seen: [[Bool]]
    /// Where each row's text ends, in columns of its own.
    private var ends: [Int]

    /// - Parameters:
    ///   - prompts: problems without answers.
    ///   - pixels: [B, 3, S, S], anything for problems without image.
    ///   - newTokens: steps after the prompts, at most.
    public convenience init(
        _ model: ScienceQADVP, _ prompts: [ScienceQAExample], pixels: Tensor?, newTokens: Int
    ) throws {
        let (sight, images) = try withoutGradients { try model.sight(prompts, pixels) }
        try self.init(model, prompts, sight, images: images, newTokens: newTokens)
    }

    init(
        _ model: ScienceQADVP, _ prompts: [ScienceQAExample], _ sight: ScienceQASight?, images: [Int?],
        newTokens: Int
    ) throws {
        let settings = model.settings
        let newTokens = max(1, min(newTokens, 1 << 16))
        // A prompt that is cut has lost its `Response:`; the release cuts it all the same.
        let room = model.decoder.configuration.positions - newTokens
        let limit =
            settings.promptReading == .own ? max(settings.maxLength, room) : settings.maxLength
        let layout = try ScienceQALayout(
            prompts, model.prefix, classTokens: model.classTokens, limit: limit)
        let shortest = layout.lengths.min() ?? 0
        let columns = settings.promptReading == .own ? layout.length : shortest
        guard layout.imageRows.isEmpty || columns > layout.imageSlot else {
            throw VQAError(
                "cannot answer a batch", at: "prompt_reading",
                because: "its shortest prompt ends before the image of another",
                remedy: "use own-prompt, or one problem a batch")
        }
        (self.model, self.layout, self.sight, self.images) = (model, layout, sight, images)
        self.columns = columns
        let ends = layout.lengths.map { min($0, columns) }
        let pending = layout.ids.indices.map { row in
            Array(layout.ids[row][ends[row]..<layout.lengths[row]])
        }
        (self.ends, self.pending) = (ends, pending)
        // The modality token is seen by nothing but itself; nor is what fills up a row.
        seen = ends.map { end in (0..<columns).map { $0 > 0 && $0 < end } }
        cache = try model.decoder.cache(
            rows: prompts.count, capacity: columns + newTokens + (pending.map(\.count).max() ?? 0))
    }

    /// Reads the prompts: the scores of the next token, [B, V].
    public func start() throws -> Tensor {
        try withoutGradients {
            let layer = model.settings.insertLayer
            let (tap, positions) = (
                model.textTap(routes), try Tensor.arange(0, Double(columns)).unsqueezed(0)
            )
            func mask(_ hidesSlot: Bool) throws -> Tensor {
                try layout.mask(hidesSlot: hidesSlot).sliced(2, 0, columns).sliced(3, 0, columns)
            }
            var hidden = try model.embedded(layout, sight, images: images).sliced(1, 0, columns)
            hidden = try model.decoder.hidden(
                hidden, cache: cache, tap: tap, layers: 0..<layer, attention: mask(true),
                positions: positions)
            hidden = try model.inserted(hidden, layout, sight, images: images, layer: layer).hidden
            hidden = try model.decoder.hidden(
                hidden, cache: cache, tap: tap, layers: layer..<model.decoder.layers.count,
                attention: mask(model.settings.slotMask == .aliased), positions: positions)
            let last = ends.map { max(0, $0 - 1) }
            return try model.decoder.logits(
                hidden.indexed([Tensor(Array(last.indices)), Tensor(last)]))
        }
    }

    /// Feeds one token a row: the scores of the next, [B, V].
    public func step(_ tokens: [Int]) throws -> Tensor {
        guard tokens.count == ends.count else {
            throw VQAError(
                "cannot go on", at: "the batch", because: "it has \(ends.count) rows, not \(tokens.count)")
        }
        return try withoutGradients {
            for row in seen.indices { seen[row].append(true) }
            let layer = model.settings.insertLayer
            let shift = model.settings.decodePositions == .shifted ? 1 : 0
            let positions = try Tensor(ends.map { $0 - shift }, [ends.count, 1])
            let tap = model.textTap(routes)
            var hidden = try model.decoder.embed(Tensor(tokens, [tokens.count, 1]))
            hidden = try model.decoder.hidden(
                hidden, cache: cache, tap: tap, layers: 0..<layer, attention: mask(hidesSlot: true),
                positions: positions)
            hidden = try model.decoder.hidden(
                hidden, cache: cache, tap: tap, layers: layer..<model.decoder.layers.count,
                attention: mask(hidesSlot: false), positions: positions)
            for row in ends.indices { ends[row] += 1 }
            return try model.decoder.logits(hidden.selected(1, 0))
        }
    }

    /// The next token of a row's prompt; nil when all were fed.
    func nextOfPrompt(_ row: Int) -> Int? { pending[row].isEmpty ? nil : pending[row].removeFirst() }

    /// [B, 1, 1, S]. As released, the column of the slot is hidden in rows without one too, whatever stands there.
    private func mask(hidesSlot: Bool) throws -> Tensor {
        var rows = seen
        for row in rows.indices where hidesSlot {
            let slot = model.settings.slotMask == .aliased ? layout.imageSlot : layout.slots[row]
            if let slot, rows[row].indices.contains(slot) { rows[row][slot] = false }
        }
        return try Tensor(rows.flatMap { $0 }, [rows.count, 1, 1, rows.first?.count ?? 0])
    }
}
