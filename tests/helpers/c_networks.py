"""Compilers, and networks for the C program's tests that cover the program's branches."""

import importlib.util
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from bundles import drawn
from export_networks import KINDS

from csnn_jax.config import ModelConfig

IMAGES = 12

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
SANITIZE = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

CLANG = ["clang"] if shutil.which("clang") else [sys.executable, "-m", "ziglang", "cc"]  # a package with clang
NO_CLANG = CLANG != ["clang"] and importlib.util.find_spec("ziglang") is None
COMPILERS = [
    pytest.param(["gcc"], id="gcc", marks=pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc")),
    pytest.param(CLANG, id="clang", marks=pytest.mark.skipif(NO_CLANG, reason="neither clang nor ziglang")),
]

STACKS = {
    "default kind": ModelConfig(
        input_shape=(12, 10, 2), conv_channels=(5, 7), hidden=(20,), num_classes=6, time_steps=8
    ),
    "odd sizes, average, zero": ModelConfig(
        input_shape=(13, 11, 3), conv_channels=(4,), kernel_size=5, hidden=(), pool="avg", reset="zero", time_steps=9
    ),
    "no convolution, no reset": ModelConfig(
        input_shape=(9, 7, 1), conv_channels=(), hidden=(30, 11), reset="none", beta=(0.9, 0.3, 1.0), time_steps=9
    ),
    "three blocks, rate": ModelConfig(
        input_shape=(17, 19, 2), conv_channels=(3, 4, 5), kernel_size=7, hidden=(8,), encoding="rate", time_steps=7
    ),
    "strides, no padding, two pools, no bias": ModelConfig(
        input_shape=(25, 22, 1),
        conv_channels=(4, 5, 3),
        kernel_size=(4, 3, 1),
        padding=("valid", "same", "same"),
        stride=(1, 2, 1),
        pool=("max", "none", "avg"),
        bias=False,
        hidden=(9,),
        time_steps=7,
    ),
    "learnt neurons, latency": ModelConfig(
        input_shape=(12, 10, 1),
        conv_channels=(6,),
        kernel_size=1,
        hidden=(20,),
        encoding="latency",
        learn_beta=True,
        learn_threshold=True,
        threshold=(0.5, 1.0, 2.0),
        time_steps=8,
    ),
    # 70,400 neurons in a layer, too many for 16 bits
    "wide indices": ModelConfig(input_shape=(33, 40, 1), conv_channels=(220,), hidden=(), num_classes=3, time_steps=2),
}

STACKS |= KINDS | {f"{name}, 4 bits": replace(config, weight_bits=4) for name, config in KINDS.items()}
STACKS |= {
    f"{name}, {bits} bits": replace(STACKS[name], weight_bits=bits)
    for name, bits in (
        ("default kind", 8),
        ("default kind", 4),
        ("odd sizes, average, zero", 4),
        ("no convolution, no reset", 2),
        ("strides, no padding, two pools, no bias", 5),
        ("learnt neurons, latency", 6),
        ("sum after the neurons", 8),
    )
}


def parameters(config, seed=1):
    tensors = drawn(config, seed)
    if config.learn_beta:  # two outside 0..1, to be clipped; a negative threshold fires at rest
        tensors |= {f"lif{i}.beta": np.float32(b).reshape(()) for i, b in enumerate((0.6, 1.3, -0.2), 1)}
        tensors |= {f"lif{i}.threshold": np.float32(t).reshape(()) for i, t in enumerate((0.3, -0.2, 0.7), 1)}
    return tensors


def images_for(config):
    random = np.random.default_rng(2)
    images = random.integers(0, 256, (IMAGES, *config.input_shape)).astype(np.uint8)
    images[random.uniform(size=images.shape) < 0.5] = 0
    return images
