"""A labelled dataset of the Hugging Face hub, or a local folder of its layout."""

from types import ModuleType
from typing import Any

from distillscale.data.labelled_file import check_columns, labelled_pairs
from distillscale.errors import InputError


def read_hub_dataset(
    name_or_folder: str, text_column: str, label_column: str, revision: str | None = None
) -> list[tuple[str, str]]:
    """Read the (text, label) pairs of a dataset's train split, in its order.

    Labels stored as class numbers are given by their names. Code that a dataset carries is never
    run: `datasets` has refused it since version 4, and no option here asks for it.

    Args:
        name_or_folder: `organisation/dataset` on the hub, or a folder of data files.
        revision: commit or tag of a hub dataset; None is its newest.

    Raises:
        InputError: the `hub` extra is not installed; the dataset cannot be loaded, lacks the split
            or a column, or has an empty text or label (row and column are named).
    """
    library = _datasets()
    dataset = _load_train_split(library, name_or_folder, revision)
    columns = (text_column, label_column)
    check_columns(dataset.column_names, name_or_folder, columns)
    table = dataset.select_columns(list(columns)).to_pandas()
    for column in columns:
        feature = dataset.features[column]
        if isinstance(feature, library.ClassLabel):
            table[column] = [_class_name(number, feature.names) for number in table[column]]
    return labelled_pairs(table, name_or_folder, text_column, label_column)


def _datasets() -> ModuleType:
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            "reading a dataset of the hub needs an extra package; install it with "
            "`pip install 'distillscale[hub]'`."
        ) from error
    return datasets


def _load_train_split(library: ModuleType, name_or_folder: str, revision: str | None) -> Any:
    errors = (OSError, ValueError, RuntimeError, library.exceptions.DatasetsError)
    try:
        return library.load_dataset(name_or_folder, split="train", revision=revision)
    except errors as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{name_or_folder}: not a dataset that can be loaded with a train split from the hub "
            f"or a folder ({reason[:300]})."
        ) from error


def _class_name(number: Any, names: list[str]) -> str | None:
    """The name of a class number; None for a missing one, which the hub writes as -1 or null."""
    return names[int(number)] if number >= 0 else None
