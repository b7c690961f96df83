"""Triton kernel of ``fused.sample_at_once``: a site's pixels are read where a view needs them, and nothing is kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from .geometry import Window
from .transfer import send

# A tile of a view: turned, its pixels still lie close together in the site, so that what they share stays in the cache.
ROWS, COLUMNS = 16, 32

PIXELS = {
    torch.uint8: tl.uint8,
    torch.uint16: tl.uint16,
    torch.uint32: tl.uint32,
    torch.int16: tl.int16,
    torch.int32: tl.int32,
    torch.int64: tl.int64,
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
    torch.float32: tl.float32,
    torch.float64: tl.float64,
}


@triton.jit
def _folded(place, extent, cell):  # type: ignore[no-untyped-def]  # a kernel's arguments are Triton's
    """Where a grid's coordinate lies in its window, in pixels: reflected at the edges, within level pixels' centres."""
    padded = tl.cdiv(extent, cell) * cell
    pixel = (place + 1.0) * (padded * 0.5)
    pixel = pixel - tl.floor(pixel / (2.0 * extent)) * (2.0 * extent)
    pixel = extent - tl.abs(pixel - extent)
    return tl.minimum(tl.maximum(pixel, cell * 0.5), padded - cell * 0.5)


@triton.jit
def _kernel(  # type: ignore[no-untyped-def]  # likewise
    sites, strides, windows, low, gain, planes, views, channels, size,
    PIXEL: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    view = tl.program_id(1).to(tl.int64)
    tiles = tl.cdiv(size, COLUMNS)
    row = tl.program_id(0) // tiles * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(0) % tiles * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < size) & (column < size)
    pixel, area = row * size + column, size * size
    top, left = tl.load(windows + 6 * view), tl.load(windows + 6 * view + 1)
    height, width = tl.load(windows + 6 * view + 2), tl.load(windows + 6 * view + 3)
    cell, exact = tl.load(windows + 6 * view + 4), tl.load(windows + 6 * view + 5)
    plane = planes + view * 2 * area
    x = _folded(tl.load(plane + pixel, mask=inside, other=0.0), width, cell)
    y = _folded(tl.load(plane + area + pixel, mask=inside, other=0.0), height, cell)
    # From the centre of the first of two level pixels, in level pixels.
    x = tl.where(exact != 0, column, x / cell - 0.5)
    y = tl.where(exact != 0, row, y / cell - 0.5)
    first_column, first_row = tl.floor(x), tl.floor(y)
    right, lower = x - first_column, y - first_row
    first_column, first_row = first_column.to(tl.int32) * cell, first_row.to(tl.int32) * cell
    site = tl.load(sites + view).to(tl.pointer_type(PIXEL))
    by_channel, by_row = tl.load(strides + 3 * view), tl.load(strides + 3 * view + 1)
    by_column = tl.load(strides + 3 * view + 2)
    for channel in range(channels):
        dark = tl.load(low + view * channels + channel)
        scale = tl.load(gain + view * channels + channel)
        total = tl.zeros((ROWS, COLUMNS), tl.float32)
        for down in range(2 * cell):
            weight_down = tl.where(down < cell, 1.0 - lower, lower)
            line = site + channel * by_channel + (top + tl.minimum(first_row + down, height - 1)) * by_row
            for across in range(2 * cell):
                weight = weight_down * tl.where(across < cell, 1.0 - right, right)
                spot = line + (left + tl.minimum(first_column + across, width - 1)) * by_column
                value = (tl.load(spot, mask=inside, other=0).to(tl.float32) - dark) * scale
                total += weight * tl.minimum(tl.maximum(value, 0.0), 1.0)
        here = views + (view * channels + channel) * area + pixel
        tl.store(here, total / (cell * cell), mask=inside)


def launch(
    sites: Sequence[Tensor], scales_2bC11: Tensor, windows: Sequence[Window], planes_b2SS: Tensor, views_bCSS: Tensor
) -> None:
    """Sample sites of one type, whatever their sizes and strides, into contiguous float32 views."""
    device, (count, channels, size, _) = views_bCSS.device, views_bCSS.shape
    pointers_b = send(np.array([site.data_ptr() for site in sites], np.int64), device)
    strides_b3 = send(np.array([site.stride() for site in sites], np.int64), device)
    windows_b6 = np.array([(w.top, w.left, w.bottom - w.top, w.right - w.left, 1 << w.level, w.exact) for w in windows])
    low_bC, gain_bC = scales_2bC11[..., 0, 0].contiguous()
    # Triton launches on the current device.
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        _kernel[(triton.cdiv(size, ROWS) * triton.cdiv(size, COLUMNS), count)](
            pointers_b, strides_b3, send(windows_b6.astype(np.int32), device), low_bC, gain_bC, planes_b2SS,
            views_bCSS, channels, size,
            PIXEL=PIXELS[sites[0].dtype], ROWS=ROWS, COLUMNS=COLUMNS, enable_fp_fusion=True,
        )  # fmt: skip
