"""Makes the golden files of the Checkpoints tests.

Writes into Tests/Fixtures/Checkpoints: small checkpoints saved by PyTorch and by the safetensors library, and
`expected.json` with type, shape and SHA-256 of the row-major bytes of every tensor in them, as PyTorch itself reads
them back. With the image encoder present also `efficientnet.json`, the same for its real legacy file. Legacy files
name storages by their address, so their bytes (and only theirs) differ from run to run.

Versions: torch 2.13.0, safetensors 0.8.0; seed fixed.
Command, from the project's folder:

    python Tools/goldens/checkpoints.py [efficientnet-lite0-57934424.pth]
"""

import collections
import hashlib
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "Checkpoints"
TYPES = {
    "float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16,
    "int64": torch.int64, "int32": torch.int32, "int16": torch.int16, "int8": torch.int8, "uint8": torch.uint8,
    "bool": torch.bool,
}


def sample(name, shape):
    """A tensor of random numbers that its type can hold."""
    if TYPES[name].is_floating_point:
        return torch.randn(shape, dtype=torch.float64).to(TYPES[name])
    if name == "bool":
        return torch.rand(shape) < 0.5
    low, high = (0, 200) if name == "uint8" else (-100, 100)
    return torch.randint(low, high, shape).to(TYPES[name])


def describe(tensor):
    flat = tensor.detach().contiguous().reshape(-1)
    data = flat.view(torch.uint8).numpy().tobytes()
    return {
        "type": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def flatten(value, name=""):
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from flatten(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from flatten(item, f"{name}.{index}" if name else str(index))


def checkpoints():
    """File name to the object that is saved in it."""
    all_types = collections.OrderedDict((f"layer.{name}", sample(name, (3, 5))) for name in TYPES)
    all_types["layer.scalar"] = torch.tensor(2.5)
    all_types["layer.empty"] = torch.zeros(0, 4)
    all_types["layer.one"] = sample("int8", (1,))
    shared = torch.randn(4, 6)
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    module(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    views = {
        "whole": shared, "tied": shared, "row": shared[1], "rows": shared[1:3], "column": shared[:, 2],
        "transposed": shared.t(), "every_other": shared[::2, 1::3], "expanded": torch.randn(3, 1).expand(3, 4),
        "permuted": torch.randn(2, 3, 4).permute(2, 0, 1), "ones": torch.randn(1, 5, 1).transpose(0, 2),
        "bytes": sample("uint8", (4, 3)).t(), "halves": sample("bfloat16", (4, 3)).t(), "wide": sample("int64", (2, 3)).t(),
        "overlapping": torch.arange(6.0).as_strided((4, 3), (1, 1)),
    }
    training = {
        "model": module.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "best": 0.5, "name": "run \u00e9",
        "large": 2**70, "negative": -5, "long": -(2**40), "none": None, "flag": True, "size": torch.Size([2, 3]),
        "device": torch.device("cpu"), "dtype": torch.float16, "steps": [1, 2, (3, 4, 5, 6)],
    }
    wrapped = {"epoch": 7, "state_dict": module.state_dict()}
    parameter = {"weight": torch.nn.Parameter(torch.randn(2, 2))}
    return {
        "types": all_types, "views": views, "training": training, "wrapped": wrapped, "parameter": parameter,
        "list": [torch.ones(2), {"inner": torch.zeros(3)}], "single": torch.arange(5),
    }


def main():
    torch.manual_seed(20240607)
    OUT.mkdir(parents=True, exist_ok=True)
    expected = {}
    saved = checkpoints()
    for name, value in saved.items():
        for suffix, zipped in ((".pt", True), (".legacy.pt", False)):
            torch.save(value, OUT / (name + suffix), _use_new_zipfile_serialization=zipped)
            # What PyTorch itself reads back is what must be read here.
            loaded = torch.load(OUT / (name + suffix), weights_only=True)
            tensors = dict(flatten(loaded)) if not isinstance(loaded, torch.Tensor) else {"tensor": loaded}
            if name == "wrapped":
                tensors = {key.removeprefix("state_dict."): tensor for key, tensor in tensors.items()}
            expected[name + suffix] = {key: describe(tensor) for key, tensor in tensors.items()}
    types = dict(saved["types"])
    save_file(types, OUT / "types.safetensors", metadata={"format": "pt"})
    (OUT / "types.safetensors").chmod(0o644)
    expected["types.safetensors"] = {key: describe(tensor) for key, tensor in types.items()}
    torch.save(types, OUT / "protocol4.pt", pickle_protocol=4)
    torch.save({"a": torch.zeros(2), "b": {1, 2}}, OUT / "set.pt")
    write("expected.json", expected)
    if len(sys.argv) > 1:
        loaded = torch.load(sys.argv[1], weights_only=True)
        write("efficientnet.json", {key: describe(tensor) for key, tensor in loaded.items()})


def write(name, value):
    lines = json.dumps(value, indent=1, sort_keys=True)
    (OUT / name).write_text(lines + "\n")


if __name__ == "__main__":
    main()
