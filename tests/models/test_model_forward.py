import torch
from torch.testing import assert_close

from distillscale.models.batches import pad
from distillscale.models.forward import hidden_states, project


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
