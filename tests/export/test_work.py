"""The bar of `export` and `verify` shows the tasks done and the share of the current one."""

from rich.progress import Progress

from export.work import Work


def test_the_bar_advances_with_tasks_and_with_a_tasks_images(monkeypatch):
    shown = []
    monkeypatch.setattr(Progress, "update", lambda bar, task, **values: shown.append(values))
    with Work("Testing") as work:
        work.plan(2)
        with work.task("first", images=200):
            work.saw(50)
            work.saw(250)
        with work.task("second"):
            work.saw(10)
    assert shown == [
        {"total": 2},
        {"now": "first"},
        {"completed": 0.25},
        {"completed": 1},
        {"completed": 1},
        {"now": "second"},
        {"completed": 1},
        {"completed": 2},
    ]
