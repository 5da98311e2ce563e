import re

import pytest

from csnn_jax.progress import Progress


def test_a_line_every_fifty_iterations_once_a_rate_is_known(capsys):
    with Progress(total=201, start=50, batch_size=8) as shown:
        for iteration in range(51, 202):
            shown.step(iteration, 1.25)
        shown.line("done")
    lines = capsys.readouterr().out.splitlines()
    assert [re.sub(r", \d+ images/s, \S+ left", "", line) for line in lines] == [
        "Iter 100, Loss: 1.2500",
        "Iter 150, Loss: 1.2500",
        "Iter 200, Loss: 1.2500",
        "done",
    ]
    assert lines[2].endswith(", 0:00 left")


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
