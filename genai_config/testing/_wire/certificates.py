"""The keys of the process: one CA, one certificate and one RSA key, made once since it is slow."""

from __future__ import annotations

import functools
from typing import NamedTuple

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


class Certificate(NamedTuple):
    """The server's certificate, all PEM."""

    ca: bytes
    chain: bytes
    key: bytes


class KeyPair(NamedTuple):
    """The service accounts' key, PEM."""

    private: str
    public: str


@functools.cache
def certificate() -> Certificate:
    """A certificate for localhost and for whom it stands in for, and the CA that signed it."""
    ca = trustme.CA()
    leaf = ca.issue_cert("localhost", "127.0.0.1", "::1", "*.googleapis.com")
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    return Certificate(ca.cert_pem.bytes(), chain, leaf.private_key_pem.bytes())


@functools.cache
def key_pair() -> KeyPair:
    """A real RSA key pair, for the service accounts of this process."""
    # Half as long as Google's: each time that google-auth reads one of 2,048 bits, checking it
    # takes 55 ms, of one of 1,024 bits 8 ms, and tests read it thousands of times.
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 -- see above
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return KeyPair(private.decode(), public.decode())
