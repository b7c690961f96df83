"""How fast is a training step, where does its time go, and how near is it to the machine's limit and to its peer?

    python benchmarks/train.py [--model tiny] [--size PX] [--batch N] [--device cuda] [--checkpointing] [--compile on]
                               [--peer DINOV2] [--whole] [--rounds 9] [--threads 2] [--set key=value]...

Steps on random sites that are in memory, views included. Prints Markdown: pairs a second, utilisation against the best
matrix product that the machine itself does now, the time of each part, peak memory. The limit of a step is its bare
networks: the teacher's forward pass and the student's forward and backward passes, heads included, without losses.

``--peer`` takes a checkout of DINOv2 (github.com/facebookresearch/dinov2). Its projection head, losses, AdamW, clipping
and teacher's update then run on the same backbone (with SDPA attention), views and batch, with autocast as ours has it.

``--whole`` trains on simulated plates too: what the nearest-neighbour checks cost, and how right ``--estimate`` was.

Contenders take turns, so that other load meets all alike; figures are medians.
"""

from __future__ import annotations

import argparse
import copy
import platform
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslprofiler_core.model.network import Network
from sslprofiler_core.recipes import Recipe, load_recipe
from sslprofiler_core.training import loop
from sslprofiler_core.training.count import count_network
from sslprofiler_core.training.loader import PairBatch
from sslprofiler_core.training.loop import Trainer, clip_gradients, update_teacher
from sslprofiler_core.training.objective import Views, objective
from sslprofiler_core.training.optimizer import build_optimizer
from sslprofiler_core.training.pace import matrix_peak, seconds
from sslprofiler_core.training.trial import make_trial, random_batch
from sslprofiler_core.training.views import step_views

CHANNELS = 5


def bare_teacher(network: Network, views: Views, precision: torch.dtype) -> None:
    """The teacher's forward pass with its heads."""
    with torch.no_grad(), autocast(views.v1_BCHW, precision):
        cls_BD, patches_MD = network.backbone(views.v1_BCHW, places_M=views.masked_M)
        network.dino_head(cls_BD)
        network.patch_head(patches_MD)


def bare_student(network: Network, views: Views, precision: torch.dtype) -> None:
    """The student's forward passes with its heads, and a backward pass from gradients that cost nothing."""
    with autocast(views.v1_BCHW, precision):
        masked_BD, patches_MD = network.backbone(views.v1_BCHW, views.masks_BN, views.masked_M)
        local_BD, _ = network.backbone(views.v2_BCHW, places_M=views.masked_M[:0])
        logits = [network.dino_head(masked_BD), network.dino_head(local_BD), network.patch_head(patches_MD)]
    network.zero_grad(set_to_none=True)
    torch.autograd.backward(logits, [torch.full_like(one, 1e-6) for one in logits])


def autocast(like: Tensor, precision: torch.dtype) -> torch.autocast:
    return torch.autocast(like.device.type, torch.bfloat16, enabled=precision == torch.bfloat16)


class Ours:
    """A trainer of this software, whole and in parts."""

    def __init__(self, recipe: Recipe, side: int, device: torch.device) -> None:
        self.recipe, self.device = recipe, device
        self.trainer: Trainer = make_trial(recipe, CHANNELS, device)
        self.batch: PairBatch = random_batch(CHANNELS, (side, side), recipe.train.batch)
        self.batch.sites[:] = [site.to(device) for site in self.batch.sites]
        self.views = step_views(self.batch, recipe, 0, device)
        bare_student(self.trainer.student, self.views, self.trainer.precision)

    def parts(self) -> dict[str, Callable[[], object]]:
        trainer, views, precision = self.trainer, self.views, self.trainer.precision
        student, teacher = trainer.student, trainer.teacher
        still = torch.zeros((), device=self.device)

        def losses_too() -> None:
            student.zero_grad(set_to_none=True)
            found = objective(student, teacher, views, self.recipe.loss, 0.05, trainer.centres, precision)
            found[0].backward()

        def update() -> None:
            clip_gradients(student, self.recipe.train.clip)
            trainer.optimizer.found_inf = still
            trainer.optimizer.step()
            update_teacher(student, teacher, still)

        return {
            "step": lambda: trainer.train_step(self.batch),
            "augment": lambda: step_views(self.batch, self.recipe, 0, self.device),
            "teacher forward": lambda: bare_teacher(teacher, views, precision),
            "student forward and backward": lambda: bare_student(student, views, precision),
            "networks with losses": losses_too,
            "clip, optimizer and EMA": update,
        }

    def step_on_views(self) -> object:
        """A step whose views are there already: what a peer does."""
        made, loop.step_views = loop.step_views, lambda *rest: self.views
        try:
            return self.trainer.train_step(self.batch)
        finally:
            loop.step_views = made


class Peer:
    """DINOv2's own head, losses and update around the same backbone."""

    def __init__(self, path: Path, ours: Ours) -> None:
        sys.path.insert(0, str(path))
        warnings.simplefilter("ignore")  # on what of xFormers is not there
        from dinov2.layers.dino_head import DINOHead
        from dinov2.loss import DINOLoss, KoLeoLoss, iBOTPatchLoss

        if not torch.distributed.is_initialized():  # iBOT's Sinkhorn asks for it
            store = torch.distributed.HashStore()
            torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        model, device = ours.recipe.model, ours.device
        self.ours = ours
        self.student, self.teacher = (copy.deepcopy(n) for n in (ours.trainer.student, ours.trainer.teacher))
        for network in (self.student, self.teacher):
            network.dino_head = DINOHead(
                model.width, model.prototypes, model.head_norm, 3, model.head_hidden, model.head_bottleneck
            ).to(device)
            network.ibot_head = None
        self.teacher.requires_grad_(False)
        groups = build_optimizer(self.student, ours.recipe.train).param_groups
        names = ("params", "weight_decay")
        self.optimizer = torch.optim.AdamW(
            [{name: group[name] for name in names} for group in groups], lr=1e-6, betas=(0.9, 0.999)
        )
        self.dino, self.ibot = DINOLoss(model.prototypes).to(device), iBOTPatchLoss(model.prototypes).to(device)
        self.koleo = KoLeoLoss()

    def step(self) -> None:
        views, precision, loss = self.ours.views, self.ours.trainer.precision, self.ours.recipe.loss
        student, teacher = self.student, self.teacher
        with autocast(views.v1_BCHW, precision):
            with torch.no_grad():
                cls_BD, patches_BND = teacher.backbone(views.v1_BCHW)
                targets = teacher.dino_head(cls_BD)
                patch_targets = teacher.dino_head(patches_BND.flatten(0, 1)[views.masked_M])
                balanced = self.dino.sinkhorn_knopp_teacher(targets, 0.05)
                count = torch.tensor(len(views.masked_M), device=views.v1_BCHW.device)
                patch_balanced = self.ibot.sinkhorn_knopp_teacher(patch_targets, 0.05, count)
            masked_BD, masked_BND = student.backbone(views.v1_BCHW, views.masks_BN)
            local_BD, _ = student.backbone(views.v2_BCHW)
            logits = [student.dino_head(one) for one in (masked_BD, local_BD)]
            patch_logits = student.dino_head(masked_BND.flatten(0, 1)[views.masked_M])
        total = self.dino([one.float() for one in logits], [balanced])
        total = total + loss.ibot * self.ibot.forward_masked(patch_logits.float(), patch_balanced, views.masks_BN)
        total = total + loss.koleo * sum(self.koleo(one.float()) for one in (masked_BD, local_BD))
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        for module in (student.backbone, student.dino_head):
            torch.nn.utils.clip_grad_norm_(module.parameters(), self.ours.recipe.train.clip)
        self.optimizer.step()
        with torch.no_grad():
            theirs = list(teacher.parameters())
            torch._foreach_mul_(theirs, 0.996)
            torch._foreach_add_(theirs, list(student.parameters()), alpha=0.004)


def in_turns(works: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each, one after the other in every round, after a round that warms up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            took = seconds(work, device)
            if number:
                times[name].append(took)
    return {name: float(np.median(values)) for name, values in times.items()}


def peak_bytes(device: torch.device) -> int:
    """Of the device, or of the process where there is none."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def machine(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def whole_run(arguments: argparse.Namespace) -> None:
    """Estimate a short run on simulated plates, do it, and compare."""
    from sslprofiler_core.plates import simulate_plates
    from sslprofiler_core.training import RunFolder, estimate_run, train

    sets = [f"train.steps={arguments.steps}", f"train.threads={arguments.threads}", *arguments.set]
    with tempfile.TemporaryDirectory() as folder:
        plates = [simulate_plates(Path(folder) / "screen", plates=2, wells=24, sites=4) / "images"]
        estimate = estimate_run(plates, group="fluorescence", recipe="tiny", overrides=sets)
        began = time.perf_counter()
        train(plates, group="fluorescence", out=Path(folder) / "run", recipe="tiny", overrides=sets)
        took = time.perf_counter() - began
        events = RunFolder(Path(folder) / "run").events()
    checks = [event for event in events if event["event"] == "knn"]
    steps = [event for event in events if event["event"] == "step"]
    spent = sum(event["seconds"] for event in checks)
    pairs_per_s = float(np.median([event["pairs_per_s"] for event in steps]))
    step_s = estimate.count.batch / pairs_per_s
    print(f"\n| a whole run: recipe tiny, {len(steps)} steps, simulated plates | |\n| --- | --- |")
    print(f"| estimated, s | {estimate.total_s:.1f} ({estimate.step_s:.3f} a step) |")
    print(f"| took, s | {took:.1f}: steps {len(steps) * step_s:.1f} ({step_s:.3f} each), checks {spent:.1f} |")
    print(f"| estimated step over the real one | {estimate.step_s / step_s:.2f} |")
    print(f"| a nearest-neighbour check of {checks[-1]['well_n']} sites, s | {spent / len(checks):.2f} |")
    print(f"| share of the time that {len(checks)} checks took | {100 * checks[-1]['share']:.1f} % |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a recipe: tiny, paper-vits14, paper-vitb14, or a file")
    parser.add_argument("--size", type=int, help="side of a view in pixels; the recipe's")
    parser.add_argument("--batch", type=int, help="site pairs; the recipe's")
    parser.add_argument("--site", type=int, help="side of a site in pixels; 128 for tiny, else 1080")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--checkpointing", action="store_true", help="activation checkpointing")
    parser.add_argument("--compile", choices=("auto", "on", "off"), default="auto")
    parser.add_argument("--peer", type=Path, help="a checkout of DINOv2")
    parser.add_argument("--whole", action="store_true", help="train on simulated plates too")
    parser.add_argument("--steps", type=int, default=60, help="of --whole")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--set", action="append", default=[], help="section.key=value")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    sets = [f"train.compile={'on' if arguments.compile == 'auto' and device.type == 'cuda' else arguments.compile}"]
    sets += [f"train.activation_checkpointing={str(arguments.checkpointing).lower()}", *arguments.set]
    sets += [f"augment.size={arguments.size}"] if arguments.size else []
    sets += [f"train.batch={arguments.batch}"] if arguments.batch else []
    recipe = load_recipe(arguments.model, sets)
    side = arguments.site or (128 if arguments.model == "tiny" else 1080)

    before = peak_bytes(device)
    ours = Ours(recipe, side, device)
    found = in_turns(ours.parts(), arguments.rounds, device)
    peak = peak_bytes(device)
    batch, precision = recipe.train.batch, recipe.train.precision
    flop_s = count_network(recipe, CHANNELS).flop_pair * batch / found["step"]
    limit = matrix_peak(str(device), precision, torch.get_num_threads())
    bare = found["teacher forward"] + found["student forward and backward"]
    found["losses"] = found.pop("networks with losses") - bare

    print(f"Machine: {machine(device)}. {precision}, {limit / 1e12:.3g} TFLOP/s in matrix products, measured.")
    print(f"Recipe {arguments.model}, batch {batch}, views {recipe.augment.size} px of {CHANNELS} x {side} x {side}.\n")
    print("| step | |\n| --- | --- |")
    print(f"| pairs a second | {batch / found['step']:.4g} |")
    print(f"| utilisation | {100 * flop_s / limit:.1f} % |")
    print(f"| step over its bare networks | {found['step'] / bare:.2f} |")
    where = "the device" if device.type == "cuda" else f"the process ({before / 1e9:.2f} before)"
    print(f"| peak memory of {where}, GB | {peak / 1e9:.2f} |\n")
    print("| part | ms | share |\n| --- | --- | --- |")
    for name in ("augment", "teacher forward", "student forward and backward", "losses", "clip, optimizer and EMA"):
        print(f"| {name} | {1e3 * found[name]:.1f} | {100 * found[name] / found['step']:.0f} % |")
    print(f"| step | {1e3 * found['step']:.1f} | |")

    if arguments.peer is not None:
        peer = Peer(arguments.peer, ours)
        both: dict[str, Callable[[], Any]] = {"ours": ours.step_on_views, "peer": peer.step}
        times = in_turns(both, arguments.rounds, device)
        print("\n| step on the same views | pairs a second | against the peer |\n| --- | --- | --- |")
        print(f"| this software | {batch / times['ours']:.4g} | {times['peer'] / times['ours']:.2f} |")
        print(f"| DINOv2's head, losses and update | {batch / times['peer']:.4g} | 1.00 |")
    if arguments.whole:
        whole_run(arguments)


if __name__ == "__main__":
    main()
