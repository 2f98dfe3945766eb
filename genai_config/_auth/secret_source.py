"""What a reference refers to: read once for all who wait, kept, and read again when it is refused.

A file is read again when it has changed, an environment variable at each use. What a command, the
keyring or Secret Manager gives is kept until the service refuses it.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from genai_config._auth import key_files, secret_readers
from genai_config._auth.flights import Flight, Flights
from genai_config._auth.secret_readers import Read
from genai_config._masking import copied, described, without_secrets
from genai_config.exceptions import (
    ConfigurationError,
    CredentialsError,
    CredentialsTimeoutError,
    GenAIConfigError,
    SecretReferenceError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._auth.key_files import FileVersion
    from genai_config._settings.references import Reference
    from genai_config._settings.secrets import Secret

_log = logging.getLogger("genai_config.secrets")

_PAUSE = 1.0
"""Seconds without another look after one in vain: what is refused is refused at each call."""


class _Held(NamedTuple):
    """What was read, and the version of the file that it is in or that could not be used since."""

    secret: Secret
    version: FileVersion | None


class SecretSource(Flights):
    """The secret behind one reference, for any number of threads and event loops.

    Args:
        reference: Where it is kept.
        check: From what was read to the secret; it raises ConfigurationError for what is none.
        fetch: Asks Secret Manager, where the reference leads there; called in a thread of its own.
        auth_timeout: Seconds that a caller waits for it.
        monotonic: The time in seconds since whenever, that is never set back.

    Attributes:
        owner: Equal for secrets of the same reference, whatever they are.
    """

    changes = True

    def __init__(
        self,
        reference: Reference,
        check: Callable[[str], Secret | None],
        fetch: Callable[[], str],
        auth_timeout: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(auth_timeout, monotonic)
        self.owner = hash(reference)
        self._reference = reference
        self._check = check
        self._fetch = fetch
        self._held: _Held | None = None
        self._refused = False
        self._look_again = 0.0

    @property
    def known(self) -> Secret | None:
        """The secret, if it has been read; nobody waits, and nothing is read."""
        return self._held.secret if self._held is not None else None

    def value(self, timeout: float | None = None) -> Secret:
        """The secret.

        Args:
            timeout: Seconds that this caller waits at most; None: `auth_timeout` alone.

        Raises:
            SecretReferenceError: It cannot be read, or is not what it should be.
            CredentialsError: Secret Manager takes credentials, and there are none.
            CredentialsTimeoutError: It was not read within `auth_timeout` or `timeout`.
        """
        secret = self._usable()
        return self._wait(self._read, timeout) if secret is None else secret

    async def value_async(self, timeout: float | None = None) -> Secret:
        """As `value`, without blocking the event loop."""
        secret = self._usable()
        return await self._wait_async(self._read, timeout) if secret is None else secret

    def renewed(self, used: Secret, timeout: float | None = None) -> bool:
        """Reads a secret again that was refused. Returns whether it is another one.

        Args:
            used: The one that was refused.
            timeout: Seconds that this caller waits at most; None: `auth_timeout` alone.
        """
        try:
            return self._recall(used) and self._is_other(self.value(timeout), used)
        except CredentialsError as error:
            return self._is_lost(error)

    async def renewed_async(self, used: Secret, timeout: float | None = None) -> bool:
        """As `renewed`, without blocking the event loop."""
        try:
            return self._recall(used) and self._is_other(await self.value_async(timeout), used)
        except CredentialsError as error:
            return self._is_lost(error)

    def _recall(self, used: Secret) -> bool:
        """Notes that a secret was refused; whether it is worth while to look for another."""
        if self._monotonic() < self._look_again and self._usable() == used:
            return False
        with self._lock:
            # Another may have taken its place.
            self._refused |= self._held is not None and self._held.secret == used
        return True

    def _is_other(self, secret: Secret, used: Secret) -> bool:
        if secret == used:
            self._look_again = self._monotonic() + _PAUSE
        return secret != used

    def _is_lost(self, error: CredentialsError) -> bool:
        """The service's own refusal is what the caller is to hear."""
        _log.warning("A secret was refused, and cannot be read again. %s", error)
        return False

    def _usable(self) -> Secret | None:
        """The secret, if it need not be read."""
        if self._reference.variable is not None:
            return self._of_environment(self._reference.variable)
        held = self._held
        if held is None or self._refused:
            return None
        if self._reference.kind == "from_file":
            version = key_files.file_version(self._reference.where[0])
            # One that is gone is about to be replaced.
            if version is not None and version != held.version:
                return None
        return held.secret

    def _of_environment(self, variable: str) -> Secret:
        text = os.environ.get(variable, "").strip()
        held = self._held
        if held is not None and held.secret.get_secret_value() == text:
            return held.secret
        if not text:
            raise SecretReferenceError(
                f"The environment variable {variable} is not set in this process.",
                f"export {variable}, or give another reference.",
            )
        secret = self._checked(text)
        self._held = _Held(secret, None)
        return secret

    def _read(self, flight: Flight) -> Secret:
        secret = self._usable()
        if secret is not None:
            # Another flight has landed between our caller's look and our start.
            return secret
        before = self._held
        version = None
        try:
            read = self._now()
            version = read.version
            secret = self._checked(read.text)
        except Exception as raised:
            with self._lock:
                self._refused = False
                self._look_again = self._monotonic() + _PAUSE
                if before is not None:
                    self._held = before._replace(version=version or self._present())
            if before is None:
                raise
            _log.warning(
                "A secret cannot be read again; the present one stays in use. %s",
                without_secrets(str(self._told(raised))),
            )
            return before.secret
        with self._lock:
            if self._held is not None and (flight.abandoned or self._held.secret == secret):
                secret = self._held.secret  # one object for all, and the later flight's
            self._held = _Held(secret, version)
            self._refused = False
        return secret

    def _present(self) -> FileVersion | None:
        if self._reference.kind != "from_file":
            return None
        return key_files.file_version(self._reference.where[0])

    def _now(self) -> Read:
        where = self._reference.where
        if self._reference.kind == "from_file":
            return secret_readers.read_file(where[0])
        if self._reference.kind == "from_command":
            return secret_readers.run(where, self._auth_timeout)
        if self._reference.kind == "from_keyring":
            return secret_readers.read_keyring(*where)
        return Read(self._fetch())

    def _checked(self, text: str) -> Secret:
        problem, remedy = "it is empty", "see what is kept there."
        try:
            secret = self._check(text)
        except ConfigurationError as error:
            problem, remedy, secret = error.problem, error.remedy, None
        if secret is None:
            raise SecretReferenceError(
                f"{self._reference} gives no valid secret: {problem}", remedy
            )
        return secret

    def _late(self, flight: Flight, timeout: float | None) -> GenAIConfigError:
        del flight
        name, seconds = "auth_timeout", self._auth_timeout
        if timeout is not None and timeout < seconds:
            name, seconds = "timeout", timeout
        return CredentialsTimeoutError(
            f"{self._reference} was not read within {name}={seconds:.3g} s.",
            f"see what keeps it, or raise {name}.",
        )

    def _failed(self, reason: str, remedy: str) -> GenAIConfigError:
        return SecretReferenceError(f"{self._reference} cannot be read: {reason}.", remedy)

    def _told(self, error: BaseException) -> GenAIConfigError:
        if isinstance(error, GenAIConfigError):
            return copied(error)
        return self._failed(described(error), "see what is kept there, or give another reference.")

    def _abandon(self) -> None:
        """Nothing: what is read is whole or not at all."""
