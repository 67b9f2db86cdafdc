"""The peer of `vqa-bench training`: training.py same|stores FOLDER, with the weights and batches found there.

same:   does what our step does without stores: all text layers from the ids, batches padded to their longest question,
        one position of the last layer. A round is a few steps.
stores: a plain script: all text layers from the ids, padded to 16 tokens, the whole last layer. A round is an epoch.

On both sides the image encoder has run before: its features are in memory.
"""

import json
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from dvp import forward
from rounds import serve

mode, folder = sys.argv[1:]
torch.set_num_threads(2)
plan = json.load(open(folder + "/training.json"))
data = load_file(folder + "/data.safetensors")
weights = load_file(folder + "/weights.safetensors")
groups = [
    {"params": [weights[key].requires_grad_() for key in group["keys"]], "weight_decay": group["decay"]}
    for group in plan["groups"]
]
optimizer = torch.optim.AdamW(groups, lr=plan["rate"])
batches = [torch.tensor(batch) for batch in plan["batches"]]


def step(batch):
    ids, targets = data["ids"][batch], data["targets"][batch]
    if mode == "same":
        ids = ids[:, :int((ids != 0).sum(1).max())]
    optimizer.zero_grad()
    logits = forward(
        weights, ids, data["visual"][batch], plan["insert_layer"], plan["heads"], full=mode == "stores")
    loss = F.binary_cross_entropy_with_logits(logits, targets) * targets.shape[1]
    loss.backward()
    optimizer.step()
    return loss.item()


def round():
    for batch in batches if mode == "stores" else batches[:plan["steps"]]:
        step(batch)


serve([step(batch) for batch in batches[:plan["steps"]]], round)
