"""How fast are neighbours, maps, post-processing, evaluation and embedding, beside their peers or the plain limit?

    python benchmarks/profiles.py [--only neighbours maps processing embedding] [--repeats 3] [--device cuda]

neighbours: 20 of each of 9,216 wells (24 plates) by cosine distance, ours against faiss's flat index (which is given
unit vectors, their copy timed as ours is) and scikit-learn's brute force; sets of neighbours are compared. maps: in a
fresh process each, first call included, ours against umap-learn as it comes; and trustworthiness of both over some
seeds. processing: `sslprofiler profile` and `sslprofiler evaluate --fast --align 0.5` on generated sites, in a fresh
process, with its peak memory. embedding: `embed_plate` on pixels in memory against the bare forward pass of the same
batches.

Contestants take turns; printed are medians, and ratios of these. Wants the extra ``bench``.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

PARTS = ("neighbours", "maps", "processing", "embedding")
WELLS = 24 * 384


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--repeats", type=int, default=3, help="timings of each (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=12, help="maps: for trustworthiness (default %(default)s)")
    parser.add_argument("--device", default="cpu", help="of neighbours and embedding (default %(default)s)")
    parser.add_argument("--wide", action="store_true", help="processing: ViT-B's 27,648 values in place of 6,912")
    parser.add_argument("--child", choices=("map", "processing"), help=argparse.SUPPRESS)
    parser.add_argument("--words", nargs="*", default=[], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child == "map":
        return map_child(arguments.words[0], int(arguments.words[1]), int(arguments.words[2]))
    if arguments.child == "processing":
        return processing_child(Path(arguments.words[0]))
    print(machine())
    if "neighbours" in arguments.only:
        neighbours_part(arguments.repeats, arguments.device)
    if "maps" in arguments.only:
        maps_part(arguments.repeats, max(2, arguments.seeds))
    if "processing" in arguments.only:
        processing_part(arguments.wide)
    if "embedding" in arguments.only:
        embedding_part(arguments.repeats, torch.device(arguments.device))
    return None


def machine() -> str:
    found = []
    for name in ("torch", "faiss-cpu", "scikit-learn", "umap-learn", "numba", "numpy"):
        try:
            found.append(f"{name} {version(name)}")
        except ImportError:
            found.append(f"{name} not installed")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = torch.get_num_threads()
    return f"Machine: {platform.machine()}, {cores} cores, {threads} threads; {', '.join(found)}."


def in_turns(contestants: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each, after one call that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        for name, work in contestants.items():
            start = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


# Neighbours.


def neighbours_part(repeats: int, device: str) -> None:
    import faiss
    from sklearn.neighbors import NearestNeighbors

    from sslprofiler_core.exploring import neighbours

    faiss.omp_set_num_threads(torch.get_num_threads())
    print(
        "\n| dimensions | queries | ours | faiss flat | its time / ours | scikit-learn | its time / ours | equal sets |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for width, queries in ((768, 4096), (6912, 1024)):
        database = np.random.default_rng(0).standard_normal((WELLS, width), np.float32)
        asked = database[:queries]
        on_device = torch.from_numpy(database).to(device)

        def ours(asked: Any = on_device[:queries], database: Any = on_device) -> NDArray[np.int64]:
            return np.asarray(neighbours(asked, database, 20)[0].cpu())

        def flat(asked: NDArray[np.float32] = asked, database: NDArray[np.float32] = database) -> NDArray[np.int64]:
            units = [rows.copy() for rows in (database, asked)]
            for rows in units:
                faiss.normalize_L2(rows)
            index = faiss.IndexFlatIP(database.shape[1])
            index.add(units[0])
            return np.asarray(index.search(units[1], 20)[1])

        def brute(asked: NDArray[np.float32] = asked, database: NDArray[np.float32] = database) -> NDArray[np.int64]:
            peer = NearestNeighbors(n_neighbors=20, metric="cosine", algorithm="brute").fit(database)
            return np.asarray(peer.kneighbors(asked, return_distance=False))

        own, theirs = np.sort(ours(), axis=1), np.sort(flat(), axis=1)
        equal = f"{(own == theirs).all(axis=1).mean():.4f}"
        t = in_turns({"ours": ours, "faiss": flat, "sklearn": brute}, repeats)
        print(
            f"| {width:,} | {queries:,} | {t['ours']:.2f} s | {t['faiss']:.2f} s | {t['faiss'] / t['ours']:.2f} "
            f"| {t['sklearn']:.2f} s | {t['sklearn'] / t['ours']:.2f} | {equal} |",
            flush=True,
        )


# Maps.


def well_profiles(count: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((count // 8, 64))[np.arange(count) % (count // 8)]
    rows = (0.7 * centres + rng.standard_normal((count, 64))) @ rng.standard_normal((64, 768))
    return np.asarray(rows, np.float32)


def map_child(who: str, count: int, more: int) -> None:
    """What a fresh process needs from its first import on; prints seconds, and trustworthiness of it and ``more``."""
    import warnings

    warnings.simplefilter("ignore")
    profiles = well_profiles(count)

    def drawn(seed: int) -> NDArray[np.float32]:
        if who == "ours":
            from sslprofiler_core.exploring import umap_layout

            return umap_layout(profiles, seed=seed)
        import umap

        return np.asarray(umap.UMAP(metric="cosine").fit_transform(profiles))  # as it comes, it takes no seed

    start = time.perf_counter()
    places = [drawn(0)]
    seconds = time.perf_counter() - start
    from sklearn.manifold import trustworthiness

    places += [drawn(seed) for seed in range(1, more + 1)]
    print(seconds, *(trustworthiness(profiles, where, n_neighbors=15, metric="cosine") for where in places))


def maps_part(repeats: int, seeds: int) -> None:
    print("\n| wells | ours | umap-learn | its time / ours | trustworthiness, ours | umap-learn | ours minus its |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for count in (384, 2500):
        seconds: dict[str, list[float]] = {"ours": [], "umap": []}
        trust: dict[str, list[float]] = {"ours": [], "umap": []}
        turns = min(repeats, 2) + 1
        for turn in range(turns):
            for who in seconds:
                more = seeds - 1 if turn == turns - 1 else 0
                words = [sys.executable, __file__, "--child", "map", "--words", who, str(count), str(more)]
                text = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
                if turn:  # the first loads programs into the page cache
                    seconds[who].append(float(text[0]))
                trust[who] = [float(word) for word in text[1:]]
        own, peer = (statistics.median(seconds[who]) for who in ("ours", "umap"))
        means = [float(np.mean(trust[who])) for who in ("ours", "umap")]
        error = float(np.hypot(*(np.std(trust[who], ddof=1) / np.sqrt(seeds) for who in ("ours", "umap"))))
        print(
            f"| {count:,} | {own:.1f} s | {peer:.1f} s | {peer / own:.1f} | {means[0]:.4f} | {means[1]:.4f} "
            f"| {means[0] - means[1]:+.4f} +- {error:.4f} |",
            flush=True,
        )


# Post-processing and evaluation.


def write_sites(folder: Path, groups: dict[str, int]) -> Path:
    """24 plates x 384 wells x 9 sites, of two cell lines; a compound sits at one position on every plate."""
    import pandas as pd

    from sslprofiler_core.profiling import write_sites_part

    wells = [f"{row}{column:02d}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)]
    compounds = [f"c{i % 306}" if i % 6 else "DMSO" for i in range(len(wells))]
    kinds = {f"{group}_{kind}": width for group, width in groups.items() for kind in ("cls", "patch")}
    effects = {
        name: np.random.default_rng(1).standard_normal((384, width), np.float32) for name, width in kinds.items()
    }
    for number in range(24):
        rng = np.random.default_rng(number)
        metadata = pd.DataFrame(
            {
                "Metadata_Plate": f"P{number:02d}",
                "Metadata_Well": np.repeat(wells, 9),
                "Metadata_Site": [*range(1, 10)] * 384,
                "Metadata_Compound": np.repeat(compounds, 9),
                "Metadata_CellType": ("U2OS", "A549")[number % 2],
            }
        )
        features = {
            name: np.repeat(0.2 * effects[name], 9, axis=0) + rng.standard_normal((3456, width), np.float32)
            for name, width in kinds.items()
        }
        write_sites_part(folder / "sites.parquet", f"P{number:02d}", metadata, features, {})
    return folder / "sites.parquet"


def processing_child(folder: Path) -> None:
    import resource

    from sslprofiler_core.evaluation import evaluate
    from sslprofiler_core.profiling import profile_sites

    start = time.perf_counter()
    profile_sites(folder / "sites.parquet", folder / "wells.parquet")
    profiled = time.perf_counter()
    first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    evaluate(folder / "wells.parquet", folder / "report", align=0.5, fast=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(profiled - start, time.perf_counter() - profiled, first / 2**20, peak / 2**20)


def processing_part(wide: bool) -> None:
    groups = {"fluorescence": 768, "brightfield": 768} if wide else {"fluorescence": 384}
    folder = Path(tempfile.mkdtemp(prefix="profiles-"))
    try:
        write_sites(folder, groups)
        start = time.perf_counter()
        words = [sys.executable, __file__, "--child", "processing", "--words", str(folder)]
        text = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
        whole = time.perf_counter() - start
    finally:
        shutil.rmtree(folder)
    profile, evaluation, first, peak = map(float, text[-4:])
    print(f"\n24 plates x 384 wells x {18 * sum(groups.values()):,} values:")
    print(
        f"profile {profile:.1f} s (peak {first:.1f} GiB), evaluate {evaluation:.1f} s (peak {peak:.1f} GiB);", end=" "
    )
    print(f"{whole:.1f} s in all, imports included.", flush=True)


# Embedding.


def embedding_part(repeats: int, device: torch.device) -> None:
    from sslprofiler_core.model import LoadedModel, build_network
    from sslprofiler_core.plates import Channel, Plate, Site
    from sslprofiler_core.profiling import embed_sites
    from sslprofiler_core.recipes import load_recipe

    fast = device.type == "cuda"
    batch, count = (64, 1024) if fast else (4, 8)
    recipe = load_recipe("paper-vits14", [f"embed.batch={batch}"])
    names = tuple(f"c{i}" for i in range(5))
    backbone = build_network(recipe, 5)[1].backbone.eval().requires_grad_(False).to(device)
    scale = {"P": dict.fromkeys(names, (0.0, 4000.0))}
    model = LoadedModel(backbone, recipe, "fluorescence", names, None, scale, 0)
    channels = tuple(Channel(name, "fluorescence", i + 1) for i, name in enumerate(names))
    pixels = np.random.default_rng(0).integers(0, 4000, (5, 1080, 1080), np.uint16)
    sites = tuple(Site("P", "A01", i, paths=()) for i in range(count))
    plate = Plate("P", Path("memory"), "none", channels, sites, None, pixels.shape[1:], ())
    embed_sites.read_site = lambda site, which: pixels
    size = recipe.embed_size
    images = torch.rand(batch, 5, size, size, device=device)

    def bare() -> None:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=fast):
            for _ in range(count // batch):
                backbone(images)
        if fast:
            torch.cuda.synchronize()

    t = in_turns({"ours": lambda: embed_sites.embed_plate(plate, [model], device), "bare": bare}, repeats)
    print(f"\nViT-S/14 at {size} px, 5 channels, {device}, batches of {batch}, pixels in memory:")
    print(
        f"embed {count / t['ours']:.2f} sites/s, bare forward {count / t['bare']:.2f} sites/s, "
        f"ratio {t['bare'] / t['ours']:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
