"""Does the demo's training teach anything? Fresh simulations x fresh networks, trained against untrained, paired.

    python benchmarks/demo_accuracy.py [--out DIR] [--sims 11 12 13] [--models 0 1 2] [--lengths 2 4]

Each run trains both channel groups with the demo's recipe, profiles all wells and scores 1-NN leaving one plate out, as
the demo does; the same network untrained and hand-made features stand beside it. ``--lengths`` adds, for the first
network in each simulation, runs that are so many times as long. Prints Markdown; goes on where it was interrupted.
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
from sslprofiler_core.demo.run import GROUPS, DemoSettings
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
    parser.add_argument("--lengths", type=int, nargs="*", default=[], help="longer runs, as multiples of the demo's")
    parser.add_argument("--recipe", default=SETTINGS.recipe)
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)

    plan = [(sim, model, 1) for sim in arguments.sims for model in arguments.models]
    plan += [(sim, arguments.models[0], length) for length in arguments.lengths for sim in arguments.sims]
    rows = list(run_plan(plan, arguments.out, arguments.recipe))
    print(report(pd.DataFrame(rows), arguments.recipe))


def run_plan(plan: list[tuple[int, int, int]], out: Path, recipe: str) -> Iterator[dict[str, object]]:
    """One row for each run, kind of features, channels and centring, with the wells that were right."""
    for sim, model, length in plan:
        path = out / f"sim{sim}-model{model}-x{length}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(one_run(sim, model, length, out, recipe)))
        yield from json.loads(path.read_text())


def one_run(sim: int, model: int, length: int, out: Path, recipe: str) -> list[dict[str, object]]:
    """Simulate (once a seed), train, embed, score."""
    plates = simulate_plates(
        out / f"sim{sim}",
        plates=SETTINGS.plates,
        wells=SETTINGS.wells,
        sites=SETTINGS.sites,
        size=SETTINGS.size,
        seed=sim,
    )
    folder = out / f"sim{sim}-model{model}-x{length}"
    folder.mkdir(exist_ok=True)
    steps = load_recipe(recipe).train.steps * length
    began = time.perf_counter()
    runs = {group: folder / group for group in GROUPS}
    overrides = [f"train.seed={model}", f"train.steps={steps}"]
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
    return list(result_rows(results, sim, model, length, steps, seconds))


def result_rows(
    results: Results, sim: int, model: int, length: int, steps: int, seconds: float
) -> Iterator[dict[str, object]]:
    for kind in KINDS:
        for channels in (BOTH, *GROUPS) if kind in ("trained", "untrained") else (BOTH,):
            for centred in (False, True):
                score = results.score(kind, 1, channels=channels, centred=centred)
                order = np.argsort(score.rows)
                yield {
                    "sim": sim,
                    "model": model,
                    "length": length,
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
    once = rows[rows["length"] == 1]
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
    if (rows["length"] > 1).any():
        lines += ["", *length_table(rows)]
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


def length_table(rows: pd.DataFrame) -> list[str]:
    longer = rows[rows["length"] > 1]
    part = rows[rows["model"].isin(longer["model"]) & (rows["channels"] == BOTH)]
    lines = [
        f"Longer training (network {longer['model'].iloc[0]}; as they are, centred per plate):",
        "",
        "| steps a group | simulation | seconds | trained | untrained | intensity | texture |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (steps, sim), run in part.groupby(["steps", "sim"]):
        value = run.set_index(["kind", "centred"])["accuracy"]
        shown = " | ".join(f"{value[kind, False]:.1f}, {value[kind, True]:.1f}" for kind in KINDS)
        lines.append(f"| {steps} | {sim} | {run['seconds'].iloc[0]} | {shown} |")
    lines += [
        "",
        "Trained minus texture, paired well by well (standard error over wells):",
        "",
        "| steps a group | as they are | centred per plate |",
        "| --- | --- | --- |",
    ]
    for steps, runs in part.groupby("steps"):
        cells = []
        for centred in (False, True):
            both = [runs[(runs["centred"] == centred) & (runs["kind"] == kind)] for kind in ("trained", "texture")]
            ahead = np.subtract(*(np.concatenate(one.sort_values("sim")["right"].tolist()) for one in both))
            cells.append(f"{100 * ahead.mean():+.1f} ({100 * ahead.std(ddof=1) / np.sqrt(len(ahead)):.1f})")
        lines.append(f"| {steps} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
