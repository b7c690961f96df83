"""Simulated plates: files, metadata, independence of what is added, and phenotypes that simple measurements find."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import load_metadata, open_plates, read_site, simulate_plates
from sslprofiler_core.plates.simulated import MappedWell, plate_map, simulate_site
from sslprofiler_core.plates.simulated_cells import COMPOUNDS, draw_cells, draw_population
from sslprofiler_core.plates.simulated_harmony import field_positions
from sslprofiler_core.plates.simulated_optics import CHANNELS

NAMESPACE = "{http://www.perkinelmer.com/PEHH/HarmonyV5}"
DNA = 4


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_plates(tmp_path_factory.mktemp("simulated") / "out", plates=2, wells=6, sites=2, size=64)


def tiffs(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.tiff"))}


def rows(path: Path, delimiter: str = "\t") -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter=delimiter))


# --- files


def test_files_are_those_of_the_instrument(simulated: Path) -> None:
    paths = tiffs(simulated / "images")
    assert len(paths) == 2 * 6 * 2 * 8
    assert not list(simulated.rglob("*.partial"))
    for name, path in list(paths.items())[:16]:
        plate, file = name.split("/")
        assert plate in ("SIM00001", "SIM00002")
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            assert page.compression == tifffile.COMPRESSION.LZW
            assert page.shape == (64, 64)
            assert page.dtype == np.uint16
            xml = bytes(page.tags[65500].value)
        assert len(xml) < 6000
        root = ET.fromstring(xml)
        image = root.find(f"{NAMESPACE}Image")
        assert image is not None
        row, column, field, record = (
            int(image.findtext(f"{NAMESPACE}{tag}", "")) for tag in ("Row", "Col", "FieldID", "RecordID")
        )
        assert file == f"r{row:02d}c{column:02d}f{field:02d}p01-ch{record}sk1fk1fl1.tiff"
        names = [each.text for each in root.iterfind(f".//{NAMESPACE}Channel/{NAMESPACE}Name")]
        assert names == list(CHANNELS)


def test_tags_have_the_paths_of_a_real_file(simulated: Path, cpjump1: Path) -> None:
    def paths_in(path: Path) -> set[str]:
        with tifffile.TiffFile(path) as tiff:
            root = ET.fromstring(bytes(tiff.pages[0].tags[65500].value))
        found = set()

        def walk(element: ET.Element, above: str) -> None:
            here = f"{above}/{element.tag}"
            found.add(here)
            for child in element:
                walk(child, here)

        walk(root, "")
        return found

    ours = paths_in(next(iter(tiffs(simulated / "images").values())))
    real = paths_in(next(iter(tiffs(cpjump1 / "images").values())))
    assert len(ours) > 30
    assert ours <= real


def test_one_reader_opens_them_as_plates(simulated: Path) -> None:
    plates = open_plates([simulated / "images"])
    assert [plate.name for plate in plates] == ["SIM00001", "SIM00002"]
    plate = plates[0]
    assert tuple(channel.name for channel in plate.channels) == CHANNELS
    assert [channel.group for channel in plate.channels] == ["fluorescence"] * 5 + ["brightfield"] * 3
    assert plate.gaps == ()
    assert plate.pixel_size_um == pytest.approx(1.196, abs=1e-3)
    assert len(plate.sites) == 12
    well = {each.name: each for each in plate_map(6)}[plate.sites[1].well]
    expected = simulate_site(0, 0, well, plate.sites[1].site, 64)
    np.testing.assert_array_equal(read_site(plate.sites[1]), expected)


def test_fields_touch_and_lie_around_the_wells_centre() -> None:
    positions = np.array(field_positions(9, 128))
    np.testing.assert_allclose(positions.mean(0), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.diff(positions[:3, 0]), 128 * 1.1959521e-6, rtol=1e-6)
    assert positions[0, 1] > positions[8, 1]


# --- metadata


def test_metadata_has_the_columns_of_the_real_files(simulated: Path, cpjump1: Path) -> None:
    pairs = {
        "simulated_compound_platemap.txt": "JUMP-Target-1_compound_platemap.txt",
        "simulated_compound_metadata.tsv": "JUMP-Target-1_compound_metadata.tsv",
        "barcode_platemap.csv": "barcode_platemap.csv",
        "experiment-metadata.tsv": "experiment-metadata.tsv",
    }
    assert {path.name for path in (simulated / "metadata").iterdir()} == set(pairs)
    for ours, real in pairs.items():
        head = (cpjump1 / "metadata" / real).read_text(encoding="utf-8").splitlines()[0]
        assert (simulated / "metadata" / ours).read_text(encoding="utf-8").splitlines()[0] == head


def test_metadata_tells_what_was_simulated(simulated: Path) -> None:
    table = load_metadata(simulated / "metadata")
    assert len(table) == 12
    assert set(table["Metadata_Plate"]) == {"SIM00001", "SIM00002"}
    assert set(table.loc[table["Metadata_Plate"] == "SIM00001", "Metadata_CellType"]) == {"U2OS"}
    assert set(table.loc[table["Metadata_Plate"] == "SIM00002", "Metadata_CellType"]) == {"A549"}
    truth = {well.name: well.compound.name if well.compound else "DMSO" for well in plate_map(6)}
    assert dict(zip(table["Metadata_Well"], table["Metadata_Compound"], strict=True)) == truth
    assert set(table.loc[table["Metadata_Compound"] == "DMSO", "Metadata_control_type"]) == {"negcon"}
    wells = {well.name: well for well in plate_map(6)}
    on_disk = {path.name[:6] for path in (simulated / "images" / "SIM00001").iterdir()}
    assert on_disk == {f"r{well.row:02d}c{well.column:02d}" for well in wells.values()}
    counts = rows(simulated / "metadata" / "experiment-metadata.tsv")
    assert {row["Number_of_images"] for row in counts} == {"96"}


def test_the_map_is_balanced_and_scattered() -> None:
    mapped = plate_map(48)
    counts = Counter(well.compound.name if well.compound else "DMSO" for well in mapped)
    assert counts.pop("DMSO") == 12
    assert counts == {compound.name: 3 for compound in COMPOUNDS}
    assert len(COMPOUNDS) == 12
    assert len({well.name for well in mapped}) == 48
    assert 4 <= sum(well.at_edge for well in mapped) <= 16
    assert len({well.row for well in mapped}) > 12
    assert len({well.name for well in plate_map(384)}) == 384


@pytest.mark.parametrize("wells", [1, 5, 16, 47, 200])
def test_a_smaller_map_is_the_start_of_a_larger_one(wells: int) -> None:
    assert plate_map(wells) == plate_map(384)[:wells]


# --- determinism and independence


def test_more_plates_wells_and_sites_change_nothing_else(simulated: Path, tmp_path: Path) -> None:
    more = simulate_plates(tmp_path / "more", plates=3, wells=7, sites=3, size=64)
    larger = tiffs(more / "images")
    smaller = tiffs(simulated / "images")
    assert set(smaller) < set(larger)
    for name, path in smaller.items():
        np.testing.assert_array_equal(tifffile.imread(path), tifffile.imread(larger[name]))


def test_the_same_settings_write_the_same_bytes(tmp_path: Path) -> None:
    one, two = (simulate_plates(tmp_path / name, plates=1, wells=2, sites=1, size=64, seed=5) for name in "ab")
    assert [p.read_bytes() for p in tiffs(one).values()] == [p.read_bytes() for p in tiffs(two).values()]


def test_seed_plate_well_and_site_each_change_the_picture() -> None:
    first, second = plate_map(5)[0], plate_map(5)[4]
    assert first.compound is None
    assert second.compound is None
    base = simulate_site(0, 0, first, 1, 64)
    np.testing.assert_array_equal(base, simulate_site(0, 0, first, 1, 64))
    for other in (
        simulate_site(1, 0, first, 1, 64),
        simulate_site(0, 2, first, 1, 64),
        simulate_site(0, 0, second, 1, 64),
        simulate_site(0, 0, first, 2, 64),
    ):
        correlation = np.corrcoef(base[DNA].ravel(), other[DNA].ravel())[0, 1]
        assert abs(correlation) < 0.5


def test_an_odd_size_works() -> None:
    assert simulate_site(0, 0, plate_map(1)[0], 1, 97).shape == (8, 97, 97)


# --- resuming and refusing


def test_the_same_settings_return_at_once(simulated: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiffs(simulated).values()}
    assert simulate_plates(simulated, plates=2, wells=6, sites=2, size=64) == simulated
    assert before == {path: path.stat().st_mtime_ns for path in tiffs(simulated).values()}


def test_an_interrupted_simulation_goes_on(tmp_path: Path) -> None:
    out = simulate_plates(tmp_path / "out", plates=1, wells=3, sites=1, size=64)
    paths = list(tiffs(out).values())
    content = [path.read_bytes() for path in paths]
    paths[3].unlink()
    untouched = paths[-1].stat().st_mtime_ns
    simulate_plates(out, plates=1, wells=3, sites=1, size=64)
    assert [path.read_bytes() for path in paths] == content
    assert paths[-1].stat().st_mtime_ns == untouched


def test_other_settings_are_refused(simulated: Path) -> None:
    note = (simulated / "simulation.json").read_text(encoding="utf-8")
    with pytest.raises(UserError, match=r"other settings"):
        simulate_plates(simulated, plates=2, wells=6, sites=2, size=64, seed=1)
    assert (simulated / "simulation.json").read_text(encoding="utf-8") == note
    assert json.loads(note)["seed"] == 0


def test_foreign_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match="did not write"):
        simulate_plates(tmp_path, plates=1, wells=1, sites=1, size=64)
    assert not (tmp_path / "simulation.json").exists()


def test_a_broken_note_is_refused(tmp_path: Path) -> None:
    (tmp_path / "simulation.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"simulation\.json"):
        simulate_plates(tmp_path, plates=1, wells=1, sites=1, size=64)


@pytest.mark.parametrize(
    "wrong",
    [{"plates": 0}, {"wells": 0}, {"wells": 385}, {"sites": 0}, {"sites": 100}, {"size": 63}, {"seed": 2**63}],
    ids=str,
)
def test_bad_arguments_are_named(tmp_path: Path, wrong: dict[str, int]) -> None:
    (name,) = wrong
    with pytest.raises(UserError, match=f"^{name} is {wrong[name]}"):
        simulate_plates(tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("below", ["", "deeper"])
def test_an_unwritable_folder_is_named(tmp_path: Path, below: str) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be written"):
        simulate_plates(blocked / below, plates=1, wells=1, sites=1, size=64)


# --- what the pictures show


def nuclei(site: NDArray[np.uint16]) -> list[NDArray[np.intp]]:
    """Segment whole nuclei by a threshold halfway between background and nucleus: coordinates (2, n) each."""
    dna = ndimage.gaussian_filter(site[DNA].astype(np.float64), 1.0)
    dark, bright = np.percentile(dna, [20, 99])
    labels, _ = ndimage.label(dna > dark + 0.35 * (bright - dark))
    border = set(np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])))
    found = [np.array(np.nonzero(labels == label)) for label in range(1, labels.max() + 1) if label not in border]
    return [coordinates for coordinates in found if coordinates.shape[1] > 60]


def mean_count(site: NDArray[np.uint16]) -> float:
    return float(len(nuclei(site)))


def mean_area(site: NDArray[np.uint16]) -> float:
    return float(np.median([each.shape[1] for each in nuclei(site)]))


def nuclear_mottling(site: NDArray[np.uint16]) -> float:
    dna = site[DNA].astype(np.float64)
    return float(np.median([dna[tuple(each)].std() / dna[tuple(each)].mean() for each in nuclei(site)]))


def nucleolar_area(site: NDArray[np.uint16]) -> float:
    rna = site[2].astype(np.float64)
    return float(np.mean([np.mean(rna[tuple(e)] > 1.4 * np.median(rna[tuple(e)])) for e in nuclei(site)]))


def in_cells(site: NDArray[np.uint16]) -> NDArray[np.bool_]:
    rna = ndimage.gaussian_filter(site[2].astype(np.float64), 1.0)
    dark, bright = np.percentile(rna, [2, 99])
    return np.asarray(rna > dark + 0.12 * (bright - dark))


def cell_area(site: NDArray[np.uint16]) -> float:
    return float(in_cells(site).mean()) / mean_count(site)


def band(channel: int, fine: float, coarse: float) -> Callable[[NDArray[np.uint16]], float]:
    """Variance of a band of scales, relative to the channel's whole variance."""

    def measure(site: NDArray[np.uint16]) -> float:
        plane = site[channel].astype(np.float64)
        passed = ndimage.gaussian_filter(plane, fine) - ndimage.gaussian_filter(plane, coarse)
        return float(passed.var() / plane.var())

    return measure


def above_background(channel: int) -> Callable[[NDArray[np.uint16]], float]:
    """Mean stain of what RNA shows to be cell."""

    def measure(site: NDArray[np.uint16]) -> float:
        return float(site[channel][in_cells(site)].mean() - np.percentile(site[channel], 2))

    return measure


def elongation(site: NDArray[np.uint16]) -> float:
    axes = [np.linalg.eigvalsh(np.cov(each)) for each in nuclei(site)]
    return float(np.median([np.sqrt(axis[1] / axis[0]) for axis in axes]))


def contrast(channel: int) -> Callable[[NDArray[np.uint16]], float]:
    return lambda site: float(site[channel].std())


def ripple(site: NDArray[np.uint16]) -> float:
    """Typical fine-scale swing of AGP inside cells, relative to its stain: fibres, but not a few bright spots."""
    plane = site[1].astype(np.float64)
    swing = np.abs(ndimage.gaussian_filter(plane, 0.7) - ndimage.gaussian_filter(plane, 2.0))
    cell = ndimage.binary_erosion(in_cells(site), iterations=3)
    return float(np.percentile(swing[cell], 75) / (plane[cell].mean() - np.percentile(plane, 2)))


def golgi_peak(site: NDArray[np.uint16]) -> float:
    """How far AGP's brightest spots stand out of the cells."""
    plane = ndimage.gaussian_filter(site[1].astype(np.float64), 1.5)
    values = plane[in_cells(site)] - np.percentile(plane, 2)
    return float(np.percentile(values, 99.7) / np.median(values))


@lru_cache(maxsize=32)
def wells_of(compound: str | None, plate: int) -> tuple[NDArray[np.uint16], ...]:
    """Simulate four wells, inside the plate, of one 256 px site each."""
    chosen = {each.name: each for each in COMPOUNDS}.get(compound or "")
    wells = [MappedWell(row, column, chosen) for row, column in ((4, 5), (7, 12), (10, 18), (13, 8))]
    return tuple(simulate_site(11, plate, well, 1, 256) for well in wells)


def measured(compound: str | None, measure: Callable[[NDArray[np.uint16]], float], plate: int = 0) -> float:
    return float(np.mean([measure(site) for site in wells_of(compound, plate)]))


@pytest.mark.parametrize(
    ("compound", "measure", "low", "high"),
    [
        ("sim-mito-dimmed", above_background(0), 0.45, 0.90),
        ("sim-mito-fragmented", band(0, 0.7, 2.5), 1.10, 3.0),
        ("sim-er-expanded", above_background(3), 1.08, 2.0),
        ("sim-nuclei-enlarged", mean_area, 1.25, 2.0),
        ("sim-cells-shrunken", cell_area, 0.5, 0.88),
        ("sim-toxic-rounded", mean_count, 0.4, 0.8),
        ("sim-cells-elongated", elongation, 1.08, 1.6),
        ("sim-chromatin-condensed", nuclear_mottling, 1.25, 3.0),
        ("sim-actin-fibres", ripple, 1.15, 4.0),
        ("sim-golgi-dispersed", golgi_peak, 0.4, 0.92),
        ("sim-vacuoles", contrast(5), 1.10, 3.0),
        ("sim-nucleoli-enlarged", nucleolar_area, 1.5, 8.0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_phenotype_is_measurable(
    compound: str, measure: Callable[[NDArray[np.uint16]], float], low: float, high: float
) -> None:
    assert low < measured(compound, measure) / measured(None, measure) < high


def test_the_cell_lines_differ() -> None:
    assert measured(None, mean_area, plate=1) < 0.93 * measured(None, mean_area, plate=0)
    assert measured(None, mean_count, plate=1) > 1.05 * measured(None, mean_count, plate=0)
    assert measured(None, cell_area, plate=1) < 0.9 * measured(None, cell_area, plate=0)


def test_grey_levels_are_those_of_real_plates() -> None:
    sites = np.stack([simulate_site(0, plate, well, 1, 128) for plate in (0, 1) for well in plate_map(8)])
    medians = np.median(sites, (2, 3)).mean(0)
    assert np.all((medians[:5] > 350) & (medians[:5] < 1300))
    assert np.all(np.abs(medians[5:] - 20500) < 700)
    brightest = np.percentile(sites[:, :5], 99.9, axis=(2, 3)).mean(0)
    assert np.all((brightest > 2000) & (brightest < 60000))


def test_brightfield_is_faint_in_focus_and_turns_with_defocus() -> None:
    sites = [simulate_site(0, 0, well, 1, 256)[5:].astype(np.float64) for well in plate_map(6)]
    fine = np.stack([site - ndimage.gaussian_filter(site, (0, 6, 6)) for site in sites])
    high, low, middle = fine.std((0, 2, 3))
    assert middle < 0.6 * low < high
    assert np.corrcoef(fine[:, 0].ravel(), fine[:, 1].ravel())[0, 1] < -0.3


def test_a_site_shows_several_cells_and_a_larger_one_more_of_them() -> None:
    rng = np.random.default_rng(0)
    inside = {128: [], 256: []}
    for _ in range(20):
        population = draw_population(rng, "U2OS", None, {})
        for size, counts in inside.items():
            cells = draw_cells(rng, population, size, 1.0)
            counts.append(int(((cells.x >= 0) & (cells.x < size) & (cells.y >= 0) & (cells.y < size)).sum()))
    assert 6 <= np.mean(inside[128]) <= 12
    assert np.mean(inside[256]) == pytest.approx(4 * np.mean(inside[128]), rel=0.15)


def test_wells_and_cells_respond_unevenly() -> None:
    compound = next(each for each in COMPOUNDS if each.name == "sim-vacuoles")
    rng = np.random.default_rng(1)
    populations = [draw_population(rng, "U2OS", compound, {}) for _ in range(60)]
    responses = np.array([each.response for each in populations])
    assert 0.1 < responses.std() < 0.35
    assert responses.min() > 0
    vacuoles = draw_cells(rng, populations[0], 512, 1.0).traits["vacuoles"]
    assert np.log(vacuoles).std() > 0.4
