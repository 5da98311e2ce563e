"""report.md: explains a bundle to people who deploy it and haven't read our code; rendered only from the manifest."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from csnn_jax.neurons import PARAMETERS
from csnn_jax.neurons.neuron import MEMBRANE
from csnn_jax.runs.equality import KINDS
from export import parts
from export.bundle import CONFIG, MANIFEST, PAGE, WEIGHTS, Manifest
from export.hashes import SUMS
from export.manifest import silence
from export.proof.statements import hidden_channels
from export.report import tools
from export.report.cells import Advice, Usage, class_of, measured, percent, plain, size, table

if TYPE_CHECKING:
    from export.parts.part import Timing

Described = TypeVar("Described", Advice, Usage)

_WHAT = {
    CONFIG: "the training job",
    PAGE: "this report with charts, for a browser; it works offline",
    MANIFEST: "the contents of this report and more, for programs",
    SUMS: f"the SHA-256 of every other file (`sha256sum -c {SUMS}`)",
}
"""The files that aren't parts."""


def render(manifest: Manifest) -> str:
    """The whole report as Markdown. It ignores its own entry among the manifest's hashes."""
    return "\n\n".join(section(merged(manifest)) for section in SECTIONS.values()) + "\n"


def merged(manifest: Manifest) -> Manifest:
    """The manifest as the sections and parts get it: the statements, the results and `hashes` in one object."""
    return manifest["statements"] | manifest["results"] | {"hashes": manifest["hashes"]}


def _title(manifest: Manifest) -> str:
    training, job, settings = manifest["training"], manifest["job"], manifest["settings"]
    neuron = re.sub(r" \(.*?\)", "", manifest["semantics"]["neuron"])
    few = "" if job["weight_bits"] is None else f"Each weight has {job['weight_bits']} bits, including the sign. "
    after = "training and rounding" if "rounded" in manifest else "training"
    right, steps = percent(manifest.get("dropped", manifest)["accuracy"]), manifest["semantics"]["time_steps"]
    lines = [
        f"# A spiking network for {plain(job['dataset'])}, as files that run elsewhere",
        f"A convolutional spiking neural network (CSNN) with {len(manifest['semantics']['layers'])} layers of neurons "
        f"({neuron}), trained for {training['iterations']:,} iterations (seed {job['seed']}). {few}After {after}, it "
        f"classified {right} of the test images correctly. This folder contains it in several forms. Each was compared "
        f"with the trained network in torch on {settings['images']:,} test images over {steps} time steps before the "
        "folder was made.",
    ]
    if (number := training.get("checkpoint")) is not None:
        lines.append(f"The weights are from checkpoint {number:,}, which may not be the end of training.")
    if settings["effort"] == "quick":
        lines.append(
            f"**Made with `--quick`**: spikes were compared on {settings['images']:,} images and accuracies measured "
            f"on only {manifest['accuracy_images']:,}. Make the bundle without it before relying on the figures below."
        )
    if rounded := manifest.get("rounded"):
        lines.append(
            f"**Made with `--weight-bits {job['weight_bits']}`**: the weights were rounded after training. Before "
            f"that, the network classified {percent(rounded['accuracy'])} of the test images correctly."
        )
    if manifest["data"].get("split") == "validation":
        lines.append("**Without test images**: the images called test images here were held out by `--validation`.")
    if job["time_steps"] != steps:
        lines.append(
            f"**Made with `--time-steps {steps}`**: the network runs for {steps} steps here. It was trained with "
            f"{job['time_steps']}, and the accuracy above is for that many."
        )
    if "dropped" in manifest:
        lines.append(_left_out(manifest))
    lines += [f"There is no {form} file: {reason}." for form, reason in _refused(manifest).items()]
    return "\n\n".join(lines)


def _left_out(manifest: Manifest) -> str:
    """The effect of --drop-silent."""
    dropped, left = manifest["dropped"], hidden_channels(manifest)
    kept = ", ".join(f"{name} has {left[name]:,} of {before:,}" for name, before in dropped["channels"].items())
    return (
        "**Made with `--drop-silent`**: channels and neurons that didn't fire within the window of this bundle on any "
        f"of the {dropped['training_images']:,} training images were removed: {kept}. {dropped['parameters']:,} "
        f"parameters became {manifest['numbers']['total']['parameters']:,}. On {dropped['fired_on']:,} of "
        f"{manifest['data']['test_images']:,} test images, one of the removed ones would have fired, and "
        f"{dropped['other_answers']:,} answers differ from the trained network's. In a longer window, more of them "
        "might have fired. All files were compared with the smaller network."
    )


def _refused(manifest: Manifest) -> dict[str, str]:
    """Formats that this network can't be exported to, and why; each reason once."""
    forms = [part.form for part in parts.every() if part.form]
    found = {manifest[form.lower()]["reason"]: form for form in reversed(forms)}
    return {form: reason for reason, form in reversed(found.items()) if reason}


def _which(manifest: Manifest) -> str:
    """Which file to use for what."""
    rows = [advice[1:] for advice in _described(manifest, Advice)]
    return f"## Which one to use\n\n{table(('you have', 'use'), rows)}"


def _files(manifest: Manifest) -> str:
    sizes, images = _sizes(manifest["hashes"]), manifest["accuracy_images"]
    rows: list[tuple[Any, ...]] = []
    for name, what in ((name, what) for part in parts.every() for name, what in part.what.items()):
        if name in sizes:
            accuracy = manifest["files"].get(name, {}).get("accuracy")
            rows.append((f"`{name}`", what, sizes[name], measured(accuracy, images)))
    others = {name: what for name, what in _WHAT.items() if name != PAGE or PAGE in sizes}
    rows += [(f"`{name}`", what, sizes.get(name), percent(None)) for name, what in others.items()]
    note = (
        f"Accuracy is measured on {images:,} test images by running the files; parentheses give the "
        "95% confidence interval for this number of images."
    )
    return f"## The files\n\n{table(('file', 'what', 'size', 'accuracy'), rows)}\n\n{note}"


def _sizes(files: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Size of every file that is listed by itself, and size and number of files of every part that is a folder."""
    named = {name for part in parts.every() for name in part.what}
    sizes = {name: size(entry["bytes"]) for name, entry in files.items() if "/" not in name or name in named}
    for folder in (name for part in parts.every() for name in part.what if name.endswith("/")):
        inside = [entry["bytes"] for name, entry in files.items() if name.startswith(folder)]
        sizes[folder] = f"{size(sum(inside))} ({len(inside)} files)"
    return sizes


def _call(manifest: Manifest) -> str:
    return "\n\n".join(["## How to call them", *(usage.text for usage in _described(manifest, Usage))])


def _described(manifest: Manifest, kind: type[Described]) -> list[Described]:
    """The parts' rows or paragraphs in order."""
    return sorted(one for part in parts.every() for one in part.describe(manifest) if isinstance(one, kind))


def _value(value: float | list[float] | None) -> str | None:
    """A layer's parameter, or its range over the channels."""
    if isinstance(value, list):
        return f"{min(value):.7g} to {max(value):.7g}, by channel"
    return None if value is None else f"{value:.7g}"


def _network(manifest: Manifest) -> str:
    meaning = manifest["semantics"]
    parameters = [name for name in PARAMETERS if name in meaning["layers"][0]]
    rows = [
        (
            *(one["layer"], one["operation"], " x ".join(map(str, one["shape"])), one["reset"]),
            *(_value(one[name]) for name in parameters),
        )
        for one in meaning["layers"]
    ]
    lines = [line for text in meaning["equations"].values() if text != "none" for line in text.split("; ")]
    equations = "\n".join(f"    {line}" for line in lines)
    given, states = meaning["input"], meaning["states"]
    named = ", ".join(f"`{name}` is {symbol}" for name, symbol in states.items())
    facts = [
        f"Neurons: {meaning['neuron']}.",
        f"Input: axes {given['layout']}; {given['range']}; {given['meaning']}, for {meaning['time_steps']} steps.",
        f"States: {named}, with the number of the layer after the name; they start at 0. Membranes are returned "
        f"{meaning['membranes']}.",
        f"Spikes: {meaning['comparison']}.",
        f"Pooling: {meaning['pooling']}.",
        f"Answer: {meaning['readout']}; on ties {meaning['ties']}.",
        f"Axes of arrays with a time axis: {meaning['time_layout']}",
    ]
    if (names := meaning["class_names"]) != [*map(str, range(len(names)))]:
        facts.append(f"Classes: {', '.join(class_of(number, names) for number in range(len(names)))}.")
    layers = table(("layer", "operation", "neurons (channels first)", "reset", *parameters), rows)
    listed = "\n".join(f"- {fact}" for fact in facts)
    return f"## What they compute\n\n{equations}\n\nI is the layer's input current.\n\n{layers}\n\n{listed}"


def _proof(manifest: Manifest) -> str:
    warning = silence(manifest)
    noted = f"**Warning: {warning}.**\n\n" if warning else ""
    rows = [
        (f"`{name}`", program, *_counts(figures[key]))
        for part in parts.every()
        for name in part.what
        if (figures := manifest["files"].get(name))
        for key, program in part.run_by.items()
        if key in figures
    ]
    others = ", ".join(f"`{name}`" for name in manifest["semantics"]["states"] if name != MEMBRANE)
    counted = f" The neurons' other states ({others}) are counted with the membranes." if others else ""
    head = ("file", "run by", "different spikes", "different membranes", "different classes")
    return f"""\
## Comparison with the trained network

{noted}{table(head, rows)}

Each program ran whole windows of {manifest["settings"]["images"]:,} test images (onnx's reference evaluator fewer) from
zero states, and was compared with the trained network in torch.{counted} Weights and inputs are integer multiples of
powers of two, with so few bits that their sums are exact: any order of summation, and any processor that follows
IEEE 754, gives equal spikes and states. (Numbers below 2^-126 count as 0, because some processors flush them.)"""


def _counts(figures: Manifest) -> list[str]:
    """How many spikes, membranes and predictions differ, as "0 of 9"; "-" if none were compared."""
    pairs = [(figures[f"different_{kind}"], figures[kind]) for kind in KINDS]
    return [f"{different:,} of {count:,}" if count else "-" for different, count in pairs]


def _latency(manifest: Manifest) -> str:
    timings, made, rows = _timings(), manifest["made"], []
    images = milliseconds_an_image(manifest)
    packed = any("dequantizing_ms" in one for one in manifest["latency"].values())
    for name, one in manifest["latency"].items():
        figures = (f"{one['median_ms']:.3f}", f"{one['p99_ms']:.3f}", one["calls"], f"{images[name]:.3f}")
        without = f"{one['dequantizing_ms']:.3f}" if "dequantizing_ms" in one else "-"
        rows.append((f"`{name}`", timings[name].call, *figures, *[without] * packed))
    run_by = dict.fromkeys(timing.run_by.format(**made["versions"]) for timing in timings.values())
    head = ["file", "a call is", "median (ms)", "99th percentile (ms)", "calls", "per image, from the median (ms)"]
    head += ["median without the option (ms)"] * packed
    return f"""\
## How long a call takes

On one thread of {plain(made["cpu"] or made["system"])}, batch 1: {", ".join(run_by)}.

{table(head, rows)}"""


def milliseconds_an_image(manifest: Manifest) -> dict[str, float]:
    """Milliseconds per image for each file that runs, from the median of its calls."""
    timings, steps = _timings(), manifest["semantics"]["time_steps"]
    calls = {name: steps if timings[name].call == "one step" else 1 for name in manifest["latency"]}
    return {name: one["median_ms"] * calls[name] for name, one in manifest["latency"].items()}


def _timings() -> "dict[str, Timing]":
    return {name: part.timing for part in parts.every() if part.timing for name in part.what}


def _numbers(manifest: Manifest) -> str:
    numbers, energy = manifest["numbers"], manifest["numbers"]["energy"]
    rows = [_layer(one["name"], one) for one in numbers["layers"]] + [_layer("**total**", numbers["total"])]
    head = ("layer", "parameters", "weights", "states", "dense MACs per step", "operations per image", "spike density")
    counted = numbers["neurobench"]["SynapticOperations"]
    return f"""\
## What they need

Measured on {numbers["images"]:,} test images, {numbers["time_steps"]} steps each. An operation is a nonzero weight
times a nonzero input; the first layer's are counted once if the image is constant. The spike density is the fraction of
neurons that spike at a step. Bytes are for float32.

{table(head, rows)}

By NeuroBench's definitions, which count the first layer at every step: {counted["Effective_MACs"]:,.0f} effective MACs
and {counted["Effective_ACs"]:,.0f} effective ACs per image, out of {counted["Dense"]:,} dense operations; footprint
{size(numbers["neurobench"]["Footprint"])}, activation sparsity {numbers["neurobench"]["ActivationSparsity"]:.2%},
connection sparsity {numbers["neurobench"]["ConnectionSparsity"]:.2%}.

Energy per image: {energy["synapses_nj"] + energy["neurons_nj"]:,.0f} nJ (synapses
{energy["synapses_nj"]:,.0f} nJ, neurons {energy["neurons_nj"]:,.0f} nJ). A network of this shape without spikes,
which processes an image once, takes {energy["one_pass_nj"]:,.0f} nJ. Formula: {energy["formula"]}. Source:
{energy["source"]}."""


def _layer(name: str, one: dict[str, Any]) -> tuple[Any, ...]:
    dense, done = one["dense_macs_per_step"], round(one["synaptic_operations_first_layer_once"])
    memory = (size(one[kind]) for kind in ("bytes", "membrane_bytes"))
    return name, one["parameters"], *memory, dense, done, percent(one["density"])


def _how(manifest: Manifest) -> str:
    """How to check a bundle, in Markdown."""
    return f"""\
## Verify it

Run this outside this folder, because Python may import from its working directory (`-I` prevents that). You need a
clone of csnn-jax, the Python package that made this bundle, with its export extra (`pip install -e '.[export]'`), a C
compiler and make:

    python -I -m export.verify BUNDLE

It makes every file again from `{WEIGHTS}` and `{CONFIG}`, compares it with the one in this folder, runs it, and rejects
additional files. Use `--dataset` for test images other than MNIST's, which ship with csnn-jax. These commands check
less, and don't detect a change if the list of hashes was changed as well:

- `sha256sum -c {SUMS}`, or `python -I -m export.verify BUNDLE --hashes`: the files match the list.
- `python -I BUNDLE/check_onnx.py`: the ONNX files compute the values in `golden/` on your machine; needs only NumPy and
  ONNX Runtime.
- `make check`, as above: the C program prints the same on your machine as on the maker's."""


def _stated(manifest: Manifest) -> str:
    """What only the maker of a bundle can know, in Markdown."""
    made, training = manifest["made"], manifest["training"]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    cpu = plain(made["cpu"] or "an unknown processor")
    seconds = "" if training["seconds"] is None else f" in {training['seconds']:,.0f} seconds"
    return f"""\
## What only its maker knows

Nothing in this folder proves these statements: that it was made {made["utc"]} on {cpu} ({plain(made["system"])},
{made["cores"]} cores) with Python {made["python"]}, {versions}; the latencies above; that the data set was
{plain(manifest["job"]["dataset"])}; and how the network was trained: {CONFIG}, and {training["iterations"]:,}
iterations{seconds}.{_missing(manifest)}"""


def _missing(manifest: Manifest) -> str:
    """Statements that can't be checked because the trained network isn't in the bundle."""
    lines = []
    if "rounded" in manifest:
        lines.append("its accuracy before rounding")
    if "dropped" in manifest:
        answers = manifest["dropped"]["other_answers"]
        lines.append(f"what `--drop-silent` removed, the {answers:,} answers it changed, and the trained accuracy")
    return f" The same is true of {'; and '.join(lines)}: the trained network isn't in this folder." if lines else ""


SECTIONS: dict[str, Callable[[Manifest], str]] = {
    "title": _title,
    "which": _which,
    "files": _files,
    "call": _call,
    "network": _network,
    "proof": _proof,
    "latency": _latency,
    "numbers": _numbers,
    "tools": tools.section,
    "verify": _how,
    "maker": _stated,
}
"""The sections of the report in order, by name."""
