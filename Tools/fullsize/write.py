"""Writes a model folder of the published size and layout with made-up weights, to see that such a folder loads, answers,
and fits. The names, shapes and configuration are those of the release; the numbers are random, so the answers are noise.

Needs numpy; `--format torch` needs torch as well.
Run from the root: python Tools/fullsize/write.py llava-1.5-7b-hf FOLDER [--dtype bfloat16] [--format torch]
Names: llava-1.5-7b-hf, llava-v1.5-7b (its image tower lies in FOLDER-tower, for --vision-model), instructblip-vicuna-7b,
idefics-9b, idefics2-8b. `--layers N` cuts every stack to N layers, for a trial.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

import tokenizers_made_up as made_up

SHARD_BYTES = 5_000_000_000
BLOCK = 4_194_301  # a prime number, so that the rows of no matrix repeat
DTYPES = {"float32": ("F32", 4), "float16": ("F16", 2), "bfloat16": ("BF16", 2)}


# --- Names and shapes. A tensor is (name, shape, scale): scale None is all ones, 0 is all zeros, otherwise a deviation.


def linear(name, out, into, bias=False):
    yield f"{name}.weight", (out, into), into**-0.5
    if bias:
        yield f"{name}.bias", (out,), 0.02


def norm(name, size, bias=False):
    yield f"{name}.weight", (size,), None
    if bias:
        yield f"{name}.bias", (size,), 0.0


def decoder(model, head, size, inner, layers, vocabulary, keys=None):
    """`model` and `head` are the beginnings of the names of the stack and of the output map."""
    yield f"{model}embed_tokens.weight", (vocabulary, size), 1.0
    for i in range(layers):
        at = f"{model}layers.{i}."
        for part, out in [("q", size), ("k", keys or size), ("v", keys or size), ("o", size)]:
            yield from linear(f"{at}self_attn.{part}_proj", out, size)
        yield from linear(f"{at}mlp.gate_proj", inner, size)
        yield from linear(f"{at}mlp.up_proj", inner, size)
        yield from linear(f"{at}mlp.down_proj", size, inner)
        yield from norm(f"{at}input_layernorm", size)
        yield from norm(f"{at}post_attention_layernorm", size)
    yield from norm(f"{model}norm", size)
    yield from linear(f"{head}lm_head", vocabulary, size)


def image_blocks(at, size, inner, layers):
    """The blocks that CLIP and SigLIP share."""
    for i in range(layers):
        block = f"{at}encoder.layers.{i}."
        for part in ["q", "k", "v", "out"]:
            yield from linear(f"{block}self_attn.{part}_proj", size, size, bias=True)
        yield from norm(f"{block}layer_norm1", size, bias=True)
        yield from linear(f"{block}mlp.fc1", inner, size, bias=True)
        yield from linear(f"{block}mlp.fc2", size, inner, bias=True)
        yield from norm(f"{block}layer_norm2", size, bias=True)


def clip(at, size, inner, layers, places):
    yield f"{at}embeddings.class_embedding", (size,), 0.5
    yield f"{at}embeddings.patch_embedding.weight", (size, 3, 14, 14), (3 * 14 * 14) ** -0.5
    yield f"{at}embeddings.position_embedding.weight", (places, size), 0.5
    yield from norm(f"{at}pre_layrnorm", size, bias=True)
    yield from image_blocks(at, size, inner, layers)
    yield from norm(f"{at}post_layernorm", size, bias=True)


def llava(layers):
    yield from clip("vision_tower.vision_model.", 1024, 4096, layers(24), 577)
    yield from linear("multi_modal_projector.linear_1", 4096, 1024, bias=True)
    yield from linear("multi_modal_projector.linear_2", 4096, 4096, bias=True)
    yield from decoder("language_model.model.", "language_model.", 4096, 11008, layers(32), 32064)


def own_llava(layers):
    yield from decoder("model.", "", 4096, 11008, layers(32), 32000)
    yield from linear("model.mm_projector.0", 4096, 1024, bias=True)
    yield from linear("model.mm_projector.2", 4096, 4096, bias=True)


def eva(at, size, inner, layers):
    yield f"{at}embeddings.class_embedding", (1, 1, size), 0.5
    yield f"{at}embeddings.position_embedding", (1, 257, size), 0.5
    yield f"{at}embeddings.patch_embedding.weight", (size, 3, 14, 14), (3 * 14 * 14) ** -0.5
    yield f"{at}embeddings.patch_embedding.bias", (size,), 0.02
    for i in range(layers):
        block = f"{at}encoder.layers.{i}."
        yield from linear(f"{block}self_attn.qkv", 3 * size, size, bias=True)
        yield from linear(f"{block}self_attn.projection", size, size, bias=True)
        yield from norm(f"{block}layer_norm1", size, bias=True)
        yield from linear(f"{block}mlp.fc1", inner, size, bias=True)
        yield from linear(f"{block}mlp.fc2", size, inner, bias=True)
        yield from norm(f"{block}layer_norm2", size, bias=True)
    yield from norm(f"{at}post_layernorm", size, bias=True)


def qformer(at, layers, size=768, image=1408):
    yield f"{at}embeddings.word_embeddings.weight", (30523, size), 0.5
    yield f"{at}embeddings.position_embeddings.weight", (512, size), 0.5
    yield from norm(f"{at}embeddings.layernorm", size, bias=True)

    def attention(name, source):
        yield from linear(f"{name}.attention.query", size, size, bias=True)
        yield from linear(f"{name}.attention.key", size, source, bias=True)
        yield from linear(f"{name}.attention.value", size, source, bias=True)
        yield from linear(f"{name}.output.dense", size, size, bias=True)
        yield from norm(f"{name}.output.LayerNorm", size, bias=True)

    for i in range(layers):
        layer = f"{at}encoder.layer.{i}."
        yield from attention(f"{layer}attention", size)
        if i % 2 == 0:
            yield from attention(f"{layer}crossattention", image)
        for kind in ["", "_query"]:
            yield from linear(f"{layer}intermediate{kind}.dense", 3072, size, bias=True)
            yield from linear(f"{layer}output{kind}.dense", size, 3072, bias=True)
            yield from norm(f"{layer}output{kind}.LayerNorm", size, bias=True)


def instructblip(layers):
    yield from eva("vision_model.", 1408, 6144, layers(39))
    yield "query_tokens", (1, 32, 768), 0.5
    yield from qformer("qformer.", layers(12))
    yield from linear("language_projection", 4096, 768, bias=True)
    yield from decoder("language_model.model.", "language_model.", 4096, 11008, layers(32), 32001)


def idefics(layers):
    yield from clip("model.vision_model.", 1280, 5120, layers(32), 257)
    at = "model.perceiver_resampler."
    yield f"{at}latents", (64, 1280), 0.5
    for i in range(layers(6)):
        block = f"{at}blocks.{i}."
        for part in ["context_layer_norm", "latents_layer_norm"]:
            yield from norm(f"{block}0.{part}", 1280, bias=True)
        for part in ["q_layer_norm", "k_layer_norm"]:
            yield from norm(f"{block}0.{part}", 96, bias=True)
        for part in "qkv":
            yield from linear(f"{block}0.{part}_proj", 1536, 1280)
        yield from linear(f"{block}0.output_proj", 1280, 1536)
        yield from norm(f"{block}1.ln", 1280, bias=True)
        yield from linear(f"{block}1.fc", 5120, 1280)
        yield from linear(f"{block}1.c_proj", 1280, 5120)
    yield from norm(f"{at}layer_norm", 1280, bias=True)
    yield "model.embed_tokens.additional_embedding.weight", (2, 4096), 1.0
    yield "lm_head.additional_fc.weight", (2, 4096), 4096**-0.5
    yield from decoder("model.", "", 4096, 11008, layers(32), 32000)
    for i in range(math.ceil(layers(32) / 4)):
        block = f"model.gated_cross_attn_layers.{i}."
        yield f"{block}alpha_cross_attn", (1,), 0.5
        yield f"{block}alpha_dense", (1,), 0.5
        yield from linear(f"{block}cross_attn.q_proj", 4096, 4096)
        for part in "kv":
            yield from linear(f"{block}cross_attn.{part}_proj", 4096, 1280)
        yield from linear(f"{block}cross_attn.o_proj", 4096, 4096)
        for part in "qk":
            yield from norm(f"{block}cross_attn.{part}_layer_norm", 128)
        yield from linear(f"{block}mlp.gate_proj", 11008, 4096)
        yield from linear(f"{block}mlp.up_proj", 11008, 4096)
        yield from linear(f"{block}mlp.down_proj", 4096, 11008)
        yield from norm(f"{block}input_layernorm", 4096)
        yield from norm(f"{block}post_attention_layernorm", 4096)


def idefics2(layers):
    at = "model.vision_model."
    yield f"{at}embeddings.patch_embedding.weight", (1152, 3, 14, 14), (3 * 14 * 14) ** -0.5
    yield f"{at}embeddings.patch_embedding.bias", (1152,), 0.02
    yield f"{at}embeddings.position_embedding.weight", (4900, 1152), 0.5
    yield from image_blocks(at, 1152, 4304, layers(27))
    yield from norm(f"{at}post_layernorm", 1152, bias=True)
    at = "model.connector.modality_projection."
    yield from linear(f"{at}gate_proj", 14336, 1152)
    yield from linear(f"{at}up_proj", 14336, 1152)
    yield from linear(f"{at}down_proj", 4096, 14336)
    at = "model.connector.perceiver_resampler."
    yield f"{at}latents", (64, 4096), 0.5
    for i in range(layers(3)):
        layer = f"{at}layers.{i}."
        for part in ["input_latents_norm", "input_context_norm", "post_attention_layernorm"]:
            yield from norm(f"{layer}{part}", 4096)
        for part, out in [("q", 1536), ("k", 384), ("v", 384)]:
            yield from linear(f"{layer}self_attn.{part}_proj", out, 4096)
        yield from linear(f"{layer}self_attn.o_proj", 4096, 1536)
        yield from linear(f"{layer}mlp.gate_proj", 16384, 4096)
        yield from linear(f"{layer}mlp.up_proj", 16384, 4096)
        yield from linear(f"{layer}mlp.down_proj", 4096, 16384)
    yield from norm(f"{at}norm", 4096)
    yield from decoder("model.text_model.", "", 4096, 14336, layers(32), 32003, keys=1024)


# --- Configurations, as published


def vicuna(layers, vocabulary, positions, epsilon):
    return dict(
        model_type="llama", architectures=["LlamaForCausalLM"], vocab_size=vocabulary, hidden_size=4096,
        intermediate_size=11008, num_hidden_layers=layers(32), num_attention_heads=32,
        max_position_embeddings=positions, rms_norm_eps=epsilon, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        tie_word_embeddings=False)


def clip_tower(layers):
    return dict(
        model_type="clip_vision_model", hidden_size=1024, intermediate_size=4096, num_hidden_layers=layers(24),
        num_attention_heads=16, image_size=336, patch_size=14, projection_dim=768)


def llava_config(layers):
    return dict(
        model_type="llava", architectures=["LlavaForConditionalGeneration"], ignore_index=-100,
        image_token_index=32000, pad_token_id=32001, projector_hidden_act="gelu", vision_feature_layer=-2,
        vision_feature_select_strategy="default", vocab_size=32064, tie_word_embeddings=False,
        text_config=vicuna(layers, 32064, 4096, 1e-5), vision_config=clip_tower(layers))


def own_llava_config(layers):
    return vicuna(layers, 32000, 4096, 1e-5) | dict(
        model_type="llava", architectures=["LlavaLlamaForCausalLM"], freeze_mm_mlp_adapter=False,
        image_aspect_ratio="pad", mm_hidden_size=1024, mm_projector_type="mlp2x_gelu", mm_use_im_patch_token=False,
        mm_use_im_start_end=False, mm_vision_select_feature="patch", mm_vision_select_layer=-2,
        mm_vision_tower="openai/clip-vit-large-patch14-336", use_mm_proj=True)


def instructblip_config(layers):
    return dict(
        model_type="instructblip", architectures=["InstructBlipForConditionalGeneration"], num_query_tokens=32,
        tie_word_embeddings=False, use_decoder_only_language_model=True,
        vision_config=dict(
            model_type="instructblip_vision_model", hidden_size=1408, intermediate_size=6144,
            num_hidden_layers=layers(39), num_attention_heads=16, image_size=224, patch_size=14, hidden_act="gelu",
            layer_norm_eps=1e-6, qkv_bias=True),
        qformer_config=dict(
            model_type="instructblip_qformer", vocab_size=30523, hidden_size=768, num_hidden_layers=layers(12),
            num_attention_heads=12, intermediate_size=3072, cross_attention_frequency=2, encoder_hidden_size=1408),
        text_config=vicuna(layers, 32001, 2048, 1e-6))


def idefics_config(layers):
    return dict(
        model_type="idefics", architectures=["IdeficsForVisionText2Text"], vocab_size=32000, additional_vocab_size=2,
        hidden_size=4096, intermediate_size=11008, num_hidden_layers=layers(32), num_attention_heads=32,
        hidden_act="silu", rms_norm_eps=1e-6, cross_layer_interval=4, qk_layer_norms=True, alpha_type="float",
        alpha_initializer="zeros", max_position_embeddings=2048, tie_word_embeddings=False, use_resampler=True,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
        perceiver_config=dict(
            use_resampler=True, resampler_n_latents=64, resampler_depth=layers(6), resampler_n_heads=16,
            resampler_head_dim=96, qk_layer_norms_perceiver=True),
        vision_config=dict(
            embed_dim=1280, image_size=224, patch_size=14, num_hidden_layers=layers(32), num_attention_heads=16,
            intermediate_size=5120, hidden_act="gelu", layer_norm_eps=1e-5))


def idefics2_config(layers):
    return dict(
        model_type="idefics2", architectures=["Idefics2ForConditionalGeneration"], image_token_id=32001,
        tie_word_embeddings=False,
        text_config=dict(
            model_type="mistral", vocab_size=32003, hidden_size=4096, intermediate_size=14336,
            num_hidden_layers=layers(32), num_attention_heads=32, num_key_value_heads=8, sliding_window=4096,
            max_position_embeddings=32768, rms_norm_eps=1e-5, rope_theta=10000.0, bos_token_id=1, eos_token_id=2,
            pad_token_id=0),
        vision_config=dict(
            model_type="idefics2", hidden_size=1152, intermediate_size=4304, num_hidden_layers=layers(27),
            num_attention_heads=16, image_size=980, patch_size=14),
        perceiver_config=dict(
            model_type="idefics2", resampler_n_latents=64, resampler_depth=layers(3), resampler_n_heads=16,
            resampler_head_dim=96, num_key_value_heads=4))


CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def clip_processor(kind, size, **more):
    return dict(
        image_processor_type=kind, do_convert_rgb=True, do_normalize=True, do_rescale=True, do_resize=True,
        image_mean=CLIP_MEAN, image_std=CLIP_STD, resample=3, rescale_factor=1 / 255, size=size, **more)


CLIP_336 = clip_processor(
    "CLIPImageProcessor", {"shortest_edge": 336}, do_center_crop=True, crop_size={"height": 336, "width": 336})
MODELS = {
    "llava-1.5-7b-hf": (
        llava, llava_config, CLIP_336, dict(added=["<image>", "<pad>"])),
    "llava-v1.5-7b": (own_llava, own_llava_config, None, dict()),
    "instructblip-vicuna-7b": (
        instructblip, instructblip_config,
        clip_processor("BlipImageProcessor", {"height": 224, "width": 224}), dict(added=["[PAD]"], beginning="</s>")),
    "idefics-9b": (
        idefics, idefics_config,
        dict(image_processor_type="IdeficsImageProcessor", image_num_channels=3, image_size=224, image_mean=CLIP_MEAN,
             image_std=CLIP_STD),
        dict(added=["<fake_token_around_image>", "<image>"])),
    "idefics2-8b": (
        idefics2, idefics2_config,
        dict(image_processor_type="Idefics2ImageProcessor", do_convert_rgb=True, do_image_splitting=True,
             do_normalize=True, do_pad=True, do_rescale=True, do_resize=True, image_mean=[0.5] * 3, image_std=[0.5] * 3,
             resample=2, rescale_factor=1 / 255, size={"longest_edge": 980, "shortest_edge": 378}),
        dict(added=["<fake_token_around_image>", "<image>", "<end_of_utterance>"])),
}


# --- Numbers


class Numbers:
    """The bytes of made-up tensors, in pieces: one block of random numbers over and over, each tensor from another place."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.block = np.random.default_rng(7).standard_normal(BLOCK, np.float32)
        self.scaled = {}
        self.place = 0

    def encoded(self, values):
        if self.dtype != "bfloat16":
            return values.astype(self.dtype)
        bits = values.astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)

    def pieces(self, count, scale):
        if not scale:
            yield self.encoded(np.full(count, 1.0 if scale is None else 0.0, np.float32))
            return
        if scale not in self.scaled:
            self.scaled[scale] = self.encoded(self.block * np.float32(scale))
        while count > 0:
            piece = self.scaled[scale][self.place : self.place + count]
            yield piece
            count -= len(piece)
            self.place = (self.place + len(piece)) % BLOCK


def shards(tensors, size):
    """Cuts the list where a file would grow beyond the limit."""
    parts, total = [[]], 0
    for name, shape, scale in tensors:
        count = math.prod(shape) * size
        if total + count > SHARD_BYTES and parts[-1]:
            parts.append([])
            total = 0
        parts[-1].append((name, shape, scale))
        total += count
    return parts


def write_safetensors(path, part, numbers):
    kind, size = DTYPES[numbers.dtype]
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, _ in part:
        start, end = end, end + math.prod(shape) * size
        header[name] = dict(dtype=kind, shape=shape, data_offsets=[start, end])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, shape, scale in part:
            for piece in numbers.pieces(math.prod(shape), scale):
                file.write(piece)
    return end


def write_torch(path, part, numbers):
    """The shard is in memory as a whole here."""
    import torch

    tensors = {}
    for name, shape, scale in part:
        tensor = torch.empty(shape, dtype=getattr(torch, numbers.dtype))
        target, done = tensor.view(-1).view(torch.uint8).numpy(), 0
        for piece in numbers.pieces(math.prod(shape), scale):
            raw = np.ascontiguousarray(piece).view(np.uint8)
            target[done : done + len(raw)] = raw
            done += len(raw)
        tensors[name] = tensor
    torch.save(tensors, path)
    return sum(tensor.nbytes for tensor in tensors.values())


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_weights(folder, tensors, dtype, form):
    stem, extension, write = {
        "safetensors": ("model", "safetensors", write_safetensors), "torch": ("pytorch_model", "bin", write_torch),
    }[form]
    numbers = Numbers(dtype)
    parts = shards(tensors, DTYPES[dtype][1])
    total, places = 0, {}
    for number, part in enumerate(parts, 1):
        name = f"{stem}-{number:05}-of-{len(parts):05}.{extension}"
        total += write(folder / name, part, numbers)
        places |= {tensor: name for tensor, _, _ in part}
        print(f"{folder / name}", file=sys.stderr)
    write_json(folder / f"{stem}.{extension}.index.json", dict(metadata=dict(total_size=total), weight_map=places))
    return total


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("name", choices=MODELS)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    arguments.add_argument("--format", choices=["safetensors", "torch"], default="safetensors")
    arguments.add_argument("--layers", type=int, default=10**9)
    given = arguments.parse_args()
    tensors, config, processor, tokenizer = MODELS[given.name]

    def layers(published):
        return min(published, given.layers)

    given.folder.mkdir(parents=True, exist_ok=True)
    total = write_weights(given.folder, tensors(layers), given.dtype, given.format)
    write_json(given.folder / "config.json", config(layers) | dict(torch_dtype=given.dtype))
    if processor:
        write_json(given.folder / "preprocessor_config.json", processor)
    made_up.write_llama(given.folder, **tokenizer)
    if given.name == "instructblip-vicuna-7b":
        made_up.write_wordpiece(given.folder / "qformer_tokenizer")
    if given.name == "llava-v1.5-7b":
        tower = given.folder.with_name(given.folder.name + "-tower")
        tower.mkdir(exist_ok=True)
        write_weights(tower, clip("vision_model.", 1024, 4096, layers(24), 577), given.dtype, given.format)
        write_json(tower / "config.json", clip_tower(layers))
        write_json(tower / "preprocessor_config.json", CLIP_336)
    print(f"{given.folder}: {total} bytes of weights")


if __name__ == "__main__":
    main()
