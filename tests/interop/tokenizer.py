"""Id by id: what Hugging Face `tokenizers` makes of a megabyte of text of every kind.

The tokenizers: Qwen2.5's and the reference models' where RAM_SHARED is there, and small ones that
the library itself trains here, one for each way in which published files differ.
"""

import copy
import json
import pathlib
import random
import subprocess
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers import models as tokenizer_models
from tokenizers import processors, trainers

import common
from common import SHARED, attempt, check, fresh

SIZE = 1 << 20

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)
DEEPSEEK = [
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]



def new_marks():
    """Combining marks that the library's normaliser, of Unicode 10, does not put into order."""
    nfc = normalizers.NFC().normalize_str
    marks = [chr(c) for c in range(0x300, 0x20000) if unicodedata.combining(chr(c))]
    pairs = [(m, f"q{m}\u0334", f"q\u0345{m}") for m in marks]
    return {m for m, *texts in pairs for t in texts if nfc(t) != unicodedata.normalize("NFC", t)}


NEW_MARKS = new_marks()

# ---- texts ------------------------------------------------------------------------------------

SCRIPTS = [
    (0x41, 0x7A), (0xC0, 0x17F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x5F4), (0x600, 0x6FF),
    (0x900, 0x97F), (0x980, 0x9FF), (0xB80, 0xBFF), (0xE00, 0xE5B), (0x1100, 0x11FF),
    (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2100, 0x214F), (0x2460, 0x24FF), (0x3041, 0x30FF),
    (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAD9), (0xFF00, 0xFFEF), (0x10330, 0x1034A),
    (0x1D400, 0x1D7FF), (0x20000, 0x2A6DF), (0x2F800, 0x2FA1D),
]  # fmt: skip
SPACES = " \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u180e\u2003\u2009\u200b\u2028\u2029\u202f\u3000\ufeff"
MARKS = "\u0300\u0301\u0308\u0316\u0323\u0327\u0345\u05b0\u064b\u093c\u0bbe\u1161\u11a8\u3099\u20dd"
EMOJI = "😀👍🏽👩\u200d👩\u200d👧🇩🇪❤️1️⃣🏴\U000e0067\U000e007f"
WORDS = (
    "it's IT'S don’t we'LL they've i'm 'ſ 'Re x'd ''s the of quick brown naïve Straße ﬁre "
    "fooBar snake_case kebab-case a1b22c333d4444 3.14159 1,000,000 ½ ² Ⅷ ٣٤٥ __init__ => != ... "
    "----- (abc) [x] {y} #tag @user https://example.org/a?b=c&d=%20 C:\\dir\\file \\n \"q\" 'q'"
).split()
CODE = 'for (int i = 0; i < n; i++) {\n\t\tx[i] += "s";\r\n    }\n\n\n  # end\n'


def mixed(seed, size, specials=(), known=None):
    """Valid text of every kind; the same for the same arguments. known: a Unicode database whose
    code points alone occur, for comparisons between programs of different Unicode versions."""
    rng = random.Random(seed)
    parts, total = [], 0

    def code_point():
        while True:
            c = chr(rng.randrange(0x110000))
            surrogate = 0xD800 <= ord(c) < 0xE000
            if not surrogate and not (known and known.category(c) == "Cn"):
                return c

    def of_script():
        low, high = rng.choice(SCRIPTS)
        return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 12)))

    makers = [
        lambda: rng.choice(WORDS) + " ",
        lambda: " ".join(rng.choice(WORDS) for _ in range(8)),
        of_script,
        lambda: " " + of_script() + rng.choice("，。!?;: "),
        lambda: "".join(rng.choice(SPACES) for _ in range(rng.randint(1, 6))),
        lambda: " " * rng.randint(1, 20) + rng.choice(["", "\n", "x", "\t\n "]),
        lambda: rng.choice("aeou\u0391か한ㄱ") + "".join(rng.choices(MARKS, k=rng.randint(1, 5))),
        lambda: "".join(rng.choice(EMOJI) for _ in range(rng.randint(1, 6))),
        lambda: CODE[rng.randrange(len(CODE)) :],
        lambda: str(rng.randrange(10 ** rng.randint(1, 15))),
        lambda: "".join(code_point() for _ in range(rng.randint(1, 4))),
        lambda: chr(rng.randrange(0x80)) * rng.randint(1, 4),
        lambda: unicodedata.normalize("NFD", of_script()),
    ]
    if specials:
        makers.append(lambda: rng.choice(specials))
        makers.append(lambda: " " * rng.randint(0, 2) + rng.choice(specials) + rng.choice(" x\n"))
    while total < size:
        part = rng.choice(makers)()
        if known:
            part = "".join(c for c in part if known.category(c) != "Cn")
        part = "".join(c for c in part if c not in NEW_MARKS)
        parts.append(part)
        total += len(part.encode())
    return "".join(parts)


def broken(seed, size):
    """Bytes that are mostly not UTF-8: cut sequences, overlong forms, surrogates, noise."""
    rng = random.Random(seed)
    bad = [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0\x80",
           b"\xf4\x90\x80\x80", b"\xf5\x80", b"\xff", b"\x80", b"\xf0\x8f\xbf\xbf"]  # fmt: skip
    out = bytearray()
    while len(out) < size:
        kind = rng.randrange(4)
        if kind == 0:
            out += rng.choice(bad)
        elif kind == 1:
            out += rng.randbytes(rng.randint(1, 8))
        else:
            out += mixed(rng.random(), 20).encode()
    return bytes(out)


# ---- comparing --------------------------------------------------------------------------------


def ours(directory, data, *options):
    path = common.WORK / "tokenizer-text"
    path.write_bytes(data)
    return [int(i) for i in common.ram("tokenize", directory, path, *options).split()]


def decoded(directory, ids):
    path = common.WORK / "tokenizer-ids"
    path.write_text(" ".join(map(str, ids)))
    command = [common.RAM, "tokenize", str(directory), str(path), "--decode"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def first_difference(text, theirs, mine):
    for i, (a, b) in enumerate(zip(theirs.ids, mine)):
        if a != b:
            at = theirs.offsets[i][0]
            return f"id {i}: {b} for {a}, near {text[max(at - 20, 0) : at + 20]!r}"
    return f"{len(mine)} ids for {len(theirs.ids)}"


def compare(label, spec, data, special=False):
    """spec: what tokenizer.json says. data: bytes."""
    directory = fresh("tokenizer-model")
    directory.mkdir(parents=True)
    (directory / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    text = data.decode("utf-8", errors="replace")
    theirs = Tokenizer.from_str(json.dumps(spec)).encode(text, add_special_tokens=special)
    mine = ours(directory, data, *(["--special"] if special else []))
    same = check(
        f"tokenizer {label}, {len(data)} bytes, {len(mine)} ids",
        mine == theirs.ids,
        mine != theirs.ids and first_difference(text, theirs, mine),
    )
    return directory if same else None


def compare_all(label, spec, specials=(), known=unicodedata):
    """known: as in mixed(); None: all code points."""
    data = mixed(label, SIZE, specials, known).encode()
    directory = compare(f"{label} mixed", spec, data)
    compare(f"{label} broken", spec, broken(label, SIZE // 8) if not known else b"\xff a")
    if directory:
        ids = ours(directory, data[: SIZE // 4])
        theirs = Tokenizer.from_str(json.dumps(spec)).decode(ids, skip_special_tokens=False)
        mine = decoded(directory, ids).decode("utf-8", errors="replace")
        check(f"tokenizer {label} decodes", mine == theirs, f"{len(mine)} for {len(theirs)}")
    for text in ["", " ", "\n", "a", "'", "é", " \u0301"]:
        theirs = Tokenizer.from_str(json.dumps(spec)).encode(text, add_special_tokens=False)
        if directory and ours(directory, text.encode()) != theirs.ids:
            check(f"tokenizer {label} of {text!r}", False, "differs")


# ---- tokenizers -------------------------------------------------------------------------------


def trained(pre_tokenizer, normalizer=None, **model):
    """A small byte-level BPE of the library's own making, as a dictionary."""
    tokenizer = Tokenizer(tokenizer_models.BPE(**model))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|begin|>", "<|end|>"],
        show_progress=False,
    )
    corpus = mixed("corpus", 1 << 17, known=unicodedata).splitlines(keepends=True)
    tokenizer.train_from_iterator(corpus, trainer)
    return json.loads(tokenizer.to_str())


def pattern(regex, behavior="isolated", invert=False):
    """Split by one pattern or several, then bytes."""
    splits = regex if isinstance(regex, list) else [regex]
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r), behavior, invert) for r in splits]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


def with_added(spec, *tokens):
    """Added tokens with flags, through the library so that it gives the ids."""
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.add_tokens(list(tokens))
    return json.loads(tokenizer.to_str())


def old_merges(spec):
    spec = copy.deepcopy(spec)
    spec["model"]["merges"] = [" ".join(pair) for pair in spec["model"]["merges"]]
    return spec


def published():
    data = SHARED / "tokenizers"
    if not data.is_dir():
        data = SHARED / "data" / "tokenizers"
    if not (data / "qwen2.5_vocab.json").exists():
        print("SKIP tokenizer: no Qwen2.5 vocabulary in", data)
        return
    config = common.read_json(data / "qwen2.5_tokenizer_config.json")
    merges = (data / "qwen2.5_merges.txt").read_text(encoding="utf-8").split("\n")
    spec = {
        "version": "1.0",
        "added_tokens": [
            {"id": int(i), **token} for i, token in config["added_tokens_decoder"].items()
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": json.loads(pattern(QWEN2).__getstate__()),
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False,
                    "use_regex": False},
        "model": {
            "type": "BPE",
            "vocab": common.read_json(data / "qwen2.5_vocab.json"),
            "merges": [m.split(" ") for m in merges if m and not m.startswith("#version")],
        },
    }  # fmt: skip
    specials = [token["content"] for token in spec["added_tokens"]]
    compare_all("Qwen2.5", spec, specials, known=None)
    compare("Qwen2.5 merges as strings", old_merges(spec), mixed("old", 1 << 16).encode())
    files = fresh("tokenizer-files")
    files.mkdir(parents=True)
    for name in ["vocab.json", "merges.txt", "tokenizer_config.json"]:
        (files / name).write_bytes((data / f"qwen2.5_{name}").read_bytes())
    text = mixed("files", 1 << 18, specials)
    theirs = Tokenizer.from_str(json.dumps(spec)).encode(text).ids
    check("tokenizer Qwen2.5 from vocab.json and merges.txt", ours(files, text.encode()) == theirs)
    for model in sorted((SHARED / "models").glob("*/tokenizer.json")):
        spec = common.read_json(model)
        compare_all(model.parent.name, spec, ["<|endoftext|>", "<|im_end|>"], known=None)


def styles():
    """The patterns that are spelled out in C: every code point, assigned or not."""
    llama = trained(pattern(LLAMA3))
    llama["post_processor"] = json.loads(
        processors.TemplateProcessing(
            single="<|begin|> $A <|end|>", special_tokens=[("<|begin|>", 0), ("<|end|>", 1)]
        ).__getstate__()
    )
    compare_all("Llama-3", llama, ["<|begin|>"], known=None)
    compare("Llama-3 with special tokens", llama, mixed("bos", 1 << 12).encode(), special=True)
    for ignore in [False, True]:
        spec = trained(pattern(LLAMA3), ignore_merges=ignore)
        # Tokens that no merge leads to: only a word that is looked up whole becomes one.
        for word in ["Ġquick", "naÃ¯ve", "Straße", "123", "Ġfoo"]:
            spec["model"]["vocab"].setdefault(word, len(spec["model"]["vocab"]))
        compare_all(f"GLM ignore_merges {ignore}", old_merges(spec), known=None)
    for prefix in [False, True]:
        bytes_alone = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=True)
        compare_all(f"GPT-2 prefix {prefix}", trained(bytes_alone), known=None)


def patterns():
    """Everything that goes through PCRE2."""
    compare_all("o200k", trained(pattern(O200K)))
    compare_all("cl100k", trained(pattern(CL100K)))
    compare_all("DeepSeek", trained(pattern(DEEPSEEK), normalizers.Sequence([])))
    starcoder = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    compare_all("StarCoder", trained(starcoder))
    falcon = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Punctuation("contiguous"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    # The library's own punctuation is that of Unicode 8.
    compare_all("Falcon", trained(falcon), known=unicodedata.ucd_3_2_0)
    for regex in [r"\s+", r"(?=\p{Lu})|\b", r"^\s*|\w+$", r"[^\S\n]+|\W", r"(?i)s+|\p{Han}"]:
        compare_all(f"pattern {regex}", trained(pattern(regex), normalizers.NFC()))
    for behavior in ["isolated", "removed", "contiguous", "merged_with_previous",
                     "merged_with_next"]:  # fmt: skip
        for invert in [False, True]:
            compare_all(
                f"{behavior} invert {invert}", trained(pattern(r"[\s\p{N}]", behavior, invert))
            )
    literal = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(" ", "merged_with_next"),
            pre_tokenizers.Split("...", "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    compare_all("literal patterns", trained(literal))


def added():
    """Added tokens: every flag, inside one another, composed and decomposed, in the vocabulary."""
    contents = ["<x>", "<x>y", "foo", "  ", "e\u0301", "É", "\n\n", "the", "<|im|>", "한", " sp"]
    for normalizer in [None, normalizers.NFC()]:
        for flags in range(16):
            names = ["normalized", "lstrip", "rstrip", "single_word"]
            chosen = {name: bool(flags >> i & 1) for i, name in enumerate(names)}
            spec = with_added(
                trained(pattern(LLAMA3), normalizer),
                *(AddedToken(c, special=i % 2 == 0, **chosen) for i, c in enumerate(contents)),
            )
            label = ", ".join(n for n in names if chosen[n]) or "no flags"
            specials = contents + [unicodedata.normalize("NFD", c) for c in contents]
            data = mixed(label, 1 << 16, specials, known=unicodedata).encode()
            compare(f"added tokens, {label}, {'NFC' if normalizer else 'raw'}", spec, data)
    spec = trained(pattern(LLAMA3))
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    spec["added_tokens"] = [
        {"id": i, "content": c, **flags} for i, c in [(9000, "<a>"), (1500, "<b>"), (1501, "the")]
    ]
    compare("added tokens with other ids than the file says", spec, b"a<a>b<b>the c<a>")


def lacking():
    """Bytes that are not in the vocabulary: left out, or the unknown token, one or one each."""
    base = trained(pattern(LLAMA3))
    vocab = base["model"]["vocab"]
    gone = [t for t in vocab if set(t) & set("zqÐÃ")]
    base["model"]["merges"] = [m for m in base["model"]["merges"] if not set("zqÐÃ") & set("".join(m))]
    for i, token in enumerate(gone):
        vocab[f"gone-{i}"] = vocab.pop(token)
    data = (mixed("lacking", 1 << 16) + " zzq zaz пять").encode()
    for unk in [None, "<|end|>"]:
        for fuse in [False, True]:
            spec = copy.deepcopy(base)
            spec["model"].update(unk_token=unk, fuse_unk=fuse)
            compare(f"missing bytes, unk {unk}, fuse {fuse}", spec, data)


def refused():
    """What we cannot do we say, naming file and field."""
    base = trained(pattern(LLAMA3))
    cases = [
        ("model.type", {"model": {"type": "Unigram", "vocab": []}}),
        ("model.type", {"model": {"type": "WordPiece", "vocab": {}}}),
        ("byte_fallback", {"model": {**base["model"], "byte_fallback": True}}),
        ("pre_tokenizer.type", {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁"}}),
        ("normalizer.type", {"normalizer": {"type": "NFKC"}}),
        ("dropout", {"model": {**base["model"], "dropout": 0.1}}),
        ("pre_tokenizer", {"pre_tokenizer": None}),
    ]
    for field, change in cases:
        directory = fresh("tokenizer-model")
        directory.mkdir(parents=True)
        (directory / "tokenizer.json").write_text(json.dumps({**base, **change}))
        run = subprocess.run(
            [common.RAM, "tokenize", str(directory), "/dev/null"], capture_output=True, text=True
        )
        named = field in run.stderr and "tokenizer.json" in run.stderr
        check(f"tokenizer refuses {change}"[:70], run.returncode == 3 and named, run.stderr)


def run():
    pathlib.Path(common.WORK).mkdir(parents=True, exist_ok=True)
    for group in [published, styles, patterns, added, lacking, refused]:
        attempt(f"tokenizer {group.__name__}", group)
