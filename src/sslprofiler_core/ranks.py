"""Several processes that train as one: started by ``torchrun``, each a rank of the same group.

A single process is rank 0 of 1: every function here then does nothing, and no group is made. Tensors on the host go
through gloo, those on a GPU through NCCL. Imports torch when used: the command line's start does not pay for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

# Rank 0 may embed sites or write a checkpoint for long while the others wait.
_PATIENCE = timedelta(hours=2)
# How torch says that another process went, which the one that went has explained.
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL", "Connection refused")


def several() -> bool:
    """Whether this process was started as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def count() -> int:
    """How many ranks there are."""
    if not several():
        return 1
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_initialized() else 1


def index() -> int:
    """Which one this is."""
    return int(os.environ.get("RANK", "0")) if several() else 0


def device_name(name: str | None) -> str | None:
    """The name of this rank's device: of several GPUs in a machine, each rank takes its own.

    Raises
    ------
    UserError
        When a machine has fewer GPUs than ranks.
    """
    import torch

    if not several() or name not in (None, "cuda") or not torch.cuda.is_available():
        return name
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if local >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise UserError(
            f"Rank {local} of this machine has no GPU: there are {found}. Start {found} processes a machine."
        )
    return f"cuda:{local}"


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Be one of the group while within; for a single process, nothing.

    Raises
    ------
    UserError
        When another rank ends before this one.
    """
    if not several():
        yield
        return
    import torch
    import torch.distributed as dist

    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    try:
        yield
    except RuntimeError as error:
        if any(word in str(error) for word in _LOST):
            raise UserError(
                "Another process of this training ended; what it printed says why. Then go on with --resume."
            ) from error
        raise
    finally:
        with suppress(RuntimeError):
            dist.destroy_process_group()


def from_first(make: Callable[[], T]) -> T:
    """Let rank 0 do something while the others wait, and give all what it returns (it is pickled for them).

    What it raises ends every rank: rank 0 raises it, the others leave in silence (``SystemExit``).
    """
    if count() == 1:
        return make()
    import torch
    import torch.distributed as dist

    host = torch.device("cpu")
    word: list[tuple[bool, T | None]] = [(False, None)]
    if index() == 0:
        try:
            word = [(True, make())]
        except BaseException:
            with suppress(RuntimeError):
                dist.broadcast_object_list(word, device=host)
            raise
    dist.broadcast_object_list(word, device=host)
    done, value = word[0]
    if not done:
        raise SystemExit(2)
    return value  # type: ignore[return-value]  # None only where T is


def on_first(make: Callable[[], T]) -> T | None:
    """Let rank 0 do something whose result it keeps; others get None, or leave as in `from_first`."""
    made: list[T] = []
    from_first(lambda: made.append(make()))
    return made[0] if made else None


def raise_any(problem: UserError | None) -> None:
    """Raise what any rank has to tell: rank 0 says it, the others leave in silence."""
    if count() == 1:
        if problem is not None:
            raise problem
        return
    if agree([problem is not None]) == [0]:
        return
    told = collected([] if problem is None else [str(problem)])
    if index() > 0:
        raise SystemExit(2)
    raise UserError(told[0])


def agree(words: Sequence[int]) -> list[int]:
    """The largest of each number over all ranks; on the host, which does not wait for a GPU."""
    if count() == 1:
        return [int(word) for word in words]
    import torch
    import torch.distributed as dist

    numbers = torch.tensor([int(word) for word in words])
    dist.all_reduce(numbers, dist.ReduceOp.MAX)
    return [int(number) for number in numbers.tolist()]


def collected(texts: Sequence[str]) -> list[str]:
    """The texts of all ranks."""
    if count() == 1:
        return list(texts)
    import torch.distributed as dist

    found: list[list[str]] = [[] for _ in range(count())]
    dist.all_gather_object(found, list(texts))
    return [text for part in found for text in part]


def total(values: Tensor) -> Tensor:
    """Sum over all ranks; carries no gradient."""
    if count() == 1:
        return values
    import torch.distributed as dist

    summed = values.detach().clone()
    dist.all_reduce(summed)
    return summed


def highest(values: Tensor) -> Tensor:
    """Maximum over all ranks; carries no gradient."""
    if count() == 1:
        return values
    import torch.distributed as dist

    found = values.detach().clone()
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return found


def total_with_gradient(values: Tensor) -> Tensor:
    """Sum over all ranks, each of which descends what it makes of it: gradients are summed over them too."""
    if count() == 1:
        return values
    import torch

    class Total(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, values: Tensor) -> Tensor:
            return total(values)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            return total(grads[0])

    summed: Tensor = Total.apply(values)
    return summed


def gathered(rows_BD: Tensor) -> Tensor:
    """Rows of all ranks, in their order; each has equally many.

    Gradients flow into this rank's own rows. That is the whole gradient when every rank computes the same function of
    all rows, and the ranks' gradients are summed.
    """
    if count() == 1:
        return rows_BD
    import torch
    import torch.distributed as dist

    parts = [torch.empty_like(rows_BD) for _ in range(count())]
    dist.all_gather(parts, rows_BD.detach().contiguous())
    parts[index()] = rows_BD
    return torch.cat(parts)
