"""Wrong input to the augmentations: errors that name the sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sslprofiler_core.errors import UserError

from .draw import Drawn

_UNSIGNED = (torch.uint8, torch.uint16, torch.uint32)
_INTEGERS = (*_UNSIGNED, torch.int8, torch.int16, torch.int32, torch.int64)


def check_sites(sites: Sequence[Tensor], names: Sequence[str] | None) -> None:
    """Refuse no sites, and sites that are not ``(C, H, W)``, empty, or of other channels than the first."""
    if not sites:
        raise UserError("There is no site to render. Give at least one.")
    for number, site in enumerate(sites):
        if site.ndim != 3 or not site.numel():
            raise UserError(
                f"{_name(names, number)} has shape {tuple(site.shape)}. A site is (channels, height, width), none 0."
            )
        if len(site) != len(sites[0]):
            raise UserError(
                f"{_name(names, number)} has {len(site)} channels, and {_name(names, 0)} has {len(sites[0])}. "
                "Give sites of the same channels."
            )


def check_batch(sites: Sequence[Tensor], scales_BC2: Tensor, names: Sequence[str] | None) -> None:
    """Refuse sites and scales that do not fit each other, and pixels and scales that are no intensities."""
    check_sites(sites, names)
    if len(scales_BC2) != len(sites):
        raise UserError(f"There are {len(sites)} sites, but scales for {len(scales_BC2)}. Give one a site.")
    for number, site in enumerate(sites):
        if scales_BC2.shape[1:] != (site.shape[0], 2):
            raise UserError(
                f"{_name(names, number)} has {site.shape[0]} channels, but its intensity scale has shape "
                f"{tuple(scales_BC2.shape[1:])}. Give a low and a high for each channel."
            )
        if site.dtype not in _INTEGERS and not site.dtype.is_floating_point:
            raise UserError(f"{_name(names, number)} has pixels of type {site.dtype}. Give integers or floats.")
    _check_scales(scales_BC2, names)
    _check_pixels(sites, names)


def check_drawn(sites: Sequence[Tensor], drawn: Drawn, names: Sequence[str] | None) -> None:
    """Refuse parameters of other sites, and crops that are not within theirs."""
    channels = drawn.brightness_BC.shape[1]
    if len(drawn) != len(sites) or channels != sites[0].shape[0]:
        raise UserError(
            f"There are {len(sites)} sites of {sites[0].shape[0]} channels, but parameters were drawn for {len(drawn)} "
            f"of {channels}. Draw them for these sites."
        )
    shapes_B2 = np.array([site.shape[1:] for site in sites], np.float64)
    outside_B = ((drawn.box_B4[:, :2] < -1e-6) | (drawn.box_B4[:, :2] + drawn.box_B4[:, 2:] > shapes_B2 + 1e-6)).any(1)
    outside_B |= (drawn.box_B4[:, 2:] <= 0.0).any(1) | ~np.isfinite(drawn.box_B4).all(1)
    for number in np.flatnonzero(outside_B).tolist():
        top, left, height, width = drawn.box_B4[number]
        rows, columns = sites[number].shape[1:]
        raise UserError(
            f"{_name(names, number)}: a crop of {height:g} x {width:g} px at row {top:g}, column {left:g} is not "
            f"within the site of {rows} x {columns} px. Draw the crop for this site's size."
        )


def _check_scales(scales_BC2: Tensor, names: Sequence[str] | None) -> None:
    if scales_BC2.device.type != "cpu":  # checking would wait for the device
        return
    # As they are used: in float32, and by the reciprocal of their difference.
    used_BC2 = scales_BC2.to(torch.float32)
    good_BC = (used_BC2[..., 1] > used_BC2[..., 0]) & used_BC2.isfinite().all(-1)
    good_BC &= (1.0 / (used_BC2[..., 1] - used_BC2[..., 0])).isfinite()
    if not bool(good_BC.all()):
        number, channel = (int(x) for x in (~good_BC).nonzero()[0])
        low, high = scales_BC2[number, channel].tolist()
        raise UserError(
            f"{_name(names, number)}: the intensity scale of channel {channel + 1} runs from {low:g} to {high:g}. "
            "Low must be below high, also in float32: look at that channel, or leave it out."
        )


def _check_pixels(sites: Sequence[Tensor], names: Sequence[str] | None) -> None:
    """Refuse negative and non-finite pixels; unsigned integers, the usual case, cannot have any."""
    suspects = [number for number, site in enumerate(sites) if not _unsigned(site)]
    if not suspects:
        return
    ranges_N2 = torch.stack([torch.stack(torch.aminmax(sites[number])).to(torch.float32) for number in suspects])
    for number, (low, high) in zip(suspects, ranges_N2.tolist(), strict=True):
        if not (low >= 0.0 and np.isfinite(high)):
            raise UserError(
                f"{_name(names, number)} has pixels from {low:g} to {high:g}. Raw pixels are finite and not negative: "
                "look at the file."
            )


def _unsigned(site: Tensor) -> bool:
    # What `send_site` made int32 on MPS had no sign before; to look at it there would wait for the device.
    return site.dtype in _UNSIGNED or (site.dtype == torch.int32 and site.device.type == "mps")


def _name(names: Sequence[str] | None, number: int) -> str:
    return names[number] if names is not None else f"Sample {number}"
