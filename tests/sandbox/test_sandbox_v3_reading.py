"""Whatever is sent to V3 is read or refused: nothing that a client can say makes the sandbox fail."""

import json
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox_support import HandClock

from smile_async.sandbox import Settings
from smile_async.sandbox.v3.forms import read_form
from smile_async.sandbox.v3.parts import PARTS
from smile_async.sandbox.v3.refusals import Refusal
from smile_async.sandbox.v3.tokens import bound_by

SANDBOX = Settings(clock=HandClock(1_767_323_045.0))
NAMES = ["granted", "granted_at", "notice_language", "notice_privacy_policy_url", "given_names", "last_name"]
NAMES += ["email", "phone_number", "name", "value", "country", "id_number", "callback_url", "consent"]
HEADS = [b'content-disposition: form-data; name="a"', b'content-disposition: form-data; name="a"; filename="b"']
PIECES = st.sampled_from([b"--b", b"--", b"\r\n", b"\r\n\r\n", *HEADS]) | st.binary(max_size=9)
LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20)


def _nested(each: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    names = st.sampled_from(NAMES) | st.text(max_size=5)
    return st.lists(each, max_size=3) | st.dictionaries(names, each, max_size=4)


@given(st.text(max_size=40) | st.recursive(LEAVES, _nested, max_leaves=6).map(json.dumps))
@settings(max_examples=300, deadline=None)
def test_no_part_is_read_to_death(text: str) -> None:
    """Whatever stands in a part, its reader gives a value or says no."""
    for read in PARTS.values():
        with suppress(ValueError):
            read(text, SANDBOX)
    with suppress(Refusal):
        bound_by({"payload": text, "partner_params": text}, SANDBOX)


@given(st.lists(PIECES, max_size=12).map(b"".join))
@settings(max_examples=300, deadline=None)
def test_no_form_is_read_to_death(body: bytes) -> None:
    """Whatever is sent as a form, it is one or is refused."""
    with suppress(Refusal):
        read_form("multipart/form-data; boundary=b", body)


@given(st.dictionaries(st.sampled_from("abc"), st.binary(max_size=20).filter(lambda said: b"--b" not in said)))
def test_what_was_put_into_a_form_comes_out(files: dict[str, bytes]) -> None:
    """Files are given back byte for byte, line ends and all."""
    head = '--b\r\nContent-Disposition: form-data; name="{0}"; filename="{0}.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    parts = [head.format(name).encode() + content + b"\r\n" for name, content in files.items()]
    form = read_form("multipart/form-data; boundary=b", b"".join(parts) + b"--b--\r\n")
    assert {name: [file.content for file in found] for name, found in form.files.items()} == {
        name: [content] for name, content in files.items()
    }
