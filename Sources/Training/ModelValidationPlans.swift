import Backbones
import Checkpoints
import Support
import Torch

/// The architectures that weights can be held against. The raw value is the name for people.
enum ArchitecturePlan: String, CaseIterable {
    case bert = "BERT"
    case clipVision = "CLIP image tower"
    case openAICLIP = "CLIP image tower, OpenAI's names"
    case efficientNetLite = "EfficientNet-Lite0"

    /// By `model_type` when there is a config.json, else by the names of tensors.
    init?(config: JSON?, names: [String]) {
        switch config?["model_type"]?.string {
        case "bert": self = .bert
        case "clip", "clip_vision_model": self = .clipVision
        case .some: return nil
        case nil:
            let names = Set(names)
            if names.contains("_conv_stem.weight") {
                self = .efficientNetLite
            } else if ["visual.", "visumodel.", ""].contains(where: {
                names.contains($0 + "conv1.weight") && names.contains($0 + "positional_embedding")
            }) {
                self = .openAICLIP
            } else {
                return nil
            }
        }
    }

    /// Builds the module on the meta device, where it has shapes and no memory, and compares.
    func compare(_ checkpoint: Checkpoint, config: JSON?, source: String) throws -> StrictMatch {
        let weights = try checkpoint.tensors()
        switch self {
        case .bert:
            var configuration = try BERTConfiguration(config ?? .object([]), source: source)
            try Self.checkLayers(configuration.layers, checkpoint, source)
            let renamed = BERT.renamed(weights)
            configuration.hasPooler = renamed.keys.contains { $0.hasPrefix("pooler.") }
            return try Self.match(BERT(configuration), renamed, checkpoint)
        case .clipVision:
            var configuration = try CLIPVisionConfiguration(config ?? .object([]), source: source)
            try Self.checkLayers(configuration.layers, checkpoint, source)
            let renamed = try CLIPVision.renamed(weights)
            if renamed["visual_projection.weight"] == nil { configuration.projectionSize = 0 }
            return try Self.match(CLIPVision(configuration), renamed, checkpoint)
        case .openAICLIP:
            let part = CLIPVision.visualPart(of: weights)
            let configuration = try CLIPVisionConfiguration(openAI: part, source: source)
            return try Self.match(CLIPVision(configuration), CLIPVision.renamed(weights), checkpoint)
        case .efficientNetLite: return try Self.match(EfficientNetLite(), weights, checkpoint)
        }
    }

    private static func match(
        _ module: some Module, _ weights: [String: Tensor], _ checkpoint: Checkpoint
    ) throws -> StrictMatch {
        let expected = try module.parameters().map { StrictMatch.Expected($0.key, $0.tensor.shape) }
        var found: [String: TensorInfo] = [:]
        for (key, tensor) in weights {
            found[key] = try TensorInfo(
                name: key, elementType: ElementType(tensor.dtype), shape: tensor.shape, file: checkpoint.path)
        }
        return StrictMatch(expected: expected, found: found, path: checkpoint.path)
    }

    /// A config.json that asks for millions of layers must not make us build them.
    private static func checkLayers(_ layers: Int, _ checkpoint: Checkpoint, _ source: String) throws {
        guard layers > checkpoint.names.count else { return }
        throw VQAError(
            "cannot use the model", at: "\(source), num_hidden_layers",
            because:
                "it asks for \(layers) layers, and the weights have only \(checkpoint.names.count) tensors",
            remedy: "check that the weights belong to this config.json")
    }
}
