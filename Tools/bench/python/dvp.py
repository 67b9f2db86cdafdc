"""DVP on BERT and EfficientNet-Lite0 in plain PyTorch, as a user of PyTorch would write them: the peer of the benchmarks.
Weights are dictionaries with the keys of the adapter and of the frozen models' files.

Legend: B batch, L text tokens, N visual tokens, D width of BERT, V width of the visual tokens, K insertion layer.
"""

import torch
import torch.nn.functional as F


def linear(w, name, x):
    return F.linear(x, w[name + ".weight"], w[name + ".bias"])


def norm(w, name, x, epsilon):
    return F.layer_norm(x, (x.shape[-1],), w[name + ".weight"], w[name + ".bias"], epsilon)


def attend(q, k, v, heads, mask=None, dropout=0.0):
    """[B, T, D] each → [B, T, D]; mask [B, 1, 1, S], true where visible."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout).transpose(1, 2).flatten(2)


class DVP:
    """DVP-BERT over a dictionary of weights.

    sizes: layers, heads (of BERT), norm_epsilon, insert_layer, num_heads (of the cross-attention), use_adapter,
    freeze_below, visual_norm, drop_rate.
    """

    def __init__(self, weights, sizes):
        self.w, self.s = weights, sizes

    def trained(self):
        """The keys that training changes."""
        if not self.s["use_adapter"]:
            return list(self.w)
        first = self.s["insert_layer"] if self.s["freeze_below"] else 0
        norms = [f"bert_model.encoder.layer.{i}." for i in range(first, self.s["layers"])]
        return [
            key for key in self.w
            if not key.startswith("bert_model.") or ("LayerNorm" in key and key.startswith(tuple(norms)))
        ]

    def adapter(self, index, x):
        name = f"adapter_modules.{index}"
        if name + ".down_sampler.weight" not in self.w:
            return x
        return x + linear(self.w, name + ".up_sampler", linear(self.w, name + ".down_sampler", x).relu())

    def layer(self, i, x, mask, dropout):
        w, name, epsilon = self.w, f"bert_model.encoder.layer.{i}", self.s["norm_epsilon"]
        q, k, v = (linear(w, f"{name}.attention.self.{part}", x) for part in ("query", "key", "value"))
        attended = linear(w, name + ".attention.output.dense", attend(q, k, v, self.s["heads"], mask, dropout))
        attended = self.adapter(2 * i, F.dropout(attended, dropout))
        middle = norm(w, name + ".attention.output.LayerNorm", attended + x, epsilon)
        fed = linear(w, name + ".output.dense", F.gelu(linear(w, name + ".intermediate.dense", middle)))
        fed = self.adapter(2 * i + 1, F.dropout(fed, dropout))
        return norm(w, name + ".output.LayerNorm", fed + middle, epsilon)

    def lower(self, ids, mask, dropout=0.0):
        """ids, mask [B, L] → the states at the input of layer K, [B, L, D]"""
        w, name = self.w, "bert_model.embeddings"
        x = F.embedding(ids, w[name + ".word_embeddings.weight"])
        x = x + w[name + ".token_type_embeddings.weight"][0] + w[name + ".position_embeddings.weight"][: ids.shape[1]]
        x = F.dropout(norm(w, name + ".LayerNorm", x, self.s["norm_epsilon"]), dropout)
        for i in range(self.s["insert_layer"]):
            x = self.layer(i, x, mask[:, None, None, :], dropout)
        return x

    def upper(self, x, mask, visual, dropout=0.0):
        """states [B, L, D], mask [B, L], visual [B, N, V] → logits [B, C]"""
        w = self.w
        if self.s["visual_norm"]:
            visual = norm(w, "visual_norm", visual, 1e-5)
        q = linear(w, "cross_attn.linear_q", x[:, :1])
        k, v = (linear(w, f"cross_attn.linear_{part}", visual) for part in "kv")
        prompt = linear(w, "cross_attn.linear_merge", attend(q, k, v, self.s["num_heads"], dropout=dropout))
        types = w["token_type_embeddings.weight"]
        x = torch.cat([prompt + types[1], x + types[0]], 1)
        mask = F.pad(mask, (1, 0), value=True)[:, None, None, :]
        for i in range(self.s["insert_layer"], self.s["layers"]):
            x = self.layer(i, x, mask, dropout)
        hidden = norm(w, "vqa_classifier.1", linear(w, "vqa_classifier.0", x[:, 1]), 1e-5)
        return linear(w, "vqa_classifier.3", F.gelu(hidden))

    def __call__(self, ids, mask, visual, dropout=0.0):
        return self.upper(self.lower(ids, mask, dropout), mask, visual, dropout)


def bert_weights(tensors):
    """The tensors of a BERT file under the keys of DVP."""
    found = {k.removeprefix("bert."): v for k, v in tensors.items()}
    return {
        "bert_model." + k: v for k, v in found.items()
        if not k.startswith("pooler.") and k != "embeddings.position_ids"
    }


# expansion, output channels, kernel, first stride, repeats
STAGES = [
    (1, 16, 3, 1, 1), (6, 24, 3, 2, 2), (6, 40, 5, 2, 2), (6, 80, 3, 2, 3), (6, 112, 5, 1, 3), (6, 192, 5, 2, 4),
    (6, 320, 3, 1, 1),
]


def efficientnet_tokens(w, x):
    """EfficientNet-Lite0: images [B, 3, H, W] → the cells of the last feature grid, [B, N, 1280]"""

    def convolve(name, x, stride=1, groups=1):
        weight = w[name + ".weight"]
        kernel = weight.shape[-1]
        # TensorFlow's "same" padding: what is odd goes to the right and the bottom.
        pads = [max(0, (-(-size // stride) - 1) * stride + kernel - size) for size in (x.shape[3], x.shape[2])]
        x = F.pad(x, [side for pad in pads for side in (pad // 2, pad - pad // 2)])
        return F.conv2d(x, weight, stride=stride, groups=groups)

    def batch_norm(name, x):
        return F.batch_norm(
            x, w[name + ".running_mean"], w[name + ".running_var"], w[name + ".weight"], w[name + ".bias"], eps=1e-3)

    x = F.relu6(batch_norm("_bn0", convolve("_conv_stem", x, 2)))
    index = 0
    for expansion, outputs, _, stride, repeats in STAGES:
        for repeat in range(repeats):
            name, start = f"_blocks.{index}", x
            if expansion > 1:
                x = F.relu6(batch_norm(name + "._bn0", convolve(name + "._expand_conv", x)))
            step = stride if repeat == 0 else 1
            x = F.relu6(batch_norm(name + "._bn1", convolve(name + "._depthwise_conv", x, step, x.shape[1])))
            x = batch_norm(name + "._bn2", convolve(name + "._project_conv", x))
            if step == 1 and start.shape[1] == outputs:
                x = x + start
            index += 1
    return F.relu6(batch_norm("_bn1", convolve("_conv_head", x))).flatten(2).transpose(1, 2).contiguous()
