"""report.md: a bundle explained to whoever deploys it and has not read our code; rendered from the manifest alone."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from export.manifest import Manifest
from export.report.snippets import snippets

NAME = "report.md"
WHAT = {
    "step.onnx": "one time step in plain ONNX operators, any batch: (image, membranes) -> (spikes, membranes)",
    "step_b1.onnx": "the same with every shape fixed and a batch of one, for tool chains that need that",
    "step_lif.onnx": "the same with each layer of neurons as one node `csnn::LIF`, an ONNX function",
    "sequence.onnx": "the whole window in one call, the time loop inside: image -> (spike counts, spikes), any batch",
    "step_int8.onnx": "one time step with int8 weights (QDQ), membranes in float; approximate",
    "network.nir": "the network in the Neuromorphic Intermediate Representation, for nir 1.0.8 and later",
    "network_nir104.nir": "the same for readers that need nir 1.0.4 or older",
    "c/": "a C99 program and library with no dependency; `make -C c` builds it, `c/csnn.h` explains it",
    "golden/": "inputs and outputs for real test images, in the layout of ONNX's backend tests",
    "weights.safetensors": "the parameters in torch's names and layouts; the model's configuration in its metadata",
    "config.json": "the training job",
    "manifest.json": "all that this report says and more, for a program to read, with the SHA-256 of every file",
    "manifest.sha256": "the SHA-256 of manifest.json (`sha256sum -c manifest.sha256`)",
}


def render(manifest: Manifest) -> str:
    """The whole report as Markdown. Of the files in the manifest, its own entry is not looked at."""
    parts = [_title, _files, _call, _network, _proof, _latency, _numbers, _targets, _verify]
    return "\n\n".join(part(manifest) for part in parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; numbers are shown with thousands separated, None as a dash."""
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def size(count: int) -> str:
    """A number of bytes for a reader."""
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def percent(share: float | None) -> str:
    """A share of 0 to 1 for a reader."""
    return "-" if share is None else f"{share:.2%}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def _title(manifest: Manifest) -> str:
    training, data, settings = manifest["training"], manifest["data"], manifest["settings"]
    lines = [
        f"# A spiking network for {data['dataset']}, ready to deploy",
        f"A convolutional spiking neural network (CSNN) with {len(manifest['semantics']['layers'])} layers of leaky "
        f"integrate-and-fire neurons, trained for {training['iterations']:,} iterations (seed {training['seed']}). "
        f"After training it classified {percent(training['accuracy'])} of the test images right. This folder holds it "
        f"in several forms. Each was compared with the trained network in torch on {settings['images']:,} test images "
        f"over {manifest['semantics']['time_steps']} time steps before the folder was made.",
    ]
    if settings["quick"]:
        lines.append(
            f"**Made with `--quick`**: spikes were compared and accuracies measured on {settings['accuracy_images']} "
            f"images only. Make the bundle without it before relying on the figures below."
        )
    if manifest["nir"]["reason"]:
        lines.append(f"There is no NIR file: {manifest['nir']['reason']}.")
    return "\n\n".join(lines)


def _files(manifest: Manifest) -> str:
    sizes = _sizes(manifest["files"])
    accuracy = {name: proof.get("accuracy") for name, proof in manifest["proof"].items()}
    accuracy["weights.safetensors"] = None  # no program
    rows = []
    for name, what in WHAT.items():
        if name in sizes or name.startswith("manifest"):
            rows.append((f"`{name}`", what, sizes.get(name), percent(accuracy.get(name))))
    images = manifest["settings"]["accuracy_images"]
    note = f"Accuracy is measured on {images:,} test images, for each file by running that file."
    files = table(("file", "what", "size", "accuracy"), rows)
    return f"{_which(manifest)}\n\n## The files\n\n{files}\n\n{note} {_int8(manifest['proof'])}"


def _which(manifest: Manifest) -> str:
    """Which file suits whom."""
    flash, ram = (size(count) for count in manifest["proof"]["c/"]["memory"].values())
    rows = [
        ("a program that classifies whole windows in ONNX Runtime", "`sequence.onnx`"),
        ("a stream: you present a frame, and keep the state, at every step", "`step.onnx`"),
        ("a compiler of models that wants fixed shapes (TVM, ONNX-to-C, ...)", "`step_b1.onnx`"),
        ("an engine that computes in int8", "`step_int8.onnx`, within the accuracy below"),
        (f"a bare device with {flash} of flash and {ram} of RAM to spare", "`c/`"),
        (
            "neuromorphic hardware or its simulator",
            "`network.nir`" if manifest["nir"]["written"] else "none, see above",
        ),
        ("a tool of your own that looks for neurons in a graph", "`step_lif.onnx`"),
        ("a port to test", "`golden/`"),
    ]
    return f"## Which one to take\n\n{table(('you have', 'take'), rows)}"


def _int8(proof: dict[str, Any]) -> str:
    lost = 100 * (proof["step.onnx"]["accuracy"] - proof["step_int8.onnx"]["accuracy"])
    compared = f"{abs(lost):.2f} points {'worse' if lost > 0 else 'better'} than" if lost else "as accurate as"
    text = (
        f"`step_int8.onnx` is {compared} `step.onnx`. It was made "
        "with ONNX Runtime's static quantisation: int8 weights with a scale per output channel, images and spikes "
        "exact, the range of what leaves a convolution or matrix product the widest seen on 64 training images"
    )
    if lost <= 0.5:
        return f"{text}."
    return f"{text}. More than 0.5 points are lost: that was tried, training with quantised weights was not."


def _sizes(files: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Size of every file, and of the folders c/ and golden/ with their number of files."""
    sizes = {name: size(entry["bytes"]) for name, entry in files.items() if "/" not in name}
    for folder in ("c/", "golden/"):
        inside = [entry["bytes"] for name, entry in files.items() if name.startswith(folder)]
        sizes[folder] = f"{size(sum(inside))} ({len(inside)} files)"
    return sizes


def _call(manifest: Manifest) -> str:
    step, sequence = snippets(manifest["semantics"])
    first = manifest["proof"]["golden/"]["first"]
    counts = " ".join(map(str, first["counts"]))
    return f"""\
## How to call them

With ONNX Runtime and NumPy alone (`pip install onnxruntime numpy`), in this folder. One time step at a time; the
membranes go in and come out:

<!-- step -->
```python
{step}
```

Class and spike counts of the first test image, a {first["label"]}, are to be: {first["class"]}, [{counts}].

The whole window in one call:

<!-- sequence -->
```python
{sequence}
```

In C: `mkdir /tmp/csnn && make -C c BUILD=/tmp/csnn` (anywhere but in this folder, for verification counts a file too
many as a difference), then `/tmp/csnn/csnn FILE`. FILE holds raw samples one after another,
{_sample(manifest["semantics"])}; for each the class and the spike counts are printed.

To test a port: `golden/step/test_data_set_0`, `_1`, ... are consecutive calls of a step. `input_0.pb` and `output_0.pb`
are image and spikes, the further ones the membranes before and after, each an `onnx.TensorProto`. The sets of
`golden/sequence` are whole windows: `input_0.pb` the image, `output_0.pb` and `output_1.pb` spike counts and spikes.
Expect the same spikes, and membranes within 1e-5 (1 + |U|).\
{_nir(manifest)}"""


def _nir(manifest: Manifest) -> str:
    if not manifest["nir"]["written"]:
        return ""
    return f"""

`network.nir` is for a reader with a time step of 1e-4 s: its LIF, by Euler's method, then multiplies a membrane by beta
at every step. Present {manifest["semantics"]["input"]["meaning"]}, for {manifest["semantics"]["time_steps"]} steps. NIR
resets a neuron in the step of its spike, not at the start of the next as written below: the spikes are the same, a
membrane read after a spike is not."""


def _sample(semantics: dict[str, Any]) -> str:
    channels, height, width = semantics["input"]["shape"]
    frame = f"{height} x {width} x {channels} bytes (height, width, channels)"
    if semantics["input"]["layout"] == "N, C, H, W":
        return frame
    return f"{semantics['time_steps']} frames of {frame} each"


def _network(manifest: Manifest) -> str:
    meaning = manifest["semantics"]
    rows = [
        (one["layer"], " x ".join(map(str, one["shape"])), f"{one['beta']:.7g}", f"{one['threshold']:.7g}")
        for one in meaning["layers"]
    ]
    equations = "\n".join(f"    {line}" for line in meaning["equations"].values() if line != "none")
    given = meaning["input"]
    facts = [
        f"Input: axes {given['layout']}; {given['range']}; {given['meaning']}, for {meaning['time_steps']} steps.",
        f"Membranes start at 0. They are handed out {meaning['membranes']}.",
        f"Spikes: {meaning['comparison']}.",
        f"Pooling: {meaning['pooling']}.",
        f"Answer: {meaning['readout']}; on ties {meaning['ties']}.",
        f"Axes of what has a time: {meaning['time_layout']}",
    ]
    layers = table(("layer", "neurons (channels first)", "beta", "threshold"), rows)
    listed = "\n".join(f"- {fact}" for fact in facts)
    return f"## What they compute\n\n{equations}\n\nI is the layer's input current.\n\n{layers}\n\n{listed}"


def _proof(manifest: Manifest) -> str:
    rows = [row for name, proof in manifest["proof"].items() for row in _comparisons(name, proof)]
    head = ("file", "run by", "compared with", "different spikes", "of", "membranes off", "largest difference")
    return f"""\
## How equal they are

{table(head, rows)}

Spikes are compared in whole windows, each program going on from its own membranes. Membranes are compared step by
step, from torch's of the step before; rounding makes them differ, and "off" are those that differ by more than 1e-5
(1 + |U|), the unit of the largest difference. A spike may differ only where its membrane is that near its threshold;
`manifest.json` lists each that does."""


def _comparisons(name: str, proof: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    runs = {
        "csnn_jax": ("csnn_jax", "step.onnx"),
        "onnxruntime": ("ONNX Runtime", "torch"),
        "reference_evaluator": ("onnx's reference evaluator", "torch"),
        "library": ("compiled", "torch"),
    }
    for key, (who, against) in runs.items():
        if key in proof:
            free, step = proof[key].get("free_running", proof[key]), proof[key].get("stepwise", {})
            different = free["different_output_spikes"] + free["different_hidden_spikes"]
            total = free["output_spikes"] + free["hidden_spikes"]
            largest = f"{step['max_difference']:.1e}" if step else None
            yield f"`{name}`", who, against, different, total, step.get("beyond_limit"), largest
    if "snntorch" in proof:
        yield (
            f"`{name}`",
            "snnTorch",
            "torch",
            proof["snntorch"]["different_spikes"],
            proof["snntorch"]["spikes"],
            None,
            None,
        )
    if "loop_over_step" in proof:
        loop = proof["loop_over_step"]
        yield f"`{name}`", "ONNX Runtime", "a loop over step.onnx", loop["different_spikes"], loop["spikes"], None, None


def _latency(manifest: Manifest) -> str:
    steps, whole = manifest["semantics"]["time_steps"], ("sequence.onnx", "c/")
    rows = [
        (
            f"`{name}`",
            "whole window" if name in whole else "one step",
            f"{one['median_ms']:.3f}",
            f"{one['p99_ms']:.3f}",
            one["calls"],
            f"{one['median_ms'] * (1 if name in whole else steps):.1f}",
        )
        for name, one in manifest["latency"].items()
    ]
    made = manifest["made"]
    head = ("file", "a call is", "median (ms)", "99th percentile (ms)", "calls", "an image, by the median (ms)")
    return f"""\
## How long a call takes

On one thread of {made["cpu"] or made["system"]}, batch 1: the ONNX files in ONNX Runtime
{made["versions"]["onnxruntime"]}, `c/` as `make` builds it, which visits only the spikes.

{table(head, rows)}"""


def _numbers(manifest: Manifest) -> str:
    numbers, energy = manifest["numbers"], manifest["numbers"]["energy"]
    rows = [_layer(one["name"], one) for one in numbers["layers"]] + [_layer("**total**", numbers["total"])]
    head = ("layer", "parameters", "weights", "membranes", "dense MACs a step", "operations an image", "spike density")
    counted, memory = numbers["neurobench"]["SynapticOperations"], manifest["proof"]["c/"]["memory"]
    return f"""\
## What they need

Measured on {numbers["images"]:,} test images, {numbers["time_steps"]} steps each. An operation is a weight that is not
0 meeting an input that is not 0; the first layer's are counted once where the image is held. The spike density is the
share of neurons that spike at a step. Bytes are those of float32.

{table(head, rows)}

By NeuroBench's definitions, which count the first layer at every step: {counted["Effective_MACs"]:,.0f} effective MACs
and {counted["Effective_ACs"]:,.0f} effective ACs an image, of {counted["Dense"]:,} dense operations; footprint
{size(numbers["neurobench"]["Footprint"])}, activation sparsity {numbers["neurobench"]["ActivationSparsity"]:.2%},
connection sparsity {numbers["neurobench"]["ConnectionSparsity"]:.2%}.

`c/` takes {memory["constant_bytes"]:,} bytes of constants (weights and biases) and {memory["state_bytes"]:,} bytes of
memory that changes.

Energy per image: {energy["synapses_nj"] + energy["neurons_nj"]:,.0f} nJ, of which synapses
{energy["synapses_nj"]:,.0f} nJ and neurons {energy["neurons_nj"]:,.0f} nJ; computed densely it would be
{energy["dense_nj"]:,.0f} nJ. Formula: {energy["formula"]}. Source: {energy["source"]}."""


def _layer(name: str, one: dict[str, Any]) -> tuple[Any, ...]:
    dense, done = one["dense_macs_per_step"], round(one["synaptic_operations_first_layer_once"])
    return (
        name,
        one["parameters"],
        size(one["bytes"]),
        size(one["membrane_bytes"]),
        dense,
        done,
        percent(one["density"]),
    )


def _targets(manifest: Manifest) -> str:
    no_nir = manifest["nir"]["reason"]
    rows = [(one["name"], one["files"], one["fit"], _reason(one, no_nir), one["tried"]) for one in manifest["targets"]]
    head = ("target", "files", "fit", "why", "tried")
    return f"""\
## Where they run

Exact: the same spikes. Approximate: it runs, with other numbers. "Tried" names the output of a run of that tool, in the
repository that this bundle was made with.

{table(head, rows)}"""


def _reason(target: dict[str, Any], no_nir: str | None) -> str:
    reason = target["reason"].replace(no_nir, "there is no NIR file (see the top)") if no_nir else target["reason"]
    return f"{reason} ([source]({target['source']}))" if target["source"] else reason


def _verify(manifest: Manifest) -> str:
    made = manifest["made"]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    return f"""\
## Check it again

That nothing was changed, by hashes alone: `sha256sum -c manifest.sha256`; manifest.json has those of all other files.
That the files compute what is said here, in a clone of csnn, the repository that this bundle was made with:

    pip install -e '.[export]'
    python -m export.verify BUNDLE

works everything out anew from this folder alone (a C compiler and make are needed), but for what only the making of it
could tell: the date, the versions, and the latencies, which are measured again and shown side by side.

Made {made["utc"]} with Python {made["python"]} on {made["system"]}, {versions}."""
