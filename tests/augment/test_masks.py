"""Masks: exact counts, stratified ratios, blocks, a function of the key."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sslprofiler_core.augment.masks import draw_masks, mask_counts


def test_half_of_the_images_at_stratified_ratios() -> None:
    masks = draw_masks(3, 128, (37, 37))
    masked = np.sort(masks.sum(1)[masks.any(1)])
    assert masked.size == 64
    middles = 0.1 + 0.4 * (np.arange(64) + 0.5) / 64
    np.testing.assert_array_equal(masked, np.rint(middles * 37 * 37))


@given(
    key=st.integers(0, 2**62),
    batch=st.integers(1, 20),
    rows=st.integers(2, 12),
    columns=st.integers(2, 12),
    fraction=st.floats(0, 1),
)
def test_the_number_of_masked_patches_does_not_depend_on_the_key(
    key: int, batch: int, rows: int, columns: int, fraction: float
) -> None:
    expected = mask_counts(batch, rows * columns, fraction, (0.1, 0.5)).sum()
    assert draw_masks(key, batch, (rows, columns), fraction).sum() == expected


def test_the_same_key_draws_the_same_masks_and_another_key_others() -> None:
    np.testing.assert_array_equal(draw_masks(5, 16, (8, 8)), draw_masks(5, 16, (8, 8)))
    assert (draw_masks(5, 16, (8, 8)) != draw_masks(6, 16, (8, 8))).any()


def test_masks_are_blocks_not_dust() -> None:
    """A masked patch has far more masked neighbours than one of a random mask with as many patches."""
    masks = draw_masks(11, 64, (16, 16)).reshape(-1, 16, 16)
    masks = masks[masks.any((1, 2))]
    dust = np.random.default_rng(0).permuted(masks.reshape(len(masks), -1), axis=1).reshape(masks.shape)

    def touching(m: np.ndarray) -> float:
        return (m[:, :, 1:] & m[:, :, :-1]).sum() / m.sum()

    assert touching(masks) > 1.5 * touching(dust)


def test_no_side_is_favoured() -> None:
    """Blocks lie inside, so corners are masked less often, as in DINOv2; but all four alike."""
    total = sum(draw_masks(key, 64, (8, 8)).reshape(-1, 8, 8).astype(int).sum(0) for key in range(150))
    assert total.min() > 0.2 * total.mean()
    for flipped in (total[::-1], total[:, ::-1], total.T):
        np.testing.assert_allclose(flipped, total, atol=0.08 * total.mean())
