"""The page in a real browser: what it shows is what ONNX Runtime computes in Python, and anybody can use it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import VIEWS, WIDTHS, Visit, axe, opened
from bundles import make_bundle
from demos import config_of, counts, served
from tfds_files import prepare_frames

from csnn_jax.config import ModelConfig
from csnn_jax.data import encode
from csnn_jax.data.encode import draws
from export import golden_images
from export.demo.facts import SEED, table

pytestmark = pytest.mark.slow

HOSTILE = ["<script>fail()</script>", '"><img src=x onerror=fail()>', 'it\'s "7" & more', "a" * 60, *"456789"]
PATIENCE = 120_000  # milliseconds, for a machine that is busy with other tests
COLOUR = ModelConfig((14, 12, 3), (3,), hidden=(9,), time_steps=9, encoding="latency", reset="zero", scale=200.0)
EVENTS = ModelConfig((8, 8, 2), (4,), hidden=(), num_classes=4, time_steps=5, scale=1.0)


@contextmanager
def shown(folder: Path, *args: Any, **options: Any) -> Iterator[Visit]:
    """The page of a demonstration, served, once its network is loaded."""
    with served(folder) as address, opened(address, *args, **options) as visit:
        visit.page.set_default_timeout(PATIENCE)
        visit.page.locator("#demo").wait_for(state="visible")
        yield visit
        assert visit.errors == []
        assert [request for request in visit.requests if not request.startswith(address)] == []


def play(page: Any) -> None:
    """Presses Play, and waits for the end of the window."""
    page.get_by_label("Speed").select_option("60")
    page.get_by_role("button", name="Play", exact=True).click()
    ended(page)


def ended(page: Any) -> None:
    page.get_by_role("button", name="Play again").wait_for()


def told(page: Any) -> list[int]:
    """The counts in the table."""
    return [int(text) for text in page.locator("#outputs td:last-child").all_text_contents()]


def inputs(config: ModelConfig, pixels: np.ndarray) -> list[np.ndarray]:
    """What the network is fed at each step for bytes [C, H, W], or [T, C, H, W], by the encoders of Python."""
    if config.encoding != "direct":
        image = np.moveaxis(pixels, 0, -1)[None]
        spikes = encode(image, config.time_steps, config.encoding, SEED, config.pixel_scale)
        return [*np.moveaxis(spikes, -1, -3).astype(np.float32)]
    x = (pixels.astype(np.float32) / np.float32(config.input_scale))[None]
    return [x] * config.time_steps if pixels.ndim == 3 else [*x.swapaxes(0, 1)]


def expected(bundle: Path, pixels: np.ndarray) -> list[int]:
    """The counts that ONNX Runtime comes to in Python."""
    return counts(bundle, inputs(config_of(bundle), pixels))


def samples(bundle: Path) -> np.ndarray:
    """The test images on the page, [N, C, H, W] or [N, T, C, H, W]."""
    return np.moveaxis(golden_images.images(bundle).images[:10], -1, -3)


@pytest.fixture(scope="session")
def colour(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("colour"), COLOUR)


@pytest.fixture(scope="session")
def events(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("events")
    frames = np.random.default_rng(0).integers(0, 2, (32, 5, 8, 8, 2), np.uint8)
    return make_bundle(folder, EVENTS, prepare_frames(folder, frames, np.arange(32) % 4))


@pytest.fixture(params=["spikes", "small_bundle", "colour"])
def bundle(request) -> Path:
    return request.getfixturevalue(request.param)


def test_counts_are_those_of_onnx_runtime_in_python(bundle, demonstration):
    """Of test images whose pixels are put into the drawing area; every stack spikes for some of them."""
    wanted = [expected(bundle, pixels) for pixels in samples(bundle)[:4]]
    assert any(sum(of_image) for of_image in wanted)
    with shown(demonstration(bundle)) as visit:
        for pixels, of_image in zip(samples(bundle), wanted, strict=False):
            visit.page.evaluate("pixels => demo.put(pixels)", pixels.flatten().tolist())
            assert visit.page.evaluate("demo.pixels") == pixels.flatten().tolist()
            play(visit.page)
            assert told(visit.page) == visit.page.evaluate("demo.counts") == of_image


def test_a_stroke_is_what_the_network_answers(bundle, demonstration):
    """A pointer draws; what the page says that the network is shown gives the counts in Python too."""
    shape = samples(bundle).shape[1:]
    with shown(demonstration(bundle)) as visit:
        page = visit.page
        box = page.locator("#surface").bounding_box()
        before = page.locator("#surface").screenshot()
        page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.2 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.2 * box["height"], steps=5)
        page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.8 * box["height"], steps=5)
        page.mouse.up()
        assert page.locator("#surface").screenshot() != before
        ended(page)  # it plays by itself
        pixels = np.array(page.evaluate("demo.pixels"), np.uint8).reshape(shape)
        assert pixels.max() > 0.9 * min(255, config_of(bundle).pixel_scale) and (pixels == pixels[:1]).all()
        assert told(page) == expected(bundle, pixels)
        page.get_by_role("button", name="Clear").click()
        assert max(page.evaluate("demo.pixels")) == 0 and told(page) == [0] * 10


def test_a_drawing_is_scaled_and_centred(small_bundle, demonstration):
    """A short stroke in a corner: 20 pixels high, its mass in the middle; as it lies if that is not wanted."""
    with shown(demonstration(small_bundle)) as visit:
        page = visit.page
        box = page.locator("#surface").bounding_box()
        page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.6 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.9 * box["height"], steps=5)
        page.mouse.up()
        image = np.array(page.evaluate("demo.pixels")).reshape(28, 28)
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        assert abs(np.ptp(rows) + 1 - 20) <= 1 and np.ptp(columns) + 1 <= 4
        middle = (image.sum(1) * np.arange(28)).sum() / image.sum()
        assert abs(middle - 13.5) <= 0.5 and abs(columns.mean() - 13.5) <= 1
        page.get_by_label("Scale and centre").uncheck()
        image = np.array(page.evaluate("demo.pixels")).reshape(28, 28)
        assert abs(np.flatnonzero(image.any(0)).mean() - 0.8 * 28) < 1.5 and np.flatnonzero(image.any(1)).min() > 14


def test_it_is_used_by_keys_alone(small_bundle, demonstration):
    with shown(demonstration(small_bundle)) as visit:
        keys = visit.page.keyboard
        keys.press("Tab")
        assert visit.page.evaluate("document.activeElement.id") == "surface"
        for key in ["ArrowUp"] * 6 + [" "] + ["ArrowDown"] * 12 + [" ", "ArrowLeft"]:
            keys.press(key)
        pixels = np.array(visit.page.evaluate("demo.pixels"), np.uint8).reshape(1, 28, 28)
        assert pixels.max() > 200 and told(visit.page) == [0] * 10
        keys.press("Enter")
        ended(visit.page)
        counts = expected(small_bundle, pixels)
        said = "Clear from step" if any(counts) else "No output neuron spiked"
        assert told(visit.page) == counts and said in visit.page.locator("#live").text_content()
        for key, step in [("r", 0), ("s", 1), ("s", 2), ("c", 0)]:
            keys.press(key)
            visit.page.get_by_text(f"Step {step} of 6").wait_for()
        keys.press("n")
        ended(visit.page)
        assert told(visit.page) == expected(small_bundle, samples(small_bundle)[0])
        reached = []
        while (name := visit.page.evaluate("document.activeElement.id || document.activeElement.ariaLabel")) != "view":
            reached.append(name)
            keys.press("Tab")
        assert {"clear", "centre", "play", "start", "speed"} <= set(reached)
        assert len([name for name in reached if name.startswith("Test image")]) == 10


def test_steps_pause_and_the_step_from_which_the_answer_was_clear(small_bundle, demonstration):
    frames = inputs(config_of(small_bundle), samples(small_bundle)[0])
    total = [counts(small_bundle, frames[:steps]) for steps in range(1, 7)]
    leaders = [int(np.argmax(of_step)) if max(of_step) else None for of_step in total]
    since = next(step for step in range(6) if len(set(leaders[step:])) == 1) + 1
    with shown(demonstration(small_bundle), reduced_motion="reduce") as visit:
        page = visit.page
        page.get_by_role("button", name="Test image 1: ").click()
        page.get_by_text("Step 0 of 6").wait_for()  # it does not play by itself
        for step, (of_step, leader) in enumerate(zip(total, leaders, strict=True), 1):
            page.get_by_role("button", name="One step").click()
            page.get_by_text(f"Step {step} of 6").wait_for()
            assert told(page) == of_step
            assert page.locator("#answer").text_content() == ("?" if leader is None else str(leader))
        assert page.get_by_role("button", name="One step").is_disabled()
        assert f"Clear from step {since} on" in page.locator("#since").text_content()
        page.get_by_label("Speed").select_option("1")
        page.get_by_role("button", name="Play again").click()
        page.get_by_text("Step 1 of 6").wait_for()
        page.get_by_role("button", name="Pause").click()
        page.wait_for_timeout(1200)
        assert page.get_by_text("Step 1 of 6").is_visible()


@pytest.mark.parametrize("width, scheme", VIEWS)
def test_it_has_no_fault_at_this_width_in_this_scheme(width, scheme, small_bundle, demonstration):
    with shown(demonstration(small_bundle), width, scheme, has_touch=width == min(WIDTHS)) as visit:
        assert axe(visit.page) == []
        visit.page.get_by_role("button", name="Test image 2: ").click()
        ended(visit.page)
        visit.page.get_by_text("Keyboard").click()
        assert axe(visit.page) == []
        assert visit.page.evaluate("document.documentElement.scrollWidth") == width


def test_a_finger_draws(small_bundle, demonstration):
    with shown(demonstration(small_bundle), min(WIDTHS), has_touch=True, is_mobile=True) as visit:
        box = visit.page.locator("#surface").bounding_box()
        visit.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        ended(visit.page)
        image = np.array(visit.page.evaluate("demo.pixels"), np.uint8)
        assert image.max() > 200 and told(visit.page) == expected(small_bundle, image.reshape(1, 28, 28))


def test_names_are_shown_as_text(small_bundle, demonstration):
    with shown(demonstration(small_bundle, HOSTILE)) as visit:
        assert visit.page.locator("#outputs th").all_text_contents() == HOSTILE
        for number, label in enumerate(golden_images.images(small_bundle).labels[:4]):
            button = visit.page.locator("#samples button").nth(number)
            assert button.get_attribute("aria-label") == f"Test image {number + 1}: {HOSTILE[label]}"
            button.click()
            ended(visit.page)
            leader = int(np.argmax(told(visit.page)))
            assert visit.page.locator("#answer").text_content() == HOSTILE[leader]
        assert visit.page.locator("main img, main script").count() == 0


def test_it_works_in_a_sub_folder(small_bundle, demonstration, tmp_path):
    shutil.copytree(demonstration(small_bundle), tmp_path / "deep" / "demo")
    with served(tmp_path) as address, opened(f"{address}deep/demo/") as visit:
        visit.page.get_by_role("button", name="Test image 1: ").click()
        ended(visit.page)
        assert visit.errors == []
        assert [request for request in visit.requests if not request.startswith(f"{address}deep/demo/")] == []


def test_event_frames_come_from_test_images_alone(events, demonstration):
    with shown(demonstration(events)) as visit:
        page = visit.page
        assert "frames of events over time, which a drawing can't give" in page.locator("#how").text_content()
        assert not page.get_by_role("button", name="Clear").is_visible()
        ended(page)
        found = []
        for number, pixels in enumerate(samples(events)[:3]):
            page.locator("#samples button").nth(number).click()
            ended(page)
            found.append(told(page))
            assert found[-1] == expected(events, pixels)
        assert any(sum(of_image) for of_image in found)
        assert axe(page) == []


def test_every_pixel_is_encoded_as_in_python(small_bundle, demonstration):
    """All 256 values at once, by the page's own encoder and the table that it is given."""
    pixels, steps = np.arange(256, dtype=np.uint8).reshape(1, 16, 16), 50
    made = draws(SEED, steps * 256)
    script = """async ([facts, pixels, draws]) => {
        const { encoder } = await import("./input.js");
        const encode = encoder(facts, draws);
        return Array.from({ length: facts.steps }, (_, t) => Array.from(encode(Uint8Array.from(pixels), t)));
    }"""
    with shown(demonstration(small_bundle)) as visit:
        for encoding, scale in product(["direct", "rate", "latency"], [255.0, 200.0, 102.0, 1.0]):
            config = ModelConfig((16, 16, 1), (), time_steps=steps, encoding=encoding, scale=scale)
            told = {"encoding": encoding, "levels": table(config).tolist(), "steps": steps, "shape": [1, 16, 16]}
            found = visit.page.evaluate(script, [told, pixels.flatten().tolist(), made.tolist()])
            wanted = np.concatenate(inputs(config, pixels)).reshape(steps, 256)
            np.testing.assert_array_equal(np.array(found, np.float32), wanted)


def test_what_can_not_be_loaded_is_told(small_bundle, demonstration):
    out = demonstration(small_bundle)
    (out / "step.onnx").write_bytes(b"no network")
    with served(out) as address, opened(address) as visit:
        visit.page.get_by_text("The network can't be shown: ").wait_for()
        assert not visit.page.locator("#demo").is_visible()
    with opened(out / "index.html") as visit:
        visit.page.get_by_text("a server has to send it").wait_for()
    (out / "demo.json").write_text(json.dumps([]))
    with served(out) as address, opened(address) as visit:
        visit.page.get_by_text("The network can't be shown: ").wait_for()
