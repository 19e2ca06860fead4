"""Texts in prompts: what a text says must never become one of the model's control tokens.

A tokenizer finds `<|im_end|>` wherever it stands, so a text that holds it would end its own
message. Here a prompt is encoded as ever, and those tokens that came out of the text are then
replaced by the ones that their characters have as plain text. The prompt's other tokens stay as
they are, and so does every prompt whose text holds no control token.

Control tokens are the special ones and, of the others that were added to the vocabulary, those that
the chat template writes and that look like marks (`<think>` of Qwen3), or that are written as
`<|...|>`. Added words of a domain, and the punctuation and runs of spaces that some tokenizers add,
are ordinary text.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

from distillscale.errors import InputError

_FIRST_PRIVATE = 0xF0000
"""The first character for private use of plane 15; hardly a text has them all."""

Place = tuple[int, int]
"""The first character of something, and the one after its last."""


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that prompts need."""

    chat_template: Any
    eos_token_id: int
    unk_token: str | None
    unk_token_id: int | None
    is_fast: bool
    added_tokens_decoder: dict[int, Any]
    backend_tokenizer: Any

    def __call__(self, text: str, **options: Any) -> Any: ...  # noqa: D102
    def __hash__(self) -> int: ...  # noqa: D105
    def __len__(self) -> int: ...  # noqa: D105
    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...  # noqa: D102
    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str: ...  # noqa: D102
    def apply_chat_template(self, messages: Any, **options: Any) -> Any: ...  # noqa: D102


def encode_text(tokenizer: Tokenizer, text: str, **options: Any) -> list[int]:
    """Token ids of a text without any control token in it.

    Args:
        tokenizer: of the model.
        text: all of it is data.
        options: of the tokenizer: `add_special_tokens`. What these add stays.

    Raises:
        InputError: as `encode_around_text`.
    """
    return encode_around_text(tokenizer, lambda words: words, text, **options)


def encode_around_text(
    tokenizer: Tokenizer, write: Callable[[str], str], text: str, **options: Any
) -> list[int]:
    """Token ids of a prompt around a text, from which no control token comes.

    Args:
        tokenizer: of the model.
        write: puts a text into the prompt.
        text: what is to be read as plain text.
        options: of the tokenizer: `add_special_tokens`.

    Raises:
        InputError: the text holds a control token, and the tokenizer has no other tokens for its
            characters, is one without character offsets (a slow one), or has a chat template that
            does not write a text once, as it is; or the tokenizer knows neither some word nor a
            token for unknown ones.
    """
    prompt, controls = write(text), _controls(tokenizer)
    try:
        encoded = tokenizer(prompt, return_offsets_mapping=tokenizer.is_fast, **options)
    except Exception as error:
        if not _lacks_unknown_token(error):
            raise
        raise InputError(
            "the text's prompt holds a word that the model's tokenizer does not know, and its "
            "vocabulary has no token for unknown words; take out the word, or add that token."
        ) from error
    ids: list[int] = encoded["input_ids"]
    if controls.isdisjoint(ids):
        return ids
    place = _place(write, text, prompt)
    if place is None or not tokenizer.is_fast:
        for token in tokenizer(text, add_special_tokens=False)["input_ids"]:
            if token in controls and _is_named(tokenizer, token, text):
                raise _refusal(tokenizer, token)
        return ids
    found: list[int] = []
    for token, own in zip(ids, encoded["offset_mapping"], strict=True):
        if token in controls and _comes_from(tokenizer, token, prompt, own, place):
            found += _as_plain_text(tokenizer, token, prompt[slice(*own)])
        else:
            found.append(token)
    return found


def _place(write: Callable[[str], str], text: str, prompt: str) -> Place | None:
    """Where in its prompt a text stands; None where that cannot be told.

    The prompt is written once more with marks around the text. Its ends are taken from there, less
    the spaces beside the text, which a template may trim.
    """
    held = set(prompt)
    mark = next((c for c in map(chr, range(_FIRST_PRIVATE, 0xFFFFE)) if c not in held), None)
    if mark is None:
        return None
    pieces = write(f"{mark}{text}{mark}").split(mark)
    if len(pieces) != 3:
        return None
    before, after = pieces[0].rstrip(), pieces[2].lstrip()
    if not (prompt.startswith(before) and prompt.endswith(after)):
        return None
    return len(before), len(prompt) - len(after)


def _comes_from(tokenizer: Tokenizer, token: int, prompt: str, own: Place, place: Place) -> bool:
    """Whether a control token stands for characters in a place; spaces beside it do not count."""
    said = prompt[slice(*own)]
    start, end = own[1] - len(said.lstrip()), own[0] + len(said.rstrip())
    return start < place[1] and end > place[0] and _is_named(tokenizer, token, said)


def _is_named(tokenizer: Tokenizer, token: int, said: str) -> bool:
    """Whether a control token is there by its name; not where it stands for an unknown word."""
    return token != tokenizer.unk_token_id or (tokenizer.unk_token or "") in said


def _as_plain_text(tokenizer: Tokenizer, control: int, said: str) -> list[int]:
    """Token ids of a control token's characters; one by one where all together they are it."""
    controls = _controls(tokenizer) - {tokenizer.unk_token_id}
    for pieces in ([said], said):
        try:
            ids = [token for piece in pieces for token in _without_added_tokens(tokenizer, piece)]
        except Exception as error:
            if not _lacks_unknown_token(error):
                raise
            continue
        if controls.isdisjoint(ids):
            return ids
    raise _refusal(tokenizer, control)


def _without_added_tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    """What the tokenizer makes of a text where it looks for no added token.

    transformers' `split_special_tokens` does not do: it still finds added tokens that are not
    special, and a unigram or word vocabulary holds the special ones too.
    """
    backend = tokenizer.backend_tokenizer
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    words = [text]
    if backend.pre_tokenizer is not None:
        words = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
    return [token.id for word in words for token in backend.model.tokenize(word)]


def _lacks_unknown_token(error: Exception) -> bool:
    """Whether `tokenizers` met an unknown word without a token for it: a bare `Exception`."""
    return type(error) is Exception and "UNK" in str(error).upper()


def _refusal(tokenizer: Tokenizer, control: int) -> InputError:
    name = tokenizer.added_tokens_decoder[control].content
    return InputError(
        f"a text holds `{name}`, which the model's tokenizer can read as a control token only; "
        "take it out of the text."
    )


def _controls(tokenizer: Tokenizer) -> frozenset[int]:
    return _control_ids(tokenizer, len(tokenizer), str(tokenizer.chat_template or ""))


@lru_cache(maxsize=8)
def _control_ids(tokenizer: Tokenizer, _size: int, template: str) -> frozenset[int]:
    """Ids of the control tokens; kept, for there may be thousands and a service asks each time.

    `_size` and `template` tell when a tokenizer was changed.
    """
    named = getattr(tokenizer, "chat_control_tokens", None) or ()
    return frozenset(
        number
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special or token.content in named or _is_written_control(token.content, template)
    )


def _is_written_control(content: str, template: str) -> bool:
    if content.startswith("<|") and content.endswith("|>"):
        return True
    looks_like_mark = len(content) >= 3 and content[0] in "<[{|" and content[-1] in ">]}|"
    return looks_like_mark and content in template
