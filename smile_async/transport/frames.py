"""What the frames of an HTTP/2 connection say of its end, and which requests its end leaves unprocessed.

The h2 package, below httpcore, takes a graceful GOAWAY for the end of the connection and drops answers that are still
to come (python-hyper/h2 #1181), and httpcore does not say which requests a server has never seen. So GOAWAY is read
here (RFC 9113 §6.8): streams above its number are reset, as the server could have done itself (§8.7: REFUSED_STREAM
means that nothing was processed), and what it leaves standing is answered as if nothing had been said. A connection
that is hung up refuses what has not left in the same way.
"""

__all__ = ["NOTHING", "Frames"]

#: A frame that says nothing: of unknown types a reader takes no notice (RFC 9113 §5.5).
NOTHING = b"\x00\x00\x00\xfa\x00\x00\x00\x00\x00"

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD = 9
#: RFC 9113 §6 and §7.
_DATA, _HEADERS, _RST_STREAM, _GOAWAY, _CONTINUATION = 0, 1, 3, 7, 9
_END_STREAM, _END_HEADERS = 1, 4
_NO_ERROR, _REFUSED_STREAM = 0, 7
_RESET = b"\x00\x00\x04\x03\x00%b" + _REFUSED_STREAM.to_bytes(4, "big")
#: The highest number of a stream.
_ANY = 2**31 - 1


class Frames:
    """One connection, seen from the client."""

    __slots__ = ("_begun", "_highest", "_last", "_left", "_rest", "addressed", "within_headers")

    def __init__(self) -> None:
        #: Streams whose request has begun to be written and has not ended.
        self._begun: set[int] = set()
        #: The highest stream written, and the highest of those that have left.
        self._highest = self._left = 0
        #: The highest stream that will be answered.
        self._last = _ANY
        #: The beginning of a frame whose end has not come.
        self._rest = b""
        #: Streams that the reader has been told something of, to be emptied by whoever heeds it.
        self.addressed: set[int] = set()
        #: Whether what he was given ends within a block of headers, where no other frame may come (RFC 9113 §6.10).
        self.within_headers = False

    @property
    def whole(self) -> bool:
        """Whether every request that was begun has been written to its end."""
        return not self._begun

    @property
    def refusing(self) -> bool:
        """Whether a request will be refused once it is written to its end."""
        return any(stream > self._last for stream in self._begun)

    def written(self, data: bytes) -> tuple[bytes, bytes]:
        """What of *data*, whole frames, is to leave; and what the reader is to be given at once, if anything."""
        leaving, refused = [], []
        at, start = (len(_PREFACE) if data.startswith(_PREFACE) else 0), 0
        while at + _HEAD <= len(data):
            size, kind, flags, stream = _head(data, at)
            at += _HEAD + size
            if kind == _HEADERS:
                self._begun.add(stream)
                self._highest = max(self._highest, stream)
            ends = kind in (_HEADERS, _DATA) and flags & _END_STREAM
            if ends:
                self._begun.discard(stream)
            if stream > self._last:
                leaving.append(data[start : at - _HEAD - size])
                start = at
                refused += [stream] if ends else []
        return (b"".join([*leaving, data[start:]]) if refused or leaving else data), self._resets(refused)

    def left(self) -> None:
        """All that was written has left."""
        self._left = self._highest

    def received(self, data: bytes) -> bytes:
        """What the reader is to see of *data*: whole frames, without a graceful GOAWAY."""
        data = self._rest + data
        shown: list[bytes] = []
        at = start = 0
        while at + _HEAD <= len(data):
            size, kind, flags, stream = _head(data, at)
            end = at + _HEAD + size
            if end > len(data):
                break
            self.addressed.add(stream)
            if kind in (_HEADERS, _CONTINUATION):
                self.within_headers = not flags & _END_HEADERS
            if kind == _RST_STREAM:
                self._begun.discard(stream)
            if kind == _GOAWAY and size >= 8:
                last, error = (int.from_bytes(data[at + _HEAD + n : at + _HEAD + n + 4], "big") for n in (0, 4))
                shown += (data[start:at], self._refused_above(last & _ANY))
                start = end if error == _NO_ERROR else at
            at = end
        self._rest = data[at:]
        return b"".join([*shown, data[start:at]])

    def ended(self) -> bytes:
        """Nothing will leave or come any more: what the reader is to be given."""
        return self._refused_above(self._left)

    def _refused_above(self, last: int) -> bytes:
        before, self._last = self._last, min(last, self._last)
        # A client's streams have odd numbers. Those that are being written are reset at their end: httpcore takes a
        # reset in the middle of a request for a fault of its own.
        above = range(self._last + 1 | 1, min(before, self._highest) + 1, 2)
        return self._resets([stream for stream in above if stream not in self._begun])

    def _resets(self, streams: list[int]) -> bytes:
        self.addressed.update(streams)
        return b"".join([_RESET % stream.to_bytes(4, "big") for stream in streams])


def _head(data: bytes, at: int) -> tuple[int, int, int, int]:
    """Size, type, flags and stream of the frame that begins there."""
    stream = int.from_bytes(data[at + 5 : at + 9], "big") & _ANY
    return int.from_bytes(data[at : at + 3], "big"), data[at + 3], data[at + 4], stream
