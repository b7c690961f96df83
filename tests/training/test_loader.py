"""Reading batches ahead: the right pixels in the right order, in bounded memory, whatever single files do."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import IntensityScale, Plate, measure_scale, open_plates, read_site, select_channels
from sslprofiler_core.recipes import PlatesRecipe, TrainRecipe
from sslprofiler_core.training import sites as module
from sslprofiler_core.training.loader import PairLoader, site_name
from sslprofiler_core.training.pairs import PairOrder

STEPS = 7  # a bit over an epoch of 6 steps


class Screen:
    """Opened plates with what a loader needs."""

    def __init__(self, images: Path, batch: int = 8) -> None:
        self.plates: list[Plate] = open_plates([images])
        self.channels = {plate.name: select_channels(plate, "brightfield") for plate in self.plates}
        self.scale: IntensityScale = measure_scale(self.plates, sites=2)
        self.order = PairOrder.over([s for plate in self.plates for s in plate.sites], TrainRecipe(batch=batch))

    def loader(self, memory: int = 0, bad_sites: float = 0.05) -> PairLoader:
        recipe = PlatesRecipe(bad_sites=bad_sites)
        return PairLoader(self.order, self.plates, self.channels, self.scale, memory, recipe=recipe)


@pytest.fixture
def screen(simulated: Path) -> Screen:
    return Screen(simulated / "images")


@pytest.fixture
def own_screen(simulated: Path, tmp_path: Path) -> Screen:
    """A screen whose files the test may spoil."""
    shutil.copytree(simulated / "images", tmp_path / "images")
    return Screen(tmp_path / "images")


def test_batches_hold_the_orders_sites_pair_by_pair(screen: Screen) -> None:
    with screen.loader() as loader:
        for step in range(STEPS):
            batch = loader.batch(step, STEPS)
            sites = [screen.order.sites[index] for index in screen.order.step(step).ravel()]
            assert batch.names == [site_name(site) for site in sites]
            for site, pixels, scale in zip(sites, batch.sites, batch.scales_BC2, strict=True):
                channels = screen.channels[site.plate]
                np.testing.assert_array_equal(pixels.numpy(), read_site(site, channels))
                plate = next(plate for plate in screen.plates if plate.name == site.plate)
                wanted = [screen.scale[site.plate][plate.channels[c].name] for c in channels]
                np.testing.assert_allclose(scale.numpy(), wanted, rtol=1e-6)
            for place, partner in enumerate(batch.partner_B.tolist()):
                assert partner != place
                assert (sites[partner].plate, sites[partner].well) == (sites[place].plate, sites[place].well)
                assert sites[partner].site != sites[place].site
            wells = [(site.plate, site.well) for site in sites]
            same = batch.well_B[:, None] == batch.well_B[None]
            assert same.tolist() == [[a == b for b in wells] for a in wells]
            assert batch.problems == []


def test_a_batch_is_the_same_wherever_the_run_starts(screen: Screen) -> None:
    with screen.loader(10**9) as first, screen.loader() as second:
        for step in range(4):
            before = first.batch(step, STEPS)
        after = second.batch(3, STEPS)
    assert before.names == after.names
    assert all(a.equal(b) for a, b in zip(before.sites, after.sites, strict=True))


def test_memory_is_bounded(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most three steps are read or being read, and sites are kept up to the limit and no further."""
    reads: list[str] = []

    def counted(site, channels, out):
        reads.append(site_name(site))
        return read_site(site, channels, out)

    monkeypatch.setattr(module, "read_site", counted)
    one = read_site(screen.order.sites[0], (0, 1, 2)).nbytes
    with screen.loader(5 * one) as loader:
        for step in range(12):
            loader.batch(step, 12)
            assert len(reads) <= 8 * (step + 3)
            assert len(loader._coming) <= 2
            assert loader._reader.kept_bytes <= 5 * one
        assert loader._reader.kept_bytes == 5 * one
        assert loader._coming == {}
    assert len(reads) == 2 * 48 - 5  # the second of two epochs met the five sites that were kept


def test_memory_is_used_again_and_never_while_it_is_held(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    empty = np.empty

    def counted(shape, dtype):
        asked.append(shape)
        return empty(shape, dtype)

    monkeypatch.setattr(module.np, "empty", counted)
    with screen.loader() as loader:
        held = loader.batch(0, 40)
        part = held.sites[3][1:2, 5:]  # a piece alone keeps its site's memory
        copies = [pixels.clone() for pixels in held.sites]
        for step in range(1, 40):
            batch = loader.batch(step, 40)
        assert all(pixels.equal(copy) for pixels, copy in zip(held.sites, copies, strict=True))
        del held
        for step in range(40, 60):
            batch = loader.batch(step, 60)
        assert part.equal(copies[3][1:2, 5:])
    assert {len(shape) for shape in asked if len(shape) == 3} == {3}
    # This step and two more, one as it goes and one that the test holds.
    assert len([shape for shape in asked if shape == tuple(batch.sites[0].shape)]) <= 8 * 5


def test_a_small_screen_is_decoded_once(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    with screen.loader(10**9) as loader:
        for step in range(screen.order.steps_per_epoch):
            loader.batch(step, screen.order.steps_per_epoch)
        monkeypatch.setattr(module, "read_site", lambda *_: pytest.fail("read again"))
        for step in range(screen.order.steps_per_epoch, 2 * screen.order.steps_per_epoch):
            loader.batch(step, 2 * screen.order.steps_per_epoch)


SPOIL = {
    "gone": lambda path: path.unlink(),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "rubbish": lambda path: path.write_bytes(b"rubbish"),
    "another size": lambda path: tifffile.imwrite(path, np.zeros((32, 64), np.uint16)),
    "floats": lambda path: tifffile.imwrite(path, np.zeros((64, 64), np.float32)),
}


@pytest.mark.parametrize("how", SPOIL)
def test_another_site_of_its_well_stands_in_for_a_bad_one(own_screen: Screen, how: str) -> None:
    lost, partner = own_screen.order.step(0)[1].tolist()
    SPOIL[how](own_screen.order.sites[lost].paths[5])
    taken = []
    for _ in range(2):
        with own_screen.loader() as loader:
            batch = loader.batch(0, 1)
        taken.append(batch.names)
    assert taken[0] == taken[1]
    well = own_screen.order.wells[batch.well_B[2]].tolist()
    (place,) = [index for index in well if site_name(own_screen.order.sites[index]) == batch.names[2]]
    assert place not in (lost, partner)
    assert batch.well_B[2] == batch.well_B[3]
    stand_in = own_screen.order.sites[place]
    np.testing.assert_array_equal(
        batch.sites[2].numpy(), read_site(stand_in, own_screen.channels[own_screen.order.sites[place].plate])
    )
    (problem,) = batch.problems
    assert problem.startswith(f"{site_name(own_screen.order.sites[lost])} left out: ")
    assert problem.endswith(f" In its place: {batch.names[2]}.")
    assert str(own_screen.order.sites[lost].paths[5]) in problem


def test_sites_that_are_all_of_another_size_than_their_plate_are_bad(own_screen: Screen) -> None:
    lost = int(own_screen.order.step(0)[0, 0])
    for path in own_screen.order.sites[lost].paths:
        tifffile.imwrite(path, np.zeros((48, 48), np.uint16))
    with own_screen.loader() as loader:
        batch = loader.batch(0, 1)
    assert {tuple(pixels.shape) for pixels in batch.sites} == {(3, 64, 64)}
    assert "48 x 48" in batch.problems[0]


def test_of_a_lost_well_a_couple_of_another_stands_in(own_screen: Screen) -> None:
    first = int(own_screen.order.step(0)[1, 0])
    (well,) = [well for well in own_screen.order.wells if first in well]
    for index in well.tolist():
        own_screen.order.sites[index].paths[6].write_bytes(b"rubbish")
    with own_screen.loader(bad_sites=0.1) as loader:
        batch = loader.batch(0, 1)
    assert len(batch.problems) in (2, 4)  # both of its couples may be in the step
    assert batch.well_B[2] == batch.well_B[3] and batch.names[2] != batch.names[3]
    assert not {site_name(own_screen.order.sites[index]) for index in well.tolist()} & set(batch.names)


def test_above_a_share_of_bad_sites_and_without_a_disk_reading_ends(own_screen: Screen) -> None:
    couples = own_screen.order.step(0)
    for index in couples[:2, 0].tolist():
        own_screen.order.sites[index].paths[6].write_bytes(b"rubbish")
    with own_screen.loader(bad_sites=1 / 48) as loader, pytest.raises(UserError, match="2 of 48 sites cannot be read"):
        loader.batch(0, 1)
    with own_screen.loader(bad_sites=2 / 48) as loader:
        assert len(loader.batch(0, 1).problems) == 2
    for plate in own_screen.plates:
        plate.root.rename(plate.root.with_name(f"{plate.name} gone"))
    with own_screen.loader(bad_sites=1.0) as loader, pytest.raises(UserError, match="No site of 9 wells") as error:
        loader.batch(0, 1)
    assert str(error.value).count("\n") <= 1


@pytest.mark.soak
def test_ten_thousand_batches_leave_memory_as_it_is(screen: Screen) -> None:
    process = psutil.Process()
    with screen.loader() as loader:
        for step in range(10_000):
            loader.batch(step, 10_000)
            if step == 500:
                before = process.memory_info().rss
    assert process.memory_info().rss < before + 8 * 2**20


def test_pseudo_sites_are_named_with_their_tile(screen: Screen) -> None:
    from sslprofiler_core.plates import tile_plate

    tiled = tile_plate(screen.plates[0], 2)
    assert site_name(tiled.sites[1]).endswith("tile 1,2")
