"""Tokenizers of every published subword layout, trained on a given list of texts.

`build(kind, texts, size, folder)` trains one and returns the reference `Tokenizer`; the layout (normalizer, pre-tokenizer,
decoder, post-processor, added tokens) is that of the published tokenizer.json of the family. The kinds that begin with
`spm-` also write a SentencePiece model, which is read without tokenizer.json. Used by subword_goldens.py.

Python 3.11; tokenizers 0.23.3, sentencepiece 0.2.3, transformers 5.23.0
"""

import json
import pathlib
import unicodedata

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers.convert_slow_tokenizer import generate_merges

QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
KINDS = ["gpt2", "qwen2", "smollm2", "llama3", "gpt4o", "clip", "llama", "llama-first", "mistral", "t5", "deberta",
         "spm-llama", "spm-llama-first", "spm-t5", "spm-deberta"]


def special(text, **options):
    return AddedToken(text, special=True, normalized=False, **options)


def byte_level(texts, size, normalizer, pre_tokenizer, specials, others=(), suffix=None, unknown=None, **model):
    if suffix:
        model.update(end_of_word_suffix=suffix, unk_token=unknown)
    tokenizer = Tokenizer(models.BPE(**model))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=size, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[special(s) for s in specials], **({"end_of_word_suffix": suffix} if suffix else {})))
    tokenizer.add_tokens(list(others))
    return tokenizer


def split(pattern):
    p = pre_tokenizers
    return p.Sequence([p.Split(Regex(pattern), "isolated"), p.ByteLevel(add_prefix_space=False, use_regex=False)])


def sentencepiece_model(texts, size, kind, folder, **options):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / dict(bpe="tokenizer", t5="spiece", deberta="spm")[kind]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_prefix=str(path), vocab_size=size, hard_vocab_limit=False,
        model_type="bpe" if kind == "bpe" else "unigram", minloglevel=2, num_threads=2, **options)
    path.with_suffix(".vocab").unlink()
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(path.with_suffix(".model").read_bytes())
    return proto


def llama_model(texts, size, folder):
    proto = sentencepiece_model(
        texts, size, "bpe", folder, byte_fallback=True, character_coverage=0.98, split_digits=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True)
    vocab = {piece.piece: index for index, piece in enumerate(proto.pieces)}
    return models.BPE(vocab, generate_merges(vocab, None), unk_token="<unk>", fuse_unk=True, byte_fallback=True)


def llama_parts(tokenizer, legacy, prefix="first"):
    if legacy:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=prefix, split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([special(s) for s in ("<unk>", "<s>", "</s>")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s>:0 $A:0", pair="<s>:0 $A:0 <s>:1 $B:1", special_tokens=[("<s>", 1)])
    return tokenizer


def unigram(proto, more=()):
    pieces = [(piece.piece, piece.score) for piece in proto.pieces] + [(text, 0.0) for text in more]
    return models.Unigram(pieces, unk_id=proto.trainer_spec.unk_id, byte_fallback=False)


def replacements(folder, few):
    """The table that T5 and DeBERTa use, which has 240 KB, or a few rules of its kind."""
    if not few:
        return dict(normalization_rule_name="nmt_nfkc")
    rules = {chr(c): unicodedata.normalize("NFKC", chr(c)) for c in [*range(0xA0, 0x180), *range(0x2100, 0x2180), *range(0xFB00, 0xFB07),
                                                                     *range(0xFF01, 0xFFA0), 0x2460, 0x338F, 0x3000, 0x2003]}
    rules |= {"\x07": "", "\u200d": " ", "\ufeff": "", "\n": " ", "\t": " ", "\r": " ", "e\u0301": "é", "가\u0301": "가!", "\u00ad": ""}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "rules.tsv"
    path.write_text("".join(
        " ".join(f"{ord(c):X}" for c in source) + "\t" + " ".join(f"{ord(c):X}" for c in target) + "\n"
        for source, target in sorted(rules.items()) if source != target))
    return dict(normalization_rule_tsv=str(path))


def t5(texts, size, folder, few=False):
    proto = sentencepiece_model(
        texts, size, "t5", folder, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, character_coverage=0.98,
        **replacements(folder, few))
    extra = [f"<extra_id_{i}>" for i in range(99, -1, -1)]
    tokenizer = Tokenizer(unigram(proto, extra))
    tokenizer.normalizer = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme="always")])
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    tokenizer.add_special_tokens([special(s) for s in ["<pad>", "</s>", "<unk>", *extra]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def deberta(texts, size, folder, few=False):
    proto = sentencepiece_model(
        texts, size, "deberta", folder, pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]",
        eos_piece="[SEP]", unk_piece="[UNK]", character_coverage=0.98, **replacements(folder, few))
    tokenizer = Tokenizer(unigram(proto))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Strip(), normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap),
        normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace("▁", prepend_scheme="always")])
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    tokenizer.add_special_tokens([special(s) for s in ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return tokenizer


def build(kind, texts, size, folder, few=False):
    """The tokenizer of a kind; writes its file or folder below `folder`. `few` keeps tables of replacements small."""
    folder = pathlib.Path(folder)
    p, end = pre_tokenizers, "<|endoftext|>"
    ends = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    where = folder / kind
    if kind == "gpt2":
        tokenizer = byte_level(texts, size, None, p.ByteLevel(add_prefix_space=False), [end])
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    elif kind == "qwen2":
        tokenizer = byte_level(texts, size, normalizers.NFC(), split(QWEN2), ends, [AddedToken("<tool>", normalized=False)])
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    elif kind == "smollm2":
        tokenizer = byte_level(
            texts, size, None, p.Sequence([p.Digits(individual_digits=True), p.ByteLevel(add_prefix_space=False)]), ends)
    elif kind in ("llama3", "gpt4o"):
        tokenizer = byte_level(
            texts, size, None, split(LLAMA3 if kind == "llama3" else GPT4O), ["<|begin_of_text|>", "<|eot_id|>"],
            ignore_merges=True)
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing(
                single="<|begin_of_text|>:0 $A:0", pair="<|begin_of_text|>:0 $A:0 <|begin_of_text|>:1 $B:1",
                special_tokens=[("<|begin_of_text|>", 0)])])
    elif kind == "clip":
        tokenizer = byte_level(
            texts, size, normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]),
            p.Sequence([p.Split(Regex(CLIP), "removed", invert=True), p.ByteLevel(add_prefix_space=False)]),
            ["<|startoftext|>", end], suffix="</w>", unknown=end)
        tokenizer.post_processor = processors.RobertaProcessing((end, 1), ("<|startoftext|>", 0), False, False)
    elif kind in ("llama", "mistral", "llama-first", "spm-llama", "spm-llama-first"):
        legacy = kind in ("llama", "mistral", "spm-llama")
        tokenizer = llama_parts(Tokenizer(llama_model(texts, size, where)), legacy)
        if kind == "mistral":
            tokenizer.add_tokens([AddedToken("<image>", lstrip=True, rstrip=True), AddedToken("word", single_word=True)])
        if kind == "spm-llama-first":
            (where / "tokenizer_config.json").write_text(json.dumps(dict(legacy=False, add_bos_token=True)))
    elif kind in ("t5", "spm-t5"):
        tokenizer = t5(texts, size, where, few and kind != "t5")
    else:
        tokenizer = deberta(texts, size, where, few)
        if kind == "spm-deberta":
            (where / "tokenizer_config.json").write_text(json.dumps(dict(mask_token="[MASK]")))
    for path in where.glob("*.tsv"):
        path.unlink()
    if not kind.startswith("spm-"):
        where.mkdir(parents=True, exist_ok=True)
        for path in where.glob("*.model"):
            path.unlink()
        (where / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")))
    return tokenizer
