"""How fast are the augmentations, beside kornia, torchvision and albumentations on the same sites and parameters?

    python benchmarks/augment.py [--device cuda] [--batch 8] [--rounds 7] [--threads 2] [--images PLATES] [--quick]

Geometry (crop, flips, any-angle rotation, elastic deformation) and the whole chain (then brightness and contrast per
channel, Poisson, dark level and read noise), every augmentation on every view, from uint16 sites of 1080 px to float32
views of 518 px. Crop boxes, angles, flips and factors are the same for all; the random fields and the noise are each
contender's own, at the same strengths. Peers are called as their own documentation does. Where a peer has no such
operation (the paper's jitter; Poisson noise), it gets the plain torch or numpy one. They resample two to four times,
ours once; only ours averages against aliasing but for those marked (a).

Contenders take turns, so that other load on the machine meets all alike. Prints Markdown: medians, and each peer's
ratio to ours; the bytes that must be read and written at the machine's own copy bandwidth; peak memory beside the
output. Wants the extra ``bench``.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import albumentations
import cv2
import kornia.geometry.transform as kornia
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vision

from sslprofiler_core.augment import Drawn, draw_views, render_views
from sslprofiler_core.augment.elastic import deviation
from sslprofiler_core.augment.geometry import place_views
from sslprofiler_core.keys import fold
from sslprofiler_core.plates import open_plates, read_site
from sslprofiler_core.recipes import AugmentRecipe

SIZE, SIDE, CHANNELS = 518, 1080, 5
ALPHA, SIGMA = 1200.0, 40.0  # site pixels
SHOT, DARK, READ = 0.1, 0.05, 0.01
GEOMETRY = AugmentRecipe(size=SIZE, elastic=1.0, jitter=0.0, noise=0.0)
CHAIN = AugmentRecipe(size=SIZE, elastic=1.0, jitter=1.0, noise=1.0)


@dataclass(frozen=True)
class Batch:
    """Sites, their intensity scales, and what was drawn for their views."""

    sites: list[Tensor]
    scales_BC2: Tensor
    keys_B: NDArray[np.int64]
    drawn: Drawn

    def __len__(self) -> int:
        return len(self.sites)

    def shrink(self, number: int) -> float:
        """Site pixels a pixel of the view, along the geometric mean of its axes."""
        return float(np.sqrt(self.drawn.box_B4[number, 2:].prod()) / SIZE)

    def crop(self, number: int) -> Tensor:
        """A view's box, rounded to pixels, scaled to [0, 1]: (C, h, w) float32."""
        top, left, height, width = self.drawn.box_B4[number].round().astype(int)
        low, high = self.scales_BC2[number].T[..., None, None]
        raw = self.sites[number][:, top : top + height, left : left + width]
        return raw.to(torch.float32).sub_(low).div_(high - low).clamp_(0.0, 1.0)


@dataclass(frozen=True)
class Contender:
    name: str
    geometry: Callable[[], object]
    chain: Callable[[], object]
    exact: bool = True
    samples: int = 0  # worked on, where the whole batch would take minutes; 0: all


# Ours.


def ours(batch: Batch, recipe: AugmentRecipe) -> Tensor:
    drawn = draw_views(batch.keys_B, [(SIDE, SIDE)] * len(batch), CHANNELS, recipe)
    return render_views(batch.sites, batch.scales_BC2, drawn, recipe)


# Peers on tensors.


def jitter_and_noise(views: Tensor, batch: Batch) -> Tensor:
    """The paper's formulas in plain torch, which has its own Poisson sampler."""
    count = len(views)
    beta, gamma = (
        torch.from_numpy(x[:count].astype(np.float32))[..., None, None].to(views.device)
        for x in (batch.drawn.brightness_BC, batch.drawn.contrast_BC)
    )
    mean = views.mean((2, 3), keepdim=True)
    views = ((views * beta - mean) * gamma + mean).clamp_(0.0, 1.0)
    views = torch.poisson(views.div_(SHOT)).mul_(SHOT).add_(DARK)
    return views.add_(torch.randn_like(views), alpha=READ).clamp_(0.0, 1.0)


def kornia_geometry(batch: Batch) -> Tensor:
    """One affine warp of the whole sites for crop, flips and rotation, then its elastic transform, a sample at a time.

    The elastic transform takes one sigma a call. Its kernel is as wide as torchvision's and OpenCV's, 8 sigma.
    """
    device = batch.sites[0].device
    drawn, low = batch.drawn, batch.scales_BC2[:, :, 0, None, None]
    sites = torch.stack(batch.sites).to(torch.float32).sub_(low)
    sites.div_(batch.scales_BC2[:, :, 1, None, None] - low).clamp_(0.0, 1.0)
    centre = drawn.box_B4[:, :2] + drawn.box_B4[:, 2:] / 2
    scale = np.where(drawn.flip_B2, -1.0, 1.0) * drawn.box_B4[:, 2:] / SIZE
    cos, sin = np.cos(drawn.angle_B), np.sin(drawn.angle_B)
    inverse = np.zeros((len(batch), 3, 3))
    inverse[:, 0, 0], inverse[:, 0, 1] = cos * scale[:, 1], -sin * scale[:, 0]
    inverse[:, 1, 0], inverse[:, 1, 1] = sin * scale[:, 1], cos * scale[:, 0]
    inverse[:, :2, 2] = centre[:, ::-1] - np.einsum("bij,j->bi", inverse[:, :2, :2], [SIZE / 2, SIZE / 2])
    inverse[:, 2, 2] = 1.0
    matrix = torch.from_numpy(np.linalg.inv(inverse)[:, :2].astype(np.float32)).to(device)
    views = kornia.warp_affine(sites, matrix, (SIZE, SIZE), padding_mode="reflection", align_corners=False)
    done = []
    for number in range(len(batch)):
        sigma, alpha = SIGMA / batch.shrink(number), ALPHA / batch.shrink(number) ** 2 * 2 / SIZE
        taps = int(8 * sigma) | 1
        noise = torch.randn(1, 2, SIZE, SIZE, device=device)
        one = views[number : number + 1]
        done.append(
            kornia.elastic_transform2d(
                one, noise, (taps, taps), (sigma, sigma), (alpha, alpha), padding_mode="reflection"
            )
        )
    return torch.cat(done)


def torchvision_geometry(batch: Batch, samples: int, elastic: bool = True) -> Tensor:
    """A loop over the samples: its transforms draw one set of parameters a call."""
    done = []
    for number in range(samples):
        view = vision.resize(batch.crop(number), [SIZE, SIZE], antialias=True)
        vertical, horizontal = batch.drawn.flip_B2[number]
        view = vision.vertical_flip(view) if vertical else view
        view = vision.horizontal_flip(view) if horizontal else view
        angle = float(np.rad2deg(batch.drawn.angle_B[number]))
        view = vision.rotate(view, angle, interpolation=v2.InterpolationMode.BILINEAR)
        if elastic:
            sigma, alpha = SIGMA / batch.shrink(number), ALPHA / batch.shrink(number) ** 2
            view = v2.ElasticTransform(2 * np.sqrt(3) * alpha, sigma)(view)  # its noise has deviation 1 / sqrt(3)
        done.append(view)
    return torch.stack(done)


# Peers on arrays.


def albumentations_geometry(batch: Batch, approximate: bool) -> NDArray[np.float32]:
    done = []
    for number in range(len(batch)):
        vertical, horizontal = batch.drawn.flip_B2[number]
        angle = float(np.rad2deg(batch.drawn.angle_B[number]))
        transforms = [albumentations.Resize(SIZE, SIZE, interpolation=cv2.INTER_AREA)]
        transforms += [albumentations.VerticalFlip(p=1.0)] if vertical else []
        transforms += [albumentations.HorizontalFlip(p=1.0)] if horizontal else []
        transforms += [
            albumentations.Rotate((angle, angle), border_mode=cv2.BORDER_REFLECT, p=1.0),
            albumentations.ElasticTransform(
                ALPHA / batch.shrink(number) ** 2,
                SIGMA / batch.shrink(number),
                approximate=approximate,
                border_mode=cv2.BORDER_REFLECT,
                p=1.0,
            ),
        ]
        image = np.ascontiguousarray(batch.crop(number).permute(1, 2, 0).numpy())
        done.append(albumentations.Compose(transforms)(image=image)["image"])
    return np.stack(done)


def numpy_noise(views: NDArray[np.float32], batch: Batch) -> NDArray[np.float32]:
    rng = np.random.default_rng()
    for number, view in enumerate(views):
        beta, gamma = (x[number].astype(np.float32) for x in (batch.drawn.brightness_BC, batch.drawn.contrast_BC))
        mean = view.mean((0, 1))
        view[:] = np.clip((view * beta - mean) * gamma + mean, 0.0, 1.0)
        view[:] = rng.poisson(view / SHOT) * SHOT + DARK
        view += READ * rng.standard_normal(view.shape, np.float32)
        np.clip(view, 0.0, 1.0, out=view)
    return views


def contenders(batch: Batch) -> list[Contender]:
    """Ours first. Those marked (a) shrink with antialiasing."""
    few = 1 if batch.sites[0].device.type == "cpu" else len(batch)
    found = [
        Contender("ours (a)", lambda: ours(batch, GEOMETRY), lambda: ours(batch, CHAIN)),
        Contender("kornia", lambda: kornia_geometry(batch), lambda: jitter_and_noise(kornia_geometry(batch), batch)),
        Contender(
            "torchvision v2, per-sample loop (a)",
            lambda: torchvision_geometry(batch, few),
            lambda: jitter_and_noise(torchvision_geometry(batch, few), batch),
            samples=few,
        ),
        Contender(
            "torchvision v2 without elastic (a)",
            lambda: torchvision_geometry(batch, len(batch), elastic=False),
            lambda: jitter_and_noise(torchvision_geometry(batch, len(batch), elastic=False), batch),
            exact=False,
        ),
    ]
    if batch.sites[0].device.type == "cpu":
        found += [
            Contender(
                f"albumentations, {'approximate' if approximate else 'exact'} (a)",
                lambda approximate=approximate: albumentations_geometry(batch, approximate),
                lambda approximate=approximate: numpy_noise(albumentations_geometry(batch, approximate), batch),
                exact=not approximate,
            )
            for approximate in (False, True)
        ]
    return found


# Measuring.


def seconds(work: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def copy_bandwidth(device: torch.device) -> float:
    """Bytes read and written a second by a copy of 256 MB."""
    source = torch.ones(1 << 26, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / min(seconds(lambda: target.copy_(source), device) for _ in range(7))


def needed_bytes(batch: Batch) -> int:
    """The sites' pixels that the views need, read once as they are, and the views, written once as float32."""
    shapes = np.full((len(batch), 2), float(SIDE))
    placed = place_views(batch.drawn, shapes, SIZE, deviation(ALPHA, SIGMA))
    windows = (placed.window_B4[:, 2:] - placed.window_B4[:, :2]).prod(1).sum()
    return int(windows) * CHANNELS * batch.sites[0].element_size() + len(batch) * CHANNELS * SIZE**2 * 4


def peak_memory(work: Callable[[], object], device: torch.device) -> int | None:
    """Bytes that a call adds at its peak, its result included; None where the system does not tell."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    if hasattr(ctypes.CDLL(None), "malloc_trim"):  # what was freed before would otherwise be used again unseen
        ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")  # the high-water mark starts at what is resident now
    before = _resident(status, "VmHWM")
    work()
    return _resident(status, "VmHWM") - before


def _resident(status: Path, field: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def load_batch(count: int, images: Path | None, device: torch.device) -> Batch:
    """Real sites where there are any, each several times; else blurred noise at their intensities."""
    if images is not None:
        plates = open_plates([images])
        real = [read_site(site, range(CHANNELS)) for plate in plates for site in plate.sites]
        arrays = [real[number % len(real)] for number in range(count)]
    else:
        rng = np.random.default_rng(0)
        noise = rng.standard_normal((count, CHANNELS, SIDE, SIDE), np.float32)
        smooth = functional.avg_pool2d(torch.from_numpy(noise), 15, 1, 7).numpy() * 15
        arrays = list(np.clip(1500 + 800 * smooth, 0, 65535).astype(np.uint16))
    sites = [torch.from_numpy(array) for array in arrays]
    quantiles = torch.tensor([0.001, 0.999])
    scales = [torch.quantile(site[:, ::4, ::4].to(torch.float32).flatten(1), quantiles, dim=1).T for site in sites]
    keys = fold(0, np.arange(count))
    return Batch(
        [site.to(device) for site in sites],
        torch.stack(scales).to(device),
        keys,
        draw_views(keys, [(SIDE, SIDE)] * count, CHANNELS, CHAIN),
    )


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, help="8 on a CPU, 64 on a GPU")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender")
    parser.add_argument("--quick", action="store_true", help="leave out torchvision's elastic transform: minutes")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch and of OpenCV")
    data = os.environ.get("SSLPROFILER_CPJUMP1")
    parser.add_argument(
        "--images",
        type=Path,
        default=Path(data) / "images" if data else None,
        help="plates in CPJUMP1's layout; default $SSLPROFILER_CPJUMP1/images, or else made up",
    )
    given = parser.parse_args()
    device = torch.device(given.device)
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(given.threads)
    batch = load_batch(given.batch or (8 if device.type == "cpu" else 64), given.images, device)
    for line in report(batch, device, given.rounds, given.quick):
        print(line, flush=True)


def report(batch: Batch, device: torch.device, rounds: int, quick: bool) -> list[str]:
    load = _load()
    runners = [runner for runner in contenders(batch) if not (quick and runner.samples)]
    times: dict[tuple[str, str], list[float]] = {}
    for turn in range(rounds + 1):
        for runner in runners:
            if runner.samples and turn > 3:  # the slow one
                continue
            for part, work in (("geometry", runner.geometry), ("chain", runner.chain)):
                taken = seconds(work, device) * len(batch) / (runner.samples or len(batch))
                if turn:  # the first warms up
                    times.setdefault((runner.name, part), []).append(taken)
    output = len(batch) * CHANNELS * SIZE**2 * 4
    memory = {runner.name: peak_memory(runner.chain, device) for runner in runners if not runner.samples}
    limit = needed_bytes(batch) / copy_bandwidth(device)
    names = ("torch", "torchvision", "kornia", "albumentations", "opencv-python-headless", "numpy")
    where = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"{torch.get_num_threads()} of {os.cpu_count()} cores"
    )
    lines = [
        f"Machine: {platform.machine()} {platform.system()}, {where}; {', '.join(f'{n} {version(n)}' for n in names)}.",
        f"Load of the machine: {load:.1f} before, {_load():.1f} after. {len(batch)} x {CHANNELS} x {SIZE} x {SIZE} "
        f"float32 from uint16 sites of {SIDE} px; median of {rounds} turns (range), in ms.",
        "",
        "| | geometry | to ours | whole chain | to ours | peak memory / output |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    best = {part: np.median(times[runners[0].name, part]) for part in ("geometry", "chain")}
    for runner in runners:
        cells = []
        for part in ("geometry", "chain"):
            taken = np.array(times[runner.name, part]) * 1e3
            cells += [
                f"{np.median(taken):.0f} ({taken.min():.0f} to {taken.max():.0f})",
                f"{np.median(taken) / best[part] / 1e3:.1f}",
            ]
        peak = memory.get(runner.name)
        note = f", from {runner.samples} of {len(batch)}" if 0 < runner.samples < len(batch) else ""
        mark = "" if runner.exact else " (computes less)"
        lines.append(f"| {runner.name}{note}{mark} | {' | '.join(cells)} | {f'{peak / output:.1f}' if peak else ''} |")
    for part in ("geometry", "chain"):
        fastest = min(np.median(times[runner.name, part]) for runner in runners[1:] if runner.exact)
        lines += [
            "",
            f"{part.capitalize()}: {fastest / best[part]:.1f} x as fast as the fastest exact peer; "
            f"{best[part] / limit:.1f} x the limit of {limit * 1e3:.1f} ms (bytes once in, once out, at copy speed).",
        ]
    return lines


if __name__ == "__main__":
    main()
