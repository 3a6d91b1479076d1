"""Makes figures.txt: mean NLLs that transformers computes in f32.

usage: nll.py      in an environment with transformers, torch and safetensors, such as the one of
                  tests/interop/run.sh

A line is the name of a model, tokens of a window, number of windows, mean NLL of their tokens but
each window's first. The models are those of ../logits, on their own token sequences, and
examples/tiny-qwen3 on text.txt, which holds the beginnings of texts that are in the public domain.
../evaluate_nll.c compares.
"""

import json
import pathlib
import sys
import tempfile

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).parent
LOGITS = HERE.parent / "logits"
TINY = HERE.parents[2] / "examples" / "tiny-qwen3"
sys.path.append(str(LOGITS))
sys.dont_write_bytecode = True
from make import weights  # noqa: E402


def mean_nll(path, ids, length):
    """A line's figures. Windows do not overlap; a last one that is not whole does not count."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    n = len(ids) // length
    windows = torch.tensor(ids[: n * length]).reshape(n, length)
    with torch.no_grad():
        logits = model(windows).logits[:, :-1].double()
    found = torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
    return f"{length} {n} {found.item():.6f}"


def of_golden(file):
    golden = json.loads(file.read_text())
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch)
        (path / "config.json").write_text(json.dumps(golden["config"]))
        made = {key: weights(key, *law).bfloat16() for key, *law in golden["tensors"]}
        save_file(made, path / "model.safetensors", metadata={"format": "pt"})
        return mean_nll(path, sum(golden["tokens"], []), 48)


def main():
    text = (HERE / "text.txt").read_text()
    ids = Tokenizer.from_file(str(TINY / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    lines = [f"# transformers {transformers.__version__}, torch {torch.__version__}, f32"]
    lines.append(f"tiny-qwen3 {mean_nll(TINY, ids, 512)}")
    lines += [f"{file.name} {of_golden(file)}" for file in sorted(LOGITS.glob("*.json"))]
    (HERE / "figures.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
