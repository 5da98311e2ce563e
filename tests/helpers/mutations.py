"""Changes one thing in a bundle, as someone hiding a change would: all hashes are made to match."""

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import safetensors
import safetensors.numpy
from bundles import rehash
from onnx import numpy_helper
from onnx_mutations import ISO, ONNX_CHANGES, Change, Random, any_of, one_of, with_another

from export import manifest
from export.c import program
from export.proof import statements
from export.report import text

NIR = ("network.nir", "network_norse.nir", "network_sinabs.nir", "network_spikingjelly.nir")


def mutate(folder: Path, number: int) -> str:
    """Makes change `number` in a bundle and updates hashes and reports; returns a description."""
    change = CHANGES[number % len(CHANGES)]
    what = change(folder, np.random.default_rng(number))
    if change not in LAST:
        rehash(folder)
    return f"{number} {change.__name__.strip('_')}: {what}"


def _nir_value(folder: Path, random: Random) -> str:
    path, values = folder / one_of(random, NIR), []
    with h5py.File(path, "r+") as file:
        file.visititems(lambda _, item: values.append(item) if isinstance(item, h5py.Dataset) else None)
        chosen = one_of(random, [item for item in values if item.dtype.kind in "fi" and item.size])
        chosen[...], at = with_another(chosen[()], random)
        return f"{path.name}: {chosen.name}[{at}]"


def _nir_object(folder: Path, random: Random) -> str:
    path = folder / one_of(random, NIR)
    with h5py.File(path, "r+") as file:
        nodes = file["node/nodes"]
        weight = f"{next(name for name in nodes if name.endswith('linear'))}/weight"
        bomb = {"shape": (1000, 100_000), "dtype": "f4", "chunks": True, "compression": "gzip"}
        kind_of = f"{next(iter(nodes))}/type"
        kind = any_of(
            random,
            dataset=lambda: file.create_dataset("node/more", data=np.arange(9)),
            group=lambda: file.create_group("node/nodes/more"),
            attribute=lambda: file["node"].attrs.create("certified", ISO),
            external=lambda: file.__setitem__("more", h5py.ExternalLink("/etc/passwd", "/")),
            soft=lambda: file.__setitem__("more", h5py.SoftLink("/node")),
            bomb=lambda: (nodes.__delitem__(weight), nodes.create_dataset(weight, **bomb)),
            text=lambda: (nodes.__delitem__(kind_of), nodes.__setitem__(kind_of, b"Linear")),
        )
    return f"{path.name}: {kind}"


BYTES = (
    *(f"c/{name}" for name in program.FILES),
    "check_onnx.py",
    *(f"golden/{name}" for name in ("images.safetensors", "c/samples.bin", "c/expected.txt")),
)


def _byte(folder: Path, random: Random) -> str:
    """Changes the second half of a file, because the header of a safetensors file may have unused bytes."""
    path = folder / one_of(random, BYTES)
    content = path.read_bytes()
    at = len(content) - 1 - int(random.integers(len(content) // 2))
    path.write_bytes(content[:at] + bytes([content[at] ^ 1 << int(random.integers(7))]) + content[at + 1 :])
    return f"{path.name}: byte {at}"


def _golden(folder: Path, random: Random) -> str:
    path = one_of(random, sorted((folder / "golden").rglob("*.pb")))
    tensor = onnx.load_tensor(path)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[int(random.integers(values.size))] += random.integers(3) > 0
    tensor = numpy_helper.from_array(values, tensor.name)
    tensor.doc_string = "" if (values != numpy_helper.to_array(onnx.load_tensor(path))).any() else "certified"
    path.write_bytes(tensor.SerializeToString())
    return path.relative_to(folder).as_posix()


def _report(folder: Path, random: Random) -> str:
    path = folder / one_of(random, ("report.html", "report.md"))
    content = path.read_text()
    at = len(content) - 1 - int(random.integers(min(len(content), 2000)))
    generator = re.sub(r'content="csnn-jax export [^"]*"', 'content="csnn-jax with plotly 1<script>"', content, count=1)
    changed = generator if random.integers(2) else content
    path.write_text(content[:at] + "x" + content[at:] if changed == content else changed)
    return f"{path.name}: a letter at {at}, or the generator"


def _extra(folder: Path, random: Random) -> str:
    links = {"step_b1.onnx": "step.onnx", "etc": "/etc"}
    kind = one_of(random, ["numpy.py", "c/GNUmakefile", "golden/step/more.pb", "empty/", *links])
    if kind in links:
        (folder / kind).unlink(missing_ok=True)
        (folder / kind).symlink_to(links[kind])
    elif kind.endswith("/"):
        (folder / kind).mkdir()
    else:
        (folder / kind).write_text("")
    return kind


def _manifest(folder: Path, random: Random) -> str:
    """Changes, adds or removes anything in the results; the reports are made to match."""
    recorded = json.loads((folder / "manifest.json").read_text())
    places = [("results", *place) for place in _places(recorded["results"])]
    *place, name = one_of(random, places)
    inside: Any = recorded
    for one in place:
        inside = inside[one]
    kind = one_of(random, ["changed", "removed", "added"]) if isinstance(inside, dict) else "changed"
    if kind == "removed":
        del inside[name]
    elif kind == "added":
        inside["certified"] = ISO
    else:
        inside[name] = _other_json(inside[name])
    fit(folder, recorded)
    return f"{'.'.join(map(str, (*place, name)))} {kind}"


def _statement(folder: Path, random: Random) -> str:
    """Changes a statement of the maker to a form that `export` doesn't write, or adds one."""
    recorded = json.loads((folder / "manifest.json").read_text())
    entry = one_of(random, ["made", "training", "data", "settings", "latency"])
    kind = one_of(random, ["free key", "type", "removed"])
    stated = recorded["statements"][entry]
    name = one_of(random, sorted(stated))
    if kind == "removed":
        del stated[name]
    else:
        stated |= {"certified": ISO} if kind == "free key" else {name: {"\x1b[31m": [1]}}
    fit(folder, recorded)
    return f"{entry}.{name} {kind}"


def _contradiction(folder: Path, random: Random) -> str:
    """Makes statements that other files contradict."""
    recorded = json.loads((folder / "manifest.json").read_text())
    stated, counts = recorded["statements"], {"training_images": 60000, "fired_on": 0, "other_answers": 0}
    hidden, parameters = statements.hidden_channels(recorded["results"]), 10**6
    contradictions: list[tuple[str, str, Any]] = [
        *(("settings", "opset", 18), ("settings", "images", 9999), ("settings", "time_steps", 5)),
        ("settings", "prefix", "other"),
        *(("settings", "drop_silent", True), ("settings", "weight_bits", 7), ("training", "dtype", "float16")),
        *(("rounded", "", {"accuracy": 2}), ("rounded", "", {"accuracy": 0.5})),
        *(("data", "test_images", 9999), ("data", "split", "validation")),
        ("dropped", "", counts | {"channels": {"conv1": 32}, "parameters": parameters}),
        ("dropped", "", counts | {"channels": hidden, "parameters": 9}),
        ("dropped", "", counts | {"channels": hidden, "parameters": parameters, "fired_on": 10**5}),
    ]
    entry, name, value = one_of(random, contradictions)
    stated[entry] = stated[entry] | {name: value} if name else value
    fit(folder, recorded)
    return f"{entry} {name}"


def _spelling(folder: Path, random: Random) -> str:
    """Changes the text of the manifest or configuration: a duplicate key, different spaces, or an extra key."""
    path = folder / one_of(random, ["manifest.json", "config.json"])
    content = path.read_text()
    first = f'"schema_version": {json.loads(content)["schema_version"]},'
    kind = one_of(random, ["twice", "spaces", "key"])
    more = first + (first if kind == "twice" else '"certified": true,')
    path.write_text(content.replace("\n", "\n ") if kind == "spaces" else content.replace(first, more, 1))
    if path.name == "manifest.json":
        (folder / "SHA256SUMS").write_bytes(manifest._sums(manifest._listed(folder, json.loads(content))))
    else:
        rehash(folder)
    return f"{path.name} {kind}"


def _configuration(folder: Path, random: Random) -> str:
    """Changes what the network computes, in config.json alone."""
    path = folder / "config.json"
    job = json.loads(path.read_text())
    changes = [("beta", 0.6), ("threshold", 1.1), ("reset", "none"), ("time_steps", 5), ("scale", 2.0)]
    name, job["model"][name] = one_of(random, changes)
    path.write_text(json.dumps(job, indent=2))
    return name


def _weights(folder: Path, random: Random) -> str:
    path = folder / "weights.safetensors"
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    tensors = safetensors.numpy.load_file(path)
    value = tensors[one_of(random, sorted(tensors))].reshape(-1)
    kind = any_of(
        random,
        value=lambda: value.__setitem__(0, value[0] + 0.5),
        metadata=lambda: metadata.__setitem__("certified", ISO),
        tensor=lambda: tensors.__setitem__("more", np.zeros(3, np.float32)),
    )
    path.write_bytes(safetensors.numpy.save(tensors, metadata))
    return kind


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every entry of a JSON object, including nested ones."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for name, one in inside for path in ((*place, name), *_places(one, (*place, name)))]


def _other_json(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return value * 2 + 1
    return f"{value} (certified)" if isinstance(value, str) else {"certified": value}


def fit(folder: Path, recorded: dict[str, Any]) -> None:
    """Writes a manifest with matching hashes, and matching reports if possible."""
    recorded["hashes"] = manifest.hash_files(folder)
    manifest.write(folder, recorded)
    try:
        for name, render in (("report.html", text.page), ("report.md", text.render)):
            (folder / name).write_text(render(recorded))
            recorded["hashes"] |= {name: manifest.hash_files(folder)[name]}
    except Exception:
        pass  # no report can be made from this manifest
    manifest.write(folder, recorded)


LAST: tuple[Change, ...] = (_manifest, _statement, _contradiction, _spelling)
"""Changes that write the manifest themselves."""
CHANGES: tuple[Change, ...] = (
    *ONNX_CHANGES,
    *(_nir_value, _nir_object, _byte, _byte, _golden),
    *(_report, _report, _extra, _manifest, _statement, _contradiction, _spelling, _configuration, _weights),
)
