"""The peer of `vqa-bench images`: images.py FILE…, with Pillow and numpy."""

import sys

import numpy as np
from PIL import Image

from rounds import serve

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def prepare(path, size=224):
    image = Image.open(path).convert("RGB")
    width, height = image.size
    if width <= height:
        image = image.resize((size, int(size * height / width)), Image.Resampling.BICUBIC)
    else:
        image = image.resize((int(size * width / height), size), Image.Resampling.BICUBIC)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    image = image.crop((left, top, left + size, top + size))
    values = (np.asarray(image, np.float32) / np.float32(255) - MEAN) / DEVIATION
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def all_files():
    for path in sys.argv[1:]:
        prepare(path)


serve([prepare(path).ravel()[::997].tolist() for path in sys.argv[1:]], all_files)
