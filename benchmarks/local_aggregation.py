"""Does local aggregation pay? Trained with v2 from another site of the well, and with v2 from the same site, paired.

    python benchmarks/local_aggregation.py [--out DIR] [--seeds 21 22 23] [--steps N] [--threads N]

Each seed makes its own simulated plates and its own initial weights; both arms share them, the order of the sites and
the crops. Fluorescence, the demo's recipe. Profiles are the mean over a well's sites; 1-NN (cosine) finds a well's
compound on the other plates, DMSO left out. Prints Markdown; goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from sslprofiler_core.demo.features import centred_per_plate
from sslprofiler_core.demo.run import DemoSettings
from sslprofiler_core.model import build_backbone, load_model
from sslprofiler_core.plates import simulate_plates
from sslprofiler_core.profiling import embed_plates, profile_sites, read_wells
from sslprofiler_core.recipes import load_recipe
from sslprofiler_core.training import RunFolder, train

GROUP = "fluorescence"
ARMS = {"another site": "true", "the same site": "false"}
UNTRAINED = "untrained"
SETTINGS = DemoSettings()
CENTRED = {False: "as they are", True: "centred per plate"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/local-aggregation"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[21, 22, 23], help="of simulation and network")
    parser.add_argument("--steps", type=int, default=0, help="0: the recipe's")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    steps = arguments.steps or load_recipe(SETTINGS.recipe).train.steps
    rows = [row for seed in arguments.seeds for row in rows_of(seed, steps, arguments.threads, arguments.out)]
    print(report(pd.DataFrame(rows), steps))


def rows_of(seed: int, steps: int, threads: int, out: Path) -> Iterator[dict[str, object]]:
    """One row for each arm and centring: which wells were right, and what the run said of itself."""
    plates = simulate_plates(
        out / f"sim{seed}",
        plates=SETTINGS.plates,
        wells=SETTINGS.wells,
        sites=SETTINGS.sites,
        size=SETTINGS.size,
        seed=seed,
    )
    for arm, switch in ARMS.items():
        run = out / f"seed{seed}-{arm.split()[-2]}-x{steps}"
        changes = [f"train.seed={seed}", f"train.steps={steps}", f"augment.local_aggregation={switch}"]
        outcome = train(
            [plates / "images"],
            group=GROUP,
            out=run,
            recipe=SETTINGS.recipe,
            overrides=[*changes, f"train.threads={threads}"],
            metadata=plates / "metadata",
            resume=True,
        )
        if outcome.reason != "finished":
            raise SystemExit(f"{outcome.reason} at step {outcome.step} of {run}. The same command goes on from there.")
        yield from scores(run, arm, seed, plates)
        if arm == "another site":  # both start from the same weights
            yield from scores(run, UNTRAINED, seed, plates)


def scores(run: Path, arm: str, seed: int, plates: Path) -> Iterator[dict[str, object]]:
    """Embed, profile, find each well's compound on other plates."""
    checks = [event for event in RunFolder(run).events() if event["event"] == "knn"]
    name = "untrained" if arm == UNTRAINED else "trained"
    wells = run / f"{name}-wells.parquet"
    if not wells.is_file():
        model = load_model(run)
        if arm == UNTRAINED:
            model = replace(model, backbone=build_backbone(model.recipe, len(model.channels)), step=0)
        sites = run / f"{name}-sites.parquet"
        embed_plates([plates / "images"], [model], sites, metadata=plates / "metadata")
        profile_sites(sites, wells, sites="mean")  # positions mean nothing on simulated plates
    table = read_wells(wells)
    check = checks[0] if arm == UNTRAINED else checks[-1]
    steps = [event for event in RunFolder(run).events() if event["event"] == "step"]
    for centred in CENTRED:
        profiles = centred_per_plate(table.profiles, table.metadata) if centred else table.profiles
        yield {
            "seed": seed,
            "arm": arm,
            "centred": centred,
            "right": right_wells(profiles, table.metadata).tolist(),
            "same_well": check["well"],
            "between_sites": np.nan if arm == UNTRAINED else np.mean([step["dino_local"] for step in steps[-20:]]),
        }


def right_wells(profiles_WD: NDArray[np.floating], metadata: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each treated well's nearest well on another plate has its compound."""
    treated = (metadata["Metadata_Compound"].notna() & (metadata["Metadata_control_type"] != "negcon")).to_numpy()
    labels, plates = (metadata[name].to_numpy()[treated] for name in ("Metadata_Compound", "Metadata_Plate"))
    profiles, right = profiles_WD[treated], np.zeros(treated.sum(), bool)
    for plate in np.unique(plates):
        here = plates == plate
        nearest = KNeighborsClassifier(1, metric="cosine").fit(profiles[~here], labels[~here])
        right[here] = nearest.predict(profiles[here]) == labels[here]
    return right


def report(rows: pd.DataFrame, steps: int) -> str:
    """The tables, as Markdown."""
    rows["accuracy"] = [100 * float(np.mean(right)) for right in rows["right"]]
    seeds, wells = sorted(rows["seed"].unique()), len(rows["right"].iloc[0])
    lines = [
        f"Machine: {platform.machine()}, {os.cpu_count()} cores; torch {torch.__version__}; recipe "
        f"`{SETTINGS.recipe}`, {GROUP}, {steps} steps; {wells} wells a seed. 1-NN accuracy in %.",
        "",
        f"| v2 from | profiles | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | "
        "site's nearest is of its well | term between views, last 20 steps |",
        f"| --- | --- | {'--- | ' * len(seeds)}--- | --- | --- |",
    ]
    for arm in (*ARMS, UNTRAINED):
        for centred, words in CENTRED.items():
            part = rows[(rows["arm"] == arm) & (rows["centred"] == centred)].set_index("seed")
            each = " | ".join(f"{part['accuracy'][seed]:.1f}" for seed in seeds)
            term = "" if arm == UNTRAINED else f"{part['between_sites'].mean():.2f}"
            lines.append(
                f"| {arm} | {words} | {each} | {part['accuracy'].mean():.1f} | {100 * part['same_well'].mean():.1f} | "
                f"{term} |"
            )
    lines += [
        "",
        f"| another site minus the same site | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | standard error "
        "over wells |",
        f"| --- | {'--- | ' * len(seeds)}--- | --- |",
    ]
    for centred, words in CENTRED.items():
        part = rows[rows["centred"] == centred].set_index(["arm", "seed"])["right"]
        on, off = ARMS
        each = [np.array(part[on, seed], int) - np.array(part[off, seed], int) for seed in seeds]
        wells_all = np.concatenate(each)
        error = 100 * wells_all.std(ddof=1) / np.sqrt(len(wells_all))
        cells = " | ".join(f"{100 * one.mean():+.1f}" for one in each)
        lines.append(f"| {words} | {cells} | {100 * wells_all.mean():+.1f} | {error:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
