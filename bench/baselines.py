"""A pruned student against what one would use instead, on lab headlines: docs/baselines.md.

Writes 2,400 headlines of the lab's grammar to a file, then runs the two commands that a user would:
`distillscale compress` and `distillscale baselines`, with equal splits, traces and steps.

    python bench/baselines.py
"""

from pathlib import Path

import pandas as pd

from distillscale.commands.baselines import BaselinesRequest, compare_baselines
from distillscale.commands.compress import CompressRequest, compress
from distillscale.lab.examples import lab_examples
from distillscale.lab.world import make_world

OUT, STORE = Path("outputs/baselines"), Path("outputs/store")
HEADLINES, STAGES, STEPS, CORRECTION = 2400, 2, 200, 200


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    data = OUT / "headlines.csv"
    made = lab_examples(
        "fin-headlines", make_world(), train=HEADLINES, validation=0, test=0, seed=3
    )
    rows = [{"headline": one.text, "event": one.label} for one in made]
    pd.DataFrame(rows).to_csv(data, index=False)
    student = CompressRequest(
        model="lab",
        data=data,
        text_column="headline",
        label_column="event",
        keep=0.5,
        stages=STAGES,
        supervision="label",
        method="logit",
        steps=STEPS,
        batch_size=32,
        learning_rate=1e-3,
        correction_steps=CORRECTION,
        test_data=None,
        seed=0,
    )
    compress(student, OUT / "student", STORE, workers=1)
    others = BaselinesRequest(
        data=data,
        text_column="headline",
        label_column="event",
        test_data=None,
        like=OUT / "student",
        model="lab",
        correction_steps=CORRECTION,
        encoder=None,
        steps=STAGES * STEPS,
        batch_size=32,
        learning_rate=1e-3,
        seed=0,
    )
    compare_baselines(others, OUT / "table", STORE, workers=1)


if __name__ == "__main__":
    main()
