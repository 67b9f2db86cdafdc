"""The peer of `vqa-bench tokens`: tokens.py one|batch|load TEXTS.json TOKENIZER.json, with Hugging Face's tokenizers."""

import json
import sys

from tokenizers import Tokenizer

from rounds import serve

mode, texts, path = sys.argv[1:]
texts = json.load(open(texts))


def loaded():
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


tokenizer = loaded()


def round():
    if mode == "load":
        loaded().encode(texts[0])
    elif mode == "batch":
        tokenizer.encode_batch(texts)
    else:
        for text in texts:
            tokenizer.encode(text)


serve([encoding.ids for encoding in tokenizer.encode_batch(texts)], round)
