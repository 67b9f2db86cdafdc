import Backbones
import Torch

/// x · weight + bias, which starts as (x − mean) / deviation of what it is shown: actnorm (Kingma & Dhariwal 2018, 3.1).
public struct StateNorm: Module {
    private var weight: Tensor
    private var bias: Tensor

    /// - Parameter size: of the last dimension.
    public init(_ size: Int) throws {
        weight = try .empty([size], on: .meta)
        bias = try .empty([size], on: .meta)
    }

    /// Lists weight and bias.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("weight", &weight, .ones)
        try visitor("bias", &bias, .zeros)
    }

    /// [..., size] → float32 [..., size]
    public func callAsFunction(_ x: Tensor) throws -> Tensor { try x.to(.float32) * weight + bias }

    /// Takes mean and deviation of states [N, size]. A dimension that hardly varies is not blown up.
    func measure(_ states: Tensor) throws {
        let (scale, shift) = try StateNorm.standardizing(states)
        try withoutGradients {
            try weight.copy(from: scale)
            try bias.copy(from: shift)
        }
    }

    /// What standardizes states [N, size]: scale and shift, [size].
    static func standardizing(_ states: Tensor) throws -> (scale: Tensor, shift: Tensor) {
        try withoutGradients {
            let states = try states.to(.float32)
            let deviation = try states.variance([0]).sqrt()
            // Where states hardly differ, by their own size.
            let least = try states.square().mean().sqrt() * 1e-3 + deviation.mean() * 0.1 + 1e-6
            let scale = try Tensor.ones(deviation.shape) / (deviation + least)
            return (scale, try -states.mean([0]) * scale)
        }
    }
}

extension DVP {
    /// Texts, and images, that are looked at, at most.
    private static let mostMeasured = 1024

    /// At most so many places of a list, evenly spread.
    private static func spread(_ count: Int) -> [Int] {
        Array(stride(from: 0, to: count, by: max(1, (count + mostMeasured - 1) / mostMeasured)))
    }

    /// Gives the norms of ``DVPSettings/standardizes`` their first values.
    ///
    /// - Parameters:
    ///   - texts: the distinct texts of the training data, as ids.
    ///   - visual: visual tokens of the training data, [rows, N, V].
    ///   - precision: of the matrix products, as in training.
    public func measure(texts: [[Int]], visual: Tensor, precision: DType) throws {
        guard settings.standardizes == true, !texts.isEmpty, visual.shape[0] > 0 else { return }
        try withoutGradients {
            if let visualNorm {
                let rows = Self.spread(visual.shape[0])
                let tokens = try visual.selected(0, indices: Tensor(rows)).reshaped([-1, visual.shape[2]])
                let (scale, shift) = try StateNorm.standardizing(visualNorm(tokens))
                try visualNorm.weight.copy(from: scale)
                try visualNorm.bias.copy(from: shift)
            }
            let shown = Self.spread(texts.count).map { texts[$0] }
            let states = try withAutocast(precision) { try textStates(shown) }
            for (arm, queries) in zip(arms, states.queries) { try arm.queryNorm?.measure(queries) }
            try featureNorm?.measure(states.end)
        }
    }

    /// The queries at each of ``placements``, and the states that end the texts, without prompts: [texts, D].
    private func textStates(_ texts: [[Int]]) throws -> (queries: [Tensor], end: Tensor) {
        let pass = DVPPass()
        var (queries, ends) = ([[Tensor]](repeating: [], count: placements.count), [Tensor]())
        for start in stride(from: 0, to: texts.count, by: 64) {
            let batch = try TokenBatch(
                Array(texts[start..<min(start + 64, texts.count)]), isLeft: language.kind == .decoder)
            var text = try language.begin(batch.ids, mask: batch.isPadded ? batch.mask : nil, pass: pass)
            for (index, layer) in placements.enumerated() {
                text = try language.advanced(text, to: layer, pass: pass)
                queries[index].append(try language.query(text, settings).selected(1, 0))
            }
            text = try language.advanced(text, to: language.layerCount, pass: pass)
            ends.append(try language.query(text, settings).selected(1, 0))
        }
        return (try queries.map { try .concatenated($0, 0) }, try .concatenated(ends, 0))
    }
}
