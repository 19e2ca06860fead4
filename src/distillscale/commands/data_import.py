"""`data import`: make a corpus of a user's table or of a dataset on the hub."""

import shlex
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from distillscale.commands.output import check_new_folder
from distillscale.data.card import UNSTATED, DataCard, Source, sha256, write_card
from distillscale.data.examples import EXAMPLES_FILE
from distillscale.data.hub import KNOWN_DATASETS, HubDataset, KnownDataset
from distillscale.data.importing import DROPPED_FILE, Columns, Imported, Origin, import_rows
from distillscale.data.rows import READERS, Row, check_columns, read_rows
from distillscale.errors import InputError
from distillscale.tasks import Split, Task, load_task


@dataclass(frozen=True)
class ImportRequest:
    """What a user asks `data import` for; see the command's help for each field."""

    source: str
    task: str | None
    labels_from_file: bool
    text_column: str | None
    label_column: str | None
    id_column: str | None
    category_column: str | None
    label_names: Path | None
    split: Split
    revision: str | None
    encoding: str | None
    licence: str | None
    drop_bad_rows: bool


@dataclass(frozen=True)
class _Opened:
    """A source ready to be read: its rows, what the columns are, and what the card says of it."""

    rows: Iterable[Row]
    columns: Columns
    card: Source
    licence: str


def import_data(request: ImportRequest, out: Path) -> None:
    """Write a corpus folder: `examples.parquet`, `task.yaml` and the data card.

    Raises:
        InputError: an option or the source is wrong, or a row is bad; nothing is written then.
    """
    check_new_folder(out, "--out")
    task = _task(request)
    names = _label_names(request.label_names) if request.label_names else ()
    opened = _open_file(request) if _is_file(request.source) else _open_hub(request)
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".import-") as name:
        folder = Path(name) / "corpus"
        folder.mkdir()
        imported = import_rows(
            opened.rows,
            opened.columns,
            Origin(request.source, request.split),
            folder,
            task=task,
            label_names=names,
            drop_bad_rows=request.drop_bad_rows,
        )
        write_card(_card(request, opened, imported), folder)
        folder.replace(out)
    print(f"{request.source}: {imported.rows:,} rows, {imported.kept:,} imported", end="")
    print(f", of {len(imported.classes)} classes; {imported.repeated:,} repeat a text before them")
    for reason, count in sorted(imported.dropped.items()):
        print(f"dropped: {count:,} for {reason}")
    print(f"corpus: {out / EXAMPLES_FILE}; its card: {out / 'README.md'}")


def _task(request: ImportRequest) -> Task | None:
    """The given task, or None where the labels make one.

    Raises:
        InputError: both or neither are asked for, or the task is wrong.
    """
    if (request.task is None) != request.labels_from_file:
        raise InputError(
            "give either --task, whose classes the labels must be, or --labels-from-file, which "
            "makes a task of the labels that are there."
        )
    if request.task is not None and request.category_column is not None:
        raise InputError(
            f"--category-column {request.category_column}: with --task a label's category is the "
            "task's; leave one of the two out."
        )
    return None if request.task is None else load_task(request.task)


def _label_names(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--label-names {path}: not a readable text file ({error}).") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(set(names)) < max(2, len(names)):
        raise InputError(
            f"--label-names {path}: it must have one class a line, two at least, each once."
        )
    return names


def _is_file(source: str) -> bool:
    """Whether a source is one file; a folder is read as the hub's datasets are."""
    return Path(source).is_file() or Path(source).suffix.lower() in READERS


def _open_file(request: ImportRequest) -> _Opened:
    path = Path(request.source)
    if request.revision is not None:
        raise InputError(f"--revision {request.revision}: a file has none; leave it out.")
    if request.text_column is None or request.label_column is None:
        raise InputError(f"{path}: name its columns with --text-column and --label-column.")
    columns = _columns(request, request.text_column, request.label_column)
    rows = read_rows(path, columns.names, request.encoding)
    digest = sha256(path) if path.is_file() else None
    return _Opened(rows, columns, Source(path.name, digest), request.licence or UNSTATED)


def _open_hub(request: ImportRequest) -> _Opened:
    name = request.source
    if request.encoding is not None:
        raise InputError(f"--encoding {request.encoding}: only a file has one; leave it out.")
    known = KNOWN_DATASETS.get(name)
    if known is None and (request.text_column is None or request.label_column is None):
        raise InputError(f"{name}: name its columns with --text-column and --label-column.")
    dataset = HubDataset(name, split=request.split, revision=request.revision)
    text, label, note = request.text_column, request.label_column, ""
    if known is not None:
        text = text or _first(known.text_columns, dataset, "--text-column", known)
        label = label or _first(known.label_columns, dataset, "--label-column", known)
        if known.assumed and not (request.text_column and request.label_column):
            note = f"columns `{text}` and `{label}` were assumed, not named by the user"
            print(f"assumption: {name} has its texts in `{text}`, its labels in `{label}`")
    assert text is not None
    assert label is not None
    columns = _columns(request, text, label)
    check_columns(dataset.columns, name, columns.names)
    revision = f"revision {request.revision or 'newest'}"
    card = Source(name, note="; ".join(filter(None, (f"{request.split} split", revision, note))))
    licence = request.licence or (known.licence if known else UNSTATED)
    return _Opened(dataset.read_rows(columns.names), columns, card, licence)


def _first(
    candidates: tuple[str, ...], dataset: HubDataset, option: str, known: KnownDataset
) -> str:
    """The first of the candidates that the dataset has.

    Raises:
        InputError: it has none.
    """
    for name in candidates:
        if name in dataset.columns:
            return name
    guess = "we assumed" if known.assumed else "we know"
    raise InputError(
        f"{dataset.name}: it has none of the columns that {guess} ({', '.join(candidates)}) but "
        f"{', '.join(dataset.columns)}; name the right one with {option}."
    )


def _columns(request: ImportRequest, text: str, label: str) -> Columns:
    return Columns(text, label, request.id_column, request.category_column)


def _card(request: ImportRequest, opened: _Opened, imported: Imported) -> DataCard:
    task = imported.task
    counts = {
        (request.split, task.category_of(label), label): count
        for label, count in imported.classes.items()
    }
    notes = [f"{imported.rows:,} rows were read, {imported.kept:,} kept."]
    notes += [
        f"{count:,} rows were dropped for {reason}; `{DROPPED_FILE}` lists them."
        for reason, count in sorted(imported.dropped.items())
    ]
    notes.append(
        f"{imported.repeated:,} texts are the same as one before them but for case, punctuation "
        "and links; they were kept."
    )
    return DataCard(
        title=Path(request.source).stem,
        licence=opened.licence,
        counts=counts,
        sources=(opened.card,),
        command=_command(replace(request, source=opened.card.name), opened.columns),
        notes=tuple(notes),
    )


def _command(request: ImportRequest, columns: Columns) -> str:
    """The command with its columns and whatever differs from the defaults."""
    options = {
        "--task": request.task,
        "--text-column": columns.text,
        "--label-column": columns.label,
        "--id-column": columns.id,
        "--category-column": columns.category,
        "--label-names": request.label_names and request.label_names.name,
        "--split": None if request.split == "train" else request.split,
        "--revision": request.revision,
        "--encoding": request.encoding,
    }
    words = ["distillscale", "data", "import", request.source]
    words += [word for name, value in options.items() if value for word in (name, value)]
    flags = {
        "--labels-from-file": request.labels_from_file,
        "--drop-bad-rows": request.drop_bad_rows,
    }
    words += [name for name, wanted in flags.items() if wanted]
    return shlex.join([*words, "--out", "FOLDER"])
