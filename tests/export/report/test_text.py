"""The report is made from the manifest alone, and names every file that there is."""

from export import manifest
from export.report import text


def test_the_report_is_what_the_manifest_says(any_bundle):
    recorded = manifest.read(any_bundle)
    report = (any_bundle / "report.md").read_text()
    assert report == text.render(recorded)
    assert [name for name in recorded["files"] if "/" not in name and f"| `{name}` |" not in report] == ["report.md"]


def test_a_format_that_the_network_can_not_have_is_missed_once_with_its_reason(spikes, small_bundle):
    report, reason = (spikes / "report.md").read_text(), manifest.read(spikes)["nir"]["reason"]
    assert f"There is no NIR file: {reason}." in report and report.count(reason) == 1
    assert "SpikingJelly" not in report
    assert "| neuromorphic hardware or its simulator | none, see above |" in report
    whole = (small_bundle / "report.md").read_text()
    assert "no NIR file" not in whole and "SpikingJelly" in whole


def test_a_silent_network_is_told_of_where_spikes_are_compared(small_bundle):
    recorded = manifest.read(small_bundle)
    assert "never spiked" not in text.render(recorded)
    recorded["numbers"]["layers"][1]["spikes"] = 0
    _, section = text.render(recorded).split("## How equal they are\n\n")
    assert section.startswith(
        "**Warning: the neurons after fc1 never spiked, so equal spikes prove little.**\n\n| file"
    )


def test_a_loss_of_few_images_is_not_put_down_to_the_network(small_bundle):
    recorded = manifest.read(small_bundle)
    recorded["proof"]["step.onnx"]["accuracy"], recorded["proof"]["step_int8.onnx"]["accuracy"] = 0.95, 0.9
    remark = "More than 0.5 points are lost"
    assert "5.00 points worse" in text.render(recorded) and remark not in text.render(recorded)
    recorded["settings"]["accuracy_images"] = 10_000
    assert remark in text.render(recorded)
