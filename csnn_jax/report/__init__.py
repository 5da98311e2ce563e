"""Reports on runs, as one HTML file; `csnn_jax.document` makes the page."""
