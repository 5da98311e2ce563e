import pytest
import snntorch as snn
import torch
from foreign_networks import built
from refusals import refusing

from csnn_jax import CSNN, Config, ModelConfig, TrainConfig, data, load, save
from csnn_jax.command import run_command
from csnn_jax.errors import UserError, first_error, first_line, in_python, naming_flags, one_line, printable
from csnn_jax.options import from_json
from csnn_torch import state_dict
from csnn_torch.foreign import nir_network

TINY = ModelConfig(conv_channels=(), hidden=(), time_steps=2)
LINEAR = built(("fc", torch.nn.Linear(784, 10)), ("lif", snn.Leaky(beta=0.5)))


@pytest.mark.parametrize(
    ("error", "line"), [(ValueError("one\ntwo"), "one"), (ValueError(), "ValueError"), (KeyError("x"), "'x'")]
)
def test_first_line(error, line):
    assert first_line(error) == line


def test_a_long_text_keeps_its_ends():
    assert one_line("a" * 100) == "a" * 100 and one_line("a" * 51 + "b" * 50) == f"{'a' * 50}...{'b' * 50}"


@pytest.mark.parametrize(
    ("output", "line"),
    [("In file a.c\n  a.c:1: error: b\nerror: c", "a.c:1: error: b"), ("killed\nbye", "killed"), ("", "no output")],
)
def test_first_error(output, line):
    assert first_error(output) == line


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--batch-size 8: expected 1 to 4", "batch_size 8: expected 1 to 4"),
        ("--surrogate atan, --lr 0.005", "surrogate atan, lr 0.005"),
        ("try `python -m x --out RUN` or --init torch", "try `python -m x --out RUN` or init torch"),
        ("--no-bias: expected --init-from", "bias=False: expected init_from"),
        ("one -- two, a-b, runs/my--run, x--y.npz", "one -- two, a-b, runs/my--run, x--y.npz"),
    ],
)
def test_python_callers_see_arguments_and_commands_print_flags(line, said, capsys):
    assert in_python(line) == said and str(UserError(line)) == said

    def command() -> int:
        raise UserError(f"a file: {UserError(line)}")  # also around another error

    assert run_command(command) == 2
    assert capsys.readouterr().err == f"error: a file: {line}\n"
    assert str(UserError(line)) == said


@pytest.mark.parametrize(
    ("call", "facts"),
    [
        (lambda: TrainConfig(lr=-1), ["lr -1"]),
        (lambda: ModelConfig(conv_channels=(8, 0)), ["conv_channels 8 0"]),
        (lambda: ModelConfig(beta="0.5"), ["beta '0.5'", "number"]),
        (lambda: ModelConfig(bias="True"), ["bias 'True'", "true or false"]),
        (lambda: ModelConfig(reset="1"), ["reset 1", "subtract"]),
        (lambda: from_json(ModelConfig, '{"beta": 2}', "config.json"), ["config.json", "beta 2"]),
        (lambda: CSNN(ModelConfig(weight_bits=9)), ["weight_bits 9"]),
        (lambda: data.load("mnist", (28, 28, 1), subset=10**6), ["subset 1000000"]),
        (lambda: data.load("mnits", (28, 28, 1)), ["name 'mnits'", "mnist"]),
        (lambda: data.load_for(Config(), "mnits"), ["dataset 'mnits'", "mnist"]),
        (lambda: data.epoch_batches(-1, 0, 10, 2), ["seed -1", "at least 0"]),
        (lambda: data.epoch_batches(0, 1.5, 10, 2), ["epoch 1.5", "at least 0"]),
        (lambda: load("nowhere", checkpoint="best"), ["nowhere"]),
        (lambda: save(CSNN(TINY), TINY, "a\0b"), ["path", r"a\x00b"]),
        (lambda: state_dict.convert({"fc.weight": torch.ones(10, 784)}, places=["a"]), ["places a"]),
        (lambda: state_dict.convert(LINEAR, divided_by=-1), ["divided_by -1"]),
        (lambda: nir_network.read("a.nir", norm_input=False), ["norm_input=False", "written_by sinabs"]),
    ],
)
def test_errors_raised_from_python_name_the_argument(call, facts):
    with refusing(UserError, *facts) as caught:
        call()
    assert "--" not in str(caught.value)


def test_notes_for_python_name_arguments_and_those_of_commands_flags():
    assert any("(divided_by)" in note for note in state_dict.convert(LINEAR).notes)
    with naming_flags():
        assert any("(--scale)" in note for note in state_dict.convert(LINEAR).notes)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b]0;x\x07b", r"a\x1b]0;x\x07b"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("\u202edne\u2066\u200b\ufeff", r"\u202edne\u2066\u200b\ufeff"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("\udcff", r"\udcff"),
        ("Größe 大きさ \N{CAT}", "Größe 大きさ \N{CAT}"),
    ],
)
def test_text_that_could_control_a_terminal_is_escaped_in_every_error(text, shown):
    assert printable(text) == one_line(text) == str(UserError(text)) == f"{UserError(text)}" == shown
    assert printable(shown) == shown, "twice is the same as once"
