"""The peer of `vqa-bench bandwidth`: bandwidth.py 4|8, two threads that read as many bytes as a token needs, and add them up."""

import sys

import torch

from rounds import serve

torch.set_num_threads(2)
# Weights of a layer of LLaVA-7B and of its head, and the bytes of one in our packed forms (four bytes beside 32 weights).
WEIGHTS = 8 * (4 * 4096 * 4096 + 3 * 4096 * 11008) + 4096 * 32064
size = {"4": WEIGHTS * 20 // 32, "8": WEIGHTS * 36 // 32}[sys.argv[1]]
buffer = torch.ones(size // 4)
serve(size, buffer.sum)
