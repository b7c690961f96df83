"""Pseudo-sites: a plate whose sites are cut into pieces, for wells that have one site."""

from __future__ import annotations

from dataclasses import replace

from sslprofiler_core.errors import UserError

from .types import Plate, Site


def tile_plate(plate: Plate, n: int) -> Plate:
    """Cut each site into n x n pseudo-sites, to train on pairs where wells have one site.

    The pseudo-sites of one site share its illumination, focus and stain, so they are more alike than true sites of
    one well: say so wherever a figure rests on them. Pseudo-site k (row by row from the top left, from 0) of site s
    is numbered (s - 1) n^2 + k + 1. Positions are the pieces' centres.

    Raises
    ------
    UserError
        For n below 1, a plate that is tiled already, or sites smaller than n pixels.
    """
    if n < 1:
        raise UserError(f"plates.tile is {n}. Use 1 for whole sites, or 2 and more.")
    if n == 1:
        return plate
    if any(site.tile for site in plate.sites):
        raise UserError(f"Plate {plate.name} is tiled already. Tile it once.")
    shape = plate.shape and (plate.shape[0] // n, plate.shape[1] // n)
    if shape and not all(shape):
        raise UserError(f"Sites of plate {plate.name} are too small for {n} x {n} tiles. Use a smaller plates.tile.")
    sites = tuple(
        replace(
            site,
            site=(site.site - 1) * n * n + k + 1,
            position_um=_tile_position(site, plate, shape, k, n),
            tile=(k // n, k % n, n),
        )
        for site in plate.sites
        for k in range(n * n)
    )
    return replace(plate, sites=sites, shape=shape)


def _tile_position(
    site: Site, plate: Plate, shape: tuple[int, int] | None, k: int, n: int
) -> tuple[float, float] | None:
    if site.position_um is None or plate.pixel_size_um is None or shape is None or plate.shape is None:
        return None
    row, column = divmod(k, n)
    right = (column + 0.5) * shape[1] - plate.shape[1] / 2
    down = (row + 0.5) * shape[0] - plate.shape[0] / 2
    x, y = site.position_um
    return (x + plate.pixel_size_um * right, y - plate.pixel_size_um * down)
