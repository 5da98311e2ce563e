"""`python -m export.verify`: one line for every file, and an exit code."""

from commands import call


def test_a_bundle_is_ok_line_by_line(spikes):
    """With nothing remembered."""
    done = call("export.verify", spikes, "--quick", "--dataset", f"idx:{spikes.parent / 'images'}")
    assert (done.returncode, done.stderr) == (0, ""), done
    skipped = "accuracy, spikes, operations and energy (--quick)"
    assert done.stdout.splitlines()[-1] == f"ok as far as checked (NOT CHECKED: {skipped}; compared on 4 images)"


def test_what_has_no_manifest_is_no_bundle_and_flags_exclude_each_other(tmp_path):
    (tmp_path / "folder").mkdir()
    for folder in (tmp_path / "folder", tmp_path / "nowhere"):
        done = call("export.verify", folder)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"error: {folder}: is no bundle, expected a directory with manifest.json in it\n"
    done = call("export.verify", tmp_path, "--hashes", "--quick")
    assert (done.returncode, done.stderr) == (2, "error: --quick: expected without --hashes\n")
