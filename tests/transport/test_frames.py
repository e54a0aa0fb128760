"""What is read from HTTP/2 frames: the end of a connection, and the requests that it leaves unprocessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smile_async.transport.frames import Frames

DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """One frame (RFC 9113 §4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def goaway(last: int, error: int = 0) -> bytes:
    """GOAWAY, with some debug data."""
    return frame(GOAWAY, 0, last.to_bytes(4, "big") + error.to_bytes(4, "big") + b"debug")


def refused(*streams: int) -> bytes:
    """REFUSED_STREAM for each of these."""
    return b"".join(frame(RST_STREAM, stream, (7).to_bytes(4, "big")) for stream in streams)


def asked(*streams: int) -> bytes:
    """A whole request on each of these streams."""
    return b"".join(frame(HEADERS, each, b"head") + frame(DATA, each, b"body", END_STREAM) for each in streams)


@given(st.lists(st.tuples(st.sampled_from([DATA, HEADERS, SETTINGS, RST_STREAM]), st.binary(max_size=40))), st.data())
def test_frames_pass_unchanged_however_they_are_cut(given_ones: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """Without GOAWAY the reader sees every whole frame, at the latest when its last byte has come."""
    sent = b"".join(frame(kind, 1, payload) for kind, payload in given_ones)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    frames, seen = Frames(), b""
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        seen += frames.received(sent[start:end])
        assert sent.startswith(seen)
    assert seen == sent


def test_a_frame_is_shown_when_its_last_byte_has_come() -> None:
    """The head of a frame, and a part of its payload, wait for the rest."""
    frames, whole = Frames(), frame(DATA, 1, b"body")
    assert [frames.received(piece) for piece in (whole[:5], whole[5:11], whole[11:])] == [b"", b"", whole]


def test_who_is_addressed_is_known() -> None:
    """Streams for which a whole frame has come, or that have been refused, are named; half a frame names nobody."""
    frames = Frames()
    frames.written(PREFACE + asked(1, 3, 5))
    frames.received(frame(DATA, 3, b"body") + frame(DATA, 1)[:5])
    assert frames.addressed == {3}
    frames.addressed.clear()
    frames.received(frame(DATA, 1)[5:] + goaway(3))
    assert frames.addressed == {0, 1, 5}
    frames.addressed.clear()
    frames.written(asked(7))
    assert frames.addressed == {7}


def test_the_middle_of_a_block_of_headers_is_known() -> None:
    """From HEADERS without END_HEADERS to the CONTINUATION that has it, nothing else may come."""
    frames, within = Frames(), []
    for kind, flags in ((HEADERS, 0), (CONTINUATION, 0), (CONTINUATION, END_HEADERS), (HEADERS, END_HEADERS)):
        frames.received(frame(kind, 1, b"head", flags))
        within.append(frames.within_headers)
    assert within == [True, True, False, False]


def test_a_graceful_goaway_refuses_what_is_above_it_and_hides() -> None:
    """Streams above the number of GOAWAY are reset; those below are answered as if it had not been said."""
    frames = Frames()
    frames.written(PREFACE + frame(SETTINGS, 0) + asked(1, 3, 5, 7))
    answer = frame(HEADERS, 3, b"200", END_STREAM)
    assert frames.received(frame(SETTINGS, 0) + goaway(3) + answer) == frame(SETTINGS, 0) + refused(5, 7) + answer
    # Those that waited for a stream are refused when they have been written.
    others = frame(SETTINGS, 0, flags=1), frame(WINDOW_UPDATE, 3, bytes(4))
    assert frames.written(others[0] + asked(9) + others[1]) == (b"".join(others), refused(9))


def test_a_notice_of_shutdown_refuses_nothing_yet() -> None:
    """The first of two GOAWAYs (RFC 9113 §6.8) names the highest number there is; each stream is reset only once."""
    frames = Frames()
    assert frames.written(asked(1, 3, 5)) == (asked(1, 3, 5), b"")
    assert frames.received(goaway(2**31 - 1)) == b""
    assert frames.written(asked(7)) == (asked(7), b"")
    assert frames.received(goaway(5)) == refused(7)
    assert frames.received(goaway(3)) == refused(5)
    assert frames.received(goaway(3)) == b""


def test_a_goaway_with_an_error_is_shown_after_its_refusals() -> None:
    """The library is to learn of an error, but first which requests it has spared."""
    frames = Frames()
    frames.written(asked(1, 3))
    assert frames.received(goaway(1, error=11)) == refused(3) + goaway(1, error=11)


def test_a_request_that_is_being_written_is_refused_at_its_end() -> None:
    """A reset waits: httpcore takes one in the middle of a request for a fault of its own."""
    frames = Frames()
    frames.written(asked(1) + frame(HEADERS, 3, b"head"))
    assert not frames.whole
    assert not frames.refusing
    assert frames.received(goaway(1)) == b""
    assert frames.refusing
    assert frames.written(frame(DATA, 3, b"body")) == (b"", b"")
    assert frames.written(frame(DATA, 3, b"", END_STREAM)) == (b"", refused(3))
    assert frames.whole
    assert not frames.refusing


def test_a_stream_that_the_server_resets_is_not_waited_for() -> None:
    """A request cut short by the server counts as written to its end."""
    frames = Frames()
    frames.written(frame(HEADERS, 1, b"head"))
    assert frames.received(refused(1)) == refused(1)
    assert frames.whole


@pytest.mark.parametrize("left", [True, False])
def test_the_end_of_a_connection_refuses_what_has_not_left(left: bool) -> None:
    """Of requests written when a connection ends, those that have left may have arrived, the others have not."""
    frames = Frames()
    frames.written(asked(1))
    frames.left()
    frames.written(asked(3))
    if left:
        frames.left()
    assert frames.ended() == (b"" if left else refused(3))
    assert frames.ended() == b""
    assert frames.written(asked(5)) == (b"", refused(5))


def test_a_broken_goaway_is_left_to_the_library() -> None:
    """A GOAWAY too short to hold its number is passed on: the library knows what to do with it."""
    broken = frame(GOAWAY, 0, b"\0\0\0")
    assert Frames().received(broken) == broken
