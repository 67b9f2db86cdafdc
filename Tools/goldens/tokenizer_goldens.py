"""Makes Tests/Fixtures/Tokenizers from the tokenizers package.

tokenizer.json      a small WordPiece tokenizer of our own, with added tokens of every sort
texts.jsonl         texts and pairs with what it makes of them
components.json     one tokenizer a normalizer, pre-tokenizer, post-processor, and what each makes of a few texts; their
                    vocabulary has every character that occurs, alone and as continuation, so that ids show all text
options.json        truncation, padding and decoding
scalars.json        SHA-256 over the pieces of "a<scalar>b" for all Unicode scalars

    python Tools/goldens/tokenizer_goldens.py        (about two minutes; Python 3.11, tokenizers 0.23.3)

(Not named tokenizers.py: Python would import that instead of the package.)
"""

import hashlib
import json
import pathlib
import random

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

OUT = pathlib.Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "Tokenizers"
random.seed(20240607)

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = """what is the colour of shape image in this there a an does not contain present any red green blue
black gray teal brown yellow rectangle circle triangle yes no how many are near cat dog don t it s uber grosse naive
cafe привет мир ежик 你 好 世 界 こんにちは 세 안 مرحبا नमस त สว สด γεια κοσμε 👍 ❤ 1 12 2024 straße i l""".split()
ENDS = "s ing ed er ly un e n t r ap le or ve re m d est 1 2 3 а и й 요 は ς σ".split()
TEXTS = [
    "", " ", "\t\n  ", "What colour is the shape?", "WHAT  COLOUR\tis the\r\nshape ?", "Is there a red rectangle, or not?",
    "Übergrößen naïve café CAFE\u0301 cafe\u0301\u0323", "İstanbul ıIiİ Straße STRASSE ẞ", "Привет, мир! Ёжик й",
    "你好世界。你 好", "こんにちは、世界 カタカナ ｶﾀｶﾅ", "안녕하세요 세계 각힣", "مرحبا بالعالم، كيف؟", "שָׁלוֹם עוֹלָם",
    "नमस्ते दुनिया।", "สวัสดีชาวโลก", "Γειά σου Κόσμε ΣΊΣΥΦΟΣ", "👨‍👩‍👧‍👦 👍🏿 ❤️ 🇫🇷 1️⃣", "ﬁne ½ ① Ⅷ ㎏ ﷺ ｱﾞ",
    "e\u0323\u0301 e\u0301\u0323 \u0301a a\u0302\u0327\u0301", "a\u0000b\u0007c\u200bd\ufeffe\ufffdf\u00adg\ue000h",
    "x" * 100, "x" * 101, "é" * 101, "don't do not it's \" ' \" I'm you've we're isn't", "1,234.56 $5 50% a+b=c ^_^ `x` <y> |",
    "‘quotes’ “double” «guillemets» – — … ‹› · ‰ § ¶ † ‡ • № ™", "a\u00a0b\u2003c\u3000d\u1680e\u2028f\u0085g\u000bh\u001fi",
    "[CLS] what [SEP]", "[MASK][MASK] [mask] [MASK", "is <ent> the<ent> dog <ENT>s", "red  <l>  blue <r>   green<l><r>",
    "Größe größe GRÖSSE", "ΌΔΌΣ όδός", "\u1e9b\u0323 \u212b \u2126 \u0344", "ǅ ǆ ŉ ΐ", "\u0f73\u0f75 \u0f81\u0f71",
    "\U0001d15e\U0001d1bb \u302e\u302f가", "각\u11a8 \u1100\u1161\u11a8 \u1100\u1161", "𝔾𝕠𝕠𝕕 𝟙𝟚 Ａｂｃ １２", "a b  c   d", "'s 's n't .",
]


def random_text():
    letters = "abcdefgiklmnoprstuvwy"
    parts = []
    for _ in range(random.randint(1, 9)):
        kind = random.random()
        if kind < 0.5:
            parts.append(random.choice(WORDS) + random.choice(["", "", *ENDS]))
        elif kind < 0.6:
            parts.append(random.choice(WORDS).upper())
        elif kind < 0.7:
            parts.append(random.choice(SPECIALS + ["<ent>", "<l>", "<r>", "größe"]))
        elif kind < 0.8:
            parts.append("".join(random.choice(letters) for _ in range(random.randint(1, 12))))
        elif kind < 0.9:
            parts.append("".join(random.choice(".,;:!?'\"()-/…“”。،") for _ in range(random.randint(1, 3))))
        else:
            parts.append(chr(random.choice([0xE9, 0x301, 0x323, 0x4E00, 0xAC01, 0x200D, 0x1F600, 0x130, 0x3B1, 0x5D0, 0xA0])))
    return random.choice(["", " ", " ", "  "]).join(parts)


def result(encoding):
    words = [-1 if word is None else word for word in encoding.word_ids]
    return dict(
        ids=encoding.ids, tokens=encoding.tokens, offsets=[x for pair in encoding.offsets for x in pair], words=words,
        types=encoding.type_ids, special=encoding.special_tokens_mask, attention=encoding.attention_mask)


def small_tokenizer():
    letters = sorted({c for text in WORDS + ENDS for c in text} | set("abcdefghijklmnopqrstuvwxyz0123456789"))
    marks = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~…“”。、،؟")
    tokens = SPECIALS + WORDS + letters + ["##" + end for end in ENDS] + ["##" + c for c in letters if c != "x"] + marks
    vocabulary = {}
    for token in tokens:
        vocabulary.setdefault(token, len(vocabulary))
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = template()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(SPECIALS)
    tokenizer.add_tokens([
        AddedToken("<ent>", single_word=True), AddedToken("<l>", lstrip=True, normalized=False),
        AddedToken("<r>", rstrip=True, lstrip=True, normalized=False, special=True), AddedToken("größe"),
    ])
    return tokenizer


def template():
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])


def texts(tokenizer):
    cases = [(text, None) for text in TEXTS] + [(random_text(), None) for _ in range(130)]
    cases += [(random.choice(TEXTS), random_text()) for _ in range(30)]
    lines = []
    for text, pair in cases:
        encoding = tokenizer.encode(text) if pair is None else tokenizer.encode(text, pair)
        decoded = tokenizer.decode(encoding.ids), tokenizer.decode(encoding.ids, skip_special_tokens=False)
        lines.append(dict(text=text, pair=pair, **result(encoding), decoded=decoded[0], decoded_all=decoded[1]))
    return lines


def components():
    n, p = normalizers, pre_tokenizers
    bert = [n.BertNormalizer(clean_text=c, handle_chinese_chars=h, strip_accents=s, lowercase=low)
            for c, h, s, low in [(True, True, None, True), (True, True, None, False), (False, False, True, False),
                                 (True, False, False, True), (False, True, False, False)]]
    chosen = [(x, p.BertPreTokenizer()) for x in bert] + [(x, p.WhitespaceSplit()) for x in [
        n.Lowercase(), n.NFC(), n.NFD(), n.NFKC(), n.NFKD(), n.StripAccents(), n.Sequence([n.NFD(), n.StripAccents()]),
        n.Sequence([n.NFKC(), n.Lowercase()]), n.Sequence([n.NFD(), n.Lowercase(), n.NFC()]), None]]
    chosen += [(x, None) for x in [
        n.Strip(), n.Strip(left=False), n.Strip(right=False), n.Replace(" ", "▁"), n.Replace("o", "öö"), n.Replace("a b", ""),
        n.Prepend("▁"), n.Sequence([n.Strip(), n.Prepend("«»"), n.Replace(" ", "_"), n.NFD()])]]
    chosen += [(None, x) for x in [
        p.Whitespace(), p.WhitespaceSplit(), p.Punctuation(), p.Punctuation("removed"), p.Punctuation("merged_with_previous"),
        p.Punctuation("merged_with_next"), p.Punctuation("contiguous"), p.Digits(), p.Digits(individual_digits=True),
        p.Sequence([p.WhitespaceSplit(), p.Punctuation(), p.Digits(individual_digits=True)])]]
    cases = [text for text in TEXTS if len(text) < 60]
    vocabulary = {"[UNK]": 0}
    for normalizer, _ in chosen:
        for text in cases:
            for c in normalizer.normalize_str(text) if normalizer else text:
                vocabulary.setdefault(c, len(vocabulary))
                vocabulary.setdefault("##" + c, len(vocabulary))
    tests = []
    for normalizer, pre_tokenizer in chosen:
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        if normalizer:
            tokenizer.normalizer = normalizer
        if pre_tokenizer:
            tokenizer.pre_tokenizer = pre_tokenizer
        saved = json.loads(tokenizer.to_str())
        few = random.sample(cases, 12)
        results = [result(tokenizer.encode(text)) for text in few]
        tests.append(dict(
            normalizer=saved["normalizer"], pre_tokenizer=saved["pre_tokenizer"],
            cases=[dict(text=text, ids=r["ids"], offsets=r["offsets"], words=r["words"]) for text, r in zip(few, results)]))
    return dict(vocab=vocabulary, tests=tests)


def options(tokenizer):
    first, second = "what is the colour of the shape ?", "is there a red rectangle or no cat in this image"
    cuts = []
    for strategy in ["longest_first", "only_first", "only_second"]:
        for side in ["right", "left"]:
            for length in [3, 4, 8, 11, 19]:
                for a, b in [(first, second), (second, first), (first, first), (first, None), ("", second)]:
                    tokenizer.enable_truncation(length, strategy=strategy, direction=side)
                    try:
                        ids = (tokenizer.encode(a) if b is None else tokenizer.encode(a, b)).ids
                    except Exception:
                        ids = None
                    cuts.append(dict(strategy=strategy, side=side, length=length, text=a, pair=b, ids=ids))
    tokenizer.no_truncation()
    pads = []
    for side, multiple, length in [("right", None, None), ("left", None, None), ("right", 8, None), ("left", 5, 12)]:
        tokenizer.enable_padding(direction=side, pad_id=0, pad_token="[PAD]", pad_to_multiple_of=multiple, length=length)
        rows = tokenizer.encode_batch([first, "", "cat"])
        pads.append(dict(side=side, multiple=multiple, length=length, texts=[first, "", "cat"], rows=[result(r) for r in rows]))
    tokenizer.no_padding()
    plain = [dict(text=first, pair=p, **result(tokenizer.encode(first, p, add_special_tokens=False))) for p in (None, second)]
    processed = []
    for processor in [
        processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)), None,
        processors.TemplateProcessing(
            single="$A:2 [SEP]:3 $A:1", pair="[SEP]:4 $B:2 [X]:1 $A", special_tokens=[
                ("[SEP]", 3), {"id": "[X]", "ids": [3, 2], "tokens": ["[SEP]", "[CLS]"]}]),
    ]:
        other = Tokenizer.from_str(tokenizer.to_str())
        other.post_processor = processor
        for special in (True, False):
            for pair in (None, second):
                encoding = other.encode(first, pair, add_special_tokens=special)
                processed.append(dict(
                    post_processor=json.loads(other.to_str())["post_processor"], special_tokens=special, text=first,
                    pair=pair, **result(encoding)))
    decode = [[random.randrange(tokenizer.get_vocab_size() + 5) for _ in range(random.randint(1, 12))] for _ in range(60)]
    joined = [dict(ids=ids, text=tokenizer.decode(ids), all=tokenizer.decode(ids, skip_special_tokens=False)) for ids in decode]
    return dict(truncation=cuts, padding=pads, plain=plain, processed=processed, decode=joined)


def scalars():
    n, p = normalizers, pre_tokenizers
    chosen = [
        (n.BertNormalizer(), p.BertPreTokenizer()),
        (n.BertNormalizer(strip_accents=False, lowercase=False), p.BertPreTokenizer()),
        (n.Sequence([n.NFKD(), n.StripAccents(), n.Lowercase()]), p.Whitespace()),
        (n.Sequence([n.NFC(), n.Strip()]), p.Digits()),
        (n.NFKC(), p.WhitespaceSplit()),
    ]
    tests = []
    for normalizer, pre_tokenizer in chosen:
        hashed = hashlib.sha256()
        for c in range(0x110000):
            if not 0xD800 <= c < 0xE000:
                text = normalizer.normalize_str(f"a{chr(c)}b")
                pieces = [piece for piece, _ in pre_tokenizer.pre_tokenize_str(text)]
                hashed.update(("\x01".join(pieces) + "\n").encode())
        tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
        saved = json.loads(tokenizer.to_str())
        tests.append(dict(
            normalizer=saved["normalizer"], pre_tokenizer=saved["pre_tokenizer"], sha256=hashed.hexdigest()))
    return tests


def write(name, value):
    (OUT / name).write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    small = small_tokenizer()
    write("tokenizer.json", json.loads(small.to_str()))
    lines = (json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in texts(small))
    (OUT / "texts.jsonl").write_text("\n".join(lines) + "\n")
    write("components.json", components())
    write("options.json", options(small))
    write("scalars.json", scalars())
