"""How fast do pixels come off the disk? This package, its peers and the plain limit, side by side in one run.

    python benchmarks/pixels.py CPJUMP1/images [--sites 12] [--repeats 5] [--only index sites convert batches]

Real sites of CPJUMP1 (8 channels of 1080 x 1080 uint16, LZW TIFF) are copied into a screen of as many sites as asked
for, so that every figure rests on real pixels; all of it stays in the page cache. Peers are timed where they are
installed: tifffile, zarr-python, tensorstore, ome-zarr-py and a torch DataLoader. Contestants take turns; printed are
medians over the rounds with their range, and the median of the ratios within a round. This package's pixels are
compared with tifffile's first.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

from sslprofiler_core.plates import Plate, Site, convert_plates, open_plates, read_site, read_thumbnail

Contestants = dict[str, Callable[[], object]]
WELLS = [(row, column) for row in range(1, 17) for column in range(1, 25)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="a folder of CPJUMP1 plates")
    parser.add_argument("--sites", type=int, default=12, help="sites in the screen (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="timings of each (default %(default)s)")
    parser.add_argument("--only", nargs="+", choices=["index", "sites", "convert", "batches"])
    parser.add_argument("--scratch", type=Path, help="where to write (default: the system's temporary folder)")
    arguments = parser.parse_args()
    parts = arguments.only or ["index", "sites", "convert", "batches"]
    print(machine())
    scratch = Path(tempfile.mkdtemp(prefix="pixels-", dir=arguments.scratch))
    try:
        if "index" in parts:
            index(scratch, arguments.repeats)
        if len(parts) > ("index" in parts):
            screen = real_screen(arguments.images, scratch / "screen", arguments.sites)
            if "convert" in parts:
                convert(screen, scratch, arguments.repeats)
            if "sites" in parts:
                sites(screen, scratch, arguments.repeats)
            if "batches" in parts:
                batches(screen, scratch, arguments.repeats)
    finally:
        shutil.rmtree(scratch)


def machine() -> str:
    versions = []
    for name in ("numpy", "imagecodecs", "tifffile", "zarr", "tensorstore", "ome-zarr", "torch"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, {load} at the start; "
        f"Python {platform.python_version()}; {', '.join(versions)}."
    )


def race(contestants: Contestants, repeats: int) -> dict[str, list[float]]:
    """Time contestants in turns, after one call each to warm up: seconds."""
    for run in contestants.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def table(title: str, times: dict[str, list[float]], per: int, unit: str, against: str) -> None:
    """Print milliseconds for one unit, and each contestant's speed as a multiple of one of them."""
    print(f"\n## {title}\n\n| | ms a {unit}, median (range) | speed against {against} |\n| --- | --- | --- |")
    for name, found in times.items():
        scaled = [1e3 * value / per for value in found]
        ratio = speed(times, name, against)
        print(f"| {name} | {statistics.median(scaled):.2f} ({min(scaled):.2f} to {max(scaled):.2f}) | {ratio:.2f} |")


def speed(times: dict[str, list[float]], name: str, against: str) -> float:
    """How many times as fast one is as another: the median over rounds, since what else runs changes between them."""
    return statistics.median(other / own for own, other in zip(times[name], times[against], strict=True))


def index(scratch: Path, repeats: int) -> None:
    """Index a plate of 384 wells x 9 sites x 8 channels by its names, and with every header read."""
    root = scratch / "index" / "BR1"
    root.mkdir(parents=True)
    tifffile.imwrite(root / "one.tiff", np.zeros((64, 64), np.uint16), compression="lzw")
    for row, column in WELLS:
        for site in range(1, 10):
            for channel in range(1, 9):
                os.link(root / "one.tiff", root / f"r{row:02d}c{column:02d}f{site:02d}p01-ch{channel}sk1fk1fl1.tiff")
    (root / "one.tiff").unlink()
    store = scratch / "index" / "store.zarr"
    contestants: Contestants = {
        "listing the folder (limit)": lambda: list(os.scandir(root)),
        "open_plates": lambda: open_plates([root]),
        "open_plates(check=True): every header": lambda: open_plates([root], check=True),
    }
    convert_plates([root], store)
    contestants |= {
        "open_plates of the same plate in a store": lambda: open_plates([store]),
        "open_plates(check=True) of it": lambda: open_plates([store], check=True),
    }
    times = race(contestants, repeats)
    table("Index of a plate of 27,648 files, warm", times, 1, "plate", "open_plates")
    shutil.rmtree(scratch / "index")


def real_screen(images: Path, root: Path, count: int) -> Path:
    """A plate of real sites, each under the names of several wells; copies, so that no two reads share a file."""
    found = [site for plate in open_plates([images]) for site in plate.sites]
    folder = root / "REAL"
    folder.mkdir(parents=True)
    for k in range(count):
        row, column = WELLS[k // 2]
        for channel, path in enumerate(found[k % len(found)].paths, 1):
            shutil.copyfile(path, folder / f"r{row:02d}c{column:02d}f{k % 2 + 1:02d}p01-ch{channel}sk1fk1fl1.tiff")
    return folder


def convert(screen: Path, scratch: Path, repeats: int) -> None:
    """Conversion against its parts: decoding all planes with all cores, and writing the encoded bytes."""
    (plate,) = open_plates([screen])
    paths = [path for site in plate.sites for path in site.paths]
    out = scratch / "convert.zarr"
    convert_plates([screen], out)
    payload = [path.read_bytes() for path in out.rglob("*") if path.name == "0" and path.is_file()]
    shutil.rmtree(out)

    def run() -> None:
        convert_plates([screen], out)
        shutil.rmtree(out)

    def decode() -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(decode_plane, paths))

    def write() -> None:
        folder = scratch / "plain"
        folder.mkdir()
        for k, content in enumerate(payload):
            with (folder / str(k)).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        shutil.rmtree(folder)

    times = race({"convert": run, "decoding alone": decode, "writing alone (with fsync)": write}, repeats)
    table("Conversion of LZW TIFFs to a store, verified", times, len(plate.sites), "site", "decoding alone")
    spent = {}
    for name, work in (("convert", run), ("decoding alone", decode)):
        start = time.process_time()
        work()
        spent[name] = 1e3 * (time.process_time() - start) / len(plate.sites)
    print(f"\nProcessor time a site: {', '.join(f'{name} {value:.0f} ms' for name, value in spent.items())}.")


def decode_plane(path: Path) -> np.ndarray:
    return imagecodecs.tiff_decode(path.read_bytes())


def sites(screen: Path, scratch: Path, repeats: int) -> None:
    """One site after another on one thread, from TIFFs and from stores, against peers and plain reads."""
    (tiffs,) = open_plates([screen])
    plates = {"tiff": tiffs}
    for name, compressed in (("compressed", True), ("uncompressed", False)):
        convert_plates([screen], scratch / f"{name}.zarr", compressed=compressed)
        (plates[name],) = open_plates([scratch / f"{name}.zarr"])
    first = [read_site(plate.sites[0]) for plate in plates.values()]
    assert all(np.array_equal(first[0], other) for other in first[1:])
    for site in tiffs.sites[:2]:
        assert np.array_equal(read_site(site), np.stack([tifffile.imread(path) for path in site.paths]))
    count = len(tiffs.sites)
    contents = [[path.read_bytes() for path in site.paths] for site in tiffs.sites]

    def decoder() -> None:
        for planes in contents:
            for data in planes:
                imagecodecs.tiff_decode(data)

    memory = np.empty_like(first[0])
    times = race(
        {
            DECODER: decoder,
            "read_site": lambda: each(tiffs, read_site),
            "read_site into a reused buffer": lambda: each(tiffs, lambda site: read_site(site, out=memory)),
            "tifffile": lambda: each(tiffs, lambda site: np.stack([tifffile.imread(path) for path in site.paths])),
        },
        repeats,
    )
    table("A site of 8 channels from LZW TIFFs, one thread", times, count, "site", "tifffile")
    print(f"\n{REUSED}: {speed(times, REUSED, DECODER):.2f} of the decoder's own speed.")
    for name in ("compressed", "uncompressed"):
        plate = plates[name]
        times = race(
            {
                "plain reads into a reused buffer (limit)": plain_reads(plate),
                "read_site": lambda plate=plate: each(plate, read_site),
                "read_site into a reused buffer": lambda plate=plate: each(plate, lambda s: read_site(s, out=memory)),
                TIFFS: lambda: each(tiffs, lambda site: read_site(site, out=memory)),
                "read_thumbnail": lambda plate=plate: each(plate, read_thumbnail),
                **peers(plate),
            },
            repeats,
        )
        against = "zarr-python"
        table(f"A site of 8 channels from the {name} store, one thread", times, count, "site", against)
        print(
            f"\n{REUSED}: {speed(times, REUSED, LIMIT):.2f} of the plain-read limit; "
            f"{speed(times, REUSED, TIFFS):.1f} x the TIFFs."
        )


DECODER = "libtiff on bytes in memory (limit)"
TIFFS = "read_site of the LZW TIFFs, into a reused buffer"
REUSED = "read_site into a reused buffer"
LIMIT = "plain reads into a reused buffer (limit)"


def each(plate: Plate, read: Callable[[Site], object]) -> None:
    for site in plate.sites:
        read(site)


def plain_reads(plate: Plate) -> Callable[[], None]:
    """Read the bytes of the sites' shards, and nothing else."""
    files = [site.paths[0] / "c" / "0" / "0" / "0" for site in plate.sites]
    buffer = bytearray(max(file.stat().st_size for file in files))
    view = memoryview(buffer)

    def run() -> None:
        for path in files:
            with path.open("rb", buffering=0) as file:
                file.readinto(view)

    return run


def peers(plate: Plate) -> Contestants:
    """Other readers of the same store, where they are installed."""
    import zarr

    found: Contestants = {
        "zarr-python": lambda: each(plate, lambda site: zarr.open_array(str(site.paths[0]), mode="r")[...])
    }
    try:
        import tensorstore

        def open_and_read(site: Site) -> object:
            kvstore = {"driver": "file", "path": str(site.paths[0])}
            return tensorstore.open({"driver": "zarr3", "kvstore": kvstore}).result().read().result()

        found["tensorstore"] = lambda: each(plate, open_and_read)
    except ImportError:
        pass
    try:
        from ome_zarr.io import parse_url
        from ome_zarr.reader import Reader

        def by_dask(site: Site) -> object:
            return np.asarray(next(iter(Reader(parse_url(str(site.paths[0].parent)))())).data[0])

        found["ome-zarr-py (dask)"] = lambda: each(plate, by_dask)
    except ImportError:
        pass
    return found


def batches(screen: Path, scratch: Path, repeats: int) -> None:
    """Whole sites delivered with all cores, in an order that does not follow the disk's."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    from sslprofiler_core.recipes import TrainRecipe
    from sslprofiler_core.training.loader import PairLoader
    from sslprofiler_core.training.pairs import PairOrder

    (tiffs,) = open_plates([screen])
    if not (scratch / "compressed.zarr").exists():
        convert_plates([screen], scratch / "compressed.zarr")
    (stored,) = open_plates([scratch / "compressed.zarr"])
    contents = [path.read_bytes() for site in tiffs.sites for path in site.paths]
    order = np.random.default_rng(0).permutation(len(tiffs.sites)).tolist()
    workers = os.cpu_count() or 1

    class Tiffs(Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(order)

        def __getitem__(self, k: int) -> torch.Tensor:
            paths = tiffs.sites[order[k]].paths
            return torch.from_numpy(np.stack([tifffile.imread(path) for path in paths]))

    def threads(plate: Plate, chosen: Sequence[int]) -> None:
        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(lambda k: read_site(plate.sites[k]), chosen):
                pass

    def pairs(plate: Plate) -> Callable[[], None]:
        """Training's own loader over one epoch: each site read serves as ``v1`` and as the other's ``v2``."""
        names = tuple(range(len(plate.channels)))
        scale = {plate.name: {channel.name: (0.0, 1.0) for channel in plate.channels}}
        sites = PairOrder.over(plate.sites, TrainRecipe(batch=2))

        def run() -> None:
            with PairLoader(sites, [plate], {plate.name: names}, scale, 0) as loader:
                for step in range(sites.steps_per_epoch):
                    loader.batch(step, sites.steps_per_epoch)

        return run

    loader = DataLoader(Tiffs(), batch_size=2, num_workers=workers, persistent_workers=True)
    name = f"DataLoader, {workers} workers, tifffile"
    times = race(
        {
            name: lambda: sum(len(batch) for batch in loader),
            f"read_site in {workers} threads, TIFFs": lambda: threads(tiffs, order),
            f"read_site in {workers} threads, store": lambda: threads(stored, order),
            "PairLoader, TIFFs": pairs(tiffs),
            "PairLoader, store": pairs(stored),
            LIMIT_ALL: lambda: decode_all(contents, workers),
        },
        repeats,
    )
    table("Sites delivered with all cores", times, len(order), "site", name)
    share = speed(times, "PairLoader, TIFFs", LIMIT_ALL)
    print(f"\nPairLoader, TIFFs: {share:.2f} of the decoder's own speed on {workers} threads.")


LIMIT_ALL = "libtiff on bytes in memory, all cores (limit of TIFFs)"


def decode_all(contents: Sequence[bytes], workers: int) -> None:
    """Decode planes with all cores, each thread into memory that it uses again."""

    def work(first: int) -> None:
        memory = None
        for data in contents[first::workers]:
            memory = imagecodecs.tiff_decode(data, out=memory)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))


if __name__ == "__main__":
    main()
