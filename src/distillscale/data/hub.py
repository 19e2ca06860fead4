"""A labelled dataset of the Hugging Face hub, or a local folder of its layout."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from distillscale.data.labelled_file import labelled_pairs
from distillscale.data.rows import Row, check_columns
from distillscale.errors import InputError

_BATCH = 8192


@dataclass(frozen=True)
class KnownDataset:
    """What we know of a dataset on the hub, so that its name alone is enough to import it.

    Of `text_columns` and `label_columns` the first that the dataset has is taken.
    """

    text_columns: tuple[str, ...]
    label_columns: tuple[str, ...]
    licence: str
    assumed: bool


KNOWN_DATASETS = {
    # The licence is what its page on the hub states. Assumption: nobody here has seen its columns;
    # the paper says that a row is a headline of one of 13 categories.
    "nvidia/FinHeadlineMix": KnownDataset(
        text_columns=("headline", "text", "title"),
        label_columns=("event", "event_type", "label", "category"),
        licence="CC BY 4.0",
        assumed=True,
    ),
}


class HubDataset:
    """One split of a dataset, loaded but not read into memory.

    Code that a dataset carries is never run: `datasets` has refused it since version 4, and no
    option here asks for it.
    """

    def __init__(
        self, name_or_folder: str, *, split: str = "train", revision: str | None = None
    ) -> None:
        """Load the split of `organisation/dataset` on the hub, or of a folder of data files.

        Args:
            name_or_folder: a name on the hub, or a folder.
            split: train, validation or test.
            revision: commit or tag of a hub dataset; None is its newest.

        Raises:
            InputError: the `hub` extra is not installed, or the split cannot be loaded.
        """
        self.name = name_or_folder
        self._library = _datasets()
        self._rows = _load(self._library, name_or_folder, split, revision)

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return list(self._rows.column_names)

    def read_rows(self, columns: tuple[str, ...]) -> Iterator[Row]:
        """The wanted cells of each row; class numbers are given by their names.

        Raises:
            InputError: it lacks a column.
        """
        check_columns(self.columns, self.name, columns)
        names = {
            column: feature.names
            for column, feature in self._rows.features.items()
            if isinstance(feature, self._library.ClassLabel)
        }
        wanted = self._rows.select_columns(list(dict.fromkeys(columns))).with_format("arrow")
        for table in wanted.iter(_BATCH):
            cells = []
            for column in columns:
                values = table.column(column).to_pylist()
                if column in names:
                    values = [_class_name(value, names[column]) for value in values]
                cells.append(values)
            yield from zip(*cells, strict=True)


def read_hub_dataset(
    name_or_folder: str, text_column: str, label_column: str, revision: str | None = None
) -> list[tuple[str, str]]:
    """Read the (text, label) pairs of a dataset's train split, in its order.

    Raises:
        InputError: the `hub` extra is not installed; the dataset cannot be loaded, lacks the split
            or a column, or has an empty text or label (row and column are named).
    """
    rows = HubDataset(name_or_folder, revision=revision).read_rows((text_column, label_column))
    return labelled_pairs(rows, name_or_folder, text_column, label_column)


def _datasets() -> ModuleType:
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            "reading a dataset of the hub needs an extra package; install it with "
            "`pip install 'distillscale[hub]'`."
        ) from error
    return datasets


def _load(library: ModuleType, name_or_folder: str, split: str, revision: str | None) -> Any:
    errors = (OSError, ValueError, RuntimeError, library.exceptions.DatasetsError)
    try:
        return library.load_dataset(name_or_folder, split=split, revision=revision)
    except errors as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{name_or_folder}: not a dataset that can be loaded with a {split} split from the "
            f"hub or a folder ({reason[:300]})."
        ) from error


def _class_name(number: Any, names: list[str]) -> str | None:
    """The name of a class number; None for a missing one, which the hub writes as -1 or null."""
    return names[int(number)] if number is not None and number >= 0 else None
