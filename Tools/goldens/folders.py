"""Golden model folders: tiny random models of every family as complete Hugging Face folders (weights, configurations, tokenizer,
processor, template), with what the reference's processors, forward pass and `generate` make of prompts and images.

Reference: transformers 5.23.0, torch 2.13.0, tokenizers 0.23.3, pillow 13; eager attention, float32.
Run from the root: python Tools/goldens/folders.py [FOLDER [NAME…]]
Without arguments it writes the few small ones of Tests/Fixtures/Folders; with a folder, all (or the named ones) into it.

FOLDER/NAME/…           the model
FOLDER/NAME/expected    cases.json: prompts, images, options, ids, texts; tensors.safetensors: case number, dot, name
FOLDER/images           the pictures that the cases name
"""

import json
import shutil
import sys
from pathlib import Path

import numpy
import torch
from joined import scaled
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertTokenizer, CLIPVisionConfig, GenerationConfig, Idefics2Config, Idefics2ForConditionalGeneration, Idefics2Processor,
    IdeficsConfig, IdeficsForVisionText2Text, IdeficsProcessor, InstructBlipConfig, InstructBlipForConditionalGeneration,
    InstructBlipProcessor, LlamaConfig, LlamaForCausalLM, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor,
    MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, T5Config,
    T5ForConditionalGeneration,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil
from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil

FIXTURES = Path(__file__).parents[2] / "Tests" / "Fixtures"
SUBWORDS = FIXTURES / "Tokenizers" / "subwords"
COMMITTED = ["qwen2", "t5", "llava"]
SMALL = len(sys.argv) <= 1  # for the repository: half-precision weights, the last row of logits
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
PARTS = (
    "{% for m in messages %}{{ m['role'].upper() }}: {% for c in m['content'] %}{% if c['type'] == 'image' %}<image>\n"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %} {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}")
IDEFICS2_CHAT = (
    "{% for m in messages %}{{ m['role'].capitalize() }}:{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>"
    "{% else %} {{ c['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}")
WORDS = "what colour is the shape"


def text_shape(vocabulary, **more):
    return dict(
        vocab_size=vocabulary, hidden_size=12 if SMALL else 30, intermediate_size=47, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, head_dim=10, max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0) | more


# Tokenizers

def fast(tokenizer, **special):
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special)


def llama_tokenizer(kind="llama", added=(), **more):
    tokenizer = Tokenizer.from_file(str(SUBWORDS / kind / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in added])
    return fast(tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>", **more)


def t5_tokenizer():
    from sentencepiece import sentencepiece_model_pb2
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString((SUBWORDS / "spm-t5" / "spiece.model").read_bytes())
    extra = [f"<extra_id_{i}>" for i in range(9, -1, -1)]
    pieces = [(p.piece, p.score) for p in proto.pieces] + [(t, 0.0) for t in extra]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme="always")])
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ["<pad>", "</s>", "<unk>", *extra]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return fast(tokenizer, eos_token="</s>", unk_token="<unk>", pad_token="<pad>")


def qformer_tokenizer(folder):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *WORDS.split(), "?", "how", "many", "##s", "circle", "a"]
    return BertTokenizer(vocab={w: i for i, w in enumerate(words)})


# Pictures: smooth, so that JPEG decoders agree, and of several sizes and aspects.

def pictures(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, width, height) in enumerate([("wide.png", 61, 33), ("tall.jpg", 29, 52), ("small.png", 17, 19)]):
        y, x = numpy.mgrid[0:height, 0:width]
        waves = [128 + 100 * numpy.sin(x / (5 + c) + number) * numpy.cos(y / (7 - c) + c) for c in range(3)]
        Image.fromarray(numpy.stack(waves, -1).astype(numpy.uint8)).save(folder / name, quality=92)


def opened(folder, names):
    return [Image.open(folder / "images" / n).convert("RGB") for n in names]


# Cases

GREEDY = dict(num_beams=1)
BEAMS = dict(num_beams=3, length_penalty=0.7)


def run(folder, name, model, prepare, prompts, decode, chat=None):
    """Forward, greedy and beams for each (prompt, images); `chat` gives the prompt of a turn with images."""
    model.set_attn_implementation("eager")
    jobs = [(p, i, False) for p, i in prompts]
    if chat:
        jobs += [("what colour is the shape?", i, True) for i in [[], ["wide.png"]] if chat("x", i) is not None]
    cases, tensors = [], {}
    for number, (prompt, images, is_chat) in enumerate(jobs):
        text = chat(prompt, images) if is_chat else prompt
        inputs = prepare(text, opened(folder, images), is_chat)
        case = dict(prompt=prompt, images=images, chat=is_chat, ids=inputs["input_ids"][0].tolist())
        forward = dict(inputs)
        is_t5 = "t5" in name
        if is_t5:
            forward["decoder_input_ids"] = torch.tensor([[0, 5, 6, 9]])
            case["decoder_ids"] = [0, 5, 6, 9]
        with torch.no_grad():
            spliced = forward.pop("shown_ids", None)
            out = model(**forward, use_cache=False)
        if spliced is not None:
            case["ids"] = spliced[0].tolist()
        case["tensors"] = {"logits": out.logits[0]}
        if "pixel_values" in inputs and images:
            case["tensors"]["pixel_values"] = inputs["pixel_values"]
        if is_t5 and "instruct" not in name:
            case["tensors"]["encoder_hidden"] = out.encoder_last_hidden_state[0]
        if "instruct" in name:
            count = model.config.num_query_tokens
            case["tensors"]["qformer"] = out.qformer_outputs.last_hidden_state[0, :count]
            if is_t5:
                case["tensors"]["encoder_hidden"] = out.language_model_outputs.encoder_last_hidden_state[0]
        if SMALL:
            case["tensors"] = {"logits": out.logits[0, -1:]}
        for key, value in case.pop("tensors").items():
            tensors[f"{number}.{key}"] = value.detach().clone().float().contiguous()
        case["outputs"] = []
        given = {k: v for k, v in inputs.items() if k != "shown_ids"}
        for options in (GREEDY, BEAMS):
            with torch.no_grad():
                ids = model.generate(**given, max_new_tokens=9, do_sample=False, **options)[0].tolist()
            if is_t5:
                ids = ids[1:]
            elif ids[:len(case["ids"])] == inputs["input_ids"][0].tolist():
                ids = ids[len(case["ids"]):]
            case["outputs"].append(dict(options=options, ids=ids, text=decode(ids)))
        cases.append(case)
    target = folder / name / "expected"
    target.mkdir(parents=True, exist_ok=True)
    (target / "cases.json").write_text(json.dumps(cases, ensure_ascii=False) + "\n")
    save_file(tensors, target / "tensors.safetensors")


def ends(model, **ids):
    if SMALL:
        for parameter in model.parameters():
            parameter.data.copy_(parameter.data.half().float())
    model.generation_config = GenerationConfig(**ids)
    return model


def decoder(folder, name, kind, make_config, make_model, template=None):
    path = folder / name
    if kind == "qwen2":
        tokenizer = fast(Tokenizer.from_file(str(SUBWORDS / "qwen2" / "tokenizer.json")), eos_token="<|im_end|>",
                         pad_token="<|endoftext|>")
        special = dict(bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    else:
        tokenizer = llama_tokenizer(kind)
        special = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    tokenizer.chat_template = template
    model = scaled(make_model(make_config(**text_shape(len(tokenizer) + 3, **special))))
    if model.config.tie_word_embeddings:
        model.model.embed_tokens.weight.data *= 0.15
    ends(model, **special)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    chat = None
    if template:
        chat = lambda words, images: None if images else tokenizer.apply_chat_template(
            [dict(role="user", content=words)], tokenize=False, add_generation_prompt=True)
    run(folder, name, model,
        lambda text, images, is_chat: tokenizer(text, return_tensors="pt", return_token_type_ids=False),
        [("What colour is the shape?", []), ("  two  spaces\n and <s> 你好 👍</s> x", []), ("a", [])],
        lambda ids: tokenizer.decode(ids, skip_special_tokens=True), chat)


def t5(folder, name, **options):
    tokenizer = t5_tokenizer()
    size = dict(
        vocab_size=len(tokenizer) + 5, d_model=12 if SMALL else 30, d_kv=7, d_ff=47, num_layers=3 - SMALL,
        num_decoder_layers=2 - SMALL, num_heads=4, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)
    model = scaled(T5ForConditionalGeneration(T5Config(**size, **options)))
    ends(model, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)
    model.save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / name)
    run(folder, name, model, lambda text, images, is_chat: tokenizer(text, return_tensors="pt", return_token_type_ids=False),
        [("What colour is the shape?", []), ("question: how many? context: <extra_id_0> 你好", [])],
        lambda ids: tokenizer.decode(ids, skip_special_tokens=True))


def clip_vision():
    return CLIPVisionConfig(
        hidden_size=24, intermediate_size=37, num_hidden_layers=3, num_attention_heads=4, image_size=28, patch_size=7,
        projection_dim=11)


def clip_images(**more):
    return CLIPImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, do_convert_rgb=True, **more)


PROMPTS = [
    ("What colour is the shape?", []),
    ("USER: <image>\nWhat colour is the shape? ASSISTANT:", ["wide.png"]),
    ("<image><image> and <image>which is red?", ["tall.jpg", "wide.png", "small.png"]),
]


def chat_of(processor):
    return lambda words, images: processor.apply_chat_template(
        [dict(role="user", content=[dict(type="image")] * len(images) + [dict(type="text", text=words)])],
        tokenize=False, add_generation_prompt=True)


def llava(folder, name):
    tokenizer = llama_tokenizer(added=["<image>", "<pad>"])
    processor = LlavaProcessor(
        image_processor=clip_images(), tokenizer=tokenizer, patch_size=7, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=PARTS)
    model = scaled(LlavaForConditionalGeneration(LlavaConfig(
        vision_config=clip_vision(), text_config=LlamaConfig(**text_shape(len(tokenizer) + 2), tie_word_embeddings=SMALL),
        tie_word_embeddings=SMALL, image_token_index=tokenizer.convert_tokens_to_ids("<image>"), image_seq_length=16)))
    if SMALL:
        model.model.language_model.embed_tokens.weight.data *= 0.3
    ends(model, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    model.save_pretrained(folder / name)
    processor.save_pretrained(folder / name)
    run(folder, name, model, lambda text, images, is_chat: processor(text=text, images=images or None, return_tensors="pt"),
        PROMPTS, lambda ids: tokenizer.decode(ids, skip_special_tokens=True), chat_of(processor))


def llava_own(folder, name):
    """LLaVA's own layout. The reference gets the same weights, and the ids as LLaVA's code joins them."""
    tokenizer = llama_tokenizer()
    vision = clip_vision()
    vision.vision_feature_layer = -2
    # Its own loader takes the tower's shape from the named model; here that is a folder beside the weights.
    config = LlavaConfig(
        vision_config=vision, text_config=LlamaConfig(**text_shape(len(tokenizer) + 2)),
        image_token_index=len(tokenizer) + 1, image_seq_length=16)
    model = scaled(LlavaForConditionalGeneration(config))
    ends(model, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    names = {
        "model.language_model.": "model.", "model.multi_modal_projector.linear_1": "model.mm_projector.0",
        "model.multi_modal_projector.linear_2": "model.mm_projector.2",
        "model.vision_tower.": "model.vision_tower.vision_tower.vision_model."}
    weights = {}
    for key, value in model.state_dict().items():
        for old, new in names.items():
            if key.startswith(old):
                rest = key[len(old):]
                key = new + (rest.removeprefix("vision_model.") if "tower" in new else rest)
                break
        weights[key] = value.clone().contiguous()
    tower = path / "tower"
    tower.mkdir(exist_ok=True)
    prefix = "model.vision_tower.vision_tower."
    save_file({k[len(prefix):]: v for k, v in weights.items() if k.startswith(prefix)}, tower / "model.safetensors")
    (tower / "config.json").write_text(json.dumps(vision.to_dict() | dict(model_type="clip_vision_model"), indent=1))
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    own = config.text_config.to_dict() | dict(
        model_type="llava_llama", architectures=["LlavaLlamaForCausalLM"], mm_vision_tower="tower",
        mm_hidden_size=24, mm_projector_type="mlp2x_gelu", mm_vision_select_layer=-2, mm_vision_select_feature="patch",
        image_aspect_ratio="pad", use_mm_proj=True, mm_use_im_start_end=False, mm_use_im_patch_token=False)
    (path / "config.json").write_text(json.dumps(own, indent=1))
    (path / "generation_config.json").write_text(json.dumps(dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)))
    tokenizer.save_pretrained(path)
    images = clip_images()

    def prepare(text, pictures, is_chat):
        ids, shown = [], []
        for index, piece in enumerate(text.split("<image>")):
            part = tokenizer(piece).input_ids
            if index:
                part = part[1:]
                ids += [config.image_token_index] * 16
                shown += [-200] * 16
            ids += part
            shown += part
        inputs = dict(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                      shown_ids=torch.tensor([shown]))
        squares = []
        for picture in pictures:
            side = max(picture.size)
            square = Image.new("RGB", (side, side), tuple(int(x * 255) for x in images.image_mean))
            square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
            squares.append(square)
        if squares:
            inputs["pixel_values"] = images(squares, return_tensors="pt")["pixel_values"]
        return inputs

    run(folder, name, model, prepare, PROMPTS, lambda ids: tokenizer.decode(ids, skip_special_tokens=True))


def instructblip(folder, name):
    is_t5 = "t5" in name
    tokenizer = t5_tokenizer() if is_t5 else llama_tokenizer()
    questions = qformer_tokenizer(folder / name)
    processor = InstructBlipProcessor(
        BlipImageProcessorPil(size={"height": 28, "width": 28}), tokenizer, questions, num_query_tokens=5)
    if is_t5:
        language = T5Config(
            vocab_size=len(tokenizer) + 5, d_model=30, d_kv=7, d_ff=47, num_layers=2, num_heads=4,
            feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0, pad_token_id=0,
            eos_token_id=1)
        special = dict(decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)
    else:
        language = LlamaConfig(**text_shape(len(tokenizer) + 2))
        special = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    model = scaled(InstructBlipForConditionalGeneration(InstructBlipConfig(
        vision_config=dict(
            hidden_size=24, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=7),
        qformer_config=dict(
            vocab_size=61, hidden_size=36, num_hidden_layers=2, num_attention_heads=3, intermediate_size=41,
            encoder_hidden_size=24, cross_attention_frequency=2, max_position_embeddings=40),
        text_config=language.to_dict(), num_query_tokens=5,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"))))
    ends(model, **special)
    model.save_pretrained(folder / name)
    processor.save_pretrained(folder / name)
    run(folder, name, model, lambda text, images, is_chat: processor(text=text, images=images, return_tensors="pt"),
        [("what colour is the shape?", ["wide.png"]), ("how many circles?", ["tall.jpg"])],
        lambda ids: tokenizer.decode(ids, skip_special_tokens=True))


def split_prompt(text, images):
    """Idefics' processor takes texts and images in turn."""
    parts, images = [], iter(images)
    for index, piece in enumerate(text.split("<image>")):
        if index:
            parts.append(next(images))
        if piece:
            parts.append(piece)
    return [parts]


def idefics(folder, name):
    tokenizer = llama_tokenizer(added=["<fake_token_around_image>", "<image>"])
    base = len(tokenizer) - 2
    processor = IdeficsProcessor(IdeficsImageProcessorPil(image_size=28), tokenizer, image_size=28)
    model = scaled(IdeficsForVisionText2Text(IdeficsConfig(
        vocab_size=base, additional_vocab_size=2, hidden_size=36, intermediate_size=47, num_hidden_layers=4,
        num_attention_heads=6, cross_layer_interval=2, qk_layer_norms=True, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        max_position_embeddings=512,
        vision_config=dict(
            embed_dim=24, image_size=28, patch_size=7, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37),
        use_resampler=True,
        perceiver_config=dict(use_resampler=True, resampler_n_latents=5, resampler_depth=2, resampler_n_heads=3,
                              resampler_head_dim=7, qk_layer_norms_perceiver=True))))
    ends(model, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    model.save_pretrained(folder / name)
    processor.save_pretrained(folder / name)
    run(folder, name, model,
        lambda text, images, is_chat: processor(text=split_prompt(text, images), return_tensors="pt"),
        PROMPTS + [("User: <image> is it red?</s> x <image> Assistant:", ["small.png", "tall.jpg"]), ("  spaces  around ", [])],
        lambda ids: tokenizer.decode(ids, skip_special_tokens=True))


def idefics2(folder, name, splits):
    tokenizer = llama_tokenizer(added=["<fake_token_around_image>", "<image>", "<end_of_utterance>"])
    processor = Idefics2Processor(
        Idefics2ImageProcessorPil(size={"shortest_edge": 21, "longest_edge": 56}, do_image_splitting=splits), tokenizer,
        image_seq_len=5, chat_template=IDEFICS2_CHAT)
    model = scaled(Idefics2ForConditionalGeneration(Idefics2Config(
        vision_config=dict(
            hidden_size=24, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, image_size=70, patch_size=7),
        perceiver_config=dict(
            resampler_n_latents=5, resampler_depth=2, resampler_n_heads=4, resampler_head_dim=7, num_key_value_heads=2,
            hidden_size=30),
        text_config=MistralConfig(**text_shape(len(tokenizer) + 2), sliding_window=None).to_dict(),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"))))
    ends(model, bos_token_id=1, eos_token_id=[2, tokenizer.convert_tokens_to_ids("<end_of_utterance>")], pad_token_id=0)
    model.save_pretrained(folder / name)
    processor.save_pretrained(folder / name)
    run(folder, name, model, lambda text, images, is_chat: processor(
            text=text, images=images or None, return_tensors="pt"),
        PROMPTS, lambda ids: tokenizer.decode(ids, skip_special_tokens=True), chat_of(processor))


def compact(path):
    """JSON without spaces, weights in half precision, which they fit exactly."""
    for file in ["tokenizer.json", "tokenizer_config.json", "config.json", "processor_config.json"]:
        if (path / file).exists():
            text = json.dumps(json.loads((path / file).read_text()), ensure_ascii=False, separators=(",", ":"))
            (path / file).write_text(text + "\n")
    weights = load_file(path / "model.safetensors")
    save_file({k: v.half() for k, v in weights.items()}, path / "model.safetensors", metadata={"format": "pt"})


JOBS = {
    "llama": lambda f, n: decoder(f, n, "llama", LlamaConfig, LlamaForCausalLM),
    "mistral": lambda f, n: decoder(f, n, "mistral", MistralConfig, MistralForCausalLM),
    "qwen2": lambda f, n: decoder(f, n, "qwen2", lambda **k: Qwen2Config(**k, tie_word_embeddings=True), Qwen2ForCausalLM, CHATML),
    "t5": lambda f, n: t5(f, n),
    "t5-gated": lambda f, n: t5(f, n, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "llava": llava,
    "llava-own": llava_own,
    "instructblip": instructblip,
    "instructblip-t5": instructblip,
    "idefics": idefics,
    "idefics2": lambda f, n: idefics2(f, n, False),
    "idefics2-split": lambda f, n: idefics2(f, n, True),
}

if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES / "Folders"
    chosen = sys.argv[2:] or (list(JOBS) if len(sys.argv) > 1 else COMMITTED)
    pictures(target / "images")
    for name in chosen:
        shutil.rmtree(target / name, ignore_errors=True)
        JOBS[name](target, name)
        if SMALL:
            compact(target / name)
    print(f"wrote {sum(p.stat().st_size for p in target.rglob('*') if p.is_file())} bytes")
