"""Microscope noise is the paper's: exact Poisson counts, dark level, read noise, clipped (paper 6.1)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from sslprofiler_core.augment import microscope_noise, noise
from sslprofiler_core.errors import UserError
from sslprofiler_core.keys import fold

PIXELS = 1_000_000


def _clipped_moments(level: float, shot: float, dark: float, read: float) -> tuple[float, float]:
    """Mean and variance of clip(Poisson(level / shot) shot + dark + N(0, read^2), 0, 1), in float64."""
    rate = level / shot
    counts = np.arange(int(stats.poisson.isf(1e-14, rate)) + 2)
    weights = stats.poisson.pmf(counts, rate)
    mean = counts * shot + dark
    low, high = -mean / read, (1 - mean) / read
    inside = stats.norm.cdf(high) - stats.norm.cdf(low)
    above = stats.norm.sf(high)
    dlow, dhigh = stats.norm.pdf(low), stats.norm.pdf(high)
    first = mean * inside + read * (dlow - dhigh) + above
    second = (mean**2 + read**2) * inside + read * (mean * dlow - (mean + 1) * dhigh) + above
    expected = (weights * first).sum()
    return float(expected), float((weights * second).sum() - expected**2)


@pytest.mark.parametrize("level", [0.0, 0.0123, 0.2047, 0.5001, 0.8317, 1.0])
@pytest.mark.parametrize("strengths", [(0.1, 0.05, 0.01), (0.013, 0.1, 0.05)])
def test_moments_are_the_clipped_formulas(level: float, strengths: tuple[float, float, float]) -> None:
    level = float(np.float32(level))
    done = microscope_noise(torch.full((1, 1, 1000, 1000), level), *strengths, keys_B=[17]).double()
    mean, variance = _clipped_moments(level, *strengths)
    assert abs(done.mean().item() - mean) < 5 * math.sqrt(variance / PIXELS)
    deviations = (done - mean) ** 2
    assert abs(deviations.mean().item() - variance) < 5 * deviations.std().item() / math.sqrt(PIXELS)
    assert done.min() >= 0 and done.max() <= 1


def _counts(level: float, shot: float, key: int) -> NDArray[np.int64]:
    done = microscope_noise(torch.full((1, 1, 500, 1000), level), shot, 0.0, 0.0, keys_B=[key])
    return np.rint(done.double().numpy().ravel() / shot).astype(np.int64)


@pytest.mark.parametrize(
    ("level", "shot"), [(0.3337, 0.1), (0.00371, 0.1), (0.77, 0.05), (0.9999, 0.1), (0.6183, 1e-3), (0.0531, 1e-4)]
)
def test_counts_are_poisson(level: float, shot: float) -> None:
    counts = _counts(level, shot, 3)
    rate = float(np.float32(level)) / shot
    ceiling = int(1 / shot)  # counts from here on are clipped to 1
    low, high = int(stats.poisson.ppf(1e-5, rate)), min(int(stats.poisson.isf(1e-5, rate)), ceiling)
    # Tails go into the first and last bins.
    expected = np.diff(stats.poisson.cdf(np.arange(low, high), rate), prepend=0.0, append=1.0) * len(counts)
    observed = np.bincount((counts - low).clip(0, high - low), minlength=high - low + 1)
    assert stats.chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("level", [0.0437, 0.4242, 0.71])
def test_counts_agree_with_torchs(level: float) -> None:
    theirs = torch.poisson(torch.full((500_000,), level * 10), generator=torch.Generator().manual_seed(4)).clamp(max=10)
    table = np.stack([np.bincount(x, minlength=11) for x in (_counts(level, 0.1, 5), theirs.long().numpy())])
    assert stats.chi2_contingency(table[:, table.sum(0) > 20]).pvalue > 1e-3


def test_the_read_noise_is_normal() -> None:
    done = microscope_noise(torch.zeros(1, 1, 400, 500), 0.1, 0.5, 0.05, keys_B=[8]).double().numpy().ravel()
    assert stats.kstest((done - 0.5) / 0.05, "norm").pvalue > 1e-3


def test_random_words_are_uniform_and_independent() -> None:
    index = torch.arange(PIXELS // 4, dtype=torch.int32)[None]
    salts = torch.from_numpy(noise._salts(np.arange(4), "test"))
    words = noise._words(index, salts)[:, 0].numpy().view(np.uint32)
    for row in words:
        for shift in (0, 8, 16, 24):
            assert stats.chisquare(np.bincount((row >> np.uint32(shift)) & 255, minlength=256)).pvalue > 1e-4
    unit = words / 2.0**32 - 0.5
    limit = 5 / np.sqrt(unit.shape[1]) / 12
    for lag in (1, 2, 518):  # neighbours in a row, and rows
        assert np.abs((unit[:, lag:] * unit[:, :-lag]).mean(1)).max() < limit
    assert abs((unit[0] * unit[1]).mean()) < limit  # consecutive keys


def test_one_bit_of_the_index_changes_half_of_the_word() -> None:
    index = torch.arange(20_000, dtype=torch.int32)[None]
    salts = torch.from_numpy(noise._salts(np.arange(8), "test"))
    for bit in range(21):
        changed = (noise._words(index, salts) ^ noise._words(index ^ (1 << bit), salts)).numpy().view(np.uint8)
        share = np.unpackbits(changed.reshape(-1, 4), axis=1).mean(0)
        assert np.abs(share - 0.5).max() < 0.03


def test_tails_of_small_rates() -> None:
    rates = torch.linspace(0.0, 1 / 64, 1001)
    for count, tail in enumerate(noise._tails_(rates.clone())):
        assert np.abs(tail.double().numpy() - stats.poisson.sf(count, rates.double().numpy())).max() < 1e-8


@pytest.mark.parametrize("shape", [(3, 8, 10), (1, 7, 9), (1, 1, 1)])
def test_equal_keys_give_equal_noise_in_any_batch_and_chunk(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, keys = torch.rand(6, *shape), fold(9, np.arange(6))
    done = microscope_noise(images, keys_B=keys)
    assert torch.equal(microscope_noise(images[[4, 1]], keys_B=torch.from_numpy(keys[[4, 1]])), done[[4, 1]])
    twice = microscope_noise(images[:1].expand(2, *shape), keys_B=[7, 7])
    assert torch.equal(twice[0], twice[1])
    monkeypatch.setitem(noise._CHUNK, "cpu", 20)
    assert torch.allclose(microscope_noise(images, keys_B=keys), done, atol=1e-6)


@pytest.mark.parametrize("strengths", [(0.1, 0.05, 0.01), (0.013, 0.1, 0.05), (1e-3, 0.0, 0.02), (1.0, 0.3, 0.0)])
@pytest.mark.parametrize("shape", [(2, 3, 40, 70), (3, 1, 31, 33), (1, 1, 1, 1), (1, 5, 98, 98)])
def test_the_compiled_loop_equals_torchs_operations(
    shape: tuple[int, ...], strengths: tuple[float, float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, keys = torch.rand(*shape).clamp_(0, 1), fold(12, np.arange(shape[0]))
    images.view(-1)[0] = 1.0
    done = {}
    for way, least in (("torch", 1 << 40), ("compiled", 0)):
        monkeypatch.setattr(noise, "_COMPILED_FROM", least)
        done[way] = microscope_noise(images, *strengths, keys_B=keys)
    assert noise._compiled() is not None
    assert (done["compiled"] - done["torch"]).abs().max() < 1e-6


@pytest.mark.parametrize("side", [361, 363])  # just below and just above what is compiled, four channels each
def test_an_images_noise_is_its_own_whatever_its_batch(side: int) -> None:
    assert (4 * 361**2 < noise._COMPILED_FROM <= 4 * 363**2) is True
    images = torch.rand(3, 4, side, side, generator=torch.Generator().manual_seed(0))
    together = microscope_noise(images, keys_B=[5, 6, 7])
    assert torch.equal(together[1:2], microscope_noise(images[1:2], keys_B=[6]))


def test_without_numba_torch_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "_compiled", lambda: None)
    monkeypatch.setattr(noise, "_COMPILED_FROM", 0)
    images = torch.full((1, 1, 10, 10), 0.5)
    assert torch.equal(microscope_noise(images, keys_B=[1]), microscope_noise(images, keys_B=[1]))


def test_no_keys_draw_new_noise() -> None:
    images = torch.full((2, 1, 16, 16), 0.5)
    first = microscope_noise(images)
    assert not torch.equal(first, microscope_noise(images)) and not torch.equal(first[0], first[1])


def test_types_and_layouts() -> None:
    images = torch.rand(2, 3, 8, 8)
    assert microscope_noise(images.bfloat16(), keys_B=[1, 2]).dtype == torch.bfloat16
    turned = images.to(memory_format=torch.channels_last)
    assert torch.equal(microscope_noise(turned, keys_B=[1, 2]), microscope_noise(images, keys_B=[1, 2]))
    assert microscope_noise(images[:0], keys_B=[]).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("value", [-0.1, 1.2, math.nan])
def test_images_out_of_range_are_refused(value: float) -> None:
    with pytest.raises(UserError, match=r"\[0, 1\]"):
        microscope_noise(torch.full((1, 1, 2, 2), value))


def test_strengths_out_of_range_are_refused() -> None:
    for shot in (0.0, 1e-9, math.nan):
        with pytest.raises(UserError, match="shot"):
            microscope_noise(torch.rand(1, 1, 2, 2), shot=shot)
    for keys in ([1], [1, 2, 3, 4]):
        with pytest.raises(UserError, match=f"3 images, but {len(keys)} keys"):
            microscope_noise(torch.rand(3, 1, 2, 2), keys_B=keys)
