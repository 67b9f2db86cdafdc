"""Times training steps of DVP on BERT in plain PyTorch: forward, backward, AdamW.

Prints one JSON line: the losses, the median and p90 of the milliseconds a step, and what was trained.
Versions: Tools/requirements-dev.txt.

WEIGHTS  safetensors with all parameters, frozen ones too, under the keys of DVP on BERT
SIZES    JSON: layers, heads, norm_epsilon, insert_layer, num_heads, use_adapter, freeze_below, visual_norm, drop_rate;
         optionally learning_rate (1e-3), weight_decay (0.01), beta2 (0.999), lr_mult (1)
BATCH    safetensors: ids [B, L] or hidden [B, L, D] (states below layer K, when they are cached), mask [B, L],
         visual [B, N, V], targets [B, C]

usage: train_step.py WEIGHTS SIZES BATCH [--steps 20] [--warmup 3] [--dtype float32|bfloat16] [--threads 2] [--fused]
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from dvp import DVP

NOT_DECAYED = ["bias", "LayerNorm.weight", "norm.weight", "norm1.weight", "norm2.weight", "layernorm.weight"]


def groups(weights, keys, sizes):
    """The head learns faster; biases and norms are not decayed."""
    rate, decay = sizes.get("learning_rate", 1e-3), sizes.get("weight_decay", 0.01)
    result = {}
    for key in keys:
        head, plain = "vqa_classifier" in key, any(part in key for part in NOT_DECAYED)
        group = result.setdefault((head, plain), {
            "params": [], "lr": rate * (sizes.get("lr_mult", 1) if head else 1), "weight_decay": 0 if plain else decay})
        group["params"].append(weights[key])
    return list(result.values())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("sizes")
    parser.add_argument("batch")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3, help="steps before the clock starts")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fused", action="store_true", help="PyTorch's fused AdamW")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    with open(options.sizes) as file:
        sizes = json.load(file)
    weights = {key: tensor.float() for key, tensor in load_file(options.weights).items()}
    model = DVP(weights, sizes)
    trained = model.trained()
    for key in trained:
        weights[key].requires_grad_()
    optimizer = torch.optim.AdamW(
        groups(weights, trained, sizes), betas=(0.9, sizes.get("beta2", 0.999)), fused=options.fused or None)

    batch = load_file(options.batch)
    mask, targets, dropout = batch["mask"].bool(), batch["targets"], sizes["drop_rate"]
    losses, times = [], []
    for _ in range(options.warmup + options.steps):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.dtype == "bfloat16"):
            if "hidden" in batch:
                logits = model.upper(batch["hidden"], mask, batch["visual"], dropout)
            else:
                logits = model(batch["ids"], mask, batch["visual"], dropout)
        loss = F.binary_cross_entropy_with_logits(logits.float(), targets) * targets.shape[1]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        times.append(1000 * (time.perf_counter() - start))
    times = times[options.warmup:]
    print(json.dumps({
        "peer": f"PyTorch {torch.__version__}", "what": "train step", "dtype": options.dtype,
        "threads": torch.get_num_threads(), "batch": list(mask.shape), "cached_lower": "hidden" in batch,
        "trained_parameters": sum(weights[key].numel() for key in trained), "steps": len(times),
        "loss": losses[-1], "losses": losses, "median_ms": statistics.median(times),
        "p90_ms": sorted(times)[int(0.9 * (len(times) - 1))],
    }))


main()
