import Torch

/// One pre-norm block of a vision transformer, as CLIP and SigLIP have it: keys `self_attn.{q,k,v,out}_proj`,
/// `layer_norm1`, `layer_norm2`, `mlp.fc1` and `mlp.fc2`, all with bias.
///
/// Legend: B batch, N tokens, D width, H heads.
struct VisionBlock: Module {
    private var query: Linear
    private var key: Linear
    private var value: Linear
    private var attentionOutput: Linear
    private var attentionNorm: LayerNorm
    private var expand: Linear
    private var contract: Linear
    private var mlpNorm: LayerNorm
    private let heads: Int
    private let activation: ActivationFunction

    /// - Parameters:
    ///   - size: width D, a multiple of `heads`.
    ///   - intermediateSize: width of the feed-forward part.
    ///   - epsilon: of both norms.
    init(
        _ size: Int, heads: Int, intermediateSize: Int, epsilon: Double, _ activation: ActivationFunction
    ) throws {
        query = try Linear(size, size)
        key = try Linear(size, size)
        value = try Linear(size, size)
        attentionOutput = try Linear(size, size)
        attentionNorm = try LayerNorm(size, epsilon: epsilon)
        expand = try Linear(size, intermediateSize)
        contract = try Linear(intermediateSize, size)
        mlpNorm = try LayerNorm(size, epsilon: epsilon)
        self.heads = heads
        self.activation = activation
    }

    mutating func visit(_ visitor: ParameterVisitor) throws {
        try visitor("self_attn.k_proj", &key)
        try visitor("self_attn.v_proj", &value)
        try visitor("self_attn.q_proj", &query)
        try visitor("self_attn.out_proj", &attentionOutput)
        try visitor("layer_norm1", &attentionNorm)
        try visitor("mlp.fc1", &expand)
        try visitor("mlp.fc2", &contract)
        try visitor("layer_norm2", &mlpNorm)
    }

    /// [B, N, D] → [B, N, D]; mask [B, 1, 1, N], true where a token may be attended to.
    func callAsFunction(_ input: Tensor, mask: Tensor? = nil, _ index: Int, _ tap: Tap?) throws -> Tensor {
        let x = try tap.at(.blockInput, index, input)
        let normed = try tap.at(.attentionInput, index, attentionNorm(x))
        var heads = try splitHeads(query(normed), self.heads).attention(
            key: splitHeads(key(normed), self.heads), value: splitHeads(value(normed), self.heads), mask: mask
        )
        heads = try tap.at(.headOutput, index, heads)  // [B, H, N, D/H]
        let middle = try x + tap.at(.attentionOutput, index, attentionOutput(mergeHeads(heads)))
        let fed = try contract(activation(expand(mlpNorm(middle))))
        return try tap.at(.blockOutput, index, middle + tap.at(.mlpOutput, index, fed))
    }
}

/// The vision tower's weights in a checkpoint that may hold a whole model: the keys that share the prefix of a marker, without
/// it. Empty when no key ends with a marker.
///
/// The prefixes met are none, `vision_model.`, `model.vision_model.`, `vision_tower.vision_model.`, `model.vision_tower.`
/// and `model.vision_tower.vision_tower.vision_model.`, with `base_model.model.` before it in adapters' files.
///
/// - Parameter markers: keys that every such part has, the surest first; with more than one a damaged file that lacks the
///   first is still recognised, and the loading can name what it lacks.
func towerPart(
    of weights: [String: Tensor],
    markers: [String] = ["embeddings.patch_embedding.weight", "post_layernorm.weight"]
) -> [String: Tensor] {
    for marker in markers {
        let found = weights.keys.filter { $0 == marker || $0.hasSuffix("." + marker) }
        guard let prefix = found.min()?.dropLast(marker.count) else { continue }
        var result: [String: Tensor] = [:]
        for (name, tensor) in weights where name.hasPrefix(prefix) {
            let key = String(name.dropFirst(prefix.count))
            // A counter that old files store and nothing reads.
            if key != "embeddings.position_ids" { result[key] = tensor }
        }
        return result
    }
    return [:]
}
