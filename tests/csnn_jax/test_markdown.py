from csnn_jax import markdown


def test_a_table_has_a_rule_and_escaped_bars():
    assert markdown.table(("a", "b"), [("1", "|x|")]) == "| a | b |\n| --- | --- |\n| 1 | \\|x\\| |"
