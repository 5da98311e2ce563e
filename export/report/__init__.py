"""A bundle's pages for people."""
