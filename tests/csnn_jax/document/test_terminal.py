from csnn_jax.document import terminal
from csnn_jax.document.blocks import Code, Paragraph, Section, Strong, Table


def test_paragraphs_and_tables_with_numbers_on_the_right():
    rows = [("a", 1000, "1.0 \u00b1 2", Code("x")), (Strong("long"), None, "10", "")]
    blocks = [
        Paragraph(("One ", Code("two"))),
        Section("Left out", []),
        Table("Caption " * 20, ("", "n", "m", "c"), rows),
    ]
    caption = f"{'Caption ' * 15}\n{'Caption ' * 5}".replace(" \n", "\n").rstrip()
    assert (
        terminal.render(blocks)
        == f"""\
One two

{caption}
          n  m         c
a     1,000  1.0 +- 2  x
long      -  10"""
    )
