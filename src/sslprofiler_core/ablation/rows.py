"""The rows of the table: the paper's ladder, and what stands beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sslprofiler_core.errors import UserError

ALL = ("all",)
BOTH = ("fluorescence", "brightfield")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    name
        As on the command line.
    words
        As in the table.
    recipe
        The shipped recipe that its models are trained with.
    groups
        Channel groups, a model each; their profiles stand side by side.
    features
        What a profile holds of each model (paper 3.3.1).
    against
        The row that it differs from by one ingredient.
    paper
        The paper's local k-NN score in percent, None where it has none.
    overrides
        Settings changed in the recipe, for rows beyond the ladder.
    sites
        How a well's sites merge (paper 3.3.2); None: as the scale does it.
    alpha
        Strength of the alignment (paper 3.3.3).
    """

    name: str
    words: str
    recipe: str
    groups: tuple[str, ...] = BOTH
    features: Literal["cls", "cls+patch"] = "cls+patch"
    against: str | None = None
    paper: float | None = None
    overrides: tuple[str, ...] = ()
    sites: Literal["concat", "mean"] | None = None
    alpha: float = 0.5


# Paper, Table 1, column "Local".
LADDER = (
    Row("dinov2-8ch", "DINOv2 on 8 channels", "table1/dinov2-8ch", ALL, "cls", None, 20.3),
    Row("patch", "+ patch representations", "table1/patch", ALL, against="dinov2-8ch", paper=20.9),
    Row("separate", "+ separate training", "table1/separate", against="patch", paper=24.9),
    Row("res518", "+ training resolution 518", "table1/res518", against="separate", paper=34.2),
    Row("augmentations", "+ adapted augmentations", "table1/augmentations", against="res518", paper=35.4),
    Row("local-aggregation", "+ local aggregation", "table1/local-aggregation", against="augmentations", paper=38.6),
    Row("vitb14", "+ ViT-B/14", "table1/vitb14", against="local-aggregation", paper=40.0),
)

_BASE = "local-aggregation"


def _beyond(name: str, words: str, *overrides: str, alpha: float = 0.5) -> Row:
    return Row(name, words, f"table1/{_BASE}", against=_BASE, overrides=overrides, alpha=alpha)


# Each against the row "local-aggregation". Those without overrides share its models. k is a column of scores.csv.
BEYOND = (
    _beyond("local-crops", "with 8 local crops", "augment.local_crops=8"),
    _beyond("no-flip", "without flips", "augment.flip=0.0"),
    _beyond("no-rotation", "without rotation", "augment.rotation=0.0"),
    _beyond("no-elastic", "without elastic deformation", "augment.elastic=0.0"),
    _beyond("no-jitter", "without jitter", "augment.jitter=0.0"),
    _beyond("no-noise", "without noise", "augment.noise=0.0"),
    _beyond("no-ibot", "lambda1 = 0 (no iBOT)", "loss.ibot=0.0"),
    _beyond("half-ibot", "lambda1 = 0.5", "loss.ibot=0.5"),
    _beyond("no-koleo", "lambda2 = 0 (no KoLeo)", "loss.koleo=0.0"),
    _beyond("koleo-1", "lambda2 = 1", "loss.koleo=1.0"),
    _beyond("alpha-0.25", "alignment with alpha = 0.25", alpha=0.25),
    _beyond("alpha-0.75", "alignment with alpha = 0.75", alpha=0.75),
    _beyond("alpha-1", "alignment with alpha = 1", alpha=1.0),
    Row("sites-concat", "sites concatenated", f"table1/{_BASE}", against=_BASE, sites="concat"),
    Row("sites-mean", "mean of the sites", f"table1/{_BASE}", against=_BASE, sites="mean"),
)


def choose_rows(names: Iterable[str] | None = None) -> tuple[Row, ...]:
    """Rows by name, in the table's order; the ladder when None, and all for ``"all"``.

    Raises
    ------
    UserError
        For an unknown name; it lists those there are.
    """
    if names is None:
        return LADDER
    wanted = list(names)
    every = {row.name: row for row in (*LADDER, *BEYOND)}
    if wanted == ["all"]:
        return tuple(every.values())
    unknown = [name for name in wanted if name not in every]
    if unknown or not wanted:
        first = f"No row {unknown[0]!r}. " if unknown else "No row is named. "
        raise UserError(f"{first}Rows: {', '.join(every)}; or all.")
    return tuple(row for row in every.values() if row.name in wanted)
