"""Training steps on a device that is no CPU, without having one: run as a program, with a recipe's overrides.

Tensors know their shape, type and device, but hold no numbers. An operation that meets tensors of two devices, or
whose result the host would have to wait for, fails as it would, or should, on a GPU.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from sslprofiler_core.augment import checks
from sslprofiler_core.model.files import LoadedModel
from sslprofiler_core.model.network import build_network
from sslprofiler_core.profiling.embed_sites import forward_tokens
from sslprofiler_core.recipes import load_recipe
from sslprofiler_core.training import loop
from sslprofiler_core.training.trial import make_trial, random_batch, with_batch

CHANNELS, BATCH = 3, 8


class Elsewhere(_DummyBackendModule):
    """What torch asks of a kind of device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        pass


class Entering(TorchDispatchMode):
    """Makes tensors from outside hollow when they first meet an operation."""

    def __init__(self, hollow: FakeTensorMode) -> None:
        super().__init__()
        self._hollow = hollow

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is not torch.ops.aten.lift_fresh.default:
            args, kwargs = tree_map(self._enter, (args, kwargs or {}))
        # torch lets an index be on the host, and then waits for it.
        met = {t.device for t in tree_iter((args, kwargs)) if isinstance(t, Tensor) and t.ndim}
        assert len(met) < 2 or function is torch.ops.aten.copy_.default, (function, met)
        return function(*args, **(kwargs or {}))

    def _enter(self, value: Any) -> Any:
        return self._hollow.from_tensor(value) if isinstance(value, Tensor) and type(value) is not FakeTensor else value


def send_network(network: nn.Module, device: torch.device, hollow: FakeTensorMode) -> None:
    """Put hollow tensors on the device in the place of a network's own; ``Module.to`` cannot."""
    for module in network.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None:
                sent = hollow.from_tensor(weight.detach()).to(device)
                module._parameters[name] = nn.Parameter(sent, weight.requires_grad)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = hollow.from_tensor(buffer).to(device)
    network.to = lambda *_: network


def main(overrides: list[str]) -> None:
    """Do two steps, and embed."""
    _setup_privateuseone_for_python_backend("elsewhere", Elsewhere())
    device = torch.device("elsewhere:0")
    fake_tensor.CONSTANT_NUMEL_LIMIT = 0  # else single numbers would be computed with, for which there is no device
    checks._check_scales = lambda *_: None  # in training they are on the host, and hold numbers
    recipe = with_batch(load_recipe("tiny", overrides), BATCH)
    batch, networks = random_batch(CHANNELS, (90, 100), BATCH), build_network(recipe, CHANNELS)
    hollow = FakeTensorMode(allow_non_fake_inputs=True)
    with hollow, Entering(hollow):
        for network in networks:
            send_network(network, device, hollow)
        loop.build_network = lambda *_: networks
        trainer = make_trial(recipe, CHANNELS, device)
        for _ in range(2):
            terms, cls_BD = trainer.train_step(batch)
        model = LoadedModel(trainer.teacher.backbone, recipe, "all", ("a", "b", "c"), None, {}, 2)
        sites = [site.to(device) for site in batch.sites]
        _, tokens_BND = forward_tokens(model, sites, batch.scales_BC2)
    assert trainer.step == 2 and terms.device == cls_BD.device == tokens_BND.device == device
    assert terms.shape == (8,) and tokens_BND.shape == (BATCH, 256, 64)


if __name__ == "__main__":
    main(sys.argv[1:])
