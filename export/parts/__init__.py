"""What a bundle is made of, one module for each artefact."""
