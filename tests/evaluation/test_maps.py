from __future__ import annotations

import io

import numpy as np
import pytest

from sslprofiler_core.evaluation.maps import (
    composite_image,
    image_montage,
    plate_grid,
    plate_heat_maps,
    row_name,
    umap_panels,
)


def test_wells_lie_where_the_plate_has_them() -> None:
    grid = plate_grid(["A01", "H12", "B3", "B03", "none", "A02"], np.array([1.0, 2.0, 4.0, 6.0, 9.0, np.nan]))
    assert grid.shape == (8, 12)
    assert grid[0, 0] == 1.0 and grid[7, 11] == 2.0 and grid[1, 2] == 5.0
    assert np.isfinite(grid).sum() == 3
    assert plate_grid(["P24"], np.ones(1)).shape == (16, 24)
    assert plate_grid(["AF48"], np.ones(1))[31, 47] == 1.0
    assert plate_grid([], np.ones(0)).shape == (2, 3)


@pytest.mark.parametrize(("row", "name"), [(0, "A"), (25, "Z"), (26, "AA"), (31, "AF")])
def test_row_names(row: int, name: str) -> None:
    assert row_name(row) == name


def test_heat_maps_share_a_scale() -> None:
    panels = {
        "P1": (["A01", "A02"], np.array([0.0, 1.0])),
        "P2": (["A01"], np.array([5.0])),
        "P3": (["B02"], np.ones(1)),
    }
    figure = plate_heat_maps(panels, label="cells")
    images = [axes.get_images()[0] for axes in figure.axes[:3]]
    assert {image.get_clim() for image in images} == {(0.0, 5.0)}
    assert {image.get_array().shape for image in images} == {(2, 3)}  # one size of plate for all
    figure.savefig(io.BytesIO())


def test_maps_colour_the_most_frequent_and_grey_the_rest() -> None:
    layout = np.random.default_rng(0).normal(size=(40, 2))
    compounds = np.array(["DMSO"] * 4 + [f"c{i % 12}" for i in range(36)])
    figure = umap_panels(layout, {"Compound": compounds, "Column": np.arange(40) % 8}, shown=3, background="DMSO")
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["9 others", "DMSO", "c0", "c1", "c2"]
    figure = umap_panels(layout, {"Compound": compounds}, shown=13)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][-4:] == ["c8", "c9", "c10", "c11"]


def test_a_montage_has_a_row_a_site_and_a_composite_first() -> None:
    rng = np.random.default_rng(0)
    names = ["DNA", "OrigRNA", "Mito", "Brightfield"]
    sites = {"A01": rng.random((4, 16, 16)) * 1.2, "B02": rng.random((4, 16, 16))}
    figure = image_montage(sites, names)
    assert [axes.get_title() for axes in figure.axes[:5]] == ["Composite", *names]
    assert len(figure.axes) == 10
    figure.savefig(io.BytesIO())
    assert len(image_montage(sites, ["a", "b", "c", "d"]).axes) == 8


def test_a_composite_adds_the_stains_colours() -> None:
    site = np.zeros((2, 4, 4))
    site[0, 0, 0] = 1.0
    site[1, 1, 1] = 2.0
    image = composite_image(site, ["DNA", "Mito"], [0, 1])
    assert image[0, 0].argmax() == 2 and image[1, 1].argmax() == 0  # blue nuclei, red mitochondria
    assert image[2, 2].sum() == 0.0 and image.max() <= 1.0
