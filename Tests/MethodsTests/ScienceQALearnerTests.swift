import Backbones
import Methods
import Support
import Tasks
import Testing
import Torch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Training of DVP's ScienceQA program on a world of one question: which colour has the image?
@Suite(.serialized) struct ScienceQALearnerTests {
    /// 12 problems with a coloured image each and 3 without, whose answer is the first option.
    static func samples() -> [Sample] {
        (0..<15).map { index in
            var sample = Sample(
                id: QuestionID("\(index)"), imageID: "\(index)", images: index < 12 ? ["\(index).png"] : [],
                question: "Which?", choices: ["red", "green", "blue"])
            sample.correctChoice = index < 12 ? index % 3 : 0
            return sample
        }
    }

    /// Image r has its colour in channel r mod 3.
    static func pixels(_ rows: [Int]) throws -> Tensor {
        var values: [Float] = []
        for row in rows {
            for index in 0..<192 {
                let noise = Float((index * 7 + row) % 11) / 100
                values.append(noise + (index / 64 == row % 3 ? 1.5 : -0.5))
            }
        }
        return try Tensor(values, [rows.count, 3, 8, 8])
    }

    static func model(_ base: ScienceQASettings = .fixed, searching: [Int]? = nil) throws -> ScienceQADVP {
        let params: JSON = ["dim": 32, "n_layers": 3, "n_heads": 4, "multiple_of": 16]
        let text = try DecoderConfiguration(meta: params, vocabularySize: 706, source: "test")
        var vision = CLIPVisionConfiguration()
        (vision.imageSize, vision.patchSize, vision.hiddenSize, vision.layers, vision.heads) = (8, 4, 8, 4, 2)
        (vision.intermediateSize, vision.projectionSize) = (20, 0)
        var settings = ScienceQAWorld.settings(base, layer: 1)
        settings.adapterWidth = 8
        (settings.maxLength, settings.classTokenInterval, settings.searchLayers) = (96, 2, searching)
        var model = try ScienceQADVP(
            Decoder(text), CLIPVision(vision), prefix: ScienceQAAnswerTests.words().prefix(), settings)
        try model.initialize(seed: 11)
        // A LLaMA whose states and scores are of the size that a trained one's have.
        try model.forEachParameter { slot, tensor in
            guard slot.key.hasPrefix("llama_model."), tensor.rank == 2 else { return }
            tensor = try tensor * (slot.key.contains("layers") ? 9 : slot.key.contains("head") ? 10 : 50)
        }
        try model.setTrainable(ScienceQADVP.isTrained)
        return model
    }

    static func data(answers: Bool) throws -> ScienceQAData {
        try ScienceQAData(
            samples(), ScienceQAAnswerTests.words(), format: ScienceQAFormat(.qcm, .a), answers: answers
        ) { Int($0.id.text) }
    }

    /// Losses of `steps` steps over batches of five.
    static func train(_ learner: ScienceQALearner, steps: Int, rate: Double) throws -> [Double] {
        let optimizer = try Optimizer(
            .adamW(beta1: 0.9, beta2: 0.95), learner.groups(decay: 0.05, headRateScale: 1))
        return try (0..<steps).map { step in
            try Generator.seedDefault(UInt64(step))
            try optimizer.clearGradients()
            let loss = try learner.loss((0..<5).map { (step % 3) + 3 * $0 })
            try loss.backward()
            try optimizer.step(rate: rate)
            return try loss.item()
        }
    }

    static let curve = [
        19.07722282409668, 18.17371940612793, 16.57033920288086, 17.736522674560547, 17.06221580505371,
        15.581378936767578, 16.45172119140625, 15.944149017333984, 14.617986679077148, 15.084383964538574,
    ]

    @Test("the first losses are the stored ones") func lossCurve() throws {
        let learner = try ScienceQALearner(Self.model(), Self.data(answers: true), pixels: Self.pixels)
        #expect(learner.itemCount == 15 && learner.length(of: 0) > 20)
        for (found, wanted) in zip(try Self.train(learner, steps: 10, rate: 3e-3), Self.curve) {
            #expect(abs(found - wanted) <= 1e-5 * wanted, "\(found)")
        }
    }

    @Test(
        "it learns to see: every option right, by generation and by scores, and without the image by chance")
    func learns() throws {
        let learner = try ScienceQALearner(Self.model(), Self.data(answers: true), pixels: Self.pixels)
        let frozen = try Self.frozen(learner.model)
        let losses = try Self.train(learner, steps: 120, rate: 3e-2)
        #expect(losses.suffix(10).reduce(0, +) / 10 < 1)
        #expect(try Self.frozen(learner.model) == frozen)
        let (samples, words, format) = (
            Self.samples(), try ScienceQAAnswerTests.words(), ScienceQAFormat(.qcm, .a)
        )
        func right(_ pixels: @escaping ([Int]) throws -> Tensor) throws -> (scored: Int, written: Int) {
            let asked = try ScienceQALearner(learner.model, Self.data(answers: false), pixels: pixels)
            let texts = try asked.answers(Array(samples.indices), end: words.end).map(words.text)
            let scored = try samples.indices.count { index in
                try asked.likeliestOption(of: index, for: samples[index], format, words)
                    == samples[index].correctChoice
            }
            let written = samples.indices.count { index in
                learner.model.settings.option(in: texts[index], for: samples[index])
                    == samples[index].correctChoice
            }
            return (scored, written)
        }
        let seen = try right(Self.pixels)
        #expect(seen.scored == 15 && seen.written >= 14, "\(seen)")
        let blank = try right { try .zeros([$0.count, 3, 8, 8]) }
        #expect(blank.scored <= 8 && blank.written <= 8, "\(blank)")
    }

    static func frozen(_ model: ScienceQADVP) throws -> [Float] {
        try model.parameters().filter { !ScienceQADVP.isTrained($0.key) }.flatMap { try $0.tensor.floats() }
    }

    @Test(
        "in the search each layer has a cross-attention of its own, whose score is its loss's, and others learn nothing"
    )
    func search() throws {
        let learner = try ScienceQALearner(
            Self.model(searching: [0, 1, 2]), Self.data(answers: true), pixels: Self.pixels)
        try Generator.seedDefault(1)
        try learner.loss([0, 1, 12], layer: 2).backward()
        for parameter in try learner.trained() where parameter.key.hasPrefix("cross_attn_options.") {
            let slope = try parameter.tensor.gradient().map { try $0.abs().sum().item() } ?? 0
            let learns = parameter.key.hasPrefix("cross_attn_options.2.")
            #expect((slope > 0) == learns, "\(parameter.key) \(slope)")
        }
        func seeded<Value>(_ body: () throws -> Value) throws -> Value {
            try Generator.seedDefault(4)
            return try body()
        }
        let scores = try (0..<3).map { layer in
            try seeded { try learner.scores([0, 1, 2], at: [layer], drops: true)[0] }
        }
        #expect(Set(scores).count == 3)
        for (layer, score) in scores.enumerated() {
            let loss = try seeded { try learner.loss([0, 1, 2], layer: layer).item() }
            #expect(abs(score - 100 * exp(-loss)) <= 1e-4 * score)
        }
        // Without dropout, layers together, whose lower layers are shared, score as each alone.
        let together = try learner.scores([0, 1, 13], at: [2, 0, 1, 2], drops: false)
        for (layer, score) in zip([2, 0, 1, 2], together) {
            let alone = try learner.scores([0, 1, 13], at: [layer], drops: false)[0]
            #expect(abs(score - alone) <= 1e-4 * alone)
        }
    }

    @Test("vectors and biases are not decayed") func decay() throws {
        let learner = try ScienceQALearner(Self.model(), Self.data(answers: true), pixels: Self.pixels)
        let groups = try learner.groups(decay: 0.05, headRateScale: 10)
        #expect(groups.map(\.decay) == [0.05, 0] && groups.allSatisfy { $0.rateScale == 1 })
        #expect(groups[1].parameters.allSatisfy { $0.tensor.rank == 1 })
        #expect(groups[0].parameters.contains { $0.key == "image_params" })
        #expect(try groups.flatMap(\.parameters).count == learner.trained().count)
    }
}
