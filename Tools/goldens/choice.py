"""Makes Tests/Fixtures/Tasks/choice.json: what the official evaluation programs say about generated answers.

Versions: pandas 2.3.3 (Tools/requirements-dev.txt).
Command:  python Tools/goldens/choice.py FOLDER
FOLDER holds the programs, which are not part of this project:
  eval_pope.py       haotian-liu/LLaVA, llava/eval/eval_pope.py
  nlvr2_metrics.py   lil-lab/nlvr, nlvr2/eval/metrics.py
  evaluate_acc.py    lupantech/ScienceQA, tools/evaluate_acc.py
  matching_util.py   open-compass/VLMEvalKit, vlmeval/utils/matching_util.py: can_infer_option (a letter among the last
                     four words), can_infer_text and can_infer
  vl_icl_eval.py     ys-zong/VL-ICL, evals/eval.py: exact_match and exact_yes_no
"""

import contextlib
import io
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

OFFICIAL = Path(sys.argv[1])
sys.path.insert(0, str(OFFICIAL))
import eval_pope  # noqa: E402
import evaluate_acc  # noqa: E402
import matching_util  # noqa: E402
import vl_icl_eval  # noqa: E402

TARGET = Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "Tasks" / "choice.json"
draw = random.Random(7)


def pope(folder):
    texts = ["yes", "Yes, there is.", "no", "No", "No. Yes", "There is not", "There is no cat, really", "NO", "", "none",
             "Not at all", "I see. No", "no,", "yes no", "It is\nno", "No; none", "a  no b", ".no", "not.", "nothing, no"]
    result = {}
    for name in ["random", "popular"]:
        rows = [[draw.choice(texts), draw.choice(["yes", "no"])] for _ in range(120)]
        labels = folder / f"coco_pope_{name}.json"
        labels.write_text("".join(json.dumps({"label": label}) + "\n" for _, label in rows))
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            eval_pope.eval_pope([{"text": text} for text, _ in rows], str(labels))
        figures = dict(line.split(": ") for line in out.getvalue().splitlines() if ": " in line)
        result[name] = {"rows": rows, "figures": {key: float(value) for key, value in figures.items()}}
    return result


def nlvr2(folder):
    rows = []
    for index in range(60):
        for pair in range(draw.randint(1, 4)):
            label = draw.choice(["True", "False"])
            prediction = label if draw.random() < 0.8 else draw.choice(["true", "FALSE", "maybe"])
            rows.append([f"dev-{index}-{pair}-{draw.randint(0, 1)}", label, prediction])
    csv, data = folder / "p.csv", folder / "d.json"
    csv.write_text("".join(f"{row[0]},{row[2]}\n" for row in rows))
    data.write_text("".join(json.dumps({"identifier": row[0], "label": row[1]}) + "\n" for row in rows))
    command = [sys.executable, str(OFFICIAL / "nlvr2_metrics.py"), str(csv), str(data)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {"rows": rows, "figures": {key: float(value) for key, value in (line.split("=") for line in out.split())}}


def scienceqa(folder):
    subjects = ["natural science", "social science", "language science"]
    rows, problems, results = [], {}, {}
    for index in range(4241):
        row = [draw.randint(0, 2), draw.randint(1, 12), draw.randint(0, 1), draw.randint(0, 1), draw.randint(0, 3),
               draw.randint(-1, 3)]
        rows.append(row)
        problems[str(index)] = {
            "subject": subjects[row[0]], "grade": f"grade{row[1]}", "hint": "hint" * row[2],
            "image": "image.png" if row[3] else None, "answer": row[4], "split": "test"}
        results[str(index)] = row[5]
    (folder / "r.json").write_text(json.dumps({"results": results}))
    (folder / "p.json").write_text(json.dumps(problems))
    scores = evaluate_acc.get_scores(str(folder / "r.json"), str(folder / "p.json"))
    return {"rows": rows, "figures": {key: float(value) for key, value in scores.items()}}


def matching():
    sets = [["red", "dark red", "blue"], ["A cat", "a dog"], ["yes", "no", "cannot tell", "B"], ["10", "100", "5", "0"]]
    parts = ["A", "B", "C", "D", "Z", "(A)", "B.", "C:", "The answer is", "red", "Dark Red", "a DOG", "100", "or", "not",
             "yes,", "I think it is", "option", "\n", "[D]", "Cannot determine the answer", "{B}", "é", "A/B"]
    rows = []
    for _ in range(600):
        choices = draw.choice(sets)
        text = " ".join(draw.choice(parts) for _ in range(draw.randint(0, 5)))
        letters = dict(zip("ABCD", choices))
        found = matching_util.can_infer(text, letters)
        rows.append([text, choices, found if found in list("ABCD")[: len(choices)] else None])
    return rows


def vl_icl():
    parts = ["12", "-3", "7.", "Answer:", ".", "\n", "yes", "No", "dax", "=", " ", "3.14", "the 12th", "Yes.", "12\n3", "٣"]
    rows = []
    for _ in range(600):
        task = draw.choice(["open_mi", "operator_induction", "operator_induction_interleaved", "clevr", "textocr", "matching_mi"])
        text = "".join(draw.choice(parts) for _ in range(draw.randint(0, 3)))
        answer = draw.choice(["yes", "no"] if task == "matching_mi" else ["12", "3", "Dax", "3", "7", ""])
        record = [{"prediction": text, "answer": answer}]
        score = vl_icl_eval.exact_yes_no(record) if task == "matching_mi" else vl_icl_eval.exact_match(record, task)
        rows.append([text, answer, task, score])
    return rows


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    result = {"pope": pope(folder), "nlvr2": nlvr2(folder), "scienceqa": scienceqa(folder), "matching": matching(), "vl_icl": vl_icl()}
TARGET.write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n")
