import Methods
import Runs

/// Settings of DVP's ScienceQA program, under the release's names where it has one.
extension TrainingConfiguration {
    static func readScienceQA(_ reader: inout ConfigurationReader, _ preset: Preset) -> ScienceQAPlan {
        var settings = preset == .released ? ScienceQASettings.released : .fixed
        settings.insertLayer = reader.integer(
            "insert_layer", default: settings.insertLayer, in: 0...1000,
            help: "layer at whose input the visual prompt enters, from 0")
        settings.adapterWidth = reader.integer(
            "adapter_dim", default: settings.adapterWidth, in: 2...4096, help: "narrow width of the adapters")
        settings.adapterScale = reader.number(
            "adapter_scale", default: settings.adapterScale, in: -1000...1000,
            help: "what the adapters' change is multiplied by")
        settings.routerTemperature = reader.number(
            "temperature", default: settings.routerTemperature, in: 1e-6...1e6,
            help: "the scores of the adapters' routers are divided by this")
        settings.projectionWidth = reader.integer(
            "hidden_proj", default: settings.projectionWidth, in: 1...65536,
            help: "width between the two maps of the image's class tokens")
        settings.heads = reader.integer(
            "num_heads", default: settings.heads, in: 1...1024, help: "of the cross-attention")
        settings.attentionWidth = reader.integer(
            "prompt_width", default: settings.attentionWidth, in: 1...65536,
            help: "width of the cross-attention")
        settings.classTokenInterval = reader.integer(
            "class_token_interval", default: settings.classTokenInterval, in: 1...1000,
            help: "a class token is taken after every so many blocks of the tower")
        settings.dropout = reader.number(
            "drop_rate", default: settings.dropout, in: 0...0.99, help: "dropout")
        settings.maxLength = reader.integer(
            "max_seq_len", default: settings.maxLength, in: 16...65536,
            help: "tokens of problem and answer in training, cut there")
        let format = readFormat(&reader, preset)
        readRepairs(&reader, &settings)
        let answering = readAnswering(&reader, &settings)
        return ScienceQAPlan(settings: settings, format: format, answering: answering)
    }

    private static func readFormat(_ reader: inout ConfigurationReader, _ preset: Preset) -> ScienceQAFormat {
        let name = reader.string(
            "prompt_format", default: "QCM-ALE",
            help:
                "what is read and written: C context, Q question, M options, L lecture, E explanation, A answer"
        )
        do {
            return try ScienceQAFormat(named: name, isReleased: preset == .released)
        } catch {
            reader.report(
                "prompt_format", because: "\(name.prefix(40)) is no input and output such as QCM-ALE")
            return ScienceQAFormat()
        }
    }

    /// What the release does otherwise than meant.
    private static func readRepairs(_ reader: inout ConfigurationReader, _ settings: inout ScienceQASettings)
    {
        settings.slotMask = reader.choice(
            "slot_mask", default: settings.slotMask,
            help:
                "aliased: in training no text sees the prompt, as released; copied: all see it from insert_layer on"
        )
        settings.imageRouting = reader.choice(
            "image_routing", default: settings.imageRouting,
            help:
                "the tower's adapters are routed by the batch's first image, as released, or each by its own")
        settings.decodePositions = reader.choice(
            "decode_positions", default: settings.decodePositions,
            help: "shifted: written tokens stand one too low, as released; continued")
        settings.promptReading = reader.choice(
            "prompt_reading", default: settings.promptReading,
            help: "shortest-prompt: longer ones of a batch are read token by token, as released; own-prompt")
        settings.unreadOption = reader.choice(
            "unread_option", default: settings.unreadOption,
            help: "what a text without an option counts as: random, as released, or none")
        settings.pixelScale = reader.choice(
            "pixel_scale", default: settings.pixelScale,
            help: "imagenet: ImageNet's mean and deviation, as released; clip: CLIP's own")
    }

    private static func readAnswering(
        _ reader: inout ConfigurationReader, _ settings: inout ScienceQASettings
    )
        -> ScienceQAPlan.Answering
    {
        let answering = reader.choice(
            "answer_by", default: ScienceQAPlan.Answering.generation,
            help: "generation: the option is read from what the model writes; options: the likeliest one")
        settings.maxNewTokens = reader.integer(
            "max_new_tokens", default: settings.maxNewTokens, in: 1...4096,
            help: "the most tokens of a written answer")
        var start = (temperature: 0.0, topP: 0.75)
        if case .sampled(let temperature, let topP, _) = settings.choosing { start = (temperature, topP) }
        let temperature = reader.number(
            "generation_temperature", default: start.temperature, in: 0...100,
            help: "0: the likeliest token each time; 0.1 as released")
        let topP = reader.number(
            "top_p", default: start.topP, in: 0...1, help: "share of the likeliest tokens that are drawn from"
        )
        settings.choosing =
            temperature > 0 ? .sampled(temperature: temperature, topP: topP, seed: 0) : .greedy
        return answering
    }
}
