"""Sentences of the demo's report, computed from its numbers: nothing here is known before it is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .scores import KS, Difference, Results

if TYPE_CHECKING:
    from .report import Findings

TITLE = "What two small models learned from simulated plates"
FEATURES = {
    "trained": "Trained",
    "untrained": "Untrained",
    "intensity": "Intensity",
    "texture": "Texture",
}
NAMES = {
    "trained": "the trained models",
    "untrained": "the same networks untrained",
    "intensity": "hand-made intensity features",
    "texture": "hand-made texture features",
}

_COUNTS = {1: "One", 2: "Two", 3: "Three", 4: "Four", 5: "Five", 6: "Six"}


def subtitle(findings: Findings) -> str:
    """What was done, in three sentences."""
    size = findings.settings
    steps = " and ".join(f"{model.step:,}" for model in findings.models)
    same = len({model.step for model in findings.models}) == 1
    length = f"{findings.models[0].step:,} steps each" if same else f"{steps} steps"
    lines = findings.wells.metadata["Metadata_CellType"].nunique()
    return (
        f"{_COUNTS.get(size.plates, size.plates)} plates of {_COUNTS.get(lines, str(lines)).lower()} cell lines were "
        f"simulated: {size.wells} wells a plate, {size.sites} sites a "
        f"well, 8 channels, {findings.results.labels} compounds beside DMSO. One small vision transformer for the "
        f"fluorescence channels and one for brightfield were trained on them for {length}, without being told what is "
        "in a well. Then each well got a profile, and its nearest neighbours on other plates had to name its compound."
    )


def percent(value: float) -> str:
    """``0.5417 -> "54.2 %"``."""
    return f"{100 * value:.1f} %"


def points(difference: Difference) -> str:
    """A difference with its standard error, in points."""
    return f"{100 * difference.value:+.1f} ± {100 * difference.error:.1f}".replace("-", "\N{MINUS SIGN}")


def verdicts(results: Results, full: bool) -> list[str]:
    """Whether the trained models beat the others: a sentence each, from the numbers; and how to train them longer."""
    behind = any(results.difference("trained", name).verdict == "worse" for name in ("intensity", "texture"))
    advice = " `sslprofiler demo --full` trains ten times as long at full resolution, on the same plates."
    longer = advice if behind and not full else ""
    return [_training(results), _handmade(results) + longer]


def _training(results: Results) -> str:
    difference = results.difference("trained", "untrained")
    trained, untrained = (percent(results.score(name).value) for name in ("trained", "untrained"))
    rests = f"{trained} against {untrained}, {_standard_errors(difference)}, paired over {difference.wells} wells"
    if difference.verdict == "better":
        return f"Training helped: the trained models beat the same networks untrained ({rests})."
    if difference.verdict == "worse":
        return f"Training hurt: the trained models are worse than the same networks untrained ({rests})."
    return (
        f"Training cannot be seen to have helped: trained and untrained are within two standard errors of each other "
        f"({rests})."
    )


def _handmade(results: Results) -> str:
    by_verdict: dict[str, list[str]] = {}
    for name in ("intensity", "texture"):
        difference = results.difference("trained", name)
        text = f"{NAMES[name]} ({percent(results.score(name).value)}, {_standard_errors(difference)})"
        by_verdict.setdefault(difference.verdict, []).append(text)
    says = {"better": "beat", "worse": "do not reach", "level": "are level, within two standard errors, with"}
    clauses = [f"{says[verdict]} {' and '.join(texts)}" for verdict, texts in by_verdict.items()]
    return f"The trained models {', and '.join(clauses)}."


def _standard_errors(difference: Difference) -> str:
    sign = "ahead" if difference.value > 0 else "behind"
    if difference.value == 0.0:
        return "no difference"
    return f"{100 * abs(difference.value):.1f} points {sign} with a standard error of {100 * difference.error:.1f}"


def terminal_table(results: Results) -> str:
    """Accuracies and the paired difference, for a terminal."""
    wells = len(results.score("trained").rows)
    chance = f"chance {100 * results.chance:.1f}"
    head = f"Accuracy in %: compounds of {wells} wells named by neighbours on other plates ({chance})"
    lines = [head, f"{'':<34}" + "".join(f"{f'{k}-NN':>8}" for k in KS) + f"{'95 % of 1-NN':>16}"]
    for name, text in NAMES.items():
        row = results.row(name)
        values = "".join(f"{100 * results.score(name, k).value:8.1f}" for k in KS)
        lines.append(f"{text.removeprefix('the '):<34}{values}{f'{100 * row.low:.1f} to {100 * row.high:.1f}':>16}")
    for name in ("untrained", "intensity", "texture"):
        text = f"trained minus {name}"
        values = "".join(f"{points(results.difference('trained', name, k)):>14}" for k in KS)
        lines.append(f"{text:<28}{values}{'' if name != 'untrained' else '  points ± standard error, paired'}")
    # A terminal may not know the minus sign of the page.
    lines = [line.replace("\N{MINUS SIGN}", "-") for line in lines]
    return "\n".join(lines)
