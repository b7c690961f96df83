"""Reading batches ahead: the right pixels in the right order, in bounded memory, whatever single files do."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import IntensityScale, Plate, measure_scale, open_plates, read_site, select_channels
from sslprofiler_core.recipes import TrainRecipe
from sslprofiler_core.training import loader as module
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

    def loader(self, memory: int = 0) -> PairLoader:
        return PairLoader(self.order, self.plates, self.channels, self.scale, memory)


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

    def counted(site, channels):  # type: ignore[no-untyped-def]
        reads.append(site_name(site))
        return read_site(site, channels)

    monkeypatch.setattr(module, "read_site", counted)
    one = read_site(screen.order.sites[0], (0, 1, 2)).nbytes
    with screen.loader(5 * one) as loader:
        for step in range(12):
            loader.batch(step, 12)
            assert len(reads) <= 8 * (step + 3)
            assert len(loader._coming) <= 2
            assert sum(array.nbytes for array in loader._kept.values()) <= 5 * one
        assert len(loader._kept) == 5
        assert loader._coming == {}
    assert len(reads) == 2 * 48 - 5  # the second of two epochs met the five sites that were kept


def test_a_small_screen_is_decoded_once(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    with screen.loader(10**9) as loader:
        for step in range(screen.order.steps_per_epoch):
            loader.batch(step, screen.order.steps_per_epoch)
        monkeypatch.setattr(module, "read_site", lambda *_: pytest.fail("read again"))
        for step in range(screen.order.steps_per_epoch, 2 * screen.order.steps_per_epoch):
            loader.batch(step, 2 * screen.order.steps_per_epoch)


def test_a_site_that_cannot_be_read_is_stood_in_for_by_its_partner(own_screen: Screen) -> None:
    lost, partner = own_screen.order.step(0)[1].tolist()
    own_screen.order.sites[lost].paths[5].unlink()
    with own_screen.loader() as loader:
        batch = loader.batch(0, 1)
    assert batch.sites[2].equal(batch.sites[3])
    np.testing.assert_array_equal(
        batch.sites[2].numpy(),
        read_site(own_screen.order.sites[partner], own_screen.channels[batch.names[2].split()[0]]),
    )
    (problem,) = batch.problems
    assert problem.startswith(f"{batch.names[2]} left out: ")
    assert str(own_screen.order.sites[lost].paths[5]) in problem


def test_a_pair_that_is_lost_altogether_is_an_error_that_names_it(own_screen: Screen) -> None:
    for index in own_screen.order.step(0)[1].tolist():
        own_screen.order.sites[index].paths[6].write_bytes(b"rubbish")
    with own_screen.loader() as loader, pytest.raises(UserError, match="Neither site of a pair") as error:
        loader.batch(0, 1)
    assert str(own_screen.order.sites[index].paths[6]) in str(error.value)


def test_pseudo_sites_are_named_with_their_tile(screen: Screen) -> None:
    from sslprofiler_core.plates import tile_plate

    tiled = tile_plate(screen.plates[0], 2)
    assert site_name(tiled.sites[1]).endswith("tile 1,2")
