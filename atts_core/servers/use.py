"""A run uses servers that `atts servers up` started only where it is told their name: nothing is guessed."""

from collections.abc import Collection

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


def started_processes(urls: Collection[str]) -> dict[int, str]:
    """Role by process id, of all servers of those pairs that were started here and are used by these URLs.

    Behind a router it finds the workers as well, which hold the GPUs. A state file that cannot be read is
    left out.
    """
    found: dict[int, str] = {}
    for name in pair_names():
        try:
            state = read_state(name)
        except SettingsError:
            continue
        if state is not None and any(server.url in urls for server in state.servers):
            found |= {s.process.pid: s.role for s in state.servers if s.process.alive}
    return found
