"""From a study's benchmarks to what an `evaluate` step is told of the harness, and back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distillscale.errors import InputError
from distillscale.evaluation.harness import BenchmarkSettings
from distillscale.evaluation.harness_catalogue import CUSTOMARY_SHOTS, check_benchmark_names
from distillscale.evaluation.question_files import question_files
from distillscale.lab.questions import BENCHMARKS as LAB_BENCHMARKS
from distillscale.studies.sources import Sources, digest
from distillscale.studies.study_file import Study


def harness_recipe(
    study: Study, benchmarks: Sequence[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters of a step that asks the harness, and where its question folders lie.

    Folders stand in the parameters by their digests. Without a benchmark of the harness both are
    empty.

    Raises:
        InputError: the harness is not installed or does not know a name, or a folder holds no
            question files.
    """
    names = [name for name in benchmarks if name not in LAB_BENCHMARKS]
    if not names:
        return {}, {}
    check_benchmark_names(names)
    section = study.evaluation.harness
    folders = {name: path for name, path in section.questions.items() if name in names}
    digests = {name: _folder_digest(name, Path(path)) for name, path in folders.items()}
    shots = CUSTOMARY_SHOTS | dict(section.shots)
    recipe = {
        "questions": digests,
        "shots": {name: shots[name] for name in names if name in shots},
        "max_new_tokens": section.max_new_tokens,
        "backend": section.backend,
    }
    if section.backend == "hf":  # vLLM makes its own batches
        recipe["batch_size"] = section.batch_size
    if section.limit is not None:
        recipe |= {"limit": section.limit, "seed": study.dataset.seed}
    return recipe, {digests[name]: str(Path(path).absolute()) for name, path in folders.items()}


def benchmark_settings(recipe: Mapping[str, Any], sources: Sources) -> BenchmarkSettings:
    """What a step was told, with the folders as they lie on this machine.

    Raises:
        InputError: a folder has changed since the study was planned.
    """
    return BenchmarkSettings(
        questions={name: sources.path(content) for name, content in recipe["questions"].items()},
        shots=recipe["shots"],
        limit=recipe.get("limit"),
        max_new_tokens=recipe["max_new_tokens"],
        draw_seed=recipe.get("seed", 0),
    )


def _folder_digest(name: str, folder: Path) -> str:
    if not folder.is_dir() or not question_files(folder):
        raise InputError(
            f"evaluation.harness.questions.{name} `{folder}` is no folder with question files; "
            "docs/knowledge.md says what they look like."
        )
    return digest(folder)
