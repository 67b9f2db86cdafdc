"""Makes Tests/Fixtures/Backbones/vision: tiny random image towers, resamplers and projectors, and what the reference gives.

Versions: torch 2.13.0, transformers 5.23.0, safetensors 0.8.0 (Tools/requirements-dev.txt).
Command:  python Tools/goldens/vision.py

Each part is one safetensors file with `weight.…` (the reference's own keys), `input.…`, `expected.…`, and for every tap
site `tap.SITE.LAYER`; its configuration lies beside it as JSON. Weights of old layouts are made by renaming in the tests.
`released.json` has sizes of the released models, from configurations that leave out what the classes give by themselves.
OpenFlamingo's resampler is computed by the few lines of plain PyTorch below.
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import (
    Blip2QFormerConfig, Blip2QFormerModel, CLIPVisionConfig, CLIPVisionModel, Idefics2Config, IdeficsConfig,
    InstructBlipConfig, InstructBlipQFormerConfig, InstructBlipQFormerModel, InstructBlipVisionConfig,
    InstructBlipVisionModel, LlavaConfig, SiglipVisionConfig, SiglipVisionModel,
)
from transformers.models.idefics.perceiver import IdeficsPerceiverResampler
from transformers.models.idefics.vision import IdeficsVisionTransformer
from transformers.models.idefics2.modeling_idefics2 import Idefics2Connector, Idefics2VisionTransformer
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

ROOT = Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "Backbones" / "vision"


def randomise(model, seed):
    """Weights large enough that every path matters; norms near one; maps keep values of size one."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            last = name.rsplit(".", 1)[0].lower()
            if parameter.dim() == 1 and name.endswith("weight") and ("norm" in last or last.endswith((".ln", "ln_"))):
                parameter.normal_(1.0, 0.1)
            elif parameter.dim() >= 2 and "embed" not in name and "latents" not in name and "probe" not in name:
                parameter.normal_(0.0, 0.9 / math.sqrt(parameter[0].numel()))
            else:
                parameter.normal_(0.0, 0.3)
    return model.eval()


class Recorder:
    """Outputs and inputs of modules while the reference runs, under the names of our tap sites."""

    def __init__(self):
        self.found = {}
        self.closed = False

    def output(self, module, name):
        module.register_forward_hook(lambda m, i, o: self.keep(name, o))

    def input(self, module, name):
        module.register_forward_pre_hook(lambda m, i: self.keep(name, i[0]))

    def heads(self, module, name, count):
        """What enters the output map, [B, T, H · d], as [B, H, T, d]."""
        def keep(m, inputs):
            x = inputs[0]
            self.keep(name, x.reshape(x.shape[0], x.shape[1], count, -1).transpose(1, 2))
        module.register_forward_pre_hook(keep)

    def keep(self, name, value):
        if self.closed:
            return
        value = value[0] if isinstance(value, tuple) else value
        # A map that runs for queries and for text gives both, in this order.
        old = self.found.get(name)
        self.found[name] = value if old is None else torch.cat([old, value], 1)

    def blocks(self, blocks, heads, output):
        for i, block in enumerate(blocks):
            self.input(block, f"tap.blockInput.{i}")
            self.output(block, f"tap.blockOutput.{i}")
            self.heads(output(block), f"tap.headOutput.{i}", heads)
            self.output(output(block), f"tap.attentionOutput.{i}")
            self.output(block.mlp, f"tap.mlpOutput.{i}")


def images(*shape):
    count = math.prod(shape)
    return torch.sin(torch.arange(count, dtype=torch.float32) * 0.05 + 0.3).reshape(shape).requires_grad_()


def save(name, config, model, inputs, expected, recorder=None):
    ROOT.mkdir(parents=True, exist_ok=True)
    tensors = {f"weight.{key}": value for key, value in (model.state_dict() if model else {}).items()}
    tensors |= {f"input.{key}": value for key, value in inputs.items()}
    tensors |= {f"expected.{key}": value for key, value in expected.items()}
    tensors |= recorder.found if recorder else {}
    tensors = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
    for key, value in tensors.items():
        assert not value.is_floating_point() or value.isfinite().all(), key
    save_file(tensors, ROOT / f"{name}.safetensors")
    if config is not None:
        (ROOT / f"{name}.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def clip():
    config = CLIPVisionConfig(
        hidden_size=21, num_hidden_layers=4, num_attention_heads=3, intermediate_size=34, image_size=20, patch_size=5,
        projection_dim=14, hidden_act="quick_gelu",
    )
    model = randomise(CLIPVisionModel(config), 1)
    recorder = Recorder()
    recorder.blocks(model.encoder.layers, 3, lambda b: b.self_attn.out_proj)
    pixels = images(2, 3, 20, 20)
    out = model(pixel_values=pixels, output_hidden_states=True)
    states = out.hidden_states
    states[-2][:, 1:].sin().sum().backward()
    expected = {f"state.{i}": state for i, state in enumerate(states)} | {"gradient": pixels.grad}
    recorder.closed = True
    with torch.no_grad():
        wide = model(pixel_values=images(1, 3, 15, 30), interpolate_pos_encoding=True, output_hidden_states=True)
    expected["interpolated"] = wide.hidden_states[-1]
    save("clip", config.to_diff_dict(), model, {}, expected, recorder)


def idefics():
    config = IdeficsConfig(
        hidden_size=40, use_resampler=True,
        vision_config=dict(
            embed_dim=18, num_hidden_layers=2, num_attention_heads=3, intermediate_size=31, image_size=20, patch_size=5,
        ),
        perceiver_config=dict(
            use_resampler=True, resampler_n_latents=5, resampler_depth=2, resampler_n_heads=4, resampler_head_dim=7,
            qk_layer_norms_perceiver=True,
        ),
    )
    model = torch.nn.ModuleDict({
        "vision_model": IdeficsVisionTransformer(config.vision_config),
        "perceiver_resampler": IdeficsPerceiverResampler(config, 18, 2, 4, 7, 5),
    })
    randomise(model, 2)
    recorder = Recorder()
    for i, (attention, feed) in enumerate(model["perceiver_resampler"].blocks):
        attention.register_forward_pre_hook(lambda m, x, i=i: recorder.keep(f"tap.blockInput.{i}", x[1]))
        recorder.heads(attention.output_proj, f"tap.headOutput.{i}", 4)
        recorder.output(attention, f"tap.attentionOutput.{i}")
        recorder.output(feed, f"tap.mlpOutput.{i}")
    pixels = images(2, 3, 20, 20)
    hidden = model["vision_model"](pixels).last_hidden_state
    resampled = model["perceiver_resampler"](hidden)
    resampled.sin().sum().backward()
    recorder.closed = True
    with torch.no_grad():
        wide = model["vision_model"](images(1, 3, 15, 30), interpolate_pos_encoding=True).last_hidden_state
    expected = {"hidden": hidden, "resampled": resampled, "gradient": pixels.grad, "interpolated": wide}
    save("idefics", config.to_diff_dict(), model, {}, expected, recorder)


def idefics2():
    config = Idefics2Config(
        text_config=dict(
            model_type="mistral", hidden_size=22, intermediate_size=37, rms_norm_eps=1e-5, num_hidden_layers=1,
            num_attention_heads=1, num_key_value_heads=1, vocab_size=29,
        ),
        vision_config=dict(
            hidden_size=15, num_hidden_layers=2, num_attention_heads=3, intermediate_size=26, image_size=36, patch_size=5,
        ),
        perceiver_config=dict(
            hidden_size=22, resampler_n_latents=4, resampler_depth=2, resampler_n_heads=6, resampler_head_dim=5,
            num_key_value_heads=2, rms_norm_eps=1e-5,
        ),
    )
    model = torch.nn.ModuleDict({
        "vision_model": Idefics2VisionTransformer(config.vision_config), "connector": Idefics2Connector(config),
    })
    randomise(model, 3)
    tower, connector = model["vision_model"], model["connector"]
    recorder = Recorder()
    recorder.blocks(tower.encoder.layers, 3, lambda b: b.self_attn.out_proj)
    recorder.output(tower.post_layernorm, "tap.finalNorm.2")
    taps = Recorder()
    taps.blocks(connector.perceiver_resampler.layers, 6, lambda b: b.self_attn.o_proj)
    taps.output(connector.perceiver_resampler.norm, "tap.finalNorm.2")
    # Three images of different sizes on one canvas; cells that a picture fills in part count as padding.
    pixels = images(3, 3, 32, 27)
    shown = torch.zeros(3, 32, 27, dtype=torch.bool)
    for image, (height, width) in enumerate([(32, 14), (16, 27), (30, 25)]):
        shown[image, :height, :width] = True
    mask = shown.unfold(1, 5, 5).unfold(2, 5, 5).sum((-1, -2)) == 25
    hidden = tower(pixel_values=pixels, patch_attention_mask=mask).last_hidden_state
    soft = connector(hidden, attention_mask=mask.reshape(3, -1))
    soft.sin().sum().backward()
    found = recorder.found | {key.replace("tap.", "connector."): value for key, value in taps.found.items()}
    expected = {"hidden": hidden, "soft": soft, "gradient": pixels.grad, "mask": mask}
    recorder.closed = taps.closed = True
    with torch.no_grad():
        whole = tower(pixel_values=images(1, 3, 20, 35)).last_hidden_state
        expected |= {"whole": whole, "whole_soft": connector(whole, attention_mask=torch.ones(1, 28, dtype=torch.bool))}
    recorder.found = found
    save("idefics2", config.to_diff_dict(), model, {"shown": shown}, expected, recorder)


def positions():
    """Position ids of the released Idefics2 (70 × 70) for one column or row of every count of patches."""
    from transformers import Idefics2VisionConfig
    from transformers.models.idefics2.modeling_idefics2 import Idefics2VisionEmbeddings

    config = Idefics2VisionConfig(hidden_size=1, image_size=70, patch_size=1)
    model = Idefics2VisionEmbeddings(config)
    with torch.no_grad():
        model.patch_embedding.weight.zero_()
        model.patch_embedding.bias.zero_()
        model.position_embedding.weight.copy_(torch.arange(4900.0)[:, None])
        ids = torch.zeros(70, 70, dtype=torch.long)
        for count in range(1, 71):
            mask = torch.ones(1, count, 1, dtype=torch.bool)
            ids[count - 1, :count] = model(torch.zeros(1, 3, count, 1), mask)[0, :, 0].long()
    save("positions", None, None, {}, {"ids": ids.to(torch.int16)})


def siglip():
    config = SiglipVisionConfig(
        hidden_size=15, num_hidden_layers=2, num_attention_heads=3, intermediate_size=26, image_size=20, patch_size=5,
    )
    model = randomise(SiglipVisionModel(config), 4)
    recorder = Recorder()
    recorder.blocks(model.encoder.layers, 3, lambda b: b.self_attn.out_proj)
    recorder.output(model.post_layernorm, "tap.finalNorm.2")
    pixels = images(2, 3, 20, 20)
    out = model(pixel_values=pixels)
    out.pooler_output.sin().sum().backward()
    expected = {"hidden": out.last_hidden_state, "pooled": out.pooler_output, "gradient": pixels.grad}
    save("siglip", config.to_diff_dict(), model, {}, expected, recorder)


def eva():
    config = InstructBlipVisionConfig(
        hidden_size=21, num_hidden_layers=2, num_attention_heads=3, intermediate_size=34, image_size=20, patch_size=5,
    )
    model = randomise(InstructBlipVisionModel(config), 5)
    with torch.no_grad():
        for layer in model.encoder.layers:
            layer.self_attn.qkv.bias[21:42].zero_()
    recorder = Recorder()
    recorder.blocks(model.encoder.layers, 3, lambda b: b.self_attn.projection)
    def last(m, inputs, output):
        if output.dim() == 3:
            recorder.keep("tap.finalNorm.2", output)
    model.post_layernorm.register_forward_hook(last)
    pixels = images(2, 3, 20, 20)
    hidden = model(pixel_values=pixels).last_hidden_state
    hidden.sin().sum().backward()
    recorder.closed = True
    with torch.no_grad():
        wide = model(pixel_values=images(1, 3, 15, 30), interpolate_pos_encoding=True).last_hidden_state
    expected = {"hidden": hidden, "gradient": pixels.grad, "interpolated": wide}
    save("eva", config.to_diff_dict(), model, {}, expected, recorder)


def record_qformer(model, heads):
    recorder = Recorder()
    for i, layer in enumerate(model.encoder.layer):
        recorder.input(layer, f"tap.blockInput.{i}")
        recorder.output(layer, f"tap.blockOutput.{i}")
        recorder.heads(layer.attention.output.dense, f"tap.headOutput.{i}", heads)
        recorder.output(layer.attention.output.dense, f"tap.attentionOutput.{i}")
        if layer.has_cross_attention:
            recorder.output(layer.crossattention.output.dense, f"tap.crossAttentionOutput.{i}")
        recorder.output(layer.output_query.dense, f"tap.mlpOutput.{i}")
        if hasattr(layer, "output"):
            recorder.output(layer.output.dense, f"tap.mlpOutput.{i}")
    return recorder


def qformer():
    config = InstructBlipQFormerConfig(
        vocab_size=37, hidden_size=18, num_hidden_layers=3, num_attention_heads=3, intermediate_size=29,
        max_position_embeddings=11, cross_attention_frequency=2, encoder_hidden_size=25,
    )
    model = torch.nn.ModuleDict({
        "qformer": InstructBlipQFormerModel(config), "language_projection": torch.nn.Linear(18, 23),
    })
    randomise(model, 6)
    model.query_tokens = torch.nn.Parameter(torch.randn(1, 4, 18))
    recorder = record_qformer(model["qformer"], 3)
    ids = torch.tensor([[2, 5, 9, 36, 3, 8, 1], [2, 7, 3, 0, 0, 0, 0]])
    mask = ids != 0
    image = images(2, 6, 25)
    shown = torch.tensor([[1, 1, 1, 1, 0, 1], [1] * 6], dtype=torch.bool)
    whole = torch.cat([torch.ones(2, 4, dtype=torch.bool), mask], 1)
    rows = model["qformer"](
        input_ids=ids, attention_mask=whole.long(), query_embeds=model.query_tokens.expand(2, -1, -1),
        encoder_hidden_states=image, encoder_attention_mask=shown.long(),
    ).last_hidden_state
    soft = model["language_projection"](rows[:, :4])
    soft.sin().sum().backward()
    inputs = {"ids": ids, "mask": mask, "image": image, "shown": shown}
    expected = {"rows": rows, "soft": soft, "gradient": image.grad, "query_gradient": model.query_tokens.grad}
    recorder.closed = True
    with torch.no_grad():  # no padding anywhere, hence no masks
        expected["unmasked"] = model["qformer"](
            input_ids=ids[:1], attention_mask=torch.ones(1, 11), query_embeds=model.query_tokens,
            encoder_hidden_states=image[:1],
        ).last_hidden_state
    described = {"model_type": "instructblip", "num_query_tokens": 4, "qformer_config": config.to_diff_dict(),
                 "vision_config": {"hidden_size": 25}}
    save("qformer", described, model, inputs, expected, recorder)


def blip2():
    config = Blip2QFormerConfig(
        hidden_size=18, num_hidden_layers=3, num_attention_heads=3, intermediate_size=29, cross_attention_frequency=2,
        encoder_hidden_size=25,
    )
    model = randomise(Blip2QFormerModel(config), 7)
    recorder = record_qformer(model, 3)
    queries = torch.randn(1, 4, 18)
    image = images(2, 6, 25)
    rows = model(query_embeds=queries.expand(2, -1, -1), encoder_hidden_states=image).last_hidden_state
    rows.sin().sum().backward()
    save("blip2", config.to_diff_dict(), model, {"queries": queries, "image": image},
         {"rows": rows, "gradient": image.grad}, recorder)


def flamingo():
    torch.manual_seed(8)
    size, heads, inner, latents = 18, 3, 15, 5
    def norm():
        return {"weight": 1 + 0.1 * torch.randn(size), "bias": 0.3 * torch.randn(size)}
    weights = {"latents": torch.randn(latents, size)}
    weights |= {f"norm.{k}": v for k, v in norm().items()}
    for i in range(2):
        for name in ["0.norm_media", "0.norm_latents", "1.0"]:
            weights |= {f"layers.{i}.{name}.{k}": v for k, v in norm().items()}
        for name, shape in [("0.to_q", (inner, size)), ("0.to_kv", (2 * inner, size)), ("0.to_out", (size, inner)),
                            ("1.1", (4 * size, size)), ("1.3", (size, 4 * size))]:
            weights[f"layers.{i}.{name}.weight"] = torch.randn(shape) * 0.9 / math.sqrt(shape[1])
    def normed(x, name):
        return F.layer_norm(x, (size,), weights[name + ".weight"], weights[name + ".bias"])
    def split(x):
        return x.reshape(2, -1, heads, inner // heads).transpose(1, 2)
    context = images(2, 7, size)
    x = weights["latents"].expand(2, -1, -1)
    for i in range(2):
        name = f"layers.{i}."
        own = normed(x, name + "0.norm_latents")
        seen = torch.cat([normed(context, name + "0.norm_media"), own], 1)
        key, value = F.linear(seen, weights[name + "0.to_kv.weight"]).chunk(2, -1)
        scores = split(F.linear(own, weights[name + "0.to_q.weight"])) @ split(key).transpose(2, 3)
        attended = (scores / math.sqrt(inner // heads)).softmax(-1) @ split(value)
        x = x + F.linear(attended.transpose(1, 2).reshape(2, -1, inner), weights[name + "0.to_out.weight"])
        fed = F.gelu(F.linear(normed(x, name + "1.0"), weights[name + "1.1.weight"]))
        x = x + F.linear(fed, weights[name + "1.3.weight"])
    x = normed(x, "norm")
    x.sin().sum().backward()
    inputs = {"context": context} | {f"weights.{k}": v for k, v in weights.items()}
    save("flamingo", None, None, inputs, {"latents": x, "gradient": context.grad})


def projector():
    config = LlavaConfig(
        vision_config=dict(model_type="clip_vision_model", hidden_size=14, num_attention_heads=2),
        text_config=dict(model_type="llama", hidden_size=19, num_attention_heads=1, head_dim=20),
        vision_feature_layer=[-2, 1],
    )
    model = randomise(LlavaMultiModalProjector(config), 9)
    tokens = images(2, 5, 28)
    out = model(tokens)
    out.sin().sum().backward()
    save("projector", config.to_diff_dict(), model, {"tokens": tokens}, {"soft": out, "gradient": tokens.grad})


def released():
    """Tensors and elements of the parts of the released models, without allocating them."""
    idefics = dict(
        use_resampler=True, vision_config=dict(embed_dim=1280),
        perceiver_config=dict(use_resampler=True, qk_layer_norms_perceiver=True),
    )
    idefics2 = dict(
        text_config=dict(model_type="mistral", rms_norm_eps=1e-5, vocab_size=32003),
        vision_config=dict(
            hidden_size=1152, image_size=980, intermediate_size=4304, num_attention_heads=16, num_hidden_layers=27,
            patch_size=14,
        ),
        perceiver_config={},
    )
    instructblip = dict(qformer_config=dict(vocab_size=30523), vision_config={}, text_config=dict(model_type="llama"))
    clip = dict(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=336,
        patch_size=14,
    )
    with torch.device("meta"):
        first, second = IdeficsConfig(**idefics), Idefics2Config(**idefics2)
        joined = InstructBlipConfig(**instructblip)
        models = {
            "clip": (clip, CLIPVisionModel(CLIPVisionConfig(**clip))),
            "idefics_vision": (idefics, IdeficsVisionTransformer(first.vision_config)),
            "idefics_perceiver": (idefics, IdeficsPerceiverResampler(first, 1280, 6, 16, 96, 64)),
            "idefics2_vision": (idefics2, Idefics2VisionTransformer(second.vision_config)),
            "idefics2_connector": (idefics2, Idefics2Connector(second)),
            "eva": (instructblip, InstructBlipVisionModel(joined.vision_config)),
            "qformer": (instructblip, InstructBlipQFormerModel(joined.qformer_config)),
            "siglip": ({}, SiglipVisionModel(SiglipVisionConfig())),
        }
    sizes = {}
    for name, (config, model) in models.items():
        parameters = list(model.parameters())
        elements = sum(parameter.numel() for parameter in parameters)
        sizes[name] = {"config": config, "tensors": len(parameters), "elements": elements}
    (ROOT / "released.json").write_text(json.dumps(sizes, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    for make in [clip, idefics, idefics2, positions, siglip, eva, qformer, blip2, flamingo, projector, released]:
        make()
    size = sum(path.stat().st_size for path in ROOT.iterdir())
    print(f"wrote {size} bytes to {ROOT.name}")
