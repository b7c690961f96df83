"""How good profiles are: the challenge's k-NN transfer, what position alone would score, and reports of both."""

from __future__ import annotations

from sslprofiler_core._lazy import attach

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
