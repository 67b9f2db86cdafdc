import Backbones
import Torch

/// The states of texts at the layers where prompts enter.
///
/// Where the layers below are frozen they run without recording and without dropout, once for each distinct text: kept
/// for the whole training while they fit into ``limit`` bytes, otherwise once a batch. All layers that a caller asks for
/// come from one pass.
final class DVPLowerStates {
    /// Bytes that the kept states may take.
    static let limit = 2 << 30

    private let model: DVP
    private let texts: [[Int]]
    /// The layers that are asked for, in rising order.
    private let layers: [Int]
    private let padding: Padding
    private let keeps: Bool
    private var kept: Kept?

    /// How short rows are filled.
    struct Padding {
        let isLeft: Bool
        /// Fill up to there even when all are shorter.
        let length: Int
    }

    private struct Kept {
        /// Of each layer: [texts, L, D], of T5's decoder [texts, 1, D].
        let hidden: [Tensor]
        /// [texts, L]
        let mask: Tensor
        /// T5: [texts, L, D].
        let encoded: Tensor?
    }

    /// - Parameters:
    ///   - layers: of T5 that writes none: what it writes is different each time.
    ///   - keeps: whether states may be kept.
    init(_ model: DVP, texts: [[Int]], layers: [Int], padding: Padding, keeps: Bool) {
        self.model = model
        self.texts = texts
        self.layers = layers.sorted()
        self.padding = padding
        let longest = max(padding.length, texts.map(\.count).max() ?? 0)
        let bytes = texts.count * longest * model.language.size * DType.float32.size * max(1, layers.count)
        self.keeps = keeps && model.lowerLayersAreFrozen && bytes <= Self.limit
    }

    /// Some texts at one layer.
    func text(_ indices: [Int], at layer: Int, pass: DVPPass) throws -> DVPText {
        try all(indices, at: [layer], pass: pass)[0]
    }

    /// Some texts at each of some layers, in the order of the layers.
    func all(_ indices: [Int], at wanted: [Int], pass: DVPPass) throws -> [DVPText] {
        if keeps { return try wanted.map { try fromKept(indices, $0) } }
        guard model.lowerLayersAreFrozen else { return try states(indices, wanted, pass) }
        // Equal questions of a batch are computed once.
        var place: [Int: Int] = [:]
        var distinct: [Int] = []
        let rows = indices.map { index -> Int in
            if let known = place[index] { return known }
            place[index] = distinct.count
            distinct.append(index)
            return distinct.count - 1
        }
        let found = try withoutGradients { try states(distinct, wanted, model.pass()) }
        guard distinct.count < indices.count else { return found }
        let chosen = try Tensor(rows)
        return try found.map { try $0.selected(chosen) }
    }

    /// From the bottom up, each layer once.
    private func states(_ indices: [Int], _ wanted: [Int], _ pass: DVPPass) throws -> [DVPText] {
        let batch = try TokenBatch(
            indices.map { texts[$0] }, isLeft: padding.isLeft, length: padding.length)
        var text = try model.lower.begin(batch.ids, mask: batch.isPadded ? batch.mask : nil, pass: pass)
        var found: [Int: DVPText] = [:]
        for layer in Set(wanted).sorted() {
            text = try model.lower.advanced(text, to: layer, pass: pass)
            found[layer] = text
        }
        return wanted.map { found[$0] ?? text }
    }

    // MARK: Kept states

    private func fromKept(_ indices: [Int], _ layer: Int) throws -> DVPText {
        let all = try kept ?? compute()
        kept = all
        let rows = try Tensor(indices)
        let lengths = indices.map { texts[$0].count }
        let length = max(padding.length, lengths.max() ?? 0)
        let longest = all.mask.shape[1]
        /// Cut to the longest of these.
        func cut(_ states: Tensor) throws -> Tensor {
            guard states.shape[1] == longest else { return try states.selected(0, indices: rows) }
            let part =
                try padding.isLeft
                ? states.sliced(1, longest - length) : states.sliced(1, 0, length)
            return try part.selected(0, indices: rows)
        }
        let place = layers.firstIndex(of: layer) ?? 0
        let isPadded = lengths.contains { $0 < length }
        let encoded = try all.encoded.map(cut)
        return DVPText(
            hidden: try all.hidden.isEmpty ? encoded ?? cut(all.mask) : cut(all.hidden[place]),
            mask: isPadded ? try cut(all.mask) : nil, encoded: encoded, layer: layer)
    }

    /// In order of length, so that short texts are not computed at the length of the longest.
    private func compute() throws -> Kept {
        let longest = max(padding.length, texts.map(\.count).max() ?? 0)
        let order = texts.indices.sorted { (texts[$0].count, $0) < (texts[$1].count, $1) }
        var hidden = [[Tensor]](repeating: [], count: layers.count)
        var encoded: [Tensor] = []
        /// Filled up to the longest of all.
        func filled(_ states: Tensor, from length: Int) throws -> Tensor {
            guard states.shape[1] == length, length < longest else { return try states.to(.float32) }
            let missing = longest - length
            return try states.to(.float32).padded(padding.isLeft ? [0, 0, missing, 0] : [0, 0, 0, missing])
        }
        try withoutGradients {
            for start in stride(from: 0, to: order.count, by: 128) {
                let part = Array(order[start..<min(order.count, start + 128)])
                let length = max(padding.length, part.map { texts[$0].count }.max() ?? 0)
                let found = try states(part, layers.isEmpty ? [0] : layers, model.pass())
                for (index, text) in found.enumerated() where layers.indices.contains(index) {
                    hidden[index].append(
                        try text.encoded == nil ? filled(text.hidden, from: length) : text.hidden)
                }
                if let output = found.first?.encoded { encoded.append(try filled(output, from: length)) }
            }
        }
        var place = [Int](repeating: 0, count: order.count)
        for (row, text) in order.enumerated() { place[text] = row }
        let rows = try Tensor(place)
        func inOrder(_ parts: [Tensor]) throws -> Tensor {
            try Tensor.concatenated(parts, 0).selected(0, indices: rows)
        }
        let batch = try TokenBatch(texts, isLeft: padding.isLeft, length: padding.length)
        return Kept(
            hidden: try hidden.map(inOrder), mask: batch.mask,
            encoded: encoded.isEmpty ? nil : try inOrder(encoded))
    }
}

extension DVPText {
    /// The rows that `indices` name, in that order.
    func selected(_ indices: Tensor) throws -> DVPText {
        var result = self
        result.hidden = try hidden.selected(0, indices: indices)
        result.mask = try mask?.selected(0, indices: indices)
        result.encoded = try encoded?.selected(0, indices: indices)
        return result
    }
}
