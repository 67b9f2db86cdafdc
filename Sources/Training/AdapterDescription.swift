import Backbones
import Methods
import Support
import Tasks

/// What an adapter folder says about itself, beside its weights.
///
/// `adapter_config.json` and `adapter_model.safetensors`, as peft names them; `peft_type` is the method.
public struct AdapterDescription {
    /// The short name or path that the language model was opened by in training.
    public var languageModel: String
    /// The SHA-256 of its weights.
    public var languageHash: String
    /// How its frozen weights are kept.
    public var frozenFormat: WeightFormat
    /// The short name or path that the image encoder was opened by in training.
    public var visionModel: String
    /// The SHA-256 of its weights.
    public var visionHash: String
    /// Side of the input image, in pixels.
    public var imageSize: Int
    /// Tokens of a question, special ones included; the rest is cut.
    public var maxTextLength: Int
    /// What a model that writes reads.
    public var prompt: String
    /// The most tokens of an answer that is written.
    public var maxNewTokens: Int
    /// What was added to the language model, and where.
    public var settings: DVPSettings
    /// The answers it chooses from, numbered as the classifier's rows.
    public var vocabulary: AnswerVocabulary
    /// The data set family it was trained on.
    public var task: String

    static let version = 2

    /// The content of `adapter_config.json`.
    public var json: JSON {
        func optional(_ value: Int?) -> JSON { value.map { .integer($0) } ?? .null }
        return [
            "peft_type": .string(AdapterDescription.method),
            "swift_vqa_adapter_version": .integer(AdapterDescription.version),
            "base_model_name_or_path": .string(languageModel), "base_model_sha256": .string(languageHash),
            "frozen_format": .string(frozenFormat.rawValue), "vision_model": .string(visionModel),
            "vision_model_sha256": .string(visionHash),
            "image_size": .integer(imageSize), "max_text_len": .integer(maxTextLength), "task": .string(task),
            "prompt": .string(prompt), "max_new_tokens": .integer(maxNewTokens),
            "insert_layer": .integer(settings.insertLayer), "use_adapter": .bool(settings.usesAdapters),
            "prompt_tokens": .integer(settings.promptTokens),
            "answer_form": .string(settings.answers.rawValue),
            "freeze_below": .bool(settings.freezesBelowInsertion),
            "visual_norm": .bool(settings.hasVisualNorm),
            "prompt_bias": .number(settings.promptBias ?? 0),
            "prompt_norm": .bool(settings.hasPromptNorm ?? false),
            "prompt_residual": .bool(settings.hasPromptResidual ?? false),
            "standardize": .bool(settings.standardizes ?? false),
            "type_embedding": .bool(settings.hasTypeEmbedding ?? true),
            "adapter_reduction": optional(settings.adapterReduction),
            "adapter_activation": .string(settings.adapterActivation?.rawValue ?? "relu"),
            "adapter_scale": .number(settings.adapterScale ?? 1),
            "num_heads": optional(settings.heads), "prompt_width": optional(settings.innerSize),
            "head_width": optional(settings.headSize), "loss": .string(settings.loss.rawValue),
            "t5_query": .string(settings.t5Query.rawValue), "t5_bias": .string(settings.t5Bias.rawValue),
            "t5_causal": .bool(settings.t5IsCausal), "answers": vocabulary.json,
        ]
    }

    /// - Parameter settings: those of a model, in which nothing is nil.
    init(
        _ reader: DVPReader, tower: VisionTower, settings: DVPSettings, vocabulary: AnswerVocabulary,
        task: String, maxNewTokens: Int
    ) throws {
        languageModel = reader.backbone.name
        languageHash = try reader.backbone.weightsHash
        frozenFormat = reader.backbone.format
        visionModel = tower.name
        visionHash = try tower.weightsHash
        imageSize = tower.imageSize.height
        maxTextLength = reader.maxLength
        prompt = reader.prompt
        self.maxNewTokens = maxNewTokens
        self.settings = settings
        self.vocabulary = vocabulary
        self.task = task
    }

    /// What `peft_type` says.
    static let method = "DVP"

    /// Reads the folder's `adapter_config.json`; what version 1 did not have yet is as it was then.
    init(_ record: AdapterRecord) throws {
        let version = record.version
        languageModel = try record.text("base_model_name_or_path")
        languageHash = try record.text("base_model_sha256")
        visionModel = try record.text("vision_model")
        visionHash = try record.text("vision_model_sha256")
        imageSize = try record.size("image_size")
        maxTextLength = try record.size("max_text_len", in: 3...(1 << 24))
        task = try record.text("task")
        settings = try record.settings(isFirstVersion: version == 1)
        prompt = version == 1 ? DVPReader.defaultPrompt : try record.text("prompt")
        frozenFormat = version == 1 ? .float32 : try record.word("frozen_format")
        maxNewTokens = version == 1 ? 16 : try record.size("max_new_tokens")
        guard let answers = record.json["answers"] else { throw record.missing("answers") }
        vocabulary = try AnswerVocabulary(answers, source: record.path)
    }
}

/// `adapter_config.json` with its errors.
struct AdapterRecord {
    let json: JSON
    let path: String
    /// `peft_type`
    let method: String
    let version: Int

    init(folder: String) throws {
        path = folder + "/adapter_config.json"
        guard fileExists(path) else {
            throw VQAError(
                "cannot find the adapter", at: folder, because: "it has no adapter_config.json",
                remedy: "train one, or give --adapter runs/NAME/adapter")
        }
        json = try JSON(contentsOf: path)
        guard let method = json["peft_type"]?.string else {
            throw Self.refusal(path, "'peft_type' is missing")
        }
        let known = [AdapterDescription.method, ScienceQADescription.method]
        guard known.contains(method) else {
            throw Self.refusal(path, "its method is \(method), known are \(known.joined(separator: " and "))")
        }
        guard let version = json["swift_vqa_adapter_version"]?.integer, version <= AdapterDescription.version
        else { throw Self.refusal(path, "it was written by a later version", "update this program") }
        (self.method, self.version) = (method, version)
    }

    private static func refusal(_ path: String, _ why: String, _ remedy: String? = nil) -> VQAError {
        VQAError("cannot read the adapter", at: path, because: why, remedy: remedy)
    }

    func refusal(_ why: String) -> VQAError { Self.refusal(path, why) }

    func missing(_ key: String) -> VQAError { refusal("'\(key)' is missing or of another kind") }

    func text(_ key: String) throws -> String {
        guard let value = json[key]?.string else { throw missing(key) }
        return value
    }

    func size(_ key: String, in range: ClosedRange<Int> = 1...65536) throws -> Int {
        guard let value = json[key]?.integer else { throw missing(key) }
        guard range.contains(value) else {
            throw refusal("'\(key)' is \(value), not in \(range.lowerBound)…\(range.upperBound)")
        }
        return value
    }

    func number(_ key: String, within limit: Double) throws -> Double {
        guard let value = json[key]?.double, abs(value) <= limit else { throw missing(key) }
        return value
    }

    func truth(_ key: String) throws -> Bool {
        guard let value = json[key]?.bool else { throw missing(key) }
        return value
    }

    func word<Word: RawRepresentable>(_ key: String) throws -> Word where Word.RawValue == String {
        guard let value = Word(rawValue: try text(key)) else { throw missing(key) }
        return value
    }

    /// Refuses frozen models with other weights than those that the adapter was trained on.
    func requireSame(_ models: [(found: (name: String, hash: String), wanted: String)]) throws {
        for (found, wanted) in models where found.hash != wanted {
            throw VQAError(
                "cannot use the adapter", at: path,
                because: "it was trained on other weights than those of \(found.name) "
                    + "(\(wanted.prefix(12)), not \(found.hash.prefix(12)))")
        }
    }

    func settings(isFirstVersion: Bool) throws -> DVPSettings {
        var settings = DVPSettings()
        settings.insertLayer = try size("insert_layer", in: 0...1000)
        settings.usesAdapters = try truth("use_adapter")
        settings.freezesBelowInsertion = try truth("freeze_below")
        settings.hasVisualNorm = try truth("visual_norm")
        settings.adapterReduction = try size("adapter_reduction")
        settings.heads = try size("num_heads", in: 1...1024)
        (settings.standardizes, settings.hasPromptResidual, settings.adapterScale) = (false, false, 1)
        guard !isFirstVersion else { return settings }
        settings.promptTokens = try size("prompt_tokens", in: 1...256)
        settings.answers = try word("answer_form")
        settings.hasPromptNorm = try truth("prompt_norm")
        // Adapters of version 2 that were made before there were such settings have none.
        if json["standardize"] != nil { settings.standardizes = try truth("standardize") }
        if json["adapter_scale"] != nil { settings.adapterScale = try number("adapter_scale", within: 1000) }
        if json["prompt_residual"] != nil { settings.hasPromptResidual = try truth("prompt_residual") }
        settings.promptBias = try number("prompt_bias", within: 100)
        settings.hasTypeEmbedding = try truth("type_embedding")
        settings.adapterActivation = try word("adapter_activation")
        settings.innerSize = try size("prompt_width")
        settings.headSize = try size("head_width")
        settings.loss = try word("loss")
        settings.t5Query = try word("t5_query")
        settings.t5Bias = try word("t5_bias")
        settings.t5IsCausal = try truth("t5_causal")
        return settings
    }
}
