"""Makes Tests/Fixtures/Backbones/deberta: tiny random DeBERTa-v2/v3 of odd sizes and what the reference computes with them.

Versions: torch 2.13.0, transformers 5.23.0, safetensors 0.8.0 (Tools/requirements-dev.txt).
Command:  python Tools/goldens/deberta.py

v3 has the options of deberta-v3 (shared projections, buckets, normed table), v2 all the others (projections of its own,
no buckets, absolute positions, segments, narrow tables, a convolution), plain no relative positions.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import DebertaV2Config, DebertaV2Model
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

ROOT = Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "Backbones" / "deberta"


def contiguous(tensors):
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def build(seed, **options):
    torch.manual_seed(seed)
    model = DebertaV2Model(DebertaV2Config(attn_implementation="eager", **options)).eval()
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if "LayerNorm" in name and name.endswith("weight"):
                parameter.normal_(1.0, 0.2)
            elif "embeddings" in name:
                parameter.normal_(0.0, 1.0)
            elif parameter.dim() == 1:
                parameter.normal_(0.0, 0.2)
            else:
                parameter.normal_(0.0, 1.3 * parameter[0].numel() ** -0.5)
    return model


def case(model, name, lengths, seed, segments=None):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(1, model.config.vocab_size, (length,), generator=generator)
    mask = ids != 0
    expected = {"ids": ids}
    if segments:
        expected["segments"] = torch.randint(0, segments, ids.shape, generator=generator)
    embedded = model.embeddings(input_ids=ids, token_type_ids=expected.get("segments"), mask=mask.long())
    embedded = embedded.detach().requires_grad_()
    handles, heads = [], model.config.num_attention_heads

    def keep(key):
        return lambda module, inputs, output: expected.__setitem__(key, output)

    def context(key):
        def hook(module, inputs, output):
            b, t, _ = output[0].shape
            expected[key] = output[0].view(b, t, heads, -1).transpose(1, 2)

        return hook

    for i, layer in enumerate(model.encoder.layer):
        handles += [
            layer.attention.self.register_forward_hook(context(f"tap.{i}.heads")),
            layer.attention.output.dense.register_forward_hook(keep(f"tap.{i}.attention")),
            layer.output.dense.register_forward_hook(keep(f"tap.{i}.mlp")),
        ]
    out = model.encoder(embedded, mask.long(), output_hidden_states=True)
    for handle in handles:
        handle.remove()
    whole = model(input_ids=ids, attention_mask=mask.long(), token_type_ids=expected.get("segments"))
    assert torch.allclose(whole.last_hidden_state, out.last_hidden_state, atol=1e-5)
    expected |= {f"state.{i}": state for i, state in enumerate(out.hidden_states)}
    hidden = out.last_hidden_state
    weight = torch.sin(torch.arange(hidden.numel(), dtype=torch.float32)).reshape(hidden.shape)
    (hidden * weight).sum().backward()
    expected["gradient"] = embedded.grad
    save_file(contiguous(expected), ROOT / f"{name}.safetensors")


def main():
    ROOT.mkdir(parents=True, exist_ok=True)
    models = {
        "v3": build(
            13, vocab_size=39, hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=34,
            max_position_embeddings=40, relative_attention=True, position_buckets=8, norm_rel_ebd="layer_norm",
            share_att_key=True, pos_att_type="p2c|c2p", position_biased_input=False, type_vocab_size=0,
            max_relative_positions=-1,
        ),
        "v2": build(
            17, vocab_size=37, hidden_size=28, num_hidden_layers=2, num_attention_heads=4, intermediate_size=45,
            max_position_embeddings=43, relative_attention=True, max_relative_positions=6, share_att_key=False,
            pos_att_type=["c2p", "p2c"], position_biased_input=True, type_vocab_size=3, embedding_size=16,
            conv_kernel_size=3, conv_groups=2, conv_act="gelu",
        ),
        "plain": build(
            19, vocab_size=35, hidden_size=21, num_hidden_layers=2, num_attention_heads=3, intermediate_size=31,
            max_position_embeddings=23, pos_att_type=["c2p"], position_biased_input=True,
        ),
    }
    for name, model in models.items():
        folder = ROOT / name
        folder.mkdir(exist_ok=True)
        save_file(contiguous(model.state_dict()), folder / "model.safetensors")
        (folder / "config.json").write_text(model.config.to_json_string())
    case(models["v3"], "v3-short", [5, 3], seed=31)
    case(models["v3"], "v3-long", [37, 1, 16], seed=32)
    case(models["v2"], "v2-short", [4, 2], seed=33, segments=3)
    case(models["v2"], "v2-long", [17, 6, 11], seed=34, segments=3)
    case(models["plain"], "plain-short", [9, 5], seed=35)

    distances = torch.arange(-511, 512)
    buckets = {"distances": distances}
    for count, maximum in [(256, 512), (8, 40), (5, 100)]:
        buckets[f"{count}.{maximum}"] = make_log_bucket_position(distances, count, maximum).long()
    save_file(contiguous(buckets), ROOT / "buckets.safetensors")
    print(f"wrote {sum(p.stat().st_size for p in ROOT.rglob('*') if p.is_file())} bytes to {ROOT.name}")


if __name__ == "__main__":
    main()
