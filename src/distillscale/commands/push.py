"""`push`: a deployed student on the Hugging Face hub, or what would be sent there."""

import os
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

from distillscale.commands.model_card import LawPlace
from distillscale.commands.model_facts import read_facts
from distillscale.commands.publication import CARD_FILE, Contents, card_of, contents
from distillscale.errors import DistillscaleError, InputError
from distillscale.serving.deployment import read_deployment

_TOKEN_VARIABLE = "HF_TOKEN"  # noqa: S105 (a variable's name)


def push(folder: Path, repo: str, laws: Path | None, *, public: bool, dry_run: bool) -> None:
    """Publish a folder that `compress` wrote, in one commit; or print what that would be.

    The card is written anew for the repository's name and, with `laws`, with the model's place
    among them. A new repository is private unless `public`; an existing one stays as it is.

    Raises:
        InputError: the folder, the name or the laws are wrong, or there is no token in the
            environment.
        DistillscaleError: the hub refused or could not be reached.
    """
    _check_name(repo)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name one that `compress` wrote.")
    card = card_of(folder, name=repo, places=_places(folder, laws) if laws else ())
    ModelCard(card)  # raises where its metadata is not what the hub reads
    chosen = contents(folder)
    print(_summary(chosen, card, repo, public=public))
    if dry_run:
        print(f"\n{CARD_FILE}:\n\n{card}")
        return
    print(f"published: {_upload(chosen, card, repo, _token(), public=public)}")


def _token() -> str:
    """The token, without white space around it, as a file or a shell may have added."""
    token = os.environ.get(_TOKEN_VARIABLE, "").strip()
    if not token:
        raise InputError(f"{_TOKEN_VARIABLE} is not set; put a token that may write there into it.")
    if not (token.isascii() and token.isprintable()):  # no header can hold it; never echo it
        raise InputError(
            f"{_TOKEN_VARIABLE} holds a character that is not printable ASCII, as every one of a "
            "token is; copy the token again."
        )
    return token


def _places(folder: Path, laws: Path) -> list[LawPlace]:
    from distillscale.commands.law_place import law_places
    from distillscale.laws.store import load_laws

    return law_places(load_laws(laws), read_facts(folder), read_deployment(folder).task.name)


def _check_name(repo: str) -> None:
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise InputError(f"--repo {repo!r}: {error}") from error
    if "/" not in repo:
        raise InputError(f"--repo {repo}: name owner and model, as OWNER/{repo}.")


def _summary(chosen: Contents, card: str, repo: str, *, public: bool) -> str:
    sizes = {path.name: path.stat().st_size for path in chosen.published}
    sizes[CARD_FILE] = len(card.encode())
    kind = "public" if public else "private"
    lines = [f"to {repo} ({kind} if it is new): {len(sizes)} files, {sum(sizes.values()):,} bytes"]
    lines += [f"  {name}  {size:,}" for name, size in sorted(sizes.items())]
    if chosen.left_out:
        lines.append(f"stays here: {', '.join(chosen.left_out)}")
    return "\n".join(lines)


def _upload(chosen: Contents, card: str, repo: str, token: str, *, public: bool) -> str:
    """Create the repository where it is missing, and commit the files; returns its address."""
    operations = [CommitOperationAdd(path.name, str(path)) for path in chosen.published]
    operations.append(CommitOperationAdd(CARD_FILE, card.encode()))
    api = HfApi(token=token)
    try:
        address = api.create_repo(repo, private=not public, exist_ok=True)
        api.create_commit(repo, operations, commit_message="Upload by distillscale")
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        reason = " ".join(str(error).split()).replace(token, "***")[:300]
        raise DistillscaleError(f"--repo {repo}: the hub did not take it ({reason}).") from error
    return str(address)
