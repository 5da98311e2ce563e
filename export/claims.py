"""All that manifest.json claims of a bundle and that follows from the bundle's other files."""

from collections.abc import Callable
from functools import partial, reduce
from operator import add
from typing import Any

from export import manifest
from export import subject as checks
from export.manifest import Manifest
from export.parts import nir as nir_file
from export.proof import footprint as numbers
from export.proof import network
from export.proof.equality import pieces
from export.report import tools as targets
from export.subject import Found, Subject

Check = Callable[[], Found]
STEPS = ("step.onnx", "step_b1.onnx", "step_lif.onnx")
NIR = ("network.nir", "network_nir104.nir")


def collect(subject: Subject, run: Callable[[str, Check], Found]) -> Manifest:
    """Checks every file, and describes the network.

    Args:
        subject: the bundle.
        run: runs the check of the file so named; told so that it may report it.

    Returns:
        These parts of the manifest.
    """
    model, no_nir = subject.config.model, nir_file.reason_against(subject.config.model, subject.tensors)
    found = {name: run(name, check) for name, check in _checks(subject, no_nir is None).items()}
    return {
        "weights": {"file": "weights.safetensors", "sha256_of_tensors": manifest.hash_tensors(subject.tensors)},
        "semantics": manifest.semantics(subject.step, subject.time_steps, subject.sequence),
        "nir": {"written": no_nir is None, "reason": no_nir},
        "onnx": {name: one.graph for name, one in found.items() if one.graph},
        "proof": {name: one.proof for name, one in found.items()},
        "numbers": numbers.numbers(model, subject.tensors, _activity(subject)),
        "targets": [row._asdict() for row in targets.targets(model, subject.tensors)],
    }


def _checks(subject: Subject, nir: bool) -> dict[str, Check]:
    """The check of every file or folder, by name; those that others build on first."""
    return {
        "weights.safetensors": partial(checks.csnn_jax, subject),
        **{name: partial(checks.step, subject, name) for name in STEPS},
        "sequence.onnx": partial(checks.sequence, subject),
        "step_int8.onnx": partial(checks.int8, subject),
        **({name: partial(checks.nir, subject, name) for name in NIR} if nir else {}),
        "c/": partial(checks.program, subject),
        "golden/": partial(checks.golden_tensors, subject),
    }


def _activity(subject: Subject) -> numbers.Activity:
    """What torch's spikes were on the images that spikes are compared on."""
    traces = ((x, network.trace(subject.step, x, subject.time_steps)) for _, x in pieces(subject.compared, 32))
    batches = (numbers.Activity.of(x.numpy(), [layer.numpy() for layer in spikes]) for x, (_, spikes) in traces)
    return reduce(add, batches)


def summary(found: Found, images: int) -> str:
    """What a check found, in one line."""
    if found.problems:
        return "; ".join(found.problems)
    parts = ["ok"]
    for name in ("onnxruntime", "library", "csnn_jax"):
        if name in found.proof:
            parts.append(_free_running(found.proof[name], "step.onnx's" if name == "csnn_jax" else "torch's"))
    if "snntorch" in found.proof:
        reader = found.proof["snntorch"]
        parts.append(f"{reader['different_spikes']} of {reader['spikes']:,} spikes differ from torch's")
    if "loop_over_step" in found.proof:
        loop = found.proof["loop_over_step"]
        parts.append(
            f"{loop['different_spikes']} of {loop['spikes']:,} output spikes differ from a loop over step.onnx"
        )
    if "accuracy" in found.proof:
        parts.append(f"accuracy {found.proof['accuracy']:.2%} on {images:,} images")
    return ", ".join(parts)


def _free_running(figures: dict[str, Any], whose: str) -> str:
    free = figures.get("free_running", figures)
    different = free["different_output_spikes"] + free["different_hidden_spikes"]
    said = f"{different:,} of {free['output_spikes'] + free['hidden_spikes']:,} spikes differ from {whose}"
    return f"{said}, which began at a membrane within rounding of its threshold" if different else said
