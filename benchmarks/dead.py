"""A token endpoint that never answers."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.local import TUNED
from benchmarks.measure import Row

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def dead_token_endpoint() -> Iterator[Path]:
    """ADC whose token endpoint accepts connections and never answers."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        tempfile.TemporaryDirectory() as folder,
    ):
        subject, file = Path(folder, "subject"), Path(folder, "external_account.json")
        subject.write_text("subject", encoding="utf-8")
        port = listener.getsockname()[1]
        file.write_text(
            json.dumps(
                {
                    "type": "external_account",
                    "audience": "//iam.googleapis.com/projects/1/locations/global/workloads",
                    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                    "token_url": f"http://127.0.0.1:{port}/token",
                    "credential_source": {"file": str(subject)},
                }
            ),
            encoding="utf-8",
        )
        yield file


def dead(info: dict[str, Any], *, patience: float) -> Iterator[Row]:
    """A tuned call whose token endpoint never answers."""
    import google.ai.generativelanguage as glm
    import google.generativeai as genai
    from google.auth import identity_pool

    from genai_config import override
    from genai_config.exceptions import CredentialsTimeoutError

    bound = 2.0
    with dead_token_endpoint() as file:
        credentials = identity_pool.Credentials.from_file(str(file))
        returned = threading.Event()

        def bare() -> None:
            client = glm.GenerativeServiceClient(
                credentials=credentials, client_options={"api_endpoint": info["grpc"]}
            )
            try:
                client.generate_content(model=TUNED, contents=[])
            finally:
                returned.set()

        threading.Thread(target=bare, daemon=True).start()
        start = time.perf_counter()
        with override(credentials=file, auth_timeout=bound):
            try:
                genai.GenerativeModel(TUNED).generate_content("hi")
            except CredentialsTimeoutError as error:
                took = time.perf_counter() - start
                named = str(file) in str(error) and "/token" in str(error)
        bare_returned = returned.wait(patience)
    yield Row(
        "dead token endpoint", "bare SDK", f"our error after {took:.2f} s",
        "returned" if bare_returned else f"nothing after {patience:g} s", "–",
        f"auth_timeout = {bound:g} s", named and took < bound and not bare_returned,
    )  # fmt: skip
