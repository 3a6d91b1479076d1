"""Makes tests/data/tokenizer: a small tokenizer of Qwen2's kind, some texts, and their tokens.

usage: python tokenizer.py            (pip install tokenizers transformers)

The merges are learned from the texts themselves. vocab.json, merges.txt and tokenizer_config.json
are what Qwen2 publishes beside its tokenizer.json; the ids are those of transformers' class.
"""
import json
import pathlib

from tokenizers import Tokenizer, models, pre_tokenizers, normalizers, trainers, Regex
from transformers import Qwen2Tokenizer

TEXTS = [
    "ied 4 ½ months", "Führer", "", " ", "  ", "   ", "\t", "\n", "\n\n", "\n\n\n", "\t\n",
    "Hello world", " Hello world", "Hello World", " Hello World!", "Hello, world!",
    "this is a small tokenizer, and these are its words", "w048 7tuijk dsdfhu",
    "нещо на Български", "កាន់តែពិសេសអាចខលចេញ", "🚀 (normal) 😶‍🌫️ (multiple emojis concatenated)",
    "Hello", " Hello", "  Hello", "   Hello", "    Hello", "    Hello\n    Hello", " (", "\n =",
    "' era", "Hello, y'all! How are you 😁 ?我想在apple工作1314151天～", "!!!!!!", "3", "33", "333",
    "3333", "33333333", "1,234.56 × 10⁻³", "Cửa Việt", " discards", "don't we'll I'M IT'S",
    "if (a && b) {\n\treturn x[0] += 1; /* done */\n}\n", "e\u0301 becomes \u00e9 (NFC)",
    "日本語のテキスト、少し。", "العربية والأرقام ١٢٣", "한국어 \u1112\u1161\u11ab",
    "ZWJ \u200d NBSP \u00a0 BOM \ufeff end", "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u00df\u1e9e",
    "trailing spaces   \n\n  and\r\nlines\r",
]
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SEPARATOR = "\n__next__\n"


def main():
    out = pathlib.Path(__file__).with_name("tokenizer")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = trainers.BpeTrainer(vocab_size=480, special_tokens=[], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    runs = ["a" * 8, " " * 16] * 40
    tokenizer.train_from_iterator(TEXTS * 4 + runs, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    out.mkdir(exist_ok=True)
    vocab = json.dumps(model["vocab"], ensure_ascii=False, separators=(",\n", ":"))
    (out / "vocab.json").write_text(vocab + "\n")
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (out / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (out / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": False, "errors": "replace",
         "model_max_length": 32768, "clean_up_tokenization_spaces": False,
         "split_special_tokens": False, "unk_token": None, "bos_token": None,
         "added_tokens_decoder": {str(len(model["vocab"])): {
             "content": "<|endoftext|>", "lstrip": False, "normalized": False, "rstrip": False,
             "single_word": False, "special": True}},
         "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}, indent=1) + "\n")
    real = Qwen2Tokenizer.from_pretrained(str(out))
    ids = [real.encode(text, add_special_tokens=False) for text in TEXTS]
    for text, each in zip(TEXTS, ids):
        back = real.decode(each, clean_up_tokenization_spaces=False)
        if back != text:
            print("NFC changes", repr(text), "to", repr(back))
    (out / "texts.txt").write_bytes(SEPARATOR.join(TEXTS).encode())
    (out / "ids.txt").write_text("".join(" ".join(map(str, each)) + "\n" for each in ids))
    for c, n in (("a", 8), (" ", 16)):
        print(repr(c * n * 4), real.encode(c * n * 4, add_special_tokens=False))
    print(len(TEXTS), "texts,", sum(map(len, ids)), "tokens,", len(model["vocab"]), "in vocab")


main()
