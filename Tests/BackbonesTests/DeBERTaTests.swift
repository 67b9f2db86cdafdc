import Backbones
import Checkpoints
import Support
import Testing
import Torch

/// Tiny DeBERTa-v2/v3 against what transformers computes with them; made by Tools/goldens/deberta.py.
@Suite(.serialized) struct DeBERTaTests {
    static let cases = ["v3-short", "v3-long", "v2-short", "v2-long", "plain-short"]

    static func tensors(_ name: String) throws -> [String: Tensor] {
        try ReferenceTests.tensors("deberta/\(name).safetensors")
    }

    static func configuration(_ name: String) throws -> DeBERTaConfiguration {
        let path = ReferenceTests.fixture("deberta/\(name)/config.json")
        return try DeBERTaConfiguration(JSON(contentsOf: path), source: path)
    }

    /// The model of a case: `v3` for `v3-short`.
    static func model(_ name: String) throws -> DeBERTa {
        let folder = String(name.prefix { $0 != "-" })
        return try DeBERTa(folder: ReferenceTests.fixture("deberta/\(folder)"))
    }

    static func close(_ found: Tensor?, _ wanted: Tensor?) throws -> Bool {
        try ReferenceTests.close(found, wanted)
    }

    @Test("buckets equal the reference's at every distance") func buckets() throws {
        let expected = try Self.tensors("buckets")
        let distances = try #require(expected["distances"])
        for (count, maximum) in [(256, 512), (8, 40), (5, 100)] {
            var relative = DeBERTaConfiguration.Relative()
            (relative.buckets, relative.maximumDistance) = (count, maximum)
            let found = try DeBERTa.bucket(distances, relative).integers()
            #expect(try found == expected["\(count).\(maximum)"]?.integers(), "\(count)")
        }
    }

    @Test("every state, tap and input gradient of padded batches equals the reference", arguments: cases)
    func states(_ name: String) throws {
        let model = try Self.model(name)
        let expected = try Self.tensors(name)
        let ids = try #require(expected["ids"])
        let mask = try ids .!= 0
        let embedded = try model.embeddings(ids, mask: mask, segments: expected["segments"]).detached()
        #expect(try Self.close(embedded, expected["state.0"]))
        try embedded.requireGradient()
        var found: [String: Tensor] = [:]
        let tap = Tap(Set(TapSite.allCases)) { site, layer, tensor in
            found["\(site.rawValue).\(layer)"] = tensor
            return tensor
        }
        let hidden = try model.encode(embedded, mask: mask, layers: 0..<model.layers.count, tap: tap)
        for layer in 0..<model.layers.count {
            #expect(try Self.close(found["blockOutput.\(layer)"], expected["state.\(layer + 1)"]), "\(layer)")
            for (site, key) in [
                ("headOutput", "heads"), ("attentionOutput", "attention"), ("mlpOutput", "mlp"),
            ] {
                #expect(
                    try Self.close(found["\(site).\(layer)"], expected["tap.\(layer).\(key)"]),
                    "\(site) \(layer)")
            }
        }
        let weight = try Tensor.arange(0, Double(hidden.count), .float32).sin().reshaped(hidden.shape)
        try (hidden * weight).sum().backward()
        #expect(try Self.close(embedded.gradient(), expected["gradient"]))
        let whole = try model(ids, mask: mask, segments: expected["segments"])
        #expect(try Self.close(whole, hidden))
    }

    @Test(
        "real tokens depend neither on the padding nor on what padding gets",
        arguments: ["v3-long", "v2-long"])
    func padding(_ name: String) throws {
        let model = try Self.model(name)
        let ids = try #require(Self.tensors(name)["ids"])
        let mask = try ids .!= 0
        let mean = try model(ids, mask: mask)
        let zero = try model(ids, mask: mask, padding: .zero)
        #expect(try mean.floats() != zero.floats())
        for row in 0..<3 {
            let length = try mask.selected(0, row).to(.int64).sum().integerItem()
            let alone = try model(ids.sliced(0, row, row + 1).sliced(1, 0, length))
            for padded in [mean, zero] {
                #expect(try Self.close(padded.sliced(0, row, row + 1).sliced(1, 0, length), alone), "\(row)")
            }
        }
    }

    @Test("ranges of layers one after another equal the whole") func ranges() throws {
        let model = try Self.model("v2")
        let ids = try Tensor([4, 5, 6, 7], [1, 4])
        let embedded = try model.embeddings(ids)
        var hidden = try model.encode(embedded, layers: 0..<1)
        hidden = try model.encode(hidden, layers: 1..<2)
        #expect(try hidden.floats() == model(ids).floats())
        #expect(throws: TorchError.self) { try model.encode(embedded, layers: 1..<3) }
        #expect(throws: TorchError.self) { try model.encode(embedded, layers: -1..<1) }
        #expect(throws: TorchError.self) { try model.encode(ids, layers: 0..<1) }
    }

    @Test(
        "an identity tap changes nothing, a replaced tensor reaches the output", arguments: TapSite.allCases)
    func taps(_ site: TapSite) throws {
        // It norms after every block and attends to nothing but itself.
        guard site != .finalNorm, site != .crossAttentionOutput else { return }
        let model = try Self.model("v2")
        let ids = try Tensor([4, 5, 6, 7], [1, 4])
        let plain = try model(ids).floats()
        var calls = 0
        let same = Tap([site]) { _, _, tensor in
            calls += 1
            return tensor
        }
        #expect(try model(ids, tap: same).floats() == plain && calls == 2)
        let other = Tap([site]) { _, layer, x in layer == 1 ? try x * 0 : x }
        #expect(try model(ids, tap: other).floats() != plain)
    }

    /// The rule of the numbers below: element i of a tensor is 0.1 · sin(0.37 i + 0.11 s), s the sum of its name's bytes
    /// mod 1000; 1 more for the scales of norms.
    static func byRule(_ model: inout DeBERTa) throws {
        try model.forEachParameter { slot, tensor in
            let sum = Double(slot.key.utf8.reduce(0) { $0 + Int($1) } % 1000)
            let shape = tensor.shape
            let waves = try (Tensor.arange(0, Double(tensor.count), .float64) * 0.37 + 0.11 * sum).sin() * 0.1
            let isScale = shape.count == 1 && slot.key.hasSuffix(".weight")
            tensor = try (isScale ? waves + 1 : waves).to(.float32).reshaped(shape)
        }
    }

    @Test("an encoder of given weights equals the numbers measured with the release of Q&A Prompts")
    func release() throws {
        var configuration = DeBERTaConfiguration()
        (configuration.vocabularySize, configuration.hiddenSize, configuration.embeddingSize) = (11, 16, 16)
        (configuration.layers, configuration.heads, configuration.intermediateSize) = (2, 2, 32)
        var relative = DeBERTaConfiguration.Relative()
        (relative.buckets, relative.maximumDistance) = (4, 16)
        configuration.relative = relative
        let distances = try DeBERTa.bucket(.arange(0, 7), relative)
        #expect(try distances.integers() == [0, 1, 2, 3, 3, 3, 3])
        var model = try DeBERTa(configuration)
        try Self.byRule(&model)
        let ids = try Tensor([1, 5, 6, 7, 8, 9, 2, 1, 5, 6, 2, 0, 0, 0], [2, 7])
        let hidden = try model(ids, mask: ids .!= 0, padding: .zero)
        let values = try hidden.floats()
        let wanted: [Float] = [
            2.439867, 2.119027, 1.205552, 0.170521, 1.056476, 0.986244, 0.298364, -0.811593,
        ]
        for (found, number) in zip(values.prefix(4) + values.suffix(4), wanted) {
            #expect(abs(found - number) < 1e-4)
        }
        #expect(abs(values.reduce(0, +) + 4.01734) < 1e-3)
        #expect(abs(values.reduce(0) { $0 + $1 * $1 } - 246.48403) < 1e-2)
    }

    @Test("published files load: prefix, heads and an unused position table are left out") func published()
        throws
    {
        let weights = try Self.tensors("v3/model")
        var file = Dictionary(uniqueKeysWithValues: weights.map { ("deberta." + $0.key, $0.value) })
        file["deberta.embeddings.position_embeddings.weight"] = try .zeros([40, 24])
        file["lm_predictions.lm_head.bias"] = try .zeros([39])
        file["mask_predictions.dense.weight"] = try .zeros([3])
        let joined = Dictionary(uniqueKeysWithValues: weights.map { ("text_encoder." + $0.key, $0.value) })
            .merging(["query_tokens": try .zeros([2])]) { first, _ in first }
        let configuration = try Self.configuration("v3")
        let plain = try Self.model("v3").parameters()
        for (weights, prefix) in [(file, nil), (joined, "text_encoder.")] as [([String: Tensor], String?)] {
            let read = try DeBERTa(configuration, weights: weights, prefix: prefix, source: "m").parameters()
            #expect(read.map(\.key) == plain.map(\.key))
            for (a, b) in zip(read, plain) { #expect(try a.tensor.bytes() == b.tensor.bytes()) }
        }
        file["deberta.encoder.layer.0.output.dense.bias"] = nil
        let error = #expect(throws: VQAError.self) { try DeBERTa(configuration, weights: file, source: "m") }
        #expect(error?.description.contains("encoder.layer.0.output.dense.bias") == true)
    }

    @Test("deberta-v3-base has 183,831,552 parameters") func size() throws {
        let count = try DeBERTa(DeBERTaConfiguration()).parameters().reduce(0) { $0 + $1.tensor.count }
        #expect(count == 183_831_552)
    }

    @Test("a text longer than the position table is an error") func tooLong() throws {
        let model = try Self.model("plain")
        let ids = try Tensor(Array(repeating: 3, count: 24), [1, 24])
        let error = #expect(throws: VQAError.self) { try model(ids) }
        #expect(error?.description.contains("23") == true)
    }

    @Test("a configuration that is not computed is refused by name") func refusals() throws {
        for (text, word) in [
            (#"{"model_type":"deberta"}"#, "version 1"), (#"{"model_type":"bert"}"#, "bert"),
            (#"{"hidden_act":"relu"}"#, "relu"), (#"{"pos_att_type":"c2p|p2p"}"#, "p2p"),
            (#"{"num_attention_heads":7}"#, "multiple"),
            (#"{"attention_head_size":10}"#, "attention_head_size"),
            (#"{"conv_kernel_size":4}"#, "odd"), (#"{"conv_kernel_size":3,"conv_act":"swish"}"#, "swish"),
            (#"{"relative_attention":true,"position_buckets":1}"#, "position_buckets"),
            (#"{"relative_attention":true,"position_buckets":256,"max_relative_positions":100}"#, "100"),
            (#"{"num_hidden_layers":1000000}"#, "1000000"), (#"{"type_vocab_size":"x"}"#, "type_vocab_size"),
        ] {
            let json = try JSON(parsing: Array(text.utf8), source: "config.json")
            let error = #expect(throws: VQAError.self, "\(text)") {
                _ = try DeBERTaConfiguration(json, source: "config.json")
            }
            #expect(error?.description.contains(word) == true, "\(text)")
        }
    }

    @Test("bfloat16 weights and autocast come near; a row without real tokens stays finite") func precision()
        throws
    {
        var model = try Self.model("v3")
        let ids = try Tensor([4, 5, 6, 0, 0, 0, 7, 8, 0], [3, 3])
        func run() throws -> Tensor { try model(ids, mask: ids .!= 0).to(.float32) }
        let plain = try run()
        #expect(try plain.isFinite().all().integerItem() == 1)
        let cast = try withAutocast(.bfloat16) { try run() }
        #expect(try (cast - plain).abs().max().item() < 0.1 * plain.abs().max().item())
        try model.convertFrozen(to: .bfloat16)
        #expect(try (run() - plain).abs().max().item() < 0.1 * plain.abs().max().item())
    }
}
