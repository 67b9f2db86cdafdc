"""Golden files of the Images tests, made with Pillow and transformers.

Writes Tests/Fixtures/Images:
  decode/NAME.EXT            an image file of some mode
  decode/NAME.EXT.rgb.png    what Pillow's convert("RGB") makes of it
  decode/NAME.EXT.white.png  what transformers' convert_to_rgb (over white) makes of it, where that differs
  resize/WxH.png             inputs; resize/WxH_to_WxH.png: the results of the six filters in the order of
                             their codes (nearest, lanczos, bilinear, bicubic, box, hamming), one below another
  processors/NAME.json       a preprocessor_config.json; processors/NAME.f32: its values as little-endian
                             floats; processors/cases.json: the image and the shape of each
  hostile/                   files that must be refused
  photos.json                sizes and tiny thumbnails of photographs that are not part of the project (empty
                             unless ../shared/data is there)
  MANIFEST.json              versions and the SHA-256 of every file

Pinned: Pillow 13.0.0 (libjpeg-turbo 3.2.0, libwebp 1.6.0), transformers 5.23.0, numpy.
Command, from the project's root: python Tools/goldens/images.py
"""

import hashlib
import importlib
import io
import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL
import transformers
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "Tests/Fixtures/Images"
DATA = ROOT.parent / "shared/data/allennlp-vision/images"
FOLDERS = ["decode", "hostile", "processors", "resize"]
RANDOM = np.random.default_rng(20240607)


def picture(width, height):
    """Smooth colours with noise and a few hard edges: something of everything that a filter can get wrong."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 3 + c) + np.cos(y / 4 - c) for c in range(3)], axis=-1)
    values = 128 + 55 * waves + RANDOM.normal(0, 18, (height, width, 3))
    values[(x * 7 + y * 3) % 23 < 3] = 255
    values[(x * 5 + y * 11) % 29 < 2] = 0
    return np.clip(values, 0, 255).astype(np.uint8)


def write(name, data):
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


# ---- Decoding ----


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(width, height, depth, color, before=b"", interlaced=False, below=256):
    """A PNG of random samples below a bound. Pillow itself writes only some of the format's modes."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    rows = b""
    for x, y, step_x, step_y in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        columns, lines = -(-(width - x) // step_x), -(-(height - y) // step_y)
        for _ in range(max(lines, 0) if columns > 0 else 0):
            size = (columns * channels * depth + 7) // 8
            rows += b"\0" + (RANDOM.integers(0, 256, size) % below).astype(np.uint8).tobytes()
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    parts = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def decode_case(name, data):
    write(f"decode/{name}", data)
    image = Image.open(io.BytesIO(data))
    plain = image.convert("RGB")
    # A new image, without the transparency that the converted one still names.
    write(f"decode/{name}.rgb.png", encoded(Image.fromarray(np.asarray(plain)), "PNG"))
    convert = importlib.import_module("transformers.image_transforms").convert_to_rgb
    white = Image.fromarray(convert(Image.open(io.BytesIO(data)), return_numpy=True))
    if white.tobytes() != plain.tobytes():
        write(f"decode/{name}.white.png", encoded(white, "PNG"))


def decode_pngs():
    colors = RANDOM.integers(0, 256, 3 * 256).astype(np.uint8).tobytes()
    for interlaced in (False, True):
        tail = "_adam7.png" if interlaced else ".png"
        for depth, color, mode in [
            (1, 0, "grey1"), (2, 0, "grey2"), (4, 0, "grey4"), (8, 0, "grey8"), (16, 0, "grey16"),
            (8, 2, "rgb8"), (16, 2, "rgb16"), (8, 4, "grey8_alpha"), (16, 4, "grey16_alpha"),
            (8, 6, "rgb8_alpha"), (16, 6, "rgb16_alpha"),
        ]:  # fmt: skip
            decode_case(mode + tail, png(13, 9, depth, color, interlaced=interlaced))
        for depth in (1, 2, 4, 8):
            palette = chunk(b"PLTE", colors[: 3 << depth])
            decode_case(f"palette{depth}{tail}", png(13, 9, depth, 3, palette, interlaced=interlaced))
    palette = chunk(b"PLTE", colors[:30])
    alphas, one_clear = chunk(b"tRNS", bytes([0, 90, 255, 7])), chunk(b"tRNS", bytes([255, 0, 255]))
    decode_case("palette_alphas.png", png(13, 9, 8, 3, palette + alphas, below=8))
    decode_case("palette_one_clear.png", png(13, 9, 8, 3, palette + one_clear, below=8))
    decode_case("palette_past_end.png", png(13, 9, 8, 3, palette, below=14))
    decode_case("grey8_key.png", png(13, 9, 8, 0, chunk(b"tRNS", struct.pack(">H", 2)), below=4))
    decode_case("grey1_key.png", png(13, 9, 1, 0, chunk(b"tRNS", struct.pack(">H", 1))))
    decode_case("rgb8_key.png", png(13, 9, 8, 2, chunk(b"tRNS", struct.pack(">HHH", 1, 0, 1)), below=2))
    decode_case("grey16_low.png", grey16_low())
    for width, height in [(1, 1), (1, 17), (33, 2)]:
        decode_case(f"rgb_{width}x{height}_adam7.png", png(width, height, 8, 2, interlaced=True))
    levels = np.arange(256, dtype=np.uint8)
    pairs = np.stack(np.broadcast_arrays(levels[::5, None], levels[None, ::3]), axis=-1)
    alpha = np.concatenate([pairs[..., :1], 255 - pairs[..., :1], pairs[..., 1:], pairs[..., 1:]], axis=-1)
    decode_case("alpha_levels.png", encoded(Image.fromarray(alpha), "PNG"))


def grey16_low():
    """16-bit grey around 255, where Pillow clips instead of scaling."""
    values = np.array([[0, 1, 127, 254, 255, 256, 257, 511, 512, 65535]], np.uint16)
    return encoded(Image.fromarray(values), "PNG")


def decode_lossy():
    image = Image.fromarray(picture(45, 31))
    for name, options in [
        ("rgb_444", {"subsampling": 0}), ("rgb_422", {"subsampling": 1}), ("rgb_420", {"subsampling": 2}),
        ("rgb_progressive", {"progressive": True}), ("rgb_restarts", {"restart_marker_rows": 1}),
        ("rgb_untransformed", {"keep_rgb": True}), ("rgb_poor", {"quality": 8}),
    ]:  # fmt: skip
        decode_case(f"{name}.jpg", encoded(image, "JPEG", **options))
    decode_case("grey.jpg", encoded(image.convert("L"), "JPEG"))
    decode_case("grey_progressive.jpg", encoded(image.convert("L"), "JPEG", progressive=True))
    cmyk = encoded(image.convert("CMYK"), "JPEG")
    decode_case("cmyk.jpg", cmyk)
    decode_case("cmyk_progressive.jpg", encoded(image.convert("CMYK"), "JPEG", progressive=True))
    # The same numbers read as YCCK: the last byte of the Adobe marker names the transform.
    adobe = cmyk.index(b"Adobe") + 11
    decode_case("ycck.jpg", cmyk[:adobe] + b"\x02" + cmyk[adobe + 1 :])
    exif = Image.Exif()
    exif[0x0112] = 6
    decode_case("rotated_by_exif.jpg", encoded(image, "JPEG", exif=exif))

    clear = Image.fromarray(np.dstack([picture(45, 31), RANDOM.integers(0, 256, (31, 45)).astype(np.uint8)]))
    decode_case("lossy.webp", encoded(image, "WEBP", quality=60))
    decode_case("lossless.webp", encoded(image, "WEBP", lossless=True))
    decode_case("lossy_alpha.webp", encoded(clear, "WEBP", quality=60))
    decode_case("lossless_alpha.webp", encoded(clear, "WEBP", lossless=True, exact=True))


# ---- Resizing ----


def resize():
    for size, targets in {
        (1, 1): [(1, 5), (4, 3)],
        (1, 11): [(1, 4), (3, 23), (1, 1)],
        (7, 5): [(13, 3), (3, 2), (7, 12), (1, 1), (15, 11)],
        (23, 37): [(11, 17), (40, 9), (23, 5), (7, 37), (10, 11), (10, 10)],
        (61, 19): [(8, 5), (30, 18), (75, 8)],
    }.items():
        pixels = picture(*size)
        image = Image.fromarray(pixels)
        write(f"resize/{size[0]}x{size[1]}.png", encoded(image, "PNG"))
        for target in targets:
            results = [np.asarray(image.resize(target, code)) for code in range(6)]
            name = f"resize/{size[0]}x{size[1]}_to_{target[0]}x{target[1]}.png"
            write(name, encoded(Image.fromarray(np.concatenate(results)), "PNG"))


# ---- Processors ----

CLASSES = {
    "CLIP": "clip", "Siglip": "siglip", "Blip": "blip", "ViT": "vit", "DeiT": "deit", "Bit": "bit",
    "Llava": "llava", "Idefics": "idefics", "Idefics2": "idefics2",
}  # fmt: skip


def processor(stem, settings):
    model = CLASSES[stem]
    module = importlib.import_module(f"transformers.models.{model}.image_processing_pil_{model}")
    return getattr(module, f"{stem}ImageProcessorPil")(**settings)


def processor_cases():
    imagenet = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    larger = {"size": {"shortest_edge": 9}, "crop_size": {"height": 14, "width": 11}}
    half = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    small = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    return [
        ("clip_old_style", "CLIP", {"size": 15, "crop_size": 15, "resample": 3}, "wide"),
        ("clip_new_style", "CLIP", small, "tall"),
        ("clip_alpha", "CLIP", small, "alpha"),
        ("clip_grey", "CLIP", small, "grey"),
        ("clip_crop_larger", "CLIP", larger, "wide"),
        ("clip_no_resize", "CLIP", {"do_resize": False, "crop_size": 24}, "wide"),
        ("clip_bytes", "CLIP", small | {"do_rescale": False, "do_normalize": False}, "wide"),
        ("siglip", "Siglip", {"size": {"height": 12, "width": 17}}, "tall"),
        ("siglip_very_tall", "Siglip", {"size": {"height": 12, "width": 12}}, "needle"),
        ("blip", "Blip", {"size": {"height": 18, "width": 18}} | imagenet, "wide"),
        ("vit", "ViT", {"size": 14, "rescale_factor": 0.00392156862745098}, "wide"),
        ("vit_lanczos", "ViT", {"size": {"height": 9, "width": 20}, "resample": 1}, "tall"),
        ("deit", "DeiT", {"size": 20, "crop_size": 13}, "wide"),
        ("bit", "Bit", small, "wide"),
        ("llava_pad", "Llava", small | {"do_pad": True}, "wide"),
        ("idefics", "Idefics", {"image_size": 16, "image_num_channels": 3}, "alpha"),
        ("idefics2_shrink", "Idefics2", {"size": {"shortest_edge": 10, "longest_edge": 21}} | half, "wide"),
        ("idefics2_raise", "Idefics2", {"size": {"shortest_edge": 24, "longest_edge": 40}} | half, "tall"),
    ]


def processors():
    alpha = RANDOM.integers(0, 256, (33, 26)).astype(np.uint8)
    images = {
        "wide": Image.fromarray(picture(43, 29)),
        "tall": Image.fromarray(picture(22, 41)),
        "needle": Image.fromarray(picture(14, 90)),
        "grey": Image.fromarray(picture(30, 25)).convert("L"),
        "alpha": Image.fromarray(np.dstack([picture(26, 33), alpha])),
    }
    for name, image in images.items():
        write(f"processors/{name}.png", encoded(image, "PNG"))
    cases = []
    for name, stem, settings, image in processor_cases():
        source = images[image] if stem not in ("ViT", "DeiT") else images[image].convert("RGB")
        result = processor(stem, settings)([[source]] if stem == "Idefics2" else [source])
        values = np.asarray(getattr(result, "pixel_values", result)[0])
        values = values[0] if stem == "Idefics2" else values
        configuration = {"image_processor_type": f"{stem}ImageProcessor"} | settings
        write(f"processors/{name}.json", json.dumps(configuration).encode())
        write(f"processors/{name}.f32", values.astype("<f4").tobytes())
        cases.append({"name": name, "image": f"{image}.png", "shape": list(values.shape)})
    write("processors/cases.json", json.dumps(cases, indent=1).encode())


# ---- Files to refuse ----


def marker(code, data):
    return bytes([0xFF, code]) + struct.pack(">H", len(data) + 2) + data


def many_scans(count):
    """A valid progressive JPEG of one grey block whose only coefficient comes again and again."""
    frame = struct.pack(">BHHB", 8, 8, 8, 1) + bytes([1, 0x11, 0])
    table = bytes([0x00, 1] + [0] * 15 + [0])
    scan = marker(0xDA, bytes([1, 1, 0x00, 0, 0, 0])) + b"\x7f"
    parts = marker(0xDB, bytes([0]) + bytes([1]) * 64) + marker(0xC2, frame) + marker(0xC4, table)
    return b"\xff\xd8" + parts + scan * count + b"\xff\xd9"


def hostile():
    image = Image.fromarray(picture(20, 14))
    jpeg = encoded(image, "JPEG")
    size = struct.pack(">HH", 14, 20)
    write("hostile/huge.jpg", jpeg.replace(size, struct.pack(">HH", 60000, 60000), 1))
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    write("hostile/huge.png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end)
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    write("hostile/huge_sides.png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end)
    webp = encoded(Image.new("RGB", (16383, 16383)), "WEBP", lossless=True, method=0)
    write("hostile/huge.webp", webp[:4096])
    write("hostile/scans_200.jpg", many_scans(200))
    write("hostile/scans_100.jpg", many_scans(100))
    frames = [Image.fromarray(picture(9, 8)) for _ in range(3)]
    write("hostile/animated.webp", encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    for kind in ("GIF", "BMP", "TIFF", "PPM"):
        write(f"hostile/other.{kind.lower()}", encoded(image.resize((3, 2)), kind))


# ---- Photographs ----


def photos():
    """Sizes and thumbnails of 6×4 numbers: the photographs themselves stay where they are."""
    cases = []
    for path in sorted(DATA.glob("*/*.jpg")) if DATA.exists() else []:
        image = Image.open(path).convert("RGB")
        small = np.asarray(image.resize((6, 4), Image.Resampling.LANCZOS))
        name = str(path.relative_to(DATA))
        numbers = small.flatten().tolist()
        cases.append({"path": name, "width": image.width, "height": image.height, "small": numbers})
    write("photos.json", json.dumps(cases).encode())


def manifest():
    files = [path for folder in FOLDERS for path in (OUT / folder).iterdir()]
    files = sorted([*files, OUT / "photos.json"])
    hashes = {str(path.relative_to(OUT)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    versions = {"pillow": PIL.__version__, "transformers": transformers.__version__, "numpy": np.__version__}
    content = {"made_by": "Tools/goldens/images.py", "versions": versions, "sha256": hashes}
    write("MANIFEST.json", json.dumps(content, indent=1).encode())
    total = sum(path.stat().st_size for path in files)
    print(f"{len(files)} files, {total} bytes")


if __name__ == "__main__":
    # The other folder, batches, is made by processors.py.
    for folder in FOLDERS:
        shutil.rmtree(OUT / folder, ignore_errors=True)
    decode_pngs()
    decode_lossy()
    resize()
    processors()
    hostile()
    photos()
    manifest()
