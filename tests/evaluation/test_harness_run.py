"""Scores of benchmarks: limits, unparsed and truncated answers, position bias, refusals."""

import json
import sys

import datasets
import evaluate
import lm_eval.api.model
import numpy as np
import pytest
import torch

from distillscale.errors import InputError
from distillscale.evaluation.harness import (
    BenchmarkSettings,
    benchmark_measurements,
    harness_benchmarks,
)
from distillscale.evaluation.harness_backend import hf_backend, vllm_backend
from distillscale.evaluation.harness_catalogue import check_benchmark_names, load_benchmark
from distillscale.evaluation.harness_run import score_benchmark
from question_folders import write_mmlu, write_mmlu_pro


class Scripted(lm_eval.api.model.LM):
    """Answers as told: texts by a function of the prompt, log-likelihoods by one of the choice."""

    def __init__(self, text=lambda prompt: "", likelihood=lambda choice: 0.0, max_length=100_000):
        super().__init__()
        self.max_gen_toks = 256  # the harness's own backends have it too
        self.text, self.likelihood, self.max_length = text, likelihood, max_length
        self.prompts = []

    def tok_encode(self, text):
        return list(text.encode())

    def loglikelihood(self, requests):
        self.prompts += [request.args[0] for request in requests]
        return [(self.likelihood(request.args[1]), False) for request in requests]

    def generate_until(self, requests):
        return [self.text(request.args[0]) for request in requests]

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError


@pytest.fixture(scope="module")
def mmlu(tmp_path_factory):
    return write_mmlu(tmp_path_factory.mktemp("mmlu"))


@pytest.fixture(scope="module")
def mmlu_pro(tmp_path_factory):
    return write_mmlu_pro(tmp_path_factory.mktemp("mmlu_pro"))


@pytest.fixture(scope="module")
def unprompted(mmlu):
    return load_benchmark("mmlu", questions=mmlu, shots=0)


def answers_of(benchmark):
    """The right answers of the test questions of every subject."""
    tasks = benchmark.tasks.values()
    return np.array([answer for task in tasks for answer in task.eval_docs["answer"]])


def test_a_model_that_always_says_b_is_found_out(unprompted):
    always_b = Scripted(likelihood=lambda choice: float(choice == " B"))
    score = score_benchmark(always_b, unprompted)
    gold = answers_of(unprompted)
    assert score.accuracy == pytest.approx((gold == 1).mean())
    shares = [position.answered for position in score.positions.positions]
    assert shares == [0, 1, 0, 0]
    assert [position.gold for position in score.positions.positions] == pytest.approx(
        [(gold == letter).mean() for letter in range(4)]
    )
    assert [position.accuracy for position in score.positions.positions] == [0, 1, 0, 0]
    assert score.positions.largest_deviation == pytest.approx((gold != 1).mean())
    assert score.positions.p_value < 1e-10


def test_texts_without_an_answer_are_counted_and_wrong(mmlu_pro):
    benchmark = load_benchmark("mmlu_pro", questions=mmlu_pro, shots=0)
    score = score_benchmark(Scripted(text=lambda _: "I cannot tell: A, B or (C)."), benchmark)
    assert (score.unparsed, score.asked, score.accuracy) == (35, 35, 0)
    assert score.positions.largest_deviation is None
    score = score_benchmark(
        Scripted(text=lambda p: "The answer is (C)." if "1789" in p else "Who knows?"), benchmark
    )
    rows = [doc for task in benchmark.tasks.values() for doc in task.eval_docs]
    asked = [row for row in rows if "1789" in row["question"] + " ".join(row["options"])]
    assert 0 < score.unparsed == 35 - len(asked) < 35
    right = sum(row["answer"] == "C" for row in asked)
    assert score.accuracy == pytest.approx(right / 35)
    assert score.chance == pytest.approx(np.mean([1 / len(row["options"]) for row in rows]))
    assert sum(position.answered for position in score.positions.positions) == pytest.approx(1)


def test_a_limit_draws_the_same_questions_for_every_model(unprompted):
    asked = []
    for seed in (0, 0, 1):
        model = Scripted()
        score = score_benchmark(model, unprompted, limit=1, draw_seed=seed)
        asked.append(model.prompts)
        assert (score.asked, score.questions) == (57, 114)
        assert 0 < score.limit_error < score.standard_error
    assert asked[0] == asked[1] != asked[2]


def test_a_limit_estimates_the_whole_benchmark(unprompted):
    """Subjects weigh as many questions as they have, not as many as were asked."""
    always_a = Scripted(likelihood=lambda choice: float(choice == " A"))
    score = score_benchmark(always_a, unprompted, limit=2)
    weighted = sum(item.right / item.asked * item.questions for item in score.subjects) / 114
    assert score.accuracy == pytest.approx(weighted)
    assert score.asked == 19 * (1 + 2 + 2)
    spread = np.std(score.replicates)
    assert 0.5 < spread / score.standard_error < 2
    whole = score_benchmark(always_a, unprompted, limit=10)
    assert whole.accuracy == pytest.approx((answers_of(unprompted) == 0).mean())
    assert whole.limit_error == 0


def test_prompts_that_lose_their_beginning_are_counted(mmlu):
    benchmark = load_benchmark("mmlu", questions=mmlu)
    roomy = Scripted()
    assert score_benchmark(roomy, benchmark).truncated == 0
    lengths = sorted(len(prompt.encode()) + len(" A") for prompt in roomy.prompts[::4])
    # A context of n tokens takes n + 1: the last one is predicted, not read.
    tight = Scripted(max_length=lengths[50] - 1)
    expected = sum(length > lengths[50] for length in lengths)
    assert score_benchmark(tight, benchmark).truncated == expected > 50


def test_benchmarks_and_their_mean_are_rows_of_the_results(mmlu, mmlu_pro):
    settings = BenchmarkSettings(
        questions={"mmlu": mmlu, "mmlu_pro": mmlu_pro}, shots={"mmlu": 1}, max_new_tokens=8
    )
    scores = harness_benchmarks(
        Scripted(text=lambda _: "answer is A"), ["mmlu", "mmlu_pro"], settings
    )
    assert [score.shots for score in scores] == [1, 5]
    one, two, general = benchmark_measurements(scores)
    assert (one.metric, two.metric, general.metric) == ("mmlu", "mmlu_pro", "general")
    assert general.value == pytest.approx((one.value + two.value) / 2)
    assert general.chance == pytest.approx((one.chance + two.chance) / 2)
    assert len(general.replicates) == 200
    assert "replicates" not in scores[0].as_json()


@pytest.mark.parametrize(
    ("name", "near"), [("arc_eazy", "arc_easy"), ("qqqqqq", "`lm_eval ls tasks`")]
)
def test_an_unknown_name_gets_its_neighbours(name, near):
    with pytest.raises(InputError, match=f"unknown benchmark `{name}`.*{near}"):
        check_benchmark_names(["mmlu", name])


def test_metrics_whose_code_lies_on_the_hub_are_not_run():
    with pytest.raises(InputError, match=r"`humaneval` cannot be loaded .*code_eval.*not run"):
        load_benchmark("humaneval")


def test_more_shots_than_solved_questions_are_refused(mmlu, tmp_path):
    with pytest.raises(InputError, match=r"has 5 solved questions .* fewer than 6 shots"):
        load_benchmark("mmlu", questions=mmlu, shots=6)
    unsolved = write_mmlu_pro(tmp_path, solved=False)
    with pytest.raises(InputError, match=r"has 0 solved questions .* fewer than 5 shots"):
        load_benchmark("mmlu_pro", questions=unsolved)
    assert load_benchmark("mmlu_pro", questions=unsolved, shots=0).shots == 0


def test_an_answer_longer_than_the_context_is_refused(mmlu_pro):
    benchmark = load_benchmark("mmlu_pro", questions=mmlu_pro)
    with pytest.raises(InputError, match=r"lets the model write 2048 tokens, .* has 2048"):
        score_benchmark(Scripted(max_length=2048), benchmark)


@pytest.mark.parametrize(
    ("options", "budget"),
    [({}, 256), ({"max_new_tokens": 9}, 9), ({"max_tokens": 8, "max_gen_toks": 7}, 7)],
)
def test_a_task_that_names_no_length_of_answers_takes_the_backends(mmlu_pro, options, budget):
    benchmark = load_benchmark("mmlu_pro", questions=mmlu_pro, shots=0)
    for task in benchmark.tasks.values():
        task.set_config(key="generation_kwargs", value={"until": ["Question:"], **options})
    with pytest.raises(InputError, match=rf"write {budget} tokens, .* has {budget};"):
        score_benchmark(Scripted(max_length=budget), benchmark)
    roomy = score_benchmark(Scripted(), benchmark)
    tight = score_benchmark(Scripted(max_length=budget + 1), benchmark)
    assert (roomy.truncated, tight.truncated) == (0, tight.asked)


def test_tasks_of_one_alias_are_two_subjects(mmlu):
    benchmark = load_benchmark("mmlu", questions=mmlu, shots=0)
    always_a = Scripted(likelihood=lambda choice: float(choice == " A"))
    apart = score_benchmark(always_a, benchmark)
    for name in ("mmlu_anatomy", "mmlu_astronomy"):
        benchmark.tasks[name].set_config(key="task_alias", value="one")
    score = score_benchmark(always_a, benchmark)
    assert len(score.subjects) == len(apart.subjects) == 57
    assert {"mmlu_anatomy", "mmlu_astronomy"} <= {item.subject for item in score.subjects}
    assert (score.accuracy, score.questions) == (pytest.approx(apart.accuracy), 114)
    assert sum(item.asked for item in score.subjects) == 114


def test_only_mmlu_is_read_from_files(mmlu, tmp_path):
    with pytest.raises(InputError, match="`arc_easy` is not read from question files"):
        load_benchmark("arc_easy", questions=mmlu)
    with pytest.raises(InputError, match="no such folder"):
        load_benchmark("mmlu", questions=tmp_path / "nowhere")


def test_without_vllm_its_backend_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.delitem(sys.modules, "lm_eval.models.vllm_causallms", raising=False)
    with pytest.raises(InputError, match="backend `vllm` needs vLLM, which cannot be imported"):
        vllm_backend(tmp_path)


def test_the_global_random_generators_and_the_hubs_code_loader_are_left_alone(unprompted):
    loader = evaluate.load
    np.random.seed(7)
    expected = np.random.RandomState(7).rand()
    score_benchmark(Scripted(), unprompted, limit=1)
    assert np.random.rand() == expected
    assert evaluate.load is loader


def test_the_model_is_given_back_as_it_was(model, tokenizer, unprompted, mmlu_pro):
    """The study goes on to measure KL and latency with the same model."""
    ids = torch.arange(2, 60)[None]
    before = model(ids).logits
    settings = json.dumps([model.config.to_dict(), model.generation_config.to_dict()], default=str)
    side = tokenizer.padding_side
    backend = hf_backend(model, tokenizer)
    score_benchmark(backend, unprompted, limit=1)
    texts = load_benchmark("mmlu_pro", questions=mmlu_pro, shots=0, max_new_tokens=4)
    score_benchmark(backend, texts, limit=1)
    assert torch.equal(model(ids).logits, before)
    after = json.dumps([model.config.to_dict(), model.generation_config.to_dict()], default=str)
    assert (after, tokenizer.padding_side, model.training) == (settings, side, False)


def serve(monkeypatch, rows):
    table = datasets.Dataset.from_list(rows)
    splits = datasets.DatasetDict(dict.fromkeys(("train", "validation", "test"), table))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: splits)


def test_another_task_by_its_name(monkeypatch):
    rows = [
        {
            "id": str(number),
            "question": f"Why {number}?",
            "choices": {
                "text": [f"because {n}" for n in range(count)],
                "label": list("ABCDE")[:count],
            },
            "answerKey": "ABC"[number % 3],
        }
        for number, count in enumerate([4, 4, 3, 5, 4, 4])
    ]
    serve(monkeypatch, rows)
    benchmark = load_benchmark("arc_easy")
    score = score_benchmark(
        Scripted(likelihood=lambda choice: float(choice.endswith("1"))), benchmark
    )
    assert (score.metric, score.shots, score.asked) == ("acc", 0, 6)
    assert score.accuracy == pytest.approx(2 / 6)
    assert score.chance == pytest.approx(np.mean([1 / 4, 1 / 4, 1 / 3, 1 / 5, 1 / 4, 1 / 4]))
    assert [position.answered for position in score.positions.positions] == [0, 1, 0, 0, 0]
    assert load_benchmark("arc_easy", shots=3).shots == 3
    with pytest.raises(InputError, match=r"`ai2_arc` names 2 tasks .* \(arc_challenge, arc_easy"):
        load_benchmark("ai2_arc")


def test_what_is_no_share_of_right_answers_is_refused(monkeypatch):
    serve(monkeypatch, [{"page": "a page of text"}])
    with pytest.raises(InputError, match=r"`wikitext` reports word_perplexity, .* is no share"):
        load_benchmark("wikitext")
