from pathlib import Path

import pytest

from distillscale.errors import InputError
from distillscale.studies.study_file import Study, read_study

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))

MINIMAL = """\
name: tiny
dataset: {validation: 20, test: 40, questions: 30}
distillation:
  steps: 10
  batch_size: 8
  learning_rate: {logit: 1e-3, lora: 2}
grids:
  - tasks: [fin-headlines]
    configurations: [logit-label, pruned-only]
    schedules:
      - {kind: uniform, stages: 5, prune_ratio: 0.16}
      - {kind: explicit, prune_ratios: [0.5, 0.2]}
    dataset_sizes: [100, 300]
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def complaint(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_study(path)
    return str(caught.value).replace(str(path), "FILE")


def test_a_minimal_study_gets_defaults(write):
    study = read_study(write(MINIMAL))
    assert study.teacher.model == "lab"
    assert study.distillation.learning_rate.logit == 1e-3
    assert study.distillation.learning_rate.lora == 2.0
    assert study.evaluation.benchmarks == ("lab_facts", "lab_joins")
    assert study.grids[0].thinking == ("brief",)
    assert study.grids[0].seeds == (0,)
    assert study.train_examples == 300


def test_a_study_is_immutable_and_equal_by_value(write):
    study = read_study(write(MINIMAL))
    with pytest.raises(ValueError, match="frozen"):
        study.name = "other"
    assert study == Study.model_validate_json(study.model_dump_json())


CASES = [
    ("seed: 1\nname", "FILE:1: unknown key `seed`; it must be one of name, teacher, dataset, "
     "annotation, pruning, distillation, evaluation, baselines, grids."),
    ("teecher: {}\nname", "FILE:1: unknown key `teecher`; did you mean `teacher`?"),
]  # fmt: skip


@pytest.mark.parametrize(("start", "sentence"), CASES)
def test_unknown_key_at_the_top(write, start: str, sentence: str):
    assert complaint(write(MINIMAL.replace("name", start, 1))) == sentence


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("batch_size", "bach_size", "FILE:5: unknown key `distillation.bach_size`; did you mean "
         "`batch_size`?"),
        ("stages: 5", "stage: 5", "FILE:11: unknown key `grids[0].schedules[0].stage`; did you "
         "mean `stages`?"),
        ("logit: 1e-3", "logit: high", 'FILE:6: `distillation.learning_rate.logit` is "high"; it '
         "should be a valid number."),
        ("logit: 1e-3", "logit: -1e-3", "FILE:6: `distillation.learning_rate.logit` is -0.001; "
         "it should be greater than 0."),
        ("logit: 1e-3", "logit: .nan", "FILE:6: `distillation.learning_rate.logit` is NaN; it "
         "should be a finite number."),
        ("steps: 10", 'steps: "10"', 'FILE:4: `distillation.steps` is "10"; it should be a valid '
         "integer."),
        ("steps: 10", "steps: true", "FILE:4: `distillation.steps` is true; it should be a valid "
         "integer."),
        ("  steps: 10\n", "", "FILE:3: `distillation.steps` is missing: Optimizer steps of each "
         "stage."),
        ("name: tiny\n", "", "FILE:1: `name` is missing: Name of the study in tables and folders: "
         "letters, digits, `.`, `_`, `-`."),
        ("kind: uniform", "kind: unifrom", 'FILE:11: `grids[0].schedules[0].kind` is "unifrom"; '
         "did you mean `uniform`?"),
        ("kind: uniform, ", "", "FILE:11: `grids[0].schedules[0].kind` is missing: it must be one "
         "of decayed, explicit, oneshot, uniform."),
        ("stages: 5", "stages: 1", "FILE:11: `grids[0].schedules[0].stages` is 1; it should be "
         "greater than or equal to 2."),
        ("prune_ratio: 0.16", "prune_ratio: 16", "FILE:11: `grids[0].schedules[0].prune_ratio` is "
         "16; it should be less than 1."),
        ("[0.5, 0.2]", "[0.5, 0.6]", "FILE:12: `grids[0].schedules[1].prune_ratios`: each ratio "
         "must be smaller than the one before it."),
        ("logit-label", "logit-labels", 'FILE:9: `grids[0].configurations[0]` is "logit-labels"; '
         "did you mean `logit-label`?"),
        ("logit-label", "lora-blended", "FILE:1: grids[0].configurations has `lora-blended`, but "
         "with distillation.lora_objective `cross_entropy` LoRA trains on the teacher's text and "
         "has no divergence to blend; write `lora-cot`, or `lora_objective: divergence`."),
        ("steps: 10", "steps: 10\n  on_policy: 0.5", "FILE:3: `distillation`: `on_policy` is 0.5 "
         "but the teacher is `cached`, and only one that runs while the student trains can tell "
         "what this needs; write `teacher: online`."),
        ("steps: 10", "steps: 10\n  jensen_shannon_beta: 1.0", "FILE:5: "
         "`distillation.jensen_shannon_beta` is 1.0; it should be less than 1."),
        ("[100, 300]", "[]", "FILE:13: `grids[0].dataset_sizes` is []; it should have at least 1 "
         "item."),
        ("[100, 300]", "[0, 300]", "FILE:13: `grids[0].dataset_sizes[0]` is 0; it should be "
         "greater than 0."),
        ("[100, 300]", "100", "FILE:13: `grids[0].dataset_sizes` is 100; it should be a list."),
        ("grids:", "baselines: {models: [tfid]}\ngrids:", 'FILE:7: `baselines.models[0]` is '
         '"tfid"; did you mean `tfidf`?'),
        ("grids:", "baselines: {models: [tfidf], encoder: bert}\ngrids:", "FILE:7: `baselines`: "
         "`encoder` is `bert`, but `encoder` is not among the models (tfidf); add it there, or "
         "leave this out."),
        ("grids:", "evaluation: {hourly_price: 0}\ngrids:", "FILE:7: `evaluation.hourly_price` is "
         "0; it should be greater than 0."),
        ("{logit: 1e-3, lora: 2}", "3", "FILE:6: `distillation.learning_rate` is 3; it should be "
         "a mapping."),
        ("steps: 10", "steps: 10\n  teacher: online\n  teacher_top_k: 8", "FILE:3: `distillation`: "
         "`teacher_top_k` is 8 but an `online` teacher gives its exact distribution; leave "
         "`teacher_top_k` out or write `teacher: cached`."),
        ("steps: 10", "steps: 10\n  teacher_top_k: 1", "FILE:5: `distillation.teacher_top_k` is 1; "
         "it should be greater than or equal to 2."),
        ("distillation:", "annotation: {filter: all}\ndistillation:\n  gold_mixing: 0.3",
         "FILE:1: distillation.gold_mixing is 0.3, but with annotation.filter `all` the teacher's "
         "wrong answers would be taken for gold; write `filter: gold` or `filter: agree`, or "
         "leave `gold_mixing` out."),
        ("{validation", "{train: 200, validation", "FILE:1: grids[0].dataset_sizes asks for 300 "
         "examples, but dataset.train is 200; it must be at least as large."),
        ("{validation", "{source: a.csv, validation", "FILE:2: `dataset`: source `a.csv` needs "
         "`text_column` and `label_column`, the names of its columns with the inputs and the gold "
         "labels."),
        ("{validation", "{text_column: t, validation", "FILE:2: `dataset`: source `lab` takes no "
         "`text_column`, `label_column` or `test_source`; leave them out."),
        ("name: tiny", "name: a/b", 'FILE:1: `name` is "a/b"; it should match pattern '
         "'^[A-Za-z0-9][A-Za-z0-9._-]*$'."),
        ("grids:", "distillation: {}\ngrids:", "FILE:7: not valid YAML, found duplicate key "
         '"distillation" with value "{}" (original value: "{}").'),
        ("steps: 10", "steps: [10", "FILE:5: not valid YAML, expected ',' or ']', but got ':'."),
    ],
)  # fmt: skip
def test_every_error_is_one_sentence_with_its_place(write, old: str, new: str, sentence: str):
    assert old in MINIMAL
    assert complaint(write(MINIMAL.replace(old, new, 1))) == sentence


def test_lora_can_blend_where_it_minimizes_a_divergence(write):
    text = MINIMAL.replace("logit-label", "lora-blended")
    study = read_study(write(text.replace("steps: 10", "steps: 10\n  lora_objective: divergence")))
    assert study.grids[0].configurations == ("lora-blended", "pruned-only")


@pytest.mark.parametrize(("kept", "share"), [("all", 0), ("agree", 0.3), ("gold", 0.3)])
def test_gold_can_be_mixed_in_where_answers_are_gold(write, kept: str, share: float):
    changed = f"annotation: {{filter: {kept}}}\ndistillation:\n  gold_mixing: {share}"
    study = read_study(write(MINIMAL.replace("distillation:", changed)))
    assert (study.annotation.filter, study.distillation.gold_mixing) == (kept, share)


def test_settings_that_no_cell_reads_are_refused(write):
    text = MINIMAL.replace("logit-label", "lora-label")
    rollouts = "steps: 10\n  on_policy: 0.5\n  teacher: online"
    said = complaint(write(text.replace("steps: 10", rollouts)))
    assert "distillation.on_policy is 0.5, but no configuration compares the student" in said
    read_study(write(MINIMAL.replace("steps: 10", rollouts)))


@pytest.mark.parametrize(
    ("configurations", "models", "sentence"),
    [
        ("pruned-only", "tfidf", "the task `fin-headlines` has no configuration that is distilled"),
        (
            "lora-label, pruned-only",
            "same-shape-distilled",
            "`same-shape-distilled`, but the task `fin-headlines` has no `logit-` configuration",
        ),
    ],
)
def test_baselines_need_a_student_to_follow(write, configurations, models, sentence):
    text = MINIMAL.replace("logit-label, pruned-only", configurations)
    asked = text.replace("grids:", f"baselines: {{models: [{models}]}}\ngrids:")
    assert sentence in complaint(write(asked))
    assert read_study(write(text)).baselines.models == ()


def test_all_errors_are_told_at_once_in_the_order_of_the_file(write):
    text = MINIMAL.replace("steps", "stepps").replace("uniform", "unifrm").replace("100", "x")
    lines = complaint(write(text)).splitlines()
    assert [line.split(": ")[0] for line in lines] == ["FILE:4", "FILE:11", "FILE:13"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a list\n", "FILE:1: the file must be a mapping of keys to values."),
        ("", "FILE:1: the file must be a mapping of keys to values."),
    ],
)
def test_a_file_that_is_no_study(write, text: str, sentence: str):
    assert complaint(write(text)).startswith(sentence)


def test_a_missing_or_binary_file(tmp_path: Path):
    assert complaint(tmp_path / "none.yaml").endswith("there is no such file.")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "not a readable UTF-8 text file" in complaint(tmp_path / "binary.yaml")
    assert "not a readable UTF-8 text file" in complaint(tmp_path)


def test_yaml_tags_run_no_code(write):
    text = MINIMAL.replace("name: tiny", 'name: !!python/object/apply:os.system ["exit 3"]')
    assert "not valid YAML" in complaint(write(text))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_the_studies_that_we_bring_are_valid(path: Path):
    assert read_study(path).name == path.stem


def test_the_schema_describes_every_field():
    schema = Study.model_json_schema()
    for section in [schema, *schema["$defs"].values()]:
        for name, field in section["properties"].items():
            assert name == "kind" or field.get("description", "").endswith("."), name
        assert section["additionalProperties"] is False
