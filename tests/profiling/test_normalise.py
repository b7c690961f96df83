"""Standardising, sphering and weighting against independent computations; pycytominer in the long tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from sslprofiler_core.cli import main
from sslprofiler_core.errors import UserError
from sslprofiler_core.profiling import (
    profile_sites,
    read_wells,
    sphere,
    standardise_plates,
    weight_groups,
    write_sites_part,
)

PLATES = np.repeat(["P1", "P2"], 30)
CONTROLS = np.tile(np.arange(30) < 12, 2)


def profiles(width: int = 5, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(60, width)) @ rng.normal(size=(width, width))
    return (mixed * rng.uniform(0.5, 3, width) + rng.normal(size=width) * 10).astype(np.float32)


def test_plates_are_standardised_to_their_own_controls() -> None:
    given_ = profiles()
    given_[:, 2] = 7.0  # constant
    found = standardise_plates(given_, PLATES, CONTROLS)
    for plate in ("P1", "P2"):
        own = np.equal(PLATES, plate)
        peer = StandardScaler().fit(given_[own & CONTROLS]).transform(given_[own])
        np.testing.assert_allclose(found[own], peer, atol=1e-4)
    assert (found[:, 2] == 0.0).all() and found.dtype == np.float32
    everything = standardise_plates(given_, PLATES)
    np.testing.assert_allclose(everything[PLATES == "P2"].mean(0), 0.0, atol=1e-5)


def test_a_copy_unless_in_place() -> None:
    given_ = profiles()
    before = given_.copy()
    for work in (
        lambda x, **o: standardise_plates(x, PLATES, **o),
        sphere,
        lambda x, **o: weight_groups(x, {"a": 5}, {}, **o),
    ):
        changed = work(given_)
        np.testing.assert_array_equal(given_, before)
        other = before.copy()
        assert work(other, in_place=True) is other
        np.testing.assert_array_equal(other, changed)


@settings(max_examples=30)
@given(width=st.integers(1, 40), seed=st.integers(0, 1000))
def test_sphered_controls_have_the_identity_as_their_covariance(width: int, seed: int) -> None:
    """Where there are more controls than features; elsewhere in the space that these span."""
    values = profiles(width, seed).astype(np.float64)
    found = sphere(values, CONTROLS)
    own = values[CONTROLS] - values[CONTROLS].mean(0)
    _, scale, axes = np.linalg.svd(own, full_matrices=False)
    rank = int((scale > 1e-6 * scale[0]).sum())
    rank = min(rank, len(own) - 1)
    covariance = np.cov((found[CONTROLS] @ axes[:rank].T).T).reshape(rank, rank)
    np.testing.assert_allclose(covariance, np.eye(rank), atol=2e-3)
    outside = np.eye(width) - axes[:rank].T @ axes[:rank]
    root = np.sqrt(len(own) - 1)
    np.testing.assert_allclose(
        found @ outside, (values - values[CONTROLS].mean(0)) @ outside * root / scale[rank - 1], rtol=1e-3, atol=1e-3
    )


def test_duplicate_controls_and_constant_features_are_sphered() -> None:
    values = profiles(4)
    values[:, 1] = 3.0
    values[1] = values[0]
    found = sphere(values, CONTROLS)
    assert np.isfinite(found).all() and np.ptp(found[:, 1]) < 1e-3


@pytest.mark.parametrize("controls", [400, 20])
def test_features_that_nearly_depend_on_each_other_are_sphered_as_in_double_precision(controls: int) -> None:
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    values = ((rng.normal(size=(500, 30)) * np.logspace(0, -4, 30)) @ turn).astype(np.float32)
    values[:, 5] = values[:, 4]
    fitted = np.arange(500) < controls
    exact = sphere(values.astype(np.float64), fitted)
    np.testing.assert_allclose(sphere(values, fitted), exact, atol=0.01 * exact.std())


def test_groups_get_the_length_of_their_weight() -> None:
    values = profiles(7)
    found = weight_groups(values, {"fluorescence": 4, "brightfield": 3}, {"brightfield": 0.25})
    lengths = [np.sqrt(np.square(part).sum(1).mean()) for part in (found[:, :4], found[:, 4:])]
    np.testing.assert_allclose(lengths, [1.0, 0.25], rtol=1e-5)
    np.testing.assert_allclose(found[:, 4:] / found[0, 4], values[:, 4:] / values[0, 4], rtol=1e-4)
    assert (weight_groups(values, {"a": 4, "b": 3}, {"b": 0.0})[:, 4:] == 0.0).all()


def test_what_cannot_be_normalised_is_said() -> None:
    values = profiles()
    with pytest.raises(UserError, match="Plate P2 has 0 control wells"):
        standardise_plates(values, PLATES, CONTROLS & (PLATES == "P1"))
    with pytest.raises(UserError, match="2 control wells are too few"):
        sphere(values, np.arange(60) < 2)
    with pytest.raises(UserError, match="alike"):
        sphere(np.ones((9, 3), np.float32))
    with pytest.raises(UserError, match="no channel group 'x'"):
        weight_groups(values, {"a": 5}, {"x": 1.0})
    with pytest.raises(UserError, match="no number from 0"):
        weight_groups(values, {"a": 5}, {"a": -1.0})
    with pytest.raises(UserError, match="All channel groups weigh 0"):
        weight_groups(values, {"a": 2, "b": 3}, {"a": 0.0, "b": 0.0})


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for plate in ("P1", "P2"):
        wells = [f"A{i:02d}" for i in range(1, 13)]
        metadata = pd.DataFrame(
            {"Metadata_Plate": plate, "Metadata_Well": np.repeat(wells, 9), "Metadata_Site": [*range(1, 10)] * 12}
        )
        metadata["Metadata_Compound"] = np.repeat(["DMSO"] * 5 + [f"c{i}" for i in range(7)], 9)
        features = {
            f"{g}_{k}": rng.normal(size=(108, 3)).astype(np.float32)
            for g in ("fluorescence", "brightfield")
            for k in ("cls", "patch")
        }
        write_sites_part(tmp_path / "sites.parquet", plate, metadata, features, {})
    return tmp_path / "sites.parquet"


def test_the_command_does_all_in_order(sites: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, out = tmp_path / "plain.parquet", tmp_path / "wells.parquet"
    assert main(["profile", str(sites), "--out", str(plain)]) == 0
    words = ["--standardise", "controls", "--sphere", "0.001", "--weight", "brightfield=0.3", "--align", "0.5"]
    assert main(["profile", str(sites), "--out", str(out), *words]) == 0
    raw, made = read_wells(plain), read_wells(out)
    plates, controls = (
        raw.metadata["Metadata_Plate"].to_numpy(),
        (raw.metadata["Metadata_Compound"] == "DMSO").to_numpy(),
    )
    expected = sphere(standardise_plates(raw.profiles, plates, controls), controls, 0.001)
    expected = weight_groups(expected, {"fluorescence": 54, "brightfield": 54}, {"brightfield": 0.3})
    from sslprofiler_core.profiling import align

    expected = align(expected, plates, raw.metadata["Metadata_Well"].to_numpy(), 0.5)
    np.testing.assert_allclose(made.profiles, expected, rtol=1e-4, atol=1e-6)
    done = made.info["profile"]
    assert done["standardise"] == "controls" and done["sphering"] == 0.001 and done["weights"] == {"brightfield": 0.3}
    assert done["widths"] == {"fluorescence": 54, "brightfield": 54}
    assert (
        main(["profile", str(sites), "--out", str(out), "--standardise", "controls", "--control", "Compound=c1"]) == 2
    )
    assert "1 control wells" in capsys.readouterr().err
    assert main(["profile", str(sites), "--out", str(out), "--weight", "brightfield"]) == 2
    assert main(["profile", str(sites), "--out", str(out), "--standardise", "plate", "--control", "Compound=c1"]) == 2
    assert "--control is for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"align": 2.0}, "alpha = 2.0"),
        ({"sphering": -1.0}, "--sphere -1.0"),
        ({"weights": {"x": 1.0}}, "no channel group 'x'"),
        ({"weights": {"fluorescence": 0.0, "brightfield": 0.0}}, "weigh 0"),
        ({}, "is a folder"),
    ],
)
def test_wrong_options_are_said_before_the_work(
    sites: Path, tmp_path: Path, options: dict[str, Any], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sslprofiler_core.profiling.profile._profile_plate", None)
    with pytest.raises(UserError, match=word):
        profile_sites(sites, tmp_path / "wells.parquet" if options else sites, **options)
    assert not (tmp_path / "wells.parquet").exists()


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
def test_pycytominer_gives_the_same(cpjump1: Path) -> None:
    pytest.importorskip("pycytominer", reason="pycytominer is not installed (the extra evaluation has it)")
    from pycytominer import normalize
    from pycytominer.operations.transform import Spherize

    table = pd.read_csv(cpjump1 / "profiles" / "BR00117010.csv.gz")
    names = [name for name in table.columns if not name.startswith("Metadata_")]
    kept = table[names].replace([np.inf, -np.inf], np.nan).dropna(axis=1)
    kept = kept.loc[:, kept.std() > 1e-6]
    controls = (table["Metadata_control_type"] == "negcon").to_numpy()
    frame = pd.concat([table[["Metadata_control_type"]], kept], axis=1)
    peer = normalize(
        frame,
        list(kept.columns),
        meta_features=["Metadata_control_type"],
        samples="Metadata_control_type == 'negcon'",
        method="standardize",
    )
    values = kept.to_numpy(np.float64)
    own = standardise_plates(values, np.zeros(len(values)), controls)
    np.testing.assert_allclose(own, peer[kept.columns].to_numpy(), rtol=1e-6, atol=1e-6)
    for some in (values[:, :20], values):  # fewer and more features than controls
        fitted = Spherize(method="ZCA", return_numpy=True).fit(pd.DataFrame(some[controls]))
        theirs = fitted.transform(pd.DataFrame(some))
        np.testing.assert_allclose(sphere(some, controls), theirs, rtol=1e-3, atol=1e-3 * np.abs(theirs).max())


@pytest.mark.parametrize("epsilon", [float("nan"), float("inf"), -1e-6])
def test_sphering_refuses_what_would_leave_no_profiles(epsilon: float) -> None:
    with pytest.raises(UserError, match=r"--sphere .* is out of range\. Give a small number"):
        sphere(np.random.default_rng(0).normal(size=(5, 3)), epsilon=epsilon)
