import Backbones
import Methods
import Support
import Testing
import Torch

/// DVP's specification, section 9.1, for T5, and what is repaired there.
@Suite(.serialized) struct DVPT5Tests {
    static let shape = {
        var configuration = T5Configuration()
        (configuration.vocabularySize, configuration.hiddenSize, configuration.headSize) = (32, 16, 4)
        (configuration.feedForwardSize, configuration.heads) = (32, 4)
        (configuration.layers, configuration.decoderLayers) = (3, 3)
        return configuration
    }()

    static func model(_ layer: Int, adapters: Bool, _ base: DVPSettings = .released) throws -> DVP {
        var settings = base
        (settings.insertLayer, settings.usesAdapters) = (layer, adapters)
        return try DVPReference.filled(DVP(.t5(T5(shape)), visualSize: 16, classes: 7, settings))
    }

    static func text() throws -> (ids: Tensor, mask: Tensor) {
        let ids = try Tensor([4, 5, 9, 11, 1, 0, 0, 0, 2, 7, 8, 1, 0, 0, 0, 0], [2, 8])
        return (ids, try ids .!= 0)
    }

    private static let plain = (query: [-0.172446, 18.082044], prompt: [0.443390, 23.291846])
    private static let adapted = (query: [-6.205854, 22.315648], prompt: [0.973116, 29.259743])

    static let table: [DVPReference.Row] = [
        DVPReference.Row(
            layer: 0, adapters: false, query: plain.query, prompt: plain.prompt,
            feature: [-5.436448, 26.146191, -0.777284, 0.079404], logits: [-0.108750, 17.480554],
            loss: 6.436969),
        DVPReference.Row(
            layer: 1, adapters: false, query: plain.query, prompt: plain.prompt,
            feature: [-4.766013, 26.022884, 0.061016, -0.575843], logits: [-0.047138, 15.368948],
            loss: 6.138729),
        DVPReference.Row(
            layer: 2, adapters: false, query: plain.query, prompt: plain.prompt,
            feature: [-4.731261, 26.444390, 0.133136, -0.601275], logits: [-0.026152, 14.649656],
            loss: 6.041487),
        DVPReference.Row(
            layer: 0, adapters: true, query: adapted.query, prompt: adapted.prompt,
            feature: [-4.746592, 28.059059, 0.578836, 0.735402], logits: [0.110399, 10.093713],
            loss: 5.474761),
        DVPReference.Row(
            layer: 1, adapters: true, query: adapted.query, prompt: adapted.prompt,
            feature: [-4.663490, 27.112063, 0.811504, 0.540539], logits: [0.112603, 10.039427],
            loss: 5.467539),
        DVPReference.Row(
            layer: 2, adapters: true, query: adapted.query, prompt: adapted.prompt,
            feature: [-4.691768, 26.955668, 0.827351, 0.514400], logits: [0.113102, 10.025559],
            loss: 5.465895),
    ]

    @Test("every stage equals the specification's numbers", arguments: table) func forward(
        _ row: DVPReference.Row
    ) throws {
        let (ids, mask) = try Self.text()
        let output = try Self.model(row.layer, adapters: row.adapters)(
            ids, mask: mask, visual: DVPReference.visual())
        try DVPReference.expect(output, row)
    }

    @Test("the encoder is the release's with the bias in one block, and the stock one with it in all")
    func encoder() throws {
        let (ids, mask) = try Self.text()
        guard case .t5(let t5) = try Self.model(0, adapters: false).language else {
            throw VQAError("no T5", because: "it is another")
        }
        let released = try t5.encode(t5.embed(ids), mask: mask, pass: T5Pass(bias: .firstBlock))
        try DVPReference.expect(released, -1.379569, 214.004403)
        try DVPReference.expect(t5.encode(t5.embed(ids), mask: mask), -1.337460, 213.907190)
    }

    @Test("`fixed` reads the valid tokens alone: padding does not matter") func padding() throws {
        let (ids, mask) = try Self.text()
        let visual = try DVPReference.visual()
        let model = try Self.model(1, adapters: true, .fixed)
        let padded = try model(ids, mask: mask, visual: visual)
        let cut = try model(ids.sliced(1, 0, 5), mask: mask.sliced(1, 0, 5), visual: visual)
        for (x, y) in try zip(padded.logits.floats(), cut.logits.floats()) { #expect(abs(x - y) < 1e-5) }
        let released = try Self.model(1, adapters: true)
        let a = try released(ids, mask: mask, visual: visual).query.floats()
        let b = try released(ids.sliced(1, 0, 5), mask: mask.sliced(1, 0, 5), visual: visual).query.floats()
        #expect(zip(a, b).contains { abs($0 - $1) > 1e-3 })
    }

    @Test("the query is the same for every layer") func query() throws {
        let (ids, mask) = try Self.text()
        let visual = try DVPReference.visual()
        let queries = try (0..<3).map {
            try Self.model($0, adapters: true)(ids, mask: mask, visual: visual).query.floats()
        }
        #expect(queries[0] == queries[1] && queries[1] == queries[2])
    }

    @Test("parameter counts at T5-base size equal the specification's") func counts() throws {
        var base = T5Configuration()
        (base.hiddenSize, base.feedForwardSize, base.heads) = (768, 3072, 12)
        (base.layers, base.decoderLayers) = (12, 12)
        var settings = DVPSettings.released
        settings.usesAdapters = true
        let model = try DVP(.t5(T5(base)), visualSize: 768, classes: 3129, settings)
        let all = try model.parameters()
        func count(_ selected: (String) -> Bool) -> Int {
            all.filter { selected($0.key) }.reduce(0) { $0 + $1.tensor.count }
        }
        #expect(count { $0.hasPrefix("t5_model.") } == 222_903_552)
        #expect(count { $0.contains("coder_adapter.") } == 8_899_200)
        #expect(count { $0.hasPrefix("t5_model.") && model.isTrained($0) } == 47_616)
        #expect(count(model.isTrained) == 17_304_249)
        #expect(Set(all.map(\.key).filter { $0.contains("decoder_adapter") }).count == 36 * 4)
    }

    @Test("`fixed` trains nothing of the encoder, nor of the decoder below the prompt") func trained() throws
    {
        let model = try Self.model(2, adapters: true, .fixed)
        let keys = try model.trainableParameters().map(\.key)
        #expect(!keys.contains { $0.hasPrefix("encoder_adapter") || $0.hasPrefix("t5_model.encoder") })
        #expect(keys.contains("t5_model.decoder.block.2.layer.0.layer_norm.weight"))
        #expect(!keys.contains("t5_model.decoder.block.1.layer.0.layer_norm.weight"))
        #expect(keys.contains("t5_model.decoder.final_layer_norm.weight"))
        let adapters = Set(
            keys.filter { $0.hasPrefix("decoder_adapter") }.map { $0.split(separator: ".")[1] })
        #expect(adapters == ["6", "7", "8"])
    }
}
