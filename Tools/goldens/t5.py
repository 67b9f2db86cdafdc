"""Makes Tests/Fixtures/Backbones/t5: two tiny random T5 of odd sizes and what the reference computes with them.

Versions: torch 2.13.0, transformers 5.23.0, safetensors 0.8.0 (Tools/requirements-dev.txt).
Command:  python Tools/goldens/t5.py

v10 has the ReLU feed-forward part and a tied head, v11 the gated one and a head of its own. The lengths cross the borders
of the position buckets. Attention is the reference's eager one.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

ROOT = Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "Backbones" / "t5"
NEW_TOKENS = 12


def contiguous(tensors):
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def build(seed, **sizes):
    torch.manual_seed(seed)
    config = T5Config(pad_token_id=0, eos_token_id=1, decoder_start_token_id=3, attn_implementation="eager", **sizes)
    model = T5ForConditionalGeneration(config).eval()
    if sizes.get("tie_word_embeddings") is False:
        model.lm_head.weight = torch.nn.Parameter(torch.empty(config.vocab_size, config.d_model))
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if name.endswith("layer_norm.weight"):
                parameter.normal_(1.0, 0.2)
            elif "relative_attention_bias" in name or name == "shared.weight":
                parameter.normal_(0.0, 1.0)
            else:
                parameter.normal_(0.0, parameter.shape[1] ** -0.5)
    if model.config.scale_decoder_outputs:
        model.lm_head.weight = model.shared.weight
    return model


def rows(lengths, vocabulary, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(2, vocabulary, (length,), generator=generator)
    return ids


def record(model, expected, prefix):
    """Hooks that keep every sub-layer's output and what enters the projections of the heads."""
    handles = []

    def keep(name):
        return lambda module, inputs, output: expected.__setitem__(prefix + name, output)

    def heads(name, attention):
        def hook(module, inputs, output):
            b, t, _ = inputs[0].shape
            expected[prefix + name + ".heads"] = inputs[0].view(b, t, attention.n_heads, -1).transpose(1, 2)

        return hook

    for stack, blocks in [("encoder", model.encoder.block), ("decoder", model.decoder.block)]:
        for i, block in enumerate(blocks):
            for layer in block.layer:
                for part in ["SelfAttention", "EncDecAttention"]:
                    if hasattr(layer, part):
                        attention = getattr(layer, part)
                        handles.append(attention.o.register_forward_hook(keep(f"{stack}.{i}.{part}")))
                        if part == "SelfAttention":
                            handles.append(attention.o.register_forward_hook(heads(f"{stack}.{i}", attention)))
                if hasattr(layer, "DenseReluDense"):
                    handles.append(layer.DenseReluDense.register_forward_hook(keep(f"{stack}.{i}.mlp")))
    return handles


def case(model, name, lengths, decoder_lengths, seed, taps=False):
    vocabulary = model.config.vocab_size
    ids, decoder_ids = rows(lengths, vocabulary, seed), rows(decoder_lengths, vocabulary, seed + 1)
    mask, decoder_mask = ids != 0, decoder_ids != 0
    inputs = model.shared(ids).detach().requires_grad_()
    targets = model.shared(decoder_ids).detach().requires_grad_()
    expected = {"ids": ids, "decoder_ids": decoder_ids}
    handles = record(model, expected, "tap.") if taps else []
    out = model(
        inputs_embeds=inputs, attention_mask=mask.long(), decoder_inputs_embeds=targets,
        decoder_attention_mask=decoder_mask.long(), output_hidden_states=True, use_cache=False,
    )
    for handle in handles:
        handle.remove()
    expected["logits"] = out.logits
    # The last one the reference lists has already passed the final norm.
    for stack, states in [("encoder", out.encoder_hidden_states), ("decoder", out.decoder_hidden_states)]:
        expected |= {f"{stack}.state.{i}": state for i, state in enumerate(states)}
    weight = torch.sin(torch.arange(out.logits.numel(), dtype=torch.float32)).reshape(out.logits.shape)
    (out.logits * weight * decoder_mask[..., None]).sum().backward()
    expected |= {"gradient": inputs.grad, "decoder_gradient": targets.grad}

    model.generation_config.eos_token_id = None
    # Without its cache, which the reference sizes by the encoder: a deeper decoder does not fit.
    generated = model.generate(
        use_cache=False,
        input_ids=ids, attention_mask=mask.long(), max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=1,
        decoder_start_token_id=3, pad_token_id=0, output_logits=True, return_dict_in_generate=True,
    )
    scores = torch.stack(generated.logits)  # [12, B, V]
    best = scores.topk(2, dim=-1).values
    assert (best[..., 0] - best[..., 1]).min() > 2e-3, "a tie too close for other processors"
    assert generated.sequences.shape[1] == NEW_TOKENS + 1
    expected |= {"generated": generated.sequences[:, 1:], "scores": scores}
    save_file(contiguous(expected), ROOT / f"{name}.safetensors")


def main():
    ROOT.mkdir(parents=True, exist_ok=True)
    models = {
        "v10": build(
            3, vocab_size=43, d_model=20, d_kv=6, num_heads=5, d_ff=33, num_layers=3, num_decoder_layers=2,
            relative_attention_num_buckets=8, relative_attention_max_distance=20, feed_forward_proj="relu",
        ),
        "v11": build(
            5, vocab_size=41, d_model=18, d_kv=7, num_heads=3, d_ff=29, num_layers=2, num_decoder_layers=3,
            relative_attention_num_buckets=12, relative_attention_max_distance=25, feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
        ),
    }
    for name, model in models.items():
        state = {key: value for key, value in model.state_dict().items() if "embed_tokens" not in key}
        if name == "v10":
            del state["lm_head.weight"]
        folder = ROOT / name
        folder.mkdir(exist_ok=True)
        save_file(contiguous(state), folder / "model.safetensors")
        config = json.loads(model.config.to_json_string()) | {"decoder_start_token_id": 3}
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        case(model, f"{name}-short", [5, 3], [4, 2], seed=21, taps=True)
        case(model, f"{name}-long", [31, 8, 23], [27, 1, 13], seed=22)

    distances = torch.arange(-300, 301)
    buckets = {"distances": distances}
    for count, maximum in [(32, 128), (8, 20), (12, 25), (33, 100)]:
        for both in [True, False]:
            key = f"{count}.{maximum}.{'both' if both else 'one'}"
            buckets[key] = T5Attention._relative_position_bucket(distances, both, count, maximum)
    save_file(contiguous(buckets), ROOT / "buckets.safetensors")
    print(f"wrote {sum(p.stat().st_size for p in ROOT.rglob('*') if p.is_file())} bytes to {ROOT.name}")


if __name__ == "__main__":
    main()
