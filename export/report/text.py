"""report.md and report.html: explain a bundle to people who deploy it and haven't read our code.

They are rendered only from the manifest.
"""

import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

from csnn_jax.document import charts, html, markdown
from csnn_jax.document.blocks import (
    Cell,
    Chart,
    Code,
    Document,
    Items,
    Listing,
    Paragraph,
    Section,
    Strong,
    Table,
    Words,
    coded,
    listed,
)
from csnn_jax.document.numbers import class_of, measured, percent, size
from csnn_jax.neurons import PARAMETERS
from csnn_jax.neurons.neuron import MEMBRANE
from csnn_jax.report.subject import shown_dataset
from csnn_jax.runs import footprint
from csnn_jax.runs.equality import KINDS
from export import parts
from export.bundle import CONFIG, MANIFEST, PAGE, REPORT, WEIGHTS, Manifest
from export.hashes import SUMS
from export.manifest import silence
from export.parts.part import Advice, Usage
from export.proof.statements import hidden_channels
from export.report import tools

if TYPE_CHECKING:
    from export.parts.part import Timing

Described = TypeVar("Described", Advice, Usage)

_WHAT: dict[str, Words] = {
    CONFIG: "the training job",
    PAGE: "this report with charts, for a browser; it works offline",
    MANIFEST: "the contents of this report and more, for programs",
    SUMS: coded("the SHA-256 of every other file ({})", f"sha256sum -c {SUMS}"),
}
"""The files that aren't parts."""


def render(manifest: Manifest) -> str:
    """The whole report as Markdown. It ignores its own entry among the manifest's hashes."""
    return markdown.render(document(merged(manifest)))


def page(manifest: Manifest) -> str:
    """The report as an HTML page with charts. It contains no local paths, and doesn't list itself among the files.

    Raises:
        UserError: plotly isn't installed.
    """
    html.require()
    facts = merged(manifest)
    dataset = shown_dataset(facts["job"]["dataset"])
    hashes = {name: entry for name, entry in facts["hashes"].items() if name != PAGE}
    shown = facts | {"job": facts["job"] | {"dataset": dataset}, "hashes": hashes}
    return html.render(document(shown), maker())


def maker() -> str:
    """The versions that a page's bytes depend on besides the manifest."""
    return f"csnn-jax export {version('csnn-jax')} with plotly {version('plotly')}"


def differs_in_plotly(content: str, manifest: Manifest) -> bool:
    """Whether a page matches what this version makes from a manifest, except for its version of plotly.js."""
    here, there = version("plotly"), manifest["statements"]["made"]["versions"].get("plotly")
    before, _, after = page(manifest).partition(html.library())
    start, end = (part.replace(f"with plotly {here}", f"with plotly {there}") for part in (before, after))
    return there not in (None, here) and content.startswith(start) and content.endswith(end)


def merged(manifest: Manifest) -> Manifest:
    """The manifest as the sections and parts get it: the statements, the results and `hashes` in one object."""
    return manifest["statements"] | manifest["results"] | {"hashes": manifest["hashes"]}


def document(manifest: Manifest) -> Document:
    """The report of a merged manifest."""
    sections = (_which, _files, _call, _network, _proof, _latency, _numbers, tools.section, _how, _stated)
    title = f"A spiking network for {manifest['job']['dataset']}, as files that run elsewhere"
    return Document(title, [*map(Paragraph, _lead(manifest))], [section(manifest) for section in sections])


def _lead(manifest: Manifest) -> list[Words]:
    training, job, settings = manifest["training"], manifest["job"], manifest["settings"]
    neuron = re.sub(r" \(.*?\)", "", manifest["semantics"]["neuron"])
    few = "" if job["weight_bits"] is None else f"Each weight has {job['weight_bits']} bits, including the sign. "
    after = "training and rounding" if "rounded" in manifest else "training"
    right, steps = percent(manifest.get("dropped", manifest)["accuracy"]), manifest["semantics"]["time_steps"]
    lines: list[Words] = [
        f"A convolutional spiking neural network (CSNN) with {len(manifest['semantics']['layers'])} layers of neurons "
        f"({neuron}), trained for {training['iterations']:,} iterations (seed {job['seed']}). {few}After {after}, it "
        f"classified {right} of the test images correctly. This folder contains it in several forms. Each was compared "
        f"with the trained network in torch on {settings['images']:,} test images over {steps} time steps before the "
        "folder was made.",
    ]
    if (number := training.get("checkpoint")) is not None:
        lines.append(f"The weights are from checkpoint {number:,}, which may not be the end of training.")
    if settings["effort"] == "quick":
        text = (
            f": spikes were compared on {settings['images']:,} images and accuracies measured on only "
            f"{manifest['accuracy_images']:,}. Make the bundle without it before relying on the figures below."
        )
        lines.append((_made_with("--quick"), text))
    if rounded := manifest.get("rounded"):
        text = (
            ": the weights were rounded after training. Before that, the network classified "
            f"{percent(rounded['accuracy'])} of the test images correctly."
        )
        lines.append((_made_with(f"--weight-bits {job['weight_bits']}"), text))
    if manifest["data"].get("split") == "validation":
        without = ": the images called test images here were held out by "
        lines.append((Strong("Without test images"), without, Code("--validation"), "."))
    if job["time_steps"] != steps:
        text = (
            f": the network runs for {steps} steps here. It was trained with {job['time_steps']}, and the accuracy "
            "above is for that many."
        )
        lines.append((_made_with(f"--time-steps {steps}"), text))
    if dropped := manifest.get("dropped"):
        remaining = hidden_channels(manifest)
        counts = [f"{name} has {remaining[name]:,} of {before:,}" for name, before in dropped["channels"].items()]
        text = (
            ": channels and neurons that didn't fire within the window of this bundle on any of the "
            f"{dropped['training_images']:,} training images were removed: {', '.join(counts)}. "
            f"{dropped['parameters']:,} parameters became {manifest['numbers']['total']['parameters']:,}. On "
            f"{dropped['fired_on']:,} of {manifest['data']['test_images']:,} test images, one of the removed ones "
            f"would have fired, and {dropped['other_answers']:,} answers differ from the trained network's. In a "
            "longer window, more of them might have fired. All files were compared with the smaller network."
        )
        lines.append((_made_with("--drop-silent"), text))
    forms = [part.form for part in parts.every() if part.form]
    reasons = {manifest[form.lower()]["reason"]: form for form in reversed(forms)}  # each reason once
    lines += [f"There is no {form} file: {reason}." for reason, form in reversed(reasons.items()) if reason]
    return lines


def _made_with(flag: str) -> Words:
    return Strong(("Made with ", Code(flag)))


def _which(manifest: Manifest) -> Section:
    """Which file to use for what."""
    rows = [(advice.have, advice.take) for advice in _described(manifest, Advice)]
    return Section("Which one to use", (Table("Files by what you have", ("you have", "use"), rows),))


def _files(manifest: Manifest) -> Section:
    sizes, images = _sizes(manifest["hashes"]), manifest["accuracy_images"]
    rows: list[tuple[Cell, ...]] = []
    for name, what in ((name, what) for part in parts.every() for name, what in part.what.items()):
        if name in sizes:
            accuracy = manifest["files"].get(name, {}).get("accuracy")
            rows.append((Code(name), what, sizes[name], measured(accuracy, images)))
    others = {name: what for name, what in _WHAT.items() if name != PAGE or PAGE in sizes}
    rows += [(Code(name), what, sizes.get(name), None) for name, what in others.items()]
    note = (
        f"Accuracy is measured on {images:,} test images by running the files; parentheses give the "
        "95% confidence interval for this number of images."
    )
    caption = f"Every file in this folder except {PAGE} and {REPORT}, which have the same contents"
    table = Table(caption, ("file", "what", "size", "accuracy"), rows, stacks=True)
    return Section("The files", (table, Paragraph(note), _drawn_sizes(manifest)))


def _sizes(files: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Size of every file that is listed by itself, and size and number of files of every part that is a folder."""
    named = {name for part in parts.every() for name in part.what}
    sizes = {name: size(entry["bytes"]) for name, entry in files.items() if "/" not in name or name in named}
    for folder in (name for part in parts.every() for name in part.what if name.endswith("/")):
        inside = [entry["bytes"] for name, entry in files.items() if name.startswith(folder)]
        sizes[folder] = f"{size(sum(inside))} ({len(inside)} files)"
    return sizes


def _drawn_sizes(manifest: Manifest) -> Chart:
    sizes = {}
    for name in (WEIGHTS, *manifest["latency"]):
        memory = manifest["files"].get(name, {}).get("memory")
        sizes[name] = (memory["constant_bytes"] if memory else manifest["hashes"][name]["bytes"]) / 1e6
    caption = (
        "Sizes of the weights and of each file that runs. For the C program, it's the size of its constants in flash; "
        "its source code is larger."
    )
    return charts.bars(caption, list(sizes), list(sizes.values()), ("file", "size (MB)"))


def _call(manifest: Manifest) -> Section:
    usages = _described(manifest, Usage)
    return Section("How to call them", [block for usage in usages for block in usage.blocks])


def _described(manifest: Manifest, kind: type[Described]) -> list[Described]:
    """The parts' rows or paragraphs in order."""
    described = (item for part in parts.every() for item in part.describe(manifest) if isinstance(item, kind))
    return sorted(described, key=lambda item: item.place)


def _value(value: float | list[float] | None) -> str | None:
    """A layer's parameter, or its range over the channels."""
    if isinstance(value, list):
        return f"{min(value):.7g} to {max(value):.7g}, by channel"
    return None if value is None else f"{value:.7g}"


def _network(manifest: Manifest) -> Section:
    meaning = manifest["semantics"]
    parameters = [name for name in PARAMETERS if any(name in layer for layer in meaning["layers"])]
    kinds = ["kind"] if "kind" in meaning["layers"][0] else []
    rows = [
        (
            *(layer["layer"], layer["operation"], " x ".join(map(str, layer["shape"]))),
            *(layer[name] for name in (*kinds, "reset")),
            *(_value(layer[name]) if name in layer else None for name in parameters),
        )
        for layer in meaning["layers"]
    ]
    equations = [line for text in meaning["equations"].values() if text != "none" for line in text.split("; ")]
    entering = meaning["input"]
    named: list[Words] = [(Code(name), f" is {symbol}, ") for name, symbol in meaning["states"].items()]
    facts: list[Words] = [
        f"Neurons: {meaning['neuron']}.",
        f"Input: axes {entering['layout']}; {entering['range']}; {entering['meaning']}, for {meaning['time_steps']} "
        "steps.",
        (
            "States: ",
            *named,
            "with the number of the layer in the table after the name; they start at 0. Membranes are returned "
            f"{meaning['membranes']}.",
        ),
        f"Spikes: {meaning['comparison']}.",
        f"Pooling: {meaning['pooling']}.",
        f"Answer: {meaning['readout']}; on ties {meaning['ties']}.",
        *([] if meaning["margin"] is None else [f"Unknown if that's less than {meaning['margin']:.9g} ahead."]),
        f"Axes of arrays with a time axis: {meaning['time_layout']}",
    ]
    if (names := meaning["class_names"]) != [*map(str, range(len(names)))]:
        facts.append(f"Classes: {', '.join(class_of(number, names) for number in range(len(names)))}.")
    caption = "The network's layers and equations"
    head = ("layer", "operation", "neurons (channels first)", *kinds, "reset", *parameters)
    return Section(
        "What they compute",
        (
            Listing("\n".join(equations), caption),
            *([] if "currents" in meaning["equations"] else [Paragraph("I is the layer's input current.")]),
            Table(caption, head, rows, stacks=True),
            Items(tuple(facts)),
        ),
    )


def _proof(manifest: Manifest) -> Section:
    warning = silence(manifest)
    rows: list[tuple[Cell, ...]] = [
        (Code(name), program, *_counts(figures[key]))
        for part in parts.every()
        for name in part.what
        if (figures := manifest["files"].get(name))
        for key, program in part.run_by.items()
        if key in figures
    ]
    others: list[Words] = [Code(name) for name in manifest["semantics"]["states"] if name != MEMBRANE]
    counted = (" The neurons' other states (", listed(others), ") are counted with the membranes.") if others else ""
    head = ("file", "run by", "different spikes", "different membranes", "different classes")
    text = (
        f"Each program ran whole windows of {manifest['settings']['images']:,} test images (onnx's reference evaluator "
        "fewer) from zero states, and was compared with the trained network in torch.",
        counted,
        " Weights and inputs are integer multiples of powers of two, with so few bits that their sums are exact: any "
        "order of summation, and any processor that follows IEEE 754, gives equal spikes and states. (Numbers below "
        "2^-126 count as 0, because some processors flush them.)",
    )
    table = Table("Each file against the trained network", head, rows, stacks=True)
    warned = [Paragraph(Strong(f"Warning: {warning}."))] if warning else []
    return Section("Comparison with the trained network", (*warned, table, Paragraph(text)))


def _counts(figures: Manifest) -> list[str]:
    """How many spikes, membranes and predictions differ, as "0 of 9"; "-" if none were compared."""
    pairs = [(figures[f"different_{kind}"], figures[kind]) for kind in KINDS]
    return [f"{different:,} of {count:,}" if count else "-" for different, count in pairs]


def _latency(manifest: Manifest) -> Section:
    timings, made, rows = _timings(), manifest["made"], []
    images = milliseconds_an_image(manifest)
    packed = any("dequantizing_ms" in measured for measured in manifest["latency"].values())
    for name, times in manifest["latency"].items():
        figures = (f"{times['median_ms']:.3f}", f"{times['p99_ms']:.3f}", times["calls"], f"{images[name]:.3f}")
        without = f"{times['dequantizing_ms']:.3f}" if "dequantizing_ms" in times else None
        rows.append((Code(name), timings[name].call, *figures, *[without] * packed))
    run_by = dict.fromkeys(timing.run_by(manifest) for timing in timings.values())
    head = ["file", "a call is", "median (ms)", "99th percentile (ms)", "calls", "per image, from the median (ms)"]
    head += ["median without the option (ms)"] * packed
    text = (f"On one thread of {made['cpu'] or made['system']}, batch 1: ", listed([*run_by]), ".")
    chart = charts.bars("Time per image.", list(images), list(images.values()), ("file", "ms per image"))
    table = Table("Latency of a call", head, rows, stacks=True)
    return Section("How long a call takes", (Paragraph(text), table, chart))


def milliseconds_an_image(manifest: Manifest) -> dict[str, float]:
    """Milliseconds per image for each file that runs, from the median of its calls."""
    timings, steps = _timings(), manifest["semantics"]["time_steps"]
    calls = {name: steps if timings[name].call == "one step" else 1 for name in manifest["latency"]}
    return {name: times["median_ms"] * calls[name] for name, times in manifest["latency"].items()}


def _timings() -> "dict[str, Timing]":
    return {name: part.timing for part in parts.every() if part.timing for name in part.what}


def _numbers(manifest: Manifest) -> Section:
    numbers = manifest["numbers"]
    named: list[tuple[Words, dict[str, Any]]] = [(layer["name"], layer) for layer in numbers["layers"]]
    rows: list[tuple[Cell, ...]] = [
        (
            *(name, layer["parameters"], size(layer["bytes"]), size(layer["membrane_bytes"])),
            *(layer["dense_macs_per_step"], round(layer["synaptic_operations_first_layer_once"])),
            percent(layer["density"]),
        )
        for name, layer in [*named, (Strong("total"), numbers["total"])]
    ]
    head = ("layer", "parameters", "weights", "states", "dense MACs per step", "operations per image", "spike density")
    bench = numbers["neurobench"]
    counted = bench["SynapticOperations"]
    lead = (
        f"Measured on {numbers['images']:,} test images, {numbers['time_steps']} steps each. An operation is a nonzero "
        "weight times a nonzero input; those on the image are counted once if it's constant. The spike density "
        "is the fraction of neurons that spike at a step. Bytes are for float32."
    )
    if stored := numbers["total"]["past_bytes"]:
        lead += f" Delays need another {size(stored)} for outputs of earlier steps."
    benchmark = (
        "By NeuroBench's definitions, which count the first layer at every step: "
        f"{counted['Effective_MACs']:,.0f} effective MACs and {counted['Effective_ACs']:,.0f} effective ACs per image, "
        f"out of {counted['Dense']:,} dense operations; footprint {size(bench['Footprint'])}, activation sparsity "
        f"{bench['ActivationSparsity']:.2%}, connection sparsity {bench['ConnectionSparsity']:.2%}."
    )
    table = Table("What each layer needs", head, rows, stacks=True)
    texts = (Paragraph(benchmark), Paragraph(footprint.energy_in_words(numbers["energy"])))
    return Section("What they need", (Paragraph(lead), table, *texts, *_drawn_work(manifest)))


def _drawn_work(manifest: Manifest) -> tuple[Chart, Chart]:
    layers = manifest["numbers"]["layers"]
    names = [layer["name"] for layer in layers]
    constant = manifest["semantics"]["input"]["layout"] == "N, C, H, W"  # one image, shown at every step
    groups = {
        "computed densely": [layer["dense_macs_first_layer_once"] for layer in layers],
        "with spikes": [layer["synaptic_operations_first_layer_once"] for layer in layers],
    }
    once = " Both count operations on the image once, because it's the same at every step." if constant else ""
    caption = f"Operations per image, by layer, on a logarithmic scale; the table above has the numbers.{once}"
    densities = [100 * layer["density"] for layer in layers]
    return (
        charts.dots(caption, names, groups, "operations"),
        charts.bars("Spike density by layer.", names, densities, ("neurons after", "density (%)"), number=2),
    )


def _how(manifest: Manifest) -> Section:
    """How to check a bundle."""
    isolated = coded(
        "Run this outside this folder, because Python may import from its working directory ({} prevents that). You "
        "need a clone of csnn-jax, the Python package that made this bundle, with its export extra ({}), a C compiler "
        "and make:",
        *("-I", "pip install -e '.[export]'"),
    )
    command = Listing("python -I -m export.verify BUNDLE", "How to check it")
    remakes = coded(
        "It makes every file again from {} and {}, compares it with the one in this folder, runs it, and rejects "
        "additional files. Use {} for test images other than MNIST's, which ship with csnn-jax. These commands check "
        "less, and don't detect a change if the list of hashes was changed as well:",
        *(WEIGHTS, CONFIG, "--dataset"),
    )
    hashes = "{}, or {}: the files match the list."
    onnx = "{}: the ONNX files compute the values in {} on your machine; needs only NumPy and ONNX Runtime."
    make = "{}, as above: the C program prints the same on your machine as on the maker's."
    less = [
        coded(hashes, f"sha256sum -c {SUMS}", "python -I -m export.verify BUNDLE --hashes"),
        coded(onnx, "python -I BUNDLE/check_onnx.py", "golden/"),
    ]
    if "c/" in manifest["files"]:
        less.append(coded(make, "make check"))
    return Section("Verify it", (Paragraph(isolated), command, Paragraph(remakes), Items(tuple(less))))


def _stated(manifest: Manifest) -> Section:
    """What only the maker of a bundle can know."""
    made, training = manifest["made"], manifest["training"]
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    seconds = "" if training["seconds"] is None else f" in {training['seconds']:,.0f} seconds"
    text: list[Words] = [
        f"Nothing in this folder proves these statements: that it was made {made['utc']} on "
        f"{made['cpu'] or 'an unknown processor'} ({made['system']}, {made['cores']} cores) with Python "
        f"{made['python']}, {versions}; the latencies above; that the data set was {manifest['job']['dataset']}; and "
        f"how the network was trained: {CONFIG}, and {training['iterations']:,} iterations{seconds}."
    ]
    missing: list[Words] = []  # because the trained network isn't in the bundle
    if "rounded" in manifest:
        missing.append("its accuracy before rounding")
    if "dropped" in manifest:
        answers = manifest["dropped"]["other_answers"]
        changed = f" removed, the {answers:,} answers it changed, and the trained accuracy"
        missing.append(coded(f"what {{}}{changed}", "--drop-silent"))
    if missing:
        text += [" The same is true of ", listed(missing, "; and "), ": the trained network isn't in this folder."]
    return Section("What only its maker knows", (Paragraph(tuple(text)),))
