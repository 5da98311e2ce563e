"""The report is made from the manifest alone and names every file."""

import re

import pytest

from csnn_jax.document.numbers import interval
from export import manifest
from export.report import text


def test_the_report_matches_the_manifest(any_bundle):
    recorded = manifest.read(any_bundle)
    report = (any_bundle / "report.md").read_text()
    assert report == text.render(recorded)
    assert [name for name in recorded["hashes"] if "/" not in name and f"| `{name}` |" not in report] == ["report.md"]


def test_the_report_counts_differences_and_comparisons(small_bundle):
    files = manifest.read(small_bundle)["results"]["files"]
    report = (small_bundle / "report.md").read_text()
    neurons = 8 * 6 * (4 * 14 * 14 + 16 + 10)
    row = f"| ONNX Runtime | 0 of {neurons:,} | 0 of {neurons:,} | 0 of 8 |"
    assert f"| `step.onnx` {row}" in report and f"| `step_b1.onnx` {row}" in report
    assert f"| `network.nir` | snnTorch | 0 of {neurons:,} | - | 0 of 8 |" in report
    for reader in ("Norse", "Sinabs", "SpikingJelly"):
        row = f"{reader}'s arithmetic, in torch | 0 of {neurons:,} | - | 0 of 8 |"
        assert f"| `network_{reader.lower()}.nir` | {row}" in report
    assert files["step.onnx"]["onnxruntime"]["membranes"] == neurons


def test_an_unsupported_format_is_mentioned_once_with_its_reason(spikes, small_bundle):
    report, reason = (spikes / "report.md").read_text(), manifest.read(spikes)["results"]["nir"]["reason"]
    assert f"There is no NIR file: {reason}." in report and report.count(reason) == 1 and "NIR (" not in report
    assert "SpikingJelly" not in report
    assert "| neuromorphic hardware or its simulator | none, see above |" in report
    whole = (small_bundle / "report.md").read_text()
    assert "no NIR file" not in whole and "SpikingJelly" in whole
    few = manifest.read(small_bundle)
    few["results"]["nir (norse)"] = {"written": False, "reason": "Norse is not for it"}
    report = text.render(few)
    assert "There is no NIR (Norse) file: Norse is not for it." in report and "<!-- norse -->" not in report
    assert "<!-- norse -->" in whole and "<!-- sinabs -->" in report


def test_the_latency_with_and_without_the_option_is_reported_for_weights_of_few_bits(spikes, small_bundle):
    column, row = "| median without the option (ms) |", manifest.read(spikes)["statements"]["latency"]["step_b1.onnx"]
    report = (spikes / "report.md").read_text()
    assert column in report and f"| {row['dequantizing_ms']:.3f} |" in report
    assert column not in (small_bundle / "report.md").read_text()


def test_classes_have_their_names(small_bundle):
    recorded = manifest.read(small_bundle)
    results = recorded["results"]
    first, names = results["files"]["golden/"]["first"], results["semantics"]["class_names"]
    said = f"image (label {first['label']}) should be: {first['class']}, ["
    assert said in text.render(recorded) and len(names) == 10
    assert "- Classes: " not in text.render(recorded)
    names[:] = ["cat", "*dog*", *names[2:8], "a <b>", "10"]
    report = text.render(recorded)
    assert r"- Classes: 0 (cat), 1 (\*dog\*), 2, 3, 4, 5, 6, 7, 8 (a \<b>), 9 (10)." in report
    first |= {"label": 1, "class": 9}
    assert r"image (label 1 (\*dog\*)) should be: 9 (10), [" in text.render(recorded)


def test_a_silent_layer_is_mentioned(small_bundle):
    recorded = manifest.read(small_bundle)
    silent = "**Warning: the neurons after fc1 never spiked"
    assert silent not in text.render(recorded)
    recorded["results"]["numbers"]["layers"][1]["spikes"] = 0
    assert silent in text.render(recorded)


def test_states_resets_and_an_output_without_spikes_are_named(integrator):
    report = (integrator / "report.md").read_text()
    states = [f"{name}{number}" for number in (1, 2, 3) for name in ("syn", "mem")]
    after = ", ".join(f"{name}_next" for name in states)
    for said in (
        f"`(image, {', '.join(states)}) -> (membrane, {after})`",
        "`(image, time_steps) -> (scores, membranes)`",
        "those of the last layer never spike",
        "\nA[t] = alpha * A[t-1] + I[t]\nU[t] = beta * U[t-1] + A[t] - R[t] * threshold (reset subtract)\n",
        "- States: `syn` is A[t], `mem` is U[t]",
        "- Answer: the class with the largest sum of output membranes, added step by step, over the window",
        "The neurons' other states (`syn`) are counted with the membranes.",
        "They were tried on chains of leaky neurons with spike readout.",
    ):
        assert said in report
    assert re.search(r"\| fc1 \| linear \| 16 \| zero \| 0\.5 \| 0\.\d+ to 0\.\d+, by channel \| 0\.\d+ \|", report)
    assert re.search(r"\| fc2 \| linear \| 10 \| none \| 0\.5 \| - \| 0\.\d+ \|", report)
    assert not any(word in report for word in ("spike counts", "output spikes", "never spiked"))
    assert "never spiked" not in (integrator.parent / "printed").read_text()


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (29, 29, 0.8830, 1.0)],
)
def test_the_interval_of_a_share_is_wilsons(right, count, low, high):
    """Examples from Newcombe (Statistics in Medicine 17, 1998, table I, method 3); the last one mirrors the first."""
    assert interval(right / count, count) == pytest.approx((low, high), abs=1e-4)
