"""Golden files of the decoders: tiny random LLaMA, Mistral and Qwen2 models, and what the reference makes of them.

Reference: transformers 5.23.0, torch 2.13.0, eager attention, float32. The input gradient is of float64: its numbers reach
180, so that float32 alone leaves the small ones uncertain by 1e-4, differently on every processor.
Run from the root: python Tools/goldens/decoders.py
Writes Tests/Fixtures/Backbones/decoders/NAME/{config.json,model.safetensors,expected.safetensors}.
"""

import copy
import json
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import save_file
from transformers import (
    LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM,
)

ROOT = Path(__file__).parents[2] / "Tests" / "Fixtures" / "Backbones" / "decoders"

SHARED = dict(
    vocab_size=89, hidden_size=30, intermediate_size=47, num_hidden_layers=3, num_attention_heads=6,
    num_key_value_heads=2, head_dim=10, max_position_embeddings=64, rms_norm_eps=1e-5, bos_token_id=1,
    eos_token_id=2, pad_token_id=0, attn_implementation="eager",
)

# Trained for 16 tokens, so that the prompts of 23 reach beyond.
LLAMA3 = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=16, rope_theta=500.0,
)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, rope_theta=1000.0)

MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SHARED, rope_parameters=LLAMA3)),
    "llama-bias": (
        LlamaForCausalLM,
        LlamaConfig(
            **{**SHARED, "num_key_value_heads": 6, "max_position_embeddings": 16}, attention_bias=True, mlp_bias=True,
            rope_parameters=dict(rope_type="dynamic", factor=4.0, rope_theta=10000.0)),
    ),
    "llama-yarn": (LlamaForCausalLM, LlamaConfig(**{**SHARED, "hidden_act": "gelu"}, rope_parameters=YARN)),
    "llama-linear": (
        LlamaForCausalLM,
        LlamaConfig(**SHARED, rope_parameters=dict(rope_type="linear", factor=2.5, rope_theta=700.0)),
    ),
    "mistral": (MistralForCausalLM, MistralConfig(**SHARED, sliding_window=7)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**{**SHARED, "hidden_size": 36, "head_dim": 6}, tie_word_embeddings=True)),
    "qwen2-window": (
        Qwen2ForCausalLM,
        Qwen2Config(**SHARED, use_sliding_window=True, sliding_window=5, max_window_layers=1),
    ),
}


def scaled(model):
    """Weights large enough that every part matters, values of order 1."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            value = 1 + 0.2 * noise
        elif parameter.dim() == 1:
            value = 0.3 * noise
        elif "embed" in name:
            value = noise * 0.4
        else:
            value = noise * 1.2 / parameter.shape[1] ** 0.5
        parameter.data.copy_(value)


def exact_gradient(model, embedded, real, positions):
    """Of the sum of the sines of the logits, in float64. The reference's norms and softmax go through float32 by
    themselves; here they stay."""
    def norm(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    softmax = torch.nn.functional.softmax
    embedded = embedded.detach().double().requires_grad_()
    norms = {type(part) for part in model.modules() if type(part).__name__.endswith("RMSNorm")}
    with mock.patch.object(torch.nn.functional, "softmax", lambda x, dim, dtype: softmax(x, dim)):
        with mock.patch.multiple(norms.pop(), forward=norm):
            logits = copy.deepcopy(model).double()(
                inputs_embeds=embedded, attention_mask=real.long(), position_ids=positions, use_cache=False).logits
            (logits.sin() * real[..., None]).sum().backward()
    return embedded.grad.float()


def make(name, cls, config):
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    model = cls(config).eval()
    scaled(model)
    state = {k: v.contiguous().clone() for k, v in model.state_dict().items()}
    if config.tie_word_embeddings:
        state.pop("lm_head.weight")
    save_file(state, folder / "model.safetensors")
    text = json.loads(config.to_json_string())
    (folder / "config.json").write_text(json.dumps(text, indent=1) + "\n")

    ids = torch.randint(3, config.vocab_size, (2, 23), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[1, :9] = 0
    ids[1, :9] = 0
    embedded = model.get_input_embeddings()(ids).detach()
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    out = model(
        inputs_embeds=embedded, attention_mask=mask, position_ids=positions, output_hidden_states=True, use_cache=False)
    expected = {
        "ids": ids, "mask": mask, "embedded": embedded, "logits": out.logits,
        "gradient": exact_gradient(model, embedded, mask.bool(), positions),
        "generated": model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=12, do_sample=False, eos_token_id=None)[:, 23:],
        "alone": model.generate(input_ids=ids[1:, 9:], max_new_tokens=12, do_sample=False, eos_token_id=None)[:, 14:],
    }
    for index, states in enumerate(out.hidden_states):
        expected[f"hidden.{index}"] = states
    save_file({k: v.detach().clone().contiguous() for k, v in expected.items()}, folder / "expected.safetensors")


if __name__ == "__main__":
    for name, (cls, config) in MODELS.items():
        make(name, cls, config)
    print(f"wrote {sum(p.stat().st_size for p in ROOT.rglob('*') if p.is_file())} bytes")
