"""Golden files for caption measures: what the COCO caption evaluation makes of made-up captions.

Makes in Tests/Fixtures/Tasks/captions/:
  tokens.jsonl   {"text", "tokens"}: the tokens of single captions, punctuation dropped as by the evaluation
  corpus.json    {"references", "candidates", "bleu", "rouge_l", "cider", "cider_plain", "meteor"}: a corpus with its scores;
                 rouge_l, cider and cider_plain are lists, one score an image

Needs Python 3.9 or newer, a Java runtime, and pycocoevalcap 1.2 with numpy. cider_plain is computed here after the equations of
arXiv 1411.5726. Each caption is tokenised before a line `x`, because the official program otherwise lets the next caption decide
about a one-letter word at the end of this one. Command:

  python3 Tools/goldens/captions.py
"""

import json
import math
import os
import random
import subprocess
import tempfile
from collections import Counter

import pycocoevalcap.tokenizer.ptbtokenizer as official
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge

HERE = os.path.dirname(os.path.abspath(__file__))
OUTPUT = os.path.join(HERE, "..", "..", "Tests", "Fixtures", "Tasks", "captions")
JAR = os.path.join(os.path.dirname(official.__file__), official.STANFORD_CORENLP_3_4_1_JAR)

ODD = (
    "it's isn't can't won't y'all o'clock rock'n'roll dogs' 'tis 'twas cannot gonna wanna don`t she’s don’t ’90s '80s 1990s 1980's U.S. U.S.A. "
    "Mr. Mrs. Dr. St. Ave. Inc. Co. Ltd. Jan. Mass. mass. no. No. fig. e.g. i.e. a.m. p.m. vs. etc. Ph.D. A. b. x.y image.jpg a.b.c c++ C# "
    "t-shirt hot-dog state-of-the-art 5-year-old 3-D 1,000 1,000,000 3.5 .5 -5 +1 10:30 10:30pm 12/25/2010 1/2 and/or a/b/c/d ½ ⅔ x² H₂O 50% $5 US$ "
    "£3 €7 ¥9 ¢5 #1 #tag @name a@b.com www.foo.com foo.com/bar http://x.y/z AT&T R&amp;B &quot;hi&quot; &lt; \"quoted\" 'single' “curly” ‘one’ «x» "
    "(a) [b] {c} <b> </b> <3 :) :-( ;D ^_^ -_- ... …. .... -- --- – — - _ * ** \\* / \\ | ~ = ! !! ?! , ; : café naïve 北京 ñandú İzmir 😀 dog😀cat "
    "soft\u00adhyphen no\u00a0break zero\u200bwidth d'Avignon O'Neil l'eau ma'am Hawai'i c'est Cap'n 'em 'til 'cause ol' cont'd. s'mores Yahoo! "
    "555-1234 (555) 555-555-1234 1 10 U.S.-U.K. non-U.S. THE The About"
).split(" ")
PLAIN = (
    "a the man woman dog cat horse child people two three group young old red blue small large riding sitting standing holding "
    "playing eating walking running looking in on at of with near next to street beach table bench field kitchen room bus train "
    "bike surfboard skateboard pizza cake phone laptop umbrella kite ball water grass snow and is are while his her some"
).split()
GAPS = [" "] * 12 + ["  ", ", ", ". ", "-", "", " - ", "/", "'", "\"", "..."]


def odd_text(draw):
    words = [draw.choice(ODD if draw.random() < 0.7 else PLAIN) for _ in range(draw.randint(1, 6))]
    return "".join(word + draw.choice(GAPS) for word in words)


def tokens(texts):
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("".join(text + "\nx\n" for text in texts))
        file.flush()
        command = ["java", "-Dfile.encoding=UTF-8", "-cp", JAR, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
        lines = subprocess.run(command + [file.name], capture_output=True, check=True).stdout.decode("utf-8").split("\n")
    lines = lines[: 2 * len(texts) : 2]
    return [[word for word in line.rstrip().split(" ") if word and word not in official.PUNCTUATIONS] for line in lines]


def caption(draw, seed_words):
    words = [draw.choice(seed_words if draw.random() < 0.7 else PLAIN) for _ in range(draw.randint(5, 13))]
    if draw.random() < 0.2:
        words[draw.randrange(len(words))] = draw.choice(ODD)
    text = " ".join(words)
    return text[0].upper() + text[1:] + draw.choice([".", "", " .", "!"])


def plain_cider(candidates, references):
    def grams(text, n):
        words = text.split()
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    count = len(references)
    scores = [0.0] * count
    for n in range(1, 5):
        frequency = Counter()
        for texts in references:
            frequency.update({gram for text in texts for gram in grams(text, n)})

        def weights(text):
            return {g: c * (math.log(count) - math.log(max(1, frequency[g]))) for g, c in grams(text, n).items()}

        def norm(vector):
            return math.sqrt(sum(value * value for value in vector.values()))

        for index, (text, texts) in enumerate(zip(candidates, references)):
            own = weights(text)
            for other in map(weights, texts):
                both = norm(own) * norm(other)
                if both:
                    product = sum(value * other.get(gram, 0.0) for gram, value in own.items())
                    scores[index] += 10 * product / both / 4 / len(texts)
    return scores


def corpus(draw):
    references, candidates = [], []
    for index in range(150):
        words = draw.sample(PLAIN, 12)
        references.append([caption(draw, words) for _ in range(draw.randint(1, 6))])
        candidates.append(draw.choice(["", "x", "..."]) if index % 40 == 7 else caption(draw, words))
    flat = iter(tokens([text for texts in references for text in texts]))
    truth = {i: [" ".join(next(flat)) for _ in texts] for i, texts in enumerate(references)}
    given = {i: [" ".join(words)] for i, words in enumerate(tokens(candidates))}
    cider, ciders = Cider().compute_score(truth, given)
    return {
        "references": references,
        "candidates": candidates,
        "bleu": Bleu(4).compute_score(truth, given, verbose=0)[0],
        "rouge_l": list(Rouge().compute_score(truth, given)[1]),
        "cider": list(ciders),
        "cider_plain": plain_cider([given[i][0] for i in given], [truth[i] for i in truth]),
        "meteor": Meteor().compute_score(truth, given)[0],
    }


def main():
    os.makedirs(OUTPUT, exist_ok=True)
    draw = random.Random(5)
    texts = ODD + [odd_text(draw) for _ in range(900)]
    with open(os.path.join(OUTPUT, "tokens.jsonl"), "w", encoding="utf-8", newline="\n") as file:
        for text, words in zip(texts, tokens(texts)):
            file.write(json.dumps({"text": text, "tokens": words}, ensure_ascii=False) + "\n")
    with open(os.path.join(OUTPUT, "corpus.json"), "w", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(corpus(random.Random(6)), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
