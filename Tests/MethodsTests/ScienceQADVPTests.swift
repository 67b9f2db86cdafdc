import Backbones
import Checkpoints
import Images
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
        for (name, shape) in shapes { weights[name] = try DVPReference.parameter(name, shape) }
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
            weights[name] = try DVPReference.parameter(root + name, shape)
        }
        try put("class_embedding", [8])
        try put("positional_embedding", [5, 8])
        try put("proj", [8, 8])
        try put("conv1.weight", [8, 3, 4, 4])
        for name in ["ln_pre", "ln_post"] {
            for kind in ["weight", "bias"] { try put("\(name).\(kind)", [8]) }
        }
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
                tensor = try DVPReference.parameter(slot.key, tensor.shape)
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
        let found = try DVPReference.sums(tensor)
        let isNear =
            tensor.shape == shape && DVPReference.near(found.sum, sum)
            && DVPReference.near(found.abs, absolute)
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

    /// Gradients of the loss, by key.
    static func gradients(_ settings: ScienceQASettings) throws -> [String: Double] {
        var model = try ScienceQAWorld.model(1, settings)
        try model.setTrainable(ScienceQADVP.isTrained)
        try model(ScienceQAWorld.examples, pixels: ScienceQAWorld.pixels()).loss.backward()
        var found: [String: Double] = [:]
        for parameter in try model.trainableParameters() {
            if let gradient = try parameter.tensor.gradient() {
                found[parameter.key] = try DVPReference.sums(gradient).abs
            }
        }
        return found
    }

    @Test(
        "as released nothing teaches the cross-attention and the slot; repaired, the cross-attention learns")
    func promptGradients() throws {
        let released = try Self.gradients(.released)
        let prompt = released.filter { $0.key.hasPrefix("cross_attn") || $0.key == "image_params" }
        #expect(prompt.count >= 8 && prompt.values.allSatisfy { $0 == 0 })
        let fixed = try Self.gradients(.fixed)
        for map in ["q", "k", "v", "merge"] {
            #expect(try #require(fixed["cross_attn.linear_\(map).weight"]) > 1e-6, "\(map)")
        }
        // The softmax does not see a constant added to every score.
        #expect(try #require(fixed["cross_attn.linear_k.bias"]) < 1e-8)
        for found in [released, fixed] {
            for part in [
                "layers.2.adapter_attn.conv_D.weight", "adapter_proj.conv_A.weight",
                "adapter_modality_embedding.weight", "layers.0.adapter_attn.expert_weights.weight",
                "backbone.visual.transformer.resblocks.0.adapter_attn.conv_B.weight",
            ] {
                #expect(try #require(found[part]) > 0, "\(part)")
            }
        }
    }

    @Test("as released the loss does not depend on the cross-attention") func blindRelease() throws {
        var model = try ScienceQAWorld.model(1, .released)
        try model.forEachParameter { slot, tensor in
            if slot.key.hasPrefix("cross_attn") { tensor = try tensor * 7 + 1 }
        }
        let loss = try model(ScienceQAWorld.examples, pixels: ScienceQAWorld.pixels()).loss.item()
        #expect(try loss == Self.loss(ScienceQAWorld.model(1, .released), [0, 1]))
    }

    /// The loss of a batch of the two examples, each with the image of its own place.
    static func loss(_ model: ScienceQADVP, _ order: [Int]) throws -> Double {
        let pixels = try ScienceQAWorld.pixels().selected(0, indices: Tensor(order))
        return try model(order.map { ScienceQAWorld.examples[$0] }, pixels: pixels).loss.item()
    }

    @Test("repaired, a problem does not depend on its batch; as released it does") func batches() throws {
        let pixels = try ScienceQAWorld.pixels()
        for (settings, isSame) in [(ScienceQASettings.fixed, true), (.released, false)] {
            let model = try ScienceQAWorld.model(1, settings)
            // The problem with the image stands second.
            let examples = [1, 0].map { ScienceQAWorld.examples[$0] }
            let both = try model(examples, pixels: pixels.flipped([0])).hidden
            let alone = try model([ScienceQAWorld.examples[0]], pixels: pixels.sliced(0, 0, 1)).hidden
            let other = try model(
                examples, pixels: Tensor.concatenated([pixels.sliced(0, 1) * 3, pixels.sliced(0, 0, 1)], 0)
            ).hidden
            for found in [both, other] {
                let pairs = try zip(found.selected(0, 1).floats(), alone.floats())
                let worst = pairs.map { abs($0 - $1) }.max() ?? .infinity
                #expect(isSame ? worst < 1e-5 : worst > 1e-5, "\(worst)")
            }
        }
    }

    @Test("a problem without image needs no pixels, and the repaired tower is not asked") func textOnly()
        throws
    {
        let model = try ScienceQAWorld.model(1, .fixed)
        let output = try model([ScienceQAWorld.examples[1]], pixels: nil)
        #expect(output.sight == nil && output.prompt == nil)
        let shown = try model([ScienceQAWorld.examples[1]], pixels: ScienceQAWorld.pixels().sliced(0, 1))
        #expect(try output.loss.item() == shown.loss.item() && shown.sight == nil)
        #expect(throws: VQAError.self) { try model(ScienceQAWorld.examples, pixels: nil) }
    }

    @Test("repaired, the image and the layer of the prompt matter; the query is the text's") func sees()
        throws
    {
        let model = try ScienceQAWorld.model(1, .fixed)
        let examples = [ScienceQAWorld.examples[0]]
        let pixels = try ScienceQAWorld.pixels().sliced(0, 0, 1)
        var zeroed = model
        try zeroed.forEachParameter { slot, tensor in
            if slot.key == "cross_attn.linear_merge.weight" { tensor = try tensor * 0 }
        }
        let prompts = try [pixels, pixels * 0].map { try zeroed(examples, pixels: $0).prompt?.floats() }
        #expect(prompts[0] == prompts[1])
        #expect(
            try model(examples, pixels: pixels).loss.item() != zeroed(examples, pixels: pixels).loss.item())
    }

    @Test("what is longer than the sequence is cut, and a batch without answers costs nothing") func cut()
        throws
    {
        let model = try ScienceQAWorld.model(1, .fixed) { $0.maxLength = 19 }
        let pixels = try ScienceQAWorld.pixels()
        // Modality, first token, 3 pieces, 6 class tokens, slot, 5 of the prompt: 2 of the answer are left.
        let whole = ScienceQAWorld.examples[0]
        var short = whole
        short.ids.removeLast(2)
        let (cut, given) = (
            try model([whole], pixels: pixels.sliced(0, 0, 1)),
            try model([short], pixels: pixels.sliced(0, 0, 1))
        )
        #expect(try cut.loss.item() == given.loss.item() && cut.hidden.shape == [1, 19, 16])
        short.ids.removeLast(2)
        #expect(try model([short], pixels: pixels.sliced(0, 0, 1)).loss.item() == 0)
    }

    @Test("parameter counts at full size equal the specification's") func counts() throws {
        var text = DecoderConfiguration()
        text.windows = Array(repeating: nil, count: 32)
        var vision = CLIPVisionConfiguration()
        (vision.patchSize, vision.hiddenSize, vision.layers, vision.heads) = (14, 1024, 24, 16)
        (vision.intermediateSize, vision.projectionSize) = (4096, 768)
        let model = try ScienceQADVP(
            Decoder(text), CLIPVision(vision), prefix: ScienceQAWorld.prefix, .released)
        let all = try model.parameters().filter { ScienceQADVP.isTrained($0.key) }
        func count(_ prefixes: String...) -> Int {
            all.filter { parameter in prefixes.contains { parameter.key.hasPrefix($0) } }
                .reduce(0) { $0 + $1.tensor.count }
        }
        #expect(count("") == 9_033_904)
        #expect(count("layers.") == 2_621_760 && count("backbone.visual.") == 491_760)
        #expect(count("adapter_proj.") == 659_584 && count("adapter_modality_embedding.") == 8_192)
        #expect(count("image_params") == 4_096 && count("cross_attn.") == 5_248_512)
        #expect(count("") - count("image_params", "cross_attn.") == 3_781_296)
        #expect(try model.added.parameters().map(\.key) == all.map(\.key))
        var search = ScienceQASettings.released
        search.searchLayers = Array(0..<32)
        let arms = try ScienceQADVP(Decoder(text), CLIPVision(vision), prefix: ScienceQAWorld.prefix, search)
        let keys = try arms.added.parameters().filter { $0.key.hasPrefix("cross_attn_options.") }
        #expect(keys.count == 32 * 8 && keys.last?.key == "cross_attn_options.31.linear_merge.bias")
    }

    @Test("adapters are the identity at first") func identity() throws {
        let settings = ScienceQAWorld.settings(.fixed, layer: 1)
        var model = try ScienceQADVP(
            ScienceQAWorld.decoder(), ScienceQAWorld.tower(), prefix: ScienceQAWorld.prefix, settings)
        try model.initialize(seed: 3)
        let pixels = try ScienceQAWorld.pixels()
        let plain = try ScienceQAWorld.tower()(pixels).floats()
        let adapted = try model.see(pixels).tokens.floats()
        for (x, y) in zip(plain, adapted) { #expect(abs(x - y) < 1e-5) }
    }

    @Test("a checkpoint of the release is read, strictly") func checkpoint() throws {
        let source = try ScienceQAWorld.model(1, .released)
        var weights: [String: Tensor] = [:]
        for parameter in try source.added.parameters() {
            weights["module." + parameter.key] = parameter.tensor
        }
        #expect(weights["module.layers.0.adapter_attn.conv_B.weight"]?.shape == [16, 2, 1])
        var model = try ScienceQADVP(
            ScienceQAWorld.decoder(), ScienceQAWorld.tower(), prefix: ScienceQAWorld.prefix,
            ScienceQAWorld.settings(.released, layer: 1))
        try model.loadTrained(weights, from: "checkpoint-19.pth")
        #expect(try Self.loss(model, [0, 1]) == Self.loss(source, [0, 1]))
        weights["module.image_params"] = nil
        let error = #expect(throws: VQAError.self) {
            try model.loadTrained(weights, from: "checkpoint-19.pth")
        }
        #expect(error?.description.contains("image_params") == true)
    }

    @Test("settings that do not fit are refused in one line") func refused() {
        let faults: [(String, (inout ScienceQASettings) -> Void)] = [
            ("insert_layer", { $0.insertLayer = 3 }), ("insert_layer", { $0.insertLayer = -1 }),
            ("adapter_dim", { $0.adapterWidth = 3 }), ("adapter_dim", { $0.adapterWidth = 0 }),
            ("num_heads", { $0.heads = 3 }), ("num_heads", { $0.heads = 0 }),
            ("hidden_proj", { $0.projectionWidth = 0 }), ("hidden_proj", { $0.routerTemperature = 0 }),
            ("class_token_interval", { $0.classTokenInterval = 25 }),
            ("class_token_interval", { $0.classTokenInterval = 0 }), ("max_seq_len", { $0.maxLength = 12 }),
        ]
        for (name, change) in faults {
            let error = #expect(throws: VQAError.self) { _ = try ScienceQAWorld.model(1, .fixed, change) }
            #expect(error?.description.contains(name) == true)
        }
    }

    @Test("presets differ where the release is repaired, and images are scaled as they say") func presets() {
        let (released, fixed) = (ScienceQASettings.released, ScienceQASettings.fixed)
        #expect(released.insertLayer == 4 && released.adapterWidth == fixed.adapterWidth)
        #expect(
            released.choosing == .sampled(temperature: 0.1, topP: 0.75, seed: 0) && fixed.choosing == .greedy)
        #expect(released.imageProcessor(size: 224).name != fixed.imageProcessor(size: 224).name)
    }
}
