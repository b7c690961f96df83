"""How well a network tells wells apart while it trains: the nearest other site of a fixed sample of sites.

Training does not notice: nothing is drawn, nothing is kept, and the teacher's weights are only read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sslprofiler_core import keys
from sslprofiler_core.augment import flatten_sites, send_site, whole_sites
from sslprofiler_core.model.network import Network
from sslprofiler_core.recipes import Recipe

from .loader import PairLoader
from .pairs import PairOrder
from .run_folder import EventLog

_SITES_A_WELL = 2
_WELLS_A_COMPOUND = 8


@dataclass(frozen=True)
class KnnSample:
    """Sites that the checks of a run embed.

    Attributes
    ----------
    sites_N
        Indices into the order's sites.
    well_N, plate_N, compound_N
        Numbers that tell wells, plates and compounds apart; -1 is a site without a compound, or a control.
    """

    sites_N: NDArray[np.int64]
    well_N: NDArray[np.int64]
    plate_N: NDArray[np.int64]
    compound_N: NDArray[np.int64]


def knn_sample(order: PairOrder, compounds: Mapping[tuple[str, str], str], count: int) -> KnnSample:
    """Choose about ``count`` sites by the run's seed: two a well, wells of one compound together, over plates.

    ``compounds`` names the compound of (plate, well); wells that are not in it have none. Whole compounds are taken in
    a random order, at most 8 wells of each in turn over the plates, so that compounds can be found again; then other
    wells. Wells with one site are left out where there are others.
    """
    places = [(order.sites[well[0]].plate, order.sites[well[0]].well) for well in order.wells]
    shuffled = keys.permutation(keys.fold(order.seed, "knn"), len(order.wells)).tolist()
    paired = [number for number in shuffled if len(order.wells[number]) > 1] or shuffled
    by_compound: dict[str, list[int]] = {}
    for number in paired:
        if (name := compounds.get(places[number])) is not None:
            by_compound.setdefault(name, []).append(number)
    chosen: list[int] = []
    for wells in by_compound.values():
        if len(wells) > 1:
            chosen += _in_turn(wells, [places[number][0] for number in wells])[:_WELLS_A_COMPOUND]
    chosen = list(dict.fromkeys([*chosen, *paired]))[: max(2, count // _SITES_A_WELL)]
    names = {name: number for number, name in enumerate(by_compound)}
    plates = {name: number for number, name in enumerate(dict.fromkeys(plate for plate, _ in places))}
    rows = [
        (site, number, plates[places[number][0]], names.get(compounds.get(places[number], ""), -1))
        for number in chosen
        for site in order.wells[number][:_SITES_A_WELL].tolist()
    ]
    columns = np.array(rows, np.int64).reshape(-1, 4)
    return KnnSample(columns[:, 0], columns[:, 1], columns[:, 2], columns[:, 3])


def _in_turn(wells: list[int], plates: list[str]) -> list[int]:
    """Wells in their order, but one of each plate before a second of any."""
    turns: dict[str, int] = {}
    ranked: list[tuple[int, int, int]] = []
    for well, plate in zip(wells, plates, strict=True):
        turns[plate] = turns.get(plate, -1) + 1
        ranked.append((turns[plate], len(ranked), well))
    return [well for _, _, well in sorted(ranked)]


def knn_accuracy(cls_ND: Tensor, label_N: Tensor, left_out_N: Tensor) -> tuple[float, float, int] | None:
    """Share of sites whose nearest other site (cosine) has their label.

    Parameters
    ----------
    cls_ND
        Embeddings.
    label_N
        What is to be found again, whole numbers; rows below 0 do not take part.
    left_out_N
        Rows with the same number as a site are no neighbours of it.

    Returns
    -------
    Accuracy, what a random neighbour would score, and the number of sites asked: those that have their label among
    their possible neighbours. None when no site has.
    """
    takes_part = label_N >= 0
    unit = functional.normalize(cls_ND[takes_part].float(), dim=-1)
    labels, left_out = label_N[takes_part], left_out_N[takes_part]
    possible = left_out[:, None] != left_out[None, :]
    right = (labels[:, None] == labels[None, :]) & possible
    asked = right.any(1)
    count = int(asked.sum())
    if count == 0:
        return None
    nearest = (unit @ unit.T).masked_fill(~possible, -2.0).argmax(1)
    found = right.gather(1, nearest[:, None])[:, 0][asked].double().mean()
    chance = (right.sum(1)[asked].double() / possible.sum(1)[asked]).mean()
    return float(found), float(chance), count


class KnnChecks:
    """The checks of one run.

    Parameters
    ----------
    sample
        Which sites.
    loader
        Reads them; a small screen's sites are in its memory.
    recipe, steps
        Of the run.
    device
        Where the teacher is.
    """

    def __init__(self, sample: KnnSample, loader: PairLoader, recipe: Recipe, steps: int, device: torch.device) -> None:
        self._sample, self._loader, self._recipe, self._device = sample, loader, recipe, device
        checks = recipe.train.knn_checks
        self._began, self._spent_s = time.monotonic(), 0.0
        self._steps = {round(steps * number / checks) for number in range(checks + 1)} if checks else set()

    def due(self, step: int) -> bool:
        """Whether a check belongs after so many steps: before the first, at the end, and evenly between."""
        return step in self._steps

    def run(self, teacher: Network, step: int, log: EventLog) -> None:
        """Embed the sample and write a ``knn`` event; its ``share`` is that of the time so far that checks took."""
        began = time.monotonic()
        cls_ND, rows_N = self._embed(teacher)
        well_N, plate_N, compound_N = (
            torch.from_numpy(numbers[rows_N]).to(cls_ND.device)
            for numbers in (self._sample.well_N, self._sample.plate_N, self._sample.compound_N)
        )
        values: dict[str, float | int] = {}
        itself_N = torch.arange(len(rows_N), device=cls_ND.device)
        several = len(set(plate_N.tolist())) > 1
        for name, label_N, left_out_N in (
            ("well", well_N, itself_N),
            ("compound", compound_N, plate_N if several else well_N),
        ):
            if (score := knn_accuracy(cls_ND, label_N, left_out_N)) is not None:
                accuracy, chance, count = score
                values |= {name: round(accuracy, 5), f"{name}_chance": round(chance, 5), f"{name}_n": count}
        took = time.monotonic() - began
        self._spent_s += took
        share = self._spent_s / max(time.monotonic() - self._began, 1e-9)
        log.write("knn", step, **values, seconds=round(took, 3), share=round(share, 4))

    @torch.no_grad()
    def _embed(self, teacher: Network) -> tuple[Tensor, NDArray[np.int64]]:
        """CLS of whole sites, (N, D), and which rows of the sample these are: a site that went is left out."""
        recipe, parts, kept = self._recipe, [], []
        dtype = next(teacher.parameters()).dtype
        for start in range(0, len(self._sample.sites_N), recipe.embed.batch):
            batch = self._loader.sites(self._sample.sites_N[start : start + recipe.embed.batch].tolist())
            if not batch.sites:
                continue
            raw = [send_site(site, self._device) for site in batch.sites]
            sites = flatten_sites(raw, batch.fields_BCgg)
            images = whole_sites(sites, batch.scales_BC2, recipe.embed_size, recipe.augment, batch.names).to(dtype)
            bf16 = recipe.train.precision == "bf16" and self._device.type == "cuda"
            with torch.autocast(self._device.type, torch.bfloat16, enabled=bf16), teacher.backbone.uncompiled():
                parts.append(teacher.backbone(images)[0].float())
            kept.append(start + batch.rows_B)
        if not parts:
            width = recipe.model.width
            return torch.zeros((0, width), device=self._device), np.zeros(0, np.int64)
        return torch.cat(parts), np.concatenate(kept)
