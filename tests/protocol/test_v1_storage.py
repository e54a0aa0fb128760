"""storage.py: what the storage has against a zip, by the status and the code of its XML alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smile_async.errors import UploadFailed
from smile_async.protocol.steps import Fault, Sent
from smile_async.protocol.v1.storage import put_refusal

ABOUT = "the upload of job 7f3e of user ada"
SECRET = "X-Amz-Signature=canary81f2"


def s3(code: str) -> bytes:
    """An error as S3 writes it; its texts may repeat the URL."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{SECRET}</Message>'
        f"<Resource>/bucket/selfie.zip?{SECRET}</Resource><RequestId>4442587FB7D0A2F9</RequestId></Error>"
    ).encode()


def refused(status: int, body: bytes) -> Fault:
    """The fault that this answer is."""
    fault = put_refusal(status, body, ABOUT)
    assert fault is not None
    assert type(fault.error) is UploadFailed
    assert SECRET not in str(fault.error)
    return fault


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_zip_that_was_taken_is_no_refusal(status: int) -> None:
    """S3 answers 200, Azure 201, and 204 says that there is nothing to say."""
    assert put_refusal(status, b"", ABOUT) is None


AGAIN, FRESH, NEVER = (True, False), (False, True), (False, False)
MEANINGS = [
    (400, "RequestTimeout", AGAIN),
    (400, "IncompleteBody", AGAIN),
    (409, "OperationAborted", AGAIN),
    (503, "SlowDown", AGAIN),
    (429, "SlowDown", AGAIN),
    (500, "InternalError", AGAIN),
    (400, "ExpiredToken", FRESH),
    (400, "TokenRefreshRequired", FRESH),
    (403, "AccessDenied", FRESH),
    (400, "AccessDenied", FRESH),
    (403, "RequestTimeTooSkewed", FRESH),
    (403, "AuthenticationFailed", FRESH),
    (400, "EntityTooLarge", NEVER),
    (404, "NoSuchBucket", NEVER),
    (409, "BucketNotEmpty", NEVER),
    (405, "MethodNotAllowed", NEVER),
]


@pytest.mark.parametrize(("status", "code", "means"), MEANINGS)
def test_the_code_tells_what_to_do(status: int, code: str, means: tuple[bool, bool]) -> None:
    """What passes is sent again, an expired URL is replaced, all else is final; the message names status and code."""
    fault = refused(status, s3(code))
    assert (fault.transient, fault.expired) == means
    assert str(fault.error) == f"the storage refused {ABOUT}: HTTP {status} {code}"
    assert fault.sent is (Sent.AMBIGUOUS if status >= 500 else Sent.ANSWERED)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Sign in to the hotel's Wi-Fi</html>",
        f"<Error>{SECRET}</Error>".encode(),
        s3(SECRET),
        s3("A" * 65),
        s3(""),
        s3("Request Timeout"),
        b" " * 5_000 + s3("RequestTimeout"),
        "\ufeff<Error><Code>Vorübergehend</Code></Error>".encode("utf-16"),
    ],
)
def test_what_is_no_code_is_not_repeated(body: bytes) -> None:
    """If the body is no error of a storage, or its code is none, the status decides and is what the message names."""
    assert [refused(status, body).transient for status in (400, 408, 429, 500, 502)] == [False, True, True, True, True]
    fault = refused(400, body)
    assert (str(fault.error), fault.expired) == (f"the storage refused {ABOUT}: HTTP 400", False)
    assert refused(403, body).expired


@given(st.integers(100, 599), st.binary(max_size=300))
def test_any_answer_is_understood(status: int, body: bytes) -> None:
    """No answer crashes, and what the message repeats of it is a status and a short word."""
    for whole in (body, b"<Code>" + body + b"</Code>"):
        fault = put_refusal(status, whole, ABOUT)
        said = "" if fault is None else str(fault.error).removeprefix(f"the storage refused {ABOUT}: HTTP {status}")
        assert (said.isascii() and said.strip().isalnum() and len(said) <= 65) or said == ""
