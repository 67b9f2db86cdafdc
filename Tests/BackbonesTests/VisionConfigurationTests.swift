import Backbones
import Support
import Testing
import Torch

/// What a published `config.json` leaves out, and what is refused.
@Suite struct VisionConfigurationTests {
    @Test("CLIP: a missing key has the default of the reference's class") func clipDefaults() throws {
        let plain = try CLIPVisionConfiguration(parsed("{}"), source: "c")
        #expect(
            plain.patchSize == 32 && plain.imageSize == 224 && plain.layers == 12
                && plain.projectionSize == 512)
        #expect(plain.activation == .quickGelu && plain.normEpsilon == 1e-5)
        let llava = try CLIPVisionConfiguration(parsed(#"{"model_type":"llava"}"#), source: "c")
        #expect(
            llava.imageSize == 336 && llava.patchSize == 14 && llava.layers == 24 && llava.hiddenSize == 1024)
        let idefics = try CLIPVisionConfiguration(
            idefics: parsed(#"{"hidden_size":4096,"vision_config":{"embed_dim":1280}}"#), source: "c")
        #expect(idefics.hiddenSize == 1280 && idefics.layers == 32 && idefics.heads == 16)
        #expect(
            idefics.intermediateSize == 5120 && idefics.activation == .gelu && idefics.projectionSize == 0)
        let other = try CLIPVisionConfiguration(idefics: parsed(#"{"hidden_size":4096}"#), source: "c")
        #expect(other.hiddenSize == 768)
    }

    @Test("SigLIP, EVA-CLIP and Q-Former: a missing key has the default of the reference's class")
    func otherDefaults() throws {
        let siglip = try SigLIPVisionConfiguration(parsed(#"{"vision_config":{}}"#), source: "c")
        #expect(siglip.patchSize == 16 && siglip.hasHead && !siglip.variableResolution)
        let idefics2 = try SigLIPVisionConfiguration(
            idefics2: parsed(
                #"{"vision_config":{"hidden_size":1152,"image_size":980,"num_attention_heads":16,"patch_size":14}}"#
            ),
            source: "c")
        #expect(idefics2.variableResolution && !idefics2.hasHead && idefics2.activation == .geluTanh)
        #expect(try SigLIPVisionConfiguration(idefics2: parsed("{}"), source: "c").patchSize == 32)
        let joined = try parsed(#"{"qformer_config":{"vocab_size":30523},"text_config":{"hidden_size":9}}"#)
        let eva = try EVAVisionConfiguration(joined, source: "c")
        #expect(eva == EVAVisionConfiguration())
        #expect(eva.layers == 39 && eva.hiddenSize == 1408 && eva.lastNormEpsilon == 1e-6 && eva.hasJointBias)
        let qformer = try QFormerConfiguration(joined, source: "c")
        #expect(qformer.vocabularySize == 30523 && qformer.queries == 32 && qformer.imageSize == 1408)
        #expect(qformer.normEpsilon == 1e-12 && qformer.crossAttentionFrequency == 2 && qformer.readsText)
        let blip2 = try QFormerConfiguration(
            parsed(
                #"{"model_type":"blip-2","qformer_config":{"encoder_hidden_size":9},"vision_config":{"hidden_size":32}}"#
            ),
            source: "c")
        #expect(!blip2.readsText && blip2.imageSize == 32)
    }

    @Test("resamplers: a missing key has the default of the reference's class") func resamplerDefaults()
        throws
    {
        #expect(try IdeficsPerceiverConfiguration(parsed("{}"), source: "c") == nil)
        let first = try IdeficsPerceiverConfiguration(
            parsed(#"{"use_resampler":true,"vision_config":{"embed_dim":1280}}"#), source: "c")
        #expect(first?.size == 1280 && first?.latents == 64 && first?.depth == 6 && first?.headSize == 96)
        #expect(first?.normsHeads == false)
        // The first release of Idefics2 gives the resampler nothing of its own.
        let old = #"{"perceiver_config":{"model_type":"idefics2"},"text_config":{"rms_norm_eps":1e-05}}"#
        let second = try Idefics2ConnectorConfiguration(parsed(old), source: "c")
        #expect(second.size == 4096 && second.intermediateSize == 14336 && second.keyHeads == 4)
        #expect(second.normEpsilon == 1e-5 && second.depth == 3)
        for (text, epsilon) in [
            ("{}", 1e-5), (#"{"perceiver_config":{"hidden_size":4096}}"#, 1e-6),
            (#"{"perceiver_config":{"hidden_size":4096,"rms_norm_eps":0.001}}"#, 1e-3),
            (#"{"perceiver_config":{"rms_norm_eps":0.001}}"#, 1e-3),
            (
                #"{"perceiver_config":{"hidden_size":4096},"text_config":{"hidden_size":8,"rms_norm_eps":0.01}}"#,
                1e-2
            ),
        ] {
            #expect(
                try Idefics2ConnectorConfiguration(parsed(text), source: "c").normEpsilon == epsilon,
                "\(text)")
        }
    }

    @Test("projector: both kinds of configuration are read") func projectorDefaults() throws {
        let old = try ProjectorConfiguration(
            parsed(#"{"mm_projector_type":"mlp2x_gelu","mm_vision_tower":"clip"}"#), imageSize: 5,
            outputSize: 6,
            source: "c")
        #expect(old.depth == 2 && old.inputSize == 5 && old.outputSize == 6)
        let first = try ProjectorConfiguration(
            parsed(#"{"mm_vision_tower":"clip"}"#), imageSize: 5, outputSize: 6, source: "c")
        #expect(first.depth == 1)
        let new = try ProjectorConfiguration(
            parsed(#"{"projector_hidden_act":"silu","multimodal_projector_bias":false}"#), imageSize: 5,
            outputSize: 6, source: "c")
        #expect(new.activation == .silu && !new.hasBias && new.depth == 2)
    }

    @Test("LLaVA: the hidden states it takes are read from both kinds of configuration") func selection()
        throws
    {
        func read(_ text: String) throws -> FeatureSelection {
            try FeatureSelection(parsed(text), source: "c")
        }
        #expect(try read("{}") == FeatureSelection())
        let old = try read(#"{"mm_vision_select_layer":-3,"mm_vision_select_feature":"cls_patch"}"#)
        #expect(old.layers == [-3] && old.classToken)
        let new = try read(#"{"vision_feature_layer":[-2,4],"vision_feature_select_strategy":"default"}"#)
        #expect(new.layers == [-2, 4] && !new.classToken)
        for (text, word) in [
            (#"{"vision_feature_layer":[]}"#, "vision_feature_layer"),
            (#"{"vision_feature_layer":[1,"x"]}"#, "vision_feature_layer"),
            (#"{"vision_feature_layer":-9223372036854775808}"#, "vision_feature_layer"),
            (#"{"mm_vision_select_layer":"last"}"#, "mm_vision_select_layer"),
            (#"{"mm_vision_select_feature":"slicefour"}"#, "slicefour"),
            (#"{"vision_feature_select_strategy":4}"#, "vision_feature_select_strategy"),
        ] {
            try checkRefused(text, word) { _ = try FeatureSelection($0, source: "c") }
        }
    }

    @Test("the released models have the reference's number of tensors and elements") func released() throws {
        let sizes = try JSON(contentsOf: ReferenceTests.fixture("vision/released.json"))
        func check(_ name: String, _ make: (JSON) throws -> any Module) throws {
            let entry = try #require(sizes[name])
            let config = try #require(entry["config"])
            let parameters = try make(config).parameters()
            #expect(parameters.count == entry["tensors"]?.integer, "\(name)")
            #expect(parameters.reduce(0) { $0 + $1.tensor.count } == entry["elements"]?.integer, "\(name)")
        }
        try check("clip") {
            var configuration = try CLIPVisionConfiguration($0, source: "c")
            configuration.projectionSize = 0
            return try CLIPVision(configuration)
        }
        try check("idefics_vision") { try CLIPVision(CLIPVisionConfiguration(idefics: $0, source: "c")) }
        try check("idefics_perceiver") {
            let shape = try IdeficsPerceiverConfiguration($0, source: "c")
            return try IdeficsPerceiver(#require(shape))
        }
        try check("idefics2_vision") {
            try SigLIPVision(SigLIPVisionConfiguration(idefics2: $0, source: "c"))
        }
        try check("idefics2_connector") {
            try Idefics2Connector(Idefics2ConnectorConfiguration($0, source: "c"))
        }
        try check("eva") { try EVAVision(EVAVisionConfiguration($0, source: "c")) }
        try check("qformer") { try QFormer(QFormerConfiguration($0, source: "c")) }
        try check("siglip") { try SigLIPVision(SigLIPVisionConfiguration($0, source: "c")) }
        // LLaVA-1.5-7B's, from its paper's release.
        let projector = try Projector(ProjectorConfiguration()).parameters()
        #expect(projector.reduce(0) { $0 + $1.tensor.count } == 20_979_712)
    }

    @Test("a configuration that is not computed is refused by name") func refused() throws {
        for (text, word) in [
            (#"{"hidden_act":"swish"}"#, "swish"), (#"{"hidden_size":31}"#, "31"),
            (#"{"patch_size":300}"#, "300"),
            (#"{"num_channels":4}"#, "num_channels"),
            (#"{"num_hidden_layers":9999999}"#, "num_hidden_layers"),
            (#"{"layer_norm_eps":"x"}"#, "layer_norm_eps"), (#"{"layer_norm_eps":-1}"#, "layer_norm_eps"),
            (#"{"image_size":[224,224]}"#, "image_size"),
        ] {
            try checkRefused(text, word) { _ = try CLIPVisionConfiguration($0, source: "c") }
            try checkRefused(text, word) { _ = try SigLIPVisionConfiguration($0, source: "c") }
            guard !text.contains("num_channels") else { continue }
            try checkRefused(text, word) { _ = try EVAVisionConfiguration($0, source: "c") }
        }
        try checkRefused(#"{"model_type":"siglip_vision_model"}"#, "siglip_vision_model") {
            _ = try CLIPVisionConfiguration($0, source: "c")
        }
        try checkRefused(#"{"projection_dim":-3}"#, "projection_dim") {
            _ = try CLIPVisionConfiguration($0, source: "c")
        }
        for (text, word) in [
            (#"{"hidden_act":"relu"}"#, "relu"), (#"{"hidden_size":31}"#, "31"),
            (#"{"position_embedding_type":"relative_key"}"#, "relative_key"),
            (#"{"use_qformer_text_input":true}"#, "use_qformer_text_input"),
            (#"{"cross_attention_frequency":0}"#, "cross_attention_frequency"),
        ] {
            try checkRefused(text, word) { _ = try QFormerConfiguration($0, source: "c") }
        }
        try checkRefused(#"{"perceiver_config":{"num_key_value_heads":5}}"#, "num_key_value_heads") {
            _ = try Idefics2ConnectorConfiguration($0, source: "c")
        }
        try checkRefused(
            #"{"use_resampler":true,"perceiver_config":{"resampler_depth":0}}"#, "resampler_depth"
        ) {
            _ = try IdeficsPerceiverConfiguration($0, source: "c")
        }
        for type in ["cluster", "mlp0x_gelu", "mlp65x_gelu", "mlp2x_relu", "mlpx_gelu", "identity"] {
            try checkRefused(#"{"mm_projector_type":"\#(type)"}"#, type) {
                _ = try ProjectorConfiguration($0, imageSize: 5, outputSize: 6, source: "c")
            }
        }
    }
}
