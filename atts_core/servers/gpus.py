"""Whether the GPUs that a plan names are there."""

from atts_core.errors import SettingsError
from atts_core.servers.plan import PairPlan
from atts_core.telemetry.nvml import read_gpus


def require_gpus(plan: PairPlan) -> None:
    """Raises SettingsError where NVIDIA's driver counts fewer GPUs than the plan numbers. Without that driver
    (or for UUIDs) nothing is known here, and SGLang itself says what it misses."""
    wanted = {gpu: server.role for server in plan.servers for gpu in server.gpus if gpu.isdigit()}
    if not wanted:
        return
    there = {gpu.index for gpu in read_gpus()[0]}  # MIG instances are read beside their GPU
    missing = [gpu for gpu in wanted if there and int(gpu) not in there]
    if missing:
        role = wanted[missing[0]]
        known = "only GPU 0" if len(there) == 1 else f"GPUs 0 to {max(there)}"
        raise SettingsError(
            f"The {role} is to use GPU {missing[0]}, but this machine has {known}: change --{role}-gpus, and "
            f"--{role}-tp with it."
        )
