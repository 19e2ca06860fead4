import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distillscale.data.embedding import embed, flatten, load_embedder
from distillscale.errors import InputError
from distillscale.lab.examples import lab_examples
from distillscale.lab.world import make_world

TEXTS = [
    "central bank lifts rates",
    "Central bank lifts rates!",
    "central bank lifts rates again",
    "firm recalls kettles after fire",
    "firm recalls kettles after a fire",
    "workers walk out at the plant",
]


@pytest.fixture(scope="module")
def headlines():
    made = lab_examples("fin-headlines", make_world(0), train=200, validation=0, test=0, seed=0)
    return [example.text for example in made]


def test_vectors_have_unit_length_and_the_dimensions_asked_for(headlines):
    vectors = embed(headlines, dimensions=16)
    assert vectors.shape == (200, 16)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(200))


def test_an_embedding_is_decided_by_texts_and_seed(headlines):
    np.testing.assert_array_equal(embed(headlines, seed=1), embed(headlines, seed=1))
    vectors = embed(headlines)
    np.testing.assert_array_equal(flatten(vectors, seed=1), flatten(vectors, seed=1))


def test_near_duplicates_are_close_and_other_texts_far():
    vectors = embed(TEXTS)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] == pytest.approx(1)
    assert cosines[0, 2] > 0.7
    assert cosines[3, 4] > 0.7
    assert abs(cosines[0, 3]) < 0.1
    assert abs(cosines[4, 5]) < 0.1


def test_fewer_dimensions_where_the_vocabulary_is_smaller():
    assert embed(TEXTS, dimensions=64).shape[1] < 64
    for texts in (["one"], ["one", "one"], ["one", "two"], ["one two", "one"]):
        assert embed(texts).shape[0] == len(texts)
        assert np.isfinite(embed(texts)).all()


def test_a_text_without_words_is_the_zero_vector():
    vectors = embed([*TEXTS, "5 %"])
    assert not vectors[-1].any()
    assert not embed(["5 %", "!"]).any()


def test_the_plane_keeps_groups_together(headlines):
    blocks = np.repeat(np.eye(4), 25, axis=0)
    noise = np.random.default_rng(0).normal(scale=0.02, size=blocks.shape)
    places = flatten(blocks + noise)
    assert places.shape == (100, 2)
    centres = places.reshape(4, 25, 2).mean(axis=1)
    nearest = np.linalg.norm(places[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == np.repeat(np.arange(4), 25)).all()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_the_plane_of_very_few_texts(count):
    places = flatten(embed(TEXTS[:count]))
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()


def hashed(*texts):
    return load_embedder("hashed").encode(texts)


def test_hashed_vectors_have_unit_length_and_384_dimensions(headlines):
    vectors = hashed(*headlines, "!!!", "5", "价格上涨")
    assert vectors.dtype == np.float32
    assert vectors.shape == (203, load_embedder("hashed").dimensions) == (203, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(203), abs=1e-6)
    assert hashed().shape == (0, 384)
    assert not hashed("", " \n").any()


@given(st.lists(st.text(max_size=30), min_size=1, max_size=8), st.data())
def test_a_hashed_vector_depends_on_its_own_text_alone(texts, data):
    order = data.draw(st.permutations(range(len(texts))))
    together = hashed(*(texts[place] for place in order))
    for vector, place in zip(together, order, strict=True):
        np.testing.assert_array_equal(vector, hashed(texts[place])[0])


def test_the_hash_is_the_same_on_every_machine():
    """An index on disk outlives the process that made it: its vectors must not change."""
    vector = hashed("central bank lifts rates")[0]
    assert vector[:3].tolist() == pytest.approx([0.0382174, 0.0, -0.0382174], abs=1e-7)


def test_hashed_cosines_are_the_share_of_words_and_pieces_in_common():
    vectors = hashed(*TEXTS, "rates lifts bank central", "kettles", "KETTLES: https://x.yz/1")
    cosines = vectors @ vectors.T
    assert cosines[0, 1] == pytest.approx(1)
    assert 0.8 < cosines[0, 2] < 0.95
    assert 0.8 < cosines[3, 4] < 0.95
    assert 0.6 < cosines[0, 6] < 0.9  # the same words in another order
    assert abs(cosines[0, 3]) < 0.2
    assert cosines[7, 8] == pytest.approx(1)


def test_unrelated_features_are_nearly_at_right_angles():
    """Their cosines have mean 0 and a deviation near 1 / sqrt(384)."""
    words = [f"{a}{b}{a}{b}" for a in "bcdfgh" for b in "aeiou"]
    cosines = np.triu(hashed(*words) @ hashed(*words).T, 1)
    cosines = cosines[cosines != 0]
    assert abs(cosines.mean()) < 0.02
    assert 0.03 < cosines.std() < 0.1


def test_an_embedder_of_sentence_transformers_by_folder(tiny_sentence_model):
    embedder = load_embedder(str(tiny_sentence_model))
    vectors = embedder.encode(TEXTS)
    assert vectors.shape == (6, embedder.dimensions) == (6, 16)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(6), abs=1e-5)
    np.testing.assert_allclose(embedder.encode(TEXTS[2:3])[0], vectors[2], atol=1e-5)
    assert embedder.encode([]).shape == (0, 16)


def test_an_unknown_embedder_is_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither `hashed` nor a model"):
        load_embedder(str(tmp_path / "empty"))


@pytest.fixture
def tiny_sentence_model(tmp_path):
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = sorted({word for text in TEXTS for word in text.split()})
    tokens = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(WordLevel(tokens, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=32
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(tmp_path / "bert")
    fast.save_pretrained(tmp_path / "bert")
    modules = [Transformer(str(tmp_path / "bert")), Pooling(16)]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "model"))
    return tmp_path / "model"
