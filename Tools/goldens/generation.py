"""Makes Tests/Fixtures/Generation: what the reference's `generate` gives for a model that is a table.

Versions: torch 2.13.0, transformers 5.23.0, tokenizers 0.23.3, safetensors 0.8.0 (Tools/requirements-dev.txt).
Command:  python Tools/goldens/generation.py

The "model" looks its logits up: row hash(last three tokens) of a fixed float32 table [rows, vocabulary]. So every
algorithm is compared token for token with no network in between.
"""

import json
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput
from transformers.utils import logging

ROOT = Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "Generation"
ROWS, VOCABULARY = 211, 37
PIECES = ["<pad>", "<s>", "</s>", "<unk>", "a", "b", "c", "d", "e", "f", "st", "op", "s", "t", "o", "p", " ", "\n", "to",
          "pper", "las", "topper", "xstopy", "Q", ":", "é", "ab", "ba", "cd", "dd", "\nQ", ": ", "fee", "ea", "da", "g", "ga"]


def make_table():
    generator = torch.Generator().manual_seed(11)
    table = torch.randn(ROWS, VOCABULARY, generator=generator) * 1.7
    table[:, 0] = -20.0  # padding, so that what follows the end is told apart
    table[:, 2] += 1.0  # an end now and then
    return table


TABLE = make_table()


def table_row(tokens):
    value = 17
    for token in tokens[-3:]:
        value = (value * 31 + token + 1) % ROWS
    return value


class TableConfig(PreTrainedConfig):
    model_type = "table"

    def __init__(self, is_encoder_decoder=False, **kwargs):
        super().__init__(is_encoder_decoder=is_encoder_decoder, **kwargs)
        self.vocab_size = VOCABULARY


class TableModel(PreTrainedModel, GenerationMixin):
    config_class = TableConfig
    main_input_name = "input_ids"

    def __init__(self, config):
        super().__init__(config)
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, input_ids, attention_mask=None, **kwargs):
        rows = [table_row(row) for row in input_ids.tolist()]
        return CausalLMOutput(logits=TABLE[rows][:, None, :])

    def prepare_inputs_for_generation(self, input_ids, inputs_embeds=None, **kwargs):
        return {"input_ids": input_ids}

    def _prepare_cache_for_generation(self, *arguments, **kwargs):
        return False

    def _validate_model_kwargs(self, model_kwargs):
        pass

    def get_encoder(self, *arguments, **kwargs):
        return self


def tokenizer():
    vocabulary = {piece: index for index, piece in enumerate(PIECES)}
    plain = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    plain.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=plain)


# Rows of one batch; the shortest has three tokens, so padding is never looked at.
PROMPTS = [[4, 9, 13, 22], [30, 7, 5], [8, 8, 19, 27, 33, 6], [12, 25, 31, 10]]
SHORT = [[4, 9, 13]]

CASES = [
    # greedy
    ("greedy", PROMPTS, dict(max_new_tokens=12, eos_token_id=2, pad_token_id=0)),
    ("greedy default length", PROMPTS, dict(eos_token_id=2, pad_token_id=0)),
    ("greedy max length", PROMPTS, dict(max_length=11, eos_token_id=2, pad_token_id=0)),
    ("greedy several eos", PROMPTS, dict(max_new_tokens=16, eos_token_id=[2, 9, 14], pad_token_id=0)),
    ("greedy without eos", PROMPTS, dict(max_new_tokens=9)),
    ("greedy min new tokens", PROMPTS, dict(max_new_tokens=18, min_new_tokens=13, eos_token_id=[2, 9], pad_token_id=0)),
    ("greedy min length", PROMPTS, dict(max_new_tokens=18, min_length=16, eos_token_id=[2, 9], pad_token_id=0)),
    ("greedy repetition penalty", PROMPTS, dict(max_new_tokens=25, repetition_penalty=1.5, eos_token_id=2, pad_token_id=0)),
    ("greedy repetition reward", PROMPTS, dict(max_new_tokens=15, repetition_penalty=0.6, eos_token_id=2, pad_token_id=0)),
    ("greedy no repeated 2-grams", SHORT, dict(max_new_tokens=60, no_repeat_ngram_size=2, eos_token_id=36, pad_token_id=0)),
    ("greedy no repeated 1-grams", SHORT, dict(max_new_tokens=20, no_repeat_ngram_size=1, eos_token_id=2, pad_token_id=0)),
    ("greedy no repeated 3-grams", PROMPTS, dict(max_new_tokens=60, no_repeat_ngram_size=3, eos_token_id=36, pad_token_id=0)),
    ("greedy bad words", PROMPTS, dict(max_new_tokens=14, eos_token_id=2, pad_token_id=0,
                                       bad_words_ids=[[2], [15], [9, 4], [33, 6, 21], [28], [7]])),
    ("greedy suppressed", PROMPTS, dict(max_new_tokens=14, eos_token_id=2, pad_token_id=0, suppress_tokens=[2, 15, 8, 33],
                                        begin_suppress_tokens=[20, 5, 16, 24, 29])),
    ("greedy forced end", PROMPTS, dict(max_new_tokens=6, eos_token_id=[2, 9], pad_token_id=0, forced_eos_token_id=9)),
    ("greedy everything", PROMPTS, dict(max_new_tokens=30, min_new_tokens=9, eos_token_id=[2, 35], pad_token_id=0,
                                        repetition_penalty=1.3, no_repeat_ngram_size=2, bad_words_ids=[[11], [3, 3]],
                                        suppress_tokens=[17, 18], begin_suppress_tokens=[21], forced_eos_token_id=35)),
    ("greedy from nothing", [[]], dict(max_new_tokens=10, min_length=1, eos_token_id=2, pad_token_id=0), 7),
    ("greedy from nothing, max length", [[]], dict(max_length=17, min_length=15, eos_token_id=2, pad_token_id=0), 7),
    ("greedy from nothing, penalty", [[], []], dict(max_new_tokens=20, repetition_penalty=1.4, no_repeat_ngram_size=2,
                                                    min_new_tokens=15, eos_token_id=2, pad_token_id=0), 7),
    # beams
    ("beams 3", PROMPTS, dict(max_new_tokens=12, num_beams=3, eos_token_id=2, pad_token_id=0)),
    ("beams 5, all returned", PROMPTS, dict(max_new_tokens=12, num_beams=5, num_return_sequences=5, eos_token_id=2, pad_token_id=0)),
    ("beams first full", PROMPTS, dict(max_new_tokens=20, num_beams=4, num_return_sequences=4, early_stopping=True,
                                       eos_token_id=2, pad_token_id=0)),
    ("beams never early", PROMPTS, dict(max_new_tokens=20, num_beams=4, num_return_sequences=3, early_stopping="never",
                                        eos_token_id=2, pad_token_id=0)),
    ("beams never early, short", PROMPTS, dict(max_new_tokens=20, num_beams=4, num_return_sequences=3, early_stopping="never",
                                               length_penalty=-0.5, eos_token_id=2, pad_token_id=0)),
    ("beams canonical", PROMPTS, dict(max_new_tokens=20, num_beams=4, num_return_sequences=2, early_stopping="never",
                                      length_penalty=0.0, eos_token_id=2, pad_token_id=0)),
    ("beams long", PROMPTS, dict(max_new_tokens=15, num_beams=3, num_return_sequences=3, length_penalty=2.5, eos_token_id=2, pad_token_id=0)),
    ("beams short", PROMPTS, dict(max_new_tokens=15, num_beams=3, num_return_sequences=3, length_penalty=-1.0, eos_token_id=2, pad_token_id=0)),
    ("beams first full, short", PROMPTS, dict(max_new_tokens=15, num_beams=5, num_return_sequences=5, length_penalty=-1.0,
                                              early_stopping=True, eos_token_id=2, pad_token_id=0)),
    ("beams several eos", PROMPTS, dict(max_new_tokens=15, num_beams=4, num_return_sequences=4, eos_token_id=[2, 9, 14], pad_token_id=0)),
    ("beams without eos", PROMPTS, dict(max_new_tokens=8, num_beams=3, num_return_sequences=2)),
    ("beams min new tokens", PROMPTS, dict(max_new_tokens=15, min_new_tokens=6, num_beams=4, num_return_sequences=2,
                                           eos_token_id=[2, 9], pad_token_id=0)),
    ("beams min length", PROMPTS, dict(max_length=20, min_length=11, num_beams=4, num_return_sequences=2, eos_token_id=2, pad_token_id=0)),
    ("beams repetition penalty", PROMPTS, dict(max_new_tokens=15, num_beams=3, num_return_sequences=2, repetition_penalty=1.5,
                                               eos_token_id=2, pad_token_id=0)),
    ("beams no repeated 2-grams", SHORT, dict(max_new_tokens=40, num_beams=3, no_repeat_ngram_size=2, eos_token_id=36,
                                              num_return_sequences=3, pad_token_id=0)),
    ("beams bad words", PROMPTS, dict(max_new_tokens=14, num_beams=3, num_return_sequences=3, eos_token_id=2, pad_token_id=0,
                                      bad_words_ids=[[15], [9, 4], [33, 6, 21], [28], [7]], suppress_tokens=[30])),
    ("beams forced end", PROMPTS, dict(max_new_tokens=7, num_beams=3, num_return_sequences=3, eos_token_id=[2, 9], pad_token_id=0,
                                       forced_eos_token_id=[2, 9])),
    ("beams one token", PROMPTS, dict(max_new_tokens=1, num_beams=4, num_return_sequences=4, eos_token_id=2, pad_token_id=0)),
    ("beams from nothing, short answers", [[], []], dict(max_new_tokens=10, num_beams=5, length_penalty=-1.0, min_length=1,
                                                         eos_token_id=2, pad_token_id=0), 7),
    ("beams from nothing, one token at least", [[], []], dict(max_new_tokens=10, num_beams=5, length_penalty=-1.0, min_new_tokens=1,
                                                              eos_token_id=2, pad_token_id=0), 7),
    ("beams from nothing, max length", [[]], dict(max_length=17, num_beams=5, num_return_sequences=5, length_penalty=-1.0,
                                                  min_length=9, eos_token_id=2, pad_token_id=0), 7),
    ("beams from nothing, penalty", [[]], dict(max_new_tokens=12, num_beams=5, num_return_sequences=5, length_penalty=1.0,
                                               repetition_penalty=1.5, eos_token_id=2, pad_token_id=0), 7),
    # encoder-decoder: the prompt is the decoder's start token
    ("seq2seq greedy", 3, dict(max_new_tokens=12, eos_token_id=2, pad_token_id=0, decoder_start_token_id=0)),
    ("seq2seq forced", 2, dict(max_length=9, eos_token_id=2, pad_token_id=0, decoder_start_token_id=2, forced_bos_token_id=24,
                               forced_eos_token_id=2, begin_suppress_tokens=[8, 21])),
    ("seq2seq penalty", 1, dict(max_new_tokens=25, repetition_penalty=1.6, no_repeat_ngram_size=2, min_length=12,
                                eos_token_id=2, pad_token_id=0, decoder_start_token_id=20)),
    ("seq2seq beams", 2, dict(max_length=14, num_beams=5, num_return_sequences=5, length_penalty=-1.0, min_length=4,
                              eos_token_id=2, pad_token_id=0, decoder_start_token_id=0)),
    ("seq2seq beams forced", 2, dict(max_length=10, num_beams=4, num_return_sequences=4, early_stopping=True, eos_token_id=2,
                                     pad_token_id=0, bos_token_id=5, forced_bos_token_id=24, forced_eos_token_id=2)),
    # stop strings
    ("stop greedy", PROMPTS, dict(max_new_tokens=60, eos_token_id=36, pad_token_id=0, stop_strings=["stop", "ea", "\nQ:"])),
    ("stop one character", PROMPTS, dict(max_new_tokens=40, eos_token_id=36, pad_token_id=0, stop_strings="\n")),
    ("stop in the prompt's end", [[4, 9, 30, 24], [7, 20, 10, 14]], dict(max_new_tokens=40, eos_token_id=36, pad_token_id=0,
                                                                        stop_strings=["\nQ: ", "bee", "top", "oa", "Q:t"])),
    ("stop beams", PROMPTS, dict(max_new_tokens=25, num_beams=3, num_return_sequences=3, eos_token_id=2, pad_token_id=0,
                                 stop_strings=["st", "ab", "da"])),
]


def left_padded(prompts):
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts]).long().reshape(len(prompts), longest)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]).reshape(len(prompts), longest)
    return ids, mask


def unpadded(row):
    while row and row[-1] == 0:
        row = row[:-1]
    return row


def run(name, prompts, options, embedded=0):
    two_parts = isinstance(prompts, int)
    model = TableModel(TableConfig(is_encoder_decoder=two_parts)).eval()
    model.generation_config = GenerationConfig()
    inputs = {}
    if two_parts:
        rows = prompts
        inputs["encoder_outputs"] = BaseModelOutput(last_hidden_state=torch.zeros(rows, 5, 3))
        start = options.get("decoder_start_token_id", options.get("bos_token_id"))
        prompts, width = [[start]] * rows, 1
    elif embedded:
        inputs["inputs_embeds"] = torch.zeros(len(prompts), embedded, 3)
        width = 0
    else:
        inputs["input_ids"], inputs["attention_mask"] = left_padded(prompts)
        width = inputs["input_ids"].shape[1]
    if "stop_strings" in options:
        inputs["tokenizer"] = tokenizer()
    result = model.generate(**inputs, **options, return_dict_in_generate=True, output_scores=True)
    case = {"name": name, "prompts": prompts, "embedded": embedded, "options": options,
            "sequences": [unpadded(row[width:]) for row in result.sequences.tolist()]}
    if options.get("num_beams", 1) > 1:
        # Beam search fills up with the end token when padding is token 0.
        lengths = (result.beam_indices >= 0).sum(1).tolist()
        case["sequences"] = [row[width:width + length] for row, length in zip(result.sequences.tolist(), lengths)]
        case["scores"] = result.sequences_scores.tolist()
    return case


def filters():
    """Scores before and after the reference's processors, in the reference's order."""
    generator = torch.Generator().manual_seed(5)
    sequences = torch.randint(1, VOCABULARY, (4, 9), generator=generator)
    logits = torch.randn(4, VOCABULARY, generator=generator) * 2
    tied = (torch.randn(4, VOCABULARY, generator=generator) * 2).round()
    settings = [
        dict(temperature=0.7), dict(top_k=5), dict(top_k=0, top_p=0.9), dict(top_k=0, top_p=0.35), dict(top_p=0.0),
        dict(top_k=0, min_p=0.08), dict(temperature=0.7, top_k=12, top_p=0.8, min_p=0.03),
        dict(temperature=1.9, top_k=50, top_p=0.95), dict(num_beams=5, temperature=0.7, top_p=0.9),
        dict(num_beams=5, top_k=1, top_p=0.01, min_p=0.9), dict(num_beams=3, top_k=2, top_p=0.05, eos_token_id=[2, 5, 7]),
        dict(repetition_penalty=1.7, no_repeat_ngram_size=1, temperature=0.4, top_k=9),
        dict(repetition_penalty=0.8, min_new_tokens=6, bad_words_ids=[[3], [8, 8]], suppress_tokens=[4, 36], top_p=0.7,
             eos_token_id=[2, 11]),
    ]
    tensors = {"sequences": sequences, "logits": logits, "tied": tied}
    model = TableModel(TableConfig())
    for index, setting in enumerate(settings):
        setting.update(do_sample=True, max_new_tokens=20)
        model.generation_config = GenerationConfig()
        config, _ = model._prepare_generation_config(GenerationConfig(**setting))
        model._prepare_special_tokens(config, True, device="cpu", batch_size=4)
        prompt = 5
        config.max_length = prompt + 20
        if config.min_new_tokens is not None:
            config.min_length = prompt + config.min_new_tokens
        processors = model._get_logits_processor(config, input_ids_seq_length=prompt, encoder_input_ids=sequences, model_kwargs={})
        for name, scores in (("logits", logits), ("tied", tied)):
            scores = scores.log_softmax(-1) if setting.get("num_beams", 1) > 1 else scores
            tensors[f"{index}.{name}"] = processors(sequences, scores.clone()).contiguous()
    return settings, tensors


def main():
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    ROOT.mkdir(parents=True, exist_ok=True)
    cases = [run(*case) for case in CASES]
    settings, tensors = filters()
    save_file({"table": TABLE}, ROOT / "table.safetensors")
    save_file(tensors, ROOT / "filters.safetensors")
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (ROOT / "cases.json").write_text(
        '{"pieces": %s,\n"filters": %s,\n"cases": [\n%s\n]}\n' % (json.dumps(PIECES, ensure_ascii=False), json.dumps(settings), lines))
    for case in cases:
        print(case["name"], case["sequences"], case.get("scores", ""))


if __name__ == "__main__":
    main()
