"""Counts the operations of the C program by a copy of its sources that counts; network.h states the most."""

import re
import subprocess
from pathlib import Path

import numpy as np

from csnn_jax.config import ModelConfig
from csnn_jax.runs.layouts import Tensors, expected_shapes, on_grid

COUNTING = {
    "sums.h": """
static int64_t operations;
static void count_rows(csnn_sum *restrict sum, const csnn_weight *const *row, int32_t rows, size_t at, bool first)
{
    operations += rows * CSNN_LANES;
    add_rows(sum, row, rows, at, first);
}
static void count_scaled_rows(csnn_sum *restrict sum, const csnn_weight *const *row, const uint8_t *value, int32_t rows,
                              size_t at, bool first)
{
    operations += rows * CSNN_LANES;
    add_scaled_rows(sum, row, value, rows, at, first);
}
#define add_rows count_rows
#define add_scaled_rows count_scaled_rows
""",
    "neurons.h": "#define step(...) (operations++, step(__VA_ARGS__))\n",
    "csnn.c": """
#include <stdio.h>
static struct csnn_state state;
static uint8_t sample[CSNN_FRAMES][CSNN_INPUTS];
int main(void)
{
    while (fread(sample, sizeof sample, 1, stdin)) {
        csnn_reset(&state);
        for (int t = 0; t < CSNN_TIME_STEPS; t++) {
            operations = 0;
            if (t < CSNN_FRAMES)
                csnn_present(&state, sample[t]);
            printf("%lld ", (long long)operations);
            operations = 0;
            csnn_step(&state);
            printf("%lld\\n", (long long)operations);
        }
    }
    return 0;
}
""",
}
"""Added to the ends of files."""
EVENTS = {
    "copies.h": (r"(again < often\(list\); again\+\+\) \{)", r"\1 operations++;"),
    "csnn.c": (
        r"(sum\[n\] = frame \?|sum\[\*e\] \+=) (.*);",
        lambda match: f"operations += {'frame != NULL' if '[n]' in match[1] else 1}, {match[0]}",
    ),
}
"""Where events are copied or counted."""


def counted(folder: Path, samples: np.ndarray, time_steps: int) -> np.ndarray:
    """Counts the operations of a program while it classifies samples.

    Args:
        folder: its sources, which are changed.
        samples: as in `program.answers`.
        time_steps: of a window.

    Returns:
        Those of csnn_present and of csnn_step, int64 [N, time_steps, 2].
    """
    for name, (pattern, replacement) in EVENTS.items():
        text, places = re.subn(pattern, replacement, (folder / name).read_text())
        assert places
        (folder / name).write_text(text)
    for name, more in COUNTING.items():
        (folder / name).write_text((folder / name).read_text() + more)
    subprocess.run(["cc", "-std=c99", "-O2", "csnn.c", "-o", "count"], cwd=folder, check=True)
    done = subprocess.run([folder / "count"], input=samples.tobytes(), capture_output=True, check=True)
    return np.array(done.stdout.split(), np.int64).reshape(len(samples), time_steps, 2)


def firing(config: ModelConfig) -> Tensors:
    """Parameters with which all neurons fire whatever they read."""
    tensors = {}
    for name, shape in expected_shapes(config).items():
        kind = name.rpartition(".")[2]
        if kind != "exponents":
            tensors[name] = np.full(shape, {"weight": 0.0, "bias": 8.0}.get(kind, 0.5), np.float32)
    return on_grid(config, tensors)
