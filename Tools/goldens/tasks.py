"""Golden files for the Tasks module: what the official VQA evaluation program makes of many answers.

Makes in Tests/Fixtures/Tasks/:
  normaliser.jsonl   {"text", "punctuation", "normalised"}: the two steps of its normaliser
  questions.json, annotations.json, predictions.json, scores.json
                     200 questions with ten answers each in the official formats, and the official scores

Needs Python 3.9 or newer, nothing else, and the file PythonEvaluationTools/vqaEvaluation/vqaEval.py of
github.com/GT-Vision-Lab/VQA at commit a013f00 with
its print statements turned into Python 3. Command:

  python3 -W ignore Tools/goldens/tasks.py PATH/TO/vqaEval.py
"""

import importlib.util
import json
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
OUTPUT = os.path.join(HERE, "..", "..", "Tests", "Fixtures", "Tasks")

WORDS = (
    "a an the The none zero one Two ten eleven yes No dont Dont cant wed've wedve somebody'd somebodyd've yall yall'd've "
    "ow's'at 'ows'at twas its its' let's lets im Im ID'VE maam U.S.A. p.m. 3.5 10. .5 1,000 1,000,000 1, 2 $5.00 7:30 50% "
    "t-shirt black&white café CAFÉ İstanbul straße ٣,٤ ٣.٤ x.٣ 北京 red blue frisbee dog's #1 'quoted' \"said\" a/b 1/2 "
    "(maybe) [x] {y} = + \\ _ snake_case - -- > < @home ` , ? ! ... ; hot-dog"
).split()
SPACES = [" ", " ", " ", " ", "  ", "", "\t", "\n", "\u00a0", "\u3000", "\x1c"]


class Records:
    """Stands in for the official loader: question id -> record."""

    def __init__(self, records):
        self.qa = {record["question_id"]: record for record in records}

    def getQuesIds(self):
        return list(self.qa)


def load(path):
    spec = importlib.util.spec_from_file_location("vqaEval", path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    spec.loader.exec_module(module)
    return module.VQAEval


def random_text(draw):
    return "".join(draw.choice(WORDS) + draw.choice(SPACES) for _ in range(draw.randint(0, 5)))


def write(name, text):
    with open(os.path.join(OUTPUT, name), "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def lines(records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def normaliser(evaluation, draw):
    tool = evaluation(Records([]), Records([]))
    texts = WORDS + [random_text(draw) for _ in range(600)] + ["." * 40 + "x"]
    rows = []
    for text in texts:
        punctuation = tool.processPunctuation(text)
        rows.append(
            {"text": text, "punctuation": punctuation, "normalised": tool.processDigitArticle(punctuation)}
        )
    write("normaliser.jsonl", lines(rows))


def scores(evaluation, draw):
    questions, annotations, predictions = [], [], []
    for index in range(200):
        image, question = index // 3, 1000 * (index // 3) + index % 3
        pool = [random_text(draw) for _ in range(draw.randint(1, 4))]
        answers = [draw.choice(pool) for _ in range(10)]
        if index % 7 == 0:
            answers = [pool[0]] * 10
        questions.append({"question_id": question, "image_id": image, "question": f"what is {index}?"})
        annotations.append(
            {
                "question_id": question,
                "image_id": image,
                "question_type": draw.choice(["what is", "how many", "is the"]),
                "answer_type": draw.choice(["yes/no", "number", "other"]),
                "multiple_choice_answer": max(answers, key=answers.count),
                "answers": [
                    {"answer": text, "answer_id": number + 1}
                    for number, text in enumerate(answers)
                ],
            }
        )
        given = draw.choice(answers) if draw.random() < 0.8 else random_text(draw)
        predictions.append({"question_id": question, "answer": given})
    for name, value in [
        ("questions.json", {"data_subtype": "val2014", "questions": questions}),
        ("annotations.json", {"annotations": annotations}),
        ("predictions.json", predictions),
    ]:
        write(name, json.dumps(value, ensure_ascii=False) + "\n")
    tool = evaluation(Records(annotations), Records(predictions))
    tool.evaluate()
    result = dict(tool.accuracy)
    result["perQuestion"] = [[question, tool.evalQA[question]] for question in tool.evalQA]
    write("scores.json", json.dumps(result, ensure_ascii=False) + "\n")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    evaluation = load(sys.argv[1])
    os.makedirs(OUTPUT, exist_ok=True)
    normaliser(evaluation, random.Random(1))
    scores(evaluation, random.Random(2))


if __name__ == "__main__":
    main()
