"""How good profiles are: the challenge's k-NN transfer, what position alone would score, and reports of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslprofiler_core._lazy import attach

if TYPE_CHECKING:
    from .labels import choose_label, control_wells
    from .precision import score_precision
    from .protocol import Score, Scores, knn_transfer, position_control, score_position_control, score_transfers
    from .report import evaluate, score_all

__all__ = [
    "Score",
    "Scores",
    "choose_label",
    "control_wells",
    "evaluate",
    "knn_transfer",
    "position_control",
    "score_all",
    "score_position_control",
    "score_precision",
    "score_transfers",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "labels": ["choose_label", "control_wells"],
        "precision": ["score_precision"],
        "protocol": [
            "Score",
            "Scores",
            "knn_transfer",
            "position_control",
            "score_position_control",
            "score_transfers",
        ],
        "report": ["evaluate", "score_all"],
    },
)
