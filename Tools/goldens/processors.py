"""Golden files of whole image processors at their real sizes: batches of several prompts, and random views.

Writes Tests/Fixtures/Images/batches:
  cases.json   processors of transformers: the settings (a preprocessor_config.json), the images of each prompt, and
               of the result the shape, the counts, and SHA-256 of the bytes before scaling, of the little-endian
               floats, and of the mask, with a few floats to look at when a hash differs
  presets.json the transforms of LAVIS, LLaVA and DVP, made from their steps with Pillow and torch
  views.json   rectangles of torchvision's RandomResizedCrop with the project's random numbers

Images are a formula of their width, height and a number (see `noise`), or a file of Tests/Fixtures/Images/decode.
The reference is transformers' Pillow form of each class (…Pil). torchvision, whose form transformers prefers where
it is installed, is not used: its resize rounds differently (docs/images.md).

Pinned: Pillow 13.0.0, transformers 5.23.0, torch 2.13.0, numpy 2.4.6.
Command, from the project's root: python Tools/goldens/processors.py
"""

import hashlib
import importlib
import json
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "Tests/Fixtures/Images/batches"
DECODE = ROOT / "Tests/Fixtures/Images/decode"

CLASSES = {
    "CLIP": "clip", "Siglip": "siglip", "Blip": "blip", "ViT": "vit", "Llava": "llava", "Idefics": "idefics",
    "Idefics2": "idefics2",
}  # fmt: skip
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def noise(width, height, seed):
    """Ramps that wrap around, with noise of a quarter of the range."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    x, y, c = (part.astype(np.uint32) for part in (x, y, c))
    mixed = x * np.uint32(374761393) + y * np.uint32(668265263) + c * np.uint32(2246822519)
    mixed = mixed + np.uint32(seed * 3266489917 & 0xFFFFFFFF)
    mixed = (mixed ^ (mixed >> np.uint32(13))) * np.uint32(1274126177)
    ramp = x * np.uint32(2) + y * np.uint32(3) + c * np.uint32(40)
    return Image.fromarray(((ramp + (mixed >> np.uint32(26))) & np.uint32(255)).astype(np.uint8))


def picture(item):
    return Image.open(DECODE / item) if isinstance(item, str) else noise(*item)


def sha(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def samples(values):
    flat = values.reshape(-1)
    places = [(i * 2654435761) % flat.size for i in range(12)]
    return [[int(place), float(flat[place])] for place in places]


# ---- Processors of transformers ----


def run(stem, settings, prompts):
    """Values [N, 3, H, W], where for Idefics2 N is prompts × the most images of one; and the mask."""
    module = importlib.import_module(f"transformers.models.{CLASSES[stem]}.image_processing_pil_{CLASSES[stem]}")
    processor = getattr(module, f"{stem}ImageProcessorPil")(**settings)
    images = [[picture(item) for item in prompt] for prompt in prompts]
    if stem != "Idefics2":
        result = processor([image for prompt in images for image in prompt])
        return np.stack(getattr(result, "pixel_values", result)), None
    result = processor(images)
    values, mask = np.asarray(result["pixel_values"]), np.asarray(result["pixel_attention_mask"])
    return values.reshape(-1, *values.shape[2:]), mask.reshape(-1, *mask.shape[2:])


def case(name, stem, settings, prompts):
    values, mask = run(stem, settings, prompts)
    pixels, _ = run(stem, settings | {"do_rescale": False, "do_normalize": False}, prompts)
    assert np.array_equal(pixels, pixels.astype(np.uint8)) and values.dtype == np.float32
    parts = 5 if settings.get("do_image_splitting") else 1
    return {
        "name": name,
        "settings": {"image_processor_type": f"{stem}ImageProcessor"} | settings,
        "prompts": prompts,
        "shape": list(values.shape),
        "counts": [len(prompt) * parts for prompt in prompts],
        "bytes": sha(pixels.astype(np.uint8)),
        "values": sha(values.astype("<f4")),
        "mask": None if mask is None else sha(mask.astype(np.uint8)),
        "samples": samples(values),
    }


# What the published checkpoints' preprocessor_config.json say of pixels.
CLIP_336 = {
    "crop_size": {"height": 336, "width": 336}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
    "do_rescale": True, "do_resize": True, "image_mean": CLIP_MEAN, "image_std": CLIP_STD, "resample": 3,
    "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 336},
}  # fmt: skip
INSTRUCTBLIP = {
    "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD, "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"height": 224, "width": 224},
}  # fmt: skip
IDEFICS = {"image_num_channels": 3, "image_mean": CLIP_MEAN, "image_std": CLIP_STD, "image_size": 224}
IDEFICS2 = {
    "do_convert_rgb": True, "do_image_splitting": False, "do_normalize": True, "do_pad": True, "do_rescale": True,
    "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2,
    "rescale_factor": 0.00392156862745098, "size": {"longest_edge": 980, "shortest_edge": 378},
}  # fmt: skip
SIGLIP = {
    "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
    "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"height": 384, "width": 384},
}  # fmt: skip

# Files without loss: those of lossy codecs depend on the codec's version.
MODES = [
    "rgb8_alpha.png", "grey8_alpha.png", "palette_alphas.png", "palette8.png", "grey8_key.png", "rgb8_key.png",
    "grey1.png", "grey16.png", "grey16_alpha.png", "rgb16_alpha.png", "lossless_alpha.webp",
]  # fmt: skip


def cases():
    photos = [[[640, 480, 1]], [[333, 500, 2], [427, 640, 3]]]
    odd = [[[337, 335, 4], [336, 336, 5]], [[101, 99, 6]], [[7, 300, 7], [901, 11, 8]]]
    split = IDEFICS2 | {"do_image_splitting": True}
    small = {"size": {"shortest_edge": 12}, "crop_size": {"height": 12, "width": 12}}
    modes = [[name] for name in MODES]
    return [
        case("clip_336_photos", "CLIP", CLIP_336, photos),
        case("clip_336_odd", "CLIP", CLIP_336, odd),
        case("clip_old_style", "CLIP", {"size": 224, "crop_size": 224, "resample": 3}, odd),
        case("clip_square_size", "CLIP", {"use_square_size": True}, photos),
        case("clip_pads_batch", "CLIP", {"do_center_crop": False, "do_pad": True, "size": 60}, photos),
        case("clip_modes", "CLIP", small, modes),
        case("llava_crop", "Llava", CLIP_336 | {"do_pad": False}, photos),
        case("llava_pad_photos", "Llava", CLIP_336 | {"do_pad": True}, photos),
        case("llava_pad_odd", "Llava", CLIP_336 | {"do_pad": True}, odd),
        case("llava_pad_own_mean", "Llava",
             CLIP_336 | {"do_pad": True, "image_mean": [0.999, 0.25, 0.0], "image_std": [0.5, 1, 2]}, odd),
        case("llava_modes", "Llava", small | {"do_pad": True}, modes),
        case("instructblip_photos", "Blip", INSTRUCTBLIP, photos),
        case("instructblip_odd", "Blip", INSTRUCTBLIP, odd),
        case("blip_default", "Blip", {}, photos),
        case("blip_modes", "Blip", {"size": 13}, modes),
        case("idefics_photos", "Idefics", IDEFICS, photos),
        case("idefics_odd", "Idefics", IDEFICS, odd),
        case("idefics_size_number", "Idefics", {"size": 101}, photos),
        case("idefics_modes", "Idefics", {"image_size": 14}, modes),
        case("siglip_384", "Siglip", SIGLIP, photos),
        case("siglip_odd", "Siglip", SIGLIP | {"size": {"height": 50, "width": 61}}, odd),
        case("siglip_modes", "Siglip", {"size": {"height": 12, "width": 15}}, modes),
        case("idefics2_photos", "Idefics2", IDEFICS2, photos),
        case("idefics2_odd", "Idefics2", IDEFICS2, odd),
        case("idefics2_edges", "Idefics2", IDEFICS2, [[[981, 979, 9]], [[980, 377, 10], [379, 1203, 11]]]),
        case("idefics2_no_crop", "Idefics2", IDEFICS2 | {"do_center_crop": True, "crop_size": 64}, [[[400, 390, 12]]]),
        case("idefics2_split", "Idefics2", split, [[[401, 379, 13]], [[90, 61, 14], [2, 3, 15]]]),
        case("idefics2_split_small", "Idefics2", split | {"size": {"shortest_edge": 31, "longest_edge": 77}}, odd),
        case("idefics2_square", "Idefics2", IDEFICS2 | {"size": {"height": 70, "width": 84}}, odd),
        case("idefics2_no_resize", "Idefics2", IDEFICS2 | {"do_resize": False}, odd),
        case("idefics2_modes", "Idefics2", {"size": {"shortest_edge": 9, "longest_edge": 21}}, modes),
    ]


# ---- Transforms of the releases ----


def tensor(image, mean, std):
    """torchvision's ToTensor and Normalize: float32 throughout."""
    values = torch.from_numpy(np.array(image)).permute(2, 0, 1).to(torch.float32).div(255)
    mean, std = (torch.tensor(part, dtype=torch.float32).view(3, 1, 1) for part in (mean, std))
    return values.sub(mean).div(std).numpy()


def middle(image, size):
    """torchvision's Resize(size) and CenterCrop(size); Python's round takes a half to the even number."""
    width, height = image.size
    short, long = min(width, height), max(width, height)
    long = int(size * long / short)
    image = image.resize((size, long) if width <= height else (long, size), Image.Resampling.BICUBIC)
    left, top = round((image.width - size) / 2.0), round((image.height - size) / 2.0)
    return image.crop((left, top, left + size, top + size))


def square(image, size):
    return image.resize((size, size), Image.Resampling.BICUBIC)


def llava(image, pads):
    if pads:
        side = max(image.size)
        canvas = Image.new("RGB", (side, side), tuple(int(value * 255) for value in CLIP_MEAN))
        canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = canvas
    module = importlib.import_module("transformers.models.clip.image_processing_pil_clip")
    return np.asarray(module.CLIPImageProcessorPil(**CLIP_336)([image]).pixel_values[0])


PRESETS = {
    "lavis": lambda image: tensor(square(image, 224), CLIP_MEAN, CLIP_STD),
    "lavis crop": lambda image: tensor(middle(image, 224), CLIP_MEAN, CLIP_STD),
    "dvp": lambda image: tensor(middle(image, 224), CLIP_MEAN, CLIP_STD),
    "dvp scienceqa": lambda image: tensor(square(image, 224), IMAGENET_MEAN, IMAGENET_STD),
    "llava": lambda image: llava(image, False),
    "llava pad": lambda image: llava(image, True),
}


def presets():
    sizes = [(640, 480, 21), (333, 500, 22), (225, 226, 23), (224, 224, 24), (19, 203, 25), (150, 101, 26)]
    results = []
    for name, transform in PRESETS.items():
        for image in [*sizes, "rgb8_alpha.png", "grey8.png"]:
            values = transform(picture(image).convert("RGB"))
            results.append({
                "preset": name, "image": image, "shape": list(values.shape), "values": sha(values.astype("<f4")),
                "samples": samples(values),
            })  # fmt: skip
    return results


# ---- Random views ----

MASK = (1 << 64) - 1


class CounterRandom:
    """The project's generator: SplitMix64 from a mix of its keys."""

    def __init__(self, seed, epoch, sample, purpose):
        self.state = 0xCBF29CE484222325
        for byte in purpose.encode():
            self.state = (self.state ^ byte) * 0x100000001B3 & MASK
        for key in (seed, epoch, sample):
            self.state = self.mix(self.state + 0x9E3779B97F4A7C15 + key & MASK)

    @staticmethod
    def mix(z):
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
        return z ^ (z >> 31)

    def uniform(self):
        self.state = self.state + 0x9E3779B97F4A7C15 & MASK
        return (self.mix(self.state) >> 11) * 2.0**-53


def rectangle(width, height, areas, random):
    """left, top, width and height of RandomResizedCrop."""
    low, high = math.log(3 / 4), math.log(4 / 3)
    for _ in range(10):
        area = width * height * (areas[0] + (areas[1] - areas[0]) * random.uniform())
        ratio = math.exp(low + (high - low) * random.uniform())
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = int(random.uniform() * (height - h + 1))
            left = int(random.uniform() * (width - w + 1))
            return left, top, w, h
    w, h = width, height
    if width / height < 3 / 4:
        h = round(width / (3 / 4))
    elif width / height > 4 / 3:
        w = round(height * (4 / 3))
    return (width - w) // 2, (height - h) // 2, w, h


def views():
    results = []
    sizes = [(640, 480), (333, 500), (64, 64), (40, 401), (400, 39), (1, 1), (1, 5000)]
    for index, (width, height) in enumerate(sizes):
        for epoch in range(3):
            keys = (17 + index, epoch, 1000 * index + 3)
            areas = (0.5, 1.0) if epoch < 2 else (0.08, 0.3)
            random = CounterRandom(*keys, "image view")
            x, y, w, h = rectangle(width, height, areas, random)
            mirrored = random.uniform() < 0.5
            part = noise(width, height, index).crop((x, y, x + w, y + h)).resize((56, 56), Image.Resampling.BICUBIC)
            values = tensor(ImageOps.mirror(part) if mirrored else part, CLIP_MEAN, CLIP_STD)
            results.append({
                "width": width, "height": height, "pattern": index, "areas": areas, "keys": keys,
                "view": [x, y, w, h], "mirrored": mirrored, "values": sha(values.astype("<f4")),
            })  # fmt: skip
    return results


def write(name, items):
    OUT.mkdir(parents=True, exist_ok=True)
    lines = ",\n ".join(json.dumps(item) for item in items)
    (OUT / name).write_text(f"[\n {lines}\n]\n")
    print(f"{name}: {len(items)} items, {(OUT / name).stat().st_size} bytes")


if __name__ == "__main__":
    write("views.json", views())
    write("presets.json", presets())
    write("cases.json", cases())
