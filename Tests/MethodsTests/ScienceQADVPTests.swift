import Backbones
import Checkpoints
import Methods
import Support
import Testing
import Torch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The small model of section 9.1 of DVP's specification.
enum ScienceQAWorld {
    static let params: JSON = [
        "dim": 16, "n_layers": 3, "n_heads": 4, "vocab_size": -1, "multiple_of": 16, "norm_eps": 1e-5,
    ]

    /// LLaMA's weights under its authors' names.
    static func meta() throws -> [String: Tensor] {
        var shapes = [
            "tok_embeddings.weight": [40, 16], "norm.weight": [16], "output.weight": [40, 16],
        ]
        for layer in 0..<3 {
            for name in ["wq", "wk", "wv", "wo"] {
                shapes["layers.\(layer).attention.\(name).weight"] = [16, 16]
            }
            shapes["layers.\(layer).feed_forward.w1.weight"] = [48, 16]
            shapes["layers.\(layer).feed_forward.w2.weight"] = [16, 48]
            shapes["layers.\(layer).feed_forward.w3.weight"] = [48, 16]
            for name in ["attention_norm", "ffn_norm"] { shapes["layers.\(layer).\(name).weight"] = [16] }
        }
        var weights: [String: Tensor] = [:]
        for (name, shape) in shapes { weights[name] = try DVPBERTTests.parameter(name, shape) }
        return weights
    }

    static func decoder() throws -> Decoder {
        let shape = try DecoderConfiguration(meta: params, vocabularySize: 40, source: "params.json")
        var decoder = try Decoder(shape)
        try decoder.load(Decoder.renamed(meta: [meta()], shape, source: "test"), from: "test")
        return decoder
    }

    static func tower() throws -> CLIPVision {
        let root = "backbone.visual."
        var weights: [String: Tensor] = [:]
        func put(_ name: String, _ shape: [Int]) throws {
            weights[name] = try DVPBERTTests.parameter(root + name, shape)
        }
        try put("class_embedding", [8])
        try put("positional_embedding", [5, 8])
        try put("proj", [8, 8])
        try put("conv1.weight", [8, 3, 4, 4])
        for name in ["ln_pre", "ln_post"] { for kind in ["weight", "bias"] { try put("\(name).\(kind)", [8]) } }
        for index in 0..<24 {
            let block = "transformer.resblocks.\(index)."
            for (name, out, input) in [
                ("attn.in_proj_", 24, 8), ("attn.out_proj.", 8, 8), ("mlp.c_fc.", 32, 8),
                ("mlp.c_proj.", 8, 32),
            ] {
                try put(block + name + "weight", [out, input])
                try put(block + name + "bias", [out])
            }
            for name in ["ln_1", "ln_2"] {
                for kind in ["weight", "bias"] { try put("\(block)\(name).\(kind)", [8]) }
            }
        }
        var tower = try CLIPVision(CLIPVisionConfiguration(openAI: weights, headSize: 4, source: "test"))
        try tower.load(CLIPVision.renamed(weights), from: "test")
        return tower
    }

    static func settings(_ base: ScienceQASettings, layer: Int) -> ScienceQASettings {
        var settings = base
        settings.insertLayer = layer
        (settings.adapterWidth, settings.projectionWidth) = (4, 4)
        (settings.attentionWidth, settings.heads) = (8, 2)
        settings.maxLength = 40
        return settings
    }

    static let prefix = ScienceQAPrefix(image: [30, 31, 32], none: [30, 31, 33, 34])

    static func model(
        _ layer: Int, _ base: ScienceQASettings, _ change: (inout ScienceQASettings) -> Void = { _ in }
    ) throws -> ScienceQADVP {
        var settings = settings(base, layer: layer)
        change(&settings)
        var model = try ScienceQADVP(decoder(), tower(), prefix: prefix, settings)
        try model.forEachParameter { slot, tensor in
            if ScienceQADVP.isTrained(slot.key) {
                tensor = try DVPBERTTests.parameter(slot.key, tensor.shape)
            }
        }
        return model
    }

    static let examples = [
        ScienceQAExample(ids: [1, 5, 6, 7, 8, 9, 11, 12, 13, 2], promptLength: 5, hasImage: true),
        ScienceQAExample(ids: [1, 15, 16, 17, 21, 22, 2], promptLength: 3, hasImage: false),
    ]

    static func pixels() throws -> Tensor {
        try Tensor((0..<384).map { Float(sin(0.05 * Double($0))) }, [2, 3, 8, 8])
    }
}

@Suite(.serialized) struct ScienceQADVPTests {
    static func near(_ tensor: Tensor?, _ shape: [Int], _ sum: Double, _ absolute: Double) throws -> Bool {
        let tensor = try #require(tensor)
        let found = try DVPBERTTests.sums(tensor)
        let isNear =
            tensor.shape == shape && DVPBERTTests.near(found.sum, sum)
            && DVPBERTTests.near(found.abs, absolute)
        if !isNear { print("shape \(tensor.shape), sums \(found)") }
        return isNear
    }

    @Test("class tokens, visual tokens, query and prompt equal the specification's") func stages() throws {
        let model = try ScienceQAWorld.model(1, .released)
        let output = try withoutGradients {
            try model(ScienceQAWorld.examples, pixels: ScienceQAWorld.pixels())
        }
        #expect(try Self.near(output.sight?.classTokens, [2, 6, 8], -117.858039, 607.580421))
        #expect(try Self.near(output.sight?.tokens, [2, 5, 8], -104.853104, 668.963565))
        #expect(try Self.near(output.sight?.projected, [2, 6, 16], -3.644878, 77.577780))
        #expect(try Self.near(output.query, [2, 1, 16], -0.116460, 3.363404))
        #expect(try Self.near(output.prompt, [2, 1, 16], -1.683487, 31.297469))
    }

    @Test(
        "losses equal the specification's, with the mask as released and repaired",
        arguments: [(0, 3.616734), (1, 3.619011), (2, 3.610855)])
    func losses(_ layer: Int, _ fixed: Double) throws {
        let released = try ScienceQAWorld.model(layer, .released)
        let copied = try ScienceQAWorld.model(layer, .released) { $0.slotMask = .copied }
        let found = try [released, copied].map {
            try $0(ScienceQAWorld.examples, pixels: ScienceQAWorld.pixels()).loss.item()
        }
        #expect(abs(found[0] - 3.597821) < 1e-5, "\(found)")
        #expect(abs(found[1] - fixed) < 1e-5, "\(found)")
    }
}
