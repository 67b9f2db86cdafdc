"""Scores VQA v2 predictions with the algorithm of the official program, for timing beside `vqa score`.

Written from its description (docs/data.md), with the same work for each question: both answers normalised by regular
expressions when the annotators differ, and the mean over the ten leave-one-out subsets by comparing records.

  python3 Tools/bench/peers/vqa_score.py ANNOTATIONS PREDICTIONS

Prints the overall accuracy, the seconds of loading and those of scoring.
"""

import json
import re
import sys
import time

MARKS = [";", "/", "[", "]", '"', "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<", "@", "`", ",", "?", "!"]
FULL_STOP = re.compile(r"(?!<=\d)(\.)(?!\d)")
GROUPED_DIGITS = re.compile(r"(\d)(,)(\d)")
NUMBERS = dict(zip("zero one two three four five six seven eight nine ten".split(), map(str, range(11))), none="0")
ARTICLES = ["a", "an", "the"]
# The table of contractions is looked up once for each word; its size hardly matters for the time.
CONTRACTIONS = {form.replace("'", ""): form for form in "don't can't isn't it'll they're what's".split()}


def without_punctuation(text):
    result = text
    for mark in MARKS:
        beside_space = mark + " " in text or " " + mark in text
        if beside_space or GROUPED_DIGITS.search(text) is not None:
            result = result.replace(mark, "")
        else:
            result = result.replace(mark, " ")
    return FULL_STOP.sub("", result, re.UNICODE)


def without_articles(text):
    words = [NUMBERS.get(word, word) for word in text.lower().split()]
    words = [word for word in words if word not in ARTICLES]
    return " ".join(CONTRACTIONS.get(word, word) for word in words)


def stripped(text):
    return text.replace("\n", " ").replace("\t", " ").strip()


def accuracy(answer, records):
    answer = stripped(answer)
    for record in records:
        record["answer"] = stripped(record["answer"])
    if len({record["answer"] for record in records}) > 1:
        for record in records:
            record["answer"] = without_articles(without_punctuation(record["answer"]))
        answer = without_articles(without_punctuation(answer))
    shares = []
    for record in records:
        others = [other for other in records if other != record]
        matching = [other for other in others if other["answer"] == answer]
        shares.append(min(1, len(matching) / 3))
    return sum(shares) / len(shares)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    start = time.perf_counter()
    with open(sys.argv[1], encoding="utf-8") as file:
        annotations = {record["question_id"]: record for record in json.load(file)["annotations"]}
    with open(sys.argv[2], encoding="utf-8") as file:
        answers = {record["question_id"]: record["answer"] for record in json.load(file)}
    loaded = time.perf_counter()
    scores = [accuracy(answers[question], record["answers"]) for question, record in annotations.items()]
    overall = round(100 * sum(scores) / len(scores), 2)
    print(f"overall {overall}  load {loaded - start:.2f} s  score {time.perf_counter() - loaded:.2f} s")


if __name__ == "__main__":
    main()
