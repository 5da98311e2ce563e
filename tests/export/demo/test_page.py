"""The page in a real browser shows what ONNX Runtime computes in Python, and is accessible."""

import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import WIDTHS, axe, opened
from bundles import INTEGRATOR, export, make_bundle
from commands import passed
from demos import served
from tfds_files import prepare_frames
from unknown_runs import SHARE, make_unknown_run

from csnn_jax.config import ModelConfig
from csnn_jax.data.batches import draws
from csnn_jax.runs.margins import margins
from csnn_jax.runs.rundir import RunDir
from export import reference
from export.bundle import golden_images
from export.demo import ort_web
from export.demo.facts import SEED, read, table, write
from export.graphs import onnx_file
from export.proof.runners import step_scores

pytestmark = pytest.mark.slow

HOSTILE = ["<script>fail()</script>", '"><img src=x onerror=fail()>', 'it\'s "7" & more', "a" * 60, *"456789"]
PATIENCE = 120_000  # milliseconds, in case other tests keep the machine busy
EVENTS = ModelConfig((8, 8, 2), (4,), hidden=(), num_classes=4, time_steps=5, scale=1.0)


def ended(page: Any) -> None:
    """Waits until the window is complete."""
    page.get_by_role("button", name="Play again").wait_for()


def shown(page: Any) -> list[float]:
    """The page's scores, checked against its table: counts are integers, membrane sums have two digits."""
    scores, texts = page.evaluate("demo.scores"), page.locator("#outputs td:last-child").all_text_contents()
    assert [float(text) for text in texts] == [round(score, 2 if "." in texts[0] else 0) for score in scores]
    return scores


def inputs(config: ModelConfig, pixels: np.ndarray) -> torch.Tensor:
    """The network's input for bytes [C, H, W] or [T, C, H, W], from the Python encoders."""
    return reference.inputs(config, np.moveaxis(pixels, -3, -1)[None], SEED)


def expected(bundle: Path, pixels: np.ndarray) -> list[float]:
    """The scores of ONNX Runtime in Python."""
    config = RunDir(bundle).config().model
    return step_scores(onnx_file.load(bundle / "step.onnx"), config)(inputs(config, pixels))[0].tolist()


@pytest.fixture(scope="session")
def events(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("events")
    frames = np.random.default_rng(0).integers(0, 2, (32, 5, 8, 8, 2), np.uint8)
    return make_bundle(folder, EVENTS, prepare_frames(folder, frames, np.arange(32) % 4))


@pytest.fixture(scope="session")
def unknown(tmp_path_factory) -> Path:
    """A bundle with a margin, which some of its first images don't reach."""
    folder = tmp_path_factory.mktemp("unknown")
    run = make_unknown_run(folder, INTEGRATOR)
    passed("csnn_jax.evaluate", run, "--unknown", SHARE)
    return export(run, folder)


def answers(bundle: Path, names: list[str], scores: list[float]) -> str:
    """The class that the page shows for scores, or `?`."""
    margin = read(bundle, None).manifest["results"]["semantics"]["margin"] or 0
    known = margins(np.array(scores, np.float32)) >= margin and any(scores)
    return names[np.argmax(scores)] if known else "?"


@pytest.mark.parametrize("name", ["small_bundle", "spikes", "events", "integrator", "described", "unknown"])
def test_the_page_shows_the_results_of_onnx_runtime(name, request, tmp_path):
    """For test images and for a drawing; every stack spikes for some of them."""
    if shutil.which("npm") is None:
        pytest.skip("no npm: apt-get install npm")
    bundle = request.getfixturevalue(name)
    names = HOSTILE[: RunDir(bundle).config().model.num_classes]
    samples = np.moveaxis(golden_images(bundle).images[:3], -1, -3)
    write(tmp_path, read(bundle, names), ort_web.load(None))
    with served(tmp_path) as address, opened(address, min(WIDTHS), has_touch=True) as visit:
        page = visit.page
        page.set_default_timeout(PATIENCE)
        page.locator("#demo").wait_for(state="visible")
        page.get_by_label("Speed").select_option("60")
        total, shown_as = 0, set()
        for number, pixels in enumerate(samples):
            page.locator("#samples button").nth(number).click()
            ended(page)
            assert shown(page) == expected(bundle, pixels)
            assert page.locator("#answer").text_content() == answers(bundle, names, shown(page))
            shown_as.add(page.locator("#since").text_content().partition(" ")[0])
            total += max(shown(page))
        assert total > 0 and ("Unknown:" in shown_as) == (name == "unknown")
        assert len(shown_as) == 2 or name != "unknown"
        assert page.locator("#outputs th").all_text_contents() == names
        assert page.locator("main img, main script").count() == 0
        assert axe(page) == [] and page.evaluate("document.documentElement.scrollWidth") == min(WIDTHS)
        if name == "events":
            assert "frames of events over time, which a drawing can't provide" in page.locator("#how").text_content()
        else:
            draw(page)
            pixels = np.array(page.evaluate("demo.pixels"), np.uint8).reshape(samples.shape[1:])
            assert pixels.max() > 200 and shown(page) == expected(bundle, pixels)
            page.keyboard.press("c")
            assert max(page.evaluate("demo.pixels")) == 0 and shown(page) == [0] * 10
        if name == "small_bundle":
            every_pixel_is_encoded_as_in_python(page)
        assert visit.errors == [] and all(request.startswith(address) for request in visit.requests)


def draw(page: Any) -> None:
    """Draws a stroke, after which the page plays automatically."""
    box = page.locator("#surface").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.8 * box["height"], steps=5)
    page.mouse.up()
    ended(page)


def every_pixel_is_encoded_as_in_python(page: Any) -> None:
    """All 256 values at once, with the page's encoder and its table."""
    pixels, steps = np.arange(256, dtype=np.uint8).reshape(1, 16, 16), 50
    made = draws(SEED, steps * 256)
    script = """async ([facts, pixels, draws]) => {
        const { encoder } = await import("./network.js");
        const encode = encoder(facts, draws);
        return Array.from({ length: facts.steps }, (_, t) => Array.from(encode(Uint8Array.from(pixels), t)));
    }"""
    for encoding, scale in product(["direct", "rate", "latency"], [256.0, 128.0, 1.0]):
        config = ModelConfig((16, 16, 1), (), time_steps=steps, encoding=encoding, scale=scale)
        facts = {"encoding": encoding, "levels": table(config).tolist(), "steps": steps, "shape": [1, 16, 16]}
        frames = page.evaluate(script, [facts, pixels.flatten().tolist(), made.tolist()])
        wanted = np.stack([*reference.frames(inputs(config, pixels), steps)]).reshape(steps, 256)
        np.testing.assert_array_equal(np.array(frames, np.float32), wanted)
