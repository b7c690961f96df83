"""Make docs/images/evaluation-report.png: a report of ``sslprofiler evaluate`` as a browser shows it, in two columns.

    sslprofiler evaluate PROFILES... --align 0.5 --clip 10 --out REPORT
    python docs/make_report_picture.py REPORT/report.html

Needs Chromium or Chrome on the path. Nothing is asserted here: look at the picture.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH = 1144  # the page's own width
TALLEST = 14000


def photograph(report: Path, picture: Path) -> Image.Image:
    """Open the page without a window and take all of it."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"None of {', '.join(BROWSERS)} is on the path. Install one of them.")
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        command += ["--disable-background-networking", f"--user-data-dir={profile}"]
        command += [f"--window-size={WIDTH},{TALLEST}", f"--screenshot={picture}", report.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    page = Image.open(picture).convert("RGB")
    written = np.flatnonzero((np.asarray(page) != 255).any(axis=(1, 2)))
    return page.crop((0, 0, WIDTH, min(int(written[-1]) + 40, page.height)))


def two_columns(page: Image.Image) -> Image.Image:
    """Cut the page in a gap near its middle, and put the halves side by side."""
    blank = (np.asarray(page) == 255).all(axis=(1, 2))
    middle = page.height // 2
    # The widest gap within a fifth of the page around its middle.
    best, length, run = middle, 0, 0
    for row in range(middle - page.height // 10, middle + page.height // 10):
        run = run + 1 if blank[row] else 0
        if run > length:
            best, length = row - run // 2, run
    height = max(best, page.height - best)
    sheet = Image.new("RGB", (2 * WIDTH, height), "white")
    sheet.paste(page.crop((0, 0, WIDTH, best)), (0, 0))
    sheet.paste(page.crop((0, best, WIDTH, page.height)), (WIDTH, 0))
    return sheet


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images/evaluation-report.png"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sheet = two_columns(photograph(asked.report, Path(folder) / "page.png"))
    small = sheet.resize((round(0.7 * sheet.width), round(0.7 * sheet.height)), Image.Resampling.LANCZOS)
    small.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE).save(asked.out, optimize=True)
    print(f"{asked.out}: {small.width} x {small.height}, {asked.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
