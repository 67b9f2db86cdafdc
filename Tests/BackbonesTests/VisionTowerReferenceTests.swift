import Backbones
import Checkpoints
import Support
import Testing
import Torch

/// Tiny image towers against the reference; made by Tools/goldens/vision.py.
@Suite(.serialized) struct VisionTowerReferenceTests {
    // MARK: CLIP

    static func clip(_ part: VisionPart, _ change: (inout CLIPVisionConfiguration) -> Void = { _ in }) throws
        -> CLIPVision
    {
        var configuration = try CLIPVisionConfiguration(part.json(), source: part.name)
        configuration.projectionSize = 0
        change(&configuration)
        var tower = try CLIPVision(configuration)
        try tower.load(CLIPVision.renamed(part.weights), from: part.name)
        return tower
    }

    @Test("CLIP: every hidden state and the gradient of the one before the last equal the reference")
    func clipStates() throws {
        let part = try VisionPart("clip")
        let tower = try Self.clip(part)
        let pixels = try VisionPart.waves([2, 3, 20, 20])
        for layer in 0...4 {
            let state = try tower.features(pixels, layers: [layer], classToken: true)
            #expect(try part.matches(state, "state.\(layer)"))
            let same = try tower.features(pixels, layers: [layer - 5], classToken: true)
            #expect(try same.bytes() == state.bytes())
        }
        let features = try tower.features(pixels)
        #expect(features.shape == [2, 16, 21])
        try features.sin().sum().backward()
        #expect(try part.matches(pixels.gradient(), "gradient"))
        try part.checkTaps(layers: 4) { try tower(pixels, tap: $0) }
    }

    @Test("CLIP: hidden states are joined in the order asked for, and layers above do not run")
    func clipSelection() throws {
        let part = try VisionPart("clip")
        let tower = try Self.clip(part)
        let pixels = try VisionPart.waves([2, 3, 20, 20])
        let joined = try tower.features(pixels, layers: [-2, 1])
        let (third, first) = (
            try #require(part.tensors["expected.state.3"]), part.tensors["expected.state.1"]
        )
        let wanted = try Tensor.concatenated([third, #require(first)], 2).sliced(1, 1)
        #expect(try ReferenceTests.close(joined, wanted))
        var ran: Set<Int> = []
        let tap = Tap([.blockInput]) { _, layer, tensor in
            ran.insert(layer)
            return tensor
        }
        _ = try tower.features(pixels, tap: tap)
        #expect(ran == [0, 1, 2])
        for wrong in [[5], [-6], []] {
            #expect(throws: TorchError.self) { _ = try tower.features(pixels, layers: wrong) }
        }
    }

    @Test("CLIP: images of another size are taken only when positions may be interpolated")
    func clipInterpolation() throws {
        let part = try VisionPart("clip")
        let pixels = try VisionPart.waves([1, 3, 15, 30])
        let error = #expect(throws: TorchError.self) { _ = try Self.clip(part)(pixels) }
        #expect(error?.description.contains("3 × 6") == true)
        let tower = try Self.clip(part) { $0.interpolatesPositions = true }
        #expect(try part.matches(tower(pixels), "interpolated"))
    }

    @Test(
        "CLIP: the tower is found wherever it stands",
        arguments: [
            "", "vision_model.", "vision_tower.vision_model.", "model.vision_tower.",
            "model.vision_tower.vision_tower.vision_model.",
            "base_model.model.model.vision_tower.vision_tower.vision_model.",
        ])
    func clipPrefixes(_ prefix: String) throws {
        let part = try VisionPart("clip")
        let names = try CLIPVision.renamed(prefix.isEmpty ? part.weights : part.weights(under: prefix))
        let plain = try Self.clip(part).parameters()
        #expect(Set(names.keys) == Set(plain.map(\.key)))
    }

    @Test("CLIP: of a damaged file the loading names the one key that is missing") func clipDamaged() throws {
        let part = try VisionPart("clip")
        var weights = try part.weights(under: "vision_model.")
        weights["vision_model.embeddings.patch_embedding.weight"] = nil
        let names = try CLIPVision.renamed(weights)
        var tower = try Self.clip(part)
        let error = #expect(throws: VQAError.self) { try tower.load(names, from: "m") }
        #expect(error?.description.contains("embeddings.patch_embedding.weight") == true)
        #expect(error?.description.contains("layer_norm1") == false)
        try checkStrict(tower, CLIPVision.renamed(part.weights))
    }

    // MARK: Idefics

    @Test("Idefics: image tower, resampler and gradient equal the reference") func idefics() throws {
        let part = try VisionPart("idefics")
        let json = try part.json()
        let configuration = try CLIPVisionConfiguration(idefics: json, source: part.name)
        var tower = try CLIPVision(configuration)
        try tower.load(CLIPVision.renamed(part.weights(under: "model.")), from: part.name)
        let shape = try #require(try IdeficsPerceiverConfiguration(json, source: part.name))
        var resampler = try IdeficsPerceiver(shape)
        let weights = part.below("weight.perceiver_resampler.")
        try checkStrict(resampler, weights)
        try resampler.load(weights, from: part.name)
        let pixels = try VisionPart.waves([2, 3, 20, 20])
        let hidden = try tower(pixels)
        #expect(try part.matches(hidden, "hidden"))
        let resampled = try resampler(hidden)
        #expect(try part.matches(resampled, "resampled"))
        try resampled.sin().sum().backward()
        #expect(try part.matches(pixels.gradient(), "gradient"))
        let context = try hidden.detached()
        try part.checkTaps(layers: 2) { try resampler(context, tap: $0) }
    }

    @Test("Idefics: positions are interpolated with the reference's margin") func ideficsInterpolation()
        throws
    {
        let part = try VisionPart("idefics")
        var configuration = try CLIPVisionConfiguration(idefics: part.json(), source: part.name)
        configuration.interpolatesPositions = true
        var tower = try CLIPVision(configuration)
        try tower.load(CLIPVision.renamed(part.weights), from: part.name)
        #expect(try part.matches(tower(VisionPart.waves([1, 3, 15, 30])), "interpolated"))
    }

    // MARK: SigLIP and Idefics2

    @Test("Idefics2: padded images of several sizes, connector and gradient equal the reference")
    func idefics2() throws {
        let part = try VisionPart("idefics2")
        let json = try part.json()
        var tower = try SigLIPVision(SigLIPVisionConfiguration(idefics2: json, source: part.name))
        let weights = SigLIPVision.renamed(try part.weights(under: "model."))
        try checkStrict(tower, weights)
        try tower.load(weights, from: part.name)
        let shape = try Idefics2ConnectorConfiguration(json, source: part.name)
        #expect(shape.normEpsilon == 1e-5)
        var connector = try Idefics2Connector(shape)
        try checkStrict(connector, part.below("weight.connector."))
        try connector.load(part.below("weight.connector."), from: part.name)

        let pixels = try VisionPart.waves([3, 3, 32, 27])
        let mask = try tower.patchMask(part.input("shown"))
        #expect(try mask.bytes() == part.tensors["expected.mask"]?.bytes())
        let hidden = try tower(pixels, mask: mask)
        #expect(try part.matches(hidden, "hidden"))
        let soft = try connector(hidden, mask: mask)
        #expect(try part.matches(soft, "soft"))
        try soft.sin().sum().backward()
        #expect(try part.matches(pixels.gradient(), "gradient"))
        try part.checkTaps(layers: 2) { try tower(pixels, mask: mask, tap: $0) }
        let context = try hidden.detached()
        try part.checkTaps("connector.", layers: 2) { try connector(context, mask: mask, tap: $0) }
    }

    @Test("Idefics2: one image that fills its canvas needs no mask") func idefics2Whole() throws {
        let part = try VisionPart("idefics2")
        let json = try part.json()
        var tower = try SigLIPVision(SigLIPVisionConfiguration(idefics2: json, source: part.name))
        try tower.load(SigLIPVision.renamed(part.weights), from: part.name)
        var connector = try Idefics2Connector(Idefics2ConnectorConfiguration(json, source: part.name))
        try connector.load(part.below("weight.connector."), from: part.name)
        let pixels = try VisionPart.waves([1, 3, 20, 35])
        let hidden = try tower(pixels)
        #expect(try part.matches(hidden, "whole"))
        #expect(try part.matches(connector(hidden), "whole_soft"))
        let all = try Tensor.ones([1, 4, 7], .bool)
        #expect(try tower(pixels, mask: all).bytes() == hidden.bytes())
        #expect(throws: TorchError.self) { _ = try tower(pixels, mask: .ones([1, 7, 4], .bool)) }
    }

    @Test("Idefics2: position ids of every count of patches equal the reference's, ties included")
    func idefics2Positions() throws {
        let part = try VisionPart("positions")
        let wanted = try #require(part.tensors["expected.ids"])
        for count in 1...70 {
            let rows = try SigLIPVision.positionIDs(.ones([1, count, 1], .bool), side: 70).integers()
            let golden = try wanted.selected(0, count - 1).sliced(0, 0, count).integers()
            #expect(rows == golden, "\(count) rows")
            let columns = try SigLIPVision.positionIDs(.ones([1, 1, count], .bool), side: 70).integers()
            #expect(columns == golden.map { $0 / 70 }, "\(count) columns")
        }
        let fifty = try SigLIPVision.positionIDs(.ones([1, 1, 50], .bool), side: 70).integers()
        #expect([5, 10, 15, 20, 30, 40].map { fifty[$0] } == [6, 13, 20, 27, 41, 55])
        let empty = try SigLIPVision.positionIDs(.zeros([1, 2, 3], .bool), side: 70).integers()
        #expect(empty == [0, 0, 0, 0, 0, 0])
    }

    @Test("SigLIP: hidden states, attention pooling and gradient equal the reference") func siglip() throws {
        let part = try VisionPart("siglip")
        var tower = try SigLIPVision(SigLIPVisionConfiguration(part.json(), source: part.name))
        try checkStrict(tower, SigLIPVision.renamed(part.weights))
        try tower.load(SigLIPVision.renamed(part.weights(under: "vision_model.")), from: part.name)
        let pixels = try VisionPart.waves([2, 3, 20, 20])
        let hidden = try tower(pixels)
        #expect(try part.matches(hidden, "hidden"))
        let pooled = try #require(try tower.pooled(hidden))
        #expect(try part.matches(pooled, "pooled"))
        try pooled.sin().sum().backward()
        #expect(try part.matches(pixels.gradient(), "gradient"))
        try part.checkTaps(layers: 2) { try tower(pixels, tap: $0) }
        #expect(throws: TorchError.self) { _ = try tower(VisionPart.waves([1, 3, 15, 20])) }
    }

    // MARK: EVA-CLIP

    static func eva(_ part: VisionPart, _ weights: [String: Tensor]) throws -> EVAVision {
        let configuration = try EVAVisionConfiguration(part.json(), source: part.name)
        var tower = try EVAVision(configuration)
        try tower.load(EVAVision.renamed(weights, configuration), from: part.name)
        return tower
    }

    /// The same weights under LAVIS's names, with one block more and a classifier.
    static func lavis(_ part: VisionPart, prefix: String) throws -> [String: Tensor] {
        var result = ["head.weight", "blocks.2.norm1.weight", "blocks.2.attn.q_bias"].reduce(
            into: [String: Tensor]()
        ) { $0[prefix + $1] = try? .zeros([3]) }
        for (name, tensor) in part.weights {
            var key = name
            for (ours, theirs) in [
                ("embeddings.class_embedding", "cls_token"), ("embeddings.position_embedding", "pos_embed"),
                ("embeddings.patch_embedding.", "patch_embed.proj."), ("encoder.layers.", "blocks."),
            ] where name.hasPrefix(ours) { key = theirs + name.dropFirst(ours.count) }
            let parts = key.split(separator: ".").map {
                ["layer_norm1": "norm1", "layer_norm2": "norm2", "self_attn": "attn", "projection": "proj"][
                    $0]
                    ?? String($0)
            }
            key = parts.joined(separator: ".")
            if key.hasSuffix("attn.qkv.bias") {
                let block = prefix + key.dropLast("qkv.bias".count)
                result[block + "q_bias"] = try tensor.sliced(0, 0, 21)
                result[block + "v_bias"] = try tensor.sliced(0, 42)
            } else if key.hasPrefix("post_layernorm.") {
                result["ln_vision." + key.dropFirst("post_layernorm.".count)] = tensor
            } else {
                result[prefix + key] = tensor
            }
        }
        return result
    }

    @Test("EVA-CLIP: hidden states and gradient equal the reference") func evaStates() throws {
        let part = try VisionPart("eva")
        let tower = try Self.eva(part, part.weights(under: "model.vision_model."))
        try checkStrict(tower, part.weights)
        let pixels = try VisionPart.waves([2, 3, 20, 20])
        let hidden = try tower(pixels)
        #expect(try part.matches(hidden, "hidden"))
        try hidden.sin().sum().backward()
        #expect(try part.matches(pixels.gradient(), "gradient"))
        try part.checkTaps(layers: 2) { try tower(pixels, tap: $0) }
    }

    @Test("EVA-CLIP: LAVIS's layout gives the same model", arguments: ["visual_encoder.", ""])
    func evaLAVIS(_ prefix: String) throws {
        let part = try VisionPart("eva")
        let tower = try Self.eva(part, Self.lavis(part, prefix: prefix))
        for (a, b) in zip(try tower.parameters(), try Self.eva(part, part.weights).parameters()) {
            #expect(try a.key == b.key && a.tensor.bytes() == b.tensor.bytes(), "\(a.key)")
        }
    }

    @Test("EVA-CLIP: another grid of positions is resampled, in the model or on loading")
    func evaInterpolation() throws {
        let part = try VisionPart("eva")
        var configuration = try EVAVisionConfiguration(part.json(), source: part.name)
        configuration.interpolatesPositions = true
        var tower = try EVAVision(configuration)
        try tower.load(EVAVision.renamed(part.weights, configuration), from: part.name)
        #expect(try part.matches(tower(VisionPart.waves([1, 3, 15, 30])), "interpolated"))
        // A larger image in the model, or the same table made larger from LAVIS's file.
        let pixels = try VisionPart.waves([1, 3, 30, 30])
        let inside = try tower(pixels)
        configuration.imageSize = 30
        configuration.interpolatesPositions = false
        var large = try EVAVision(configuration)
        try large.load(
            EVAVision.renamed(Self.lavis(part, prefix: "visual_encoder."), configuration), from: part.name)
        #expect(try ReferenceTests.close(large(pixels), inside))
    }
}
