"""Times the tokenizers library on the lines of a text file: loading, one line at a time, all at once.

Prints one JSON line; `checksum` is the sum of id × (1 + position) over all lines, modulo 2^31, to compare ids.
Versions: Tools/requirements-dev.txt. The threads of the batch are set by RAYON_NUM_THREADS.

usage: tokenizer_speed.py TOKENIZER.json LINES.txt [--rounds 5]
"""

import argparse
import json
import os
import statistics
import time

os.environ.setdefault("RAYON_NUM_THREADS", "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import tokenizers  # noqa: E402 (after the number of threads is set)


def timed(rounds, body):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = body()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times), result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tokenizer")
    parser.add_argument("text")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with open(options.text, encoding="utf-8") as file:
        lines = file.read().split("\n")
    if lines and not lines[-1]:
        lines.pop()
    load, tokenizer = timed(options.rounds, lambda: tokenizers.Tokenizer.from_file(options.tokenizer))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    single, ids = timed(options.rounds, lambda: [tokenizer.encode(line).ids for line in lines])
    batch, encodings = timed(options.rounds, lambda: tokenizer.encode_batch(lines))
    assert [encoding.ids for encoding in encodings] == ids
    tokens = sum(map(len, ids))
    print(json.dumps({
        "peer": f"tokenizers {tokenizers.__version__}", "what": "encode", "lines": len(lines), "tokens": tokens,
        "checksum": sum(i * (1 + at) for row in ids for at, i in enumerate(row)) % 2**31, "load_ms": load,
        "single_ms": single, "single_tokens_per_second": 1000 * tokens / single,
        "batch_ms": batch, "batch_tokens_per_second": 1000 * tokens / batch,
        "batch_threads": int(os.environ["RAYON_NUM_THREADS"]),
    }))


main()
