"""Golden file for the measures of short answers and the paired comparison.

Makes Tests/Fixtures/Tasks/short_answers.json:
  evalai     {"text", "normalised"}: EvalAI's answer processor on texts of all sorts
  scores     {"answers", "answer", "textvqa", "older"}: TextVQA's accuracy and the older VQA accuracy of ten answers
  unanswerable  {"said", "truth", "f1", "average_precision"}: as VizWiz's program computes them
  mcnemar    {"first", "second", "exact", "chi_square", "statistic"}: statsmodels

Needs Python 3.11 and the packages of Tools/requirements-dev.txt: scikit-learn, statsmodels; and, unpacked without their
dependencies (pip download --no-deps lmms-eval==0.7.3 salesforce-lavis==1.0.2), the files
lmms_eval/tasks/_task_utils/vqa_eval_metric.py and lavis/common/vqa_tools/vqa_eval.py. Command:

  python3 -W ignore Tools/goldens/short_answers.py PATH/TO/vqa_eval_metric.py PATH/TO/vqa_eval.py
"""

import contextlib
import importlib.util
import io
import json
import os
import random
import sys

from sklearn.metrics import average_precision_score, f1_score
from statsmodels.stats.contingency_tables import mcnemar

from tasks import OUTPUT, WORDS, Records, random_text


def load(path, name):
    spec = importlib.util.spec_from_file_location("golden_" + name.lower(), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def textvqa(process, answers, answer):
    """The mean over the annotators of min(1, matches among the others / 3), as MMF's evaluator has it."""
    references = list(enumerate(process(text) for text in answers))
    answer = process(answer)
    shares = []
    for reference in references:
        others = [other for other in references if other != reference]
        shares.append(min(1, sum(text == answer for _, text in others) / 3))
    return sum(shares) / len(shares)


def older(evaluation, answers, answer):
    record = {
        "question_id": 1,
        "question_type": "what",
        "answer_type": "other",
        "answers": [{"answer": text, "answer_id": number} for number, text in enumerate(answers)],
    }
    tool = evaluation(Records([record]), Records([{"question_id": 1, "answer": answer}]), n=6)
    with contextlib.redirect_stdout(io.StringIO()):
        tool.evaluate()
    return tool.accuracy["overall"] / 100


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    process = load(sys.argv[1], "EvalAIAnswerProcessor")()
    evaluation = load(sys.argv[2], "VQAEval")
    draw = random.Random(5)
    extra = ["a man's hat", "'s", "it''s", "x,'s,", "What? 1,,000", "3. 5", "twenty-one", " , ", "A\tb\n"]
    texts = WORDS + extra + [random_text(draw) for _ in range(400)]
    scores = []
    for _ in range(150):
        pool = [random_text(draw) for _ in range(draw.randint(1, 4))]
        answers = [draw.choice(pool) for _ in range(10)]
        answer = draw.choice(answers + [process(answers[0])] * 5)
        scores.append(
            {
                "answers": answers,
                "answer": answer,
                "textvqa": textvqa(process, answers, answer),
                "older": older(evaluation, answers, answer),
            }
        )
    unanswerable = []
    for size in (4, 9, 30, 101):
        truth = [draw.randint(0, 1) for _ in range(size - 1)] + [1]
        said = [draw.randint(0, 1) for _ in range(size)]
        unanswerable.append(
            {
                "said": said,
                "truth": truth,
                "f1": 100 * f1_score(truth, said),
                "average_precision": 100 * average_precision_score(truth, said),
            }
        )
    tests = []
    for first, second in [(0, 0), (0, 1), (3, 9), (12, 12), (9, 15), (10, 15), (20, 31), (100, 160), (1000, 1003)]:
        table = [[7, first], [second, 5]]
        exact, approximate = mcnemar(table, exact=True), mcnemar(table, exact=False, correction=True)
        has = first + second > 0
        tests.append(
            {
                "first": first,
                "second": second,
                "exact": float(exact.pvalue),
                "chi_square": float(approximate.pvalue) if has else None,
                "statistic": float(approximate.statistic) if has else None,
            }
        )
    golden = {
        "evalai": [{"text": text, "normalised": process(text)} for text in texts],
        "scores": scores,
        "unanswerable": unanswerable,
        "mcnemar": tests,
    }
    with open(os.path.join(OUTPUT, "short_answers.json"), "w", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(golden, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
