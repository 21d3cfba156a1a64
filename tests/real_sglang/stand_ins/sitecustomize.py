"""Lets SGLang be imported, and run, where no GPU kernel is: python imports this file by itself at its start.

The packages named in STAND_INS (separated by commas) are empty: every name in them is a class that does
nothing. What a forward pass of a Llama on a CPU really reaches (normalisation and gated activation, which
0.4.3 takes from vllm) is written here in plain PyTorch.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types

PACKAGES = frozenset(os.environ.get("STAND_INS", "").split(",")) - {""}
PROBED = PACKAGES & {"torchvision", "torchaudio"}
"""transformers asks whether these are there, and would use them."""
ABSENT = {"vllm._C"}
"""SGLang copes without it, if importing it fails."""


class Nothing(type):
    """A class with any attribute; it can stand in a union of types, an index or a loop as well."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return nothing(name)

    def __or__(cls, _):
        return cls

    __ror__ = __and__ = __or__

    def __iter__(cls):
        return iter(())

    def __index__(cls):
        return 0

    __int__ = __index__


def nothing(name):
    return Nothing(name, (), {"__init__": lambda self, *a, **k: None, "apply": lambda *a, **k: None})


def unchanged(*positional, **options):
    """A decorator, with arguments or without, that leaves the function as it is."""
    if len(positional) == 1 and callable(positional[0]) and not options:
        return positional[0]
    return lambda function: function


class Empty(types.ModuleType):
    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        found = nothing(name)
        setattr(self, name, found)
        return found


def fill_triton(module):
    module.__version__ = "0.0.0"
    module.jit = module.autotune = module.heuristics = unchanged
    module.cdiv = lambda a, b: -(-a // b)
    module.next_power_of_2 = lambda n: 1 << max(0, n - 1).bit_length()


def fill_sgl_kernel(module):
    """0.4.10 asks for tile instructions, which it would use with these kernels; PyTorch 2.13 renamed that."""
    import torch

    if not hasattr(torch._C._cpu, "_is_amx_tile_supported"):
        torch._C._cpu._is_amx_tile_supported = lambda: False


def fill_layernorm(module):
    import torch

    class RMSNorm(torch.nn.Module):
        offset = 0.0

        def __init__(self, hidden_size, eps=1e-6):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(hidden_size))
            self.variance_epsilon = eps

        def forward(self, x, residual=None):
            kind = x.dtype
            summed = x.float() if residual is None else x.float() + residual.float()
            scale = torch.rsqrt(summed.square().mean(-1, keepdim=True) + self.variance_epsilon)
            out = (summed * scale * (self.weight + self.offset)).to(kind)
            return out if residual is None else (out, summed.to(kind))

    class GemmaRMSNorm(RMSNorm):
        offset = 1.0

    module.RMSNorm, module.GemmaRMSNorm = RMSNorm, GemmaRMSNorm


def fill_activation(module):
    import torch

    class SiluAndMul(torch.nn.Module):
        def forward(self, x):
            gate, up = x.chunk(2, dim=-1)
            return torch.nn.functional.silu(gate) * up

    class GeluAndMul(torch.nn.Module):
        def __init__(self, approximate="tanh"):
            super().__init__()
            self.approximate = approximate

        def forward(self, x):
            gate, up = x.chunk(2, dim=-1)
            return torch.nn.functional.gelu(gate, approximate=self.approximate) * up

    module.SiluAndMul, module.GeluAndMul = SiluAndMul, GeluAndMul


def fill_logger(module):
    import logging

    module.logger = logging.getLogger("vllm")


def fill_parallel_state(module):
    module.get_pp_group = module.get_tp_group = module.get_world_group = lambda: None


FILLED = {
    "triton": fill_triton,
    "triton.backends": lambda module: setattr(module, "backends", {}),  # torch looks for "cpu" in it
    "sgl_kernel": fill_sgl_kernel,
    "vllm.logger": fill_logger,
    "vllm.distributed.parallel_state": fill_parallel_state,
    "vllm.model_executor.layers.layernorm": fill_layernorm,
    "vllm.model_executor.layers.activation": fill_activation,
}


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in PACKAGES and name not in ABSENT:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return Empty(spec.name)

    def exec_module(self, module):
        FILLED.get(module.__name__, lambda _: None)(module)


def hide_probed():
    real = importlib.util.find_spec

    def find_spec(name, package=None):
        return None if name.partition(".")[0] in PROBED else real(name, package)

    importlib.util.find_spec = find_spec


if PACKAGES:
    sys.meta_path.append(StandIns())
    hide_probed()
