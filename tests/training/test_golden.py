"""Fixed values that DINOv2's own functions gave for the same numbers (outside this repository; docs/benchmarks.md)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sslprofiler_core.recipes import load_recipe
from sslprofiler_core.training import chunked
from sslprofiler_core.training.loop import clip_gradients
from sslprofiler_core.training.losses import dino_loss, ibot_loss, koleo_loss, sinkhorn_knopp, softmax_centering
from sslprofiler_core.training.objective import Centres
from sslprofiler_core.training.schedules import step_settings

ROWS, COLUMNS = torch.arange(6.0)[:, None], torch.arange(5.0)[None]
TEACHER = torch.cos(1.7 * ROWS * COLUMNS + ROWS)
STUDENT = torch.sin(0.9 * ROWS * COLUMNS - COLUMNS + 0.3 * ROWS)
T = 0.5

SINKHORN = {
    0: [0.2882331, 0.197267, 0.2426898, 0.0735029, 0.1983072],
    5: [0.2862103, 0.3650494, 0.0184949, 0.1399199, 0.1903255],
}
CENTRE = [-0.0113979, 0.0429039, 0.0001566, 0.2475663, 0.0551949]
CENTRED_ROW = [0.0145344, 0.0580214, 0.5155129, 0.3451884, 0.0667428]
IMAGES = torch.tensor([0, 0, 0, 2, 3, 3])  # of the patches; image 1 has none


def as_logits(logits_MK: Tensor) -> tuple[Tensor, Tensor]:
    """Features and prototypes whose products are these logits."""
    return logits_MK, torch.eye(logits_MK.shape[1])


def test_sinkhorn() -> None:
    plain = sinkhorn_knopp(TEACHER, T)
    fast = chunked.sinkhorn(*as_logits(TEACHER), T).rows(slice(None))
    for row, expected in SINKHORN.items():
        assert plain[row].tolist() == pytest.approx(expected, abs=1e-6)
        assert fast[row].tolist() == pytest.approx(expected, abs=1e-6)


def test_dino() -> None:
    assert dino_loss(STUDENT, sinkhorn_knopp(TEACHER, T)).item() == pytest.approx(9.2339888, abs=1e-5)
    target = chunked.sinkhorn(*as_logits(TEACHER), T)
    fast = chunked.cross_entropy(*as_logits(STUDENT), target, torch.full((6,), 1 / 6), 0.1)
    assert fast.item() == pytest.approx(9.2339888, abs=1e-5)


def test_ibot() -> None:
    plain = ibot_loss(STUDENT, sinkhorn_knopp(TEACHER, T), IMAGES, 4)
    assert plain.item() == pytest.approx(8.1586094, abs=1e-5)
    weight = 1 / (4 * torch.bincount(IMAGES)[IMAGES].float())
    fast = chunked.cross_entropy(*as_logits(STUDENT), chunked.sinkhorn(*as_logits(TEACHER), T), weight, 0.1)
    assert fast.item() == pytest.approx(8.1586094, abs=1e-5)


def test_koleo() -> None:
    assert koleo_loss(STUDENT).item() == pytest.approx(0.2081497, abs=1e-6)


def test_softmax_centering_with_a_centre_that_follows() -> None:
    centres = Centres.zeros(5, torch.device("cpu"))
    for logits in (TEACHER, 2 * TEACHER):
        sums = torch.cat([chunked.logit_sums(*as_logits(logits)), torch.tensor([6.0])])
        centres.follow(torch.stack([sums, torch.zeros(6)]), 0.9, torch.tensor(True))
    assert centres.cls_K.tolist() == pytest.approx(CENTRE, abs=1e-6)
    assert not centres.patch_K.any()  # no patch was seen
    assert softmax_centering(TEACHER, centres.cls_K, T)[3].tolist() == pytest.approx(CENTRED_ROW, abs=1e-6)
    fast = chunked.centred(*as_logits(TEACHER), centres.cls_K, T).rows(slice(3, 4))
    assert fast[0].tolist() == pytest.approx(CENTRED_ROW, abs=1e-6)


@pytest.mark.parametrize(
    ("step", "weight_decay", "momentum"),
    [
        (0, 0.04, 0.992),
        (50, 0.04221609869287518, 0.9920492466376194),
        (550, 0.24815820370724156, 0.996625737860161),
        (999, 0.3999991117363345, 0.9999999802608074),
    ],
)
def test_schedules_of_weight_decay_and_momentum(step: int, weight_decay: float, momentum: float) -> None:
    found = step_settings(load_recipe("paper-vits14"), step, 1000)
    assert (found.weight_decay, found.momentum) == pytest.approx((weight_decay, momentum), rel=1e-12)


@pytest.mark.parametrize(("step", "lr"), [(100, 2e-5), (550, 1.05e-5), (999, 1.0000578772509913e-06)])
def test_the_learning_rate_after_its_warm_up(step: int, lr: float) -> None:
    assert step_settings(load_recipe("paper-vits14"), step, 1000).lr == pytest.approx(lr, rel=1e-12)


def test_what_is_known_to_differ_by_a_step_of_the_warm_up() -> None:
    """DINOv2's ramps have their first value at step 0 and their last at the last step of the warm-up."""
    settings = [step_settings(load_recipe("paper-vits14"), step, 1000) for step in range(300)]
    rates = np.array([one.lr for one in settings[:100]])
    np.testing.assert_allclose(rates, np.linspace(0, 2e-5, 100), rtol=0, atol=2e-5 / 100 * 1.001)
    temperatures = np.array([one.teacher_temperature for one in settings])
    np.testing.assert_allclose(temperatures, np.linspace(0.04, 0.07, 300), rtol=0, atol=1.001e-4)


def test_each_module_is_clipped_by_its_own_norm() -> None:
    student = nn.ModuleDict({name: nn.Linear(3, 2, bias=False) for name in ("backbone", "dino_head", "ibot_head")})
    sizes = {"backbone": 30.0, "dino_head": 1.0, "ibot_head": 6.0}
    for name, size in sizes.items():
        student[name].weight.grad = torch.full((2, 3), size / 6**0.5)
    total = clip_gradients(student, 3.0)
    assert total.item() == pytest.approx(37.0)
    norms = {name: student[name].weight.grad.norm().item() for name in sizes}
    assert norms == pytest.approx({"backbone": 3.0, "dino_head": 1.0, "ibot_head": 3.0}, rel=1e-5)
