import Backbones
import Checkpoints
import Testing
import Torch

/// T5 run block by block, as DVP does, against the reference numbers of DVP's specification, section 9.1: weights are a
/// fixed function of the parameter's name. The prompt enters the decoder before block K.
@Suite(.serialized) struct T5ReleaseTests {
    /// Element i of a parameter is 0.2 · sin(0.7 i + 0.01 s), s the sum of its name's bytes mod 997; scales of norms are
    /// 1 + half of that.
    static func parameter(_ key: String, _ shape: [Int]) throws -> Tensor {
        let sum = Double(key.utf8.reduce(0) { $0 + Int($1) } % 997)
        let isScale =
            shape.count == 1 && key.hasSuffix("weight")
            && (key.contains("layer_norm") || key.contains(".ln_"))
        let count = Double(shape.reduce(1, *))
        let waves = try (Tensor.arange(0, count, .float64) * 0.7 + 0.01 * sum).sin()
        return try (isScale ? waves * 0.1 + 1 : waves * 0.2).to(.float32).reshaped(shape)
    }

    static func model() throws -> T5 {
        var configuration = T5Configuration()
        (configuration.vocabularySize, configuration.hiddenSize, configuration.headSize) = (32, 16, 4)
        (configuration.heads, configuration.feedForwardSize) = (4, 32)
        (configuration.layers, configuration.decoderLayers) = (3, 3)
        var model = try T5(configuration)
        try model.forEachParameter(prefix: "t5_model.") { slot, tensor in
            tensor = try parameter(slot.key, tensor.shape)
        }
        return model
    }

    /// The image tower's output, [2, 5, 16].
    static func visual() throws -> Tensor {
        var shapes = ["class_embedding": [16], "positional_embedding": [5, 16], "proj": [16, 8]]
        shapes["conv1.weight"] = [16, 3, 4, 4]
        for name in ["ln_pre", "ln_post"] {
            (shapes[name + ".weight"], shapes[name + ".bias"]) = ([16], [16])
        }
        for block in ["transformer.resblocks.0.", "transformer.resblocks.1."] {
            for (name, out, input) in [
                ("attn.in_proj_", 48, 16), ("attn.out_proj.", 16, 16), ("mlp.c_fc.", 64, 16),
                ("mlp.c_proj.", 16, 64),
            ] { (shapes[block + name + "weight"], shapes[block + name + "bias"]) = ([out, input], [out]) }
            for name in ["ln_1.", "ln_2."] {
                (shapes[block + name + "weight"], shapes[block + name + "bias"]) = ([16], [16])
            }
        }
        var weights: [String: Tensor] = [:]
        for (name, shape) in shapes {
            weights["visumodel." + name] = try parameter("visumodel." + name, shape)
        }
        let part = CLIPVision.visualPart(of: weights)
        var tower = try CLIPVision(CLIPVisionConfiguration(openAI: part, headSize: 8, source: "test"))
        try tower.load(CLIPVision.renamed(weights), from: "test")
        let pixels = try (Tensor.arange(0, 384, .float64) * 0.05).sin().to(.float32).reshaped([2, 3, 8, 8])
        return try tower(pixels)
    }

    /// DVP's cross-attention of 4 heads, [B, 1, 16].
    static func prompt(_ query: Tensor, _ visual: Tensor) throws -> Tensor {
        func map(_ x: Tensor, _ name: String) throws -> Tensor {
            try x.linear(
                parameter("cross_attn.linear_\(name).weight", [16, 16]),
                parameter("cross_attn.linear_\(name).bias", [16]))
        }
        let heads = try splitHeads(map(query, "q"), 4).attention(
            key: splitHeads(map(visual, "k"), 4), value: splitHeads(map(visual, "v"), 4))
        return try map(mergeHeads(heads), "merge")
    }

    static func sums(_ tensor: Tensor) throws -> (sum: Double, absolute: Double) {
        (try tensor.sum().item(), try tensor.abs().sum().item())
    }

    static let ids = [4, 5, 9, 11, 1, 0, 0, 0, 2, 7, 8, 1, 0, 0, 0, 0]

    @Test("the encoder with the bias in every block and in the first alone") func encoder() throws {
        let model = try Self.model()
        let ids = try Tensor(Self.ids, [2, 8])
        for (bias, sum, absolute) in [
            (T5Pass.Bias.everyBlock, -1.337460, 213.907190), (.firstBlock, -1.379569, 214.003404),
        ] {
            let found = try Self.sums(
                model.encode(model.embed(ids), mask: ids .!= 0, pass: T5Pass(bias: bias)))
            #expect(abs(found.sum - sum) < 1e-4 && abs(found.absolute - absolute) < 2e-3, "\(bias): \(found)")
        }
    }

    @Test(
        "a prompt before decoder block K gives the release's feature",
        arguments: [
            (0, -5.436448, 26.146191, -0.777284, 0.079404), (1, -4.766013, 26.022884, 0.061016, -0.575843),
            (2, -4.731261, 26.444390, 0.133136, -0.601275),
        ])
    func inserted(_ layer: Int, _ sum: Double, _ absolute: Double, _ first: Double, _ second: Double) throws {
        let model = try Self.model()
        let ids = try Tensor(Self.ids, [2, 8])
        let pass = T5Pass(bias: .firstBlock, isCausal: false)
        let encoded = try model.encode(model.embed(ids), mask: ids .!= 0, pass: pass)
        let query = try encoded.mean([1], keep: true)
        let memory = try model.memory(encoded, mask: ids .!= 0)
        var hidden = try model.embed(Tensor([0, 0], [2, 1]))
        hidden = try model.decode(hidden, memory: memory, layers: 0..<layer, pass: pass)
        let prompt = try Self.prompt(query, Self.visual())
        let types = try Self.parameter("token_type_embeddings.weight", [2, 16])
        hidden = try .concatenated([prompt + types.selected(0, 1), hidden + types.selected(0, 0)], 1)
        hidden = try model.decode(hidden, memory: memory, layers: layer..<3, pass: pass)
        let feature = try model.decoder.normed(hidden).selected(1, -1)
        let values = try feature.doubles()
        let found = try Self.sums(feature)
        #expect(abs(found.sum - sum) < 1e-4 && abs(found.absolute - absolute) < 5e-4, "\(found)")
        #expect(abs(values[0] - first) < 1e-4 && abs(values[1] - second) < 1e-4)
    }

    @Test("t5-base has 222,903,552 parameters") func size() throws {
        var configuration = T5Configuration()
        (configuration.hiddenSize, configuration.feedForwardSize, configuration.heads) = (768, 3072, 12)
        (configuration.layers, configuration.decoderLayers) = (12, 12)
        #expect(try T5(configuration).parameters().reduce(0) { $0 + $1.tensor.count } == 222_903_552)
    }
}
