"""The site's generated pages: one lists every flag, and the other has the code's own answers about support."""

import importlib.util
import re
import runpy
import sys
import tomllib
from dataclasses import dataclass

import pytest
from commands import call
from documents import read
from reference import flags, options
from reference.flags import COMMANDS, Flag
from reference.support import Notes, table
from reference.targets import TARGETS, Answer, Fields, Question, ask
from refusals import refusing

from csnn_jax.devices.flags import JaxFlags
from csnn_jax.options import option
from csnn_jax.options.kinds import choice, count

EVENT, SCAN, TORCH, C, ONNX, NIR = "event engine", "scan engine", "snnTorch", "C", "ONNX", "NIR"
READERS = {"NIR (Norse)", "NIR (Sinabs)", "NIR (SpikingJelly)"}


@dataclass(frozen=True)
class WithChoice(JaxFlags):
    novel: str = option("one", choice(("one", "two")), "Something new.")


@dataclass(frozen=True)
class WithNumber(JaxFlags):
    novel: int = option(1, count(), "Something new.")


def test_every_command_of_the_package_is_included() -> None:
    scripts = tomllib.loads(read("pyproject.toml"))["project"]["scripts"].values()
    assert {script.partition(":")[0].removesuffix(".__main__") for script in scripts} == COMMANDS.keys()


@pytest.mark.parametrize("module", COMMANDS)
def test_a_commands_file_runs_it(module: str, monkeypatch) -> None:
    spec = importlib.util.find_spec(module)
    assert spec and spec.origin
    monkeypatch.setattr(sys, "argv", ["command", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(spec.origin.replace("__init__", "__main__"), run_name="__main__")
    assert ended.value.code == 0


@pytest.mark.parametrize("module", COMMANDS)
def test_the_flags_match_the_help(module: str) -> None:
    lines = call(module, "--help").stdout.splitlines()
    heads = [line.removesuffix(":") for line in lines if re.fullmatch(r"[a-z]+ (arguments|options):", line)]
    shown = [name for line in lines if (name := re.match(r"  (--[a-z-]+|[A-Z]+(?=  |$))", line))]
    groups = flags.groups(COMMANDS[module])
    assert [name[1] for name in shown if name[1] != "--version"] == [
        one.name for group in groups for one in group.flags
    ]
    titles = [f"{group.title.lower()} options" for group in groups if group.title]
    assert [head for head in heads if head != "positional arguments"] == titles


def test_the_page_has_a_row_for_every_flag() -> None:
    page = flags.render()
    for module in COMMANDS:
        assert f"python -m {module} " in page
    for name in (one.name for group in flags.groups(JaxFlags) for one in group.flags):
        assert page.count(f"| [`{name}`](#{name[2:]}){{ #{name[2:]} }} |") == 1
    anchors = re.findall(r"{ #(\S+) }", page)
    assert len(anchors) == len(set(anchors)) and set(re.findall(r"\]\(#(\S+?)\)", page)) <= set(anchors)
    assert "[`--device`](#torch-train-device)" in page and "[`--out`](#torch-train-out)" not in page


def test_a_row_matches_the_declaration() -> None:
    rows = {one.name: one for group in flags.groups(JaxFlags) for one in group.flags}
    text = "Iterations at the start over which the learning rate rises linearly to --lr."
    assert rows["--warmup"] == Flag("--warmup", "`0`", "a whole number of at least 0", text)
    assert rows["--pool"][:3] == ("--pool", "`max`", "`max`, `avg`, `sum`, `none`")
    assert rows["--conv-channels"][:3] == (
        "--conv-channels",
        "`32 64`",
        "any number of values, each a whole number of at least 1",
    )
    assert rows["--devices"][:3] == ("--devices", "`1`", "`all`, or a whole number of at least 1")
    assert rows["--augment"][:3] == (
        "--augment",
        "`None`",
        "three numbers: shift in pixels, rotation in degrees, scale as a fraction",
    )
    assert rows["--flip"][1:3] == rows["--no-bias"][1:3] == ("off", "no value")
    (run, *_) = flags.groups(COMMANDS["export"])[0].flags
    assert run[:3] == ("RUN", "required", "a run directory")


def test_a_new_flag_appears_on_both_pages() -> None:
    assert Flag("--novel", "`one`", "`one`, `two`", "Something new.") in flags.groups(WithChoice)[0].flags
    rows = options.of_command(WithChoice, [""])[""]
    assert [row.value for row in rows if row.name == "--novel"] == ["`one`", "`two`"]
    with refusing(ValueError, "--novel", "SAMPLES"):
        options.of_command(WithNumber, [""])


def test_every_flag_of_the_training_command_is_covered() -> None:
    asked = {row.name for rows in options.of_command().values() for row in rows}
    known = {one.name for group in flags.groups(JaxFlags) for one in group.flags}
    assert known - asked == {f"--{name.replace('_', '-')}" for name in options.ASIDE} and asked <= known


def reasons(changes: Fields, platform: str = "cpu", whole: bool = False) -> dict[str, str]:
    """The columns that refuse a job, with their reasons."""
    answers = {name: ask(target, Question(changes, platform, whole)) for name, target in TARGETS.items()}
    return {name: answer.reason for name, answer in answers.items() if answer.reason is not None}


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, set()),
        ({"pool": "avg"}, set()),
        ({"pool": "sum"}, {EVENT}),
        ({"pool": "max"}, {NIR, *READERS}),
        ({"pool_after": True}, set()),
        ({"residual": ("conv2",)}, READERS),
        ({"kernel_size": 7}, set()),
        ({"kernel_size": 9}, {EVENT}),
        ({"weight_bits": 2}, set()),
        ({"reset": "none"}, {NIR, *READERS}),
        ({"reset": "clear", "neuron": "synaptic"}, {EVENT, TORCH, "NIR (Sinabs)"}),
        ({"beta": 0.9}, {"NIR (Norse)"}),
        ({"learn_beta": True}, {"NIR (Norse)"}),
        ({"output": "integrator"}, {NIR, *READERS}),
        ({"rate_target": 0.1}, set()),
        ({"dtype": "float64"}, {EVENT}),
        ({"batch_norm": True}, {EVENT}),
        ({"dropout": 0.5, "optimizer": "sgd", "loss": "mse_count"}, set()),
        ({"devices": 2}, {TORCH}),
    ],
)
def test_known_answers(changes: Fields, refused: set[str]) -> None:
    assert reasons(changes).keys() == refused


def test_the_reasons_come_from_the_code() -> None:
    assert reasons({"pool": "sum"}) == {EVENT: "the event engine doesn't support sum pooling of currents, as in pool1"}
    assert reasons({"devices": 2}) == {TORCH: "--devices: expected a flag of this command"}
    assert reasons({"pool": "max"})[NIR] == "NIR has no max-pooling; train with --pool avg for a network.nir"
    assert reasons({}, "gpu") == {EVENT: "the event engine runs on the CPU, not on gpu"}
    assert reasons({}, "tpu").keys() == {EVENT, TORCH}


def test_additional_requirements_of_a_file_are_listed() -> None:
    assert ask(TARGETS[NIR], Question({})) == Answer(None, {"pool": "avg", "reset": "zero"})
    assert ask(TARGETS[NIR], Question({"neuron": "synaptic"})) == Answer(None, {"pool": "avg", "reset": "clear"})
    assert reasons({}, whole=True).keys() == reasons({"recipe": "fast"}, whole=True).keys() == {NIR, *READERS}
    assert reasons({"recipe": "nir"}, whole=True) == {}


def test_data_sets(tmp_path) -> None:
    refusers = {row.value: reasons(row.question.changes).keys() for row in options.data_sets(tmp_path)}
    files = {C, ONNX, NIR, *READERS}
    assert list(refusers.values()) == [set(), set(), set(), files, set(), {EVENT}, {EVENT, *files}]
    images, recordings, *_ = refusers
    assert "`mnist`, `idx:DIR`" in images and "`nmnist:DIR`, `dvsgesture:DIR`" in recordings


def test_the_table() -> None:
    rows = [
        *(options.Option("--pool", f"`{kind}`", Question({"pool": kind})) for kind in ("avg", "sum", "none")),
        options.Option("--seed", "`1`", Question({"seed": 1}), False),
        options.Option("--neuron", "`synaptic`", Question({"neuron": "synaptic"})),
    ]
    notes, usual = Notes(), {name: ask(target, Question({})).needs for name, target in TARGETS.items()}
    lines = table(rows, notes, usual).splitlines()
    first, second, third = (line.split(" | ") for line in lines[2:5])
    assert first == ["| [`--pool`](flags.md#pool)", "`avg`, `none`", *["✓"] * 8, "✓ |"]
    why = "the event engine doesn't support sum pooling of currents, as in pool1"
    assert second[1:4] == ["`sum`", f'no&nbsp;[1](#reason-1 "{why}")', "✓"]
    assert third[7] == '✓&nbsp;[3](#reason-3 "with --reset clear")'
    assert lines[-1] == "These work everywhere: [`--seed`](flags.md#seed)."
    reasons = notes.listed().splitlines()
    assert reasons[2] == '3. <span id="reason-3"></span>With [`--reset`](flags.md#reset) clear'
