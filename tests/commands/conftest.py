from pathlib import Path

import pytest
from mini_study import STUDY


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "mini.yaml"
    path.write_text(STUDY)
    return path
