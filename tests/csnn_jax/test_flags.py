import io
import os
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Annotated

import pytest
import tyro
from bundles import SMALL, make_run
from commands import ENVIRONMENT, passed_by_process
from refusals import refused, refused_by_process, refusing
from trainings import read_flags

from csnn_jax import train
from csnn_jax.config import Config, ModelConfig, TrainConfig
from csnn_jax.errors import UserError
from csnn_jax.flags import TrainFlags, parse, parse_train, run_command
from csnn_jax.runs import rundir


@dataclass(frozen=True)
class Needed:
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run directory; finished."""
    out: Annotated[str, tyro.conf.arg(metavar="BUNDLE")]
    """Bundle directory to create."""


@pytest.mark.parametrize("width", [40, 63, 119])
def test_a_line_does_not_depend_on_the_terminals_width(width, monkeypatch):
    """The parser's period may be alone in a row, and its choices come in any order."""
    monkeypatch.setenv("COLUMNS", str(width))
    with refusing(UserError, "surrogate no", "expected one of atan, auto, fast_sigmoid"):
        parse_train(TrainFlags, "csnn-train", "", ["--surrogate", "no"])


@pytest.mark.parametrize(
    ("arguments", "line", "encoding"),
    [
        (
            ["--betta", "1"],
            "Unrecognized options: --betta, 1; perhaps you meant --beta FLOAT|{[FLOAT [FLOAT ...]]}",
            "utf-8",
        ),
        (["--epochs", "many"], "--epochs many: expected INT", "ascii"),
        (["--epochs=1.5", "--lr", "1"], "--epochs 1.5: expected INT", "latin-1"),
        (["--lr", "fast", "--seed", "3"], "--lr fast: expected FLOAT", "utf-8"),
        (["--microbatch", "few"], "--microbatch few: expected auto, off or INT", "ascii"),
        (["--augment"], "--augment: expected FLOAT FLOAT FLOAT", "latin-1"),
        (["--augment", "1", "2"], "--augment 1 2: expected FLOAT FLOAT FLOAT", "utf-8"),
        (["--frames", "all"], "--frames all: expected one of count, time", "ascii"),
        (["--seed"], "--seed: expected a value", "latin-1"),
    ],
)
def test_a_bad_flag_takes_one_line(arguments, line, encoding, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    with refusing(UserError) as refusal, redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding)):
        parse_train(TrainFlags, "csnn-train", "", arguments)
    # the whole line, because it's rewritten from the parser's
    assert refusal.value.args[0] == f"{line}; see csnn-train --help"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_missing_arguments_are_named(encoding):
    for arguments, expected in (([], "RUN and out BUNDLE"), (["run"], "out BUNDLE")):
        output = io.TextIOWrapper(io.BytesIO(), encoding)
        with refusing(UserError, expected, "csnn-export help"), redirect_stdout(output):
            parse(Needed, "csnn-export", "", arguments)


def test_an_error_is_the_same_whatever_standard_output_is(capsys):
    words = ["--betta", "1"]
    environment = ENVIRONMENT | {"PYTHONIOENCODING": "ascii"}
    done = [refused_by_process("csnn_jax.train", *words, names=["--betta"], env=environment)]
    with redirect_stdout(io.StringIO()):
        assert train.main(words) == 2
    done.append(capsys.readouterr().err.strip())
    assert done[0] == done[1]


def test_resume_uses_the_runs_flags_unless_overridden(tmp_path):
    out = tmp_path / "run"
    rundir.create(str(out), Config(ModelConfig(time_steps=7), train=TrainConfig(lr=0.5)))
    found = read_flags("--resume", "--out", out, "--epochs", 3).config
    assert found == Config(ModelConfig(time_steps=7), train=TrainConfig(lr=0.5, epochs=3))
    with refusing(UserError, "resume", "out"):
        read_flags("--resume")


def test_exit_codes(capsys):
    def fail(error: BaseException):
        def command() -> int:
            raise error

        return command

    assert run_command(lambda: 5) == 5
    assert run_command(fail(UserError("--lr x: expected y"))) == 2
    assert capsys.readouterr().err == "error: --lr x: expected y\n"
    for error in (MemoryError("Unable to allocate\n9 EiB"), RuntimeError("RESOURCE_EXHAUSTED: Out of memory")):
        assert run_command(fail(error)) == 2
        assert capsys.readouterr().err == f"error: not enough memory: {str(error).splitlines()[0]}\n"
    with pytest.raises(RuntimeError):
        run_command(fail(RuntimeError("another")))
    assert run_command(fail(KeyboardInterrupt())) == 130
    with pytest.raises(ZeroDivisionError):  # a bug keeps its traceback
        run_command(fail(ZeroDivisionError()))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143),
        ("import sys, os; os.close(1); os.dup2(w, 1); print('x' * 10**6)", 141),
    ],
)
def test_exit_codes_of_signals_and_closed_pipes(body, code):
    program = f"""
import os, sys
from csnn_jax.flags import run_command
r, w = os.pipe(); os.close(r)
def command():
    {body}
    return 0
sys.exit(run_command(command))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")


RUN_OF = ("csnn_jax.evaluate", "csnn_jax.report", "csnn_jax.predict", "export", "export.verify", "csnn_torch.compare")
WORDS = {
    **{module: ("PATH",) for module in RUN_OF},
    "csnn_jax.predict": ("PATH", "image.png"),
    "export": ("PATH", "--out", "bundle"),
    "csnn_jax.report": ("PATH", "--out", "report.html"),
    "csnn_torch.compare": ("--run", "PATH", "--out", "comparison"),
}
TRAINS = [("csnn_jax.train", (flag, "PATH")) for flag in ("--out", "--init-from")]
TRAINS += [("csnn_jax.train", ("--resume", "--out", "PATH"))]
TRAINS += [("csnn_jax.train", ("--dataset", f"{kind}:PATH", "--out", "run")) for kind in ("idx", "events", "nmnist")]
OUT = [("export", ("RUN", "--out", "PATH")), ("csnn_torch.compare", ("--quick", "--out", "PATH"))]


@pytest.mark.parametrize(("module", "words"), [*WORDS.items(), *TRAINS, *OUT], ids=str)
def test_a_long_path_takes_one_line(module, words, tmp_path):
    if "RUN" in words:
        make_run(tmp_path / "RUN", SMALL)
    line = refused(module, *(word.replace("PATH", "x " * 2500 + "x") for word in words), names=["x x"], cwd=tmp_path)
    assert line.isprintable()


@pytest.mark.parametrize("words", [("csnn_jax.evaluate", "a\0b"), ("csnn_jax.train", "--out", "a\0b")])
def test_a_nul_byte_takes_one_line(words, tmp_path):
    """The parser of all commands refuses it."""
    assert refused(*words, names=[r"a\x00b"], cwd=tmp_path).isprintable()


@pytest.mark.parametrize("module", ["csnn_jax.predict", "csnn_jax.report"])
def test_a_command_starts_in_its_own_process(module):
    assert passed_by_process(module, "--version") == f"{module.replace('_jax.', '-')} {version('csnn-jax')}\n"


def test_ascii_terminals_get_escaped_output():
    program = "from csnn_jax.flags import run_command; run_command(lambda: print('3 \u0446'))"
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("3 \\u0446\n", "")


def test_flags_fit_the_neurons_of_the_run_they_continue(tmp_path):
    model = replace(SMALL, neuron="synaptic", alpha=0.6, learn_alpha=True, per_channel=("alpha", "beta"))
    run = make_run(tmp_path / "run", model)
    for flags in ((), ("--alpha", 0.6), ("--neuron", "synaptic")):
        assert read_flags("--resume", "--out", run, *flags).config.model == model
    assert read_flags("--init-from", run, "--alpha", 0.7).config.model.alpha == 0.7
    leaky = read_flags("--init-from", run, "--neuron", "leaky").config.model
    assert (leaky.neuron, leaky.alpha, leaky.learn_alpha, leaky.per_channel) == ("leaky", None, False, ("beta",))


def test_switching_to_a_spiking_output_reads_spikes(tmp_path):
    run = make_run(tmp_path / "run", replace(SMALL, output="integrator"))
    assert read_flags("--init-from", run).config.model.readout == "membrane"
    assert read_flags("--init-from", run, "--output", "spiking").config.model.readout == "spikes"
    again = read_flags("--init-from", run, "--output", "spiking", "--readout", "membrane").config.model
    assert (again.output, again.readout) == ("spiking", "membrane")
    with refusing(UserError, "readout spikes", "membrane", "output integrator"):
        read_flags("--output", "integrator", "--readout", "spikes")
