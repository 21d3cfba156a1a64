"""What is remembered of the servers that were started: one folder a pair, with a state file and the logs.

    ATTS_HOME/servers/NAME/state.json   which processes, told from any other of the same number
    ATTS_HOME/servers/NAME/draft.log    what the draft's server said (target.log, draft-router.log, …)

State files hold no keys, and are their user's own.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import platformdirs

from atts_core.errors import SettingsError
from atts_core.events import Role
from atts_core.processes import boot_identity, command_line, process_space, process_start, session_members
from atts_core.servers.plan import Kind, check_name

FOLDER_MODE: Final = 0o700
STATE: Final = "state.json"
KEEPER_LOG: Final = "keeper.log"
_LOCK: Final = "lock"


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process that is found again without doubt."""

    pid: int
    start: str
    """Its start on the system's clock, which no later process of that number shares."""
    mark: str
    """A word of its command line."""
    boot: str = ""
    space: str = ""

    @property
    def here(self) -> bool:
        """Whether its number means anything to this process: same boot, same process-number space."""
        return self.boot == boot_identity() and self.space == process_space()

    @property
    def alive(self) -> bool:
        """Whether it is this very process that lives under its number."""
        if not self.here or process_start(self.pid) != self.start:
            return False
        line = command_line(self.pid)
        return not line or self.mark in line  # a process that is just ending has no line any more


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """One server that was started."""

    label: str
    role: Role
    kind: Kind
    model: str
    url: str
    process: Process
    """Leader of a session and process group of its own."""
    began: float
    """Seconds since the epoch."""
    ready: bool = False
    parts: tuple[Process, ...] = ()
    """Processes of a ready server without which it hangs: SGLang's scheduler and detokenizer."""
    restarts: int = 0
    note: str = ""
    """What became of it last, in words."""

    def dead_part(self) -> str | None:
        """What of it is gone, in words, though it was there: None where all lives."""
        if not self.process.alive:
            return "its process is gone"
        gone = [part.mark for part in self.parts if not part.alive]
        return f"its {gone[0]} is gone" if gone else None

    def members(self) -> list[int]:
        """Processes of its session that live, the leader first where it lives.

        The kernel gives no new process the number of a session that has members, so while the leader's
        number is not another process's, these are what it left.
        """
        process = self.process
        if not process.here:
            return []
        start = process_start(process.pid)
        if start is not None and start != process.start:
            return []  # the number was given anew, so the session had no member left
        members = session_members(process.pid)
        if start is not None:
            return members if process.alive else []
        parts = {(part.pid, part.start) for part in self.parts}
        return [
            pid for pid in members if (pid, process_start(pid)) in parts or process.mark in command_line(pid)
        ]


class PairState(msgspec.Struct, frozen=True, kw_only=True):
    """One pair, as its state file holds it."""

    name: str
    preset: str
    release: str
    servers: tuple[Server, ...]
    starter: Process | None = None
    """The `atts servers up` that is still waiting for them, or stays with them."""
    keeper: Process | None = None
    """What restarts a dead one."""

    def urls(self, role: Role) -> tuple[str, ...]:
        """The router's URL of a role where there is one, else every worker's."""
        servers = [server for server in self.servers if server.role == role]
        return tuple(
            [server.url for server in servers if server.kind == "router"]
            or [server.url for server in servers]
        )

    @property
    def living(self) -> bool:
        """Whether anything of it is left."""
        others = (self.starter, self.keeper)
        return any(server.members() for server in self.servers) or any(
            other is not None and other.alive for other in others
        )

    def with_server(self, server: Server) -> "PairState":
        """The same with one server's entry replaced or added."""
        kept = [entry for entry in self.servers if entry.label != server.label]
        order = [entry.label for entry in self.servers]
        servers = sorted(
            [*kept, server], key=lambda s: order.index(s.label) if s.label in order else len(order)
        )
        return msgspec.structs.replace(self, servers=tuple(servers))


def this_process(mark: str) -> Process:
    """This very process."""
    return identify(os.getpid(), mark)


def identify(pid: int, mark: str) -> Process:
    """A process that lives now."""
    return Process(
        pid=pid, start=process_start(pid) or "", mark=mark, boot=boot_identity(), space=process_space()
    )


def servers_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of all pairs: `servers` in `ATTS_HOME`, else in the platform's place."""
    home = environment.get("ATTS_HOME")
    return (Path(home).expanduser() if home else platformdirs.user_data_path("atts")) / "servers"


def make_pair_folder(name: str) -> Path:
    """The folder of one pair, made where it is not there.

    Raises:
        SettingsError: it cannot be made.
    """
    folder = servers_folder() / check_name(name)
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"The folder {folder} cannot be made ({error.strerror}); say with ATTS_HOME where state and logs "
            "may lie."
        ) from None
    return folder


def pair_names() -> list[str]:
    """Pairs that have a state file."""
    try:
        return sorted(path.parent.name for path in servers_folder().glob(f"*/{STATE}"))
    except OSError:
        return []


def read_state(name: str) -> PairState | None:
    """What is remembered of a pair; None where there is nothing.

    Raises:
        SettingsError: the file cannot be read.
    """
    path = servers_folder() / check_name(name) / STATE
    try:
        return msgspec.json.decode(path.read_bytes(), type=PairState)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(
            f"{path} cannot be read ({words}): remove it if nothing of the pair runs."
        ) from None


def write_state(state: PairState) -> None:
    """Keep the state; a reader sees the old one or the new one."""
    path = servers_folder() / state.name / STATE
    new = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(state), indent=1))
    new.replace(path)


def forget_state(name: str) -> None:
    """Remove the state file; the logs stay until the next start."""
    (servers_folder() / name / STATE).unlink(missing_ok=True)


def log_path(name: str, label: str) -> Path:
    """Where a server's words go."""
    return servers_folder() / name / f"{label}.log"


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Only one process starts a pair of this name at a time.

    Raises:
        SettingsError: another one is at it.
    """
    folder = make_pair_folder(name)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(
                f"Another `atts servers up` is starting or keeping the pair {name}; see atts servers status."
            ) from None
        yield
    finally:
        os.close(descriptor)
