"""The end of the report says what nobody but its maker can know."""

from export import manifest
from export.report import checking


def test_the_makers_statements_are_named_and_can_not_be_markup(small_bundle):
    recorded = manifest.read(small_bundle)
    recorded["made"] |= {"cpu": "*fast* <b>", "utc": "2030-01-01"}
    recorded["training"]["seconds"] = None
    said = checking.stated(recorded)
    assert "made 2030-01-01 on \\*fast\\* \\<b\\>" in said and "60\niterations." in said
    assert "--drop-silent" not in said and "--drop-silent" in checking.stated(recorded | {"dropped": {}})
