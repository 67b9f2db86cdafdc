"""The peer of `vqa-bench captions`: captions.py CORPUS.json, with pycocoevalcap.

The corpus is {"references": [[text, …], …], "candidates": [text, …]} of texts that are tokens already, joined by spaces. Outputs are
BLEU-1 to BLEU-4, ROUGE-L and CIDEr; a round computes all of them.
"""

import json
import sys

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from rounds import serve

corpus = json.load(open(sys.argv[1]))
truth = dict(enumerate(corpus["references"]))
given = {index: [text] for index, text in enumerate(corpus["candidates"])}


def measures():
    bleu = Bleu(4).compute_score(truth, given, verbose=0)[0]
    return [*bleu, float(Rouge().compute_score(truth, given)[0]), float(Cider().compute_score(truth, given)[0])]


serve(measures(), measures)
