import itertools

import pytest

from csnn_jax.progress import Progress


def test_a_line_every_fifty_iterations_with_the_rate_and_the_time_left(capsys, monkeypatch):
    seconds = itertools.count(1000, 2)
    monkeypatch.setattr("csnn_jax.progress.time.perf_counter", lambda: next(seconds))
    with Progress(total=2001, start=50, batch_size=8) as shown:
        for iteration in range(51, 252):
            shown.step(iteration, 1.25)
        shown.line("done")
    left = {100: "1:03:22", 150: "1:01:42", 200: "1:00:02", 250: "58:22"}
    lines = [f"Iter {number}, Loss: 1.2500, 4 images/s, {time} left" for number, time in left.items()]
    assert capsys.readouterr().out.splitlines() == [*lines, "done"]


def test_a_slow_evaluation_prints_its_progress(capsys, monkeypatch):
    seconds = iter(range(0, 1000, 25))
    with Progress(total=1, start=0, batch_size=8) as shown:
        monkeypatch.setattr("csnn_jax.progress.time.perf_counter", lambda: next(seconds))
        for number in range(8):
            shown.batch(number, 8)
    assert capsys.readouterr().out.splitlines() == ["Evaluating: 3 of 8 batches", "Evaluating: 6 of 8 batches"]


CELL = """
from csnn_jax.progress import Progress, followed
with Progress(total=120, start=0, batch_size=8) as shown:
    for iteration in range(120):
        shown.step(iteration + 1, 1.25)
    shown.line("done")
"""


@pytest.mark.slow
def test_a_jupyter_cell_has_one_bar_and_the_lines_below_it():
    for package in ("nbclient", "ipykernel"):
        pytest.importorskip(package, reason=f"no {package}: pip install -e '.[docs]'")
    import nbclient
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbclient.NotebookClient(notebook, timeout=60).execute()
    bar, said = notebook.cells[0].outputs
    assert (bar.output_type, said.text) == ("display_data", "done\n")
    assert bar.data["text/plain"].startswith("Training 120/120 loss 1.2500, ")
    assert '<progress max="120" value="120" aria-label="Training"></progress>' in bar.data["text/html"]
