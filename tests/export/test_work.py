"""One bar tells on a terminal how far a command is; elsewhere there is none."""

import sys

from export.work import Work


def test_the_bar_moves_with_the_tasks_and_their_images_and_never_beyond(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with Work("Exporting") as work:
        task = work._bar.tasks[0]
        assert task.total is None, "how much there is to do is not known yet"
        work.plan(2)
        with work.task("checking a", images=10):
            work.saw(5)
            assert task.completed == 0.5 and task.fields["now"] == "checking a"
            work.saw(20)
            assert task.completed == 1
        assert task.completed == 1
        print("a line")
        with work.task("writing b"):
            pass
        assert task.finished
    assert "a line\n" in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    with Work("Exporting") as work, work.task("checking a", 3):
        work.saw(3)
    assert capsys.readouterr().out == "", "without a terminal nothing is shown"
