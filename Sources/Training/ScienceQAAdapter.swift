import Backbones
import Checkpoints
import Methods
import Support
import Tasks
import Torch

/// What the adapter folder of DVP's ScienceQA program says about itself, beside its weights.
public struct ScienceQADescription {
    /// What `peft_type` says.
    static let method = "DVP-SCIENCEQA"
    /// The short name or path that the language model was opened by in training, and the SHA-256 of its weights.
    let language: (name: String, hash: String)
    /// The same of the image tower.
    let vision: (name: String, hash: String)
    /// How the language model's frozen weights are kept.
    let format: WeightFormat
    /// Of the matrix products.
    let precision: TrainingConfiguration.Precision
    /// What was added, and how problems are written and answered.
    let plan: ScienceQAPlan
    /// The data set family it was trained on.
    let task: String

    /// The content of `adapter_config.json`.
    var json: JSON {
        let settings = plan.settings
        var generation: JSON = "greedy"
        if case .sampled(let temperature, let topP, let seed) = settings.choosing {
            generation = [
                "temperature": .number(temperature), "top_p": .number(topP), "seed": .integer(seed),
            ]
        }
        return [
            "peft_type": .string(Self.method),
            "swift_vqa_adapter_version": .integer(AdapterDescription.version),
            "base_model_name_or_path": .string(language.name), "base_model_sha256": .string(language.hash),
            "vision_model": .string(vision.name), "vision_model_sha256": .string(vision.hash),
            "frozen_format": .string(format.rawValue), "precision": .string(precision.rawValue),
            "task": .string(task), "insert_layer": .integer(settings.insertLayer),
            "adapter_dim": .integer(settings.adapterWidth), "adapter_scale": .number(settings.adapterScale),
            "temperature": .number(settings.routerTemperature),
            "hidden_proj": .integer(settings.projectionWidth), "num_heads": .integer(settings.heads),
            "prompt_width": .integer(settings.attentionWidth),
            "class_token_interval": .integer(settings.classTokenInterval),
            "max_seq_len": .integer(settings.maxLength), "max_new_tokens": .integer(settings.maxNewTokens),
            "slot_mask": .string(settings.slotMask.rawValue),
            "image_routing": .string(settings.imageRouting.rawValue),
            "decode_positions": .string(settings.decodePositions.rawValue),
            "prompt_reading": .string(settings.promptReading.rawValue),
            "unread_option": .string(settings.unreadOption.rawValue),
            "pixel_scale": .string(settings.pixelScale.rawValue),
            "prompt_format": .string(plan.format.description),
            "prompt_format_released": .bool(plan.format.isReleased),
            "answer_by": .string(plan.answering.rawValue), "generation": generation,
        ]
    }

    init(_ backbone: ScienceQABackbone, precision: DType, plan: ScienceQAPlan, task: String) {
        (language, vision, format) = (backbone.language, backbone.vision, backbone.format)
        self.precision = precision == .bfloat16 ? .bfloat16 : .float32
        (self.plan, self.task) = (plan, task)
    }

    /// Reads the folder's `adapter_config.json`.
    init(_ record: AdapterRecord) throws {
        language = (try record.text("base_model_name_or_path"), try record.text("base_model_sha256"))
        vision = (try record.text("vision_model"), try record.text("vision_model_sha256"))
        (format, precision) = (try record.word("frozen_format"), try record.word("precision"))
        task = try record.text("task")
        var settings = ScienceQASettings()
        settings.insertLayer = try record.size("insert_layer", in: 0...1000)
        settings.adapterWidth = try record.size("adapter_dim")
        settings.adapterScale = try record.number("adapter_scale", within: 1e6)
        settings.routerTemperature = try record.number("temperature", within: 1e6)
        settings.projectionWidth = try record.size("hidden_proj")
        settings.heads = try record.size("num_heads", in: 1...1024)
        settings.attentionWidth = try record.size("prompt_width")
        settings.classTokenInterval = try record.size("class_token_interval", in: 1...1000)
        settings.maxLength = try record.size("max_seq_len")
        settings.maxNewTokens = try record.size("max_new_tokens", in: 1...4096)
        settings.slotMask = try record.word("slot_mask")
        settings.imageRouting = try record.word("image_routing")
        settings.decodePositions = try record.word("decode_positions")
        settings.promptReading = try record.word("prompt_reading")
        settings.unreadOption = try record.word("unread_option")
        settings.pixelScale = try record.word("pixel_scale")
        if record.json["generation"]?.string != "greedy" {
            guard let drawn = record.json["generation"], let temperature = drawn["temperature"]?.double,
                let topP = drawn["top_p"]?.double, let seed = drawn["seed"]?.integer
            else { throw record.missing("generation") }
            settings.choosing = .sampled(temperature: temperature, topP: topP, seed: seed)
        }
        plan = ScienceQAPlan(
            settings: settings,
            format: try ScienceQAFormat(
                named: try record.text("prompt_format"),
                isReleased: try record.truth("prompt_format_released")),
            answering: try record.word("answer_by"))
    }
}

/// The frozen models with an adapter of DVP's ScienceQA program, ready to answer.
public struct ScienceQAAdapter {
    /// Identifies the weights that answer.
    public let contentHash: String
    let plan: ScienceQAPlan
    let model: ScienceQADVP
    let words: ScienceQAWords
    private let precision: DType

    /// Opens an adapter folder and the frozen models it belongs to.
    init(_ record: AdapterRecord, folder: String, languageModel: String?, visionModel: String?) throws {
        let description = try ScienceQADescription(record)
        let backbone = try ScienceQABackbone(
            language: languageModel ?? description.language.name, format: description.format,
            vision: visionModel ?? description.vision.name)
        try record.requireSame([
            (backbone.language, description.language.hash), (backbone.vision, description.vision.hash),
        ])
        let path = folder + "/adapter_model.safetensors"
        var model = try backbone.model(description.plan.settings)
        precision = try chosenPrecision(description.precision)
        try model.keepFrozen(in: precision)
        try model.loadTrained(Checkpoint(opening: path).tensors(), from: path)
        (self.model, plan, words) = (model, description.plan, backbone.words)
        let parts = [try SHA256.hexadecimal(ofFile: path), backbone.language.hash, backbone.vision.hash]
        contentHash = SHA256.hexadecimal(of: parts)
    }

    /// Answers samples.
    ///
    /// - Parameter brokenShare: the share of images that may be unreadable; their samples are left out.
    func predictor(_ samples: [Sample], brokenShare: Double = 0) throws -> (ScienceQAPredictor, [String]) {
        let side = model.tower.configuration.imageSize
        let pixels = try PixelSource(
            samples.compactMap(\.images.first), processor: plan.settings.imageProcessor(size: side),
            side: side, brokenShare: brokenShare)
        let predictor = try ScienceQAPredictor(
            model, words, plan, samples, pixels: pixels, precision: precision)
        return (predictor, pixels.problems)
    }
}

extension ScienceQAAdapter {
    /// What is written as the answer to a question about an image, or its likeliest option.
    func answer(_ question: String, _ choices: [String], image: String) throws -> String {
        guard question.contains(where: { !$0.isWhitespace }) else {
            throw VQAError(
                "cannot answer", at: image, because: "the question is empty", remedy: "ask something")
        }
        guard choices.count <= 26 else {
            throw VQAError("cannot answer", at: "--choice", because: "there are more than 26 options")
        }
        let sample = Sample(
            id: QuestionID(0), imageID: image, images: [image], question: question,
            choices: choices.isEmpty ? nil : choices)
        let found = try predictor([sample]).0.predictions()
        let written = found.first?.extra.first { $0.key == "text" }?.value.string
        return written ?? found.first?.answer ?? ""
    }
}

/// DVP's ScienceQA program with what it was trained to add.
struct ScienceQAAnswerer: Answerer {
    let adapter: ScienceQAAdapter

    var contentHash: String { adapter.contentHash }
    var notes: [String] {
        adapter.plan.settings.promptReading == .shortest
            ? ["as released, an answer depends on the problems beside it: keep --batch-size the same"] : []
    }

    func answer(
        _ samples: [Sample], of data: TaskData, family: any VQATask, limits: AnsweringLimits,
        record: ([Prediction]) throws -> Void, shouldStop: () -> Bool
    ) throws -> [String] {
        let (predictor, problems) = try adapter.predictor(samples, brokenShare: limits.brokenImageShare)
        for start in stride(from: 0, to: predictor.count, by: limits.batchSize) {
            if shouldStop() { throw stopped("\(start) questions") }
            let range = start..<min(start + limits.batchSize, predictor.count)
            try record(predictor.predictions(range: range, batch: limits.batchSize))
        }
        return problems
    }
}
