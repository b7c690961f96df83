"""The host never waits for the device within a step, and the next batch is on its way while one computes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import load_recipe
from sslprofiler_core.training import loop
from sslprofiler_core.training.ahead import SentBatches
from sslprofiler_core.training.trial import make_trial, random_batch
from sslprofiler_core.training.views import step_views

CPU = torch.device("cpu")
# What hands a value, or a size that depends on values, to the host.
WAITING = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "unique", "is_nonzero", "lift_fresh")


class Waits(TorchDispatchMode):
    """Counts what would make the host wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if any(name.startswith(word) for word in WAITING):
            self.found[name] += 1
        if name.startswith("index") and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for index in (args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ())
        ):
            self.found["index by a mask"] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["loss.centering=softmax", "model.separate_ibot_head=true"],
        ["train.activation_checkpointing=true", "model.drop_path=0.3", "model.depth=2"],
        ["augment.local_crops=2", "augment.local_size=16", "train.precision=bf16"],
    ],
)
def test_a_step_hands_nothing_to_the_host(small: list[str], monkeypatch: pytest.MonkeyPatch, more: list[str]) -> None:
    """Views are made before: of them, a CPU computes on the host what a GPU would not."""
    recipe = load_recipe("tiny", [*small, *more])
    trainer = make_trial(recipe, 2, CPU)
    batch = random_batch(2, (64, 64), 8)
    trainer.train_step(batch)
    views = step_views(batch, recipe, 1, CPU)
    monkeypatch.setattr(loop, "step_views", lambda *rest: views)
    called: Counter[str] = Counter()
    for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__"):
        monkeypatch.setattr(torch.Tensor, name, counting(called, name), raising=True)
    with Waits() as waits:
        trainer.train_step(batch)
    monkeypatch.undo()
    assert dict(waits.found) == {}
    assert dict(called) == {}


def counting(called: Counter[str], name: str) -> Any:
    real = getattr(torch.Tensor, name)

    def method(self: Any, *rest: Any, **more: Any) -> Any:
        called[name] += 1
        return real(self, *rest, **more)

    return method


def test_what_waits_is_noticed() -> None:
    with Waits() as waits:
        values = torch.arange(3.0)
        bool((values > 1).any())
        values[values > 1]
        torch.tensor(2.0)
    assert {"_local_scalar_dense", "index by a mask", "lift_fresh"} <= set(waits.found)


class Loader:
    """Counts what is read; the third batch cannot be."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def batch(self, step: int, last: int) -> Any:
        self.read.append(step)
        if step == 2:
            raise UserError("Neither site of a pair can be read.")
        return replace(random_batch(2, (8, 8), 2), problems=[str(step)])


def test_on_a_cpu_batches_are_read_when_they_are_taken() -> None:
    loader: Any = Loader()
    sent = SentBatches(loader, CPU, 3)
    for step in range(2):
        assert sent.take(step).problems == [str(step)]
        sent.prepare(step + 1)
        assert loader.read == list(range(step + 1))
    with pytest.raises(UserError):
        sent.take(2)


@pytest.mark.gpu
def test_on_a_gpu_the_next_one_is_there_already(gpu: torch.device) -> None:
    if gpu.type != "cuda":
        pytest.skip("batches are sent ahead to CUDA's devices alone")
    loader: Any = Loader()
    sent = SentBatches(loader, gpu, 3)
    first = sent.take(0)
    sent.prepare(1)
    assert loader.read == [0, 1]
    second = sent.take(1)
    assert loader.read == [0, 1] and second.problems == ["1"]
    assert all(site.is_cuda for site in second.sites)
    torch.cuda.synchronize()
    assert all(one.equal(other.cpu()) for one, other in zip(first.sites, second.sites, strict=True))
    sent.prepare(2)  # does not fail yet
    with pytest.raises(UserError):
        sent.take(2)
    sent.prepare(3)  # the run's end
    assert loader.read == [0, 1, 2]
