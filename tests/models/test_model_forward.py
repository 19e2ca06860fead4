import pytest
import torch
from torch import nn
from torch.testing import assert_close
from transformers import AutoConfig, AutoModelForCausalLM

from distillscale.errors import InputError
from distillscale.models.batches import pad
from distillscale.models.forward import head_of, hidden_states, project
from distillscale.models.teacher_logits import FullLogits, TopLogProbs


def test_body_and_head_together_are_the_model(tiny_model, prompts):
    for tied in (True, False):
        model = tiny_model(tied=tied)
        ids, mask = pad(prompts, 0)
        with torch.no_grad():
            hidden = hidden_states(model, ids, mask)
            whole = model(input_ids=ids, attention_mask=mask).logits
        assert hidden.shape == (*ids.shape, 32)
        assert_close(project(model, hidden), whole)


def test_padding_on_the_right_changes_no_real_position(tiny_model, prompts):
    model = tiny_model()
    ids, mask = pad(prompts, 0)
    with torch.no_grad():
        together = hidden_states(model, ids, mask)
        for row, prompt in enumerate(prompts):
            alone = hidden_states(model, *pad([prompt], 0))
            assert_close(together[row, : len(prompt)], alone[0], atol=1e-5, rtol=1e-4)


def tiny(model_type: str, **changes):
    sizes = {
        "vocab_size": 60,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "pad_token_id": 0,
    }
    torch.manual_seed(1)
    config = AutoConfig.for_model(model_type, **{**sizes, **changes})
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("softcap", [2.0, None])
def test_a_head_bounds_logits_as_its_model_does(softcap):
    model = tiny("gemma2", head_dim=8, final_logit_softcapping=softcap, tie_word_embeddings=False)
    with torch.no_grad():
        model.lm_head.weight.mul_(200)
    ids, mask = torch.tensor([[5, 9, 2, 40]]), torch.ones(1, 4, dtype=torch.long)
    with torch.no_grad():
        logits = project(model, hidden_states(model, ids, mask))
        assert_close(logits, model(input_ids=ids, attention_mask=mask).logits)
    assert (logits.abs().max() <= 2.0) == (softcap is not None)


def test_a_head_is_the_model_s_own_weights(tiny_model):
    model = tiny_model(tied=True)
    head = head_of(model)
    assert head.weight is model.get_input_embeddings().weight
    assert head.vocabulary == 60
    assert head.bias is None


@pytest.mark.parametrize(
    ("model_type", "changes", "field"),
    [
        ("cohere", {"logit_scale": 0.0625}, "logit_scale"),
        ("granite", {"logits_scaling": 8.0}, "logits_scaling"),
    ],
)
def test_a_model_that_scales_its_logits_otherwise_is_refused(model_type, changes, field):
    with pytest.raises(InputError, match=rf"{model_type}.*`{field}` = {changes[field]}"):
        head_of(tiny(model_type, **changes))
    assert head_of(tiny(model_type, **{field: 1.0})).softcap is None


def test_a_model_without_a_linear_output_layer_is_refused(tiny_model):
    model = tiny_model(tied=False)
    model.set_output_embeddings(nn.Sequential(model.lm_head))
    with pytest.raises(InputError, match=r"output layer \(qwen3\) is a Sequential"):
        head_of(model)


def test_teacher_predictions_can_be_selected_and_moved(tiny_model):
    head = head_of(tiny_model())
    full = FullLogits(torch.randn(4, 32), head)
    top = TopLogProbs(
        torch.arange(8).view(4, 2), torch.randn(4, 2), torch.randn(4), 1.0, head.vocabulary
    )
    chosen = torch.tensor([2, 0])
    assert torch.equal(full.select(chosen).hidden, full.hidden[[2, 0]])
    assert torch.equal(full.select(slice(1, 3)).hidden, full.hidden[[1, 2]])
    assert top.select(chosen).tokens.tolist() == [[4, 5], [0, 1]]
    assert torch.equal(top.select(chosen).log_rest, top.log_rest[[2, 0]])
    assert top.select(chosen).positions == full.select(chosen).positions == 2
    moved = [teacher.to(torch.device("meta")) for teacher in (full, top)]
    assert moved[0].hidden.is_meta
    assert moved[0].head.weight.is_meta
    assert moved[1].log_rest.is_meta
    assert moved[1].vocabulary == full.vocabulary
