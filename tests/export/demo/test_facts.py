"""The page's facts match the bundle, and a manifest that contradicts it is refused."""

import json
import re

import numpy as np
import safetensors.numpy
from bundles import rehash
from demos import unpacked
from refusals import refusing

from csnn_jax import data
from csnn_jax.data import encode
from csnn_jax.errors import UserError
from csnn_jax.runs.rundir import RunDir
from export import bundle
from export.demo import facts, ort_web


def told(bundle, names=None) -> tuple[dict, dict[str, bytes]]:
    files = facts.files(facts.read(bundle, names), "1.2.3")
    return json.loads(files["demo.json"]), files


def test_facts_match_the_bundles_network(small_bundle):
    demo, files = told(small_bundle)
    assert [layer["shape"] for layer in demo["layers"]] == [[4, 14, 14], [16], [10]]
    assert (demo["steps"], demo["shape"], demo["encoding"], demo["frames"]) == (6, [1, 28, 28], "direct", False)
    assert demo["classes"] == [*"0123456789"] and demo["versions"]["onnxruntime-web"] == "1.2.3"
    test = data.load("mnist", (28, 28, 1)).test
    assert demo["labels"] == test.labels[:10].tolist()
    assert files["samples.bin"] == test.images[:10].tobytes()  # one channel, so both layouts are equal
    assert demo["levels"] == [value / 256 for value in range(256)] and demo["scale"] == 255
    assert "draws.bin" not in files and files["step.onnx"] == (small_bundle / "step.onnx").read_bytes()


def test_facts_name_the_states_and_an_output_without_a_threshold(integrator, small_bundle):
    demo, _ = told(integrator)
    assert ([layer["states"] for layer in demo["layers"]], demo["readout"]) == ([["syn", "mem"]] * 3, "membrane")
    thresholds = [layer["threshold"] for layer in demo["layers"]]
    assert [len(one) for one in thresholds[:2]] == [4, 16] and thresholds[2] is None
    demo, _ = told(small_bundle)
    assert ([layer["states"] for layer in demo["layers"]], demo["readout"]) == ([["mem"]] * 3, "spikes")


def test_random_draws_match_the_first_golden_image(spikes):
    demo, files = told(spikes)
    config = RunDir(spikes).config().model
    draws = np.frombuffer(files["draws.bin"], np.uint8).reshape(demo["steps"], 1, 20, 20)
    image = np.frombuffer(files["samples.bin"], np.uint8).reshape(-1, 1, 20, 20)[0]
    expected = encode(image.reshape(1, 20, 20, 1), demo["steps"], "rate", facts.SEED, config.pixels.brightest)
    np.testing.assert_array_equal(draws < np.array(demo["levels"])[image], expected[:, 0, :, :, 0][:, None])
    assert demo["data"] == "idx", "the images' folder must not be shown"
    assert facts._data_name("tfds:nmnist@/home/me") == "tfds:nmnist"


def test_semantics_of_another_network_are_refused(copy):
    whole = (copy / "manifest.json").read_text()
    for change in (
        lambda semantics: semantics.pop("layers"),
        lambda semantics: semantics.update(time_steps="<script>"),
        lambda semantics: semantics.update(time_steps=-3),
        lambda semantics: semantics.update(time_steps=True),
        lambda semantics: semantics["layers"][0].update(threshold="<script>"),
        lambda semantics: semantics["layers"][0].update(shape=[1, 14, 14]),
        lambda semantics: semantics.update(input=[]),
        lambda semantics: semantics.clear(),
    ):
        recorded = json.loads(whole)
        change(recorded["results"]["semantics"])
        rehash(copy, recorded)
        with refusing(UserError, copy / "manifest.json"):
            facts.read(copy, None)
    recorded = json.loads(whole)
    recorded["results"]["accuracy"] = "<script>"
    rehash(copy, recorded)
    with refusing(UserError, copy / "manifest.json", "results.accuracy", "<script>"):
        facts.read(copy, None)


def test_a_wrong_number_of_frames_is_refused(copy):
    arrays = safetensors.numpy.load_file(copy / bundle.IMAGES)
    frames = np.repeat(arrays["images"][:, None], 5, axis=1)
    safetensors.numpy.save_file(arrays | {"images": frames}, copy / bundle.IMAGES)
    rehash(copy)
    with refusing(UserError, copy / bundle.IMAGES, "config.json"):
        facts.read(copy, None)


def test_every_file_named_by_the_page_exists_and_so_does_a_license(small_bundle, tmp_path):
    (tmp_path / "demo").mkdir()
    runtime = ort_web.load(unpacked(tmp_path / "package"))
    size = facts.write(tmp_path / "demo", facts.read(small_bundle, None), runtime)
    paths = {path.relative_to(tmp_path / "demo").as_posix(): path for path in (tmp_path / "demo").rglob("*")}
    assert size == sum(path.stat().st_size for path in paths.values() if path.is_file())
    texts = [path.read_text() for name, path in paths.items() if name.endswith((".html", ".js"))]
    named = {name for text in texts for name in re.findall(r'(?:from|href=|src=|bytes\(|fetched\()\s*"([^"]+)"', text)}
    assert {"main.js", "./spikes.js", "./ort/ort.js", "step.onnx", "draws.bin"} <= named
    assert {name.removeprefix("./") for name in named} - set(paths) == {"draws.bin"}  # only for rate encoding
    assert "Microsoft" in paths["onnxruntime-LICENSE.txt"].read_text()
    assert not any("://" in text.replace("http://www.w3.org/2000/svg", "") for text in texts)
