"""Jitter, clamp and microscope noise for an NVIDIA GPU as one pass over memory, where Triton is installed.

The formulas and random words are those of ``intensity`` and ``noise``, whose operations read and write memory some
eighty times a pixel.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

# Pairs of pixels: with more a thread of an H200 runs out of registers, and fewer share what is loaded for all.
BLOCK = 256


@triton.jit
def _word(index, salts, stream):  # type: ignore[no-untyped-def]  # a kernel's arguments are Triton's
    x = index.to(tl.uint32) * tl.load(salts + 3 * stream).to(tl.uint32, bitcast=True)
    x = x + tl.load(salts + 3 * stream + 1).to(tl.uint32, bitcast=True)
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15) ^ tl.load(salts + 3 * stream + 2).to(tl.uint32, bitcast=True)) * 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def _photons(  # type: ignore[no-untyped-def]  # likewise
    rest, pixel, inside, salts, steps, bits, offset, start, first, threshold, jump, step, GRIDS: tl.constexpr
):
    """Poisson counts at pixels in [0, 1]: a count from each grid's table, and the rest's by inversion."""
    counts = tl.zeros_like(rest)
    for grid in tl.static_range(GRIDS):
        scaled = rest * tl.load(steps + grid)
        level = scaled.to(tl.int32)
        rest = scaled - level.to(tl.float32)
        word = _word(pixel, salts, grid)
        columns = tl.load(bits + grid).to(tl.uint32)
        column = (word >> (32 - columns)).to(tl.int32)
        fraction = (word & (tl.full([], 0xFFFFFFFF, tl.uint32) >> columns)).to(tl.int32)
        cell = tl.load(offset + grid) + (level << columns.to(tl.int32)) + column
        other = tl.load(jump + cell, mask=inside, other=0)
        column += tl.where(fraction >= tl.load(threshold + cell, mask=inside, other=0), other, 0)
        column += tl.load(first + tl.load(start + grid) + level, mask=inside, other=0)
        counts += column.to(tl.float32)
    uniform = (_word(pixel, salts, GRIDS) & 0x7FFFFFFF).to(tl.int32).to(tl.float32) * 4.656612873077393e-10  # 2^-31
    rate = rest * step
    square = rate * rate
    cube = square * rate
    counts += (rate - 0.5 * square + cube * (1.0 / 6.0) > uniform).to(tl.float32)
    counts += (0.5 * square - cube * (1.0 / 3.0) > uniform).to(tl.float32)
    counts += (cube * (1.0 / 6.0) > uniform).to(tl.float32)
    return counts


@triton.jit
def _kernel(  # type: ignore[no-untyped-def]  # likewise
    images, gain, shift, noisy, salts, steps, bits, offset, start, first, threshold, jump,
    channels, area, half, odd, step, shot, dark, read,
    GRIDS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    # Pixels i and i + half share a pair of normals; an odd last pixel has one of its own.
    pixel0, pixel1 = tl.where(place < half, place, 2 * half), place + half
    inside0, inside1 = place < half + odd, place < half
    image = images + row.to(tl.int64) * channels * area
    factors0, factors1 = row * channels + pixel0 // area, row * channels + pixel1 // area
    value0 = tl.load(image + pixel0, mask=inside0, other=0.0) * tl.load(gain + factors0, mask=inside0, other=0.0)
    value1 = tl.load(image + pixel1, mask=inside1, other=0.0) * tl.load(gain + factors1, mask=inside1, other=0.0)
    value0 += tl.load(shift + factors0, mask=inside0, other=0.0)
    value1 += tl.load(shift + factors1, mask=inside1, other=0.0)
    value0 = tl.minimum(tl.maximum(value0, 0.0), 1.0)
    value1 = tl.minimum(tl.maximum(value1, 0.0), 1.0)
    if tl.load(noisy + row) != 0:
        here = salts + row * 3 * (GRIDS + 3)
        photons0 = _photons(
            value0, pixel0, inside0, here, steps, bits, offset, start, first, threshold, jump, step, GRIDS
        )
        photons1 = _photons(
            value1, pixel1, inside1, here, steps, bits, offset, start, first, threshold, jump, step, GRIDS
        )
        unit = (
            (_word(pixel0, here, GRIDS + 1) >> 8).to(tl.int32).to(tl.float32) + 0.5
        ) * 5.960464477539063e-08  # 2^-24
        radius = read * tl.sqrt(-2.0 * tl.log(unit))
        turn = _word(pixel0, here, GRIDS + 2).to(tl.int32, bitcast=True).to(tl.float32) * 1.4629180792671596e-09
        value0 = tl.minimum(tl.maximum(radius * tl.cos(turn) + dark + photons0 * shot, 0.0), 1.0)
        value1 = tl.minimum(tl.maximum(radius * tl.sin(turn) + dark + photons1 * shot, 0.0), 1.0)
    tl.store(image + pixel0, value0, mask=inside0)
    tl.store(image + pixel1, value1, mask=inside1)


def launch(
    images_BCHW: Tensor,
    gain_BC: Tensor,
    shift_BC: Tensor,
    noisy_B: Tensor,
    salts_BS3: Tensor,
    tables: tuple[Tensor, ...],
    step: float,
    strengths: tuple[float, float, float],
) -> None:
    """Change contiguous float32 images in place: clamp(I gain + shift), then noise where ``noisy_B`` (int32) is not 0.

    ``tables`` are the grids' steps (float32), bits, offsets and starts, and the tables ``first``, ``threshold`` and
    ``jump`` (int32), as in ``noise.NoiseTables``.
    """
    batch, channels = images_BCHW.shape[:2]
    area = images_BCHW.shape[2] * images_BCHW.shape[3]
    half, odd = divmod(channels * area, 2)
    # Triton launches on the current device.
    with torch.cuda.device(images_BCHW.device) if images_BCHW.is_cuda else nullcontext():
        _kernel[(triton.cdiv(half + odd, BLOCK), batch)](
            images_BCHW, gain_BC, shift_BC, noisy_B, salts_BS3, *tables,
            channels, area, half, odd, step, *strengths,
            GRIDS=len(tables[0]), BLOCK=BLOCK, enable_fp_fusion=True,
        )  # fmt: skip
