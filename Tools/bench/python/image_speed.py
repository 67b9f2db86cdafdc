"""Times reading images with Pillow and numpy: decode, resize, normalise to CHW floats. One thread.

Prints one JSON line. Versions: Tools/requirements-dev.txt.

usage: image_speed.py FILE_OR_FOLDER… [--size 224] [--processing clip|efficientnet] [--rounds 5] [--output FILE.npy]
"""

import argparse
import json
import pathlib
import statistics
import time

import numpy
import PIL
from PIL import Image

CLIP_MEAN = numpy.array([0.48145466, 0.4578275, 0.40821073], numpy.float32)
CLIP_DEVIATION = numpy.array([0.26862954, 0.26130258, 0.27577711], numpy.float32)


def clip(image, size):
    """Shorter side to `size`, bicubic; centre crop."""
    width, height = image.size
    shape = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    image = image.resize(shape, Image.Resampling.BICUBIC)
    left, top = round((shape[0] - size) / 2), round((shape[1] - size) / 2)
    image = image.crop((left, top, left + size, top + size)).convert("RGB")
    return (numpy.asarray(image, numpy.float32) / 255 - CLIP_MEAN) / CLIP_DEVIATION


def efficientnet(image, size):
    image = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    return (numpy.asarray(image, numpy.float32) - 127) / 128


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--processing", choices=["clip", "efficientnet"], default="clip")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", help="where to write the values of the first image, to compare them")
    options = parser.parse_args()
    files = []
    for path in map(pathlib.Path, options.paths):
        found = sorted(path.iterdir()) if path.is_dir() else [path]
        files += [file for file in found if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")]
    process = {"clip": clip, "efficientnet": efficientnet}[options.processing]
    times = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        for file in files:
            with Image.open(file) as image:
                values = numpy.ascontiguousarray(process(image, options.size).transpose(2, 0, 1))
        times.append(time.perf_counter() - start)
    if options.output:
        with Image.open(files[0]) as image:
            values = process(image, options.size)
        numpy.save(options.output, numpy.ascontiguousarray(values.transpose(2, 0, 1)))
    seconds = statistics.median(times)
    print(json.dumps({
        "peer": f"Pillow {PIL.__version__}, numpy {numpy.__version__}", "what": "decode, resize, normalise",
        "processing": options.processing, "size": options.size, "threads": 1, "images": len(files),
        "median_ms_per_image": 1000 * seconds / len(files), "images_per_second": len(files) / seconds,
    }))


main()
