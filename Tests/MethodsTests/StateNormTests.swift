import Backbones
import Methods
import Testing
import Torch

/// Norms whose first values come from the training data.
@Suite(.serialized) struct StateNormTests {
    /// What the prompt's query, visual tokens and feature are at first, and that training moves them.
    @Test("measured norms bring the training data to mean 0 and one size", arguments: [0, 2])
    func measuring(_ layer: Int) throws {
        var settings = DVPSettings.fixed
        (settings.insertLayer, settings.standardizes) = (layer, true)
        var model = try DVP(DVPBERTTests.network(), visualSize: 16, classes: 7, settings)
        try model.prepareTraining(seed: 4, precision: .float32)
        var random = SystemRandomNumberGenerator()
        let texts = (0..<40).map { _ in
            [1] + (0..<6).map { _ in Int.random(in: 3..<30, using: &random) } + [2]
        }
        let visual = try Tensor.normal([30, 4, 16]) * 3 + 5
        try model.measure(texts: texts, visual: visual, precision: .float32)
        let norms = try Dictionary(
            uniqueKeysWithValues: model.trainableParameters().filter { $0.key.contains("_norm.") }.map {
                ($0.key, $0.tensor)
            })
        #expect(
            Set(norms.keys) == [
                "visual_norm.weight", "visual_norm.bias", "query_norm.weight", "query_norm.bias",
                "feature_norm.weight", "feature_norm.bias",
            ])
        // Tokens as the cross-attention sees them.
        let seen = try visual.layerNorm(
            [16], norms["visual_norm.weight"], norms["visual_norm.bias"], epsilon: 1e-5
        ).reshaped([-1, 16])
        for (mean, deviation) in zip(
            try seen.mean([0]).floats(), try seen.variance([0]).sqrt().floats())
        {
            #expect(abs(mean) < 1e-3 && deviation > 0.8 && deviation < 1)
        }
        // At layer 0 all queries are [CLS]'s embedding, which are not divided by nothing.
        let scale = try #require(norms["query_norm.weight"]).floats()
        #expect(scale.allSatisfy { $0 > 0 && $0 < 1e4 })
        let ids = try Tensor(texts.flatMap { $0 }, [40, 8])
        let shown = try visual.selected(0, indices: Tensor((0..<40).map { $0 % 30 }))
        let output = try model(ids, mask: nil, visual: shown)
        #expect(try output.logits.floats().allSatisfy { $0.isFinite })
        if layer > 0 {
            let weight = try #require(norms["query_norm.weight"])
            let bias = try #require(norms["query_norm.bias"])
            let centred = try output.query.selected(1, 0) * weight + bias
            #expect(try centred.mean([0]).floats().allSatisfy { abs($0) < 1e-3 })
        }
    }

    @Test("what helps a decoder is off unless asked for elsewhere, and never in what is released")
    func defaults() throws {
        let models = [try DVPBERTTests.network(), .decoder(try Decoder(DVPDecoderTests.shape))]
        for (preset, expected) in [
            (DVPSettings.released, [false, false]), (.fixed, [false, true]),
        ] {
            let resolved = models.map { preset.resolved(for: $0) }
            #expect(resolved.map(\.standardizes) == expected)
            #expect(resolved.map(\.hasPromptResidual) == expected)
            #expect(resolved.map(\.hasPromptNorm) == expected)
            #expect(resolved.map { $0.adapterScale != 1 } == expected)
            #expect(resolved.map { $0.promptBias != 0 } == expected)
        }
    }

    @Test("T5 is refused") func refused() throws {
        var settings = DVPSettings.fixed
        settings.standardizes = true
        #expect {
            _ = try DVP(.t5(T5(DVPT5Tests.shape)), visualSize: 16, classes: 7, settings)
        } throws: { "\($0)".contains("standardize") }
    }
}
