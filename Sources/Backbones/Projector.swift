import Support
import Torch

/// The shape of LLaVA's map from image tokens to soft tokens.
public struct ProjectorConfiguration: Sendable, Equatable {
    /// Linear maps in a row, with an activation between two; 0 gives the image tokens as they are.
    public var depth = 2
    /// Width of an image token.
    public var inputSize = 1024
    /// Width of the language model.
    public var outputSize = 4096
    /// Whether the maps have a bias.
    public var hasBias = true
    /// Between two maps.
    public var activation = ActivationFunction.gelu

    /// LLaVA-1.5's: `mlp2x_gelu`.
    public init() {}

    /// The projector of LLaVA's `mm_projector_type`: `identity`, `linear`, or `mlpNx_gelu` with N maps.
    public init(type: String, inputSize: Int, outputSize: Int, source: String) throws {
        (self.inputSize, self.outputSize) = (inputSize, outputSize)
        switch type {
        case "identity": depth = 0
        case "linear": depth = 1
        default:
            guard type.hasPrefix("mlp"), type.hasSuffix("x_gelu"),
                let count = Int(type.dropFirst(3).dropLast("x_gelu".count)), (1...64).contains(count)
            else {
                throw VQAError(
                    "cannot use the model", at: "\(source), mm_projector_type",
                    because: "\(type.prefix(60)) is not identity, linear or mlpNx_gelu")
            }
            depth = count
        }
        guard depth > 0 || inputSize == outputSize else {
            throw VQAError(
                "cannot use the model", at: "\(source), mm_projector_type",
                because: "identity joins a width of \(inputSize) to one of \(outputSize)")
        }
    }

    /// Reads the configuration of a joined model: LLaVA's own (`mm_projector_type`, `mm_hidden_size`, `hidden_size`) or the
    /// reference's `LlavaConfig` (`projector_hidden_act`, `multimodal_projector_bias`). A missing key has its class's
    /// default.
    ///
    /// - Parameters:
    ///   - imageSize: width of an image token.
    ///   - outputSize: width of the language model.
    public init(_ json: JSON, imageSize: Int, outputSize: Int, source: String) throws {
        if json["mm_projector_type"] != nil || json["mm_vision_tower"] != nil {
            // Files of the first LLaVA do not say the type: it had one linear map.
            let type = json["mm_projector_type"]?.string ?? "linear"
            self = try ProjectorConfiguration(
                type: type, inputSize: imageSize, outputSize: outputSize, source: source)
            return
        }
        (inputSize, self.outputSize) = (imageSize, outputSize)
        inputSize = try imageSize * FeatureSelection(json, source: source).layers.count
        activation = try json.activation("projector_hidden_act", activation, source: source)
        hasBias = json["multimodal_projector_bias"]?.bool ?? hasBias
    }
}

/// Which hidden states of its image tower a LLaVA takes: the arguments of ``CLIPVision/features(_:layers:classToken:tap:)``.
public struct FeatureSelection: Sendable, Equatable {
    /// One or several hidden states, joined along the width.
    public var layers = [-2]
    /// Whether the class token is one of the image tokens.
    public var classToken = false

    /// LLaVA-1.5's: the patches of the last hidden state but one.
    public init() {}

    /// Reads `vision_feature_layer` and `vision_feature_select_strategy` of the reference's `LlavaConfig`, or LLaVA's own
    /// `mm_vision_select_layer` and `mm_vision_select_feature`.
    public init(_ json: JSON, source: String) throws {
        for key in ["mm_vision_select_layer", "vision_feature_layer"] {
            guard let value = json[key], !value.isNull else { continue }
            let found = value.integer.map { [$0] } ?? (value.array ?? []).compactMap(\.integer)
            guard (1...1024).contains(found.count), found.count == value.array?.count ?? 1,
                found.allSatisfy({ (-1024...1024).contains($0) })
            else { throw FeatureSelection.refusal(key, value, "no layer or list of layers", source) }
            layers = found
        }
        for (key, dropped, kept) in [
            ("mm_vision_select_feature", "patch", "cls_patch"),
            ("vision_feature_select_strategy", "default", "full"),
        ] {
            guard let value = json[key], !value.isNull else { continue }
            guard value.string == dropped || value.string == kept else {
                throw FeatureSelection.refusal(key, value, "neither \(dropped) nor \(kept)", source)
            }
            classToken = value.string == kept
        }
    }

    private static func refusal(_ key: String, _ value: JSON, _ fault: String, _ source: String) -> VQAError {
        VQAError(
            "cannot use the model", at: "\(source), \(key)", because: "\(value.text().prefix(60)) is \(fault)"
        )
    }
}

/// LLaVA's map from image tokens to soft tokens of the language model. Keys as in LLaVA's `mm_projector`: `weight` and `bias`
/// of one map, otherwise `0.weight`, `2.weight` and so on, the activations counted.
public struct Projector: Module {
    /// The shape it was built with.
    public let configuration: ProjectorConfiguration
    private var maps: [Linear]

    /// A projector without weights, on the meta device.
    public init(_ configuration: ProjectorConfiguration) throws {
        self.configuration = configuration
        let output = configuration.outputSize
        maps = try (0..<configuration.depth).map {
            try Linear($0 == 0 ? configuration.inputSize : output, output, bias: configuration.hasBias)
        }
    }

    /// Lists the maps.
    public mutating func visit(_ visitor: ParameterVisitor) throws {
        if maps.count == 1 { return try maps[0].visit(visitor) }
        for index in maps.indices { try visitor("\(2 * index)", &maps[index]) }
    }

    /// Image tokens [B, N, input size] → soft tokens [B, N, output size].
    public func callAsFunction(_ tokens: Tensor) throws -> Tensor {
        guard let first = maps.first else { return tokens }
        var x = try tokens.to(first.weight.dtype)
        for (index, map) in maps.enumerated() { x = try map(index == 0 ? x : configuration.activation(x)) }
        return x
    }

    /// Brings the names of a checkpoint to these, and leaves out its other parts: `mm_projector.` and `multi_modal_projector.`
    /// wherever they stand, and of the latter `linear_1`, `linear_2` to places in a row.
    public static func renamed(_ weights: [String: Tensor]) -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for (name, tensor) in weights {
            let parts = name.split(separator: ".").map(String.init)
            guard
                let index = parts.firstIndex(where: { $0 == "mm_projector" || $0 == "multi_modal_projector" })
            else { continue }
            var rest = Array(parts[(index + 1)...])
            if let first = rest.first, first.hasPrefix("linear_"), let number = Int(first.dropFirst(7)),
                (1...64).contains(number)
            {
                rest[0] = "\(2 * (number - 1))"
            }
            result[rest.joined(separator: ".")] = tensor
        }
        return result
    }
}
