"""The intensity chain of DINOv2's own views, for any number of channels: jitter, blur, solarise.

Source: DINOv2's augmentations, which are torchvision's ColorJitter, GaussianBlur with 9 taps and solarize. Saturation,
hue and the grey view mix three colours and have no counterpart among stains: left out (our choice). A photograph's
grey value, which its contrast is about, becomes the plain mean of the channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .intensity import means

TAPS = 9  # of the blur, whatever its deviation


def shared_jitter_(images_BCHW: Tensor, brightness_B: Tensor, contrast_B: Tensor, contrast_first_B: Tensor) -> Tensor:
    """Change brightness and contrast in place, each channel alike, with a clamp to [0, 1] after either.

    Brightness: I beta. Contrast: (I - mu) gamma + mu, mu the mean of all channels and pixels as they then are. Images
    are float32 in [0, 1], factors float32 on their device; ``contrast_first_B`` says which comes first.
    """
    beta_B, gamma_B = brightness_B, contrast_B
    ones_B = torch.ones_like(beta_B)
    passes = (
        (torch.where(contrast_first_B, gamma_B, beta_B), torch.where(contrast_first_B, gamma_B, ones_B)),
        (torch.where(contrast_first_B, beta_B, gamma_B), torch.where(contrast_first_B, ones_B, gamma_B)),
    )
    for gain_B, about_mean_B in passes:
        mean_B111 = means(images_BCHW, (1, 2, 3))
        shift_B111 = mean_B111 * (1.0 - about_mean_B)[:, None, None, None]
        images_BCHW.mul_(gain_B[:, None, None, None]).add_(shift_B111).clamp_(0.0, 1.0)
    return images_BCHW


def blur_(images_BCHW: Tensor, sigma_B: Tensor) -> Tensor:
    """Blur float32 images in place with a Gaussian of 9 taps, reflected at the edges; ``sigma_B`` > 0 in pixels.

    Sums of shifted images rather than a convolution, which on a GPU may round to ten bits.
    """
    reach = TAPS // 2
    offset_T = torch.arange(reach + 1, dtype=torch.float32, device=images_BCHW.device)
    weight_BT = torch.exp(-0.5 * (offset_T / sigma_B[:, None]).square())
    weight_BT = weight_BT / (weight_BT[:, :1] + 2.0 * weight_BT[:, 1:].sum(1, keepdim=True))
    for axis in (2, 3):
        side = images_BCHW.shape[axis]
        padded = images_BCHW.index_select(axis, _reflected(side, reach, images_BCHW.device))
        torch.mul(padded.narrow(axis, reach, side), weight_BT[:, 0, None, None, None], out=images_BCHW)
        for offset in range(1, reach + 1):
            both = padded.narrow(axis, reach - offset, side) + padded.narrow(axis, reach + offset, side)
            images_BCHW.addcmul_(both, weight_BT[:, offset, None, None, None])
    return images_BCHW


def solarise_(images_BCHW: Tensor, above: float) -> Tensor:
    """Invert what is at least ``above``, in place: I becomes 1 - I there."""
    return images_BCHW.copy_(torch.where(images_BCHW >= above, 1.0 - images_BCHW, images_BCHW))


def _reflected(side: int, reach: int, device: torch.device) -> Tensor:
    """Indices -reach to side + reach - 1, reflected about the outermost pixels."""
    index = torch.arange(-reach, side + reach, device=device)
    period = max(2 * (side - 1), 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index) if side > 1 else torch.zeros_like(index)
