"""Makes Tests/Fixtures/Tasks/benchmarks.json: the figures of GQA's and MMBench's evaluation programs on made-up data.

Versions: Python 3.11 and nothing else.
Command:  python Tools/goldens/benchmarks.py

Both are written anew after the programs' logic, in another way than ours, so that neither is a copy:
  GQA      eval.py of the data set's download, read in MILVLG/openvqa, openvqa/datasets/gqa/eval/gqa_eval.py
  MMBench  open-compass/VLMEvalKit, vlmeval/dataset/utils/multiple_choice.py: circular evaluation without a judge, where an
           answer that names no option is wrong
"""

import json
import random
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path

TARGET = Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "Tasks" / "benchmarks.json"
draw = random.Random(20)


def percent(values):
    """The mean of fractions in per cent, exact until here."""
    values = list(values)
    return float(100 * sum(values, Fraction(0)) / len(values)) if values else 0.0


# GQA

WORDS = ["red", "blue", "dog", "cat", "table", "left", "right", "yes", "no", "wood", "color", "shape", "material"]


def gqa_questions():
    questions = {}
    for number in range(180):
        structural = draw.choice(["query", "verify", "choose", "compare", "logical"])
        common = structural == "compare" and draw.random() < 0.5
        answer = draw.choice(["color", "shape", "material"]) if common else (
            draw.choice(["yes", "no"]) if structural in ("verify", "logical") else draw.choice(WORDS[:7] + ["wood"]))
        semantic = [{"operation": "select", "argument": "table (12)", "dependencies": []}]
        for _ in range(draw.randint(0, 4)):
            operation = draw.choice(["relate", "filter color", "exist", "query", "choose name", "verify"])
            semantic.append({"operation": operation, "argument": draw.choice(["name", "red", "?", "dog,left,s (3)"]),
                             "dependencies": [0]})
        questions[f"{number:05d}"] = {
            "semantic": semantic, "entailed": [], "equivalent": [], "imageId": str(number // 4), "answer": answer,
            "question": " ".join(draw.choice(WORDS) for _ in range(draw.randint(2, 9))) + "?",
            "isBalanced": draw.random() < 0.6, "fullAnswer": "", "semanticStr": "", "annotations": {},
            "types": {"structural": structural, "semantic": draw.choice(["obj", "attr", "rel", "cat", "global"]),
                      "detailed": "twoCommon" if common else "existC"},
            "groups": {"global": draw.choice([None, "animal", "furniture", "direction"]), "local": "10c-table"},
        }
    names = list(questions)
    for name, question in questions.items():
        if draw.random() < 0.5:
            question["entailed"] = draw.sample(names, draw.randint(0, 4)) + ([name] if draw.random() < 0.7 else [])
        question["equivalent"] = [name]
    return questions


def gqa(questions, choices, answers):
    def right(name):
        return Fraction(answers[name] == questions[name]["answer"])

    balanced = [name for name in questions if questions[name]["isBalanced"]]

    def mean(wanted):
        return percent(right(name) for name in balanced if wanted(questions[name]))

    def by(key):
        labels = {key(questions[name]) for name in balanced}
        return {str(label): mean(lambda question: key(question) == label) for label in labels}

    def steps(question):
        final = ("exist", "query: name", "choose name")
        return sum(all(part not in f'{step["operation"]}: {step["argument"]}' for part in final)
                   for step in question["semantic"])

    def listed(name, kind):
        allowed = choices[name][kind]
        if "Common" in questions[name]["types"]["detailed"]:
            allowed = ["color", "material", "shape"]
        return Fraction(answers[name] in allowed)

    def consistent():
        for name in balanced:
            others = [other for other in questions[name]["entailed"] if other != name]
            if others and right(name):
                yield sum(map(right, others)) / len(others)

    def distribution():
        gold, given = defaultdict(Counter), defaultdict(Counter)
        for name in balanced:
            group = questions[name]["groups"]["global"]
            if group is not None:
                gold[group][questions[name]["answer"]] += 1
                given[group][answers[name]] += 1
        chi = {group: sum(Fraction((given[group][answer] - count) ** 2, count) for answer, count in counts.items())
               for group, counts in gold.items()}
        size = {group: sum(counts.values()) for group, counts in gold.items()}
        return float(sum(chi[group] * size[group] for group in gold) / sum(size.values()) / 100)

    return {
        "accuracy": mean(lambda question: True),
        "figures": {
            "binary": mean(lambda question: question["types"]["structural"] != "query"),
            "open": mean(lambda question: question["types"]["structural"] == "query"),
            "consistency": percent(consistent()),
            "validity": percent(listed(name, "valid") for name in balanced),
            "plausibility": percent(listed(name, "plausible") for name in balanced),
            "distribution": distribution(),
        },
        "groups": {
            "per_structural_type": by(lambda question: question["types"]["structural"]),
            "per_semantic_type": by(lambda question: {
                "attr": "attribute", "cat": "category", "global": "scene", "obj": "object", "rel": "relation",
            }[question["types"]["semantic"]]),
            "per_steps": by(steps),
            "per_words": by(lambda question: len(question["question"].split())),
        },
    }


# MMBench

OPTIONS = ["a red bus", "two dogs", "the sea", "nothing", "seven", "a blue kite", "snow", "green tea"]
LETTERS = "ABCD"


def mmbench_rows():
    rows = []
    for number in range(70):
        options = draw.sample(OPTIONS, draw.randint(2, 4))
        answer = draw.choice(options)
        category = draw.choice(["logic_reasoning", "coarse_perception", "attribute_reasoning"])
        for turn in range(len(options)):
            turned = options[turn:] + options[:turn]
            rows.append({"index": number + 1_000_000 * turn, "question": f"what is {number}?", "hint": "",
                         "options": turned, "answer": LETTERS[turned.index(answer)],
                         "category": f"{category}_{number % 2}", "l2-category": category})
    draw.shuffle(rows)
    return rows


def mmbench_answers(rows):
    """Good and bad questions: most hits are of whole questions, as with a real model."""
    skill = {}
    answers = {}
    for row in rows:
        able = skill.setdefault(row["index"] % 1_000_000, draw.choice([1, 1, 0.8, 0.3]))
        letter = row["answer"] if draw.random() < able else draw.choice(LETTERS[: len(row["options"])])
        text = row["options"][LETTERS.index(letter)]
        form = draw.choice(["{0}", "{0}.", "({0})", "{0}. {1}", "{1}", "The answer is {0}", "it shows {1}", "{0}"])
        answers[str(row["index"])] = draw.choice(["", "I see.", "A or B"]) if draw.random() < 0.04 else form.format(letter, text)
    return answers


def named_option(answer, options):
    """The letter that stands alone, else the option whose text is in the answer, when there is exactly one."""
    words = "".join(" " if mark in ".()[],:;!*#{}" else mark for mark in answer).split()
    letters = [letter for letter in LETTERS[: len(options)] if letter in words]
    if letters:
        return letters[0] if len(letters) == 1 and words.index(letters[0]) > len(words) - 5 else None
    if len(answer) > 2 * sum(map(len, options)):
        return None
    texts = [letter for letter, option in zip(LETTERS, options) if option.lower() in answer.lower()]
    return texts[0] if len(texts) == 1 else None


def mmbench(rows, answers):
    hit = {row["index"]: Fraction(named_option(answers[str(row["index"])], row["options"]) == row["answer"]) for row in rows}
    first = [row for row in rows if row["index"] < 1_000_000]

    def circular(row):
        return min(value for index, value in hit.items() if index % 1_000_000 == row["index"])

    figures = {"circular": percent(map(circular, first)), "vanilla": percent(hit[row["index"]] for row in first)}
    for category in sorted({row["l2-category"] for row in rows}):
        figures[f"circular/{category}"] = percent(circular(row) for row in first if row["l2-category"] == category)
    return {"rows": percent(hit.values()), "figures": figures}


def table(rows):
    lines = ["index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\tl2-category\timage"]
    for row in rows:
        options = row["options"] + [""] * (4 - len(row["options"]))
        lines.append("\t".join([str(row["index"]), row["question"], row["hint"], *options, row["answer"], row["category"],
                                row["l2-category"], ""]))
    return "\n".join(lines) + "\n"


questions = gqa_questions()
choices = {name: {"valid": draw.sample(WORDS, 5), "plausible": draw.sample(WORDS, 3)} for name in questions}
given = {name: question["answer"] if draw.random() < 0.6 else draw.choice(WORDS) for name, question in questions.items()}
rows = mmbench_rows()
said = mmbench_answers(rows)
result = {
    "gqa": {"questions": questions, "choices": choices, "answers": given, "expected": gqa(questions, choices, given)},
    "mmbench": {"table": table(rows), "answers": said, "expected": mmbench(rows, said)},
}
TARGET.write_text(json.dumps(result, separators=(",", ":")) + "\n")
