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
    assert "in a clone of csnn," in found and "clone" not in now


def test_every_change_is_found_in_the_report_after_it(old):
    report = text.render(manifest.read(old))
    for change in earlier.CHANGES:
        for after, before in change:
            assert report.count(after) == 1
            report = report.replace(after, before)
