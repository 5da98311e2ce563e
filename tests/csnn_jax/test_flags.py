import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import MISSING, dataclass, replace
from importlib.metadata import version

import pytest
from bundles import SMALL, make_run
from commands import ENVIRONMENT, call, passed_by_process
from refusals import refused, refused_by_process, refusing
from trainings import read_flags

from csnn_jax import train
from csnn_jax.command import run_command
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig
from csnn_jax.errors import UserError, naming_flags, printable
from csnn_jax.flags import (
    GROUPS,
    Flags,
    TrainFlags,
    job_options,
    job_words,
    parse,
    parse_train,
    values_of,
    with_options,
)
from csnn_jax.options import option
from csnn_jax.options.kinds import number, several, text
from csnn_jax.runs import rundir


@dataclass(frozen=True)
class Needed(Flags):
    run: str = option(MISSING, text(metavar="RUN"), "Run directory; finished.", positional=True)
    files: tuple[str, ...] = option(MISSING, several(text(metavar="FILE"), least=1), "Files.", positional=True)
    out: str = option(MISSING, text(metavar="BUNDLE"), "Bundle directory to create.")
    by: float = option(1.0, number(above=-1), "By 50% at most.")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--betta", "1"], "--betta: expected a flag of this command; perhaps you meant --beta"),
        (["--batch_size", "8"], "--batch_size: expected a flag of this command; perhaps you meant --batch-size"),
        (["--xyz=3", "1"], "--xyz=3: expected a flag of this command"),
        (["--epoch", "3"], "--epoch: expected a flag of this command; perhaps you meant --epochs"),  # no abbreviations
        (["stray"], "stray: expected a flag"),
        (["--epochs", "many"], "--epochs many: expected a whole number of at least 1"),
        (["--epochs=1.5", "--lr", "1"], "--epochs 1.5: expected a whole number of at least 1"),
        (["--ema", "fast", "--seed", "3"], "--ema fast: expected a number above 0 and below 1"),
        (["--microbatch", "few"], "--microbatch few: expected auto, off, or a whole number of at least 1"),
        (
            ["--input-shape", "1", "2"],
            "--input-shape 1 2: expected three positive whole numbers: height, width, channels",
        ),
        (["--frames", "all"], "--frames all: expected one of time, count"),
        (["--frames", "\x1b[31m"], r"--frames \x1b[31m: expected one of time, count"),
        (["--seed"], "--seed: expected a whole number from 0 to below 2**63"),
        (["--stride"], "--stride: expected a whole number of at least 1, or one value per convolution"),
        (["--flip=3"], "--flip 3: expected no value"),
    ],
)
def test_a_bad_flag_takes_one_line(arguments, line):
    with refusing(UserError) as refusal, naming_flags():
        parse_train(TrainFlags, "csnn-train", "", arguments)
    # the whole line, because argparse finds half of these mistakes and words them differently in each version
    assert printable(refusal.value.args[0]) == f"{line}; see csnn-train --help"


def test_missing_arguments_are_named():
    for arguments, expected in (([], "RUN and FILE and --out"), (["run", "a"], "--out"), (["run"], "FILE and --out")):
        with refusing(UserError, "RUN" if not arguments else "out") as refusal:
            parse(Needed, "csnn-export", "", arguments)
        assert f"expected {expected};" in refusal.value.args[0]


@pytest.mark.parametrize(
    "words",
    [
        ["run", "a.png", "--out", "x", "--by=-1e-3"],
        ["--out", "x", "run", "--by", "-1e-3", "a.png"],
        ["run", "--by", "-.001", "a.png", "--out=x"],
    ],
)
def test_positional_arguments_and_negative_numbers_may_come_anywhere(words):
    assert parse(Needed, "csnn-export", "", words) == Needed(
        "run", ("a.png",), "x", -1e-3, given={"run", "files", "out", "by"}
    )


def test_the_help_has_the_usage_the_text_and_the_default(capsys):
    with pytest.raises(SystemExit) as ended:
        parse(Needed, "csnn-export", "First line.\n\nSecond.", ["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and shown.startswith("usage: csnn-export RUN FILE ... --out BUNDLE [FLAGS]\n")
    assert "First line.\n\nSecond." in shown and re.search(r"--by FLOAT +By 50% at most. \(default: 1\)\n", shown)


@pytest.mark.parametrize("module", ["csnn_jax.train", "csnn_torch.train"])
def test_the_help_of_training_shows_groups_texts_and_defaults(module):
    lines = call(module, "--help").stdout.splitlines()
    heads = [line.removesuffix(":") for line in lines if re.fullmatch(r"[a-z]+( options)?:", line)]
    assert heads == ["options", *(f"{group} options" for group in GROUPS)]
    text = " ".join(" ".join(lines).split())
    assert "Iterations at the start over which the learning rate rises linearly to --lr. (default: 0)" in text


def test_every_option_of_a_job_is_in_a_group_and_words_restore_a_job():
    assert {one.group for one in job_options()} == GROUPS.keys()
    job = Config(ModelConfig(beta=0.7, hidden=(), bias=False), DataConfig(flip=True), TrainConfig(lr=0.5, ema=0.9))
    flags = read_flags(*job_words(job), "--frames", "time")
    assert flags.config == job and flags.given == {"beta", "hidden", "bias", "flip", "lr", "ema", "frames"}
    assert with_options(job, values_of(Config())) == Config()


def test_an_error_is_the_same_whatever_standard_output_is(capsys):
    words = ["--betta", "1"]
    environment = ENVIRONMENT | {"PYTHONIOENCODING": "ascii"}
    done = [refused_by_process("csnn_jax.train", *words, names=["--betta"], env=environment)]
    with redirect_stdout(io.StringIO()):
        assert train.main(words) == 2
    done.append(capsys.readouterr().err.strip())
    assert done[0] == done[1].replace("csnn-train", "python -m csnn_jax.train")


def test_resume_uses_the_runs_flags_unless_overridden(tmp_path):
    out = tmp_path / "run"
    rundir.create(str(out), Config(ModelConfig(time_steps=7), train=TrainConfig(lr=0.5)))
    config = read_flags("--resume", "--out", out, "--epochs", 3).config
    assert config == Config(ModelConfig(time_steps=7), train=TrainConfig(lr=0.5, epochs=3))
    with refusing(UserError, "resume", "out"):
        read_flags("--resume")


def test_resume_remembers_the_cache_but_asks_for_a_folder_again(tmp_path):
    """The run may come from someone else, who must not choose where files are written."""
    for name, cache in (("off", "off"), ("folder", str(tmp_path / "cache"))):
        rundir.create(str(tmp_path / name), Config(data=DataConfig("saccades", cache=cache)))
    resume = ("--resume", "--out")
    assert read_flags(*resume, tmp_path / "off").config.data.cache == "off"
    with refusing(UserError, "resume", f"cache {tmp_path / 'cache'}", tmp_path / "folder"):
        read_flags(*resume, tmp_path / "folder")
    for cache in (str(tmp_path / "cache"), "other", "off"):
        assert read_flags(*resume, tmp_path / "folder", "--cache", cache).config.data.cache == cache


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
        *((f"os.close(1); os.dup2(w, 1); print('x' * {length})", 141) for length in (10**6, 1)),
    ],
)
def test_exit_codes_of_signals_and_closed_pipes(body, code):
    program = f"""
import os, sys
from csnn_jax.command import run_command
r, w = os.pipe(); os.close(r)
def command():
    {body}
    return 0
sys.exit(run_command(command))
"""
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    done = subprocess.run([sys.executable, "-c", program], env=buffered, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")


RUN_OF = ("csnn_jax.evaluate", "csnn_jax.report", "csnn_jax.predict", "export", "export.verify", "csnn_torch.compare")
WORDS = {
    **{module: ("PATH",) for module in RUN_OF},
    "csnn_jax.predict": ("PATH", "image.png"),
    "export": ("PATH", "--out", "bundle"),
    "csnn_jax.report": ("PATH", "--out", "report.html"),
    "csnn_torch.compare": ("PATH", "--out", "comparison"),
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
    program = "from csnn_jax.command import run_command; run_command(lambda: print('3 \u0446'))"
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
