"""Runs that outlive the terminal: one file a run, to record, attach, resume, replay, compare and share."""
