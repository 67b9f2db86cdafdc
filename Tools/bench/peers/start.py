"""The peer of a first token from a cold start: start.py MODEL.gguf|FOLDER PROMPT, the usual script with transformers."""

import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

path, prompt = sys.argv[1:]
torch.set_num_threads(2)
folder, file = (path, {}) if os.path.isdir(path) else (os.path.dirname(path), {"gguf_file": os.path.basename(path)})
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **file).eval()
tokenizer = AutoTokenizer.from_pretrained(folder, **file)
ids = tokenizer(prompt, return_tensors="pt")
with torch.inference_mode():
    made = model.generate(**ids, max_new_tokens=1, do_sample=False)
print(json.dumps({"text": tokenizer.decode(made[0, ids["input_ids"].shape[1]:])}))
