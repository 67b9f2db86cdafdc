import Backbones
import Methods
import Support
import Testing
import Torch

/// DVP's specification, section 9.1, for LLaMA, and what holds for every decoder.
@Suite(.serialized) struct DVPDecoderTests {
    static let shape = {
        var configuration = DecoderConfiguration()
        (configuration.vocabularySize, configuration.hiddenSize, configuration.layers) = (32, 32, 3)
        (configuration.heads, configuration.keyValueHeads, configuration.headSize) = (4, 4, 8)
        (configuration.intermediateSize, configuration.positions) = (48, 64)
        configuration.rotary.headSize = 8
        configuration.windows = [nil, nil, nil]
        return configuration
    }()

    static func settings(_ layer: Int, _ base: DVPSettings = .released) -> DVPSettings {
        var settings = base
        (settings.insertLayer, settings.usesAdapters) = (layer, true)
        (settings.innerSize, settings.heads, settings.adapterReduction, settings.headSize) = (8, 2, 16, 4)
        return settings
    }

    static func model(_ layer: Int, _ base: DVPSettings = .released) throws -> DVP {
        try DVPReference.filled(
            DVP(.decoder(Decoder(shape)), visualSize: 16, classes: 7, settings(layer, base)))
    }

    static func decoder(of model: DVP) throws -> Decoder {
        guard case .decoder(let decoder) = model.language else {
            throw VQAError("no decoder", because: "it is another")
        }
        return decoder
    }

    /// Padded on the left, as ours are; the specification's rows are padded on the right, which must not matter.
    static func text() throws -> (ids: Tensor, mask: Tensor) {
        let ids = try Tensor([1, 5, 9, 11, 12, 2, 0, 0, 1, 7, 8, 2], [2, 6])
        return (ids, try ids .!= 0)
    }

    static let table: [DVPReference.Row] = [
        DVPReference.Row(
            layer: 0, query: [-0.701527, 8.124536], prompt: [3.271663, 24.454549],
            feature: [-1.783738, 53.190763, 0.365329, 0.765241], logits: [0.563809, 2.687772],
            loss: 5.002742),
        DVPReference.Row(
            layer: 1, query: [-3.330791, 70.373699], prompt: [5.437143, 37.382529],
            feature: [-1.782663, 53.194076, 0.364816, 0.765967], logits: [0.563805, 2.687746],
            loss: 5.002743),
        DVPReference.Row(
            layer: 2, query: [-5.446292, 92.443452], prompt: [6.117506, 42.038745],
            feature: [-1.782383, 53.195300, 0.364805, 0.765982], logits: [0.563803, 2.687738],
            loss: 5.002742),
    ]

    @Test("every stage equals the specification's numbers", arguments: table) func forward(
        _ row: DVPReference.Row
    ) throws {
        let (ids, mask) = try Self.text()
        let output = try Self.model(row.layer)(ids, mask: mask, visual: DVPReference.visual())
        try DVPReference.expect(output, row)
    }

    @Test("with a residual, the query is added to the prompt", arguments: [1, 3]) func residual(
        _ prompts: Int
    ) throws {
        let (ids, mask) = try Self.text()
        let outputs = try [false, true].map { added in
            var settings = Self.settings(1)
            (settings.promptTokens, settings.hasPromptResidual) = (prompts, added)
            let model = try DVPReference.filled(
                DVP(.decoder(Decoder(Self.shape)), visualSize: 16, classes: 7, settings))
            let offsets = try model.parameters().first { $0.key.hasPrefix("prompt_queries") }?.tensor
            let output = try model(ids, mask: mask, visual: DVPReference.visual())
            return (output: output, added: try offsets.map { try output.query + $0 } ?? output.query)
        }
        let difference = try (outputs[1].output.prompt - outputs[0].output.prompt).floats()
        let expected = try outputs[1].added.expanded([2, prompts, 32]).contiguous().floats()
        for (x, y) in zip(difference, expected) { #expect(abs(x - y) < 1e-4) }
        #expect(try outputs[0].output.logits.floats() != outputs[1].output.logits.floats())
    }

    @Test("a sample's logits do not depend on the batch or on padding", arguments: [1, 3])
    func batchInvariance(_ prompts: Int) throws {
        let (ids, mask) = try Self.text()
        let visual = try DVPReference.visual()
        var settings = Self.settings(1, .fixed)
        settings.promptTokens = prompts
        let model = try DVPReference.filled(
            DVP(.decoder(Decoder(Self.shape)), visualSize: 16, classes: 7, settings))
        let both = try model(ids, mask: mask, visual: visual).logits.selected(0, 1).floats()
        let alone = try model(
            ids.sliced(0, 1, 2).sliced(1, 2), mask: nil, visual: visual.sliced(0, 1, 2)
        ).logits.floats()
        for (x, y) in zip(both, alone) { #expect(abs(x - y) < 1e-5) }
    }

    @Test("the last positions alone equal the last of all", arguments: [1, 2, 4]) func tail(_ count: Int)
        throws
    {
        let (ids, mask) = try Self.text()
        let decoder = try Self.decoder(of: Self.model(0))
        for mask in [mask, nil] {
            let embedded = try decoder.embed(ids)
            let all = try decoder.hidden(embedded, mask: mask)
            let some = try decoder.hidden(embedded, mask: mask, tail: count)
            #expect(some.shape == [2, count, 32])
            for (x, y) in try zip(all.sliced(1, 6 - count).floats(), some.floats()) {
                #expect(abs(x - y) < 1e-5)
            }
        }
    }

    @Test("at layer 0 the query is the raw embedding of the end") func constantQuery() throws {
        let (ids, mask) = try Self.text()
        let model = try Self.model(0)
        let query = try model(ids, mask: mask, visual: DVPReference.visual()).query
        let decoder = try Self.decoder(of: model)
        let end = try decoder.embed(Tensor([2], [1, 1])).floats()
        #expect(try query.selected(0, 0).floats() == end && query.selected(0, 1).floats() == end)
    }

    @Test("parameter counts at LLaMA-7B size equal the specification's") func counts() throws {
        var settings = DVPSettings.released
        settings.usesAdapters = true
        var llama = DecoderConfiguration()
        llama.windows = Array(repeating: nil, count: llama.layers)
        for (classes, head) in [(3129, 3_703_865), (1843, 3_044_147), (3, 2_100_227)] {
            let model = try DVP(.decoder(Decoder(llama)), visualSize: 768, classes: classes, settings)
            let all = try model.parameters()
            func count(_ selected: (String) -> Bool) -> Int {
                all.filter { selected($0.key) }.reduce(0) { $0 + $1.tensor.count }
            }
            #expect(count { $0.hasPrefix("vqa_classifier.") } == head)
            guard classes == 3129 else { continue }
            #expect(count { $0.hasPrefix("adapter_modules.0.") } == 528_448)
            #expect(count { $0.hasPrefix("adapter_modules.") } == 33_820_672)
            #expect(count { $0.hasPrefix("cross_attn.") } == 4_986_368)
            #expect(count { $0.hasPrefix("llama_model.") && model.isTrained($0) } == 266_240)
            #expect(count(model.isTrained) == 42_777_145)
        }
        let search = try DVP(
            .decoder(Decoder(llama)), visualSize: 768, classes: 3, settings, searching: Array(0..<32))
        let options = try search.parameters().filter { $0.key.hasPrefix("cross_attn_options.") }
        #expect(options.reduce(0) { $0 + $1.tensor.count } == 159_563_776)
    }

    @Test("a prompt norm brings the prompt to the size of its query") func promptNorm() throws {
        let (ids, mask) = try Self.text()
        var settings = Self.settings(1, .fixed)
        settings.hasPromptNorm = true
        var model = try DVPReference.filled(
            DVP(.decoder(Decoder(Self.shape)), visualSize: 16, classes: 7, settings))
        try model.forEachParameter { slot, tensor in
            if slot.key == "prompt_norm.weight" { tensor = try .ones(tensor.shape) }
        }
        let output = try model(ids, mask: mask, visual: DVPReference.visual())
        let prompt = try output.prompt.square().mean([-1]).floats()
        let query = try output.query.square().mean([-1]).floats()
        for (x, y) in zip(prompt, query) { #expect(abs(x - y) < 1e-3 * y) }
    }
}
