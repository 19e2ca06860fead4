"""MMLU and MMLU-Pro from files against the harness's own tasks with the same rows."""

import json
import logging
import shutil
from pathlib import Path

import datasets
import lm_eval
import numpy as np
import pandas as pd
import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from distillscale.evaluation.harness_backend import hf_backend
from distillscale.evaluation.harness_catalogue import load_benchmark, local_rows
from distillscale.evaluation.harness_import import import_questions
from distillscale.evaluation.harness_run import run_tasks, score_benchmark
from question_folders import CATEGORIES, SUBJECTS, write_mmlu, write_mmlu_pro

SHARED = Path(__file__).parents[3] / "shared" / "data"
ANSWER_TOKENS = 12


@pytest.fixture(scope="module")
def mmlu(tmp_path_factory) -> Path:
    return write_mmlu(tmp_path_factory.mktemp("mmlu"))


@pytest.fixture(scope="module")
def mmlu_pro(tmp_path_factory) -> Path:
    return write_mmlu_pro(tmp_path_factory.mktemp("mmlu_pro"))


def serve(monkeypatch, folder: Path) -> None:
    """Let the harness's own download find the rows of a folder, read by another reader."""

    def hub(path: str, name: str | None = None, **_: object) -> datasets.DatasetDict:
        if path == "TIGER-Lab/MMLU-Pro":
            return datasets.DatasetDict(
                {
                    split: datasets.Dataset.from_pandas(
                        pd.read_parquet(folder / f"{split}.parquet")
                    )
                    for split in ("validation", "test")
                }
            )
        assert path == "cais/mmlu"
        splits = {}
        for split in ("dev", "test"):
            table = pd.read_csv(
                folder / split / f"{name}_{split}.csv", dtype=str, keep_default_na=False
            )
            choices = [f"choice{n}" for n in range(4)]
            rows = pd.DataFrame(
                {
                    "question": table["question"],
                    "choices": table[choices].to_numpy().tolist(),
                    "answer": table["answer"].astype(int),
                }
            )
            splits[split] = datasets.Dataset.from_pandas(rows)
        return datasets.DatasetDict(splits)

    monkeypatch.setattr(datasets, "load_dataset", hub)


def harness_own(monkeypatch, folder, model, tokenizer, name, **options):
    """The harness's own run of a benchmark: its entry point, defaults and aggregation."""
    serve(monkeypatch, folder)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    own_tasks = Path(lm_eval.__file__).parent / "tasks" / name
    manager = TaskManager(include_defaults=False, include_path=str(own_tasks))
    wrapped = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8)
    result = lm_eval.simple_evaluate(
        model=wrapped, tasks=[name], task_manager=manager, bootstrap_iters=0, **options
    )
    monkeypatch.undo()
    return result


def test_mmlu_from_files_is_the_harness_own(model, tokenizer, mmlu, monkeypatch):
    theirs = harness_own(monkeypatch, mmlu, model, tokenizer, "mmlu", num_fewshot=5)
    benchmark = load_benchmark("mmlu", questions=mmlu)
    backend = hf_backend(model, tokenizer, batch_size=8)
    tasks = benchmark.tasks
    assert tasks.keys() == theirs["samples"].keys() == {f"mmlu_{name}" for name in SUBJECTS}
    ours = run_tasks(backend, {name: tasks[name] for name in list(tasks)[::6]})
    for name, log in ours.items():
        own = sorted(theirs["samples"][name], key=lambda sample: sample["doc_id"])
        for mine, sample in zip(log, own, strict=True):
            assert mine["arguments"] == sample["arguments"]
            assert mine["acc"] == sample["acc"]
            np.testing.assert_allclose(
                [response[0] for response in mine["filtered_resps"]],
                [response[0] for response in sample["filtered_resps"]],
                atol=1e-5,
                rtol=0,
            )
    score = score_benchmark(backend, benchmark)
    assert score.accuracy == pytest.approx(theirs["results"]["mmlu"]["acc,none"])
    assert (score.questions, score.asked, score.shots) == (114, 114, 5)
    assert (score.chance, score.limit_error, score.truncated) == (pytest.approx(0.25), 0, 0)
    by_subject = {item.subject: item.right / item.asked for item in score.subjects}
    own = {name: theirs["results"][f"mmlu_{name}"]["acc,none"] for name in SUBJECTS}
    assert by_subject == pytest.approx(own)
    # The harness's own error pools the subjects' variances, ours adds them up.
    spread = [item.right / item.asked for item in score.subjects]
    assert 0 < score.standard_error < 0.1 < np.std(spread)


def test_mmlu_pro_from_files_is_the_harness_own(model, tokenizer, mmlu_pro, monkeypatch):
    theirs = harness_own(
        monkeypatch, mmlu_pro, model, tokenizer, "mmlu_pro",
        gen_kwargs={"max_gen_toks": ANSWER_TOKENS},
    )  # fmt: skip
    benchmark = load_benchmark("mmlu_pro", questions=mmlu_pro, max_new_tokens=ANSWER_TOKENS)
    backend = hf_backend(model, tokenizer, batch_size=8)
    ours = run_tasks(backend, benchmark.tasks)
    assert len(ours) == len(CATEGORIES) == 14
    for name, log in ours.items():
        own = sorted(theirs["samples"][name], key=lambda sample: sample["doc_id"])
        for mine, sample in zip(log, own, strict=True):
            for field in ("arguments", "resps", "filtered_resps", "exact_match", "target"):
                assert mine[field] == sample[field]
    prompts = [sample["arguments"][0][0] for log in ours.values() for sample in log]
    assert {prompt.count("Let's think step by step.") for prompt in prompts} == {6}


def test_scores_do_not_move_with_the_batch_size(model, tokenizer, mmlu, mmlu_pro):
    names = {"mmlu": mmlu, "mmlu_pro": mmlu_pro}
    found: dict[int, list[float]] = {}
    texts: dict[int, list[str]] = {}
    loaded = {
        name: load_benchmark(name, questions=folder, max_new_tokens=ANSWER_TOKENS).tasks
        for name, folder in names.items()
    }
    for size in (1, 5):
        backend = hf_backend(model, tokenizer, batch_size=size)
        found[size], texts[size] = [], []
        for name, tasks in loaded.items():
            some = dict(list(tasks.items())[:3])
            for log in run_tasks(backend, some).values():
                for sample in log:
                    if name == "mmlu":
                        found[size] += [response[0] for response in sample["filtered_resps"]]
                    else:
                        texts[size] += sample["resps"][0]
    np.testing.assert_allclose(found[1], found[5], atol=1e-4, rtol=0)
    assert texts[1] == texts[5]


@pytest.mark.parametrize("name", ["mmlu", "mmlu_pro"])
def test_an_imported_folder_is_a_task_of_the_harness(name, mmlu, mmlu_pro, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    questions = {"mmlu": mmlu, "mmlu_pro": mmlu_pro}[name]
    out = tmp_path / "imported"
    tests = import_questions(name, questions, out)
    own_tasks = Path(lm_eval.__file__).parent / "tasks" / name
    manager = TaskManager(include_defaults=False, include_path=[str(own_tasks), str(out)])
    loaded = manager.load(f"{name}_local")
    group = loaded["groups"][f"{name}_local"]
    assert group.aggregate_metric_list[0].weight_by_size
    assert local_rows(name, out) == local_rows(name, questions)  # a question folder too
    direct = load_benchmark(name, questions=questions)
    for task in list(direct.tasks)[::8]:
        other = loaded["tasks"][task]
        other.set_config(key="num_fewshot", value=5)
        other.set_fewshot_seed(seed=0)
        assert requests_of(other) == requests_of(direct.tasks[task])
    assert tests == (114 if name == "mmlu" else 35)
    written = json.loads((out / f"{name}_local.yaml").read_text().split("\n", 1)[1])
    assert len(written["task"]) == len(direct.tasks)


def test_solved_questions_from_another_place_give_the_harness_own_prompts(
    mmlu_pro, tmp_path, monkeypatch
):
    questions, solved = tmp_path / "questions", tmp_path / "solved.parquet"
    questions.mkdir()
    shutil.copy(mmlu_pro / "test.parquet", questions)
    shutil.copy(mmlu_pro / "validation.parquet", solved)
    import_questions("mmlu_pro", questions, tmp_path / "task", solved)
    own_tasks = str(Path(lm_eval.__file__).parent / "tasks" / "mmlu_pro")
    paths = [own_tasks, str(tmp_path / "task")]
    manager = TaskManager(include_defaults=False, include_path=paths)
    imported = manager.load("mmlu_pro_local")["tasks"]
    serve(monkeypatch, mmlu_pro)
    theirs = TaskManager(include_defaults=False, include_path=own_tasks).load("mmlu_pro")["tasks"]
    assert imported.keys() == theirs.keys()
    for name, task in theirs.items():
        wanted = requests_of(task)
        assert requests_of(imported[name]) == wanted
        assert {prompt.count("Let's think step by step.") for prompt, _ in wanted} == {6}


def requests_of(task, limit: int | None = None) -> list[tuple[object, ...]]:
    task.build_all_requests(limit=limit)
    return [instance.args for instance in task.instances]


@pytest.mark.skipif(not (SHARED / "mmlu").is_dir(), reason="../shared/data/mmlu is not here")
def test_real_mmlu_prompts_are_the_harness_own(monkeypatch):
    folder = SHARED / "mmlu"
    benchmark = load_benchmark("mmlu", questions=folder)
    assert sum(len(task.eval_docs) for task in benchmark.tasks.values()) == 14_042
    serve(monkeypatch, folder)
    own_tasks = Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "default"
    manager = TaskManager(include_defaults=False, include_path=str(own_tasks))
    for name, task in manager.load(manager.all_subtasks[::9])["tasks"].items():
        task.set_config(key="num_fewshot", value=5)
        assert list(task.eval_docs["answer"]) == list(benchmark.tasks[name].eval_docs["answer"])
        assert requests_of(task, 4) == requests_of(benchmark.tasks[name], 4)


@pytest.mark.skipif(
    not (SHARED / "mmlu_pro").is_dir(), reason="../shared/data/mmlu_pro is not here"
)
def test_real_mmlu_pro_is_asked_without_its_missing_solutions():
    benchmark = load_benchmark("mmlu_pro", questions=SHARED / "mmlu_pro", shots=0)
    sizes = {task.config.task_alias: len(task.eval_docs) for task in benchmark.tasks.values()}
    assert sum(sizes.values()) == 12_032
    assert (sizes["math"], sizes["history"], benchmark.shots) == (1351, 381, 0)
