"""Reports in a real browser: no errors, no network, no serious accessibility fault, and a player that counts right."""

from pathlib import Path

import pytest
from browser import VIEWS, axe, opened
from bundles import make_run
from commands import call
from once import once
from recordings import write_nmnist

import csnn_jax
from csnn_jax import ModelConfig, data

PATIENCE = 120_000  # milliseconds that charts may take on a busy machine


@pytest.fixture(scope="session")
def page(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the small run."""

    def make(folder: Path) -> None:
        done = call("csnn_jax.report", small_run, "--out", folder / "report.html")
        assert done.returncode == 0, done.stderr

    return once(tmp_path_factory, "report", make) / "report.html"


def wait_for_charts(visit) -> None:
    visit.page.wait_for_selector("html[data-charts=drawn]", state="attached", timeout=PATIENCE)


def counts(visit) -> list[int]:
    return [int(cell) for cell in visit.page.locator(".player .count").all_inner_texts()]


@pytest.mark.parametrize("width, scheme", VIEWS)
def test_a_report_opens_anywhere(page, width, scheme):
    with opened(page, width=width, scheme=scheme) as visit:
        wait_for_charts(visit)
        assert visit.errors == [] and visit.requests == [page.as_uri()]
        assert visit.page.evaluate("document.documentElement.scrollWidth") == width
        plots, drawn = (visit.page.locator(name).count() for name in (".plot", ".plot .main-svg:first-child"))
        assert plots == drawn > 5
        assert axe(visit.page) == []
        assert visit.errors == []


@pytest.mark.slow
def test_the_player_counts_what_the_network_counts(page, small_run):
    test, network = data.load("mnist", (28, 28, 1)).test, csnn_jax.load(small_run)
    with opened(page) as visit:
        which = visit.page.locator(".player .which")
        titles = which.locator("option").all_inner_texts()
        assert len(titles) >= 10
        for number, title in enumerate(titles):
            which.select_option(str(number))
            index = int(title.split("(test image ")[1].rstrip(")"))
            spikes = network.trace(test.images[index : index + 1]).spikes[-1][:, 0]
            assert counts(visit) == spikes.sum(0).astype(int).tolist()
            visit.page.locator(".player .at").fill("4")
            assert counts(visit) == spikes[:4].sum(0).astype(int).tolist()
            visit.page.locator(".player .at").fill(str(len(spikes)))


@pytest.mark.slow
def test_the_player_plays_pauses_and_steps(page):
    with opened(page) as visit:
        player, done = visit.page.locator(".player"), visit.page.locator(".player .done")
        assert done.inner_text() == "10 of 10", "a page that nobody plays shows the whole window"
        final = counts(visit)
        player.get_by_label("Speed").select_option("50")
        player.get_by_role("button", name="Play").click()
        visit.page.wait_for_selector(".player .play:text-is('Play')")
        assert done.inner_text() == "10 of 10" and counts(visit) == final
        player.get_by_label("Speed").select_option("2")
        player.get_by_role("button", name="Play").click()
        player.get_by_role("button", name="Pause").click()
        player.get_by_role("slider").fill("3")
        player.get_by_role("button", name="Step", exact=True).click()
        player.get_by_role("button", name="Step", exact=True).click()
        player.get_by_role("button", name="Back").click()
        assert done.inner_text() == "4 of 10"
        player.focus()
        for key, where in (("ArrowRight", 5), ("ArrowLeft", 4), ("Home", 0), ("End", 10)):
            visit.page.keyboard.press(key)
            assert done.inner_text() == f"{where} of 10"
        visit.page.keyboard.press(" ")
        assert player.get_by_role("button", name="Pause").count() == 1
        visit.page.keyboard.press("End")
        assert "leads with" in player.locator(".verdict").inner_text()
        assert visit.errors == []


@pytest.mark.slow
def test_motion_is_slow_where_less_is_wanted(page):
    with opened(page, reduced_motion="reduce") as visit:
        assert visit.page.get_by_label("Speed").input_value() == "2"


@pytest.mark.slow
def test_charts_follow_the_colours_and_the_legend(page):
    with opened(page) as visit:
        wait_for_charts(visit)
        ink = ".plot .xtitle >> nth=0"
        before = visit.page.locator(ink).get_attribute("style")
        visit.page.emulate_media(color_scheme="dark")
        visit.page.wait_for_timeout(1000)
        assert visit.page.locator(ink).get_attribute("style") != before
        chart = visit.page.locator("figure.chart", has=visit.page.locator(".legend")).first
        lines = chart.locator(".scatterlayer .trace").count()
        chart.locator(".legend button").first.click()
        assert chart.locator(".scatterlayer .trace").count() == lines - 1
        assert visit.errors == []


def test_names_are_text_in_a_browser(tmp_path):
    """In charts too, whose markup Plotly would take."""
    from csnn_jax.report import charts
    from csnn_jax.report import page as pages

    name = "<b>a</b><script>alert(1)</script> &amp;"
    chart = charts.lines(name, [charts.Series(name, [0, 1], [1, 2]), charts.Series("b", [0], [1], 1)], name, "y")
    path = tmp_path / "page.html"
    path.write_text(pages.document(name, [name], [pages.Section(name, (chart,))], "a test"))
    with opened(path) as visit:
        wait_for_charts(visit)
        assert visit.page.title() == name
        for where in ("h1", "h2", "figcaption", ".legend button >> nth=0", ".xtitle"):
            assert visit.page.locator(where).first.text_content() == name
        assert visit.errors == [] and visit.requests == [path.as_uri()]


def test_a_recording_plays_beside_the_spikes(tmp_path):
    """The picture is the latest frame, and at the end the sum of all."""
    name = write_nmnist(tmp_path / "nmnist", train=1, test=1)
    config = ModelConfig(input_shape=(34, 34, 2), conv_channels=(4,), time_steps=6, scale=1.0)
    run = make_run(tmp_path / "run", config, dataset=name)
    assert call("csnn_jax.report", run, "--out", tmp_path / "report.html").returncode == 0
    with opened(tmp_path / "report.html") as visit:
        image, said = visit.page.locator(".player .image"), visit.page.locator(".player .frame")
        assert said.inner_text() == "All 6 frames"
        seen = [image.screenshot()]
        for step in (1, 4, 6):
            visit.page.locator(".player .at").fill(str(step))
            seen.append(image.screenshot())
            if step < 6:
                assert said.inner_text() == f"Frame {step} of 6: blue darker, orange brighter"
        assert seen[3] == seen[0] and len(set(seen)) == 3
        box = image.bounding_box()
        assert box is not None and abs(box["width"] - box["height"]) < 1
        assert visit.errors == []
