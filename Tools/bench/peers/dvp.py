"""DVP-BERT and EfficientNet-Lite0 as a plain PyTorch script has them: functions of a dictionary of weights.

Written for the benchmarks from the papers and from Sources/Methods/DVP; keys as in our checkpoints.
"""

import math

import torch
import torch.nn.functional as F


def linear(w, key, x):
    return F.linear(x, w[key + ".weight"], w[key + ".bias"])


def norm(w, key, x, epsilon):
    return F.layer_norm(x, x.shape[-1:], w[key + ".weight"], w[key + ".bias"], epsilon)


def heads_of(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend(query, key, value, heads, mask=None):
    out = F.scaled_dot_product_attention(
        heads_of(query, heads), heads_of(key, heads), heads_of(value, heads), attn_mask=mask)
    return out.transpose(1, 2).flatten(2)


def adapter(w, index, x):
    key = f"adapter_modules.{index}."
    if key + "down_sampler.weight" not in w:
        return x
    return x + linear(w, key + "up_sampler", linear(w, key + "down_sampler", x).relu())


def layer(w, index, x, mask, heads, only=None):
    """One BERT layer with adapters; with `only`, just this position of its output."""
    key = f"bert_model.encoder.layer.{index}."
    inner = key + "attention.self."
    kept = x if only is None else x[:, only:only + 1]
    out = attend(
        linear(w, inner + "query", kept), linear(w, inner + "key", x), linear(w, inner + "value", x), heads, mask)
    out = adapter(w, 2 * index, linear(w, key + "attention.output.dense", out))
    middle = norm(w, key + "attention.output.LayerNorm", out + kept, 1e-12)
    out = linear(w, key + "output.dense", F.gelu(linear(w, key + "intermediate.dense", middle)))
    return norm(w, key + "output.LayerNorm", adapter(w, 2 * index + 1, out) + middle, 1e-12)


def forward(w, ids, visual, insert_layer, heads, full=True):
    """ids [B, L] padded with 0, visual [B, N, V] → logits [B, C].

    With full, every layer computes every position, as transformers' BertModel does; without, the last one computes
    only the position that the head reads.
    """
    layers = 1 + max(int(k.split(".")[3]) for k in w if k.startswith("bert_model.encoder.layer."))
    mask = (ids != 0)[:, None, None, :]
    tables = "bert_model.embeddings."
    x = F.embedding(ids, w[tables + "word_embeddings.weight"])
    x = x + w[tables + "token_type_embeddings.weight"][0] + w[tables + "position_embeddings.weight"][:ids.shape[1]]
    x = norm(w, tables + "LayerNorm", x, 1e-12)
    for index in range(insert_layer):
        x = layer(w, index, x, mask, heads)
    seen = norm(w, "visual_norm", visual, 1e-5)
    prompt = linear(w, "cross_attn.linear_merge", attend(
        linear(w, "cross_attn.linear_q", x[:, :1]), linear(w, "cross_attn.linear_k", seen),
        linear(w, "cross_attn.linear_v", seen), heads))
    types = w["token_type_embeddings.weight"]
    x = torch.cat([prompt + types[1], x + types[0]], 1)
    mask = F.pad(mask, (1, 0), value=True)
    for index in range(insert_layer, layers):
        x = layer(w, index, x, mask, heads, only=1 if index == layers - 1 and not full else None)
    feature = x[:, 1] if full else x[:, 0]
    hidden = norm(w, "vqa_classifier.1", linear(w, "vqa_classifier.0", feature), 1e-5)
    return linear(w, "vqa_classifier.3", F.gelu(hidden))


# EfficientNet-Lite0: the first stride of each stage and its number of blocks.
STAGES = [(1, 1), (2, 2), (2, 2), (2, 3), (1, 3), (2, 4), (1, 1)]


def convolve(w, key, bn, x, stride=1, groups=1):
    weight = w[key + ".weight"]
    kernel = weight.shape[-1]
    # TensorFlow's "same" padding: an odd pixel goes to the right and the bottom.
    total = [max(0, (math.ceil(s / stride) - 1) * stride + kernel - s) for s in x.shape[-2:]]
    x = F.pad(x, (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2))
    x = F.conv2d(x, weight, stride=stride, groups=groups)
    return F.batch_norm(
        x, w[bn + ".running_mean"], w[bn + ".running_var"], w[bn + ".weight"], w[bn + ".bias"], eps=1e-3)


def visual_tokens(w, pixels):
    """[B, 3, H, W] → the cells of the last grid, [B, N, 1280]"""
    x = F.relu6(convolve(w, "_conv_stem", "_bn0", pixels, stride=2))
    number = 0
    for first, repeats in STAGES:
        for repeat in range(repeats):
            key, start, stride = f"_blocks.{number}.", x, first if repeat == 0 else 1
            if key + "_expand_conv.weight" in w:
                x = F.relu6(convolve(w, key + "_expand_conv", key + "_bn0", x))
            x = F.relu6(convolve(w, key + "_depthwise_conv", key + "_bn1", x, stride=stride, groups=x.shape[1]))
            x = convolve(w, key + "_project_conv", key + "_bn2", x)
            if stride == 1 and x.shape == start.shape:
                x = x + start
            number += 1
    return F.relu6(convolve(w, "_conv_head", "_bn1", x)).flatten(2).transpose(1, 2)
