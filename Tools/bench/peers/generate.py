"""The peers of `vqa-bench generate`: generate.py llama|float32|bfloat16 prefill|decode MODEL.gguf.

llama.cpp (xllamacpp) multiplies the file's 4-bit weights; transformers unpacks them.
"""

import sys

from rounds import serve

peer, part, path = sys.argv[1:]
SHORT = "The capital of France is"
LONG = [1000 + i * 37 % 40000 for i in range(512)]

if peer == "llama":
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_parallel = 1024, 512, 512, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
    server = xllamacpp.Server(params)

    def run(prompt, count):
        answer = server.handle_completions({
            "prompt": prompt, "n_predict": count, "temperature": 0, "cache_prompt": False, "ignore_eos": True})
        return answer["choices"][0]["text"]

else:
    import os

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(2)
    folder, name = os.path.split(path)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=getattr(torch, peer)).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)

    def run(prompt, count):
        ids = torch.tensor([prompt if isinstance(prompt, list) else tokenizer(prompt)["input_ids"]])
        with torch.inference_mode():
            made = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count, do_sample=False)
        return tokenizer.decode(made[0, ids.shape[1]:], skip_special_tokens=True)


# The products of llama.cpp round the inputs to 8 bits, so long texts part ways sooner or later.
serve(run(SHORT, 3), lambda: run(LONG, 1) if part == "prefill" else run(SHORT, 64))
