import contextlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from distillscale.errors import InputError
from distillscale.models.checkpoint import (
    load_config,
    load_model,
    load_tokenizer,
    save_checkpoint,
)

WEIGHTS = "model.safetensors"
CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path, tiny_model, tokenizer, monkeypatch):
    """A good checkpoint; nothing may be looked up on the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    path = tmp_path / "checkpoint"
    save_checkpoint(tiny_model(), tokenizer, path)
    return path


def complaint(load, source):
    with pytest.raises(InputError) as caught:
        load(source)
    text = str(caught.value)
    assert text.startswith(f"{source}: ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("tied", [True, False])
def test_a_saved_checkpoint_is_an_ordinary_folder(tmp_path, tiny_model, tokenizer, prompts, tied):
    model = tiny_model(tied=tied)
    save_checkpoint(model, tokenizer, tmp_path)
    ids = torch.tensor([prompts[0]])
    with torch.no_grad():
        expected = model(ids).logits
        for loaded in (
            load_model(tmp_path, device=CPU),
            AutoModelForCausalLM.from_pretrained(tmp_path),
        ):
            assert torch.equal(loaded(ids).logits, expected)
    for again in (load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        assert again("w5 w9")["input_ids"] == [5, 9]
        assert (again.pad_token_id, again.eos_token_id) == (0, 1)
    assert {file.suffix for file in tmp_path.iterdir()} <= {".json", ".safetensors", ".jinja"}
    assert load_config(tmp_path).num_hidden_layers == 2


def test_a_model_is_loaded_for_evaluation_in_the_number_format_asked_for(folder):
    model = load_model(folder, dtype=torch.bfloat16, device=CPU)
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_pickled_weights_are_refused(folder):
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    assert "safetensors" in complaint(load_model, folder)


def test_a_missing_pad_token_is_replaced_by_the_end_token(folder):
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["pad_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 1


def test_a_tokenizer_without_an_end_token_is_refused(folder):
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["eos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert "no end-of-sequence token" in complaint(load_tokenizer, folder)


def test_a_folder_without_a_tokenizer_does_not_get_an_empty_one(folder):
    for file in folder.glob("tokenizer*"):
        file.unlink()
    assert "no tokenizer files" in complaint(load_tokenizer, folder)


@pytest.mark.parametrize("config", ["{nonsense", "{}", '{"model_type": "no_such_family"}', "[1]"])
def test_nonsense_for_a_config(folder, config):
    (folder / "config.json").write_text(config)
    complaint(load_model, folder)
    complaint(load_config, folder)


@pytest.mark.parametrize("load", [load_model, load_tokenizer, load_config])
def test_no_checkpoint_at_all(folder, load):
    (folder.parent / "empty").mkdir()
    complaint(load, folder.parent / "empty")
    complaint(load, folder.parent / "nowhere")
    complaint(load, "nobody/no-such-model")


@pytest.mark.parametrize("damage", ["garbage", "cut short", "one weight gone", "wrong shape"])
def test_damaged_weights_are_never_made_up(folder, damage):
    file, name = folder / WEIGHTS, "model.layers.1.mlp.up_proj.weight"
    content, weights = file.read_bytes(), load_file(file)
    if damage == "garbage":
        file.write_bytes(b"garbage" * 100)
    elif damage == "cut short":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "one weight gone":
        del weights[name]
        save_file(weights, file, metadata={"format": "pt"})
    else:
        weights[name] = weights[name][:5].clone()
        save_file(weights, file, metadata={"format": "pt"})
    text = complaint(load_model, folder)
    assert damage != "one weight gone" or f"1 weights are missing, the first is `{name}`" in text


@pytest.mark.parametrize("model_type", ["qwen3", "no_such_family"])
def test_code_that_a_checkpoint_carries_is_never_run(folder, model_type, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: "y")  # transformers asks unless told no
    for name, auto_map in (
        ("config.json", {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["own.Tokenizer", "own.Tokenizer"]}),
    ):
        content = json.loads((folder / name).read_text()) | {"auto_map": auto_map}
        if name == "config.json":
            content["model_type"] = model_type
        (folder / name).write_text(json.dumps(content))
    ran = folder.parent / "ran"
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    for load in (load_model, load_tokenizer, load_config):
        with contextlib.suppress(InputError):
            load(folder)
    assert not ran.exists()


def test_a_copy_of_a_checkpoint_is_the_checkpoint(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    one, other = (load_model(path, device=CPU) for path in (folder, tmp_path / "copy"))
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)
