"""Which iterations a profile takes, and that they are all trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from csnn_jax.errors import UserError
from csnn_jax.training.profile import Profile, check_profile


class Diary:
    """A tracer that notes what it is asked for."""

    def __init__(self, fails: bool = False):
        self.notes: list[object] = []
        self.fails = fails

    @contextmanager
    def window(self, folder: Path, first: int) -> Iterator[None]:
        self.notes.append(f"begin {first}")
        yield
        self.notes.append("end")
        if self.fails:
            raise OSError("no room")

    @contextmanager
    def step(self, iteration: int) -> Iterator[None]:
        self.notes.append(iteration)
        yield


def batches(count: int, start: int = 0):
    yield from ((iteration, np.arange(2), None) for iteration in range(start, start + count))


@pytest.mark.parametrize(
    ("count", "start", "traced"), [(2, 0, [1, 2]), (3, 5, [6, 7, 8]), (9, 5, [6, 7, 8, 9]), (1, 0, [1])]
)
def test_it_traces_from_the_second_iteration_of_a_call_and_passes_all_on(count, start, traced, capsys):
    diary = Diary()
    profile = Profile(count, diary, Path("run/profile"))
    assert [batch[0] for batch in profile.traced(batches(5, start))] == list(range(start, start + 5))
    assert diary.notes == [f"begin {traced[0]}", *traced, "end"]
    assert capsys.readouterr().out == f"Profile: iterations {traced[0]} to {traced[-1]} are in run/profile\n"


def test_the_trace_ends_before_the_iteration_that_follows():
    diary = Diary()
    for iteration, _, _ in Profile(2, diary, Path("profile")).traced(batches(6)):
        assert ("end" in diary.notes) == (iteration > 2)


def test_an_interrupted_trace_is_written_and_the_batches_are_closed():
    diary, source = Diary(), batches(9)
    through = Profile(5, diary, Path("profile")).traced(source)
    assert [next(through)[0] for _ in range(3)] == [0, 1, 2]
    through.close()
    assert diary.notes == ["begin 1", 1, 2, "end"]
    assert next(source, None) is None


def test_a_job_of_one_iteration_is_trained_without_a_trace(capsys):
    diary = Diary()
    assert len(list(Profile(3, diary, Path("profile")).traced(batches(1)))) == 1
    assert diary.notes == [] and capsys.readouterr().out == ""


def test_a_trace_that_can_not_be_written_is_a_users_error():
    with pytest.raises(UserError, match=r"^run/profile: the trace can't be written: no room$"):
        list(Profile(1, Diary(fails=True), Path("run/profile")).traced(batches(3)))


def test_a_job_must_have_as_many_iterations():
    check_profile(None, 1)
    check_profile(9, 10)
    with pytest.raises(UserError, match=r"--profile 10: the job has 10 iterations, .*; expected at most 9"):
        check_profile(10, 10)
