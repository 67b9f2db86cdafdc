"""Golden gradients, second derivatives and optimiser steps.

Writes Tests/Fixtures/Torch/training.json:
  "gradients"   name -> {"inputs": tensors, "loss": number, "gradients": tensors}; the test writes the same function
  "optimizers"  name -> {"options", "parameters": values after every step}; all runs share "start" and "slopes"
  "clip"        gradients, limit, norm and clipped gradients of clip_grad_norm_

Needs: Python 3.11, torch 2.13.0 (CPU).
Run:   python Tools/goldens/torch_training.py
"""

import json
import pathlib

import torch
import torch.nn.functional as F

from torch_operations import packed, rounded

GRADIENTS = {}


def record(name, function, **inputs):
    leaves = {key: value.clone().requires_grad_() if value.is_floating_point() else value
              for key, value in inputs.items()}
    loss = function(**leaves)
    found = torch.autograd.grad(loss, [leaf for leaf in leaves.values() if leaf.requires_grad])
    keys = [key for key, leaf in leaves.items() if leaf.requires_grad]
    GRADIENTS[name] = {"inputs": {key: packed(value) for key, value in inputs.items()}, "loss": float(loss.detach()),
                       "gradients": {key: packed(value) for key, value in zip(keys, found)}}


def perceptron(x, w1, b1, scale, shift, w2, labels):
    hidden = F.layer_norm(F.gelu(F.linear(x, w1, b1)), (5,), scale, shift, 1e-5)
    return F.cross_entropy(F.linear(hidden, w2), labels, label_smoothing=0.1)


def attention(q, k, v, bias, mix):
    return (F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=0.4) * mix).sum()


def convolution(x, w, b, scale, shift):
    hidden = F.group_norm(F.conv2d(x, w, b, stride=2, padding=2, dilation=2, groups=2), 2, scale, shift, 1e-3)
    return F.adaptive_avg_pool2d(F.silu(hidden), (2, 1)).square().sum()


def indexing(table, ids, more, places):
    rows = F.embedding(ids, table)
    joined = torch.cat([rows, more.unsqueeze(1).expand(-1, 2, -1)], 1)[:, 1:, :]
    picked = joined.gather(1, places)
    spread = torch.zeros(2, 4, 3).scatter_add(1, places, picked * 2)
    return (F.pad(spread, (1, 0), value=0.5).square().sum() + joined[[1, 0, 1], [0, 2, 2]].prod(-1).sum()
            + joined.index_select(2, torch.tensor([2, 2])).amax(1).sum())


def elements(x, y):
    z = (x.exp() + y.square()).log() + F.softplus(x * y) - torch.erf(y) / (x.sigmoid() + 0.5)
    return (z.tanh() * (x.abs() + 1).sqrt() + torch.pow(y.square() + 1, 1.5).rsqrt()).mean() + z.logsumexp((0, 1))


def second(w, x):
    slope, = torch.autograd.grad(torch.tanh(x @ w).pow(3).sum(), w, create_graph=True)
    return slope.square().sum()


def meta(w, x, y, x2, y2):
    slope, = torch.autograd.grad(F.mse_loss(x @ w, y), w, create_graph=True)
    return F.mse_loss(torch.sin(x2 @ (w - 0.1 * slope)), y2)


def make_gradients():
    torch.manual_seed(30)
    record("perceptron", perceptron, x=rounded(3, 4), w1=rounded(5, 4), b1=rounded(5), scale=rounded(5),
           shift=rounded(5), w2=rounded(2, 5), labels=torch.tensor([1, 0, 1]))
    record("attention", attention, q=rounded(1, 2, 3, 4), k=rounded(1, 2, 5, 4), v=rounded(1, 2, 5, 4),
           bias=rounded(1, 1, 3, 5), mix=rounded(1, 2, 3, 4))
    record("convolution", convolution, x=rounded(2, 4, 6, 5), w=rounded(4, 2, 3, 2), b=rounded(4), scale=rounded(4),
           shift=rounded(4))
    record("indexing", indexing, table=rounded(5, 3), ids=torch.tensor([[4, 1], [1, 0]]), more=rounded(2, 3),
           places=torch.tensor([[[0, 2, 1], [2, 2, 0]], [[1, 1, 1], [0, 2, 0]]]))
    record("elements", elements, x=rounded(3, 4), y=rounded(3, 4))
    record("second", second, w=rounded(4, 2), x=rounded(5, 4, low=-1, high=1))
    record("meta", meta, w=rounded(4, 2), x=rounded(5, 4), y=rounded(5, 2), x2=rounded(3, 4), y2=rounded(3, 2))


RATES = [0.1, 0.05, 0.2, 0.1, 0.1, 0.01]
# The second parameter has no gradient at these steps.
SKIPPED = {1, 3}


def adamw_original(state, p, g, rate, beta1, beta2, epsilon, decay):
    """The update of dvp.md 4.2, in double precision."""
    state["t"] = state.get("t", 0) + 1
    state["m"] = state.get("m", torch.zeros_like(p)) * beta1 + (1 - beta1) * g
    state["v"] = state.get("v", torch.zeros_like(p)) * beta2 + (1 - beta2) * g * g
    size = rate * (1 - beta2 ** state["t"]) ** 0.5 / (1 - beta1 ** state["t"])
    p = p - size * state["m"] / (state["v"].sqrt() + epsilon)
    return p - rate * decay * p


def run_original(start, slopes, beta1, beta2, epsilon):
    values, states, history = [p.double() for p in start], [{}, {}], []
    for step, rate in enumerate(RATES):
        for index, (scale, decay) in enumerate([(1, 0.1), (3, 0)]):
            if index == 0 or step not in SKIPPED:
                values[index] = adamw_original(states[index], values[index], slopes[step][index].double(),
                                               rate * scale, beta1, beta2, epsilon, decay)
        history.append([packed(value.float()) for value in values])
    return history


def run(make, start, slopes):
    parameters = [torch.nn.Parameter(p.clone()) for p in start]
    groups = [{"params": [parameters[0]], "weight_decay": 0.1}, {"params": [parameters[1]], "weight_decay": 0.0}]
    optimizer, history = make(groups), []
    for step, rate in enumerate(RATES):
        optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = rate, rate * 3
        parameters[0].grad = slopes[step][0].clone()
        parameters[1].grad = None if step in SKIPPED else slopes[step][1].clone()
        optimizer.step()
        history.append([packed(parameter) for parameter in parameters])
    return history


def make_optimizers():
    torch.manual_seed(31)
    start = [rounded(3, 2), rounded(4)]
    slopes = [[rounded(3, 2), rounded(4)] for _ in RATES]
    optimizers = {
        "adamW": run(lambda g: torch.optim.AdamW(g, betas=(0.8, 0.95), eps=1e-3), start, slopes),
        "adam": run(lambda g: torch.optim.Adam(g, betas=(0.9, 0.98), eps=1e-6), start, slopes),
        "sgd": run(lambda g: torch.optim.SGD(g, lr=1), start, slopes),
        "momentum": run(lambda g: torch.optim.SGD(g, lr=1, momentum=0.9), start, slopes),
        "nesterov": run(lambda g: torch.optim.SGD(g, lr=1, momentum=0.8, nesterov=True), start, slopes),
        "adamWOriginal": run_original(start, slopes, 0.9, 0.98, 1e-4),
    }
    return {"rates": RATES, "skipped": sorted(SKIPPED), "start": [packed(p) for p in start],
            "slopes": [[packed(g) for g in step] for step in slopes], "runs": optimizers}


def make_clip():
    torch.manual_seed(32)
    slopes, cases = [rounded(3, 2), rounded(4)], []
    for limit in (0.5, 4.0, 100.0):
        parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in slopes]
        for parameter, slope in zip(parameters, slopes):
            parameter.grad = slope.clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        cases.append({"limit": limit, "norm": float(norm), "clipped": [packed(p.grad) for p in parameters]})
    return {"slopes": [packed(g) for g in slopes], "cases": cases}


def main():
    make_gradients()
    path = pathlib.Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "Torch" / "training.json"
    whole = {"torch": torch.__version__.split("+")[0], "gradients": GRADIENTS, "optimizers": make_optimizers(),
             "clip": make_clip()}
    path.write_text(json.dumps(whole, indent=None).replace('}, "', '},\n"') + "\n")
    print(path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
