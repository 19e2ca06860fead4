import pytest

from distillscale.models.size import model_size

# Of the tiny model, by hand: two layers of two norms of 32, query and output 32 x 32, key and
# value 32 x 16, two head norms of 8, and three MLP projections of 32 x 48; then the last norm.
LAYER = 2 * 32 + 2 * 32 * 32 + 2 * 32 * 16 + 2 * 8 + 3 * 32 * 48
BODY = 2 * LAYER + 32
TABLE = 60 * 32


@pytest.mark.parametrize(("tied", "tables"), [(True, 1), (False, 2)])
def test_embeddings_are_counted_once_and_apart(tiny_model, tied, tables):
    size = model_size(tiny_model(tied=tied))
    assert size.params == BODY
    assert size.params_with_embeddings == BODY + tables * TABLE


def test_frozen_weights_count(tiny_model):
    model = tiny_model()
    model.requires_grad_(False)
    assert model_size(model).params == BODY
