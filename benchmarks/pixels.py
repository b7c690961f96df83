"""How fast do pixels come off the disk? This package, its peers and the plain limit, side by side in one run.

    python benchmarks/pixels.py [CPJUMP1/images] [--sites 12] [--repeats 5] [--only index sites convert batches]

Real sites of CPJUMP1 (8 channels of 1080 x 1080 uint16, LZW TIFF) are copied into a screen of as many sites as asked
for, so that every figure rests on real pixels; all of it stays in the page cache. Without them
($SSLPROFILER_CPJUMP1/images, where that is set) simulated sites of that size stand in, which compress otherwise. Peers
are timed where they are installed: tifffile, zarr-python, tensorstore, ome-zarr-py and a torch DataLoader. Contestants
take turns; printed are medians over the rounds with their range, and the median of the ratios within a round. This
package's pixels are compared with tifffile's first. Two decoders serve as limits, both on bytes in memory: libtiff,
and our own compiled loop, which a process has after its first planes and is loaded here before anything is timed.
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

from sslprofiler_core.plates import Plate, Site, convert_plates, open_plates, read_site, read_thumbnail, simulate_plates
from sslprofiler_core.plates.compiled import load_loops
from sslprofiler_core.plates.lzw import SLACK, decode_lzw

Contestants = dict[str, Callable[[], object]]
WELLS = [(row, column) for row in range(1, 17) for column in range(1, 25)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("SSLPROFILER_CPJUMP1")
    default = Path(data) / "images" if data else None
    parser.add_argument("images", type=Path, nargs="?", default=default, help="a folder of CPJUMP1 plates")
    parser.add_argument("--sites", type=int, default=12, help="sites in the screen (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="timings of each (default %(default)s)")
    parser.add_argument("--only", nargs="+", choices=["index", "sites", "convert", "batches"])
    parser.add_argument("--scratch", type=Path, help="where to write (default: the system's temporary folder)")
    arguments = parser.parse_args()
    parts = arguments.only or ["index", "sites", "convert", "batches"]
    print(machine())
    start = time.perf_counter()
    assert load_loops() is not None, "numba has nowhere to keep what it compiles"
    print(f"Compiled loops loaded, or compiled and kept, in {time.perf_counter() - start:.1f} s.")
    scratch = Path(tempfile.mkdtemp(prefix="pixels-", dir=arguments.scratch))
    try:
        if "index" in parts:
            index(scratch, arguments.repeats)
        if len(parts) > ("index" in parts):
            images = (
                arguments.images or simulate_plates(scratch / "made", plates=1, wells=6, sites=1, size=1080) / "images"
            )
            screen = real_screen(images, scratch / "screen", arguments.sites)
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
    for name in ("numpy", "numba", "imagecodecs", "tifffile", "zarr", "tensorstore", "ome-zarr", "torch"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, {load} at the start; "
        f"Python {platform.python_version()}; {', '.join(versions)}."
    )


def race(contestants: Contestants, repeats: int, tidy: Callable[[], object] = list) -> dict[str, list[float]]:
    """Time contestants in turns, after one call each to warm up: seconds. What tidies up behind each is not timed."""
    for run in contestants.values():
        run()
        tidy()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
            tidy()
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
    out, workers = scratch / "convert" / "store.zarr", os.cpu_count() or 1
    convert_plates([screen], out)
    payload = [path.read_bytes() for path in out.rglob("*") if path.name == "0" and path.is_file()]
    packed = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    packed /= sum(read_site(site).nbytes for site in plate.sites)

    def write() -> None:
        folder = out.with_name("plain")
        folder.mkdir(parents=True)
        for k, content in enumerate(payload):
            with (folder / str(k)).open("wb", buffering=0) as file:
                file.write(content)
                os.fsync(file.fileno())

    contestants: Contestants = {
        "convert": lambda: convert_plates([screen], out),
        DECODING: lambda: decode_all(paths, workers, libtiff),
        OUR_DECODING: lambda: decode_all(paths, workers, our_loop),
        WRITING: write,
    }
    shutil.rmtree(out.parent)
    times = race(contestants, repeats, lambda: shutil.rmtree(out.parent, ignore_errors=True))
    table("Conversion of LZW TIFFs to a store, verified", times, len(plate.sites), "site", DECODING)
    print(f"\nThe store takes {packed:.2f} of the pixels' bytes. Convert reaches, of the slower one's speed:")
    for decoding in (DECODING, OUR_DECODING):
        slower = [max(pair) for pair in zip(times[decoding], times[WRITING], strict=True)]
        share = statistics.median(limit / own for limit, own in zip(slower, times["convert"], strict=True))
        print(f"- {share:.2f} ({decoding}; writing alone)")
    for name, contestant in contestants.items():
        start = time.process_time()
        contestant()
        print(f"Processor time a site, {name}: {1e3 * (time.process_time() - start) / len(plate.sites):.0f} ms.")
        shutil.rmtree(out.parent, ignore_errors=True)


DECODING = "decoding alone, libtiff"
OUR_DECODING = "decoding alone, our loop"
WRITING = "writing alone (with fsync)"
Decoder = Callable[[bytes | memoryview, int, np.ndarray | None], np.ndarray]


def libtiff(data: bytes | memoryview, size: int, out: np.ndarray | None = None) -> np.ndarray:
    return imagecodecs.tiff_decode(data[:size], out=out)


def our_loop(data: bytes | memoryview, size: int, out: np.ndarray | None = None) -> np.ndarray:
    return decode_lzw(load_loops(), np.frombuffer(data, np.uint8), size, 0, out)


def in_memory(path: Path) -> tuple[memoryview, int]:
    """A file's bytes, with what our loop may look at behind them; and how many they are."""
    size = path.stat().st_size
    held = bytearray(size + SLACK)
    with path.open("rb", buffering=0) as file:
        file.readinto(held)
    return memoryview(held), size


def decode_all(planes: Sequence[Path | tuple[memoryview, int]], workers: int, decoder: Decoder) -> None:
    """Decode planes with all cores, each thread into memory that it uses again."""

    def work(first: int) -> None:
        memory = None
        for plane in planes[first::workers]:
            memory = decoder(*(in_memory(plane) if isinstance(plane, Path) else plane), memory)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))


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
    planes = [in_memory(path) for site in tiffs.sites for path in site.paths]
    memory = np.empty_like(first[0])

    def read_and_decode() -> None:
        held = memoryview(bytearray(max(size for _, size in planes) + SLACK))
        for path in (path for site in tiffs.sites for path in site.paths):
            with path.open("rb", buffering=0) as file:
                our_loop(held, file.readinto(held[:-SLACK]), memory[0])

    times = race(
        {
            DECODER: lambda: decode_all(planes, 1, libtiff),
            OUR_DECODER: lambda: decode_all(planes, 1, our_loop),
            READ_AND_DECODE: read_and_decode,
            "read_site": lambda: each(tiffs, read_site),
            "read_site into a reused buffer": lambda: each(tiffs, lambda site: read_site(site, out=memory)),
            "tifffile": lambda: each(tiffs, lambda site: np.stack([tifffile.imread(path) for path in site.paths])),
        },
        repeats,
    )
    table("A site of 8 channels from LZW TIFFs, one thread", times, len(tiffs.sites), "site", "tifffile")
    shares = [f"{speed(times, REUSED, name):.2f} of {name}" for name in (DECODER, OUR_DECODER, READ_AND_DECODE)]
    print(f"\n{REUSED}: {', '.join(shares)}.")
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
        table(f"A site of 8 channels from the {name} store, one thread", times, len(tiffs.sites), "site", against)
        print(
            f"\n{REUSED}: {speed(times, REUSED, LIMIT):.2f} of the plain-read limit; "
            f"{speed(times, REUSED, TIFFS):.1f} x the TIFFs."
        )


DECODER = "libtiff on bytes in memory"
OUR_DECODER = "our loop on bytes in memory"
READ_AND_DECODE = "plain reads, and our loop (limit)"
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
    planes = [in_memory(path) for site in tiffs.sites for path in site.paths]
    order = np.random.default_rng(0).permutation(len(tiffs.sites)).tolist()
    workers = os.cpu_count() or 1

    class Tiffs(Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(order)

        def __getitem__(self, k: int) -> torch.Tensor:
            paths = tiffs.sites[order[k]].paths
            return torch.from_numpy(np.stack([tifffile.imread(path) for path in paths]))

    def threads(plate: Plate) -> None:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda k: read_site(plate.sites[k]).shape, order))

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
            f"read_site in {workers} threads, TIFFs": lambda: threads(tiffs),
            f"read_site in {workers} threads, store": lambda: threads(stored),
            "PairLoader, TIFFs": pairs(tiffs),
            "PairLoader, store": pairs(stored),
            DECODER: lambda: decode_all(planes, workers, libtiff),
            OUR_DECODER: lambda: decode_all(planes, workers, our_loop),
        },
        repeats,
    )
    table("Sites delivered with all cores", times, len(order), "site", name)
    shares = [f"{speed(times, 'PairLoader, TIFFs', other):.2f} of {other}" for other in (DECODER, OUR_DECODER)]
    print(f"\nPairLoader, TIFFs: {', '.join(shares)}, on {workers} threads.")


if __name__ == "__main__":
    main()
