"""On a GPU: views are the CPU's but for rounding, alike in any batch to the bit, and take little memory beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sslprofiler_core.augment import draw_views, microscope_noise, render_views, take_channels, views, whole_sites
from sslprofiler_core.augment.fused import intensity_agrees, sampling_agrees, usable
from sslprofiler_core.augment.sample import sample_together
from sslprofiler_core.keys import fold
from sslprofiler_core.recipes import AugmentRecipe

pytestmark = pytest.mark.gpu

SHAPES = [(130, 150), (64, 64), (200, 131), (90, 400), (64, 64), (170, 180)]
CPU = torch.device("cpu")
KINDS = {
    "paper": AugmentRecipe(size=64, crop=(0.1, 1.0), elastic_alpha=60.0, elastic_sigma=8.0, noise=0.0),
    "dinov2": AugmentRecipe(kind="dinov2", size=64),
}


def _sites(device: torch.device, dtype: torch.dtype = torch.uint16) -> list[Tensor]:
    """Smooth, so that rounding of a coordinate by 1e-4 px does not show."""
    sites = []
    for height, width in SHAPES:
        y, x = np.mgrid[:height, :width] / 9.0
        waves = [np.sin(x + k) * np.cos(y - k) for k in range(3)]
        top = 100.0 if dtype == torch.uint8 else 1000.0
        sites.append(torch.from_numpy(top * (np.stack(waves) + 1.0)).to(torch.int32).to(dtype).to(device))
    return sites


def _render(device: torch.device, recipe: AugmentRecipe, keep: slice = slice(None), **more: object) -> Tensor:
    sites, numbers = _sites(device, **more)[keep], np.arange(len(SHAPES))[keep]
    top = 250.0 if sites[0].dtype == torch.uint8 else 2500.0
    drawn = draw_views(fold(3, numbers), SHAPES[keep], 3, recipe, "v2")
    return render_views(sites, torch.tensor([0.0, top]).expand(len(sites), 3, 2), drawn, recipe)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32, torch.float32])
@pytest.mark.parametrize("kind", list(KINDS))
def test_views_are_the_cpus(gpu: torch.device, kind: str, dtype: torch.dtype) -> None:
    there = _render(gpu, KINDS[kind], dtype=dtype)
    assert there.device.type == gpu.type
    torch.testing.assert_close(there.cpu(), _render(CPU, KINDS[kind], dtype=dtype), atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [33, 64, 200])
def test_whole_sites_are_the_cpus(gpu: torch.device, size: int) -> None:
    scales = torch.tensor([0.0, 2500.0]).expand(len(SHAPES), 3, 2)
    here, there = (whole_sites(_sites(device), scales, size, KINDS["paper"]) for device in (CPU, gpu))
    torch.testing.assert_close(there.cpu(), here, atol=1e-3, rtol=0)


def test_noise_is_the_cpus(gpu: torch.device) -> None:
    images, keys = torch.rand(3, 2, 100, 101), [4, 5, 6]
    here = microscope_noise(images, keys_B=keys)
    there = microscope_noise(images.to(gpu), keys_B=keys).cpu()
    # Where rounding moves a rate across a threshold, a count differs.
    assert ((here - there).abs() > 1e-4).float().mean() < 1e-3


@pytest.mark.parametrize("size", [64, 518])
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_sample_has_the_same_pixels_in_any_batch(gpu: torch.device, kind: str, size: int) -> None:
    if not usable(gpu, sampling_agrees):
        pytest.skip("without the kernel sites are sampled together, which rounds")
    recipe = KINDS[kind].model_copy(update={"noise": 1.0, "elastic": 1.0, "size": size})
    every = _render(gpu, recipe)
    assert torch.equal(every, _render(gpu, recipe))
    for number in range(len(SHAPES)):
        alone = _render(gpu, recipe, slice(number, number + 1))
        assert torch.equal(alone[0], every[number]), number


def test_the_kernels_are_in_use_and_agree(gpu: torch.device) -> None:
    if gpu.type != "cuda" or torch.version.hip is not None:
        pytest.skip("the kernels are for NVIDIA GPUs")
    assert usable(gpu, sampling_agrees)
    assert usable(gpu, intensity_agrees)


def test_with_and_without_kernels(gpu: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = KINDS["paper"].model_copy(update={"noise": 1.0})
    made = _render(gpu, recipe)
    monkeypatch.setattr(views, "usable", lambda *_: False)
    monkeypatch.setattr(views, "sample_at_once", sample_together)
    assert ((made - _render(gpu, recipe)).abs() > 1e-3).float().mean() < 1e-3


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_channels_are_chosen_on_it(gpu: torch.device, dtype: torch.dtype) -> None:
    site = torch.arange(60).reshape(3, 4, 5).to(dtype)
    assert torch.equal(take_channels(site.to(gpu), [2, 0]).cpu().to(torch.int32), site.to(torch.int32)[[2, 0]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_beside_the_output_is_at_most_three_times_the_output(gpu: torch.device, dtype: torch.dtype) -> None:
    if gpu.type != "cuda":
        pytest.skip("only CUDA's allocator tells")
    recipe = AugmentRecipe(elastic=1.0, noise=1.0)
    sites = [torch.full((5, 1080, 1080), 900, dtype=torch.uint16, device=gpu)] * 16
    drawn = draw_views(fold(3, np.arange(16)), [(1080, 1080)] * 16, 5, recipe, "v2")
    scales = torch.tensor([0.0, 1000.0]).expand(16, 5, 2)
    render_views(sites, scales, drawn, recipe, dtype=dtype)
    torch.cuda.reset_peak_memory_stats(gpu)
    before = torch.cuda.memory_allocated(gpu)
    output = render_views(sites, scales, drawn, recipe, dtype=dtype).nbytes
    assert torch.cuda.max_memory_allocated(gpu) - before <= 4 * output
