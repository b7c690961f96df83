"""Networks of timm as they come, channel by channel: the baseline that many screens are profiled with.

Each channel is shown as a grey picture of three equal colours, standardised as the network was trained, and the
channels' features stand one after the other. timm's own names: ``vit_small_patch14_dinov2.lvd142m``, ``resnet50``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn

from sslprofiler_core.errors import UserError
from sslprofiler_core.model.backbone import Backbone
from sslprofiler_core.model.files import LoadedModel
from sslprofiler_core.plates import open_plates, select_channels
from sslprofiler_core.recipes import Recipe

PREFIX = "timm:"


class ChannelByChannel(nn.Module):
    """A network for three colours, on each channel of a site.

    ``forward`` takes images (B, C, H, W) in [0, 1] and gives CLS (B, C D) and patch tokens (B, N, C D) as a backbone
    does: for a convolutional network its pooled features and the places of its last map.
    """

    mean_3: Tensor
    deviation_3: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean_3", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("deviation_3", torch.tensor(deviation).view(1, 3, 1, 1))

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        network: Any = self.network
        heads, tokens = [], []
        for channel_B1HW in images_BCHW.split(1, dim=1):  # type: ignore[no-untyped-call]  # torch's own
            features = network.forward_features((channel_B1HW - self.mean_3) / self.deviation_3)
            heads.append(network.forward_head(features, pre_logits=True))
            if features.ndim == 4:
                last = features.shape[-1] == network.num_features and features.shape[1] != network.num_features
                tokens.append(features.flatten(1, 2) if last else features.flatten(2).transpose(1, 2))
            else:
                tokens.append(features[:, getattr(network, "num_prefix_tokens", 0) :])
        return torch.cat(heads, -1), torch.cat(tokens, -1)


def off_the_shelf_model(
    spec: str,
    plates: Sequence[Path | str],
    *,
    group: str = "all",
    weights: Path | str | None = None,
    channels_file: Path | None = None,
) -> LoadedModel:
    """Make a model of timm's ready to embed some plates.

    Parameters
    ----------
    spec
        ``timm:NAME``.
    plates
        As for `embed_plates`: the first one says which channels there are.
    group
        The channels to embed: a channel group or names with commas.
    weights
        A file of the network's weights; None: timm's, from its cache or downloaded.
    channels_file
        Names and groups of the channels, where the files do not say.

    Raises
    ------
    UserError
        For a name that timm does not know, or weights that cannot be had.
    """
    name = spec.removeprefix(PREFIX)
    if name == spec or not name:
        raise UserError(f"--model {spec!r} is not timm:NAME, for example timm:vit_small_patch14_dinov2.lvd142m.")
    if weights is not None and not Path(weights).is_file():
        raise UserError(f"No weights at {weights}. Correct --weights.")
    network = _network(name, weights)
    config = timm.data.resolve_model_data_config(network)
    size, patch = int(config["input_size"][-1]), _patch(network)
    first = open_plates(plates, channels=channels_file)[0]
    channels = tuple(first.channels[index].name for index in select_channels(first, group))
    recipe = Recipe.model_validate({"model": {"patch": patch}, "augment": {"size": size}})
    backbone = ChannelByChannel(network, config["mean"], config["std"]).eval().requires_grad_(False)
    return LoadedModel(cast(Backbone, backbone), recipe, group, channels, None, {}, 0)


def _network(name: str, weights: Path | str | None) -> nn.Module:
    options: dict[str, Any] = {}
    if weights is not None:
        options["pretrained_cfg_overlay"] = {"file": str(weights)}
    try:
        return cast(nn.Module, timm.create_model(name, pretrained=True, num_classes=0, **options))
    except Exception as error:  # each way of downloading has errors of its own
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if not timm.is_model(name):
            raise UserError(f"timm has no network {name} ({reason}). Correct --model timm:NAME.") from error
        if weights is not None:
            raise UserError(f"{weights} does not hold the weights of {name} ({reason}). Correct --weights.") from error
        raise UserError(
            f"The weights of {name} cannot be had ({reason}). Connect to the internet, or fetch the file elsewhere "
            "and name it with --weights FILE."
        ) from error


def _patch(network: nn.Module) -> int:
    size = getattr(getattr(network, "patch_embed", None), "patch_size", 1)
    return int(size[0] if isinstance(size, tuple | list) else size)
