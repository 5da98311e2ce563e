"""The report's Markdown as HTML: what it uses is set, all else is text."""

from export.report import markup

TEXT = """\
A paragraph
of two lines.

<!-- step -->
```python
x = 1

print("<b>")
```

    R[t] = 1
    U[t] = 2

- one
- `two`

| file | what | n |
| --- | --- | --- |
| `a` | x\\|y | 1,000 |
| **total** | - | 2 |"""


def test_every_kind_of_block_is_set():
    paragraph, program, equations, items, table = (piece.text for piece in markup.pieces(TEXT, "Caption"))
    assert paragraph == "<p>A paragraph of two lines.</p>"
    assert "<pre><code>x = 1\n\nprint(&quot;&lt;b&gt;&quot;)</code></pre>" in program and "Caption" in program
    assert "<code>R[t] = 1\nU[t] = 2</code>" in equations
    assert items == "<ul><li>one</li><li><code>two</code></li></ul>"
    assert "<caption>Caption</caption>" in table and table.count("<tr>") == 3
    assert '<th scope="row"><code>a</code></th>' in table and '<th scope="row"><strong>total</strong></th>' in table
    assert "<td>x|y</td>" in table
    assert table.count('class="number"') == 3  # of a column that holds numbers alone


def test_what_could_do_harm_is_text():
    for hostile in ("[a](javascript:alert(1))", "<script>alert(1)</script>", '[a](https://x" onclick="y)', "<b>`"):
        found = markup.inline(hostile).text
        assert "<script" not in found and "<b>" not in found and 'href="javascript' not in found
        assert 'onclick="' not in found
