"""Made-up tokenizers of the published sizes and forms, for write.py."""

import itertools
import json
import string

LLAMA_PIECES = 32000
WORDPIECES = 30522


def special(id, text):
    return dict(id=id, content=text, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)


def pieces():
    """(piece, its two halves or None), most useful first: characters, then every string of two, three … of the alphabet."""
    alphabet = ["▁"] + sorted(set(string.printable[:95]) - {" "})
    for character in alphabet:
        yield character, None
    grown = ["▁" + letter for letter in string.ascii_letters] + [
        a + b for a, b in itertools.product(string.ascii_lowercase, repeat=2)]
    for piece in grown:
        yield piece, (piece[:-1], piece[-1])
    while True:
        longer = []
        for start, letter in itertools.product(grown, string.ascii_lowercase):
            yield start + letter, (start, letter)
            longer.append(start + letter)
        grown = longer


def write_llama(folder, added=(), beginning="<s>"):
    """A BPE with bytes to fall back on, as LLaMA's tokenizer.json: 32,000 pieces and the family's own tokens."""
    vocabulary = {text: id for id, text in enumerate(["<unk>", "<s>", "</s>"])}
    vocabulary |= {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    merges = []
    for piece, halves in pieces():
        if len(vocabulary) == LLAMA_PIECES:
            break
        vocabulary[piece] = len(vocabulary)
        if halves:
            merges.append(list(halves))
    tokens = [special(id, text) for id, text in enumerate(["<unk>", "<s>", "</s>"])]
    tokens += [special(LLAMA_PIECES + i, text) for i, text in enumerate(added)]
    first = dict(SpecialToken=dict(id=beginning, type_id=0))
    model = dict(
        version="1.0", truncation=None, padding=None, added_tokens=tokens,
        normalizer=dict(
            type="Sequence", normalizers=[
                dict(type="Prepend", prepend="▁"), dict(type="Replace", pattern=dict(String=" "), content="▁")]),
        pre_tokenizer=None,
        post_processor=dict(
            type="TemplateProcessing", single=[first, dict(Sequence=dict(id="A", type_id=0))],
            pair=[first, dict(Sequence=dict(id="A", type_id=0)), first, dict(Sequence=dict(id="B", type_id=1))],
            special_tokens={beginning: dict(id=beginning, ids=[vocabulary[beginning]], tokens=[beginning])}),
        decoder=dict(
            type="Sequence", decoders=[
                dict(type="Replace", pattern=dict(String="▁"), content=" "), dict(type="ByteFallback"),
                dict(type="Fuse"), dict(type="Strip", content=" ", start=1, stop=0)]),
        model=dict(
            type="BPE", dropout=None, unk_token="<unk>", continuing_subword_prefix=None, end_of_word_suffix=None,
            fuse_unk=True, byte_fallback=True, ignore_merges=False, vocab=vocabulary, merges=merges))
    (folder / "tokenizer.json").write_text(json.dumps(model, ensure_ascii=False))
    settings = dict(
        tokenizer_class="LlamaTokenizer", bos_token=beginning, eos_token="</s>", unk_token="<unk>",
        add_bos_token=True, add_eos_token=False)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def write_wordpiece(folder):
    """A WordPiece of 30,522 pieces and [DEC], as the Q-Former's: characters, pairs of letters, and unused ones."""
    known = ["[PAD]"] + [f"[unused{i}]" for i in range(99)] + ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = string.ascii_lowercase + string.digits
    known += sorted(set(string.printable[:95]) - set(string.ascii_uppercase) - {" "})
    known += [f"##{letter}" for letter in letters]
    words = itertools.chain(*(map("".join, itertools.product(string.ascii_lowercase, repeat=n)) for n in (2, 3, 4)))
    known += itertools.islice(words, WORDPIECES - len(known))
    vocabulary = {text: id for id, text in enumerate(known)}
    around = {text: dict(id=text, ids=[vocabulary[text]], tokens=[text]) for text in ["[CLS]", "[SEP]"]}

    def token(text, type_id):
        return dict(SpecialToken=dict(id=text, type_id=type_id))

    first = [token("[CLS]", 0), dict(Sequence=dict(id="A", type_id=0)), token("[SEP]", 0)]
    model = dict(
        version="1.0", truncation=None, padding=None,
        added_tokens=[special(vocabulary[text], text) for text in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]]
        + [special(WORDPIECES, "[DEC]")],
        normalizer=dict(
            type="BertNormalizer", clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True),
        pre_tokenizer=dict(type="BertPreTokenizer"),
        post_processor=dict(
            type="TemplateProcessing", single=first,
            pair=first + [dict(Sequence=dict(id="B", type_id=1)), token("[SEP]", 1)], special_tokens=around),
        decoder=dict(type="WordPiece", prefix="##", cleanup=True),
        model=dict(
            type="WordPiece", unk_token="[UNK]", continuing_subword_prefix="##", max_input_chars_per_word=100,
            vocab=vocabulary))
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(model, ensure_ascii=False))
    settings = dict(tokenizer_class="BertTokenizer", do_lower_case=True, bos_token="[DEC]")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
