"""The words of earlier versions are known to the letter, by a bundle that one of them made."""

import tarfile
from pathlib import Path

import pytest

from export import manifest
from export.report import earlier, text

FIXTURE = Path(__file__).parents[2] / "fixtures" / "bundle-0.1.0.tar.xz"


@pytest.fixture
def old(tmp_path) -> Path:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "bundle"


def test_the_report_of_an_old_bundle_is_among_those_that_are_accepted(old):
    now, *before = earlier.reports(manifest.read(old))
    assert now == text.render(manifest.read(old))
    found = (old / "report.md").read_text()
    assert found != now and found in before
    assert "in a clone of csnn," in found and "in a clone of csnn," not in now


def test_every_change_is_found_in_the_report_after_it(old):
    report = text.render(manifest.read(old))
    for change in earlier.CHANGES:
        for after, before in change:
            assert report.count(after) == 1
            report = report.replace(after, before)


def test_figures_that_an_earlier_version_did_not_record_are_left_out():
    found = {"a": {"max_difference": 1.0, "max_difference_by_layer": [1.0]}, "different_spikes_by_layer": [0]}
    assert earlier.known(found, {"a": {"max_difference": 2.0}}) == {"a": {"max_difference": 1.0}}
    assert earlier.known(found, found) == found
    assert earlier.known({"new": 1}, {}) == {"new": 1}  # told as a difference


def test_an_old_bundle_was_proven_without_them(old):
    proof = manifest.read(old)["proof"]
    assert not any(name in str(proof) for name in earlier.LATER)
