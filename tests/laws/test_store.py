import json
import subprocess
import sys
from pathlib import Path

import pytest
from laws_tables import exact, row, study_table, table

from distillscale.errors import InputError
from distillscale.laws import (
    certificate_table,
    fit_law,
    fit_laws,
    laws_table,
    load_laws,
    save_laws,
)
from distillscale.laws.store import CERTIFICATE_COLUMNS, LAWS_TABLE_COLUMNS


def unfitted():
    return fit_law(table([row(value=float("nan"))]), "data", "dataset_size")


def test_json_round_trip_keeps_everything(tmp_path: Path) -> None:
    fits = [*fit_laws(study_table()), unfitted()]
    save_laws(fits, tmp_path / "new" / "laws.json")
    loaded = load_laws(tmp_path / "new" / "laws.json")
    assert loaded == fits
    assert loaded[0].predict(300) == fits[0].predict(300)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["laws.json"]


def test_missing_file_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such laws file; `distillscale laws fit` writes one"):
        load_laws(tmp_path / "laws.json")


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"laws": 3}', '{"laws": [[]]}', '{"laws": [{"form": "data"}]}', "null"],
)
def test_damaged_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "laws.json"
    path.write_text(content)
    with pytest.raises(InputError, match="not a laws file"):
        load_laws(path)


def test_unknown_form_in_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "laws.json"
    save_laws([unfitted()], path)
    path.write_text(json.dumps(json.loads(path.read_text())).replace('"data"', '"cubic"'))
    with pytest.raises(InputError, match="form `cubic`"):
        load_laws(path)


def test_table_has_one_row_a_parameter_and_says_what_is_not_identified() -> None:
    two = fit_law(
        table([row(dataset_size=d, **exact(v)) for d, v in ((100, 0.6), (400, 0.8))]),
        "data", "dataset_size", group={"task": "t", "configuration": "logit-cot"},
    )  # fmt: skip
    frame = laws_table([two, unfitted()])
    assert list(frame.columns) == LAWS_TABLE_COLUMNS
    assert list(frame["parameter"]) == ["e_inf", "B", "beta", ""]
    assert not frame["identified"].any()
    assert frame["note"][0].startswith("not identified: 2 different x for 3 parameters; 90% inter")
    assert frame["note"][3] == "not fitted: no usable point, a curve needs two"
    assert frame["configuration"][0] == "logit-cot"


def test_known_chance_is_not_presented_as_a_fit() -> None:
    frame = laws_table([fit for fit in fit_laws(study_table()) if fit.form == "collapse"])
    chance = frame[frame["parameter"] == "chance"]
    assert set(chance["note"]) == {"known beforehand, not fitted"}
    assert set(chance["estimate"]) == {0.1, 0.175, 0.25}


def test_importing_laws_does_not_import_torch() -> None:
    code = "import sys, distillscale.laws; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_certificates_have_a_row_a_fitted_law() -> None:
    fits = fit_laws(study_table())
    frame = certificate_table(fits)
    assert list(frame.columns) == CERTIFICATE_COLUMNS
    assert len(frame) == sum(bool(fit.estimate) for fit in fits)
    assert (frame["gradient"] < 1e-3).all()
