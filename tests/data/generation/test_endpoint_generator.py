import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fault_proxy import CutBody, CutConnection, Drop, Pass, Reply, fault_proxy
from replies import error, ok, quick
from scripted_writer import Writer
from small_corpus import TASK, recipe_of

from distillscale.data.generation.generators import EndpointGenerator
from distillscale.data.generation.journal import spent_in
from distillscale.data.generation.loop import Run
from distillscale.errors import EndpointFailed
from distillscale.models.endpoint import Budget
from distillscale.tasks import Example
from distillscale.tasks.records import read_records

SMALL = {"target": 120, "batch_size": 60, "generator": "endpoint", "source": "some-model"}
NO_LIMIT = Budget()


def go_on(folder: Path, url, *, budget=NO_LIMIT, model="some-model", **changes):
    recipe = recipe_of(**{**SMALL, "source": model, **changes})
    run = Run(recipe, folder)
    settings = quick(url, concurrency=4)
    generator = EndpointGenerator(
        TASK,
        recipe.rules,
        type(settings)(**{**vars(settings), "model": model}),
        budget,
        folder,
        spent=run.state.usage,
        iteration=run.state.next_iteration,
    )
    return run, run.go_on(generator, min_acceptance=0.02)


def examples_of(folder):
    return read_records(folder / "examples.parquet", Example)


def test_a_corpus_is_written_by_a_chat_model(tmp_path):
    writer = Writer()
    with fault_proxy(None, lambda body, _: writer.reply(body)) as proxy:
        run, outcome = go_on(tmp_path, proxy.url)
    examples = examples_of(tmp_path)
    assert outcome.sentence.startswith("target reached: 120 texts")
    assert {example.source for example in examples} == {"some-model"}
    assert set(writer.answered.values()) == {1}
    assert run.state.usage.requests == len(proxy.seen)
    assert outcome.iterations[-1].tokens == 150 * len(proxy.seen)
    for seen in proxy.seen:
        assert seen.body["temperature"] == 1
        assert seen.body["response_format"]["json_schema"]["schema"]["required"] == ["texts"]
    assert len({(seen.body["seed"]) for seen in proxy.seen}) == len(proxy.seen)


def test_prompts_tell_the_class_its_siblings_and_the_rim_of_its_category(tmp_path):
    writer = Writer()
    with fault_proxy(None, lambda body, _: writer.reply(body)) as proxy:
        run, _ = go_on(tmp_path, proxy.url, target=150, batch_size=80)
    prompts = [seen.body["messages"][-1]["content"] for seen in proxy.seen]
    of_mergers = [own for own in prompts if "of the class `merger`" in own]
    assert all(
        "Two companies agree to combine as equals." in own for own in prompts[:0] + of_mergers
    )
    assert all("- divestiture: " in own and "- strike: " not in own for own in of_mergers)
    assert all("Headline: {text}" in own for own in prompts)
    assert not any("in the data set already" in own for own in prompts[:8])
    assert any("in the data set already" in own for own in prompts[8:])
    texts = {example.text for example in examples_of(tmp_path)}
    shown = [
        line.split(") ", 1)[1]
        for own in prompts
        for line in own.split("nothing close to them:\n")[-1].split("\n\n")[0].splitlines()
        if line.startswith("- (")
    ]
    assert shown
    assert set(shown) <= texts
    assert all(len(rows) <= 2 for rows in run.state.few_shot.values())


TROUBLES = (
    error(429, "slow down", **{"Retry-After": "0"}),
    error(503, "busy"),
    Drop(),
    Reply(200, b'{"choices": ['),
)


def faulty(writer):
    """Each prompt meets another trouble the first time; some never give JSON."""
    numbers: dict[str, int] = {}

    def script(body, attempt):
        prompt = f"{body['messages'][-1]['content']} {body['seed']}"
        number = numbers.setdefault(prompt, len(numbers)) % 6
        if number == 5:
            return ok("I would rather not.")
        if attempt == 0 and number < len(TROUBLES):
            return TROUBLES[number]
        return writer.reply(body)

    return script


def test_faults_leave_the_corpus_complete_and_without_repeats(tmp_path):
    writer = Writer()
    with fault_proxy(None, faulty(writer)) as proxy:
        _, outcome = go_on(tmp_path, proxy.url)
    assert len(examples_of(tmp_path)) == 120
    assert set(writer.answered.values()) == {1}
    letters = [json.loads(line) for line in (tmp_path / "dead_letters.jsonl").open()]
    assert {letter["reason"] for letter in letters} == {"unparsed"}
    assert {letter["text"] for letter in letters} == {"I would rather not."}
    assert len(letters) == sum(own.dead_letters for own in outcome.iterations) > 0
    dropped = pq.read_table(tmp_path / "dropped.parquet").num_rows
    answered = sum(own.drafted for own in outcome.iterations)
    assert answered == 120 + dropped


def test_a_token_budget_stops_the_run_cleanly_and_a_larger_one_goes_on(tmp_path):
    writer = Writer()
    with fault_proxy(None, lambda body, _: writer.reply(body)) as proxy:
        small = Budget(tokens=4_000)
        run, outcome = go_on(tmp_path, proxy.url, budget=small)
        assert "the budget of 4,000 tokens is spent" in outcome.sentence
        first = len(examples_of(tmp_path))
        assert 0 < first < 120
        assert run.state.usage.prompt_ceiling + run.state.usage.completion_ceiling <= 4_000
        _, outcome = go_on(tmp_path, proxy.url)
    assert outcome.sentence.startswith("target reached")
    assert set(writer.answered.values()) == {1}


def test_answers_of_an_interrupted_iteration_are_not_paid_for_again(tmp_path):
    writer = Writer()

    def dies(body, attempt):
        if sum(writer.answered.values()) >= 4:
            return error(401, "no such key")
        return writer.reply(body)

    with fault_proxy(None, dies) as proxy, pytest.raises(EndpointFailed, match="401"):
        go_on(tmp_path, proxy.url)
    journal = tmp_path / "checkpoint" / "journal" / "00001.jsonl"
    with journal.open("a") as file:
        file.write('{"id": "00001-00000')  # what a killed process may leave
    kept = spent_in(journal)
    assert kept.completion_tokens == 50 * sum(writer.answered.values())
    with fault_proxy(None, lambda body, _: writer.reply(body)) as proxy:
        run, outcome = go_on(tmp_path, proxy.url)
    assert outcome.sentence.startswith("target reached")
    assert set(writer.answered.values()) == {1}
    assert run.state.usage.completion_tokens == 50 * sum(writer.answered.values())
    assert not journal.exists()


def test_an_endpoint_that_only_talks_gives_no_draft(tmp_path):
    with fault_proxy(None, lambda body, _: ok("I would rather not.")) as proxy:
        _, outcome = go_on(tmp_path, proxy.url)
    assert "the generator gave no draft (6 requests failed" in outcome.sentence


@pytest.mark.slow
def test_a_real_server_behind_a_faulty_line_fills_the_corpus_without_repeats(tmp_path, lab_server):
    # The lab's teacher cannot write JSON; what it answers is put in its place on the way.
    writer = Writer()
    attempts = Counter()

    def script(body, attempt):
        attempts[attempt] += 1

        def put(document):
            document["choices"][0]["message"]["content"] = writer.content(body)

        fault = (Pass(change=put), CutConnection(0.5), Drop(after_work=True), CutBody(0.3))
        return fault[len(body["messages"][-1]["content"]) % 4] if attempt == 0 else fault[0]

    with fault_proxy(lab_server.port, script) as proxy:
        go_on(tmp_path, proxy.url, model=lab_server.model, target=60, batch_size=40)
    assert attempts[1] > 0
    assert len(examples_of(tmp_path)) == 60
    assert set(writer.answered.values()) == {1}
