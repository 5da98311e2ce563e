"""What a run looked like, as one HTML file; `page` and `charts` make such a file of anything."""
