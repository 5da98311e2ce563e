"""Documents as data, and as HTML, Markdown and text for a terminal."""
