"""What can go wrong for a user, as one readable hierarchy.

Every message is one sentence that says what is wrong, where, and what to do. A front end prints it as it
stands, without a traceback; anything that is not an `AttsError` is a defect of ours.
"""


class AttsError(Exception):
    """Base of every error that a user can meet. `exit_status` is what the command line ends with."""

    exit_status = 1


class SettingsError(AttsError):
    """Bad usage, a bad setting or a bad file: nothing has begun. Exit status 2."""

    exit_status = 2


class RunError(AttsError):
    """A run had begun and failed or is incomplete; what was finished is kept. Exit status 1."""
