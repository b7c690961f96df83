"""From the host to the device without waiting for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def send(array: NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """Bring a small array or tensor to a device; floats become float32, since MPS has no float64.

    A copy from pageable memory to a GPU waits for all that the GPU has to do, so the way goes through pinned memory.
    """
    if isinstance(array, Tensor):
        tensor = array.to(torch.float32) if array.is_floating_point() else array
    else:
        tensor = torch.from_numpy(np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else None))
    if tensor.device == device:
        return tensor
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def take_channels(site_CHW: Tensor, rows: Sequence[int]) -> Tensor:
    """Choose channels of a site, which itself is returned where they are all of it: CUDA cannot index uint16."""
    if list(rows) == list(range(len(site_CHW))):
        return site_CHW
    taken = site_CHW.new_empty((len(rows), *site_CHW.shape[1:]))
    for place, row in enumerate(rows):
        taken[place].copy_(site_CHW[row])
    return taken


def send_site(site: Tensor, device: torch.device) -> Tensor:
    """Bring a raw site to a device. MPS before torch 2.9 has no uint16: there it becomes int32."""
    if device.type == "mps" and site.dtype in (torch.uint16, torch.uint32):
        site = site.to(torch.int32)
    return site.to(device, non_blocking=True)
