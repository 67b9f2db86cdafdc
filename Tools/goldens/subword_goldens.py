"""Makes Tests/Fixtures/Tokenizers/subwords from the tokenizers and sentencepiece packages.

KIND/…          a small tokenizer of each published layout (see subword_kinds.py): tokenizer.json, or a SentencePiece
                model with its tokenizer_config.json
cases.json      by kind: texts and pairs with ids, tokens, offsets, words, decoded text; ids at random, decoded
patterns.json   regular expressions, texts, and the pieces into which they split them

    python Tools/goldens/subword_goldens.py        (about a minute; Python 3.11, requirements-dev.txt)
"""

import json
import pathlib
import random

from tokenizers import Regex, pre_tokenizers

import subword_kinds as kinds

OUT = pathlib.Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "Tokenizers" / "subwords"
random.seed(20240611)

WORDS = """what is the colour of shape image in this there a an does not contain present any red green blue black gray
teal brown yellow rectangle circle triangle yes no how many are near cat dog don't it's I'll we've you're he'd I'm USER
ASSISTANT Question Short answer options naïve café Größe straße привет мир ёжик как дела 你好 世界 图像 什么 こんにちは 世界
カタカナ 안녕하세요 세계 مرحبا بالعالم नमस्ते दुनिया สวัสดี γεια κόσμε שלום 2024 12 7 3.14 :) -> == != 👍 ❤️ word""".split()
LETTERS = sorted({c for word in WORDS for c in word})
SPECIALS = ["</s>", "<s>", "<unk>", "<|endoftext|>", "<|im_start|>", "[SEP]", "[MASK]", "<extra_id_0>", "<image>", "<tool>",
            "<|eot_id|>", "<0x0A>", "<|begin_of_text|>", "<pad>"]
ODD = ["\u200d", "\ufeff", "\u0301", "e\u0301", "\u0323\u0301", "ﬁ", "½", "Ⅷ", "ｶﾞ", "\u00a0", "\u3000", "\u2003", "\u2028", "\x00", "\x07",
       "\x1c", "\u0085", "\ufffd", "👨‍👩‍👧‍👦", "🇫🇷", "1️⃣", "\U000e0041", "ſ", "K", "İ", "ǅ", "\u0e33", "각", "\u1100\u1161", "क्ष", "Å", "Å",
       "①", "㎏", "ﷺ", "\r\n", "\n\n", "\t", "\r", "▁", "Ġ", "\u00ad", "\u0600a", "Ａ\u0301", "９", "٣", "²", "𝔾", "\U0010ffff"]


def text():
    parts = []
    for _ in range(random.randint(1, 9)):
        kind = random.random()
        word = random.choice(WORDS)
        if kind < 0.45:
            parts.append(word)
        elif kind < 0.55:
            parts.append(word.upper() if random.random() < 0.5 else word.capitalize())
        elif kind < 0.63:
            parts.append("".join(random.choice(LETTERS) for _ in range(random.randint(1, 8))))
        elif kind < 0.7:
            parts.append("".join(random.choice("0123456789.,") for _ in range(random.randint(1, 7))))
        elif kind < 0.8:
            parts.append("".join(random.choice(".,;:!?'\"()-/…“”。、{}[]<>|&*\\") for _ in range(random.randint(1, 4))))
        elif kind < 0.86:
            parts.append(random.choice(SPECIALS))
        elif kind < 0.95:
            parts.append(random.choice(ODD))
        else:
            parts.append(" " * random.randint(1, 5))
    return random.choice(["", " ", " ", " ", "  ", "\n"]).join(parts)


def result(encoding):
    words = [-1 if word is None else word for word in encoding.word_ids]
    return dict(
        ids=encoding.ids, tokens=encoding.tokens, offsets=[x for pair in encoding.offsets for x in pair], words=words,
        types=encoding.type_ids, special=encoding.special_tokens_mask)


def cases(tokenizer):
    fixed = ["", " ", "  ", "\n", "a", " a", "What colour is the shape?", "</s>USER: a</s> USER: b", "x" * 60, "don't DON'T 'ſ",
             "\U0001f468\u200d\U0001f469", "e\u0301" * 3, "  two  spaces  ", "12345 67 8", "\u0301", "Question: what?\nShort answer:"]
    rows = []
    for index in range(60):
        first = fixed[index] if index < len(fixed) else text()
        second = text() if index % 12 == 11 else None
        encoding = tokenizer.encode(first) if second is None else tokenizer.encode(first, second)
        rows.append(dict(
            text=first, pair=second, **result(encoding), decoded=tokenizer.decode(encoding.ids),
            decoded_all=tokenizer.decode(encoding.ids, skip_special_tokens=False)))
    size = tokenizer.get_vocab_size()
    decode = [[random.randrange(size + 3) for _ in range(random.randint(1, 10))] for _ in range(25)]
    return dict(rows=rows, decode=[
        dict(ids=ids, text=tokenizer.decode(ids), all=tokenizer.decode(ids, skip_special_tokens=False)) for ids in decode])


def patterns():
    chosen = [kinds.QWEN2, kinds.LLAMA3, kinds.GPT4O, kinds.CLIP, r"\s+", r" {2,}", r"a*?b|a", r"a+?", r"[a-cx-z]+|\d{2,3}",
              r"(?:ab|a)(?:c|bcd)?", r"\w+|[^\w\s]+", r"[^\S\r\n]+", r"\p{Lu}\p{Ll}*", r"\P{L}+", r"a(?=b)|b", r"(?i:k+|e)|x",
              r"[\]\-a]+", r"\u0041|\x{1F44D}", r"\S(?!\S)", r"(a|b(c|d)*)+e"]
    made = []
    for pattern in chosen:
        for behavior, invert in [("isolated", False), ("removed", True), ("merged_with_previous", False)]:
            splitter = pre_tokenizers.Split(Regex(pattern), behavior, invert=invert)
            texts = ["aab abcd abbcde bcdcde aB Ab K\u212a ke 12 1234 x-y]", "  a   b \n\n c\r\n", *(text() for _ in range(5))]
            made.append(dict(
                pattern=pattern, behavior=behavior, invert=invert,
                cases=[dict(text=t, pieces=[piece for piece, _ in splitter.pre_tokenize_str(t)]) for t in texts]))
    return made


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    training = [text() for _ in range(1500)]
    training = [line.replace("\x00", "") for line in training]
    made = {}
    for kind in kinds.KINDS:
        tokenizer = kinds.build(kind, training, 700, OUT, few=True)
        made[kind] = cases(tokenizer)
    for name, value in [("cases", made), ("patterns", patterns())]:
        (OUT / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
