from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsClassifier

from sslprofiler_core.demo import run, side_by_side
from sslprofiler_core.demo.run import DemoSettings, run_demo, training_overrides
from sslprofiler_core.errors import UserError
from sslprofiler_core.profiling import read_info, read_wells
from sslprofiler_core.recipes import load_recipe

SMALL = DemoSettings(
    plates=2,
    wells=16,
    sites=2,
    size=64,
    overrides=("train.steps=2", "train.batch=8", "augment.size=32", "model.patch=8", "model.width=32"),
    umap=False,
)
SECTIONS = (
    "Does training help?",
    "From one cell line to another",
    "Is it the compound, or the position?",
    "Which compounds, and where",
    "What the models look at",
    "How training went",
    "The same on your own plates",
    "Settings and timings",
)


def train_here(
    plates: Path, metadata: Path, runs: Mapping[str, Path], recipe: str, overrides: Sequence[str] = ()
) -> None:
    """What `train_side_by_side` does, without its processes, which have tests of their own."""
    from sslprofiler_core.training import train

    for group, folder in runs.items():
        if not side_by_side.finished(folder):
            train([plates], group=group, out=folder, recipe=recipe, overrides=overrides, metadata=metadata, resume=True)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(side_by_side, "train_side_by_side", train_here)
        out = tmp_path_factory.mktemp("demo") / "out"
        run_demo(out, seed=101, settings=SMALL)
        yield out


class Page(HTMLParser):
    """What a page would fetch, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.fetched += [str(named[name]) for name in ("src", "srcset", "data", "poster") if name in named]
        if tag in ("link", "script", "iframe", "object"):
            self.fetched.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(out: Path) -> Page:
    return Page((out / "report.html").read_text(encoding="utf-8"))


def by_hand(table: Path, k: int, *, centred: bool = False) -> float:
    """Accuracy in %, leaving each plate out, with scikit-learn."""
    wells = read_wells(table)
    plates = wells.metadata["Metadata_Plate"].to_numpy()
    profiles = wells.profiles.astype(np.float64)
    if centred:
        for plate in set(plates):
            profiles[plates == plate] -= profiles[plates == plate].mean(0)
    labels = wells.metadata["Metadata_Compound"].to_numpy(str)
    tested = labels != "DMSO"
    right = []
    for plate in set(plates):
        model = KNeighborsClassifier(k, metric="cosine", weights="distance")
        rest, own = tested & (plates != plate), tested & (plates == plate)
        right.append(model.fit(profiles[rest], labels[rest]).predict(profiles[own]) == labels[own])
    return 100 * float(np.concatenate(right).mean())


def test_the_page_stands_alone_and_has_every_section(demo: Path) -> None:
    page = page_of(demo)
    assert page.fetched and all(source.startswith("data:image/") for source in page.fetched)
    text = (demo / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"https?://|url\(", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
    for section in SECTIONS:
        assert section in page.text, section
    assert str(demo.parent) not in text


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("features", ["trained", "untrained", "intensity", "texture"])
def test_accuracies_are_those_computed_separately(demo: Path, features: str, k: int, centred: bool) -> None:
    table = demo / ("wells.parquet" if features == "trained" else f"{features}-wells.parquet")
    numbers = pd.read_csv(demo / "metrics.csv").query(
        "channels == 'both' and train == 'all' and metric == 'knn_accuracy'"
    )
    own = numbers[(numbers.features == features) & (numbers.k == k) & (numbers.centred == centred)]
    assert len(own) == 1
    expected = by_hand(table, k, centred=centred)
    assert 100 * own.value.item() == pytest.approx(expected, abs=1e-6)
    assert own.n.item() == 24
    if k == 1 and not centred:
        tile = re.search(rf"{features.capitalize()}\s*([\d.]+)\s%", page_of(demo).text)
        assert tile and float(tile[1]) == pytest.approx(expected, abs=0.05)


def test_hand_made_features_are_standardised_means_of_sites(demo: Path) -> None:
    from sslprofiler_core.model import load_model
    from sslprofiler_core.plates import open_plates, read_site
    from sslprofiler_core.profiling import intensity_features, texture_features

    plates = open_plates([demo / "plates" / "images"])
    scale: dict[tuple[str, str], tuple[float, float]] = {}
    for group in ("fluorescence", "brightfield"):
        for plate, channels in load_model(demo / "runs" / group).scale.items():
            scale |= {(plate, name): limits for name, limits in channels.items()}
    for kind, function in (("intensity", intensity_features), ("texture", texture_features)):
        table = read_wells(demo / f"{kind}-wells.parquet")
        means = []
        for plate, well in table.metadata[["Metadata_Plate", "Metadata_Well"]].itertuples(index=False):
            own = next(p for p in plates if p.name == plate)
            low, high = np.array([scale[plate, channel.name] for channel in own.channels]).T[:, :, None, None]
            sites = [np.clip((read_site(site) - low) / (high - low), 0, 1) for site in own.sites_of(well)]
            means.append(np.mean([function(site) for site in sites], axis=0))
        expected = np.array(means) - np.mean(means, axis=0)
        deviation = np.std(means, axis=0)
        expected /= np.where(deviation > 0, deviation, 1)
        # Features of nearly no deviation magnify the last bits of float32.
        kept = deviation > 1e-4
        np.testing.assert_allclose(table.profiles[:, kept], expected[:, kept], atol=0.02)


def test_untrained_networks_are_those_that_training_started_from(demo: Path) -> None:
    assert {group["step"] for group in read_info(demo / "sites.parquet")["groups"].values()} == {2}
    assert {group["step"] for group in read_info(demo / "untrained-sites.parquet")["groups"].values()} == {0}
    assert not np.allclose(
        read_wells(demo / "wells.parquet").profiles, read_wells(demo / "untrained-wells.parquet").profiles
    )


def test_a_second_call_trains_embeds_and_measures_nothing_again(
    demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sslprofiler_core.demo import features
    from sslprofiler_core.profiling import embed

    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("done already")

    def numbers() -> str:
        return re.sub(r"\d+-\d+-\d+ \d+:\d+", "", page_of(demo).text).split("Settings and timings")[0]

    before, files = numbers(), {path: path.stat().st_mtime_ns for path in demo.glob("plates/**/*.tiff")}
    monkeypatch.setattr(side_by_side, "_start", fail)
    monkeypatch.setattr(embed, "embed_plate", fail)
    monkeypatch.setattr(features, "_features_of_wells", fail)
    path = run_demo(demo, seed=101, settings=SMALL)
    assert path == demo / "report.html" and numbers() == before
    assert files == {path: path.stat().st_mtime_ns for path in demo.glob("plates/**/*.tiff")}
    printed = capsys.readouterr().out
    assert "trained minus untrained" in printed and "24 wells" in printed


def test_another_seed_is_refused(demo: Path) -> None:
    with pytest.raises(UserError, match="other settings"):
        run_demo(demo, seed=102, settings=SMALL)


def test_full_trains_longer_into_names_of_its_own() -> None:
    assert training_overrides(SMALL, 7, full=False)[-1] == "train.seed=7"
    assert training_overrides(SMALL, 7, full=True)[-1] == f"train.steps={2 * run.LONGER}"
    epochs = DemoSettings(overrides=("train.steps=0", "train.epochs=3"))
    assert training_overrides(epochs, 7, full=True)[-1] == f"train.epochs={3 * run.LONGER}"
    recipe, full = (load_recipe("tiny", training_overrides(DemoSettings(), 7, full=which)) for which in (False, True))
    assert full.augment.size == DemoSettings().size == 2 * recipe.augment.size
    assert full.augment.size // full.model.patch == recipe.augment.size // recipe.model.patch
    short, long = run.DemoFolder(Path("x")), run.DemoFolder(Path("x"), full=True)
    assert short.images == long.images
    assert not set(short.runs.values()) & set(long.runs.values())
    assert short.named("report", ".html") != long.named("report", ".html")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write in .*file.*another --out"):
        run_demo(tmp_path / "file" / "demo", settings=SMALL)


def test_a_full_disk_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run, "simulate_plates", full)
    with pytest.raises(UserError, match="No space left") as error:
        run_demo(tmp_path, settings=SMALL)
    assert "\n" not in str(error.value)


def test_an_interrupted_demo_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "simulate_plates", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path, settings=SMALL)
    assert "same command" in capsys.readouterr().err


@pytest.mark.soak
def test_with_its_processes_and_its_map(tmp_path: Path) -> None:
    from dataclasses import replace

    out = tmp_path / "out"
    run_demo(out, seed=101, settings=replace(SMALL, umap=True))
    assert "Maps of wells" in page_of(out).text
    assert all(side_by_side.finished(out / "runs" / group) for group in run.GROUPS)
