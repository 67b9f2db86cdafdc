"""Golden files of LLaMA as its authors ship it: a tiny random model in two parts, and its logits.

Reference: written out here from the definition (facebookresearch/llama, llama/model.py: neighbours are turned as complex
numbers), with torch 2.13.0, float32. The two parts are cut as fairscale's parallel layers cut them.
Run from the root: python Tools/goldens/meta_llama.py
Writes Tests/Fixtures/Backbones/meta-llama/{params.json,consolidated.0N.pth,expected.safetensors}.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

ROOT = Path(__file__).parents[2] / "Tests" / "Fixtures" / "Backbones" / "meta-llama"

DIM, HEADS, KEY_HEADS, LAYERS, VOCABULARY, INNER, EPSILON, PARTS = 24, 4, 2, 2, 706, 70, 1e-5, 2
SIZE = DIM // HEADS
ROWS = ("wq", "wk", "wv", "w1", "w3", "output")
COLUMNS = ("wo", "w2", "tok_embeddings")


def weights():
    torch.manual_seed(7)
    shapes = {"tok_embeddings.weight": (VOCABULARY, DIM), "output.weight": (VOCABULARY, DIM), "norm.weight": (DIM,)}
    for i in range(LAYERS):
        layer = f"layers.{i}."
        shapes |= {
            layer + "attention.wq.weight": (HEADS * SIZE, DIM), layer + "attention.wk.weight": (KEY_HEADS * SIZE, DIM),
            layer + "attention.wv.weight": (KEY_HEADS * SIZE, DIM), layer + "attention.wo.weight": (DIM, HEADS * SIZE),
            layer + "feed_forward.w1.weight": (INNER, DIM), layer + "feed_forward.w2.weight": (DIM, INNER),
            layer + "feed_forward.w3.weight": (INNER, DIM),
            layer + "attention_norm.weight": (DIM,), layer + "ffn_norm.weight": (DIM,),
        }
    # Half precision is what the release stores.
    return {n: (torch.randn(s) * 0.3 + (len(s) == 1)).half() for n, s in shapes.items()}


def norm(x, weight):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON) * weight


def turned(x):
    """[T, H, SIZE], pairs of neighbours turned by their position."""
    frequencies = 1 / 10000 ** (torch.arange(0, SIZE, 2).float() / SIZE)
    angles = torch.outer(torch.arange(x.shape[0]).float(), frequencies)
    turn = torch.polar(torch.ones_like(angles), angles).unsqueeze(1)
    pairs = torch.view_as_complex(x.reshape(*x.shape[:2], -1, 2).contiguous())
    return torch.view_as_real(pairs * turn).flatten(2)


def logits(w, ids):
    h = w["tok_embeddings.weight"][ids]
    seen = torch.tril(torch.ones(len(ids), len(ids), dtype=torch.bool))
    for i in range(LAYERS):
        get = lambda name: w[f"layers.{i}.{name}.weight"]
        x = norm(h, get("attention_norm"))
        q = turned((x @ get("attention.wq").T).view(len(ids), HEADS, SIZE))
        k = turned((x @ get("attention.wk").T).view(len(ids), KEY_HEADS, SIZE)).repeat_interleave(HEADS // KEY_HEADS, 1)
        v = (x @ get("attention.wv").T).view(len(ids), KEY_HEADS, SIZE).repeat_interleave(HEADS // KEY_HEADS, 1)
        scores = torch.einsum("qhd,khd->hqk", q, k) / SIZE ** 0.5
        shares = scores.masked_fill(~seen, float("-inf")).softmax(-1)
        h = h + torch.einsum("hqk,khd->qhd", shares, v).flatten(1) @ get("attention.wo").T
        x = norm(h, get("ffn_norm"))
        fed = torch.nn.functional.silu(x @ get("feed_forward.w1").T) * (x @ get("feed_forward.w3").T)
        h = h + fed @ get("feed_forward.w2").T
    return norm(h, w["norm.weight"]) @ w["output.weight"].T


def part(name, tensor, number):
    kind = name.split(".")[-2]
    if kind in ROWS:
        return tensor.chunk(PARTS, 0)[number].clone()
    if kind in COLUMNS:
        return tensor.chunk(PARTS, 1)[number].clone()
    return tensor


ROOT.mkdir(parents=True, exist_ok=True)
whole = weights()
for number in range(PARTS):
    pieces = {name: part(name, tensor, number) for name, tensor in whole.items()}
    pieces["rope.freqs"] = 1 / 10000 ** (torch.arange(0, SIZE, 2).float() / SIZE)
    torch.save(pieces, ROOT / f"consolidated.{number:02}.pth")
params = dict(dim=DIM, n_layers=LAYERS, n_heads=HEADS, n_kv_heads=KEY_HEADS, vocab_size=-1, multiple_of=10, norm_eps=EPSILON)
(ROOT / "params.json").write_text(json.dumps(params) + "\n")
ids = torch.tensor([1, 291, 564, 303, 584, 531, 582, 269, 2])
save_file(
    {"ids": ids, "logits": logits({n: t.float() for n, t in whole.items()}, ids).contiguous()},
    ROOT / "expected.safetensors")
