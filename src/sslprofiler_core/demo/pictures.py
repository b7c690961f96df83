"""The report's pictures: maps, compounds, plates, images, views, and how training went."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.evaluation import control_wells
from sslprofiler_core.evaluation.figures import accuracy_per_label
from sslprofiler_core.evaluation.html import Report
from sslprofiler_core.evaluation.maps import image_montage, plate_heat_maps, umap_panels
from sslprofiler_core.training.run_folder import RunFolder

from .features import merged_scale, scaled_site
from .figures import training_curves, view_rows
from .views import training_views

if TYPE_CHECKING:
    from .report import Findings

_VIEW_ROWS = 3


def wells(report: Report, findings: Findings) -> None:
    """Map, compounds and plates."""
    metadata = findings.wells.metadata
    compounds = np.where(control_wells(metadata), "DMSO", metadata["Metadata_Compound"].astype(str))
    _maps(report, findings, compounds)
    report.heading("Which compounds, and where")
    score = findings.results.score("trained")
    with report.row():
        report.figure(
            accuracy_per_label(
                score.labels, score.correct, chance=findings.results.chance, title="Trained models, 1-NN"
            ),
            "Accuracy of each compound. A few that are always found and some that never are have the same mean as "
            "many that sometimes are.",
        )
        texture = findings.results.score("texture")
        report.figure(
            accuracy_per_label(
                texture.labels, texture.correct, chance=findings.results.chance, title="Texture features, 1-NN"
            ),
            "The same with hand-made texture features: phenotypes found here and not on the left are in the images, "
            "but not in the profiles.",
        )
    report.figure(
        plate_heat_maps(_activity(findings), label="distance from DMSO"),
        "How far a well's profile lies from the mean of its plate's DMSO wells; 1 is the usual distance of a DMSO "
        "well. Compounds stand out as single wells; a bright border, row or column would be an effect of position. "
        "Grey: no such well.",
        alt="Plate heat maps of the distance from DMSO",
    )


def _maps(report: Report, findings: Findings, compounds: NDArray[Any]) -> None:
    layouts = findings.layouts()
    if layouts is None:
        return
    metadata = findings.wells.metadata
    score = findings.results.score("trained", centred=True)
    right = np.full(len(metadata), "DMSO", object)
    right[score.rows] = np.where(score.correct, "right", "wrong")
    kinds = {
        "Cell line": metadata["Metadata_CellType"].astype(str).to_numpy(str),
        "Plate": metadata["Metadata_Plate"].astype(str).to_numpy(str),
    }
    named = {
        "Compound, profiles centred per plate": np.array([name.removeprefix("sim-") for name in compounds]),
        "Compound named by 1-NN, centred per plate": right.astype(str),
    }
    report.heading("Maps of wells")
    report.figure(
        umap_panels(layouts[0], kinds, columns=2),
        "Each point is a well; wells with similar profiles lie near each other (UMAP of the trained profiles). Islands "
        "of one plate or cell line show what the profiles hold beside the compound. Axes, and distances between "
        "islands, mean nothing.",
        alt="UMAP of wells by cell line and plate",
        image="png",
    )
    report.figure(
        umap_panels(layouts[1], named, columns=2, shown=len(np.unique(compounds)), background="DMSO"),
        "The same after each plate's mean profile was subtracted. Islands of one compound are phenotypes; what lies "
        "among the DMSO wells looks like them.",
        alt="UMAP of wells by compound, centred per plate",
        image="png",
    )


def _activity(findings: Findings) -> dict[str, tuple[list[str], NDArray[np.float64]]]:
    """Distance of each well from its plate's DMSO mean, in units of the DMSO wells' median; a panel a cell line."""
    metadata, profiles = findings.wells.metadata, findings.wells.profiles.astype(np.float64)
    controls = control_wells(metadata)
    plates = metadata["Metadata_Plate"].to_numpy()
    distance = np.full(len(profiles), np.nan)
    for plate in np.unique(plates):
        own = plates == plate
        distance[own] = np.linalg.norm(profiles[own] - profiles[own & controls].mean(axis=0), axis=1)
        distance[own] /= np.median(distance[own & controls])
    lines = metadata["Metadata_CellType"].astype(str).to_numpy(str)
    names = metadata["Metadata_Well"].astype(str).to_numpy(str)
    return {
        f"{line}, mean of {len(np.unique(plates[lines == line]))} plates": (
            names[lines == line].tolist(),
            distance[lines == line],
        )
        for line in np.unique(lines)
    }


def images(report: Report, findings: Findings) -> None:
    """What the plates look like, and what the training made of them."""
    score = findings.results.score("trained")
    right = pd.Series(score.correct).groupby(score.labels).mean().sort_values(kind="stable")
    best, least = str(right.index[-1]), str(right.index[0])
    report.heading("What the models look at")
    sites, names = _example_sites(findings, ["DMSO", best, least])
    report.figure(
        image_montage(sites, names, side=1.12),
        f"One site each of DMSO, of the compound that the trained models find most often ({best}, "
        f"{100 * right.iloc[-1]:.0f} %) and of the one they find least often ({least}, {100 * right.iloc[0]:.0f} %), "
        "on one plate. All sites share one scale a channel, so brightness can be compared down a column.",
        alt="Montage of three sites in all channels",
        image="png",
    )
    shown = training_views(findings.plates, findings.models[0], _VIEW_ROWS)
    report.figure(
        view_rows(shown),
        "What training saw in its first step (fluorescence). Two sites of one well are cropped, turned, warped and "
        "changed in brightness. The student sees view 1 with patches masked (grey), and view 2 of the other site, and "
        "must say of both what its teacher says of the whole view 1: what stays the same is what the well holds.",
        alt="Pairs of sites and their views",
        image="png",
    )


def _example_sites(findings: Findings, compounds: list[str]) -> tuple[dict[str, NDArray[np.float32]], list[str]]:
    plate = findings.plates[0]
    metadata = findings.wells.metadata
    here = metadata[metadata["Metadata_Plate"] == plate.name]
    scale = merged_scale(findings.models)
    found = {}
    for compound in compounds:
        own = here[control_wells(here)] if compound == "DMSO" else here[here["Metadata_Compound"] == compound]
        well = str(own["Metadata_Well"].iloc[0])
        found[f"{compound.removeprefix('sim-')}\n{well}"] = scaled_site(plate.sites_of(well)[0], plate, scale)
    return found, [channel.name for channel in plate.channels if channel.name in scale[plate.name]]


def training(report: Report, findings: Findings) -> None:
    """Losses and the watch on collapse."""
    report.heading("How training went")
    events = {group: RunFolder(run).events() for group, run in findings.runs.items()}
    guess = math.log(findings.models[0].recipe.model.prototypes)
    report.figure(
        training_curves(events, guess),
        f"Losses, and below them the effective rank of a batch's embeddings: in how many directions they differ. The "
        f"dashed line, ln {findings.models[0].recipe.model.prototypes}, is what an even guess costs; above it, the "
        "student is surer than it is right. A rank near 1 (dashed) would be collapse: the same embedding for every "
        "site.",
        alt="Losses and effective rank over the training steps",
    )
    warnings = [
        f"{group.capitalize()}: {e['text']}" for group, own in events.items() for e in own if e["event"] == "warning"
    ]
    if warnings:
        report.notice(warnings)
