"""Training with several processes: equal to one process, and one line of error if one is missing or fails."""

import socket
import time

import jax
import numpy as np
import pytest
from commands import SMALL, passed_by_process, run, start
from processes import begin, end, together
from refusals import assert_line, refusing
from trainings import losses, records

from csnn_jax.devices import cluster
from csnn_jax.devices.cluster import Cluster, connect
from csnn_jax.devices.flags import JaxFlags
from csnn_jax.devices.mesh import Devices
from csnn_jax.errors import UserError
from csnn_jax.runs import weights

FLAGS = (*SMALL, "--surrogate", "atan", "--batch-size", 64, "--eval-every", 0, "--eval-images", 200, "--max-iters", 20)
EXACT = (*FLAGS, "--engine", "scan", "--dtype", "float64")


def ours(done) -> str:
    """The single line that a refused process wrote to stderr."""
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith("error: ")
    return line


def test_a_cluster_of_one_agrees_with_itself():
    alone = Cluster(Devices(jax.devices()[:1]))
    assert alone.first and alone.maximum(7) == 7 and alone.each(lambda: 3) == 3
    assert alone.broadcast(lambda: "text", str.encode, bytes.decode) == "text"
    alone.check_same(lambda: {"--lr": "0.1", "--seed": "3"})

    def mistake():
        raise UserError("--lr 7: expected less")

    with refusing(UserError, "lr 7"):
        alone.each(mistake)
    with refusing(UserError, "lr 7"):
        alone.broadcast(mistake, str.encode, bytes.decode)


def test_a_port_in_use_and_a_silent_coordinator_are_refused():
    with socket.create_server(("127.0.0.1", 0)) as server:
        coordinator = f"127.0.0.1:{server.getsockname()[1]}"
        meeting = {"coordinator": coordinator, "num_processes": 2, "connect_timeout": 1}
        cluster._wait(coordinator, *server.getsockname(), 1)
        with refusing(UserError, f"coordinator {coordinator}", "port"):
            connect(JaxFlags(process_id=0, **meeting))
    with refusing(UserError, f"coordinator {coordinator}", "1 s"):
        connect(JaxFlags(process_id=1, **meeting))


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags, bound",
    [
        pytest.param((*EXACT, "--augment", 2, 10, 0.1), 1e-12, marks=pytest.mark.rare),
        ((*FLAGS, "--engine", "event", "--microbatch", 16), 1e-5),
        pytest.param((*FLAGS, "--engine", "event", "--encoding", "rate"), 1e-5, marks=pytest.mark.rare),
    ],
)
def test_the_first_gradient_of_two_processes_equals_that_of_one(tmp_path, flags, bound):
    """Measured by a step of SGD with a learning rate of 1, which subtracts the gradient from the weights."""
    step = (*flags, "--optimizer", "sgd", "--lr", 1, "--max-iters", 1, "--init", "calibrated")
    assert {done.returncode for done in together(step, [("--out", tmp_path / "two"), ()])} == {0}
    passed_by_process("csnn_jax.train", *step, "--out", tmp_path / "one")
    one, two = (weights.load(tmp_path / name / "weights.safetensors")[1] for name in ("one", "two"))
    first = [records(tmp_path / name, "train")[0] for name in ("one", "two")]
    assert first[0]["density"] == first[1]["density"]
    largest = max(first[0]["gradient"].values())
    for name, tensor in one.items():
        assert np.abs(two[name] - tensor).max() <= bound * max(largest, np.abs(tensor).max())


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.rare)])
def test_a_killed_process_ends_the_other_and_both_can_resume(tmp_path, victim):
    endless = ("--max-iters", 400, "--checkpoint-every", 5)
    processes = begin((*FLAGS, *endless), [("--out", tmp_path / "run"), ()])
    while not (tmp_path / "run" / "checkpoints" / "5").exists():
        assert processes[0].poll() is None
        time.sleep(0.02)
    processes[victim].kill()
    began = time.monotonic()
    survivor = end(processes)[1 - victim]
    assert time.monotonic() - began < 60 and survivor.returncode not in (0, None)
    again = together(("--resume",), [("--out", tmp_path / "run"), ()])
    assert {done.returncode for done in again} == {0}, again[0].stderr + again[1].stderr
    assert len(losses(tmp_path / "run")) == 400


@pytest.mark.slow
def test_all_processes_report_a_mistake_of_one(tmp_path):
    both = together(FLAGS, [("--out", tmp_path / "run", "--lr", 0.01), ("--lr", 0.02)])
    (line,) = {ours(done) for done in both}
    assert_line(line, "--lr", "process 1", 0.02, "process 0", 0.01)
    both = together(FLAGS, [("--out", tmp_path / "run"), ("--devices", 2)])
    assert_line(ours(both[1]), "--devices 2", "at most 1")
    assert_line(ours(both[0]), "process 1", "--devices 2", "at most 1")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "config.json").write_text('{"schema_version": 1}')
    both = together(FLAGS, [("--out", tmp_path / "full"), ()])
    assert all("already contains an unfinished run" in ours(done) for done in both)
    both = together(("--resume",), [("--out", tmp_path / "run"), ()])
    assert "not a run directory" in ours(both[0]) and ours(both[0]) == ours(both[1])
    both = together((*FLAGS[:-4], "--batch-size", 7), [("--out", tmp_path / "run"), ()])
    assert_line(ours(both[0]), "--batch-size 7", "multiple of 2")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_coordinator_that_does_not_answer_or_cannot_listen(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        flags = (*FLAGS, "--coordinator", f"127.0.0.1:{port}", "--num-processes", 2, "--connect-timeout", 2)
        taken = end([start("csnn_jax.train", *flags, "--process-id", 0, "--out", tmp_path / "run")])[0]
    assert_line(ours(taken), f"--coordinator 127.0.0.1:{port}", "listen")
    silent = run("csnn_jax.train", *flags, "--process-id", 1)
    assert_line(ours(silent), f"--coordinator 127.0.0.1:{port}", "2 s")
    alone = run("csnn_jax.train", *flags, "--process-id", 0, "--out", tmp_path / "run")
    assert_line(ours(alone), "2 processes", "2 s", "--connect-timeout")
    nowhere = run("csnn_jax.train", *FLAGS, "--distributed", "--out", tmp_path / "run")
    assert_line(ours(nowhere), "Slurm", "--coordinator")
    assert not (tmp_path / "run").exists()
