"""Making and verifying a bundle are one plan."""

from export import manifest, parts
from export.make import Making
from export.proof import received
from export.verification import Lines, Verifying


def test_a_bundle_is_made_and_verified_in_the_same_steps(small_bundle, tmp_path):
    recorded = manifest.read(small_bundle)
    opened = received.open_bundle(small_bundle, tmp_path, recorded)
    verifying = Verifying(*opened, Lines(), small_bundle, recorded, None, True)
    tasks = [step.task for step in Making(*opened, {}).steps()]
    assert tasks == [step.task for step in verifying.steps()]
    written = [f"writing {name}" for name in ("config.json", *(next(iter(part.what)) for part in parts.every()))]
    checked = [f"checking {name}" for part in parts.every() for name in part.what]
    timed = [f"timing {name}" for name in recorded["statements"]["latency"]]
    others = ["comparing the files", "describing the results", "the report"]
    assert sorted(tasks) == sorted([*written, *checked, *timed, *others])
    assert tasks[: len(written)] == written and tasks[-1] == "the report"
    assert not any((tmp_path / "bundle").iterdir()), "nothing is done before a step runs"
