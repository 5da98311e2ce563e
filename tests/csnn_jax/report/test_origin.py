"""The command that repeats a run trains the same job; what else says where it comes from."""

import shlex
from dataclasses import replace

from bundles import SMALL, make_run
from configs import CONFIGS
from digits import few_digits
from hypothesis import given, settings

from csnn_jax import data
from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig, decided
from csnn_jax.flags import TrainFlags, parse_train
from csnn_jax.report import origin, subject


def trained(command: str) -> Config:
    """The job that a command asks for."""
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "csnn_jax.train"]
    return parse_train(TrainFlags, "csnn-train", "Trains.", words[3:]).config


def by_layer(config: Config) -> Config:
    """The job with a decay and a threshold for each layer: of a single layer's, a flag has but one form."""
    model = config.model
    return replace(config, model=replace(model, beta=model.betas, threshold=model.thresholds))


@settings(max_examples=12)  # reading flags takes a third of a second
@given(CONFIGS)
def test_the_command_asks_for_the_same_job(config):
    done = decided(replace(config, data=replace(config.data, dataset="tfds:any")))
    assert by_layer(decided(trained(origin.repeating(done, None)))) == by_layer(done)


def test_the_default_job_needs_no_flags():
    mnist = data.load("mnist", (28, 28, 1))
    config = decided(replace(Config(), model=data.fit_model(ModelConfig(), mnist)))
    assert origin.repeating(config, mnist) == "python -m csnn_jax.train"


def test_what_the_data_decide_is_left_to_them(tmp_path):
    images = data.load(few_digits(tmp_path, train=20, test=8), (28, 28, 1))
    asked = Config(SMALL, DataConfig(images.name), TrainConfig(lr=5e-3, seed=4))
    config = decided(replace(asked, model=data.fit_model(SMALL, images)))
    assert origin.repeating(config, images) == (
        "python -m csnn_jax.train --dataset idx:DIR --conv-channels 4 --hidden 16 --pool avg --reset zero "
        "--time-steps 6 --seed 4"
    )


def test_flags_show_no_folder():
    found = origin.flags(Config(data=DataConfig("idx:/home/me")))
    assert (found["--dataset"], found["--lr"], found["--conv-channels"]) == ("idx:DIR", "none", "32 64")


def test_runs_are_told_apart_by_their_flags(tmp_path):
    (tmp_path / "digits").mkdir()
    name = few_digits(tmp_path / "digits", train=20, test=8)
    runs = [make_run(tmp_path / path, replace(SMALL, beta=beta), name) for path, beta in (("a", 0.5), ("b", 0.7))]
    subjects = [subject.read(str(run), number, None) for number, run in enumerate(runs)]
    text = "".join(part.text for part in origin.section(subjects, ["event engine"], "the <command>").contents)
    assert "Flags in which the runs differ" in text and "event engine" in text and "the &lt;command&gt;" in text
    table = text[: text.index("</table>")]
    assert "--beta" in table and "0.7" in table and "--seed" not in table
    assert "Flags in which" not in "".join(part.text for part in origin.section(subjects[:1], [], "").contents)
