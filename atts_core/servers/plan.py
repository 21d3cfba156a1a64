"""From preset, `atts.toml` and options to the exact commands of every server of a pair."""

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeVar

import msgspec

from atts_core.errors import SettingsError
from atts_core.events import Role
from atts_core.servers.presets import EMBEDDED, PRESETS
from atts_core.servers.pythons import DETERMINISTIC_SINCE, Found
from atts_core.servers.settings import RoleGiven, ServersGiven

T = TypeVar("T")

Kind = Literal["sglang", "embedded", "router"]
ROLES: Final[tuple[Role, Role]] = ("draft", "target")
PORTS: Final[dict[Role, int]] = {"draft": 30000, "target": 30100}
"""Apart, so that workers of the draft do not run into the target's."""
HOST: Final = "127.0.0.1"
PATIENCE: Final = 1800.0
"""Seconds: 65 GB of weights over a network file system take a quarter of an hour."""
DEFAULT_NAME: Final = "main"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_MARKS: Final[dict[Kind, str]] = {
    "sglang": "sglang",
    "embedded": "atts_core.embedded.server",
    "router": "sglang",
}
_SECRET: Final = re.compile(r"--[a-z-]*api-key|--[a-z-]*token(?!i)")


class ServerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One program to start."""

    label: str
    """`draft`, or `draft-2` among several workers, or `draft-router`."""
    role: Role
    kind: Kind
    model: str
    host: str
    """Where it listens."""
    port: int
    command: tuple[str, ...]
    env: dict[str, str]
    """Beyond the environment of `atts` itself."""
    gpus: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Where this machine finds it."""
        return f"http://{reachable(self.host)}:{self.port}"

    @property
    def mark(self) -> str:
        """A word that the command line of the running process holds."""
        return _MARKS[self.kind]

    def shown(self) -> str:
        """The command as a shell takes it, without keys."""
        names = [*([("CUDA_VISIBLE_DEVICES", ",".join(self.gpus))] if self.gpus else [])]
        names += sorted((name, value) for name, value in self.env.items() if name != "CUDA_VISIBLE_DEVICES")
        variables = [f"{name}={shlex.quote(_hidden(name, value))}" for name, value in names]
        return " ".join([*variables, shlex.join(without_keys(self.command))])


class PairPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one `atts servers up` starts."""

    name: str
    preset: str
    servers: tuple[ServerPlan, ...]
    """Workers first, then the routers in front of them."""
    restart: bool
    patience: float
    release: str = ""

    def urls(self, role: Role) -> tuple[str, ...]:
        """What to give as this role's URLs: the router's where there is one, else every worker's."""
        servers = [server for server in self.servers if server.role == role]
        routers = [server.url for server in servers if server.kind == "router"]
        return tuple(routers or (server.url for server in servers))

    def waves(self) -> list[list[ServerPlan]]:
        """Servers that start together. Those that share a GPU start one after the other, because SGLang
        shares out the memory that it finds free at its start; routers come last."""
        waves: list[list[ServerPlan]] = []
        for server in self.servers:
            if server.kind == "router":
                continue
            for wave in waves:
                if not any(set(server.gpus) & set(other.gpus) for other in wave):
                    wave.append(server)
                    break
            else:
                waves.append([server])
        routers = [server for server in self.servers if server.kind == "router"]
        return [*waves, *([routers] if routers else [])]


def merge_settings(far: ServersGiven, near: ServersGiven) -> ServersGiven:
    """Both, where the nearer wins; arguments are put one after the other, variables are joined.

    A nearer preset names the models anew, and `embedded` has no use for what was said of GPUs and of SGLang.
    """
    if near.preset == EMBEDDED:
        draft, target = (RoleGiven(host=role.host, port=role.port) for role in (far.draft, far.target))
        far = msgspec.structs.replace(
            far, args=None, env=None, deterministic=None, draft=draft, target=target
        )
    elif near.preset is not None:
        far = msgspec.structs.replace(
            far,
            draft=msgspec.structs.replace(far.draft, model=None),
            target=msgspec.structs.replace(far.target, model=None),
        )
    merged = _merge(far, near)
    return msgspec.structs.replace(
        merged, draft=_merge(far.draft, near.draft), target=_merge(far.target, near.target)
    )


def check_name(name: str) -> str:
    """The name of a pair of servers, which is also that of its folder.

    Raises:
        SettingsError: it cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"--name {name!r}: a name is made of at most 40 letters, digits, '.', '_' and '-', such as main."
        )
    return name


def make_plan(given: ServersGiven, name: str, found: Found) -> PairPlan:
    """The servers to start. `found` is the Python that has sglang, with its release ("" where not asked).

    Raises:
        SettingsError: an unknown preset, a missing model, or numbers that do not go together.
    """
    preset = given.preset or ""
    if preset and preset not in PRESETS:
        raise SettingsError(f"--preset {preset}: there is no such preset; there are {', '.join(PRESETS)}.")
    base = dict(zip(ROLES, PRESETS.get(preset, (RoleGiven(), RoleGiven())), strict=True))
    embedded = preset == EMBEDDED
    workers = _or(given.workers, 1)
    if not 1 <= workers <= 64:
        raise SettingsError(f"--workers {workers}: there can be 1 to 64 workers of each role.")
    if embedded and given.deterministic:
        raise SettingsError("--deterministic: the embedded pair always is; leave it out.")
    patience = _or(given.patience, PATIENCE)
    if not 1 <= patience <= 86400:
        raise SettingsError(f"--patience {patience:g}: it lies between 1 and 86,400 seconds.")
    servers: list[ServerPlan] = []
    for role in ROLES:
        wanted = _merge(base[role], given.draft if role == "draft" else given.target)
        servers += _of_role(role, wanted, given, workers, embedded, found)
    servers.sort(key=lambda server: server.kind == "router")
    _no_port_twice(servers)
    return PairPlan(
        name=check_name(name),
        preset=preset,
        servers=tuple(servers),
        restart=bool(given.restart),
        patience=patience,
        release="" if embedded else found.release,
    )


def _of_role(
    role: Role, wanted: RoleGiven, given: ServersGiven, workers: int, embedded: bool, found: Found
) -> list[ServerPlan]:
    if wanted.model is None:
        raise SettingsError(
            f"The {role} has no model: name one with --{role}-model (or model in [servers.{role}]), or a "
            f"whole pair with --preset {'|'.join(PRESETS)}."
        )
    _check_numbers(role, wanted, embedded)
    model = wanted.model
    if Path(model).expanduser().is_dir() and not embedded:  # found again from any folder
        model = str(Path(model).expanduser().absolute())
    host = wanted.host or given.host or HOST
    port = _or(wanted.port, PORTS[role])
    router = bool(given.router)
    most = port + workers - 1 + 2 * router
    if port < 1 or most > 65535:
        raise SettingsError(
            f"The {role}'s port is {port}; ports lie between 1 and 65535 (--{role}-port, or port in "
            f"[servers.{role}])."
        )
    shares = _share_gpus(role, wanted, workers)
    servers = []
    for number in range(workers):
        at = port + number + router
        if embedded:
            command = _embedded_command(model, wanted, host, at)
        else:
            command = _sglang_command(model, wanted, host, at, given, found)
        gpus = shares[number]
        env = {**(given.env or {}), **(wanted.env or {})}
        if gpus:
            env["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        servers.append(
            ServerPlan(
                label=role if workers == 1 else f"{role}-{number + 1}",
                role=role,
                kind="embedded" if embedded else "sglang",
                model=model,
                host=host,
                port=at,
                command=command,
                env=env,
                gpus=gpus,
            )
        )
    if router:
        servers.append(_router(role, model, host, port, servers, found))
    return servers


def _embedded_command(model: str, wanted: RoleGiven, host: str, port: int) -> tuple[str, ...]:
    return (
        sys.executable,
        *("-m", "atts_core.embedded.server"),
        *("--model", model, "--host", host, "--port", str(port)),
        *(wanted.args or ()),
    )


def _sglang_command(
    model: str, wanted: RoleGiven, host: str, port: int, given: ServersGiven, found: Found
) -> tuple[str, ...]:
    command = [found.python, "-m", "sglang.launch_server", "--model-path", model]
    command += ["--host", host, "--port", str(port)]
    for option, value in (
        ("--tp-size", wanted.tp),
        ("--dp-size", wanted.dp),
        ("--mem-fraction-static", wanted.mem_fraction),
        ("--context-length", wanted.context_length),
    ):
        if value is not None:
            command += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    command += ["--enable-metrics", "--log-level-http", "warning"]  # no line for each of a million requests
    if given.deterministic:
        if found.number is not None and found.number < DETERMINISTIC_SINCE:
            since = ".".join(map(str, DETERMINISTIC_SINCE))
            raise SettingsError(
                f"--deterministic: SGLang can do that from {since} on; {found.python} has {found.release}."
            )
        command.append("--enable-deterministic-inference")
    return (*command, *(given.args or ()), *(wanted.args or ()))


def _router(
    role: Role, model: str, host: str, port: int, workers: list[ServerPlan], found: Found
) -> ServerPlan:
    command = [found.python, "-m", "sglang_router.launch_router", "--host", host, "--port", str(port)]
    command += [
        "--policy",
        "cache_aware",
        "--log-level",
        "warn",
        "--worker-urls",
        *(worker.url for worker in workers),
    ]
    command += ["--prometheus-host", host, "--prometheus-port", str(workers[-1].port + 1)]
    return ServerPlan(
        label=f"{role}-router",
        role=role,
        kind="router",
        model=model,
        host=host,
        port=port,
        command=tuple(command),
        env={},
    )


def _check_numbers(role: Role, wanted: RoleGiven, embedded: bool) -> None:
    for field, value in (
        ("gpus", wanted.gpus),
        ("tp", wanted.tp),
        ("dp", wanted.dp),
        ("mem-fraction", wanted.mem_fraction),
        ("context", wanted.context_length),
    ):
        if embedded and value is not None:
            raise SettingsError(f"--{role}-{field}: the embedded pair runs on the CPU; leave it out.")
    for field, number, most in (
        ("tp", wanted.tp, 1024),
        ("dp", wanted.dp, 1024),
        ("context", wanted.context_length, 2**31 - 1),
    ):
        if number is not None and not 1 <= number <= most:
            raise SettingsError(f"--{role}-{field} {number}: it must lie between 1 and {most:,}.")
    if wanted.mem_fraction is not None and not 0 < wanted.mem_fraction < 1:
        raise SettingsError(
            f"--{role}-mem-fraction {wanted.mem_fraction:g}: it is a share of the GPU's memory, "
            "between 0 and 1."
        )


def _share_gpus(role: Role, wanted: RoleGiven, workers: int) -> list[tuple[str, ...]]:
    """The GPUs of each worker; none where the role names none."""
    gpus = tuple(str(gpu) for gpu in wanted.gpus or ())
    if not gpus:
        return [()] * workers
    for gpu in gpus:
        if not re.fullmatch(r"\d{1,3}|(GPU|MIG)-[0-9A-Za-z/-]{1,80}", gpu):
            raise SettingsError(f"--{role}-gpus: {gpu!r} is neither the number nor the UUID of a GPU.")
    if len(set(gpus)) < len(gpus):
        raise SettingsError(f"--{role}-gpus {','.join(gpus)}: a GPU is named twice.")
    need = _or(wanted.tp, 1) * _or(wanted.dp, 1)
    each, left = divmod(len(gpus), workers)
    if left or each != need:
        product = "tensor × data parallelism × workers" if workers > 1 else "tensor × data parallelism"
        raise SettingsError(
            f"The {role} needs {need * workers} GPUs ({product}) and is given {','.join(gpus)}: "
            f"change --{role}-gpus, --{role}-tp or --{role}-dp."
        )
    return [gpus[each * number : each * (number + 1)] for number in range(workers)]


def _no_port_twice(servers: list[ServerPlan]) -> None:
    taken: dict[int, str] = {}
    for server in servers:
        ports = [server.port, *([int(server.command[-1])] if server.kind == "router" else [])]
        for port in ports:
            if port in taken:
                raise SettingsError(
                    f"{taken[port]} and {server.label} would both have port {port}: move one with "
                    "--draft-port or --target-port."
                )
            taken[port] = server.label


def reachable(host: str) -> str:
    """The host as this machine reaches it, ready for a URL."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104  # compared with, not bound to
        return HOST
    return f"[{host}]" if ":" in host else host


def without_keys(command: tuple[str, ...]) -> tuple[str, ...]:
    """A command line as it may be shown and kept."""
    shown: list[str] = []
    for word in command:
        option, equals, _ = word.partition("=")
        if shown and _SECRET.fullmatch(shown[-1]):
            shown.append("…")
        elif equals and _SECRET.fullmatch(option):
            shown.append(f"{option}=…")
        else:
            shown.append(word)
    return tuple(shown)


def _hidden(name: str, value: str) -> str:
    return "…" if re.search(r"KEY|TOKEN|SECRET|PASSWORD", name, re.IGNORECASE) else value


def environment_of(server: ServerPlan, environment: Mapping[str, str]) -> dict[str, str]:
    """What the process gets: ours, less what belongs to `atts` alone, plus its own."""
    kept = {name: value for name, value in environment.items() if not name.startswith("ATTS_")}
    return {**kept, "PYTHONUNBUFFERED": "1", **server.env}


def _merge(far: T, near: T) -> T:
    values: dict[str, object] = {}
    for name in far.__struct_fields__:  # type: ignore[attr-defined]  # both are of one Struct
        a, b = getattr(far, name), getattr(near, name)
        if isinstance(a, dict) and isinstance(b, dict):
            values[name] = {**a, **b}
        elif name == "args" and a and b:
            values[name] = (*a, *b)
        else:
            values[name] = a if b is None else b
    return type(far)(**values)


def _or(value: T | None, default: T) -> T:
    return default if value is None else value
