"""Judges when certificates and user JWTs expire."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from ..options.settings import NatsSettings
from .finding import Finding, error, ok, warning

#: Time before the expiry from which it is reported.
SOON = timedelta(days=14)

_JWT = re.compile(r"BEGIN NATS USER JWT-----\s*(\S+)")


def judge_expiry(subject: str, expires: datetime, now: datetime | None = None) -> Finding:
    """Judge an expiry."""
    left = expires - (now or datetime.now(UTC))
    at = f"{expires:%Y-%m-%d %H:%M} UTC"
    if left <= timedelta(0):
        return error(subject, f"expired on {at}", "renew it")
    if left <= SOON:
        hours = left // timedelta(hours=1)
        remaining = f"{hours // 24} days" if hours >= 48 else f"{hours} hours"
        return warning(subject, f"expires on {at}, in {remaining}", "renew it before then")
    return ok(subject, f"valid until {at}")


def jwt_expiry(credentials: str) -> datetime | None:
    """Return when the user JWT of a credentials file expires, None if never.

    Source: ADR-14. Raises ``ValueError`` if the text holds no JWT.
    """
    found = _JWT.search(credentials)
    try:
        claims = found.group(1).split(".")[1] if found else ""
        padded = claims + "=" * (-len(claims) % 4)
        expires = json.loads(base64.urlsafe_b64decode(padded)).get("exp")
    except (IndexError, ValueError, AttributeError):
        raise ValueError("the text holds no user JWT") from None
    return datetime.fromtimestamp(int(expires), UTC) if expires else None


def certificate_expiry(certificate: bytes) -> datetime:
    """Return when a certificate in PEM or DER expires. Raises ``ValueError``."""
    if b"-----BEGIN" in certificate:
        return x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc


def judge_credentials(settings: NatsSettings, server: bytes | None) -> Iterator[Finding]:
    """Judge the certificates and the JWT of a connection.

    Args:
        server: the server's certificate in DER, None without TLS.
    """
    if server is not None:
        yield judge_expiry("server certificate", certificate_expiry(server))
    certificate = settings.tls_cert_pem
    if settings.tls_cert:
        certificate = Path(settings.tls_cert).read_text()
    if certificate:
        try:
            yield judge_expiry("client certificate", certificate_expiry(certificate.encode()))
        except ValueError as problem:
            yield error("client certificate", f"cannot be read: {problem}", "use a PEM file")
    credentials = settings.credential_secret and settings.credential_secret.get_secret_value()
    if settings.credential_file:
        credentials = Path(settings.credential_file).read_text()
    if credentials:
        try:
            expires = jwt_expiry(credentials)
        except ValueError as problem:
            fix = (
                "use a credentials file (nsc generate creds), or remove the option if the server "
                "needs no credentials"
            )
            yield error("user JWT", str(problem), fix)
            return
        if expires is None:
            yield ok("user JWT", "does not expire")
        else:
            yield judge_expiry("user JWT", expires)
