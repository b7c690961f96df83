"""Each term of the objective against an independent float64 computation in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from sslprofiler_core.training.losses import (
    dino_loss,
    ibot_loss,
    koleo_loss,
    sinkhorn_knopp,
    softmax_centering,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)


def test_dino_is_the_mean_cross_entropy(rng: np.random.Generator) -> None:
    logits, target = rng.normal(size=(9, 31)), softmax(rng.normal(size=(9, 31)), axis=1)
    expected = -(target * log_softmax(logits / 0.1, axis=1)).sum(1).mean()
    assert dino_loss(tensor(logits), tensor(target), 0.1).item() == pytest.approx(expected, rel=1e-12)


def test_dino_in_float32_stays_close_and_finite_at_extreme_logits(rng: np.random.Generator) -> None:
    logits, target = rng.normal(size=(9, 31)) * 100, softmax(rng.normal(size=(9, 31)), axis=1)
    expected = -(target * log_softmax(logits / 0.1, axis=1)).sum(1).mean()
    found = dino_loss(tensor(logits).float(), tensor(target).float(), 0.1).item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_ibot_is_a_mean_an_image_then_over_all_images(rng: np.random.Generator) -> None:
    image = np.array([0, 0, 0, 2, 3, 3])  # image 1 and 4 have no masked patch and count as zero
    logits, target = rng.normal(size=(6, 17)), softmax(rng.normal(size=(6, 17)), axis=1)
    patch = -(target * log_softmax(logits / 0.1, axis=1)).sum(1)
    expected = (patch[:3].mean() + patch[3] + patch[4:].mean()) / 5
    found = ibot_loss(tensor(logits), tensor(target), tensor(image), 5, 0.1).item()
    assert found == pytest.approx(expected, rel=1e-12)


def test_koleo_is_minus_the_mean_log_distance_to_the_nearest(rng: np.random.Generator) -> None:
    x = rng.normal(size=(12, 5))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    distances = np.linalg.norm(unit[:, None] - unit[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    expected = -np.log(distances.min(1)).mean()
    assert koleo_loss(tensor(x)).item() == pytest.approx(expected, rel=1e-6)


def test_koleo_never_takes_a_site_of_the_same_well_as_nearest(rng: np.random.Generator) -> None:
    x = rng.normal(size=(8, 5))
    x[1::2] = x[::2] + 1e-3  # twins within a well
    wells = np.arange(8) // 2
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    distances = np.linalg.norm(unit[:, None] - unit[None], axis=-1)
    distances[wells[:, None] == wells[None]] = np.inf
    expected = -np.log(distances.min(1)).mean()
    assert koleo_loss(tensor(x), tensor(wells)).item() == pytest.approx(expected, rel=1e-6)


def test_koleo_of_a_single_well_is_zero_and_has_finite_gradients(rng: np.random.Generator) -> None:
    x = tensor(rng.normal(size=(4, 5))).requires_grad_()
    loss = koleo_loss(x, torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.isfinite(x.grad).all()


def test_koleo_survives_equal_rows() -> None:
    x = torch.ones(4, 5, requires_grad=True)
    loss = koleo_loss(x)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(x.grad).all()


def sinkhorn_reference(logits: np.ndarray, temperature: float, iterations: int) -> np.ndarray:
    q = np.exp(logits / temperature).T
    q /= q.sum()
    prototypes, samples = q.shape
    for _ in range(iterations):
        q /= q.sum(1, keepdims=True) * prototypes
        q /= q.sum(0, keepdims=True) * samples
    return (q * samples).T


def test_sinkhorn_against_float64(rng: np.random.Generator) -> None:
    logits = rng.uniform(-1, 1, size=(10, 6))
    found = sinkhorn_knopp(tensor(logits), 0.07, 3).numpy()
    np.testing.assert_allclose(found, sinkhorn_reference(logits, 0.07, 3), rtol=1e-10)
    np.testing.assert_allclose(found.sum(1), 1.0, rtol=1e-12)


def test_sinkhorn_balances_prototypes(rng: np.random.Generator) -> None:
    logits = tensor(rng.uniform(-1, 1, size=(64, 8)))
    even = sinkhorn_knopp(logits, 0.2, 100).sum(0)
    np.testing.assert_allclose(even.numpy(), 64 / 8, rtol=1e-6)


def test_sinkhorn_does_not_overflow_in_float32() -> None:
    logits = torch.tensor([[10.0, -10.0], [-10.0, 10.0]])  # exp(250) would
    assert torch.isfinite(sinkhorn_knopp(logits, 0.04, 3)).all()


def test_softmax_centering(rng: np.random.Generator) -> None:
    logits, centre = rng.normal(size=(5, 7)), rng.normal(size=7)
    found = softmax_centering(tensor(logits), tensor(centre), 0.05).numpy()
    np.testing.assert_allclose(found, softmax((logits - centre) / 0.05, axis=1), rtol=1e-10)
