"""The peer of `vqa-bench training`: training.py same|stores|search FOLDER, with the weights and batches found there.

same:   does what our step does without stores: all text layers from the ids, batches padded to their longest question,
        one position of the last layer. A round is a few steps.
stores: a plain script: all text layers from the ids, padded to the longest of all questions, the whole last layer. A round
        is an epoch.
search: a step of the placement search as the release takes it: one layer is trained, and each draw is scored from the ids.

On both sides the image encoder has run before: its features are in memory.
"""

import json
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from dvp import decoder_forward, forward
from rounds import serve

mode, folder = sys.argv[1:]
torch.set_num_threads(2)
plan = json.load(open(folder + "/training.json"))
data = load_file(folder + "/data.safetensors")
weights = load_file(folder + "/weights.safetensors")
# The layers below the prompt of a search: without adapters, and with the norms as they were.
frozen = {key: tensor.clone() for key, tensor in weights.items() if key.startswith("bert_model.")}
groups = [
    {"params": [weights[key].requires_grad_() for key in group["keys"]], "weight_decay": group["decay"]}
    for group in plan["groups"]
]
optimizer = torch.optim.AdamW(groups, lr=plan["rate"])
batches = [torch.tensor(batch) for batch in plan["batches"]]


def logits(batch, layer=None):
    ids, valid, visual = (data[name][batch] for name in ["ids", "valid", "visual"])
    longest = ids.shape[1] if mode == "stores" else int(valid.sum(1).max())
    full = mode == "stores"
    if plan["kind"] == "decoder":
        return decoder_forward(weights, ids[:, -longest:], valid[:, -longest:], visual, plan, full)
    searching = {} if layer is None else {"arm": f"_options.{layer}", "frozen": frozen}
    return forward(
        weights, ids[:, :longest], visual, plan["insert_layer"] if layer is None else layer, plan["heads"], full,
        **searching)


def step(batch, layer=None):
    optimizer.zero_grad()
    targets = data["targets"][batch]
    loss = F.binary_cross_entropy_with_logits(logits(batch, layer), targets) * targets.shape[1]
    loss.backward()
    optimizer.step()
    return loss.item()


def search(number):
    """The loss of a step, and the percentages of its draws on other questions."""
    found = [step(batches[number], plan["trained"][number])]
    held = batches[number + plan["steps"]][:plan["scored"]]
    with torch.no_grad():
        for layer in plan["draws"][number]:
            best = logits(held, layer).argmax(1, keepdim=True)
            found.append(data["targets"][held].gather(1, best).mean().item() * 100)
    return found


def few():
    if mode == "search":
        return [search(number) for number in range(plan["steps"])]
    return [step(batch) for batch in batches[:plan["steps"]]]


def round():
    if mode != "stores":
        return few()
    for batch in batches:
        step(batch)


serve(few(), round)
