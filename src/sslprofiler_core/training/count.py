"""What a training means, by arithmetic alone: pairs, steps, parameters, operations, memory. No torch, no pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import Plate, require_same_channels, select_channels
from sslprofiler_core.recipes import ModelRecipe, Recipe

from .pairs import check_batch, couples_of, well_blocks

# Bytes that autograd keeps of one token in one block, for each number of its width: counted, see test_count.py, and
# for bf16, which is for GPUs, benchmarks/step_memory.py.
_KEPT_BYTES = {"bf16": 50.0, "float32": 82.8, "float64": 165.6}
# Student, teacher, gradients and AdamW's two moments, float32; autocast adds a copy of the student.
_PARAMETER_BYTES = {"bf16": 22, "float32": 20, "float64": 40}
# Prototypes as unit vectors of student and teacher, each loss's gradient in them; and a chunk of logits, five times.
_PROTOTYPE_COPIES = 6
_CHUNK_BYTES = 2**24 * 4 * 5


@dataclass(frozen=True)
class NetworkCount:
    """What one site pair costs.

    Attributes
    ----------
    parameters
        Of the student: backbone and heads.
    flop_forward
        Floating-point operations of the backbone for one view (a multiplication and an addition are two).
    flop_pair
        Of a training step for one site pair: teacher forward, student forward and backward, heads.
    state_bytes
        Student, teacher, gradients and the optimizer's moments, and what the losses hold of logits at a time.
    pair_bytes
        What a step keeps for one site pair until its gradients are there, about; of an accumulated step, in the mean
        over its pairs, of which one part at a time is kept.
    """

    parameters: int
    flop_forward: float
    flop_pair: float
    state_bytes: int
    pair_bytes: int


@dataclass(frozen=True)
class RunCount:
    """What a training means.

    Attributes
    ----------
    plates, wells, sites
        Complete ones; pseudo-sites count as sites.
    lonely
        Wells with one site, which pairs with itself.
    channels
        Names, in the network's order.
    batch, pairs, steps_per_epoch, steps, epochs
        Site pairs a step and an epoch, and the length of the run.
    network
        What one pair costs.
    flop
        Floating-point operations of the whole run.
    memory_bytes
        Of the device, about.
    site_bytes
        One site as it is read: uint16.
    """

    plates: int
    wells: int
    sites: int
    lonely: int
    channels: tuple[str, ...]
    batch: int
    pairs: int
    steps_per_epoch: int
    steps: int
    epochs: float
    network: NetworkCount
    flop: float
    memory_bytes: int
    site_bytes: int


def count_run(plates: Sequence[Plate], group: str, recipe: Recipe) -> RunCount:
    """Say what training on some plates means.

    Parameters
    ----------
    plates
        As opened, not tiled.
    group
        Channel group.
    recipe
        All settings.

    Raises
    ------
    UserError
        When it cannot be: no such channels, an odd batch, too few sites.
    """
    if not plates:
        raise UserError("There are no plates. Open some.")
    require_same_channels(plates)
    chosen = {plate.name: select_channels(plate, group) for plate in plates}
    first = plates[0]
    channels = tuple(first.channels[index].name for index in chosen[first.name])
    pieces = recipe.plates.tile**2
    wells = Counter((site.plate, site.well) for plate in plates for site in plate.sites)
    sizes = [count * pieces for count in wells.values()]
    couples = [couples_of(size) for size in sizes]
    batch = recipe.train.batch
    check_batch(batch, couples, sum(sizes), pieces > 1)
    blocks = well_blocks([plate for plate, _ in wells], couples, batch, recipe.train.plate_batches)
    epoch = sum(sum(couples[number] for number in block) // (batch // 2) for block in blocks)
    steps = recipe.train.steps or recipe.train.epochs * epoch
    network = count_network(recipe, len(channels))
    height, width = first.shape or (0, 0)
    return RunCount(
        plates=len(plates),
        wells=len(wells),
        sites=sum(sizes),
        lonely=sum(size == 1 for size in sizes),
        channels=channels,
        batch=batch,
        pairs=epoch * batch,
        steps_per_epoch=epoch,
        steps=steps,
        epochs=steps / epoch,
        network=network,
        flop=steps * batch * network.flop_pair,
        memory_bytes=network.state_bytes + batch * network.pair_bytes,
        site_bytes=2 * len(channels) * height * width // pieces,
    )


def count_network(recipe: Recipe, channels: int) -> NetworkCount:
    """Say what the recipe's networks cost on so many channels."""
    model, size = recipe.model, recipe.augment.size
    patches = (size // model.patch) ** 2
    masked = recipe.loss.mask_images * sum(recipe.loss.mask_ratio) / 2 * patches
    head = _head_products(model)
    share = _kept_share(recipe)
    forward = _view_flop(model, channels, patches)
    teacher = forward + 2 * head * (1 + masked)
    student = 2 * _view_flop(model, channels, patches, share) + 2 * head * (2 + masked)
    # Nothing asks for the pixels' gradients: of the patch embedding, a backward pass has the weights' alone.
    saved = 2 * _embedding_flop(model, channels, patches)
    if crops := recipe.augment.local_crops:
        few = _crop_patches(recipe)
        teacher += forward + 2 * head
        student += crops * (_view_flop(model, channels, few, _kept_share(recipe, crops)) + 2 * head)
        saved += crops * _embedding_flop(model, channels, few)
    parameters = _backbone_parameters(model, channels, patches) + _head_parameters(model) * (
        2 if model.separate_ibot_head else 1
    )
    return NetworkCount(
        parameters=parameters,
        flop_forward=forward,
        flop_pair=teacher + 3 * student - saved,  # a backward pass is two products for each of the forward's
        state_bytes=_PARAMETER_BYTES[recipe.train.precision] * parameters + _loss_bytes(recipe, masked),
        pair_bytes=_pair_bytes(recipe, channels, patches, masked) // recipe.train.accumulate,
    )


def _crop_patches(recipe: Recipe) -> int:
    return (recipe.augment.local_size // recipe.model.patch) ** 2


def _kept_share(recipe: Recipe, views: int = 1) -> float:
    """Share of the student's residual branches that are computed: stochastic depth leaves out the others."""
    rows = recipe.train.batch // recipe.train.accumulate * views
    return recipe.model.kept_rows(rows) / rows


def _embedding_flop(model: ModelRecipe, channels: int, patches: int) -> float:
    return 2.0 * patches * model.width * channels * model.patch**2


def _view_flop(model: ModelRecipe, channels: int, patches: int, share: float = 1.0) -> float:
    """Operations of the backbone for one view: linear layers, both products of attention, patch embedding."""
    shape = model.shape
    tokens, width = patches + 1 + shape.registers, model.width
    linear = tokens * width * (4 * width + (3 if shape.gated else 2) * shape.hidden)
    attention = 2 * tokens * tokens * width
    return 2.0 * share * model.depth * (linear + attention) + _embedding_flop(model, channels, patches)


def _head_products(model: ModelRecipe) -> int:
    """Multiplications of the projection head for one token."""
    hidden, bottleneck = model.head_hidden, model.head_bottleneck
    return model.width * hidden + hidden * hidden + hidden * bottleneck + bottleneck * model.prototypes


def _head_parameters(model: ModelRecipe) -> int:
    hidden, bottleneck = model.head_hidden, model.head_bottleneck
    biases = 2 * hidden + bottleneck
    return _head_products(model) + biases + (4 * hidden if model.head_norm else 0)


def _backbone_parameters(model: ModelRecipe, channels: int, patches: int) -> int:
    shape = model.shape
    width, hidden, matrices = model.width, shape.hidden, 3 if shape.gated else 2
    norms = 4 * width
    attention = 4 * width * width + 4 * width
    feed_forward = matrices * width * hidden + (matrices - 1) * hidden + width
    scales = 2 * width if model.layer_scale or model.starts_pretrained else 0
    embedding = width * channels * model.patch**2 + width
    positions = (1 + patches) * width if shape.positions else 0
    tokens = positions + (2 + shape.registers) * width  # CLS, mask
    return model.depth * (norms + attention + feed_forward + scales) + embedding + tokens + 2 * width


def _loss_bytes(recipe: Recipe, masked: float) -> int:
    """What the losses hold whatever the batch: their logits are made and used in chunks."""
    model = recipe.model
    logits = recipe.train.batch * max(1.0, masked) * model.prototypes * 4 * 5
    return int(_PROTOTYPE_COPIES * 4 * model.prototypes * model.head_bottleneck + min(logits, _CHUNK_BYTES))


def _pair_bytes(recipe: Recipe, channels: int, patches: int, masked: float) -> int:
    """What autograd keeps for a pair: two student views, and what the head makes of its tokens."""
    model = recipe.model
    crops = recipe.augment.local_crops
    beside = 1 + model.shape.registers
    seen = 2 * (patches + beside) + crops * (_crop_patches(recipe) + beside)
    block = seen * model.width * _KEPT_BYTES[recipe.train.precision] * _kept_share(recipe)
    backbone = model.depth * block
    if recipe.train.activation_checkpointing:  # each block's input, and one block of one view as it is computed again
        backbone = model.depth * seen * model.width * 4 + block / 2
    tokens = 2 + masked + crops
    head = tokens * 8 * (3 * model.head_hidden + 3 * model.head_bottleneck)
    views = (2 * recipe.augment.size**2 + crops * recipe.augment.local_size**2) * channels * 4 * 2
    return int(backbone + head + views)
