"""Scores VQA v2 predictions with the algorithm of the official program, for timing beside `vqa score`.

Written from its description (docs/data.md), with the same work for each question: both answers normalised by regular
expressions when the annotators differ, and the mean over the ten leave-one-out subsets by comparing records.

vqa_score.py FOLDER, with annotations.json and predictions.json; a round scores every prediction.
"""

import copy
import json
import re
import sys

from rounds import serve

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


folder = sys.argv[1]
with open(folder + "/annotations.json", encoding="utf-8") as file:
    annotations = {record["question_id"]: record["answers"] for record in json.load(file)["annotations"]}
with open(folder + "/predictions.json", encoding="utf-8") as file:
    answers = {record["question_id"]: record["answer"] for record in json.load(file)}


def mean():
    # Scoring changes the records, as the official program does.
    scores = [accuracy(answers[question], copy.deepcopy(records)) for question, records in annotations.items()]
    return sum(scores) / len(scores)


serve([mean()], mean)
