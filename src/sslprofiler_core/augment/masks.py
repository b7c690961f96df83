"""Which patches of ``v1`` are masked: blocks, at stratified ratios, a fixed number a batch.

Source: block-wise masking as in iBOT and DINOv2 (half of the views, ratios spread evenly over a range); our choice:
the count of each image is exact, so that the shapes of a step are static, and all images are drawn at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core import keys

_BLOCKS = 24  # enough that fewer patches than the largest ratio stay uncovered only in theory; the rest is filled
_MIN_BLOCK = 4  # patches, as in DINOv2
_ASPECT = (0.3, 1 / 0.3)


def mask_counts(batch: int, patches: int, fraction: float, ratios: tuple[float, float]) -> NDArray[np.int64]:
    """Masked patches of each masked image: the ratios' range cut into equal strata, each at its middle.

    Returns
    -------
    int64 (round(batch * fraction),), ascending; each at least 1.
    """
    images = round(batch * fraction)
    middles = (np.arange(images) + 0.5) / max(images, 1)
    return np.maximum(1, np.rint((ratios[0] + (ratios[1] - ratios[0]) * middles) * patches).astype(np.int64))


def draw_masks(
    key: int | np.int64 | keys.Keys,
    batch: int,
    grid: tuple[int, int],
    fraction: float = 0.5,
    ratios: tuple[float, float] = (0.1, 0.5),
) -> NDArray[np.bool_]:
    """Draw the masks of a whole (global) batch from one key.

    Parameters
    ----------
    key
        Of seed and step.
    batch
        Images in the global batch.
    grid
        Rows and columns of patches.
    fraction
        Part of the images that is masked.
    ratios
        Smallest and largest masked part of a masked image.

    Returns
    -------
    bool (batch, rows * columns), row-major; the number of True depends on the arguments but never on the key.
    """
    rows, columns = grid
    masks = np.zeros((batch, rows * columns), bool)
    counts = mask_counts(batch, rows * columns, fraction, ratios)
    if counts.size == 0:
        return masks
    chosen = keys.permutation(keys.fold(key, "masked images"), batch)[: counts.size]
    image_keys = keys.fold(key, "blocks", np.arange(counts.size))

    # Blocks as in DINOv2: an area between 4 patches and the image's target, a log-uniform aspect, any place inside.
    u = keys.uniforms(image_keys, 4 * _BLOCKS).reshape(-1, 4, _BLOCKS)
    area = _MIN_BLOCK + u[:, 0] * np.maximum(counts[:, None] - _MIN_BLOCK, 0)
    aspect = np.exp(np.log(_ASPECT[0]) + u[:, 1] * np.log(_ASPECT[1] / _ASPECT[0]))
    height = np.clip(np.rint(np.sqrt(area * aspect)), 1, rows)[..., None]
    width = np.clip(np.rint(np.sqrt(area / aspect)), 1, columns)[..., None]
    top = np.floor(u[:, 2, :, None] * (rows - height + 1))
    left = np.floor(u[:, 3, :, None] * (columns - width + 1))
    y, x = np.arange(rows), np.arange(columns)
    inside_y = (y >= top) & (y < top + height)
    inside_x = (x >= left) & (x < left + width)

    # A patch is covered when the first block over it is laid; the earliest `count` patches are the mask. Inside the
    # last block a raster from a random corner decides, so that what is left of it is a block again.
    covered = inside_y[..., :, None] & inside_x[..., None, :]
    first = np.where(covered.any(1), covered.argmax(1), _BLOCKS)
    up, back = (keys.uniforms(keys.fold(image_keys, "corner"), 2) < 0.5).T[..., None, None]
    raster = np.where(up, rows - 1 - y[:, None], y[:, None]) * columns + np.where(back, columns - 1 - x, x)
    order = np.argsort((first * rows * columns + raster).reshape(counts.size, -1), axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[1])[None], axis=1)
    masks[chosen] = ranks < counts[:, None]
    return masks
