"""Small question folders in the layouts of MMLU and MMLU-Pro, with made-up questions."""

import csv
import random
from pathlib import Path

import lm_eval
import pyarrow as pa
import pyarrow.parquet as pq

TASKS = Path(lm_eval.__file__).parent / "tasks"
SUBJECTS = sorted(
    path.stem.removeprefix("mmlu_") for path in (TASKS / "mmlu" / "default").glob("mmlu_*.yaml")
)
CATEGORIES = sorted(
    path.stem.removeprefix("mmlu_pro_").replace("_", " ")
    for path in (TASKS / "mmlu_pro").glob("mmlu_pro_*.yaml")
)
WORDS = ["Norway", "a, b", 'the "heart"', "Größe 7", "x = y^2", "none\nof these", "1789", "{{z}}"]


def write_mmlu(folder: Path, *, header: bool = True) -> Path:
    """57 subjects, each with five solved and one to three test questions."""
    for number, subject in enumerate(SUBJECTS):
        for split, count in (("dev", 5), ("test", 1 + number % 3)):
            (folder / split).mkdir(parents=True, exist_ok=True)
            rng = random.Random(f"{subject} {split}")
            with (folder / split / f"{subject}_{split}.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                if header:
                    writer.writerow(["question", *(f"choice{n}" for n in range(4)), "answer"])
                for _ in range(count):
                    answer = rng.randrange(4)
                    writer.writerow(
                        [f" Which {rng.choice(WORDS)}? ", *rng.sample(WORDS, 4),
                         answer if header else "ABCD"[answer]]
                    )  # fmt: skip
    return folder


def write_mmlu_pro(folder: Path, *, solved: bool = True) -> Path:
    """14 categories, each with five solved and two or three test questions."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    for split, extra in (("validation", 3), ("test", 0)):
        if split == "validation" and not solved:
            continue
        rows = []
        for number, category in enumerate(CATEGORIES):
            for _ in range(2 + number % 2 if split == "test" else 2 + extra):
                count = rng.choice([3, 4, 7, 10])
                answer = rng.randrange(count)
                row = {
                    "question": f"Which {rng.choice(WORDS)}?",
                    "options": [f"{rng.choice(WORDS)} {n}" for n in range(count)],
                    "answer": "ABCDEFGHIJ"[answer],
                    "answer_index": answer,
                    "category": category,
                }
                if split == "validation":
                    letter = row["answer"]
                    row["cot_content"] = f"A: Let's think step by step. The answer is ({letter})."
                rows.append(row)
        rng.shuffle(rows)
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")
    return folder
