"""Does the demo's training teach anything? Fresh simulations x fresh networks, trained against untrained, paired.

    python benchmarks/demo_accuracy.py [--out DIR] [--sims 11 12 13] [--models 0 1 2] [--full]

Each run trains both channel groups with the demo's recipe, profiles all wells and scores 1-NN leaving one plate out, as
the demo does; the same network untrained and hand-made features stand beside it. ``--full`` adds, for the first network
in each simulation, a run of `sslprofiler demo --full`. Prints Markdown; goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sslprofiler_core.demo.features import BOTH, network_profiles, well_features
from sslprofiler_core.demo.run import GROUPS, DemoSettings, training_overrides
from sslprofiler_core.demo.scores import Results, measure
from sslprofiler_core.demo.side_by_side import train_side_by_side
from sslprofiler_core.model import build_backbone
from sslprofiler_core.plates import open_plates, simulate_plates
from sslprofiler_core.profiling import read_wells
from sslprofiler_core.profiling.embed import embed_plates, load_models
from sslprofiler_core.recipes import load_recipe

KINDS = ("trained", "untrained", "intensity", "texture")
SETTINGS = DemoSettings()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/demo-accuracy"))
    parser.add_argument("--sims", type=int, nargs="+", default=[11, 12, 13], help="seeds of the simulation")
    parser.add_argument("--models", type=int, nargs="+", default=[0, 1, 2], help="seeds of the networks")
    parser.add_argument("--full", action="store_true", help="the full demo too, for the first network")
    parser.add_argument("--recipe", default=SETTINGS.recipe)
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)

    plan = [(sim, model, False) for sim in arguments.sims for model in arguments.models]
    plan += [(sim, arguments.models[0], True) for sim in arguments.sims if arguments.full]
    rows = list(run_plan(plan, arguments.out, arguments.recipe))
    print(report(pd.DataFrame(rows), arguments.recipe))


def run_plan(plan: list[tuple[int, int, bool]], out: Path, recipe: str) -> Iterator[dict[str, object]]:
    """One row for each run, kind of features, channels and centring, with the wells that were right."""
    for sim, model, full in plan:
        path = out / f"{name_of(sim, model, full)}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(one_run(sim, model, full, out, recipe)))
        yield from json.loads(path.read_text())


def name_of(sim: int, model: int, full: bool) -> str:
    return f"sim{sim}-model{model}{'-full' * full}"


def one_run(sim: int, model: int, full: bool, out: Path, recipe: str) -> list[dict[str, object]]:
    """Simulate (once a seed), train, embed, score."""
    plates = simulate_plates(
        out / f"sim{sim}",
        plates=SETTINGS.plates,
        wells=SETTINGS.wells,
        sites=SETTINGS.sites,
        size=SETTINGS.size,
        seed=sim,
    )
    folder = out / name_of(sim, model, full)
    folder.mkdir(exist_ok=True)
    overrides = training_overrides(replace(SETTINGS, recipe=recipe), model, full)
    steps = load_recipe(recipe, overrides).train.steps
    began = time.perf_counter()
    runs = {group: folder / group for group in GROUPS}
    train_side_by_side(plates / "images", plates / "metadata", runs, recipe, overrides)
    seconds = time.perf_counter() - began

    models = load_models(list(runs.values()))
    before = [replace(m, backbone=build_backbone(m.recipe, len(m.channels)), step=0) for m in models]
    profiles = {}
    for name, networks in (("trained", models), ("untrained", before)):
        sites = folder / f"{name}-sites.parquet"
        embed_plates([plates / "images"], networks, sites, metadata=plates / "metadata")
        profiles[name] = network_profiles(sites, folder / f"{name}-wells.parquet", networks)
    metadata = read_wells(folder / "trained-wells.parquet").metadata
    handmade = well_features(open_plates([plates / "images"]), models, metadata, folder)
    results = measure(metadata, profiles, handmade, seed=0)
    return list(result_rows(results, sim, model, full, steps, seconds))


def result_rows(
    results: Results, sim: int, model: int, full: bool, steps: int, seconds: float
) -> Iterator[dict[str, object]]:
    for kind in KINDS:
        for channels in (BOTH, *GROUPS) if kind in ("trained", "untrained") else (BOTH,):
            for centred in (False, True):
                score = results.score(kind, 1, channels=channels, centred=centred)
                order = np.argsort(score.rows)
                yield {
                    "sim": sim,
                    "model": model,
                    "full": full,
                    "steps": steps,
                    "seconds": round(seconds),
                    "kind": kind,
                    "channels": channels,
                    "centred": centred,
                    "right": score.correct[order].astype(int).tolist(),
                }


def report(rows: pd.DataFrame, recipe: str) -> str:
    """The tables, as Markdown."""
    rows["accuracy"] = [100 * float(np.mean(right)) for right in rows["right"]]
    once = rows[~rows["full"]]
    wells = len(once["right"].iloc[0])
    steps, seconds = int(once["steps"].iloc[0]), once.groupby(["sim", "model"])["seconds"].first().median()
    lines = [
        f"Machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores; torch {torch.__version__}; "
        f"recipe `{recipe}`, {steps} steps a channel group, both side by side in {seconds:.0f} s (median).",
        f"1-NN accuracy in %, one plate left out, {wells} wells a simulation; mean over runs (range).",
        "",
        "| features | channels | as they are | centred per plate |",
        "| --- | --- | --- | --- |",
    ]
    for kind in KINDS:
        for channels in (BOTH, *GROUPS):
            part = once[(once["kind"] == kind) & (once["channels"] == channels)]
            if len(part):
                cells = [spread(part[part["centred"] == centred]["accuracy"]) for centred in (False, True)]
                lines.append(f"| {kind} | {channels} | {cells[0]} | {cells[1]} |")
    lines += [
        "",
        "Trained minus untrained, paired well by well, in percentage points (standard error over wells, the network "
        "seeds of a simulation averaged first):",
        "",
        "| channels | centred per plate | difference | standard error | in errors | runs with a gain |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for channels in (BOTH, *GROUPS):
        for centred in (False, True):
            lines.append(difference_row(once, channels, centred))
    lines += [
        "",
        "| simulation | network | trained | untrained | intensity | texture |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    plain = once[(once["channels"] == BOTH) & ~once["centred"]]
    for (sim, model), part in plain.groupby(["sim", "model"]):
        by_kind = part.set_index("kind")["accuracy"]
        lines.append(f"| {sim} | {model} | " + " | ".join(f"{by_kind[kind]:.1f}" for kind in KINDS) + " |")
    if rows["full"].any():
        lines += ["", *full_table(rows)]
    return "\n".join(lines)


def spread(values: pd.Series[float]) -> str:
    return f"{values.mean():.1f} ({values.min():.1f} to {values.max():.1f})"


def difference_row(rows: pd.DataFrame, channels: str, centred: bool) -> str:
    part = rows[(rows["channels"] == channels) & (rows["centred"] == centred)]
    by_run = {kind: part[part["kind"] == kind].set_index(["sim", "model"])["right"] for kind in KINDS[:2]}
    each = {
        run: np.array(by_run["trained"][run]) - np.array(by_run["untrained"][run]) for run in by_run["trained"].index
    }
    of_wells = np.concatenate(
        [np.mean([d for (s, _), d in each.items() if s == sim], axis=0) for sim in sorted({s for s, _ in each})]
    )
    mean, error = 100 * of_wells.mean(), 100 * of_wells.std(ddof=1) / np.sqrt(len(of_wells))
    positive = sum(d.mean() > 0 for d in each.values())
    return (
        f"| {channels} | {'yes' if centred else 'no'} | {mean:+.1f} | {error:.1f} | {mean / error:+.1f} | "
        f"{positive} of {len(each)} |"
    )


def full_table(rows: pd.DataFrame) -> list[str]:
    longer = rows[rows["full"]]
    part = rows[rows["model"].isin(longer["model"]) & (rows["channels"] == BOTH)]
    lines = [
        f"The full demo (network {longer['model'].iloc[0]}; as they are, centred per plate):",
        "",
        "| demo | simulation | seconds | trained | untrained | intensity | texture |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (full, sim), run in part.groupby(["full", "sim"]):
        value = run.set_index(["kind", "centred"])["accuracy"]
        shown = " | ".join(f"{value[kind, False]:.1f}, {value[kind, True]:.1f}" for kind in KINDS)
        lines.append(f"| {demo_name(full)} | {sim} | {run['seconds'].iloc[0]} | {shown} |")
    lines += [
        "",
        "Trained minus texture, paired well by well (standard error over wells):",
        "",
        "| demo | as they are | centred per plate |",
        "| --- | --- | --- |",
    ]
    for full, runs in part.groupby("full"):
        cells = []
        for centred in (False, True):
            both = [runs[(runs["centred"] == centred) & (runs["kind"] == kind)] for kind in ("trained", "texture")]
            ahead = np.subtract(*(np.concatenate(one.sort_values("sim")["right"].tolist()) for one in both))
            cells.append(f"{100 * ahead.mean():+.1f} ({100 * ahead.std(ddof=1) / np.sqrt(len(ahead)):.1f})")
        lines.append(f"| {demo_name(full)} | " + " | ".join(cells) + " |")
    return lines


def demo_name(full: bool) -> str:
    return "`demo --full`" if full else "`demo`"


if __name__ == "__main__":
    main()
