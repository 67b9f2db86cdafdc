import Backbones
import Checkpoints
import Support
import Testing
import Torch

/// Tiny models against what transformers computes with them; made by Tools/goldens/backbones.py.
@Suite(.serialized) struct ReferenceTests {
    static func fixture(_ name: String) -> String {
        let tests = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        return "/\(tests)/Fixtures/Backbones/\(name)"
    }

    /// A folder of the data beside the project, nil when it is not there.
    static func shared(_ name: String) -> String? {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let path = "/\(root)/../shared/data/\(name)"
        return isFolder(path) ? path : nil
    }

    static func close(_ found: Tensor?, _ wanted: Tensor?, _ tolerance: Float = 1e-4) throws -> Bool {
        guard let found, let wanted, found.shape == wanted.shape else { return false }
        return zip(try found.floats(), try wanted.floats()).allSatisfy {
            abs($0 - $1) <= tolerance * max(1, abs($1))
        }
    }

    static func tensors(_ name: String) throws -> [String: Tensor] {
        try Checkpoint(opening: fixture(name)).tensors()
    }

    static func bert() throws -> BERT {
        let folder = fixture("bert")
        let configuration = try BERTConfiguration(JSON(contentsOf: folder + "/config.json"), source: folder)
        var bert = try BERT(configuration)
        try bert.load(BERT.renamed(tensors("bert/model.safetensors")), from: folder)
        return bert
    }

    @Test("BERT: every layer, the pooler and the input gradient equal the reference") func bertStates() throws
    {
        let bert = try Self.bert()
        let expected = try Self.tensors("bert/expected.safetensors")
        let ids = try #require(expected["ids"])
        let mask = try ids .!= 0
        let embedded = try bert.embeddings(ids, segments: expected["segments"]).detached()
        try embedded.requireGradient()
        #expect(try Self.close(embedded, expected["state.0"]))
        var states: [Int: Tensor] = [:]
        let tap = Tap([.blockOutput]) { _, layer, tensor in
            states[layer] = tensor
            return tensor
        }
        let hidden = try bert.encode(embedded, mask: mask, layers: 0..<3, tap: tap)
        for layer in 0..<3 {
            #expect(try Self.close(states[layer], expected["state.\(layer + 1)"]), "layer \(layer)")
        }
        #expect(try Self.close(bert.pooled(hidden), expected["pooled"]))
        let weight = try Tensor.arange(0, Double(hidden.count), .float32).sin().reshaped(hidden.shape)
        try (hidden * weight * mask.unsqueezed(2).to(.float32)).sum().backward()
        #expect(try Self.close(embedded.gradient(), expected["gradient"]))
    }

    @Test("BERT: old key names load to the same model") func bertOldNames() throws {
        let folder = Self.fixture("bert")
        var configuration = try BERTConfiguration(JSON(contentsOf: folder + "/config.json"), source: folder)
        configuration.hasPooler = true
        var old = try BERT(configuration)
        try old.load(BERT.renamed(Self.tensors("bert/old_names.safetensors")), from: folder)
        let new = try Self.bert()
        for (a, b) in zip(try old.parameters(), try new.parameters()) {
            #expect(a.key == b.key)
            #expect(try a.tensor.bytes() == b.tensor.bytes())
        }
    }

    @Test("BERT: loading is strict") func bertStrict() throws {
        let weights = try BERT.renamed(Self.tensors("bert/model.safetensors"))
        var bert = try Self.bert()
        var missing = weights
        missing["encoder.layer.1.output.dense.weight"] = nil
        var error = #expect(throws: VQAError.self) { try bert.load(missing, from: "m") }
        #expect(error?.description.contains("encoder.layer.1.output.dense.weight") == true)
        var unused = weights
        unused["encoder.layer.9.output.dense.weight"] = try .zeros([2])
        error = #expect(throws: VQAError.self) { try bert.load(unused, from: "m") }
        #expect(error?.description.contains("encoder.layer.9") == true)
        var misshapen = weights
        misshapen["pooler.dense.bias"] = try .zeros([31])
        error = #expect(throws: VQAError.self) { try bert.load(misshapen, from: "m") }
        #expect(error?.description.contains("31") == true && error?.description.contains("30") == true)
    }

    @Test(
        "BERT: an identity tap changes nothing, a replaced tensor reaches the output",
        arguments: TapSite.allCases)
    func bertTaps(_ site: TapSite) throws {
        // BERT norms after every block and has no last one; nor does it attend to anything else.
        guard site != .finalNorm, site != .crossAttentionOutput else { return }
        let bert = try Self.bert()
        let ids = try Tensor([2, 5, 9, 3], [1, 4])
        let mask = try ids .!= 0
        let plain = try bert(ids, mask: mask).floats()
        var calls = 0
        let same = try bert(
            ids, mask: mask,
            tap: Tap([site]) { _, _, tensor in
                calls += 1
                return tensor
            }
        ).floats()
        #expect(same == plain && calls == 3)
        let other = try bert(ids, mask: mask, tap: Tap([site]) { _, layer, x in layer == 1 ? try x * 0 : x })
            .floats()
        #expect(other != plain)
    }

    @Test("CLIP: both key layouts give the reference's features", arguments: ["model", "openai"])
    func clip(_ file: String) throws {
        let expected = try Self.tensors("clip/expected.safetensors")
        let weights = try Self.tensors("clip/\(file).safetensors")
        let config = Self.fixture("clip/config.json")
        let configuration =
            try file == "model"
            ? CLIPVisionConfiguration(JSON(contentsOf: config), source: config)
            : CLIPVisionConfiguration(openAI: CLIPVision.visualPart(of: weights), headSize: 8, source: file)
        var tower = try CLIPVision(configuration)
        try tower.load(CLIPVision.renamed(weights), from: file)
        let images = try Tensor.arange(0, 2400, .float32)
        let pixels = try (images * 0.05).sin().reshaped([2, 3, 20, 20]).detached()
        try pixels.requireGradient()
        let hidden = try tower(pixels)
        #expect(try Self.close(hidden, expected["hidden"]))
        let pooled = try tower.pooled(hidden)
        #expect(try Self.close(pooled, expected["pooled"]))
        try pooled.sin().sum().backward()
        #expect(try Self.close(pixels.gradient(), expected["gradient"]))
    }

    @Test("CLIP: every tap site is reached", arguments: TapSite.allCases) func clipTaps(_ site: TapSite)
        throws
    {
        guard site != .crossAttentionOutput else { return }  // it attends to nothing but itself
        let config = Self.fixture("clip/config.json")
        var tower = try CLIPVision(CLIPVisionConfiguration(JSON(contentsOf: config), source: config))
        try tower.load(CLIPVision.renamed(Self.tensors("clip/model.safetensors")), from: config)
        let pixels = try Tensor.normal([1, 3, 20, 20], Generator(seed: 3))
        let plain = try tower.pooled(tower(pixels)).floats()
        let same = Tap([site]) { _, _, tensor in tensor }
        #expect(try tower.pooled(tower(pixels, tap: same), tap: same).floats() == plain)
        let zero = Tap([site]) { _, _, tensor in try tensor * 0 }
        #expect(try tower.pooled(tower(pixels, tap: zero), tap: zero).floats() != plain)
    }

    @Test("a configuration that is not computed is refused by name") func refusedConfigurations() throws {
        for (text, word) in [
            (#"{"hidden_act":"relu"}"#, "relu"), (#"{"hidden_size":30,"num_attention_heads":4}"#, "multiple"),
            (#"{"hidden_size":-1}"#, "-1"), (#"{"position_embedding_type":"relative_key"}"#, "relative_key"),
        ] {
            let json = try JSON(parsing: Array(text.utf8), source: "config.json")
            let error = #expect(throws: VQAError.self) {
                _ = try BERTConfiguration(json, source: "config.json")
            }
            #expect(error?.description.contains(word) == true)
        }
    }
}
