"""`serve`: a deployed student behind HTTP."""

from pathlib import Path

from distillscale.errors import InputError
from distillscale.serving.classifier import load_classifier


def serve_folder(
    folder: Path,
    host: str,
    port: int,
    *,
    max_batch: int,
    max_wait_ms: float,
    max_queue: int,
    max_texts: int,
    max_characters: int,
    max_bytes: int,
) -> None:
    """Serve a folder that `compress` or `export` wrote, until SIGTERM or Ctrl-C.

    Raises:
        InputError: the folder is neither, the port is taken, the limits contradict each other, or
            the extra `serve` is not installed.
    """
    if max_queue < max_texts:
        raise InputError(
            f"--max-queue {max_queue}: it is smaller than --max-texts {max_texts}, so that a full "
            "request would never be taken; give it at least that."
        )
    try:
        from distillscale.serving.app import ServiceSettings
        from distillscale.serving.batching import BatchSettings
        from distillscale.serving.server import serve
    except ImportError as error:
        raise InputError(
            f"{error.name} is not installed; install it with `pip install 'distillscale[serve]'`."
        ) from error
    batching = BatchSettings(max_batch, max_wait_ms / 1000, max_queue)
    settings = ServiceSettings(max_texts, max_characters, max_bytes, batching)
    classifier = load_classifier(folder)

    def ready(url: str) -> None:
        print(f"serving {folder} ({classifier.backend}) at {url}; API: {url}/docs", flush=True)

    given_up = serve(classifier, settings, host, port, ready)
    if given_up:
        print(f"stopped; requests given up because they took too long: {given_up}.")
    else:
        print("stopped; every request that came in was answered.")
