"""A time-stamping authority (RFC 3161): what its certificates vouch for, and how it is asked.

    authority = Authority([pem])                     certificates that the reader trusts, from wherever it trusts
    stamp = authority.ask("https://tsa.example", data)
    authority.time_of(stamp, data)                   when `data` was there already

A stamp is the authority's whole answer (TimeStampResp, DER). Certificates of the chain must be valid at the stamped
time, not today. Needs the package rfc3161-client (extra `timestamp`), which reads DER only: an answer whose
certificates stand in another order than DER has is refused.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterable
from datetime import datetime
from itertools import product
from types import ModuleType

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ledger.errors import BadStamp, StampError
from ledger.posting import MAX_ANSWER_BYTES, post, web_address

_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"


class Authority:
    """Certificates that are trusted to tell the time."""

    def __init__(self, files: Iterable[bytes]) -> None:
        """`files`: PEM, with the root of each chain, and what the authority's answers leave out.

        A certificate for time stamping among them is taken as the only one that may sign. Raises StampError.
        """
        self._library = _library()
        found = [certificate for pem in files for certificate in _certificates(pem)]
        roots = [one for one in found if one.issuer == one.subject]
        self._others = [one for one in found if one.issuer != one.subject and not _stamps(one)]
        signers: list[x509.Certificate | None] = []
        signers += [one for one in found if one.issuer != one.subject and _stamps(one)]
        # One root at a time: of two with one name the library would look at the first alone.
        self._trusted = list(product(roots, signers or [None]))
        if not roots:
            raise StampError(
                "there is no root certificate among those of the time-stamping authority",
                remedy="Give a PEM file with the authority's chain up to a certificate that signed itself.",
            )

    def time_of(self, stamp: bytes, data: bytes) -> datetime:
        """The time in UTC that `stamp` gives for `data`; raises BadStamp."""
        return self._checked(stamp, data, None)

    def ask(self, url: str, data: bytes) -> bytes:
        """A stamp of `data`, checked; raises StampError if there is none, BadStamp if it does not hold."""
        builder = self._library.TimestampRequestBuilder().data(data)
        request = builder.hash_algorithm(self._library.HashAlgorithm.SHA256).build()
        stamp = _post(url, request.as_bytes())
        self._checked(stamp, data, request.nonce)
        return stamp

    def _checked(self, stamp: bytes, data: bytes, nonce: int | None) -> datetime:
        try:
            answer = self._library.decode_timestamp_response(stamp)
        except ValueError as error:
            text = "; its certificates are not in DER's order" if "InvalidSetOrdering" in str(error) else ""
            raise BadStamp(f"the answer is no time stamp in DER{text}: {_short(error)}") from None
        try:
            if answer.status != 0:
                raise BadStamp(f"the authority refused with status {answer.status}: {answer.status_string!r:.200}")
            return self._verified(answer, data, nonce)
        except ValueError as error:
            raise BadStamp(f"the time stamp is malformed: {_short(error)}") from None

    def _verified(self, answer: object, data: bytes, nonce: int | None) -> datetime:
        why = ""
        for root, signer in self._trusted:
            verifier = self._library.VerifierBuilder(
                roots=[root], intermediates=self._others, tsa_certificate=signer, nonce=nonce
            ).build()
            try:
                verifier.verify_message(answer, data)
                moment: datetime = answer.tst_info.gen_time  # type: ignore[attr-defined]
                return moment
            except self._library.VerificationError as error:
                why = str(error)
        raise BadStamp(_reason(why))


def _reason(why: str) -> str:
    if "Mismatch between messages" in why:
        return "the time stamp is over something else"
    if "Nonce mismatch" in why:
        return "the time stamp answers another request"
    if "certificates" in why.partition(":")[0]:
        return (
            "the time stamp is not signed by the named authority, with certificates valid at the stamped time, "
            "or was changed"
        )
    return f"the time stamp does not hold: {why:.200}"


def _post(url: str, query: bytes) -> bytes:
    try:
        address = web_address(url)
    except ValueError:
        raise StampError(
            f"{url!r:.200} is no address of a time-stamping authority", remedy="Give http://HOST/PATH or https://.."
        ) from None
    try:
        status, kind, body = post(address, address.path or "/", query, _QUERY)
    except (OSError, http.client.HTTPException) as error:
        raise StampError(
            f"the time-stamping authority at {url} cannot be asked: {error or type(error).__name__}",
            remedy="Check the address; a stamp may be asked for at any later time, and then proves that time.",
        ) from error
    if status != http.HTTPStatus.OK or kind != _REPLY:
        raise StampError(f"the time-stamping authority at {url} answered {status} with {kind}, not {_REPLY}")
    if len(body) > MAX_ANSWER_BYTES:
        raise StampError(f"the answer of {url} has more than {MAX_ANSWER_BYTES} bytes")
    return body


def _certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise StampError(
            f"this is no PEM file with certificates of a time-stamping authority: {_short(error)}",
            remedy="Get the authority's certificates from the authority, as -----BEGIN CERTIFICATE-----.",
        ) from None


def _stamps(certificate: x509.Certificate) -> bool:
    """Whether the certificate is one that signs time stamps."""
    try:
        use = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return ExtendedKeyUsageOID.TIME_STAMPING in use


def _library() -> ModuleType:
    try:
        import rfc3161_client  # noqa: PLC0415 - only who asks for stamps needs it
    except ImportError:
        raise StampError(
            "time stamps need the package rfc3161-client", remedy="pip install 'tallystick[timestamp]'"
        ) from None
    return rfc3161_client


def _short(error: Exception) -> str:
    return f"{error!s:.160}"
