"""Reads networks from files of other programs: state_dicts and NIR."""
