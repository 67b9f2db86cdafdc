import Backbones
import Checkpoints
import Support
import Testing
import Torch

/// What joins image towers to language models, against the reference; made by Tools/goldens/vision.py.
@Suite(.serialized) struct JointReferenceTests {
    // MARK: Q-Former

    static func joint(_ part: VisionPart, _ weights: [String: Tensor]) throws -> QFormerJoint {
        var joint = try QFormerJoint(QFormerConfiguration(part.json(), source: part.name), outputSize: 23)
        try joint.load(QFormerJoint.renamed(weights), from: part.name)
        return joint
    }

    @Test("Q-Former: masked text and image, soft tokens and gradients equal the reference") func qformer()
        throws
    {
        let part = try VisionPart("qformer")
        var joint = try Self.joint(part, part.weights)
        try checkStrict(joint, QFormerJoint.renamed(part.weights))
        try joint.setTrainable { $0 == "query_tokens" }
        let image = try VisionPart.waves([2, 6, 25])
        let (ids, mask, shown) = (try part.input("ids"), try part.input("mask"), try part.input("shown"))
        let rows = try joint.qformer(
            queries: joint.queryTokens, text: ids, textMask: mask, image: image, imageMask: shown)
        #expect(try part.matches(rows, "rows"))
        let soft = try joint(image, text: ids, textMask: mask, imageMask: shown)
        #expect(try part.matches(soft, "soft"))
        try soft.sin().sum().backward()
        #expect(try part.matches(image.gradient(), "gradient"))
        #expect(try part.matches(joint.queryTokens.gradient(), "query_gradient"))
        let seen = try image.detached()
        let frozen = try Self.joint(part, part.weights)
        try part.checkTaps(layers: 3) {
            try frozen(seen, text: ids, textMask: mask, imageMask: shown, tap: $0)
        }
    }

    @Test("Q-Former: without padding no mask is needed") func qformerUnmasked() throws {
        let part = try VisionPart("qformer")
        let joint = try Self.joint(part, part.weights)
        let image = try VisionPart.waves([2, 6, 25]).sliced(0, 0, 1)
        let ids = try part.input("ids").sliced(0, 0, 1)
        let rows = try joint.qformer(queries: joint.queryTokens, text: ids, image: image)
        #expect(try part.matches(rows, "unmasked"))
        let masked = try joint.qformer(
            queries: joint.queryTokens, text: ids, textMask: .ones([1, 7], .bool), image: image,
            imageMask: .ones([1, 6], .bool))
        #expect(try masked.bytes() == rows.bytes())
    }

    @Test("Q-Former: LAVIS's names give the same model", arguments: ["llm_proj", "t5_proj"])
    func qformerLAVIS(_ projection: String) throws {
        let part = try VisionPart("qformer")
        var weights = [
            "Qformer.cls.predictions.bias": try Tensor.zeros([3]),
            "Qformer.bert.embeddings.position_ids": try .zeros([1, 11], .int64),
            "ln_vision.weight": try .zeros([2]),
        ]
        for (name, tensor) in part.weights {
            let parts = name.split(separator: ".").map(String.init)
            let renamed = parts.enumerated().map { index, part in
                switch part {
                case "qformer": "Qformer.bert"
                case "attention" where ["attention", "crossattention"].contains(parts[index - 1]): "self"
                case "layernorm": "LayerNorm"
                case "language_projection": projection
                default: part
                }
            }
            weights[renamed.joined(separator: ".")] = tensor
        }
        #expect(weights["Qformer.bert.encoder.layer.0.crossattention.self.query.weight"] != nil)
        let old = try Self.joint(part, weights)
        for (a, b) in zip(try old.parameters(), try Self.joint(part, part.weights).parameters()) {
            #expect(try a.key == b.key && a.tensor.bytes() == b.tensor.bytes(), "\(a.key)")
        }
    }

    @Test("Q-Former: BLIP-2's reads no text") func blip2() throws {
        let part = try VisionPart("blip2")
        var model = try QFormer(QFormerConfiguration(part.json(), source: part.name))
        try checkStrict(model, part.weights)
        var prefixed: [String: Tensor] = [:]
        for (key, tensor) in part.weights { prefixed["qformer." + key] = tensor }
        try model.load(QFormer.renamed(prefixed), from: part.name)
        let image = try VisionPart.waves([2, 6, 25])
        let queries = try part.input("queries")
        let rows = try model(queries: queries, image: image)
        #expect(try part.matches(rows, "rows"))
        try rows.sin().sum().backward()
        #expect(try part.matches(image.gradient(), "gradient"))
        try part.checkTaps(layers: 3) { try model(queries: queries, image: image, tap: $0) }
        let error = #expect(throws: TorchError.self) {
            _ = try model(queries: queries, text: Tensor([1, 2], [2, 1]), image: image)
        }
        #expect(error?.description.contains("reads no text") == true)
    }

    @Test("every part computes in bf16 what it computes in float32, roughly, from float32 inputs")
    func halfPrecision() throws {
        func check<Model: Module>(_ name: String, _ model: Model, _ run: (Model) throws -> Tensor) throws {
            var half = model
            try half.convertFrozen(to: .bfloat16)
            let (found, wanted) = (try run(half), try run(model))
            #expect(found.dtype == .bfloat16, "\(name)")
            #expect(try ReferenceTests.close(found, wanted, 0.1), "\(name)")
        }
        let pixels = try VisionPart.waves([1, 3, 15, 30]).detached()
        let clip = try VisionTowerReferenceTests.clip(VisionPart("clip")) { $0.interpolatesPositions = true }
        try check("clip", clip) { try $0(pixels) }
        let part = try VisionPart("qformer")
        let (image, ids, mask) = (try part.input("image"), try part.input("ids"), try part.input("mask"))
        try check("qformer", Self.joint(part, part.weights)) {
            try $0(image, text: ids, textMask: mask)
        }
        let two = try VisionPart("idefics2")
        var tower = try SigLIPVision(SigLIPVisionConfiguration(idefics2: two.json(), source: two.name))
        try tower.load(SigLIPVision.renamed(two.weights), from: two.name)
        try check("siglip", tower) { try $0(pixels) }
        let hidden = try tower(pixels)
        var connector = try Idefics2Connector(Idefics2ConnectorConfiguration(two.json(), source: two.name))
        try connector.load(two.below("weight.connector."), from: two.name)
        let shown = try (Tensor.arange(0, 18) .< 15.0).reshaped([1, 3, 6])
        try check("connector", connector) { try $0(hidden, mask: shown) }
        let eva = try VisionPart("eva")
        let square = try VisionPart.waves([1, 3, 20, 20]).detached()
        try check("eva", VisionTowerReferenceTests.eva(eva, eva.weights)) {
            try $0(square)
        }
        let one = try VisionPart("idefics")
        let shape = try #require(try IdeficsPerceiverConfiguration(one.json(), source: one.name))
        var perceiver = try IdeficsPerceiver(shape)
        try perceiver.load(one.below("weight.perceiver_resampler."), from: one.name)
        let tokens = try #require(one.tensors["expected.hidden"])
        try check("perceiver", perceiver) { try $0(tokens) }
    }

    // MARK: Resampler and projectors

    @Test("Flamingo's resampler equals a plain implementation's") func flamingo() throws {
        let part = try VisionPart("flamingo")
        var model = try FlamingoPerceiver(18, latents: 5, depth: 2, heads: 3, headSize: 5)
        let weights = part.below("input.weights.")
        try checkStrict(model, weights)
        var prefixed = ["lang_encoder.other.weight": try Tensor.zeros([2])]
        for (key, tensor) in weights { prefixed["perceiver." + key] = tensor }
        try model.load(FlamingoPerceiver.renamed(prefixed), from: part.name)
        let context = try VisionPart.waves([2, 7, 18])
        let latents = try model(context)
        #expect(try part.matches(latents, "latents"))
        try latents.sin().sum().backward()
        #expect(try part.matches(context.gradient(), "gradient"))
        var calls = 0
        let same = try model(
            context,
            tap: Tap([.headOutput, .attentionOutput, .mlpOutput, .finalNorm]) { _, _, tensor in
                calls += 1
                return tensor
            })
        #expect(try same.bytes() == latents.bytes() && calls == 7)
        let other = try model(
            context, tap: Tap([.attentionOutput]) { _, layer, x in layer == 1 ? try x * 0 : x })
        #expect(try other.bytes() != latents.bytes())
    }

    @Test(
        "projector: the reference's and LLaVA's names give its soft tokens",
        arguments: ["multi_modal_projector.", "model.multi_modal_projector.", "model.mm_projector."])
    func projector(_ prefix: String) throws {
        let part = try VisionPart("projector")
        let configuration = try ProjectorConfiguration(
            part.json(), imageSize: 14, outputSize: 19, source: part.name)
        #expect(configuration.inputSize == 28)
        var projector = try Projector(configuration)
        var weights = ["vision_tower.vision_model.post_layernorm.weight": try Tensor.zeros([2])]
        for (name, tensor) in part.weights {
            let key = prefix.contains("mm_") ? name.replacing(["linear_1": "0", "linear_2": "2"]) : name
            weights[prefix + key] = tensor
        }
        try projector.load(Projector.renamed(weights), from: part.name)
        try checkStrict(projector, Projector.renamed(weights))
        let tokens = try VisionPart.waves([2, 5, 28])
        let soft = try projector(tokens)
        #expect(try part.matches(soft, "soft"))
        try soft.sin().sum().backward()
        #expect(try part.matches(tokens.gradient(), "gradient"))
    }

    @Test("projector: the types of LLaVA have its keys and shapes") func projectorTypes() throws {
        for (type, keys) in [
            ("identity", []), ("linear", ["weight", "bias"]),
            ("mlp1x_gelu", ["weight", "bias"]),
            ("mlp3x_gelu", ["0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"]),
        ] {
            let output = type == "identity" ? 7 : 9
            var projector = try Projector(
                ProjectorConfiguration(type: type, inputSize: 7, outputSize: output, source: "config.json"))
            #expect(try projector.parameters().map(\.key) == keys)
            try projector.initialize(seed: 1)
            let tokens = try Tensor.normal([2, 3, 7], Generator(seed: 2))
            let soft = try projector(tokens)
            #expect(soft.shape == [2, 3, output])
            if type == "identity" { #expect(try soft.bytes() == tokens.bytes()) }
        }
    }
}

extension String {
    fileprivate func replacing(_ names: [String: String]) -> String {
        split(separator: ".").map { names[String($0)] ?? String($0) }.joined(separator: ".")
    }
}
