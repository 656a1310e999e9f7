"""What a failed TLS handshake means, and what to change.

Source: RFC 8446, section 6.2 (alerts). With TLS 1.3 the server's verdict on a client certificate
arrives after the handshake is complete for the client.
"""

from __future__ import annotations

import os
import ssl

from ..errors import AuthError, ConnectError
from ..options.java_variables import unused_variables
from ..options.settings import NatsSettings
from .servers import MisconfiguredError

#: Alerts about the client's certificate, as OpenSSL names them, with their meaning and the fix.
_REJECTED = {
    "CERTIFICATE_REQUIRED": ("is not sent", "use one that the server accepts"),
    "UNKNOWN_CA": (
        "is signed by a CA that the server does not trust",
        "use one that a CA of the server's ca_file has signed, with its intermediate certificates",
    ),
    "CERTIFICATE_EXPIRED": ("has expired, or is not valid yet", "renew it"),
    "CERTIFICATE_REVOKED": ("is revoked", "use another one"),
    "BAD_CERTIFICATE": (
        "is rejected",
        "use one whose extended key usage includes client authentication; the server's log has "
        "the reason",
    ),
    "UNSUPPORTED_CERTIFICATE": ("is of an unsupported type", "use another one"),
    "CERTIFICATE_UNKNOWN": ("is rejected", "the server's log has the reason"),
    "ACCESS_DENIED": ("is rejected", "the server's log has the reason"),
}

#: X.509 codes of OpenSSL: not valid yet, and expired ...
_VALIDITY = (9, 10)
#: ... and a certificate for another host name or address.
_NAMES = (62, 64)


def tls_error(url: str, error: BaseException | None, settings: NatsSettings) -> ConnectError | None:
    """Return the exception for a failed handshake; None if TLS is not the cause of the error.

    Like rejected passwords, a rejected client certificate is an ``AuthError``.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return MisconfiguredError(
            f"cannot connect to {url}: its TLS certificate is not trusted: {error.verify_message}; "
            f"{_trust(error.verify_code)}{_java()}"
        )
    reason = str(getattr(error, "reason", "")) if isinstance(error, ssl.SSLError) else ""
    if reason == "WRONG_VERSION_NUMBER" and settings.tls_first:
        return MisconfiguredError(
            f"cannot connect to {url}: it does not begin with TLS: remove nats.tls.first, or set "
            "handshake_first on the server"
        )
    alert = reason.partition("_ALERT_")[2]
    if alert not in _REJECTED:
        return None
    if not (settings.tls_cert or settings.tls_cert_pem):
        return AuthError(
            f"{url} requires a client certificate: set nats.tls.cert and nats.tls.key to its PEM "
            f"files, or nats.tls.cert.pem and nats.tls.key.secret to their contents{_java()}"
        )
    given = f"nats.tls.cert={settings.tls_cert}" if settings.tls_cert else "nats.tls.cert.pem"
    what, fix = _REJECTED[alert]
    return AuthError(f"{url} rejects the client certificate: {given} {what}: {fix}")


def _trust(code: int) -> str:
    if code in _VALIDITY:
        return "renew the server's certificate, or correct this machine's clock"
    if code in _NAMES:
        return (
            "set nats.tls.hostname to the certificate's host name, or use a host name or address "
            "in nats.url that the certificate contains"
        )
    return "set nats.tls.ca to its CA"


def _java() -> str:
    unused = unused_variables(os.environ)
    return f"; {unused}" if unused else ""
