"""Runs commands, measures what they wrote, and remembers both.

A directory is made by a command and identified by a key: the digest of the program, its arguments
and its input. Its measurements are identified by the digest of its weights, so that a new build
that writes the same bytes costs a conversion and no evaluation. Directories are removed once they
are measured. Only the standard library is used.
"""

import hashlib
import json
import pathlib
import random
import shutil
import subprocess
import tempfile
import time

SEQ_LEN, WINDOWS = 512, 64
RESAMPLES = 10000


def digest(*parts):
    sha = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, pathlib.Path) else json.dumps(part).encode()
        sha.update(len(data).to_bytes(8, "little") + data)
    return sha.hexdigest()[:24]


def weights_digest(directory):
    return digest(*sorted(directory.glob("*.safetensors")), directory / "config.json")


class Failure(Exception):
    """A command that failed: its last line."""


class Lab:
    def __init__(self, ram, out, data, say):
        self.ram, self.out, self.data, self.say = pathlib.Path(ram), pathlib.Path(out), data, say
        self.program = digest(self.ram)
        (self.out / "cache").mkdir(parents=True, exist_ok=True)
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="work-", dir=self.out))

    def close(self):
        shutil.rmtree(self.work, ignore_errors=True)

    # ---- what was found before ---------------------------------------------------------------

    def recall(self, key):
        path = self.out / "cache" / f"{key}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def remember(self, key, value):
        path = self.out / "cache" / f"{key}.json"
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(value))
        temporary.rename(path)
        return value

    # ---- commands ----------------------------------------------------------------------------

    def run(self, command, env=None):
        start = time.monotonic()
        done = subprocess.run([str(x) for x in command], capture_output=True, text=True, env=env)
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no message"]
            raise Failure(f"{lines[-1]} (exit {done.returncode})")
        return time.monotonic() - start

    def evaluate(self, directory, model):
        """Bytes, and KLD to the model for every window."""
        settings = ["--seq-len", SEQ_LEN, "--limit", WINDOWS, "--precision", "f32"]
        models = [weights_digest(directory), weights_digest(model)]
        key = digest("evaluate", *models, self.data, settings)
        found = self.recall(key)
        if found:
            return found
        score = self.work / "score.json"
        self.run(
            [self.ram, "evaluate", directory, "--task", "wikitext", "--data", self.data, *settings]
            + ["--reference", model, "-o", score, "--force", "-q"]
        )
        record = json.loads(score.read_text())
        results = record["results"]
        found = {
            "bytes": sum(path.stat().st_size for path in directory.glob("*.safetensors")),
            "bpw": record["model"]["effective_bits"],
            "kld": results["kld_mean"],
            "ppl_change": results["ppl_change"],
            "windows": results["window_kld"],
        }
        return self.remember(key, found)

    def measure(self, label, model, key, make):
        """make(directory) writes a checkpoint; a Failure is remembered as one."""
        key = digest("make", key, weights_digest(model))
        found = self.recall(key)
        if not found:
            directory = self.work / "made"
            shutil.rmtree(directory, ignore_errors=True)
            try:
                found = {"seconds": make(directory), **self.evaluate(directory, model)}
                record = directory / "ram.json"
                if record.exists():
                    found["predicted"] = predicted(json.loads(record.read_text()))
            except Failure as failure:
                found = {"error": str(failure)}
            found["label"] = label
            self.remember(key, found)
        outcome = found.get("error") or f"{found['bytes']:>10,} {found['kld']:.6f}"
        self.say(f"{model.name:18} {label:34} {outcome}")
        return found

    def quantize(self, label, model, *args):
        def make(directory):
            return self.run([self.ram, "quantize", model, "-o", directory, "-q", *args])

        files = [digest(x) for x in args if isinstance(x, pathlib.Path)]
        return self.measure(label, model, [self.program, files, *map(str, args)], make)


def predicted(record):
    """The divergence that the plan of a conversion promised, if it did."""
    summary = (record.get("plan") or {}).get("summary") or {}
    return (summary.get("predicted") or {}).get("kld")


# ---- in pairs --------------------------------------------------------------------------------


def resamples(n):
    rng = random.Random(42)
    return [rng.choices(range(n), k=n) for _ in range(RESAMPLES)]


DRAWS = resamples(WINDOWS)


def ratio(ours, theirs):
    """KLD of ours over that of theirs with its 95 % interval: whole windows drawn in pairs.
    theirs: one measurement, or (a, b, t) for the log-linear interpolation at t between two."""
    a, b, t = theirs if isinstance(theirs, tuple) else (theirs, theirs, 0.0)
    x, ya, yb = ours["windows"], a["windows"], b["windows"]

    def of(draw):
        sums = [sum([values[i] for i in draw]) for values in (x, ya, yb)]
        return sums[0] / (sums[1] ** (1 - t) * sums[2] ** t)

    n = len(x)
    draws = DRAWS if n == WINDOWS else resamples(n)
    found = sorted(map(of, draws))
    return {
        "ratio": of(range(n)),
        "ci95": [found[int(0.025 * RESAMPLES)], found[int(0.975 * RESAMPLES)]],
    }
