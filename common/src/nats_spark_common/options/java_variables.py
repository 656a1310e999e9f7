"""Environment variables of the Scala connectors that name Java key stores."""

from __future__ import annotations

import logging
from collections.abc import Mapping

_log = logging.getLogger(__name__)

_STORES = ("NATS_TLS_TRUST_STORE", "NATS_TLS_KEY_STORE")
_ALGORITHM = "NATS_TLS_ALGO"

#: The shell commands that convert a Java key store to a PEM file.
TO_PEM = (
    "'keytool -importkeystore -srckeystore STORE -destkeystore store.p12 "
    "-deststoretype PKCS12' and 'openssl pkcs12 -in store.p12 -nodes -out store.pem'"
)

_warned = False


def unused_variables(environ: Mapping[str, str]) -> str:
    """Return a sentence about those of the variables that are set, empty if none is."""
    names = [name for name in (*_STORES, _ALGORITHM) if environ.get(name)]
    if not names:
        return ""
    set_ = f"{' and '.join(names)} in the environment {'are' if names[1:] else 'is'} not used"
    if names == [_ALGORITHM]:
        return f"{set_}: TLS is negotiated"
    return (
        f"{set_}, because Python cannot read Java key stores: convert them with {TO_PEM}, and set "
        "NATS_TLS_CA, NATS_TLS_CERT and NATS_TLS_KEY to the PEM files"
    )


def warn_of_unused_variables(environ: Mapping[str, str]) -> None:
    """Warn once in a process if such variables are set."""
    global _warned
    unused = "" if _warned else unused_variables(environ)
    if unused:
        _warned = True
        _log.warning("%s", unused)
