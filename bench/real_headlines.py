"""Real headlines, end to end: docs/real-data.md holds what this prints.

Converts `../shared/data/finance_tweets_topic20` to CSV, runs `distillscale compress` on it with the
lab's teacher corrected on the train file, and scores TF-IDF + logistic regression as a baseline on
the same test rows (the validation file without near-duplicates of texts of the train file).
"""

import sys
from pathlib import Path

import pandas as pd
from sklearn.metrics import accuracy_score, f1_score

from distillscale.baselines import fit_tfidf
from distillscale.commands.compress import CompressRequest, compress
from distillscale.data.embedding import load_embedder
from distillscale.data.labelled_file import read_labelled_file
from distillscale.data.leakage import find_leaks
from distillscale.data.split import labelled_examples
from distillscale.tasks import task_from_labels

DATA = Path(__file__).parents[2] / "shared/data/finance_tweets_topic20"
OUT = Path("outputs/real-headlines")


def main() -> None:
    if not DATA.is_dir():
        sys.exit(f"{DATA}: not here; this benchmark needs the shared data.")
    OUT.mkdir(parents=True, exist_ok=True)
    train, test = (as_csv(name) for name in ("train", "validation"))
    baseline(train, test)
    request = CompressRequest(
        model="lab",
        data=train,
        text_column="text",
        label_column="label",
        keep=0.5,
        stages=2,
        supervision="label",
        method="logit",
        steps=300,
        batch_size=32,
        learning_rate=1e-3,
        correction_steps=1000,
        test_data=test,
        seed=0,
    )
    compress(request, OUT / "model", Path("outputs/store"), workers=1)


def as_csv(name: str) -> Path:
    """The shared file with class names for class numbers."""
    names = [line.split(":")[-1].strip() for line in (DATA / "classes.txt").open() if line.strip()]
    table = pd.read_parquet(DATA / f"{name}.parquet")
    table["label"] = [names[number] for number in table["label"]]
    path = OUT / f"{name}.csv"
    table[["text", "label"]].to_csv(path, index=False)
    return path


def baseline(train: Path, test: Path) -> None:
    """TF-IDF of words and word pairs with logistic regression, on the rows that compress uses."""
    train_pairs, test_pairs = (read_labelled_file(p, "text", "label") for p in (train, test))
    task = task_from_labels("headlines", [label for _, label in train_pairs])
    known = labelled_examples(train_pairs, task, source="train", split="train")
    candidates = labelled_examples(test_pairs, task, source="test", split="test")
    texts, known_texts = ([example.text for example in side] for side in (candidates, known))
    leaks = {leak.left for leak in find_leaks(texts, known_texts, load_embedder("hashed"))}
    unseen = [example for place, example in enumerate(candidates) if place not in leaks]
    numbers = [task.labels.index(e.label) for e in known]
    model = fit_tfidf([e.text for e in known], numbers, len(task.labels))
    scores = model.log_probabilities([e.text for e in unseen])
    predicted = [task.labels[number] for number in scores.argmax(axis=1)]
    gold = [e.label for e in unseen]
    print(
        f"TF-IDF + logistic regression on {len(unseen)} test rows: "
        f"macro F1 {f1_score(gold, predicted, average='macro'):.4f}, "
        f"weighted F1 {f1_score(gold, predicted, average='weighted'):.4f}, "
        f"accuracy {accuracy_score(gold, predicted):.4f}"
    )


if __name__ == "__main__":
    main()
