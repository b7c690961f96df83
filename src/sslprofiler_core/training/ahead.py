"""The next step's sites go to the GPU while it computes this one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch
from torch import Tensor

from sslprofiler_core.errors import UserError

from .loader import PairBatch, PairLoader

_THREADS = 4  # that copy sites into pinned memory, from which alone a GPU reads beside its other work


class SentBatches:
    """The batches of a run, their sites on the device.

    On a GPU, ``prepare`` has the next one copied on a stream of its own, while what was launched before goes on. On a
    CPU there is nothing to copy, and batches are the loader's.

    Parameters
    ----------
    loader
        Reads them.
    device
        Where to.
    steps
        Length of the run.
    """

    def __init__(self, loader: PairLoader, device: torch.device, steps: int) -> None:
        self._loader, self._device, self._steps = loader, device, steps
        self._next: tuple[int, PairBatch | UserError] | None = None
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own

    def take(self, step: int) -> PairBatch:
        """The batch of a step.

        Raises
        ------
        UserError
            When both sites of a pair cannot be read.
        """
        if self._next is None or self._next[0] != step:
            return self._loader.batch(step, self._steps)
        batch, self._next = self._next[1], None
        if isinstance(batch, UserError):
            raise batch
        if self._stream is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_stream(self._stream)
            for site in batch.sites:
                site.record_stream(current)  # its memory is not given away while this stream needs it
        return batch

    def prepare(self, step: int) -> None:
        """Begin to copy the batch of a step; what cannot be read is said when it is taken."""
        if self._stream is None or step >= self._steps:
            return
        try:
            batch = self._loader.batch(step, self._steps)
        except UserError as error:
            self._next = (step, error)
            return
        with ThreadPoolExecutor(_THREADS) as pool:
            pinned = list(pool.map(_pinned, batch.sites))
        with torch.cuda.stream(self._stream):
            sites = [site.to(self._device, non_blocking=True) for site in pinned]
        self._next = (step, replace(batch, sites=sites))


def _pinned(site: Tensor) -> Tensor:
    return site if site.is_pinned() else site.pin_memory()
