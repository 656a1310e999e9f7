"""Keys, certificates and JWTs made at test time, with the server configuration for them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import nkeys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority, a server for 127.0.0.1 and a client, both signed by it."""

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path

    def server_block(self, extra: str = "") -> str:
        """The server's ``tls`` block."""
        return (
            f'tls {{ cert_file: "{self.server_cert}", key_file: "{self.server_key}", '
            f'ca_file: "{self.ca}", timeout: 5 {extra} }}'
        )


def make_certificates(
    folder: Path, *, addresses: bool = True, expired: str = "", servers_only: bool = False
) -> Certificates:
    """Make an authority, and certificates of a server and a client.

    ``addresses``: whether they are good for 127.0.0.1 as well as for their names; ``expired``:
    ``localhost`` or ``client``, whose certificate has expired; ``servers_only``: whether the
    certificates do not allow the authentication of clients.
    """
    ca_key, ca = _certificate("test authority", None, None, is_ca=True)
    paths = Certificates(*(folder / f"{n}.pem" for n in ("ca", "sc", "sk", "cc", "ck")))
    _save_certificate(paths.ca, ca)
    for cert_path, key_path, name in (
        (paths.server_cert, paths.server_key, "localhost"),
        (paths.client_cert, paths.client_key, "client"),
    ):
        key, certificate = _certificate(
            name,
            ca_key,
            ca,
            is_ca=False,
            addresses=addresses,
            expired=name == expired,
            servers_only=servers_only,
        )
        _save_certificate(cert_path, certificate)
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return paths


def _certificate(
    name: str,
    issuer_key: ec.EllipticCurvePrivateKey | None,
    issuer: x509.Certificate | None,
    *,
    is_ca: bool,
    addresses: bool = True,
    expired: bool = False,
    servers_only: bool = False,
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC) - timedelta(days=2 if expired else 0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((issuer_key or key).public_key()),
            critical=False,
        )
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, is_ca, is_ca, False, False),
            critical=True,
        )
    )
    if not is_ca:
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        names += [x509.IPAddress(ip_address("127.0.0.1"))] if addresses else []
        usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        usages += [] if servers_only else [ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return key, builder.sign(issuer_key or key, hashes.SHA256())


def _save_certificate(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def new_nkey(kind: int) -> tuple[str, str]:
    """A new key pair as (seed, public key); ``kind`` is one of nkeys' prefix bytes."""
    seed = nkeys.encode_seed(os.urandom(32), kind)
    pair = nkeys.from_seed(bytearray(seed))
    return bytes(seed).decode(), bytes(pair.public_key).decode()


@dataclass(frozen=True)
class JwtWorld:
    """A decentralised set-up: server configuration and a credentials file of one user."""

    config: str
    credentials: str


def make_jwt_world(connections: int = -1) -> JwtWorld:
    """Operator, system account, one account with JetStream and one user (ADR-14).

    ``connections``: how many the account may have.
    """
    operator_seed, operator = new_nkey(nkeys.PREFIX_BYTE_OPERATOR)
    _, system = new_nkey(nkeys.PREFIX_BYTE_ACCOUNT)
    account_seed, account = new_nkey(nkeys.PREFIX_BYTE_ACCOUNT)
    user_seed, user = new_nkey(nkeys.PREFIX_BYTE_USER)
    unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    storage = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
    limits = {**unlimited, **storage, "wildcards": True, "conn": connections}
    claims = {
        operator: _jwt(
            operator_seed,
            operator,
            operator,
            "op",
            {"type": "operator", "version": 2, "system_account": system},
        ),
        account: _jwt(
            operator_seed,
            operator,
            account,
            "acc",
            {"type": "account", "version": 2, "limits": limits},
        ),
        system: _jwt(
            operator_seed,
            operator,
            system,
            "sys",
            {"type": "account", "version": 2, "limits": unlimited},
        ),
    }
    user_jwt = _jwt(
        account_seed,
        account,
        user,
        "user",
        {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1},
    )
    config = (
        f"operator: {claims[operator]}\nsystem_account: {system}\nresolver: MEMORY\n"
        f"resolver_preload {{\n  {account}: {claims[account]}\n  {system}: {claims[system]}\n}}\n"
    )
    credentials = (
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user_seed}\n------END USER NKEY SEED------\n"
    )
    return JwtWorld(config, credentials)


def make_callout_answer(
    seed: str, account: str, user: str, server: str, until: float | None, error: str = ""
) -> bytes:
    """Return what an auth callout service answers (ADR-26).

    Args:
        seed: of the account that the server's configuration names as the issuer.
        account: the name of the account that the user belongs to.
        user, server: the public keys in the request.
        until: when the user has to connect again, in seconds since the epoch; ``None`` for never.
        error: why the user may not connect; empty for a user who may.
    """
    issuer = bytes(nkeys.from_seed(bytearray(seed.encode())).public_key).decode()
    grant = {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}
    token = _jwt(seed, issuer, user, "user", grant, audience=account, until=until)
    outcome = {"error": error} if error else {"jwt": token}
    answer = {"type": "authorization_response", "version": 2, **outcome}
    return _jwt(seed, issuer, user, "answer", answer, audience=server).encode()


def read_claims(token: str) -> dict[str, Any]:
    """Return the claims of a JWT, whose signature is not checked."""
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


def _jwt(
    seed: str,
    issuer: str,
    subject: str,
    name: str,
    nats: Mapping[str, object],
    *,
    audience: str | None = None,
    until: float | None = None,
) -> str:
    body = {"iat": int(time.time()), "iss": issuer, "name": name, "sub": subject, "nats": nats}
    body |= {"aud": audience} if audience else {}
    body |= {"exp": int(until)} if until else {}
    digest = hashlib.new("sha512_256", json.dumps(body).encode()).digest()
    body["jti"] = base64.b32encode(digest).decode().rstrip("=")
    head = _b64(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    signed = f"{head}.{_b64(json.dumps(body).encode())}"
    signature = nkeys.from_seed(bytearray(seed.encode())).sign(signed.encode())
    return f"{signed}.{_b64(signature)}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
