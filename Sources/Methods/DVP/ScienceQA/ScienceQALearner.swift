import Backbones
import Support
import Tasks
import Torch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// DVP's ScienceQA program with what it works on.
///
/// Both frozen models have trained adapters from their first block on, so nothing beyond the pixels stays the same from step
/// to step, and nothing but the pixels is worth keeping.
public final class ScienceQALearner: PlacementLearner {
    /// The model, whose parameters training changes in place.
    public private(set) var model: ScienceQADVP
    private let data: ScienceQAData
    private let pixels: ([Int]) throws -> Tensor
    private let imageSize: Int
    private let precision: DType

    /// - Parameters:
    ///   - model: loaded, with its trained parameters chosen.
    ///   - pixels: those of images by their rows, [rows, 3, S, S].
    ///   - precision: of the matrix products.
    public init(
        _ model: ScienceQADVP, _ data: ScienceQAData, precision: DType = .float32,
        pixels: @escaping ([Int]) throws -> Tensor
    ) {
        (self.model, self.data, self.pixels) = (model, data, pixels)
        self.precision = precision
        imageSize = model.tower.configuration.imageSize
    }

    /// The problems of the data; those it left out do not count.
    public var itemCount: Int { data.items.count }

    /// Tokens of prompt and answer.
    public func length(of item: Int) -> Int { data.items[item].example.ids.count }

    /// The parameters that require a gradient, with the release's names.
    public func trained() throws -> [NamedTensor] { try model.trainableParameters() }

    /// The release's two groups: vectors and biases are not decayed. There is no head.
    public func groups(decay: Double, headRateScale: Double) throws -> [ParameterGroup] {
        let all = try trained()
        func isPlain(_ parameter: NamedTensor) -> Bool {
            parameter.tensor.rank == 1 || parameter.key.hasSuffix(".bias")
        }
        return [
            ParameterGroup(all.filter { !isPlain($0) }, decay: decay), ParameterGroup(all.filter(isPlain)),
        ].filter { !$0.parameters.isEmpty }
    }

    /// Cross-entropy of the answers' tokens, averaged over those of the batch, with the prompt where the settings say.
    public func loss(_ items: [Int]) throws -> Tensor { try loss(items, layer: model.settings.insertLayer) }

    /// Examples with their pixels; black (zeros) where there is no image.
    private func batch(_ items: [Int]) throws -> (examples: [ScienceQAExample], pixels: Tensor?) {
        let chosen = items.map { data.items[$0] }
        return (chosen.map(\.example), try pixelRows(chosen))
    }

    private func pixelRows(_ chosen: [ScienceQAData.Item]) throws -> Tensor? {
        let places = chosen.indices.filter { chosen[$0].image != nil }
        let isNeeded = model.settings.imageRouting == .firstImage || !places.isEmpty
        guard isNeeded else { return nil }
        let blank = try Tensor.zeros([chosen.count, 3, imageSize, imageSize])
        guard !places.isEmpty else { return blank }
        let found = try pixels(chosen.compactMap(\.image)).to(.float32)
        return places.count == chosen.count ? found : try blank.replacing([Tensor(places)], with: found)
    }

    // MARK: The search

    /// The layers that have a cross-attention.
    public var placements: [Int] { model.settings.placements }
    /// What the release compares layers on.
    public var scoringBatch: Int { 16 }

    /// The loss with the prompt at a layer.
    public func loss(_ items: [Int], layer: Int) throws -> Tensor {
        let batch = try batch(items)
        return try withAutocast(precision) {
            try model(
                batch.examples, pixels: batch.pixels, layer: layer, dropout: model.settings.dropout
            ).loss
        }
    }

    /// 100 · exp(−loss) with the prompt at each layer.
    public func scores(_ items: [Int], at layers: [Int], drops: Bool) throws -> [Double] {
        try withoutGradients {
            if drops {
                return try layers.map { try (-loss(items, layer: $0)).exp().item() * 100 }
            }
            let batch = try batch(items)
            return try withAutocast(precision) {
                try model.losses(batch.examples, pixels: batch.pixels, at: layers).map { 100 * exp(-$0) }
            }
        }
    }

    // MARK: Answers

    /// The tokens of generated answers; made of data without answers. Draws depend on the item, not on the batch.
    public func answers(_ items: [Int], end: Int) throws -> [[Int]] {
        let batch = try batch(items)
        return try withAutocast(precision) {
            try model.generate(
                batch.examples, pixels: batch.pixels, numbers: items.map { data.items[$0].sample }, end: end)
        }
    }

    /// The likeliest option of a problem, without generation.
    public func likeliestOption(
        of item: Int, for sample: Sample, _ format: ScienceQAFormat, _ words: ScienceQAWords
    )
        throws -> Int?
    {
        guard let count = sample.choices?.count, count > 0 else { return nil }
        let chosen = data.items[item]
        let asked = try words.options(
            prompt: format.prompt(for: sample), count: count, hasImage: chosen.image != nil)
        let scores = try withAutocast(precision) {
            try model.optionScores(asked.prompt, options: asked.options, pixels: pixelRows([chosen]))
        }
        // The first of equals.
        return scores.indices.max { scores[$0] < scores[$1] }
    }
}
