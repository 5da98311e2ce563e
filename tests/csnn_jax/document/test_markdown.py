"""Markdown shows text literally, whatever is in it."""

import pytest

from csnn_jax.document import markdown
from csnn_jax.document.blocks import Code, Document, Folded, Items, Listing, Paragraph, Picture, Section, Strong, Table

WORDS = ("Run ", Strong(("this ", Code("a *b*"))), ", *now*: U[t-1] > 0.")


def test_every_block():
    blocks = [
        Paragraph(WORDS),
        Items(("one", Code("two"))),
        Table("Caption", ("a", "b"), [("x", "|x|"), (Strong("y"), 1000), ("z", None)]),
        Listing("f()\n```", "A program", "python", "mark"),
        Folded("More", [Section("Inside", [Picture("a.png", "A picture"), Picture(b"png", "not shown")])]),
    ]
    assert (
        markdown.render(Document("A <b>title", [Paragraph("Lead")], [Section("First", blocks)]))
        == """\
# A \\<b>title

Lead

## First

Run **this `a *b*`**, \\*now\\*: U[t-1] > 0.

- one
- `two`

| a | b |
|---|---|
| x | \\|x\\| |
| **y** | 1,000 |
| z | - |

<!-- mark -->
````python
f()
```
````

### Inside

![A picture](a.png)
"""
    )


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("<script>alert(1)</script>", r"\<script>alert(1)\</script>"),
        ("[a](javascript:alert(1)) [a][b] [a]: x", r"[a\](javascript:alert(1)) [a\][b] [a\]: x"),
        ("*a* **a**\n`a`", r"\*a\* \*\*a\*\* \`a\`"),
        (r"\*a* <!--", r"\\\*a\* \<!--"),
        ("a < b > c & 2 * U[t-1]", "a < b > c & 2 * U[t-1]"),
    ],
)
def test_markup_in_text_is_shown_literally(text, escaped):
    assert markdown.words(text) == escaped
    assert "`" not in text or markdown.words(Code(text)) == escaped
