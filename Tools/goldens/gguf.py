"""Makes the golden files of the GGUF and LoRA tests of Checkpoints.

Writes into Tests/Fixtures/Checkpoints:
  gguf/types.gguf      one tensor of each ggml type that is read, random; metadata of every value type
  gguf/types.json      shape and SHA-256 of its float32 numbers, dequantised by gguf-py
  gguf/{llama,mistral,llama3,qwen2}.gguf  tiny random models as llama.cpp's converter would write them
  gguf/models.json     the configuration they were made from, and SHA-256 of each Hugging Face parameter as float32:
                       for F32 and F16 tensors of the model itself, for quantised ones as gguf-py dequantises them;
                       checked here against what transformers loads from the file
  lora/*               base weights, peft adapters, and the weights after merge_and_unload

Versions: gguf 0.19.0, torch 2.13.0, transformers 5.23.0, peft 0.21.2, numpy 2.4.6; seeds fixed.
Command, from the project's folder:

    python Tools/goldens/gguf.py
"""

import hashlib
import json
import pathlib
import sys

# This script has the name of the package that it imports.
sys.path = [entry for entry in sys.path if pathlib.Path(entry or ".").resolve() != pathlib.Path(__file__).resolve().parent]

import gguf
import numpy as np
import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.pytorch_utils import Conv1D

OUT = pathlib.Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "Checkpoints"
GGUF, LORA = OUT / "gguf", OUT / "lora"
Type = gguf.GGMLQuantizationType


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def write(path, value):
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


# Types


def random_blocks(random, type, rows, blocks):
    """Blocks of random bytes whose halves are finite, of both signs, some of them subnormal or zero."""
    size = gguf.GGML_QUANT_SIZES[type][1]
    data = random.integers(0, 256, (rows, blocks, size), dtype=np.uint8)
    halves = {
        Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
        Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
    }[type]
    for offset in halves:
        half = random.integers(0, 65536, (rows, blocks), dtype=np.uint16)
        half = np.where(half & 0x7C00 == 0x7C00, half & 0x83FF, half)
        data[..., offset:offset + 2] = half[..., None].view(np.uint8)
    return data.reshape(rows, blocks * size)


def types():
    random = np.random.default_rng(7)
    writer = gguf.GGUFWriter(GGUF / "types.gguf", "types")
    for name, value in [("uint8", 200), ("int8", -100), ("uint16", 60000), ("int16", -30000), ("uint32", 4 * 10**9),
                        ("int32", -2 * 10**9), ("uint64", 2**63 + 5), ("int64", -(2**62)), ("float32", 0.1),
                        ("float64", 0.1), ("bool", True), ("string", "caf\u00e9 \u2603")]:
        getattr(writer, f"add_{name}")(f"value.{name}", value)
    writer.add_array("list.strings", ["a", "", "caf\u00e9", "\u2603" * 20])
    writer.add_array("list.integers", [3, -1, 2])
    writer.add_array("list.floats", [0.5, -1.25])
    writer.add_array("list.bools", [True, False, True])
    expected = {}
    plain = {
        "F32": random.standard_normal((5, 7)).astype(np.float32), "F16": random.standard_normal((3, 5)).astype(np.float16),
        "F64": random.standard_normal((2, 3)), "I8": random.integers(-128, 128, 9).astype(np.int8),
        "I16": random.integers(-9999, 9999, (1, 11)).astype(np.int16), "I32": random.integers(-9999, 9999, 3).astype(np.int32),
        "I64": random.integers(-(2**60), 2**60, (2, 1, 2, 3)),
    }
    # Halves of every sort: subnormal, the largest, infinity, both zeros.
    plain["F16"][0] = np.array([0x0001, 0x83FF, 0x7BFF, 0xFC00, 0x8000], dtype=np.uint16).view(np.float16)
    for name, array in plain.items():
        writer.add_tensor(f"plain.{name}", array)
        expected[f"plain.{name}"] = {"shape": list(array.shape), "sha256": digest(array.astype(np.float32))}
    brain = random.integers(0, 0x7F00, (4, 6), dtype=np.uint16)
    writer.add_tensor("plain.BF16", brain.view(np.uint8), raw_dtype=Type.BF16)
    expected["plain.BF16"] = {"shape": [4, 6], "sha256": digest(gguf.dequantize(brain.view(np.uint8), Type.BF16))}
    for rows, type in enumerate([Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.Q2_K, Type.Q3_K, Type.Q4_K,
                                 Type.Q5_K, Type.Q6_K], start=2):
        size = gguf.GGML_QUANT_SIZES[type][0]
        data = random_blocks(random, type, rows, 3)
        writer.add_tensor(f"random.{type.name}", data, raw_dtype=type)
        values = gguf.dequantize(data, type)
        assert values.shape == (rows, 3 * size) and np.isfinite(values).all()
        expected[f"random.{type.name}"] = {"shape": [rows, 3 * size], "sha256": digest(values)}
    finish(writer)
    write(GGUF / "types.json", expected)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# Models


def permuted(array, heads):
    """As LlamaModel.permute of llama.cpp's converter: rows of a rotary pair side by side."""
    rows = array.shape[0]
    return array.reshape(heads, 2, rows // heads // 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def model_file(name, architecture, model, types, extra=()):
    """Writes the model; `types` says the ggml type by a part of the GGUF name. Returns its float32 parameters."""
    config = model.config
    writer = gguf.GGUFWriter(GGUF / f"{name}.gguf", architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_token_list([f"t{i}" for i in range(config.vocab_size)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for add in extra:
        add(writer)
    names = gguf.get_tensor_name_map(
        next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == architecture), config.num_hidden_layers)
    expected = {}
    for key, tensor in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        array = tensor.float().numpy()
        short = names.get_name(key, try_suffixes=(".weight", ".bias"))
        type = next((type for part, type in types.items() if part in short), Type.F32)
        stored, restored = array, array
        heads = None
        if architecture == "llama":
            heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(short.split(".")[-2])
        stored = permuted(array, heads) if heads else array
        if array.ndim == 1 or type == Type.F32:
            writer.add_tensor(short, np.ascontiguousarray(stored))
        elif type == Type.F16:
            writer.add_tensor(short, np.ascontiguousarray(stored.astype(np.float16)))
            restored = array.astype(np.float16).astype(np.float32)
        else:
            # Rows are quantised one by one, so reordering and quantising commute.
            writer.add_tensor(short, gguf.quantize(np.ascontiguousarray(stored), type), raw_dtype=type)
            restored = gguf.dequantize(gguf.quantize(array, type), type)
        expected[key] = restored
    finish(writer)
    return expected


def compare(name, expected):
    """What transformers makes of the file must be what is expected of us."""
    loaded = transformers.AutoModelForCausalLM.from_pretrained(GGUF, gguf_file=f"{name}.gguf", dtype=torch.float32)
    state = loaded.state_dict()
    for key, array in expected.items():
        assert np.array_equal(state[key].numpy(), array), (name, key)
    return loaded.config


def models():
    torch.manual_seed(11)
    shape = dict(vocab_size=43, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, max_position_embeddings=77, rms_norm_eps=2e-5)
    mixed = {"attn_q": Type.Q4_0, "attn_k": Type.Q5_1, "ffn_down": Type.Q8_0, "ffn_up": Type.F16, "token_embd": Type.Q8_0}
    theta = dict(rope_type="default", rope_theta=5000.0)
    llama3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=8192)
    made = {
        "llama": ("llama", transformers.LlamaForCausalLM(transformers.LlamaConfig(
            **shape, rope_parameters=theta, tie_word_embeddings=True)), mixed, ()),
        "mistral": ("llama", transformers.MistralForCausalLM(transformers.MistralConfig(
            **shape, head_dim=16, rope_parameters=theta, sliding_window=29)), mixed, (lambda w: w.add_sliding_window(29),)),
        "llama3": ("llama", transformers.LlamaForCausalLM(transformers.LlamaConfig(
            **shape, rope_parameters=llama3, tie_word_embeddings=True, attention_bias=True)), mixed,
            (lambda w: w.add_tensor("rope_freqs.weight", llama3_divisors(llama3, 16)),)),
        "qwen2": ("qwen2", transformers.Qwen2ForCausalLM(transformers.Qwen2Config(
            **shape, rope_parameters=theta, tie_word_embeddings=False)), mixed, ()),
    }
    result = {}
    for name, (architecture, model, types, extra) in made.items():
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                torch.nn.init.normal_(parameter)
        expected = model_file(name, architecture, model, types, extra)
        if name != "llama3":
            # transformers neither knows the biases nor the divisors of a llama file.
            compare(name, expected)
        config = {key: getattr(model.config, key) for key in [
            "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
            "max_position_embeddings", "vocab_size", "tie_word_embeddings", "model_type"]}
        config["rms_norm_eps"] = float(np.float32(model.config.rms_norm_eps))
        config["rope_theta"] = model.config.rope_parameters["rope_theta"]
        if name == "mistral":
            config["sliding_window"] = 29
        if name == "llama3":
            config["rope_scaling"] = {key: value for key, value in llama3.items() if key != "rope_theta"}
            config["attention_bias"] = True
        result[name] = {"config": config, "tensors": {
            key: {"shape": list(array.shape), "sha256": digest(array)} for key, array in expected.items()}}
    write(GGUF / "models.json", result)


def llama3_divisors(rule, width):
    """The divisor of each rotary frequency, from transformers' own frequencies of the rule and of no rule."""
    functions = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS
    config = transformers.LlamaConfig(hidden_size=width, num_attention_heads=1, rope_parameters=rule)
    scaled, _ = functions["llama3"](config, "cpu")
    plain = 1.0 / (rule["rope_theta"] ** (torch.arange(0, width, 2).float() / width))
    return (plain / scaled).numpy().astype(np.float32)


# LoRA


class Base(torch.nn.Module):
    def __init__(self, transposed=False):
        super().__init__()
        linear = (lambda i, o: Conv1D(o, i)) if transposed else torch.nn.Linear
        self.tokens = torch.nn.Embedding(13, 10)
        self.layers = torch.nn.ModuleList(
            torch.nn.ModuleDict({"up": linear(10, 14), "down": linear(14, 10)}) for _ in range(2))
        self.patches = torch.nn.Conv2d(3, 5, (2, 3))
        self.head = torch.nn.Linear(10, 4)


def adapters():
    common = dict(target_modules=["up", "down"], r=3, lora_alpha=7)
    return {
        "patterns": (Base(), dict(
            r=3, lora_alpha=7, target_modules=["tokens", "up", "down", "patches"], modules_to_save=["head"],
            rank_pattern={"layers.0.up": 2, "^patches": 1}, alpha_pattern={"down": 5, "layers.1.up": 2}), torch.float32),
        "transposed": (Base(transposed=True), dict(
            **common, fan_in_fan_out=True, use_rslora=True, bias="lora_only"), torch.float32),
        "bias": (Base(), dict(**common, lora_bias=True), torch.float32),
        "bfloat16": (Base().to(torch.bfloat16), common, torch.bfloat16),
        "dora": (Base(), dict(**common, use_dora=True), torch.float32),
    }


def lora():
    torch.manual_seed(5)
    for name, (base, settings, _) in adapters().items():
        folder = LORA / name
        folder.mkdir(parents=True, exist_ok=True)
        save_file(base.state_dict(), folder / "base.safetensors")
        model = peft.get_peft_model(base, peft.LoraConfig(**settings))
        for key, parameter in model.named_parameters():
            if "lora_" in key or "modules_to_save" in key or parameter.requires_grad:
                torch.nn.init.normal_(parameter)
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        if name == "dora":
            continue
        # Merge what was saved, as a user would.
        fresh = adapters_base(name)
        fresh.load_state_dict(load_file(folder / "base.safetensors"))
        merged = peft.PeftModel.from_pretrained(fresh, folder).merge_and_unload()
        save_file({key: tensor.contiguous() for key, tensor in merged.state_dict().items()}, folder / "merged.safetensors")
        for path in folder.iterdir():
            path.chmod(0o644)


def adapters_base(name):
    return adapters()[name][0]


def main():
    GGUF.mkdir(parents=True, exist_ok=True)
    LORA.mkdir(parents=True, exist_ok=True)
    types()
    models()
    lora()


if __name__ == "__main__":
    main()
