"""Reports on runs, as one HTML file; `page` and `charts` can make one from anything."""
