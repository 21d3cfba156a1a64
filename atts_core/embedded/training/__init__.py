"""Trains the embedded pair: `python -m atts_core.embedded.training` (extra `train`; `make models`)."""
