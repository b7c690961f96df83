"""What is trained: a backbone with its heads; student and teacher have the same shape."""

from __future__ import annotations

import torch
from torch import nn

from sslprofiler_core import keys
from sslprofiler_core.recipes import Recipe

from .backbone import Backbone
from .heads import ProjectionHead
from .pretrained import start_from_pretrained


class Network(nn.Module):
    """A backbone, the DINO head and, when the recipe asks for one, iBOT's own head."""

    def __init__(self, recipe: Recipe, channels: int, drops: bool = False) -> None:
        super().__init__()
        self.backbone = Backbone(recipe.model, channels, recipe.augment.size, drops)
        self.dino_head = ProjectionHead(recipe.model)
        self.ibot_head = ProjectionHead(recipe.model) if recipe.model.separate_ibot_head else None

    @property
    def patch_head(self) -> ProjectionHead:
        """The head that sees patches: iBOT's own or the shared one."""
        return self.dino_head if self.ibot_head is None else self.ibot_head


def build_network(recipe: Recipe, channels: int) -> tuple[Network, Network]:
    """Make student and teacher with weights that depend on the recipe's seed alone.

    The teacher starts as a copy of the student, heads included (DINOv2); it has no stochastic depth and no gradients.
    Pretrained weights are not put in: see ``start_networks``.
    """
    # Weights are drawn on the CPU from the global generator: put it back, so that the caller's own draws do not move.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(keys.fold(recipe.train.seed, "weights")))
        student = Network(recipe, channels, drops=True)
        teacher = Network(recipe, channels)
    teacher.load_state_dict(student.state_dict())
    teacher.requires_grad_(False)
    return student, teacher


def start_networks(student: Network, teacher: Network, recipe: Recipe) -> None:
    """Put the pretrained weights that the recipe names, where it does, into networks that have done no step.

    Raises
    ------
    UserError
        When there are no such weights.
    """
    if recipe.model.starts_pretrained:
        start_from_pretrained(student.backbone, recipe.model)
        teacher.load_state_dict(student.state_dict())


def build_backbone(recipe: Recipe, channels: int) -> Backbone:
    """Make the backbone as it is before training: what a trained one is compared with."""
    student, teacher = build_network(recipe, channels)
    start_networks(student, teacher, recipe)
    return teacher.backbone.eval()
