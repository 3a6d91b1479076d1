"""ARC-Challenge and HellaSwag against the real lm-evaluation-harness, task by task.

Needs pip install lm_eval==0.4.11 datasets accelerate. What is used of it:
its own arc_challenge.yaml and hellaswag.yaml, process_docs included, as ConfigurableTasks whose
data set is a local JSON-lines file instead of the hub's; its sampler, its prompts, its HFLM in
float32, its metrics: simple_evaluate() from end to end. Compared: the prompt's digest, every
log-likelihood, every is_greedy, the choice made, accuracies and their standard errors.

The data are those of ../shared/data in the data sets' own fields. HellaSwag is there as llama.cpp's
text, which does not tell where ctx_b begins: the last sentence is taken for it. That is another
data set than the published one, but the same one for both programs; rows of our own with odd
characters stand before it.
"""

import bz2
import json
import pathlib

import common
from common import SHARED, attempt, check

MODEL = SHARED / "models" / "tiny-qwen3"
DOCUMENTS = 50
POOL = 200  # HellaSwag's examples: few enough that some question draws itself
LIMIT = 2e-3  # of a log-likelihood: two orders of float32 sums over up to 2,048 tokens


def arc_rows(name):
    for line in open(SHARED / "data" / "arc" / name):
        ready = json.loads(line)
        labels = list("ABCDE")[: len(ready["choices"])]
        yield {
            "id": ready["id"],
            "question": ready["query"].removeprefix("Question: ").removesuffix("\nAnswer:"),
            "choices": {"text": ready["choices"], "label": labels},
            "answerKey": labels[ready["gold"]],
        }


# activity, ctx_a, ctx_b, endings
ODD = [
    ("Odd", "[header] How [title] do", "", ["a [step] b.", "[x] c", "d   e", "\u3000f\u00a0 "]),
    ("Odd", "Spaces   three", "ΟΔΟΣ, İZMİR", ["\u2003straße", "naïve", "日本語 です", "😀 ok"]),
    ("Odd", "An open [ bracket", "ßtart ŉ", ["x [a\nb] y", "[[z] w]", "\u001cq", "r\u0085"]),
    ("Odd", "Ends in white space [y]", "ǆ and Ǆ [z]", ["[title] one", " [title] two", "3", "4"]),
]  # fmt: skip


def hellaswag_rows():
    for i, (activity, a, b, endings) in enumerate(ODD):
        yield dict(ind=i, activity_label=activity, ctx_a=a, ctx_b=b, endings=endings, label="2")
    text = bz2.open(SHARED / "data" / "hellaswag" / "hellaswag_val_full.txt.bz2", "rt")
    lines = text.read().split("\n")
    for i in range(POOL - len(ODD)):
        query, gold, *endings = lines[6 * i : 6 * i + 6]
        activity, _, context = query.partition(": ")
        first, dot, last = context.rpartition(". ")
        yield {
            "ind": len(ODD) + i,
            "activity_label": activity,
            "ctx_a": first + dot.rstrip(),
            "ctx_b": last,
            "endings": endings,
            "label": gold,
        }


def write(name, rows):
    path = common.fresh(f"choice/{name}")
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def harness_task(name, files):
    """The task of lm_eval's own yaml over local files."""
    import lm_eval.tasks
    import yaml
    from lm_eval.tasks.hellaswag.utils import process_docs

    folder = pathlib.Path(lm_eval.tasks.__path__[0])
    source = folder / ("hellaswag/hellaswag.yaml" if name == "hellaswag" else "arc/arc_easy.yaml")
    text = source.read_text().replace("!function utils.process_docs", '""')
    config = yaml.safe_load(text) | {
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: str(path) for split, path in files.items()}},
    }
    config.pop("tag", None)
    if name == "hellaswag":
        config["process_docs"] = process_docs
    return config


def theirs(name, files, shots, documents):
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    model = HFLM(
        pretrained=str(MODEL), dtype="float32", softmax_dtype="float32", device="cpu", batch_size=4
    )
    found = lm_eval.simple_evaluate(
        model=model,
        tasks=[harness_task(name, files)],
        num_fewshot=shots,
        limit=documents,
        bootstrap_iters=2,  # more than none: 0 turns standard errors off
        log_samples=True,
    )
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    return found["results"][name], samples


def ours(name, data, fewshot, shots, documents=DOCUMENTS):
    out = common.fresh(f"choice/{name}-out")
    out.mkdir()
    log, score = out / "samples.jsonl", out / "score.json"
    common.ram(
        "evaluate", MODEL, "--task", name, "--data", data, "--fewshot-data", fewshot,
        "--shots", shots, "--limit", documents, "--precision", "f32",
        "--log-samples", log, "-o", score, "-q",
    )  # fmt: skip
    samples = [json.loads(line) for line in log.read_text().splitlines()]
    return common.read_json(score)["results"], samples


def compare(name, data, fewshot, files, shots, documents=DOCUMENTS):
    result, samples = ours(name, data, fewshot, shots, documents)
    expected, their_samples = theirs(name, files, shots, documents)
    pairs = list(zip(samples, their_samples, strict=True))

    def differing(what):
        return [a["doc_id"] for a, b in pairs if not what(a, b)]

    def likelihoods(sample):
        return [float(value) for value, _ in sample["filtered_resps"]]

    def best(sample):
        values = likelihoods(sample)
        return values.index(max(values))

    def greedy(sample):
        return [str(is_greedy) == "True" for _, is_greedy in sample["filtered_resps"]]

    worst = max(abs(x - y) for a, b in pairs for x, y in zip(likelihoods(a), likelihoods(b)))
    label = f"choice {name} {shots}-shot, {len(pairs)} documents"
    for what, same in [
        ("prompts", lambda a, b: a["prompt_hash"] == b["prompt_hash"]),
        ("targets", lambda a, b: a["target"] == int(b["target"])),
        ("number of choices", lambda a, b: len(likelihoods(a)) == len(likelihoods(b))),
        ("choices made", lambda a, b: best(a) == best(b)),
        ("greedy", lambda a, b: greedy(a) == greedy(b)),
        ("acc", lambda a, b: a["acc"] == b["acc"]),
        ("acc_norm", lambda a, b: a["acc_norm"] == b["acc_norm"]),
    ]:
        wrong = differing(same)
        check(f"{label}: same {what}", not wrong, f"documents {wrong[:10]} differ")
    check(f"{label}: log-likelihoods (largest difference {worst:.1e})", worst <= LIMIT, f"{worst}")
    for key in ("acc", "acc_norm", "acc_stderr", "acc_norm_stderr"):
        other = float(expected[f"{key},none"])
        check(f"{label}: {key}", abs(result[key] - other) < 1e-12, f"{result[key]}, {other}")
    saved = result["tokens_asked"] / result["tokens_computed"]
    print(f"     {label}: {saved:.2f} tokens asked for each that was computed")
    return result


def arc():
    train = write("arc-train.jsonl", arc_rows("arc_challenge_train.jsonl"))
    test = write("arc-test.jsonl", arc_rows("arc_challenge_test.jsonl"))
    files = {"train": train, "validation": train, "test": test}
    result = compare("arc_challenge", test, train, files, 25)
    # Longer than the model's 2,048 positions: cut from the left, for each choice in its own way.
    compare("arc_challenge", test, train, files, 40, 4)
    # The form in which the shared data have them already.
    raw = SHARED / "data" / "arc"
    ready, _ = ours(
        "arc_challenge", raw / "arc_challenge_test.jsonl", raw / "arc_challenge_train.jsonl", 25
    )
    check("choice arc_challenge: both forms of the data score the same", ready == result)


def hellaswag():
    rows = write("hellaswag.jsonl", hellaswag_rows())
    files = {"train": rows, "validation": rows}
    compare("hellaswag", rows, rows, files, 10)
    compare("hellaswag", rows, rows, files, 0)


def run():
    try:
        import lm_eval  # noqa: F401
    except ImportError:
        print("SKIP choice: pip install lm_eval==0.4.11 datasets")
        return
    if not MODEL.exists():
        print(f"SKIP choice: {MODEL} is not there")
        return
    attempt("choice arc_challenge", arc)
    attempt("choice hellaswag", hellaswag)
