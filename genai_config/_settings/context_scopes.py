"""The scopes of one thread or task, and the snapshots that they have made for its next call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genai_config._settings.layers import Apart, parted

if TYPE_CHECKING:
    from genai_config._settings.layers import Identity, Layer, Process, Snapshot

MOST_IDENTITIES = 256
"""How many identities' snapshots are kept in each context."""


class ContextScopes:
    """The scopes entered in one context, innermost last, and the last snapshots they made.

    For each identity one reference, written whole: a reader in another thread sees the old
    snapshot or the new one, and checks what it was made from.
    """

    __slots__ = ("below", "layers", "made", "process")

    def __init__(self, layers: tuple[Layer, ...], below: ContextScopes | None = None) -> None:
        self.layers = layers
        self.below = below
        # What is in force beneath them; None: the layers of this process.
        self.process: Process | None
        self.made: dict[Identity | None, tuple[Process, tuple[object, ...], Snapshot]]
        if below is not None and not isinstance(layers[-1], Apart):
            self.process, self.made = below.process, {}
            return
        apart, above = parted(layers)
        self.process = None if apart is None else apart.process
        self.made = {} if apart is None or above else apart.made

    def found(
        self, identity: Identity | None, process: Process, environ: tuple[object, ...]
    ) -> Snapshot | None:
        """What was made last, if nothing has changed since."""
        made = self.made.get(identity)
        if made is not None and made[0] is process and made[1] == environ:
            return made[2]
        return None

    def keep(
        self,
        identity: Identity | None,
        process: Process,
        environ: tuple[object, ...],
        snapshot: Snapshot,
    ) -> None:
        """Keeps what was made, for the next call."""
        if len(self.made) >= MOST_IDENTITIES:
            self.made = {}  # those that are still in use are rebuilt
        self.made[identity] = (process, environ, snapshot)
