"""What a training means: counted without torch, equal to what is built, ordered and computed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from sslprofiler_core.errors import UserError
from sslprofiler_core.model import build_network
from sslprofiler_core.plates import Channel, Plate, Site, open_plates, tile_plate
from sslprofiler_core.recipes import Recipe, load_recipe
from sslprofiler_core.training import count_run
from sslprofiler_core.training.count import count_network
from sslprofiler_core.training.pairs import PairOrder
from sslprofiler_core.training.trial import counted_bytes, make_trial, trial_step

TINY_NET = ["model.width=32", "model.heads=2", "augment.size=42", "model.patch=14", "model.prototypes=128"]


def test_the_papers_figures() -> None:
    """design.md: 93.8 GFLOP a site forward and 691 GFLOP a site pair, ViT-S/14 at 518 px, 5 channels.

    They leave stochastic depth out of account, which at 0.3 computes 89 of 128 rows in the student's blocks.
    """
    whole = ["model.drop_path=0"]
    count = count_network(load_recipe("paper-vits14", whole), 5)
    assert count.flop_forward == pytest.approx(93.8e9, rel=0.005)
    assert count.flop_pair == pytest.approx(691e9, rel=0.03)
    assert count_network(load_recipe("paper-vitb14", whole), 5).flop_pair == pytest.approx(2162e9, rel=0.03)
    assert count_network(load_recipe("paper-vits14"), 5).flop_pair == pytest.approx(522e9, rel=0.01)


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["model.head_norm=true", "model.separate_ibot_head=true", "model.layer_scale=0"],
        ["model.depth=3", "model.width=48", "model.heads=3", "model.prototypes=77"],
    ],
)
def test_parameters_are_those_of_the_network(more: list[str]) -> None:
    recipe = load_recipe("paper-vits14", [*TINY_NET, *more])
    student, _ = build_network(recipe, 3)
    assert count_network(recipe, 3).parameters == sum(weight.numel() for weight in student.parameters())


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["model.drop_path=0"],
        ["augment.local_crops=3", "augment.local_size=28"],
        ["model.head_hidden=1024", "model.head_bottleneck=128", "model.prototypes=512"],
    ],
)
def test_operations_are_those_that_torch_counts(more: list[str]) -> None:
    """Of a whole step: teacher and student forward, backward, heads; stochastic depth leaves half of the rows out."""
    base = [*TINY_NET, "model.depth=6", "train.precision=float32", "train.batch=4", "augment.size=84"]
    recipe = load_recipe("paper-vits14", [*base, "model.head_hidden=32", "model.head_bottleneck=16", *more])
    trainer = make_trial(recipe, 3, torch.device("cpu"))
    trial_step(trainer, (60, 60), 4)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        trial_step(trainer, (60, 60), 4)
    counted = counter.get_total_flops()
    assert 4 * count_network(recipe, 3).flop_pair == pytest.approx(counted, rel=0.02)


def kept_bytes(recipe: Recipe) -> int:
    trainer = make_trial(recipe, 3, torch.device("cpu"))
    with counted_bytes(trainer.student) as kept:
        trial_step(trainer, (200, 200), 4)
    return kept[0]


def test_memory_is_about_what_autograd_keeps() -> None:
    """In float32; bf16 is for GPUs, which keep more than a CPU does: see test_hollow_device.py."""
    base = [*TINY_NET, "augment.size=140", "model.width=96", "model.depth=4", "train.precision=float32"]
    more = ["model.head_hidden=64", "model.head_bottleneck=16", "train.batch=4"]
    recipe = load_recipe("paper-vits14", [*base, *more])
    count, kept = count_network(recipe, 3), kept_bytes(recipe)
    assert 4 * count.pair_bytes == pytest.approx(kept, rel=0.15)
    # Checkpointed, a block's inside is not there but while it is computed again, which the count has and torch has not.
    checkpointing = load_recipe("paper-vits14", [*base, *more, "train.activation_checkpointing=true"])
    less = count_network(checkpointing, 3)
    assert kept_bytes(checkpointing) < kept / 3
    assert kept_bytes(checkpointing) < 4 * less.pair_bytes < 4 * count.pair_bytes * 0.7


def plate_of(name: str, sizes: list[int]) -> Plate:
    sites = tuple(
        Site(name, f"A{well:02d}", number, (Path("x"),)) for well, size in enumerate(sizes, 1) for number in range(size)
    )
    return Plate(name, Path("x"), "phenix", (Channel("DNA", "fluorescence", 1),), sites, None, (200, 300), ())


@settings(max_examples=60)
@given(
    sizes=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=3),
    half=st.integers(1, 8),
    apart=st.booleans(),
    tile=st.integers(1, 3),
)
def test_pairs_and_steps_are_those_of_the_order(sizes: list[list[int]], half: int, apart: bool, tile: int) -> None:
    plates = [plate_of(f"P{number}", wells) for number, wells in enumerate(sizes)]
    tree = {"train": {"batch": 2 * half, "plate_batches": apart, "epochs": 7}, "plates": {"tile": tile}}
    recipe = Recipe.model_validate(tree)
    tiled = [tile_plate(plate, tile) for plate in plates]
    try:
        order = PairOrder.over([site for plate in tiled for site in plate.sites], recipe.train)
    except UserError as error:
        with pytest.raises(UserError) as ours:
            count_run(plates, "all", recipe)
        assert str(ours.value) == str(error)
        return
    count = count_run(plates, "all", recipe)
    assert count.steps_per_epoch == order.steps_per_epoch
    assert count.pairs == len(order.epoch(0)) * 2
    assert (count.sites, count.wells, count.lonely) == (len(order.sites), len(order.wells), len(order.lonely))
    assert count.steps == 7 * order.steps_per_epoch


def test_of_real_plates_files(simulated: Path) -> None:
    plates = open_plates([simulated / "images"])
    count = count_run(plates, "brightfield", load_recipe("tiny", ["train.batch=8", "train.steps=12"]))
    assert (count.plates, count.wells, count.sites, count.steps_per_epoch, count.steps) == (2, 12, 48, 6, 12)
    assert count.epochs == 2.0
    assert count.site_bytes == 2 * len(count.channels) * 64 * 64
    with pytest.raises(UserError, match="no channel 'Gold'"):
        count_run(plates, "Gold", load_recipe("tiny"))
    with pytest.raises(UserError, match="no plates"):
        count_run([], "all", load_recipe("tiny"))


def test_counting_needs_no_torch() -> None:
    code = (
        "import sys\nfrom sslprofiler_core.training import count_run, RunWatcher, RunState\n"
        "from sslprofiler_core.recipes import load_recipe\n"
        "from sslprofiler_core.training.count import count_network\n"
        "count_network(load_recipe('tiny'), 5)\nassert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
