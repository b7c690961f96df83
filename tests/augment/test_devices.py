"""What other devices than a CPU ask for: no float64, no waiting for the device, little memory beside the result.

There is no GPU in these tests. They run the code that a GPU would run (sites together, noise by torch's operations)
under a mode that sees every operation.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from sslprofiler_core import augment
from sslprofiler_core.augment import (
    draw_views,
    elastic_displacement,
    microscope_noise,
    noise,
    render_views,
    views,
    whole_sites,
)
from sslprofiler_core.augment.sample import sample_together
from sslprofiler_core.keys import fold
from sslprofiler_core.recipes import AugmentRecipe

KINDS = {
    "paper": AugmentRecipe(size=64, elastic_alpha=60.0, elastic_sigma=8.0, standardise=True),
    "dinov2": AugmentRecipe(kind="dinov2", size=64),
}


def _tensors(*values: object) -> Iterator[Tensor]:
    return (value for value in tree_iter(values) if isinstance(value, Tensor))


class _NoDouble(TorchDispatchMode):
    """Refuses float64 in all operations."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        # A conversion to float32 on the host, before anything is sent, may take float64.
        if function is not torch.ops.aten._to_copy.default:
            assert not any(t.dtype == torch.float64 for t in _tensors(args, kwargs)), function
        assert not any(t.dtype == torch.float64 for t in _tensors(result)), function
        return result


class _NoWaiting(TorchDispatchMode):
    """Refuses operations whose result the host must wait for: values, and shapes that depend on values."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero", "item")

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        assert name not in self.WAITING, name
        if name in ("index", "index_put", "index_put_"):
            assert not any(t.dtype == torch.bool for t in _tensors(args[1])), "a mask as index"
        return function(*args, **(kwargs or {}))


class _Memory(TorchDispatchMode):
    """Adds up the bytes of all tensors that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {t.untyped_storage().data_ptr() for t in _tensors(args, kwargs)}
        result = function(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            key = storage.data_ptr()
            if key not in given and key not in self._seen and storage.nbytes():
                self._seen.add(key)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._freed, key, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return result

    def _freed(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


@pytest.fixture
def _as_elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # modes belong to a thread
    monkeypatch.setattr(views, "sample_each", sample_together)
    monkeypatch.setattr(noise, "_COMPILED_FROM", 1 << 40)
    yield
    torch.set_num_threads(threads)


def _render(recipe: AugmentRecipe, count: int = 6, side: int = 130, dtype: torch.dtype = torch.float32) -> Tensor:
    rng = np.random.default_rng(0)
    sites = [torch.from_numpy(rng.integers(0, 60000, (3, side, side), np.uint16)) for _ in range(count)]
    drawn = draw_views(fold(3, np.arange(count)), [(side, side)] * count, 3, recipe, "v2")
    return render_views(sites, torch.tensor([0.0, 60000.0]).expand(count, 3, 2), drawn, recipe, dtype=dtype)


@pytest.mark.usefixtures("_as_elsewhere")
@pytest.mark.parametrize("kind", ["paper", "dinov2"])
def test_nothing_on_the_device_is_float64(kind: str) -> None:
    _render(KINDS[kind])
    with _NoDouble():
        _render(KINDS[kind])
        sites, scales = [torch.ones(2, 50, 70, dtype=torch.uint16)], torch.tensor([0.0, 2.0]).expand(1, 2, 2)
        whole_sites(sites, scales, 32, KINDS[kind])
        elastic_displacement([1], 20, 20)
        microscope_noise(torch.full((1, 1, 9, 9), 0.5), keys_B=[1])


@pytest.mark.usefixtures("_as_elsewhere")
@pytest.mark.parametrize("kind", ["paper", "dinov2"])
def test_the_host_does_not_wait(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Scales that are on the host are checked there; training's are.
    monkeypatch.setattr(augment.checks, "_check_scales", lambda *_: None)
    _render(KINDS[kind])  # builds the noise's tables, once in a process
    with _NoWaiting():
        _render(KINDS[kind])


def test_host_arrays_are_sent_by_one_function() -> None:
    """Elsewhere a plain copy from the host would wait for the device, and could bring float64."""
    room = Path(str(augment.__file__)).parent
    for path in room.glob("*.py"):
        if path.name in ("transfer.py", "elastic.py"):  # elastic_displacement computes on the host
            continue
        text = path.read_text("utf-8")
        assert not re.search(r"from_numpy\([^)]*\)[^\n]*\.to\((?:device|\w+\.device)\)", text), path.name


@pytest.mark.usefixtures("_as_elsewhere")
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("kind", ["paper", "dinov2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_beside_the_output_is_at_most_three_times_the_output(
    dtype: torch.dtype, kind: str, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not together:
        monkeypatch.undo()
    recipe = KINDS[kind].model_copy(update={"size": 512, "crop": (0.9, 1.0), "elastic": 1.0, "noise": 1.0})
    sites = [torch.full((5, 1080, 1080), 900, dtype=torch.uint16)] * 3
    drawn = draw_views(fold(3, np.arange(3)), [(1080, 1080)] * 3, 5, recipe, "v2")
    scales = torch.tensor([0.0, 1000.0]).expand(3, 5, 2)
    render_views(sites, scales, drawn, recipe, dtype=dtype)
    with _Memory() as memory:
        output = render_views(sites, scales, drawn, recipe, dtype=dtype).nbytes
    assert output < memory.peak <= 4 * output


def test_bfloat16_is_the_float32_result_rounded() -> None:
    for recipe in KINDS.values():
        assert torch.equal(_render(recipe, dtype=torch.bfloat16), _render(recipe).to(torch.bfloat16))
