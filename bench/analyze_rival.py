"""Time of the method authors' own analysis, in ns a weight; bench_analyze_speed runs it.

    git clone https://github.com/baa-ai/swan-quantization RIVAL
    RAM_RIVAL=RIVAL RAM_RIVAL_PYTHON=python3 build/bench_analyze_speed

python3 must have torch. One thread, weights normal in bf16, the best of several runs, the four
metrics one by one and all of them through SensitivityAnalyzer.analyze_tensor, as its command
calls it. Time is the thread's own.
"""

import os
import sys
import time

import torch

sys.path.insert(0, os.environ["RAM_RIVAL"])
from smartquant.analyzer import SensitivityAnalyzer  # noqa: E402
from smartquant.config import QuantConfig  # noqa: E402

torch.set_num_threads(1)
analyzer = SensitivityAnalyzer(QuantConfig())
for rows, cols in (map(int, shape.split("x")) for shape in sys.argv[1:]):
    torch.manual_seed(1)
    weight = (torch.randn(rows, cols) * 0.02).bfloat16()
    runs = max(2, min(7, 30_000_000 // weight.numel()))
    wide = weight.float()
    work = {
        "all": lambda: analyzer.analyze_tensor(weight, "w"),
        "svd": lambda: analyzer._svd_sensitivity(wide, "w"),
        "kurtosis": lambda: analyzer._kurtosis_sensitivity(wide),
        "output": lambda: analyzer._output_sensitivity(wide),
        "error": lambda: analyzer._reconstruction_error_sensitivity(wide),
    }
    best = []
    for function in work.values():
        times = []
        for _ in range(runs):
            start = time.thread_time()
            function()
            times.append(time.thread_time() - start)
        best.append(min(times) / weight.numel() * 1e9)
    print(rows, cols, *(f"{x:.3f}" for x in best), flush=True)
