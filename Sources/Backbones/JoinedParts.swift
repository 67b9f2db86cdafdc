import Support
import Torch

/// A decoder as generation and methods see it, alone or inside a joined model.
public protocol TextDecoder {
    /// The shape of the language model.
    var configuration: DecoderConfiguration { get }
    /// int64 [B, T] → [B, T, D]
    func embed(_ ids: Tensor) throws -> Tensor
    /// Hidden states after the final norm, [B, T, D] → [B, T, D]; arguments as ``Decoder``'s.
    func hidden(_ embeddings: Tensor, mask: Tensor?, cache: KeyValueCache?, tap: Tap?) throws -> Tensor
    /// [B, T, D] → scores of the next token, [B, T, V].
    func logits(_ hidden: Tensor) throws -> Tensor
    /// An empty cache for `rows` texts of at most `capacity` tokens.
    func cache(rows: Int, capacity: Int) throws -> KeyValueCache
    /// Follows the rows of the cache, where the model keeps something of its own for each row.
    func reorder(_ order: [Int]) throws
}

extension TextDecoder {
    /// Nothing is kept for each row.
    public func reorder(_ order: [Int]) throws {}
}

extension Decoder: TextDecoder {
    /// All layers; see ``hidden(_:mask:cache:tap:layers:)``.
    public func hidden(_ embeddings: Tensor, mask: Tensor?, cache: KeyValueCache?, tap: Tap?) throws -> Tensor
    {
        try hidden(embeddings, mask: mask, cache: cache, tap: tap, layers: nil)
    }

    /// The decoder's weights out of a joined model's, with the keys of ``Decoder``.
    ///
    /// It is found by its token table, wherever it stands: `language_model.model.`, `model.language_model.`,
    /// `model.text_model.`, LAVIS's `llm_model.model.`, or `model.` beside the other parts.
    ///
    /// - Parameter others: beginnings of the names of parts that stand below the same prefix.
    public static func part(
        of weights: [String: Tensor], except others: [String] = [], isTied: Bool
    ) -> [String: Tensor] {
        let marker = "embed_tokens.weight"
        let found = weights.keys.filter { $0 == marker || $0.hasSuffix("." + marker) }
        guard let prefix = found.min()?.dropLast(marker.count) else { return [:] }
        let outer = prefix.hasSuffix("model.") ? prefix.dropLast("model.".count) : prefix
        var result: [String: Tensor] = [:]
        for (name, tensor) in weights where !others.contains(where: name.hasPrefix) {
            if name.hasPrefix(prefix) {
                result["model." + name.dropFirst(prefix.count)] = tensor
            } else if name == "lm_head.weight" || name == outer + "lm_head.weight" {
                result["lm_head.weight"] = tensor
            }
        }
        return renamed(result, isTied: isTied)
    }
}

/// Refuses a checkpoint with tensors that belong to no part of the model.
func requireParts(_ weights: [String: Tensor], _ prefixes: [String], source: String) throws {
    let strangers = weights.keys.filter { name in !prefixes.contains(where: name.hasPrefix) }
    guard let first = strangers.min() else { return }
    throw VQAError(
        "cannot load the weights", at: source,
        because: "\(first) belongs to no part of the model"
            + (strangers.count > 1 ? " (nor do \(strangers.count - 1) more)" : ""))
}

/// Puts the soft tokens of images, in order, where the text has the id that stands for them.
///
/// - Parameters:
///   - images: [N, P, D], the soft tokens of all images of the batch.
///   - embeddings: of the text, [B, T, D].
///   - ids: int64 [B, T].
/// - Throws: `VQAError` when the text has not N · P such places.
func placed(_ images: Tensor, in embeddings: Tensor, ids: Tensor, imageID: Int) throws -> Tensor {
    let places = try ids .== Double(imageID)  // [B, T]
    let count = Int(try places.to(.int64).sum().item())
    let shape = images.shape
    guard shape.count == 3, count == shape[0] * shape[1] else {
        throw VQAError(
            "cannot join images and text", at: "the prompt",
            because: "it has \(count) image tokens, the images have \(shape.dropLast().reduce(1, *))",
            remedy: "mark each image once with <image>")
    }
    guard count > 0 else { return embeddings }
    let rows = try images.reshaped([count, shape[2]]).to(embeddings.dtype)
    return try embeddings.replacing([places], with: rows)
}
