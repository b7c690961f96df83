"""The chunked losses against the plain ones: value, gradient, and memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sslprofiler_core.training import chunked
from sslprofiler_core.training.losses import dino_loss, ibot_loss, sinkhorn_knopp, softmax_centering

TEMPERATURE = 0.05


@pytest.fixture(params=[1, 40, 10**9], ids=["a row at a time", "a few rows", "all at once"])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "_CHUNK_CPU", request.param)


def unit(seed: int, rows: int, width: int = 8, dtype: torch.dtype = torch.float32) -> Tensor:
    drawn = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return normalize(drawn).to(dtype)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("temperature", [0.2, 0.04])
@pytest.mark.parametrize("iterations", [1, 3])
def test_sinkhorn_equals_the_plain_one(
    dtype: torch.dtype, tolerance: float, temperature: float, iterations: int
) -> None:
    features, prototypes = unit(0, 50, dtype=dtype), unit(1, 13, dtype=dtype)
    found = chunked.sinkhorn(features, prototypes, temperature, iterations).rows(slice(None))
    plain = sinkhorn_knopp((features.double() @ prototypes.double().T), temperature, iterations)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), plain, rtol=0, atol=tolerance)


@pytest.mark.usefixtures("chunk")
def test_sinkhorn_holds_where_the_plain_one_underflows() -> None:
    features, prototypes = unit(0, 50), unit(1, 13)
    found = chunked.sinkhorn(features, prototypes, 0.005).rows(slice(None))
    exact = sinkhorn_knopp(features.double() @ prototypes.double().T, 0.005)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-4)


@pytest.mark.usefixtures("chunk")
def test_centering_and_entropy_equal_the_plain_ones() -> None:
    features, prototypes, centre = unit(0, 50), unit(1, 13), unit(2, 1, 13)[0]
    found = chunked.centred(features, prototypes, centre, TEMPERATURE)
    plain = softmax_centering(features @ prototypes.T, centre, TEMPERATURE)
    torch.testing.assert_close(found.rows(slice(None)), plain, rtol=0, atol=1e-6)
    entropy = -torch.special.xlogy(plain, plain).sum()
    torch.testing.assert_close(found.entropy(), entropy, rtol=1e-5, atol=0)
    sums = chunked.logit_sums(features, prototypes)
    torch.testing.assert_close(sums, (features @ prototypes.T).sum(0), rtol=0, atol=1e-5)


def plain_loss(student: Tensor, prototypes: Tensor, target: Tensor, image: Tensor | None, images: int) -> Tensor:
    logits = student @ prototypes.T
    return dino_loss(logits, target) if image is None else ibot_loss(logits, target, image, images)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("centering", ["sinkhorn", "softmax"])
@pytest.mark.parametrize("which", ["dino", "ibot"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_value_and_gradients_equal_the_plain_losses(
    centering: str, which: str, dtype: torch.dtype, tolerance: float
) -> None:
    rows, images = 60, 9
    image = (torch.arange(rows) ** 2 % 7).sort().values if which == "ibot" else None  # two images have no patch
    drawn = [unit(seed, count, dtype=dtype) for seed, count in ((0, rows), (1, 13), (2, rows), (3, 13))]
    teacher, teacher_prototypes, *student = drawn
    teacher_logits = teacher @ teacher_prototypes.T
    if centering == "sinkhorn":
        target = sinkhorn_knopp(teacher_logits, TEMPERATURE)
        assigned = chunked.sinkhorn(teacher, teacher_prototypes, TEMPERATURE)
    else:
        centre = unit(4, 1, 13, dtype)[0]
        target = softmax_centering(teacher_logits, centre, TEMPERATURE)
        assigned = chunked.centred(teacher, teacher_prototypes, centre, TEMPERATURE)
    weight = torch.full((rows,), 1 / rows, dtype=dtype)
    if image is not None:
        weight = 1 / (images * torch.bincount(image)[image].to(dtype))

    ours = [tensor.clone().requires_grad_() for tensor in student]
    theirs = [tensor.clone().requires_grad_() for tensor in student]
    loss = chunked.cross_entropy(*ours, assigned, weight, 0.1)
    (3 * loss).backward()
    plain = plain_loss(*theirs, target, image, images)
    (3 * plain).backward()
    assert loss.item() == pytest.approx(plain.item(), rel=tolerance)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=tolerance, atol=tolerance)


def test_in_float16_as_on_a_gpu_they_are_about_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cosines in float16, gradients in bf16, sums in float32."""
    monkeypatch.setattr(chunked, "narrowed", lambda unit_MH, precision: unit_MH.half())
    monkeypatch.setattr(chunked, "_CHUNK_CPU", 130)
    teacher, weights = unit(2, 60), unit(3, 13)
    student = [unit(0, 60).requires_grad_(), unit(1, 13).requires_grad_()]
    target = chunked.sinkhorn(teacher.half(), weights.half(), TEMPERATURE)
    assert target.bias_K.dtype == torch.float32
    loss = chunked.cross_entropy(*student, target, torch.full((60,), 1 / 60), 0.1, torch.bfloat16)
    loss.backward()
    found = [tensor.grad for tensor in student]
    plain = [tensor.detach().clone().requires_grad_() for tensor in student]
    expected = dino_loss(plain[0] @ plain[1].T, sinkhorn_knopp(teacher @ weights.T, TEMPERATURE))
    expected.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-3)
    for one, other in zip(found, plain, strict=True):
        assert one is not None and other.grad is not None and one.dtype == torch.float32
        assert (one - other.grad).norm() < 0.02 * other.grad.norm()


def test_no_rows_are_no_loss_and_zero_gradients() -> None:
    student, prototypes = unit(0, 0).requires_grad_(), unit(1, 13).requires_grad_()
    target = chunked.sinkhorn(unit(2, 0), unit(3, 13), TEMPERATURE)
    loss = chunked.cross_entropy(student, prototypes, target, torch.zeros(0), 0.1)
    loss.backward()
    assert loss == 0
    assert prototypes.grad is not None and not prototypes.grad.any()


def test_what_is_not_finite_shows_in_the_loss() -> None:
    teacher = unit(2, 5)
    teacher[3, 1] = torch.nan
    target = chunked.sinkhorn(teacher, unit(3, 13), TEMPERATURE)
    assert not chunked.cross_entropy(unit(0, 5), unit(1, 13), target, torch.full((5,), 0.2), 0.1).isfinite()


class Memory(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make, while they live, and the largest one."""

    def __init__(self) -> None:
        super().__init__()
        self.peak, self.largest = 0, 0
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                key = storage._cdata
                if key not in self._alive:
                    self._alive[key] = storage.nbytes()
                    weakref.finalize(storage, self._alive.pop, key, None)
                self.largest = max(self.largest, leaf.nbytes)
        self.peak = max(self.peak, sum(self._alive.values()))
        return result


def measured(action: Callable[[], object]) -> Iterator[int]:
    with Memory() as memory:
        action()
    yield memory.peak
    yield memory.largest


def test_a_tenth_of_the_plain_losses_memory_and_no_matrix_of_tokens_by_prototypes() -> None:
    rows, prototypes, width = 3000, 2048, 32
    teacher, weights = unit(0, rows, width), unit(1, prototypes, width)
    student = [unit(2, rows, width).requires_grad_(), unit(3, prototypes, width).requires_grad_()]
    image = torch.arange(rows) // 50

    def ours() -> None:
        target = chunked.sinkhorn(teacher, weights, TEMPERATURE)
        chunked.cross_entropy(*student, target, torch.full((rows,), 1 / rows), 0.1).backward()

    def plain() -> None:
        target = sinkhorn_knopp(teacher @ weights.T, TEMPERATURE)
        ibot_loss(student[0] @ student[1].T, target, image, 60).backward()

    matrix = rows * prototypes * 4
    peak, largest = measured(ours)
    plain_peak, plain_largest = measured(plain)
    assert plain_largest >= matrix
    assert largest <= matrix / 10
    assert peak <= plain_peak / 10
