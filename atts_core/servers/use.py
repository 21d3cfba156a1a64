"""A run uses servers that `atts servers up` started only where it is told their name: nothing is guessed."""

from atts_core.errors import SettingsError
from atts_core.servers.plan import ROLES
from atts_core.servers.state import pair_names, read_state


def urls_of_pair(name: str) -> dict[str, str]:
    """The URLs of a pair that is up, by role; several of one role are separated by commas.

    Raises:
        SettingsError: there is no such pair, or it is not up any more.
    """
    state = read_state(name)
    if state is None:
        names = pair_names()
        there = f"there is {', '.join(names)}" if names else "start one with `atts servers up`"
        raise SettingsError(f"--servers {name}: there is no pair of that name; {there}.")
    for server in state.servers:
        why = server.dead_part() or (None if server.ready else "it is starting")
        if why is None:
            continue
        raise SettingsError(
            f"--servers {name}: its {server.label} server is not up, {why}; see `atts servers status` and "
            f"`atts servers logs --name {name}`."
        )
    return {role: ",".join(state.urls(role)) for role in ROLES}
