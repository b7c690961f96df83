"""Brightness, contrast and standardisation: one reduction, then one affine pass in place where it may."""

from __future__ import annotations

import torch
from torch import Tensor

from .transfer import send

_VARIANCE_FLOOR = 1e-8  # of images in [0, 1]: a constant channel becomes zero instead of amplified rounding


def channel_jitter(images_BCHW: Tensor, brightness_BC: Tensor, contrast_BC: Tensor) -> Tensor:
    """Change each channel's brightness and contrast (paper 3.2.2).

    I' = (I beta - mu) gamma + mu, with mu the channel's mean before the brightness, as the paper's formula is
    written. Unclipped.

    Parameters
    ----------
    images_BCHW
        Images, any floating type; computed in float32.
    brightness_BC, contrast_BC
        Factors beta and gamma per sample and channel.

    Returns
    -------
    Tensor like ``images_BCHW``.
    """
    images = images_BCHW.to(torch.float32, copy=True)
    return jitter_(images, brightness_BC, contrast_BC).to(images_BCHW.dtype)


def means(images_BCHW: Tensor, dim: tuple[int, ...]) -> Tensor:
    """Means over some axes, which stay. A GPU adds up in an order that depends on the batch: doubles hide that."""
    kind = torch.float64 if images_BCHW.device.type == "cuda" else torch.float32
    return images_BCHW.mean(dim=dim, keepdim=True, dtype=kind).to(torch.float32)


def jitter_(images_BCHW: Tensor, brightness_BC: Tensor, contrast_BC: Tensor) -> Tensor:
    """Apply ``channel_jitter`` to float32 images in place, as I (beta gamma) + mu (1 - gamma)."""
    beta_BC11, gamma_BC11 = (send(x, images_BCHW.device)[..., None, None] for x in (brightness_BC, contrast_BC))
    shift_BC11 = means(images_BCHW, (-2, -1)) * (1.0 - gamma_BC11)
    return images_BCHW.mul_(beta_BC11 * gamma_BC11).add_(shift_BC11)


def standardise_(images_BCHW: Tensor) -> Tensor:
    """Give each view and channel mean 0 and deviation 1, in place; a constant channel becomes 0.

    Our choice for tiny training (design: it erases intensity phenotypes), not the paper's.
    """
    images_BCHW.sub_(means(images_BCHW, (-2, -1)))
    kind = torch.float64 if images_BCHW.device.type == "cuda" else torch.float32  # as in `means`
    norm_BC11 = torch.linalg.vector_norm(images_BCHW, dim=(-2, -1), keepdim=True, dtype=kind)
    pixels = images_BCHW.shape[-2] * images_BCHW.shape[-1]
    return images_BCHW.mul_((norm_BC11.square() / pixels + _VARIANCE_FLOOR).rsqrt().to(torch.float32))
