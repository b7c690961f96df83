from __future__ import annotations

import pandas as pd
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.evaluation import choose_label, control_wells
from sslprofiler_core.evaluation.labels import choose_group


def frame(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame({f"Metadata_{name}": values for name, values in columns.items()})


def test_default_labels() -> None:
    assert choose_label(frame(broad_sample=["B", None], Compound=["C", None])) == "Metadata_Compound"
    assert choose_label(frame(broad_sample=["B", None], Compound=[None, None])) == "Metadata_broad_sample"
    assert choose_label(frame(gene=["G"], Compound=[None])) == "Metadata_gene"
    with pytest.raises(UserError, match="Metadata_guide"):
        choose_label(frame(guide=["G"]))


def test_named_labels() -> None:
    table = frame(gene=["G"])
    assert choose_label(table, "gene") == choose_label(table, "Metadata_gene") == "Metadata_gene"
    with pytest.raises(UserError, match="no column 'target'"):
        choose_label(table, "target")


def test_default_controls() -> None:
    assert list(control_wells(frame(control_type=["negcon", None, "poscon"]))) == [True, False, False]
    assert list(control_wells(frame(Compound=["A", "DMSO", None]))) == [False, True, False]
    assert list(control_wells(frame(pert_iname=["A", "DMSO"]))) == [False, True]
    assert list(control_wells(frame(Compound=["A", "dmso", None, "DMSO"]))) == [False, True, False, True]
    assert list(control_wells(frame(control_type=["NegCon", None]))) == [True, False]
    assert list(control_wells(frame(pert_type=["trt", "negcon"], Compound=["DMSO", "A"]))) == [False, True]
    assert list(control_wells(frame(Compound=["A", "Vehicle", "untreated"]))) == [False, True, True]
    assert list(control_wells(frame(broad_sample=["BRD-A", None], pert_iname=["A", "DMSO"]))) == [False, True]
    assert not control_wells(frame(Compound=["A"], control_type=[None])).any()


def test_groups_are_what_several_labels_share() -> None:
    table = frame(Compound=["A", "B", "C", None], gene=["X", "X", None, None], Target=["1", "2", "3", None])
    assert choose_group(table, "Metadata_Compound") == "Metadata_gene"
    assert choose_group(table, "Metadata_gene") is None
    assert choose_group(table, "Metadata_Compound", "Target") == "Metadata_Target"
    # A label of two groups has none.
    assert choose_group(frame(Compound=["A", "A", "B"], gene=["X", "Y", "X"]), "Metadata_Compound") is None
    with pytest.raises(UserError, match="no column 'moa'"):
        choose_group(table, "Metadata_Compound", "moa")


def test_named_controls() -> None:
    table = frame(Dose=[0, 1, None], Role=["vehicle", "trt", "trt"])
    assert list(control_wells(table, "Role=vehicle")) == [True, False, False]
    assert list(control_wells(table, "Metadata_Role=trt")) == [False, True, True]
    with pytest.raises(UserError, match="COLUMN=VALUE"):
        control_wells(table, "Role")
    with pytest.raises(UserError, match="Values there: trt, vehicle"):
        control_wells(table, "Role=DMSO")
