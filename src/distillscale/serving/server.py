"""Listen on a port until SIGTERM or Ctrl-C, then finish what is under way."""

import signal
import socket
from collections.abc import Callable

import uvicorn

from distillscale.errors import InputError
from distillscale.serving.app import ServiceSettings, create_app
from distillscale.serving.classifier import Classifier
from distillscale.serving.metrics import ServiceMetrics

_GRACE_SECONDS = 30
_BACKLOG = 2048


def serve(
    classifier: Classifier,
    settings: ServiceSettings,
    host: str,
    port: int,
    ready: Callable[[str], None],
) -> int:
    """Serve a classifier; returns after SIGTERM.

    Requests that are under way get up to 30 seconds; those that need more are cancelled.

    Args:
        classifier: what decides.
        settings: limits and batching.
        host: name or address to listen on.
        port: 0 takes a free one.
        ready: told the service's address once it listens.

    Returns:
        Requests that were cancelled.

    Raises:
        InputError: host or port cannot be listened on.
        KeyboardInterrupt: it was stopped by Ctrl-C.
    """
    classifier.classify(["a text, so that the first request finds everything loaded"])
    with _listening(host, port) as listener:
        app = create_app(classifier, settings)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        server = uvicorn.Server(config)

        def stop(*_: object) -> None:
            server.should_exit = True

        # Until uvicorn has its own handler; afterwards it raises the signal again, for this one.
        before = signal.signal(signal.SIGTERM, stop)
        try:
            bound_host, bound_port = listener.getsockname()[:2]
            shown = f"[{bound_host}]" if ":" in bound_host else bound_host
            ready(f"http://{shown}:{bound_port}")
            server.run(sockets=[listener])
        finally:
            signal.signal(signal.SIGTERM, before)
    metrics: ServiceMetrics = app.state.metrics
    return metrics.given_up


def _listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections; they wait until the service is up."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # asyncio turns Nagle's algorithm off only where the protocol is named: else every answer
        # waits for the client's delayed acknowledgement, 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {host}: it is no name or address ({error}).") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise InputError(
            f"--port {port}: nothing can listen there on {host} ({error.strerror}); name another."
        ) from error
    return listener
