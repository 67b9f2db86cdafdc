"""DVP on BERT and on a decoder, and EfficientNet-Lite0, as a plain PyTorch script has them: functions of a dictionary of weights.

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


def prompt_of(w, query, visual, heads, arm=""):
    """query [B, 1, D], visual [B, N, V] → prompt [B, 1, D]; `arm` is the end of a search's names."""
    seen, key = norm(w, "visual_norm", visual, 1e-5), f"cross_attn{arm}.linear_"
    return linear(w, key + "merge", attend(
        linear(w, key + "q", query), linear(w, key + "k", seen), linear(w, key + "v", seen), heads))


def shifted(w, key, x):
    return x * w[key + ".weight"] + w[key + ".bias"]


def classified(w, feature):
    hidden = norm(w, "vqa_classifier.1", linear(w, "vqa_classifier.0", feature), 1e-5)
    return linear(w, "vqa_classifier.3", F.gelu(hidden))


def forward(w, ids, visual, insert_layer, heads, full=True, arm="", frozen=None):
    """ids [B, L] padded with 0, visual [B, N, V] → logits [B, C].

    With full, every layer computes every position, as transformers' BertModel does; without, the last one computes
    only the position that the head reads. `frozen`: what the layers below the prompt are, when not those of w.
    """
    lower = frozen or w
    layers = 1 + max(int(k.split(".")[3]) for k in w if k.startswith("bert_model.encoder.layer."))
    mask = (ids != 0)[:, None, None, :]
    tables = "bert_model.embeddings."
    x = F.embedding(ids, w[tables + "word_embeddings.weight"])
    x = x + w[tables + "token_type_embeddings.weight"][0] + w[tables + "position_embeddings.weight"][:ids.shape[1]]
    x = norm(w, tables + "LayerNorm", x, 1e-12)
    for index in range(insert_layer):
        x = layer(lower, index, x, mask, heads)
    types = w[f"token_type_embeddings{arm}.weight"]
    x = torch.cat([prompt_of(w, x[:, :1], visual, heads, arm) + types[1], x + types[0]], 1)
    mask = F.pad(mask, (1, 0), value=True)
    for index in range(insert_layer, layers):
        x = layer(w, index, x, mask, heads, only=1 if index == layers - 1 and not full else None)
    return classified(w, x[:, 1] if full else x[:, 0])


def scaled(w, key, x, epsilon):
    return F.rms_norm(x, x.shape[-1:], w[key + ".weight"], epsilon)


def turned(x, cosine, sine):
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat([-second, first], -1) * sine


def decoder_adapter(w, index, x, scale):
    key = f"adapter_modules.{index}."
    if key + "down_sampler.weight" not in w:
        return x
    return x + scale * linear(w, key + "up_sampler", F.silu(linear(w, key + "down_sampler", x)))


def decoder_layer(w, index, x, mask, turn, plan, only=False):
    """One decoder layer with adapters; with `only`, just the last position of its output."""
    key = f"llama_model.layers.{index}."
    kept = x[:, -1:] if only else x
    seen = scaled(w, key + "input_layernorm", x, plan["epsilon"])
    own = seen[:, -1:] if only else seen
    query, keys, values = (
        heads_of(F.linear(part, w[f"{key}self_attn.{name}_proj.weight"]), heads)
        for name, part, heads in [
            ("q", own, plan["text_heads"]), ("k", seen, plan["key_heads"]), ("v", seen, plan["key_heads"])])
    cosine, sine = turn
    rows = slice(-1, None) if only else slice(None)
    out = F.scaled_dot_product_attention(
        turned(query, cosine[:, :, rows], sine[:, :, rows]), turned(keys, cosine, sine), values,
        attn_mask=mask[:, :, rows], enable_gqa=True)
    out = F.linear(out.transpose(1, 2).flatten(2), w[key + "self_attn.o_proj.weight"])
    middle = kept + decoder_adapter(w, 2 * index, out, plan["adapter_scale"])
    inner = scaled(w, key + "post_attention_layernorm", middle, plan["epsilon"])
    gate = F.silu(F.linear(inner, w[key + "mlp.gate_proj.weight"]))
    out = F.linear(gate * F.linear(inner, w[key + "mlp.up_proj.weight"]), w[key + "mlp.down_proj.weight"])
    return middle + decoder_adapter(w, 2 * index + 1, out, plan["adapter_scale"])


def decoder_context(valid, plan):
    """valid [B, L] → the mask to add to scores, [B, 1, L, L], and the turns of the positions."""
    length = valid.shape[1]
    position = (valid.cumsum(1) - 1).clamp(min=0)
    size = plan["head_size"]
    angles = position[..., None] / plan["base"] ** (torch.arange(0, size, 2) / size)
    angles = torch.cat([angles, angles], -1)[:, None]
    seen = torch.ones(length, length, dtype=torch.bool).tril() & valid[:, None, None, :].bool()
    # A row that fills up sees itself, so that its softmax is a number.
    seen = seen | torch.eye(length, dtype=torch.bool)
    mask = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)
    return mask, (angles.cos(), angles.sin())


def decoder_forward(w, ids, valid, visual, plan, full=True):
    """ids and valid [B, L] filled up on the left, visual [B, N, V] → logits [B, C]."""
    layers = 1 + max(int(k.split(".")[2]) for k in w if k.startswith("llama_model.layers."))
    x = F.embedding(ids, w["llama_model.embed_tokens.weight"])
    mask, turn = decoder_context(valid, plan)
    for index in range(plan["insert_layer"]):
        x = decoder_layer(w, index, x, mask, turn, plan)
    query = x[:, -1:]
    asked = shifted(w, "query_norm", query)
    prompt = scaled(w, "prompt_norm", asked + prompt_of(w, asked, visual, plan["heads"]), 1e-6)
    x = torch.cat([prompt * query.detach().square().mean(-1, keepdim=True).sqrt(), x], 1)
    mask, turn = decoder_context(F.pad(valid, (1, 0), value=1), plan)
    for index in range(plan["insert_layer"], layers):
        bias = F.pad(w[f"prompt_bias.{index}"].view(1, -1, 1, 1), (0, mask.shape[-1] - 1))
        x = decoder_layer(w, index, x, mask + bias, turn, plan, only=index == layers - 1 and not full)
    feature = scaled(w, "llama_model.norm", x[:, -1], plan["epsilon"])
    return classified(w, shifted(w, "feature_norm", feature))


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
