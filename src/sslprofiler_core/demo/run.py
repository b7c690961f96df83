"""``sslprofiler demo``: simulate, train, embed, profile, evaluate, report; each stage goes on where it was left."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import simulate_plates
from sslprofiler_core.plates.simulated_optics import CHANNELS
from sslprofiler_core.recipes import load_recipe

if TYPE_CHECKING:
    from .features import Floats
    from .maps import WellMap
    from .report import Findings

GROUPS = ("fluorescence", "brightfield")

# How much longer `--full` trains.
LONGER = 10


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """Size of the demo. The defaults take at most four minutes on two cores; tests use smaller ones."""

    plates: int = 4
    wells: int = 48
    sites: int = 4
    size: int = 128
    recipe: str = "tiny"
    overrides: tuple[str, ...] = ()
    umap: bool = True


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """Where everything of a demo lies: a short and a full one share the plates, and nothing that training made."""

    out: Path
    full: bool = False

    def named(self, stem: str, ending: str) -> Path:
        """A file of this demo: ``wells.parquet``, or ``wells-full.parquet`` of a full one."""
        return self.out / f"{stem}{'-full' if self.full else ''}{ending}"

    @property
    def images(self) -> Path:
        """The simulated plates."""
        return self.out / "plates" / "images"

    @property
    def metadata(self) -> Path:
        """Their plate map and tables."""
        return self.out / "plates" / "metadata"

    @property
    def runs(self) -> dict[str, Path]:
        """Channel group -> run folder."""
        return {group: self.named(f"runs/{group}", "") for group in GROUPS}


class Stopwatch:
    """Seconds of each stage, kept beside the results: a stage that went on later adds up, one that was kept stays."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.seconds: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.seconds = {}

    @contextmanager
    def stage(self, name: str, *, add: bool = True, kept: bool = False) -> Iterator[None]:
        """Time what is inside the ``with``, also when it is interrupted."""
        before = self.seconds.get(name, 0.0) if add else 0.0
        began = time.perf_counter()
        try:
            yield
        finally:
            if not kept or name not in self.seconds:
                self.seconds[name] = round(before + time.perf_counter() - began, 2)
                self._path.write_text(json.dumps(self.seconds, indent=1) + "\n", encoding="utf-8")


def run_demo(out: Path | str, *, full: bool = False, seed: int = 0, settings: DemoSettings | None = None) -> Path:
    """Do the main job on simulated plates, and write a report about it.

    Parameters
    ----------
    out
        Folder: ``plates/``, ``runs/``, the tables of sites and wells, ``metrics.csv``, ``report.html``. What is there
        already from an earlier call with the same seed is kept, and what was stopped goes on.
    full
        Train ten times as long on views of the sites' own resolution, into runs, tables and a report of its own
        (``...-full``).
    seed
        Of the plates and of the training.
    settings
        Sizes other than the demo's.

    Returns
    -------
    The report's path.

    Raises
    ------
    UserError
        When ``out`` cannot be written or holds something else, or a training fails.
    """
    settings = settings or DemoSettings()
    folder = DemoFolder(Path(out), full)
    try:
        folder.runs[GROUPS[0]].parent.mkdir(parents=True, exist_ok=True)
        if not os.access(folder.out, os.W_OK):
            raise UserError(f"The folder {folder.out} cannot be written. Choose another --out.")
        return _run(folder, settings, seed)
    except KeyboardInterrupt:
        print(f"\nStopped; what is done is kept in {folder.out}. The same command goes on from here.", file=sys.stderr)
        raise
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise UserError(
            f"The demo cannot write in {folder.out} ({error.strerror or error}{where}). "
            "Free some space, or choose another --out."
        ) from error


def _run(folder: DemoFolder, settings: DemoSettings, seed: int) -> Path:
    from .maps import WellMap
    from .report import summary, write_report
    from .side_by_side import finished, train_side_by_side

    watch = Stopwatch(folder.named("timings", ".json"))
    planes = settings.plates * settings.wells * settings.sites * len(CHANNELS)
    with watch.stage("simulate", kept=sum(1 for _ in folder.images.glob("*/*.tiff")) == planes):
        simulate_plates(
            folder.out / "plates",
            plates=settings.plates,
            wells=settings.wells,
            sites=settings.sites,
            size=settings.size,
            seed=seed,
        )
    with watch.stage("train", kept=all(map(finished, folder.runs.values()))):
        overrides = training_overrides(settings, seed, folder.full)
        train_side_by_side(folder.images, folder.metadata, folder.runs, settings.recipe, overrides)
    with watch.stage("embed", kept=_embedded(folder.named("sites", ".parquet"), settings)):
        trained = _embed_trained(folder)
    with WellMap(folder.named("wells", ".parquet"), seed, wanted=settings.umap) as well_map:
        findings = _measure(folder, settings, seed, watch, trained, well_map)
        with watch.stage("report", add=False):
            path = write_report(findings, folder.named("report", ".html"))
    print(summary(findings))
    print(f"Browse it: sslprofiler browse {shlex.quote(str(folder.named('wells', '.parquet')))}")
    return path


def training_overrides(settings: DemoSettings, seed: int, full: bool) -> list[str]:
    """What the demo changes in its recipe: the seed, and length and resolution when ``full``."""
    overrides = [*settings.overrides, f"train.seed={seed}"]
    if full:
        recipe = load_recipe(settings.recipe, overrides)
        # Patches grow with the view: as many tokens, so a step takes as long.
        finer = max(1, settings.size // recipe.augment.size)
        overrides += [f"augment.size={finer * recipe.augment.size}", f"model.patch={finer * recipe.model.patch}"]
        train = recipe.train
        name, length = ("steps", train.steps) if train.steps else ("epochs", train.epochs)
        overrides.append(f"train.{name}={LONGER * length}")
    return overrides


def _embedded(sites: Path, settings: DemoSettings) -> bool:
    return len(list(sites.glob("*.parquet"))) == settings.plates


def _embed_trained(folder: DemoFolder) -> dict[str, Floats]:
    from sslprofiler_core.profiling.embed import embed_plates, load_models

    from .features import network_profiles

    models = load_models(list(folder.runs.values()))
    sites = embed_plates([folder.images], models, folder.named("sites", ".parquet"), metadata=folder.metadata)
    return network_profiles(sites, folder.named("wells", ".parquet"), models)


def _measure(
    folder: DemoFolder,
    settings: DemoSettings,
    seed: int,
    watch: Stopwatch,
    trained: dict[str, Floats],
    well_map: WellMap,
) -> Findings:
    """All that the trained profiles are compared with, and the scores of all."""
    from sslprofiler_core.model import build_backbone
    from sslprofiler_core.plates import open_plates
    from sslprofiler_core.profiling import read_wells
    from sslprofiler_core.profiling.embed import embed_plates, load_models

    from .features import network_profiles, well_features
    from .report import Findings
    from .scores import measure

    models = load_models(list(folder.runs.values()))
    sites = folder.named("untrained-sites", ".parquet")
    with watch.stage("embed untrained", kept=_embedded(sites, settings)):
        before = [replace(m, backbone=build_backbone(m.recipe, len(m.channels)), step=0) for m in models]
        embed_plates([folder.images], before, sites, metadata=folder.metadata)
        untrained = network_profiles(sites, folder.named("untrained-wells", ".parquet"), models)
    table = read_wells(folder.named("wells", ".parquet"))
    plates = open_plates([folder.images])
    with watch.stage("hand-made features", kept=(folder.out / "texture-wells.parquet").is_file()):
        handmade = well_features(plates, models, table.metadata, folder.out)
    with watch.stage("evaluate", add=False):
        results = measure(table.metadata, {"trained": trained, "untrained": untrained}, handmade, seed)
        results.numbers.to_csv(folder.named("metrics", ".csv"), index=False)
    return Findings(
        settings=settings,
        seed=seed,
        full=folder.full,
        plates=plates,
        models=models,
        runs=folder.runs,
        wells=table,
        results=results,
        layouts=well_map.layouts,
        seconds=watch.seconds,
    )
