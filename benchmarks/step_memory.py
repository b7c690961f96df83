"""What training steps hold on a GPU, counted without one.

    python benchmarks/step_memory.py [--recipe paper-vits14 ...] [--set train.batch=64 ...]

Real training steps, forward and backward, on a device whose tensors are hollow: they know shape, type and device, and
hold no numbers. The bytes of all that are alive are added up; the peak is that of the second step, which has the
optimizer's moments. What a GPU has of its own is put in their place: autocast's list of operations, and attention that
keeps its result and one number a row. A real allocator rounds up and leaves gaps: expect some percent more.

A step fails here where it would, or should, on a GPU: when an operation meets tensors of two devices, or a result that
the host would have to wait for. Prints Markdown: the counted peak beside what ``sslprofiler train --estimate`` says.
"""

from __future__ import annotations

import argparse
import weakref
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from sslprofiler_core.augment import checks
from sslprofiler_core.model.files import LoadedModel
from sslprofiler_core.model.network import build_network
from sslprofiler_core.profiling.embed_sites import forward_tokens
from sslprofiler_core.recipes import Recipe, load_recipe
from sslprofiler_core.training import loop
from sslprofiler_core.training.memory import needed_bytes
from sslprofiler_core.training.trial import make_trial, random_batch

CHANNELS, SIDE = 5, 1080
HOLLOW = "hollow"
# CUDA's autocast: products in the lower precision, norms in float32 (those of its list that the networks have).
LOWERED = ("addmm", "bmm", "conv2d", "linear", "matmul", "mm")
RAISED = ("layer_norm",)


class Device(_DummyBackendModule):
    """What torch asks of a kind of device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        pass


class Autocast:
    """The device's autocast; weights are lowered once a step."""

    def __init__(self) -> None:
        self._key = "AutocastPrivateUse1"
        self._others = torch.library.Library("_", "IMPL")
        self._others.fallback(torch.library.fallthrough_kernel, self._key)
        self._own = torch.library.Library("aten", "IMPL")
        self._weights: dict[int, Tensor] = {}
        for names, change in ((LOWERED, self.lower), (RAISED, self._raise)):
            for name in names:
                self._own.impl(name, self._cast(getattr(torch.ops.aten, name).default, change), self._key)

    def forget(self) -> None:
        """Begin a step."""
        self._weights.clear()

    def lower(self, value: Any) -> Any:
        if not (isinstance(value, Tensor) and value.dtype == torch.float32 and value.device.type == HOLLOW):
            return value
        if not (value.is_leaf and value.requires_grad):
            return value.to(torch.bfloat16)
        if id(value) not in self._weights:
            self._weights[id(value)] = value.to(torch.bfloat16)
        return self._weights[id(value)]

    def _raise(self, value: Any) -> Any:
        return value.float() if isinstance(value, Tensor) and value.dtype == torch.bfloat16 else value

    def _cast(self, operation: Any, change: Any) -> Any:
        keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, self._key))

        def cast(*args: Any, **kwargs: Any) -> Any:
            with torch._C._ExcludeDispatchKeyGuard(keys):
                args, kwargs = tree_map(change, (args, kwargs))
                return operation(*args, **kwargs)

        return cast


class Attention(torch.autograd.Function):
    """What flash attention holds."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        result = torch.empty_like(given[0])
        rows = torch.empty(result.shape[:-1], dtype=torch.float32, device=result.device)
        ctx.save_for_backward(*given, result, rows)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(one) for one in ctx.saved_tensors[:3])


class Held(TorchDispatchMode):
    """Makes tensors from outside hollow when they first meet an operation, and adds up those on the device."""

    def __init__(self, hollow: FakeTensorMode) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._hollow = hollow
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is not torch.ops.aten.lift_fresh.default:
            args, kwargs = tree_map(self._enter, (args, kwargs or {}))
        # torch lets an index be on the host, and then waits for it.
        met = {t.device for t in tree_iter((args, kwargs)) if isinstance(t, Tensor) and t.ndim}
        assert len(met) < 2 or function is torch.ops.aten.copy_.default, (function, met)
        result = function(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, Tensor) and tensor.device.type == HOLLOW:
                storage = tensor.untyped_storage()
                if storage._cdata not in self._sizes:
                    self._sizes[storage._cdata] = storage.nbytes()
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._free, storage._cdata)
        self.peak = max(self.peak, self.now)
        return result

    def _enter(self, value: Any) -> Any:
        return self._hollow.from_tensor(value) if isinstance(value, Tensor) and type(value) is not FakeTensor else value

    def _free(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


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


def peak_bytes(recipe: Recipe, device: torch.device, autocast: Autocast) -> int:
    """Do two steps, and embed; return the second step's peak."""
    networks = build_network(recipe, CHANNELS)
    batch = random_batch(CHANNELS, (SIDE, SIDE), recipe.train.batch)
    hollow = FakeTensorMode(allow_non_fake_inputs=True)

    def attend(*given: Tensor, **options: Any) -> Tensor:
        return Attention.apply(*(map(autocast.lower, given) if torch.is_autocast_enabled(device.type) else given))

    with (
        patch.object(functional, "scaled_dot_product_attention", attend),
        patch.object(loop, "build_network", lambda *_: networks),
        patch.object(checks, "_check_scales", lambda *_: None),  # in training they are on the host, and hold numbers
        hollow,
        Held(hollow) as held,
    ):
        for network in networks:
            send_network(network, device, hollow)
        trainer = make_trial(recipe, CHANNELS, device)
        for _ in range(2):
            autocast.forget()
            held.peak = held.now
            terms, cls_BD = trainer.train_step(batch)
        peak = held.peak
        names = tuple(map(str, range(CHANNELS)))
        model = LoadedModel(trainer.teacher.backbone, recipe, "all", names, None, {}, trainer.step)
        sites = [site.to(device) for site in batch.sites[:2]]
        _, tokens_BND = forward_tokens(model, sites, batch.scales_BC2[:2])
    assert terms.device == cls_BD.device == tokens_BND.device == device
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", nargs="+", default=["paper-vits14", "paper-vitb14"])
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--checkpointing", nargs="+", default=["off", "on"], choices=["off", "on"])
    arguments = parser.parse_args()
    _setup_privateuseone_for_python_backend(HOLLOW, Device())
    device, autocast = torch.device(f"{HOLLOW}:0"), Autocast()
    fake_tensor.CONSTANT_NUMEL_LIMIT = 0  # else single numbers would be computed with, for which there is no device
    print(f"{CHANNELS} channels; torch {torch.__version__}. Counted.\n")
    print("| recipe | batch | checkpointing | peak, GB | --estimate says | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in arguments.recipe:
        for again in arguments.checkpointing:
            switched = f"train.activation_checkpointing={str(again == 'on').lower()}"
            recipe = load_recipe(name, ["train.compile=off", *arguments.set, switched])
            peak, said = peak_bytes(recipe, device, autocast), needed_bytes(recipe, CHANNELS)
            print(
                f"| {name} | {recipe.train.batch} | {again} | "
                f"{peak / 1e9:.2f} | {said / 1e9:.2f} | {said / peak:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
