"""Golden files of the joined models: tiny random LLaVA, InstructBLIP, Idefics and Idefics2, and what the reference makes of
prompts with no, one and three images in padded batches.

Reference: transformers 5.23.0, torch 2.13.0, eager attention, float32.
Run from the root: python Tools/goldens/joined.py
Writes Tests/Fixtures/Backbones/joined/NAME/{config.json,model.safetensors,expected.safetensors}.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    CLIPVisionConfig, Idefics2Config, Idefics2ForConditionalGeneration, IdeficsConfig, IdeficsForVisionText2Text,
    InstructBlipConfig, InstructBlipForConditionalGeneration, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration,
    MistralConfig, Qwen2Config, T5Config,
)

ROOT = Path(__file__).parents[2] / "Tests" / "Fixtures" / "Backbones" / "joined"
TEXT = dict(
    vocab_size=89, hidden_size=30, intermediate_size=47, num_hidden_layers=2, num_attention_heads=6,
    num_key_value_heads=2, head_dim=10, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)
IMAGE = 80  # the id that stands for an image


def scaled(model):
    """Weights large enough that every part matters, values of order 1."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name.lower() and name.endswith("weight") or "layernorm" in name.lower() and name.endswith("weight"):
            value = 1 + 0.2 * noise
        elif "alpha" in name:
            value = 0.5 + 0.3 * noise
        elif parameter.dim() == 1:
            value = 0.2 * noise
        elif "shared" in name:
            # T5's table is its head too: large rows would have every token followed by itself.
            value = 0.06 * noise
        elif "embed" in name or "latents" in name or "query_tokens" in name:
            value = 0.6 * noise
        else:
            value = noise / parameter[0].numel() ** 0.5
        parameter.data.copy_(value)
    return model.eval()


def text(length, seed):
    return torch.randint(3, 79, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def padded(rows):
    """Left-padded ids and mask."""
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    return ids, torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])


def pixels(*shape, seed=5):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def save(name, model, inputs, expected):
    folder = ROOT / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tensors = inputs | expected
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, folder / "expected.safetensors")


def run(name, model, inputs, mask):
    """Logits, the gradient of the pixels through the frozen model, and greedy tokens."""
    model.config._attn_implementation = "eager"
    inputs = {k: v.clone() for k, v in inputs.items()}
    inputs["pixel_values"].requires_grad_()
    positions = {} if "instructblip" in name else {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
    out = model(**inputs, **positions, use_cache=False)
    real = torch.ones(1) if "t5" in name else mask[..., None]
    (out.logits.sin() * real).sum().backward()
    expected = {"logits": out.logits, "gradient": inputs["pixel_values"].grad}
    inputs["pixel_values"].requires_grad_(False)
    inputs.pop("decoder_input_ids", None)
    generated = model.generate(
        **inputs, max_new_tokens=9, do_sample=False, num_beams=1, eos_token_id=None, pad_token_id=0, use_cache=True)
    expected["generated"] = generated[:, -9:]
    save(name, model, inputs, expected)


def llava(name, text_config, **more):
    vision = CLIPVisionConfig(
        hidden_size=24, intermediate_size=37, num_hidden_layers=3, num_attention_heads=4, image_size=28, patch_size=7)
    config = LlavaConfig(
        vision_config=vision, text_config=text_config, image_token_index=IMAGE, image_seq_length=16, **more)
    model = scaled(LlavaForConditionalGeneration(config))
    shown = [IMAGE] * 16
    ids, mask = padded([
        [1] + text(3, 1) + shown + text(6, 2),
        [1] + text(12, 3),
        [1] + shown + text(2, 4) + shown + shown + text(5, 5),
    ])
    run(name, model, {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels(4, 3, 28, 28)}, mask)


def instructblip(name, text_config):
    config = InstructBlipConfig(
        vision_config=dict(
            hidden_size=24, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=7),
        qformer_config=dict(
            vocab_size=61, hidden_size=36, num_hidden_layers=2, num_attention_heads=3, intermediate_size=41,
            encoder_hidden_size=24, cross_attention_frequency=2, max_position_embeddings=40),
        text_config=text_config.to_dict(), num_query_tokens=5, image_token_index=IMAGE)
    model = scaled(InstructBlipForConditionalGeneration(config))
    ids, mask = padded([[IMAGE] * 5 + [1] + text(9, 1), [IMAGE] * 5 + [1] + text(4, 2)])
    read = torch.tensor([[7, 8, 9, 10, 11, 12], [13, 14, 15, 0, 0, 0]])
    inputs = {
        "input_ids": ids, "attention_mask": mask, "pixel_values": pixels(2, 3, 28, 28), "qformer_input_ids": read,
        "qformer_attention_mask": (read != 0).long(),
    }
    if "t5" in name:
        inputs["decoder_input_ids"] = torch.tensor([[0, 5, 6], [0, 9, 4]])
    run(name, model, inputs, mask)


def idefics(name, **perceiver):
    config = IdeficsConfig(
        vocab_size=83, additional_vocab_size=2, hidden_size=36, intermediate_size=47, num_hidden_layers=4,
        num_attention_heads=6, cross_layer_interval=2, qk_layer_norms=True, bos_token_id=1, eos_token_id=2,
        pad_token_id=0,
        vision_config=dict(
            embed_dim=24, image_size=28, patch_size=7, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=37),
        perceiver_config=perceiver, alpha_type="vector" if not perceiver else "float")
    model = scaled(IdeficsForVisionText2Text(config))
    fake, image = 83, 84
    shown = [fake, image, fake]
    rows = [
        [1] + text(3, 1) + shown + text(6, 2),
        [1] + text(10, 3),
        [1] + shown + text(2, 4) + [fake, image, fake, image, fake] + text(3, 5) + [2] + text(2, 6),
    ]
    ids, mask = padded(rows)
    seen = torch.zeros(3, ids.shape[1], 3, dtype=torch.long)
    for row, tokens in enumerate(ids.tolist()):
        current = -1
        count = -1
        for place, token in enumerate(tokens):
            if token == image:
                count += 1
                current = count
            if current >= 0:
                seen[row, place, current] = 1
            if token == 2:
                current = -1
    values = pixels(3, 3, 3, 28, 28)
    values[0, 1:] = 0
    values[1] = 0
    inputs = {"input_ids": ids, "attention_mask": mask, "pixel_values": values, "image_attention_mask": seen}
    run(name, model, inputs, mask)


def idefics2(name):
    config = Idefics2Config(
        vision_config=dict(
            hidden_size=24, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, image_size=70,
            patch_size=7),
        perceiver_config=dict(
            resampler_n_latents=5, resampler_depth=2, resampler_n_heads=4, resampler_head_dim=7, num_key_value_heads=2,
            hidden_size=30),
        text_config=MistralConfig(**TEXT, sliding_window=9).to_dict(), image_token_id=IMAGE)
    model = scaled(Idefics2ForConditionalGeneration(config))
    fake = 81
    shown = [fake] + [IMAGE] * 5 + [fake]
    ids, mask = padded([
        [1] + text(3, 1) + shown + text(6, 2),
        [1] + text(12, 3),
        [1] + shown + text(2, 4) + shown + shown + text(5, 5),
    ])
    values = torch.zeros(3, 3, 3, 42, 56)
    visible = torch.zeros(3, 3, 42, 56, dtype=torch.long)
    for seed, (row, number, height, width) in enumerate([(0, 0, 42, 31), (2, 0, 21, 56), (2, 1, 42, 56), (2, 2, 35, 29)]):
        values[row, number, :, :height, :width] = pixels(3, height, width, seed=20 + seed)
        visible[row, number, :height, :width] = 1
    inputs = {
        "input_ids": ids, "attention_mask": mask, "pixel_values": values, "pixel_attention_mask": visible}
    run(name, model, inputs, mask)


if __name__ == "__main__":
    chosen = sys.argv[1:]
    t5 = T5Config(
        vocab_size=89, d_model=30, d_kv=7, d_ff=47, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu",
        tie_word_embeddings=False, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)
    jobs = {
        "llava-llama": lambda: llava("llava-llama", LlamaConfig(**TEXT)),
        "llava-qwen2": lambda: llava("llava-qwen2", Qwen2Config(**TEXT), vision_feature_layer=-3),
        "instructblip-vicuna": lambda: instructblip("instructblip-vicuna", LlamaConfig(**TEXT)),
        "instructblip-t5": lambda: instructblip("instructblip-t5", t5),
        "idefics": lambda: idefics(
            "idefics", use_resampler=True, resampler_n_latents=5, resampler_depth=2, resampler_n_heads=3,
            resampler_head_dim=7, qk_layer_norms_perceiver=True),
        "idefics-plain": lambda: idefics("idefics-plain"),
        "idefics2": lambda: idefics2("idefics2"),
    }
    for name, job in jobs.items():
        if not chosen or name in chosen:
            job()
    print(f"wrote {sum(p.stat().st_size for p in ROOT.rglob('*') if p.is_file())} bytes")
