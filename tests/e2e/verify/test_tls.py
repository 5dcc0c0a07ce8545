"""Footers over TLS: the certificates boto3 trusts are the ones that count."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mz_orchestration.exports.verify import verify_files
from mz_orchestration.objectstore.client import ObjectStore
from mz_orchestration.objectstore.ranges import _tls

from .conftest import COLUMNS, FOLDER, environment, listed, parquet, put, served


def certificate(folder: Path, address: str) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate of its own, and the file to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = folder / f"{address}.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    both = folder / f"{address}-key.pem"
    both.write_bytes(private + public.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context, public


def test_the_trusted_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, trusted = certificate(tmp_path, "127.0.0.1")
    with served(context) as server:
        environment(monkeypatch, server.url)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(trusted))
        store = ObjectStore()
        put(server, *[parquet(10)] * 8)
        files = listed(store)
        server.log.clear()
        assert verify_files(store, FOLDER, files, COLUMNS, None).total == 80
        assert sum("amz-sdk-request" in request.headers for request in server.log) == 1
        assert len(server.log) == 8


@pytest.mark.parametrize(("address", "trusts"), [("127.0.0.1", "127.0.0.9"), ("127.0.0.2", "127.0.0.2")])
def test_a_certificate_that_is_not_trusted(tmp_path: Path, address: str, trusts: str) -> None:
    """Signed by somebody else, or for another address."""
    context, own = certificate(tmp_path, address)
    trusted = own if trusts == address else certificate(tmp_path, trusts)[1]
    with served(context) as server:
        connection = HTTPSConnection("127.0.0.1", server.port, timeout=10, context=_tls(str(trusted)))
        with pytest.raises(ssl.SSLCertVerificationError):
            connection.connect()
