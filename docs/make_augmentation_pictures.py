"""Make the pictures of augmentations.md from a real site: each augmentation weak, as the recipe has it, and strong.

    python docs/make_augmentation_pictures.py [PLATES] [--well D14] [--out docs/images]

PLATES is a folder of plates such as CPJUMP1's (default: $SSLPROFILER_CPJUMP1/images). The views come from the code that
training uses: ``draw_views``, ``render_views`` and ``pair_views``.
"""

from __future__ import annotations

import argparse
import io
import os
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Polygon
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sslprofiler_core.augment import Drawn, draw_views, elastic_displacement, pair_views, render_views
from sslprofiler_core.keys import fold
from sslprofiler_core.plates import open_plates, read_site, select_channels
from sslprofiler_core.recipes import AugmentRecipe, Recipe

OFF = {"rotation": 0.0, "flip": 0.0, "elastic": 0.0, "jitter": 0.0, "noise": 0.0, "blur": (0.0, 0.0)}
OFF |= {"solarise": (0.0, 0.0), "crop": (1.0, 1.0), "aspect": (1.0, 1.0)}
SHOWN = (0, 3, 4)  # of the five fluorescence channels in the instrument's order: red, green and blue
REGION = (300.0, 330.0, 420.0, 420.0)  # top, left, height, width in site pixels: what most pictures show
SIZE = 420


class Source:
    """One site, its intensity scale, and views of it."""

    def __init__(self, plates: Path, well: str) -> None:
        plate = next(p for p in open_plates([plates]) if any(site.well == well for site in p.sites))
        site = next(site for site in plate.sites if site.well == well)
        self.site = torch.from_numpy(read_site(site, select_channels(plate, "fluorescence")))
        levels = torch.tensor([0.001, 0.999])
        self.scale = torch.quantile(self.site[:, ::4, ::4].to(torch.float32).flatten(1), levels, dim=1).T
        self.name = f"{plate.name} {well}"

    def draw(self, recipe: AugmentRecipe, key: int, view: str = "v1") -> Drawn:
        shape = self.site.shape[1:]
        return draw_views(fold(key, np.arange(1)), [shape], len(self.site), recipe, view)

    def render(self, drawn: Drawn, recipe: AugmentRecipe, size: int = SIZE) -> Tensor:
        return render_views([self.site], self.scale[None], drawn, recipe, size=size)[0]

    def view(
        self, key: int = 0, region: tuple[float, ...] | None = REGION, size: int = SIZE, **settings: object
    ) -> Tensor:
        """Draw and render with everything off but what is given; a region takes the drawn crop's place."""
        recipe = AugmentRecipe(**{**OFF, **settings})
        drawn = self.draw(recipe, key)
        if region is not None:
            drawn = replace(drawn, box_B4=np.array([region]))
        return self.render(drawn, recipe, size)


def composite(view_CHW: Tensor) -> NDArray[np.float64]:
    """Three channels as red, green and blue: (H, W, 3)."""
    shown: NDArray[np.float64] = view_CHW[list(SHOWN)].permute(1, 2, 0).clamp(0.0, 1.0).numpy().astype(float)
    return shown


def save(
    name: str,
    tiles: list[tuple[str, NDArray[np.float64]]],
    out: Path,
    outlines: dict[int, list[NDArray[np.float64]]] | None = None,
) -> None:
    """Write tiles in a row under their titles."""
    figure, axes = plt.subplots(1, len(tiles), figsize=(2.45 * len(tiles), 2.78), dpi=100)
    for number, (axis, (title, image)) in enumerate(zip(axes, tiles, strict=True)):
        show(axis, title, image)
        for corners in (outlines or {}).get(number, []):
            axis.add_patch(Polygon(corners, fill=False, edgecolor="white", linewidth=1.3))
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.01, top=0.87, wspace=0.03)
    memory = io.BytesIO()
    figure.savefig(memory, facecolor="white")
    plt.close(figure)
    picture = Image.open(memory).convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT)
    path = out / f"augment-{name}.png"
    picture.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def show(axis: Axes, title: str, image: NDArray[np.float64]) -> None:
    axis.imshow(image, interpolation="antialiased")
    axis.set_title(title, fontsize=9, pad=4)
    axis.set_axis_off()


def corners(drawn: Drawn) -> NDArray[np.float64]:
    """The crop's corners in the site, (4, 2) as x, y."""
    top, left, height, width = drawn.box_B4[0]
    angle = drawn.angle_B[0]
    x, y = np.array([-1, 1, 1, -1]) * width / 2, np.array([-1, -1, 1, 1]) * height / 2
    return np.stack(
        [
            np.cos(angle) * x - np.sin(angle) * y + left + width / 2,
            np.sin(angle) * x + np.cos(angle) * y + top + height / 2,
        ],
        axis=1,
    )


def crop_picture(source: Source, out: Path) -> None:
    whole = source.view(region=None)
    factor = SIZE / source.site.shape[1]
    tiles, outlines = [("the site, and the crops", composite(whole))], []
    for title, area, key in (
        ("weak: 0.8 of the area", 0.8, 5),
        ("default, smallest: 0.32", 0.32, 3),
        ("strong: 0.1", 0.1, 8),
    ):
        recipe = AugmentRecipe(**{**OFF, "crop": (area, area), "aspect": (0.75, 4 / 3)})
        drawn = source.draw(recipe, key)
        outlines.append(corners(drawn) * factor)
        tiles.append((title, composite(source.render(drawn, recipe))))
    save("crop", tiles, out, {0: outlines})


def rotation_picture(source: Source, out: Path) -> None:
    recipe = AugmentRecipe(**OFF)
    drawn = replace(source.draw(recipe, 0), box_B4=np.array([REGION]))
    tiles = [("as it is", composite(source.render(drawn, recipe)))]
    whole = (0.0, 0.0, *map(float, source.site.shape[1:]))
    for title, degrees, flips, box in (
        ("weak: 10 degrees", 10, (False, False), REGION),
        ("default: any angle, flips", 130, (False, True), REGION),
        ("the whole site: reflected", 35, (False, False), whole),
    ):
        turned = replace(drawn, box_B4=np.array([box]), angle_B=np.deg2rad([degrees]), flip_B2=np.array([flips]))
        tiles.append((title, composite(source.render(turned, recipe))))
    save("rotation", tiles, out)


def elastic_picture(source: Source, out: Path) -> None:
    """With lines 30 px apart that were straight."""
    tiles = [("as it is", composite(_with_lines(source.view(), None, 0.0)))]
    for title, alpha in (
        ("weak: alpha 400, 2.8 px", 400.0),
        ("default: 1200, 8.5 px", 1200.0),
        ("strong: 3600, 25 px", 3600.0),
    ):
        key = int(source.draw(AugmentRecipe(**{**OFF, "elastic": 1.0}), 2).elastic_keys_B[0])
        view = source.view(2, elastic=1.0, elastic_alpha=alpha)
        tiles.append((title, composite(_with_lines(view, key, alpha))))
    save("elastic", tiles, out)


def _with_lines(view_CSS: Tensor, key: int | None, alpha: float) -> Tensor:
    row, column = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    if key is not None:
        # Alpha and sigma are site pixels, as are this picture's; the field is the one of a site of 1080 px.
        field = elastic_displacement([key], 1080, 1080, alpha)[0, :, :SIZE, :SIZE]
        row, column = row + field[1], column + field[0]
    lines = ((row % 30 - 15).abs() < 0.7) | ((column % 30 - 15).abs() < 0.7)
    return torch.where(lines, 0.25 + 0.5 * view_CSS, view_CSS)


def jitter_picture(source: Source, out: Path) -> None:
    tiles = [("as it is", composite(source.view()))]
    for title, alpha in (("weak: 0.1", 0.1), ("default: 0.4", 0.4), ("strong: 0.8", 0.8)):
        tiles.append((title, composite(source.view(15, jitter=1.0, brightness=alpha, contrast=alpha))))
    save("jitter", tiles, out)


def noise_picture(source: Source, out: Path) -> None:
    """One channel, enlarged, so that pixels show."""
    region = (380.0, 420.0, 160.0, 160.0)
    tiles = []
    for title, shot, dark, read in (
        ("as it is", 0.0, 0.0, 0.0),
        ("weak: 0.02, 0.01, 0.002", 0.02, 0.01, 0.002),
        ("default: 0.1, 0.05, 0.01", 0.1, 0.05, 0.01),
        ("strong: 0.3, 0.15, 0.03", 0.3, 0.15, 0.03),
    ):
        strengths = {"noise": 1.0, "noise_shot": shot, "noise_dark": dark, "noise_read": read} if shot else {}
        view = source.view(1, region, 160, **strengths)[1]
        tiles.append((title, np.repeat(view.numpy()[..., None].astype(float), 3, axis=2)))
    save("noise", tiles, out)


def views_picture(source: Source, out: Path) -> None:
    """What training draws for one sample, from two pseudo-sites: the real data has one site a well."""
    recipe = Recipe.model_validate({"train": {"batch": 8}})
    half = source.site.shape[2] // 2
    first, second = [source.site[:, :, :half]], [source.site[:, :, half:]]
    scales = source.scale[None]
    made = pair_views(first, second, scales, scales, recipe, step=9, samples_B=[3])
    side = recipe.augment.size // recipe.model.patch
    mask = made.drawn.masks_BN[0].reshape(side, side).repeat(recipe.model.patch, 0).repeat(recipe.model.patch, 1)
    v1, v2 = composite(made.v1_BCSS[0]), composite(made.v2_BCSS[0])
    whole = source.view(region=None)
    factor = SIZE / source.site.shape[1]
    boxes = [corners(made.drawn.v1) * factor, (corners(made.drawn.v2) + np.array([half, 0])) * factor]
    halves = np.array([[half, 0], [half, source.site.shape[1]]]) * factor
    tiles = [("two pseudo-sites and the crops", composite(whole)), ("v1", v1)]
    tiles += [("v1, masked", np.where(mask[..., None], 0.5, v1)), ("v2, from the other site", v2)]
    save("views", tiles, out, {0: [*boxes, halves]})


def dinov2_picture(source: Source, out: Path) -> None:
    dinov2 = {"kind": "dinov2", "local_aggregation": False, "local_crops": 8}
    tiles = [
        ("as it is", composite(source.view(size=210))),
        ("blur: 2 px", composite(source.view(1, size=210, **dinov2, blur=(1.0, 0.0), blur_sigma=(2.0, 2.0)))),
        ("solarise from 0.5", composite(source.view(1, size=210, **dinov2, solarise=(1.0, 0.0)))),
    ]
    recipe = AugmentRecipe(**dinov2)
    crops = [source.render(source.draw(recipe, key, "local"), recipe, recipe.local_size) for key in range(4)]
    tiles.append(
        (
            "local crops, 98 px",
            np.concatenate([np.concatenate([composite(c) for c in crops[i : i + 2]], axis=1) for i in (0, 2)]),
        )
    )
    save("dinov2", tiles, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("SSLPROFILER_CPJUMP1")
    parser.add_argument("plates", nargs="?", type=Path, default=Path(data) / "images" if data else None)
    parser.add_argument("--well", default="D14")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    given = parser.parse_args()
    if given.plates is None:
        parser.error("name a folder of plates, or set SSLPROFILER_CPJUMP1")
    source = Source(given.plates, given.well)
    for make in (
        crop_picture, rotation_picture, elastic_picture, jitter_picture, noise_picture, views_picture, dinov2_picture,
    ):  # fmt: skip
        make(source, given.out)


if __name__ == "__main__":
    main()
