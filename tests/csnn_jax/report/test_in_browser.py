"""A report in a real browser: no errors, no network access, no serious accessibility issue, and a correct player."""

from pathlib import Path

import numpy as np
import pytest
from browser import axe, opened
from bundles import INTEGRATOR, SMALL, make_run
from commands import passed
from digits import few_digits

import csnn_jax
from csnn_jax import window
from csnn_jax.config import ModelConfig

PATIENCE = 120_000  # milliseconds for drawing the charts on a busy machine


@pytest.mark.slow
@pytest.mark.parametrize("model", [SMALL, INTEGRATOR], ids=["spikes", "membranes"])
def test_a_report_opens_and_its_player_sums_like_the_network(model: ModelConfig, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", model, few_digits(tmp_path / "digits", train=20, test=40))
    page, network = tmp_path / "report.html", csnn_jax.load(run)
    images = csnn_jax.data.load_for(network.config).test.images
    passed("csnn_jax.report", run, "--out", page)
    with opened(page, width=390, scheme="dark") as visit:
        visit.page.wait_for_selector("html[data-charts=drawn]", state="attached", timeout=PATIENCE)
        assert visit.requests == [page.as_uri()]
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 390
        plots, drawn = (visit.page.locator(name).count() for name in (".plot", ".plot .main-svg:first-child"))
        assert plots == drawn > 5
        assert axe(visit.page) == []
        which = visit.page.locator(".player .which")
        for number, title in enumerate(which.locator("option").all_inner_texts()):
            which.select_option(str(number))
            index = int(title.split("(test image ")[1].rstrip(")"))
            trace = network.trace(images[index : index + 1])
            output = window.output(model, *trace)[:, 0]
            form = ".2f" if model is INTEGRATOR else ".0f"
            for steps in (0, 4, len(output)):
                visit.page.locator(".player .at").fill(str(steps))
                shown = visit.page.locator(".player .count").all_inner_texts()
                scores = np.vstack([np.zeros_like(output[:1]), output]).cumsum(0)[steps]
                assert shown == [f"{score:{form}}" for score in scores]
                best = visit.page.locator(".player .best th").all_inner_texts()
                none = not (steps if model is INTEGRATOR else scores.any())
                assert best == ([] if none else [str(scores.argmax())])
        visit.page.get_by_role("button", name="Play").click()
        visit.page.wait_for_selector(".player .play:text-is('Play')")
        assert visit.errors == []
