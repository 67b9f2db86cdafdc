import Checkpoints
import Support
import Torch

/// Checkpoints of the authors' program (specification of DVP, 2.8), and our own adapters: what they hold under our names.
public enum DVPReleasedCheckpoint {
    /// The tensors of an adapter folder, or of a `.ckpt`, `.pth` or safetensors file.
    ///
    /// The release keeps a `state_dict` in which shared modules have several names, and calls the classifier by its task.
    /// Of a search checkpoint the prompt of the preferred layer is taken.
    public static func trained(_ path: String) throws -> [String: Tensor] {
        let file = isFolder(path) ? path + "/adapter_model.safetensors" : path
        return renamed(try Checkpoint(opening: file).tensors())
    }

    /// Brings the release's names to ours.
    public static func renamed(_ weights: [String: Tensor]) -> [String: Tensor] {
        var plain: [String: Tensor] = [:]
        for (name, tensor) in weights {
            var key = name[...]
            for prefix in ["state_dict.", "module."] where key.hasPrefix(prefix) {
                key = key.dropFirst(prefix.count)
            }
            plain[String(key)] = tensor
        }
        let best = preferredLayer(plain)
        var result: [String: Tensor] = [:]
        for (key, tensor) in plain {
            if let range = key.firstRange(of: "_classifier.") {
                result["vqa_classifier." + key[range.upperBound...]] = tensor
            } else if let best, let range = key.firstRange(of: "_options.\(best).") {
                result[key[..<range.lowerBound] + "." + key[range.upperBound...]] = tensor
            } else {
                result[key] = tensor
            }
        }
        return result
    }

    /// K, of a search checkpoint: the layer with the highest preference; nil for others.
    public static func preferredLayer(_ weights: [String: Tensor]) -> Int? {
        let key = weights.keys.first { $0.hasSuffix("layer_alphas") }
        guard let key, let values = try? weights[key]?.to(.float32).floats() else { return nil }
        return values.indices.max { (values[$0], $1) < (values[$1], $0) }
    }
}
