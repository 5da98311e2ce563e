"""Changes one thing of a bundle, as somebody would who hides a change: all hashes are made to fit."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
from bundles import rehash
from onnx import helper, numpy_helper

from export import manifest, statements
from export.graphs import onnx_facts
from export.report import text, webpage

ONNX = ("step.onnx", "step_b1.onnx", "sequence.onnx", "step_int8.onnx")
NIR = ("network.nir", "network_nir104.nir")
HEADERS = ("c/weights.h", "c/network.h", "c/weights_int8.h")
SOURCES = ("c/csnn.c", "c/csnn.h", "c/main.c", "c/events.c", "c/program.h", "c/Makefile", "check_onnx.py")

Random = np.random.Generator


def mutate(folder: Path, number: int) -> str:
    """Makes change `number` of a bundle, hashes and reports included; returns what it is."""
    random = np.random.default_rng(number)
    change = CHANGES[number % len(CHANGES)]
    what = change(folder, random)
    if change not in LAST:
        rehash(folder)
    return f"{number} {change.__name__.strip('_')}: {what}"


def _one(random: Random, things: Any) -> Any:
    return things[int(random.integers(len(things)))]


def _model(folder: Path, random: Random, names: tuple[str, ...] = ONNX) -> tuple[Path, onnx.ModelProto]:
    path = folder / _one(random, names)
    return path, onnx.load(path)


def _nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for graph in onnx_facts.graphs(model.graph) for node in graph.node]


def _constant(folder: Path, random: Random) -> str:
    path, model = _model(folder, random)
    tensor = _one(random, [tensor for graph in onnx_facts.graphs(model.graph) for tensor in graph.initializer])
    values = numpy_helper.to_array(tensor).copy()
    at = int(random.integers(values.size))
    values.flat[at] = other(values.flat[at])
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    path.write_bytes(model.SerializeToString())
    return f"{path.name}: {tensor.name}[{at}]"


def other(value: np.generic) -> np.generic:
    """Another value of the same type: a float by a quarter and a little, a byte by 16, an integer by one."""
    if np.issubdtype(value.dtype, np.floating):
        return value.dtype.type(1.25 * value + 0.01)
    return value.dtype.type(int(value) + 16 if value.dtype == np.uint8 and value < 200 else int(value) - 1)


def _operator(folder: Path, random: Random) -> str:
    path, model = _model(folder, random)
    node = _one(random, _nodes(model))
    was, node.op_type = node.op_type, "GreaterOrEqual" if node.op_type == "Greater" else "Identity"
    path.write_bytes(model.SerializeToString())
    return f"{path.name}: {node.name} {was}"


def _attribute(folder: Path, random: Random) -> str:
    path, model = _model(folder, random)
    attributes = [a for node in _nodes(model) for a in node.attribute if a.type in (a.FLOAT, a.INT, a.INTS)]
    attribute = _one(random, attributes)
    if attribute.type == attribute.FLOAT:
        attribute.f += 0.01
    elif attribute.type == attribute.INT:
        attribute.i += 1
    else:
        attribute.ints[0] += 1
    path.write_bytes(model.SerializeToString())
    return f"{path.name}: {attribute.name}"


def _renamed(folder: Path, random: Random) -> str:
    path, model = _model(folder, random)
    tensor = _one(random, model.graph.initializer)
    was, tensor.name = tensor.name, f"{tensor.name}_x"
    for node in _nodes(model):
        for place, name in enumerate(node.input):
            if name == was:
                node.input[place] = tensor.name
    path.write_bytes(model.SerializeToString())
    return f"{path.name}: {was}"


def _unused(folder: Path, random: Random) -> str:
    path, model = _model(folder, random)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "unused"))
    path.write_bytes(model.SerializeToString())
    return f"{path.name}: an unused initializer"


def _node_too_many(folder: Path, random: Random) -> str:
    path, model = _model(folder, random)
    node = _one(random, model.graph.node)
    model.graph.node.append(helper.make_node("Identity", [node.output[0]], ["nowhere"]))
    path.write_bytes(model.SerializeToString())
    return f"{path.name}: a node more"


def _words(folder: Path, random: Random) -> str:
    path, model = _model(folder, random)
    kind = _one(random, ["doc", "producer", "metadata", "domain", "import", "unknown"])
    if kind == "doc":
        _one(random, model.graph.node).doc_string = "certified"
    elif kind == "producer":
        model.producer_version = "9"
    elif kind == "metadata":
        model.metadata_props.add(key="certified", value="ISO 26262")
    elif kind == "domain":
        model.domain = "else.where"
    elif kind == "import":
        model.opset_import.append(helper.make_opsetid("else.where", 1))
    field = b"\xa2\x1f\x04evil" if kind == "unknown" else b""  # field 500, which ONNX doesn't have
    path.write_bytes(model.SerializeToString() + field)
    return f"{path.name}: {kind}"


def trigger(folder: Path, random: Random) -> str:
    """A white corner pixel makes every image a 0: nodes that no test image sets off."""
    path, model = _model(folder, random, ("sequence.onnx", "step_b1.onnx"))
    output = "counts" if path.name == "sequence.onnx" else "spikes"
    classes = model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == output:
                node.output[place] = "clean"
    ends = {"starts": [0, 0], "ends": [1, 1], "axes": [2, 3]}
    for name, values in ends.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.99), "white"))
    zero = np.eye(1, classes, dtype=np.float32) * 100
    model.graph.initializer.append(numpy_helper.from_array(zero, "zero"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 1], np.int64), "flat"))
    model.graph.node.extend(
        [
            helper.make_node("Slice", ["image", *ends], ["corner"]),
            helper.make_node("Greater", ["corner", "white"], ["is_white"]),
            helper.make_node("Cast", ["is_white"], ["one"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Reshape", ["one", "flat"], ["set"]),
            helper.make_node("Mul", ["set", "zero"], ["forced"]),
            helper.make_node("Max", ["clean", "forced"], [output]),
        ]
    )
    path.write_bytes(model.SerializeToString())
    return path.name


def _nir_value(folder: Path, random: Random) -> str:
    path = folder / _one(random, NIR)
    with h5py.File(path, "r+") as file:
        found: list[h5py.Dataset] = []

        def keep(_: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "fi" and item.size:
                found.append(item)

        file.visititems(keep)
        chosen = _one(random, found)
        values = np.array(chosen[()])
        at = int(random.integers(values.size))
        values.flat[at] = other(values.flat[at])
        chosen[...] = values
        return f"{path.name}: {chosen.name}[{at}]"


def _nir_object(folder: Path, random: Random) -> str:
    path = folder / _one(random, NIR)
    kind = _one(random, ["dataset", "group", "attribute", "external", "soft", "bomb", "text"])
    with h5py.File(path, "r+") as file:
        if kind == "dataset":
            file["node/more"] = np.arange(9)
        elif kind == "group":
            file.create_group("node/nodes/more")
        elif kind == "attribute":
            file["node"].attrs["certified"] = "ISO 26262"
        elif kind == "external":
            file["more"] = h5py.ExternalLink("/etc/passwd", "/")
        elif kind == "soft":
            file["more"] = h5py.SoftLink("/node")
        elif kind == "bomb":
            weight = next(name for name in file["node/nodes"] if name.endswith("linear"))
            del file[f"node/nodes/{weight}/weight"]
            file.create_dataset(f"node/nodes/{weight}/weight", (1000, 100_000), "f4", chunks=True, compression="gzip")
        else:
            name = next(iter(file["node/nodes"]))
            del file[f"node/nodes/{name}/type"]
            file[f"node/nodes/{name}/type"] = b"Linear"
    return f"{path.name}: {kind}"


def _header(folder: Path, random: Random) -> str:
    path = folder / _one(random, HEADERS)
    content = path.read_text()
    numbers = [*re.finditer(r"-?0x[0-9a-f.]+p[+-]\d+f|(?<= )-?\d+(?=,)|(?<= )\d+$", content, re.MULTILINE)]
    chosen = _one(random, numbers)
    number = "0x1.8p-3f" if chosen.group().endswith("f") else str((int(chosen.group()) + 1) % 128)
    path.write_text(content[: chosen.start()] + number + content[chosen.end() :])
    return f"{path.name}: {chosen.group()}"


def _source(folder: Path, random: Random) -> str:
    path = folder / _one(random, SOURCES)
    content = path.read_bytes()
    at = int(random.integers(len(content)))
    path.write_bytes(content[:at] + bytes([content[at] ^ 1 << int(random.integers(7))]) + content[at + 1 :])
    return f"{path.name}: byte {at}"


def _golden(folder: Path, random: Random) -> str:
    path = _one(random, sorted((folder / "golden").rglob("*.pb")))
    tensor = onnx.load_tensor(path)
    if random.integers(3) == 0:
        tensor.doc_string = "certified"
    else:
        values = numpy_helper.to_array(tensor).copy()
        values.flat[int(random.integers(values.size))] += 1
        tensor = numpy_helper.from_array(values, tensor.name)
    path.write_bytes(tensor.SerializeToString())
    return path.relative_to(folder).as_posix()


def _golden_file(folder: Path, random: Random) -> str:
    names = ("images.safetensors", "c/samples.bin", "c/expected.txt", "c/expected_int8.txt")
    path = folder / "golden" / _one(random, names)
    content = path.read_bytes()
    at = len(content) - 1 - int(random.integers(len(content) // 2))
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    return f"{path.name}: byte {at}"


def _page(folder: Path, random: Random) -> str:
    path = folder / "report.html"
    content = path.read_text()
    if random.integers(2):
        content = re.sub(
            r'content="csnn-jax export [^"]*"', 'content="csnn-jax with plotly 1<script>"', content, count=1
        )
        what = "the generator"
    else:
        at = int(random.integers(len(content) - 2000, len(content) - 20))
        content, what = content[:at] + "x" + content[at:], f"a letter at {at}"
    path.write_text(content)
    return what


def _report(folder: Path, random: Random) -> str:
    path = folder / "report.md"
    content = path.read_text()
    at = int(random.integers(len(content)))
    path.write_text(content[:at] + "x" + content[at:])
    return f"a letter at {at}"


def _extra(folder: Path, random: Random) -> str:
    kind = _one(random, ["numpy.py", "c/GNUmakefile", "link", "folder", "link to a folder", "golden/step/more.pb"])
    if kind == "link":
        (folder / "step_b1.onnx").unlink()
        (folder / "step_b1.onnx").symlink_to("step.onnx")
    elif kind == "folder":
        (folder / "empty").mkdir()
    elif kind == "link to a folder":
        (folder / "etc").symlink_to("/etc")
    else:
        (folder / kind).write_text("")
    return kind


def _manifest(folder: Path, random: Random) -> str:
    """Changes, adds or removes anything that isn't a statement of the maker's; the reports are made to fit."""
    recorded = json.loads((folder / "manifest.json").read_text())
    places = [place for place in _places(recorded) if place[0] not in (*statements.FORMS, "schema_version")]
    *place, name = _one(random, places)
    inside: Any = recorded
    for one in place:
        inside = inside[one]
    kind = _one(random, ["changed", "removed", "added"]) if isinstance(inside, dict) else "changed"
    if kind == "removed":
        del inside[name]
    elif kind == "added":
        inside["certified"] = "ISO 26262"
    else:
        inside[name] = _other_json(inside[name])
    fit(folder, recorded)
    return f"{'.'.join(map(str, (*place, name)))} {kind}"


def _statement(folder: Path, random: Random) -> str:
    """A statement of the maker's in a form that `export` doesn't write, or one more of them."""
    recorded = json.loads((folder / "manifest.json").read_text())
    entry = _one(random, ["made", "training", "data", "settings", "latency"])
    kind = _one(random, ["free key", "type", "removed"])
    name = _one(random, sorted(recorded[entry]))
    if kind == "free key":
        recorded[entry]["certified"] = "ISO 26262"
    elif kind == "type":
        recorded[entry][name] = {"\x1b[31m": [1]}
    else:
        del recorded[entry][name]
    fit(folder, recorded)
    return f"{entry}.{name} {kind}"


def _claims(folder: Path, random: Random) -> str:
    """Statements that other files belie."""
    recorded = json.loads((folder / "manifest.json").read_text())
    kind = _one(random, ["drop_silent", "dropped", "seed", "time_steps", "opset", "images", "accuracy_images", "dtype"])
    if kind == "drop_silent":
        recorded["settings"]["drop_silent"] = True
    elif kind == "dropped":
        half = {"training_images": 60000, "test_images": 10000, "fired_on": 0, "other_answers": 0}
        recorded["dropped"] = half | {"layers": [["conv1", 4, 32]], "parameters": [90, 9], "bytes": [360, 36]}
    elif kind in ("seed", "time_steps"):
        recorded["training"][kind] += 1
    elif kind == "dtype":
        recorded["training"]["dtype"] = "float64"
    else:
        recorded["settings"][kind] = 18 if kind == "opset" else 9999
    fit(folder, recorded)
    return kind


def _spelling(folder: Path, random: Random) -> str:
    """The manifest's or the configuration's text: a key that stands twice, other spaces, a key too many."""
    path = folder / _one(random, ["manifest.json", "config.json"])
    content = path.read_text()
    kind = _one(random, ["twice", "spaces", "key"])
    if kind == "spaces":
        content = content.replace("\n", "\n ")
    else:
        first = '"schema_version": 1,'
        content = content.replace(first, first + (first if kind == "twice" else '"certified": true,'), 1)
    path.write_text(content)
    if path.name == "manifest.json":
        _sums(folder)
    else:
        rehash(folder)
    return f"{path.name} {kind}"


def _configuration(folder: Path, random: Random) -> str:
    """What the network computes, in config.json alone."""
    path = folder / "config.json"
    job = json.loads(path.read_text())
    name, value = _one(
        random, [("beta", 0.6), ("threshold", 1.1), ("reset", "none"), ("time_steps", 5), ("scale", 2.0)]
    )
    job["model"][name] = value
    path.write_text(json.dumps(job, indent=2))
    return name


def _weights(folder: Path, random: Random) -> str:
    """A weight, or something more in the file of the weights."""
    import safetensors
    import safetensors.numpy

    path = folder / "weights.safetensors"
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    tensors = safetensors.numpy.load_file(path)
    kind = _one(random, ["value", "metadata", "tensor"])
    if kind == "value":
        name = _one(random, sorted(tensors))
        tensors[name].reshape(-1)[0] += 0.5
    elif kind == "metadata":
        metadata["certified"] = "ISO 26262"
    else:
        tensors["more"] = np.zeros(3, np.float32)
    path.write_bytes(safetensors.numpy.save(tensors, metadata))
    return kind


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every entry of a JSON object, those inside others too."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for name, one in inside:
        found += [(*place, name), *_places(one, (*place, name))]
    return found


def _other_json(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return value * 2 + 1
    return f"{value} (certified)" if isinstance(value, str) else {"certified": value}


def fit(folder: Path, recorded: dict[str, Any]) -> None:
    """Writes a manifest, and reports and hashes that fit where they can be made."""
    manifest.write(folder, recorded | {"files": manifest.hash_files(folder)})
    recorded["files"] = manifest.hash_files(folder)
    try:
        (folder / "report.html").write_text(webpage.render(recorded))
        recorded["files"] |= {"report.html": manifest.hash_files(folder)["report.html"]}
        (folder / "report.md").write_text(text.render(recorded))
        recorded["files"] |= {"report.md": manifest.hash_files(folder)["report.md"]}
    except Exception:
        pass  # a manifest that no report can be made of
    manifest.write(folder, recorded)


def _sums(folder: Path) -> None:
    """Makes SHA256SUMS fit to a manifest that isn't written as ours are."""
    import hashlib

    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    kept = [line for line in lines if not line.endswith("  manifest.json")]
    (folder / "SHA256SUMS").write_text("".join(f"{line}\n" for line in sorted([*kept, f"{digest}  manifest.json"])))


LAST: tuple[Callable[[Path, Random], str], ...] = (_manifest, _statement, _claims, _spelling)
"""Changes that write the manifest themselves."""
CHANGES: tuple[Callable[[Path, Random], str], ...] = (
    *(_constant, _operator, _attribute, _renamed, _unused, _node_too_many, _words, trigger),
    *(_nir_value, _nir_object, _header, _source, _golden, _golden_file),
    *(_page, _report, _extra, _manifest, _statement, _claims, _spelling, _configuration, _weights),
)
