"""Streams: bytes in, bytes out, whatever the kernel takes at once."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.net.poller import Poller
from agent.net.stream import Stream
from tests.agent.net.loop import Loop, turn
from tests.e2e.certificates import Authority


class Owner:
    """Notes what a stream tells."""

    def __init__(self) -> None:
        self.data = b""
        self.said: list[str] = []

    def received(self, stream: Stream, data: bytes) -> None:
        self.data += data

    def secured(self, stream: Stream) -> None:
        self.said.append("secured")

    def lost(self, stream: Stream, reason: str) -> None:
        self.said.append(reason)

    def ended(self, stream: Stream) -> None:
        self.said.append("ended")

    def pressed(self, stream: Stream) -> None:
        self.said.append("pressed" if stream.waiting else "relieved")


class Pair:
    """A stream and the socket at its other end."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.poller = Poller(self.loop, lambda: self.poller.send())
        self.owner = Owner()
        here, self.there = socket.socketpair()
        self.there.settimeout(5)
        self.stream = Stream(self.poller, here, self.owner)

    def send(self, data: bytes) -> None:
        """Sends outside of a batch: the poller then makes one soon."""
        self.stream.send(data)
        self.loop.advance(0)

    def turn(self, times: int = 5) -> None:
        for _ in range(times):
            self.poller.doRead()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.stream.abort()
    made.there.close()
    assert len(made.poller) == 0
    made.poller.close()


def test_bytes_arrive(pair: Pair) -> None:
    """What the peer sends is received, in order."""
    pair.there.sendall(b"one")
    turn(pair.poller, lambda: pair.owner.data == b"one")
    pair.there.sendall(b"two")
    turn(pair.poller, lambda: pair.owner.data == b"onetwo")


def test_sent_when_the_batch_ends(pair: Pair) -> None:
    """What is sent leaves at the end of the batch, together; outside of one, soon."""
    pair.there.setblocking(False)
    pair.stream.send(b"hel")
    pair.stream.send(b"lo")
    with pytest.raises(BlockingIOError):
        pair.there.recv(100)
    pair.loop.advance(0)
    assert pair.stream.waiting == 0
    assert pair.there.recv(100) == b"hello"


def test_withheld(pair: Pair) -> None:
    """What waits for the end of the batch can be dropped; what left before it, and what follows, arrives."""
    pair.send(b"before, ")
    pair.stream.send(b"unrecorded")
    pair.poller.withhold()
    pair.send(b"after")
    assert pair.there.recv(100) == b"before, after"
    pair.stream.send(b"unrecorded")
    pair.stream.close()
    pair.poller.withhold()
    assert pair.stream.closed
    assert pair.there.recv(100) == b""


def drain(pair: Pair, size: int) -> bytes:
    pair.there.setblocking(False)
    got = bytearray()

    def more() -> bool:
        try:
            got.extend(pair.there.recv(1 << 20))
        except BlockingIOError:
            pass
        return len(got) >= size

    turn(pair.poller, more)
    return bytes(got)


def test_partial_writes(pair: Pair) -> None:
    """What the kernel doesn't take waits, leaves in order, and its leaving is told."""
    data = bytes(range(256)) * 40_000
    pair.send(data)
    pair.send(b"the end")
    assert pair.stream.waiting > 0
    assert drain(pair, len(data) + 7) == data + b"the end"
    pair.turn()
    assert pair.stream.waiting == 0
    assert pair.owner.said == ["pressed", "pressed", "relieved"]


def test_close_with_data_waiting(pair: Pair) -> None:
    """A stream that is closed sends what waits first, takes nothing more, and tells nobody."""
    data = bytes(10_000_000)
    pair.stream.send(data)
    pair.stream.close()
    pair.send(b"too late")
    assert not pair.stream.closed
    assert drain(pair, len(data)) == data
    turn(pair.poller, lambda: pair.stream.closed)
    assert pair.owner.said == []


def test_abort(pair: Pair) -> None:
    """An aborted stream is closed now, and tells nobody."""
    pair.stream.send(bytes(10_000_000))
    pair.stream.abort()
    pair.loop.advance(0)
    assert pair.stream.closed
    assert pair.owner.said == []


def test_peer_closes(pair: Pair) -> None:
    """Bytes sent before the peer's last are received before the end is told, once; the other direction stays open."""
    pair.there.sendall(b"last words")
    pair.there.shutdown(socket.SHUT_WR)
    turn(pair.poller, lambda: pair.owner.said)
    pair.turn()
    assert (pair.owner.data, pair.owner.said) == (b"last words", ["ended"])
    pair.send(b"answer")
    assert pair.there.recv(100) == b"answer"


def test_reading_stops_and_goes_on(pair: Pair) -> None:
    """A stream that is told not to read leaves the bytes in the kernel."""
    pair.stream.read(False)
    pair.there.sendall(b"waits")
    pair.turn()
    assert pair.owner.data == b""
    pair.stream.read(True)
    turn(pair.poller, lambda: pair.owner.data == b"waits")


def handshake(pair: Pair, directory: Path) -> ssl.SSLSocket:
    """TLS between the stream and the peer, the word that it may begin sent in the same batch; the peer's side of it."""
    made = Authority(directory).issue("server", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    pair.stream.send(b"S")
    pair.stream.secure(context, True, None, b"")
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    assert pair.there.recv(1) == b"S"
    pair.there.settimeout(None)
    shaken: list[ssl.SSLSocket] = []
    peer = threading.Thread(target=lambda: shaken.append(trusting.wrap_socket(pair.there)))
    peer.start()
    turn(pair.poller, lambda: "secured" in pair.owner.said)
    peer.join(5)
    (secured,) = shaken
    return secured


def test_tls(pair: Pair, tmp_path: Path) -> None:
    """What is sent before TLS leaves in the open, what is sent after it encrypted; the end is told as such."""
    secured = handshake(pair, tmp_path)
    secured.sendall(b"question")
    turn(pair.poller, lambda: pair.owner.data == b"question")
    pair.send(b"ans")
    pair.send(b"wer")
    assert secured.recv(3) + secured.recv(3) == b"answer"
    pair.stream.send(b"last words")
    pair.stream.close()
    pair.loop.advance(0)
    assert secured.recv(100) == b"last words"
    assert secured.recv(100) == b""
    secured.close()


def test_tls_withheld(pair: Pair, tmp_path: Path) -> None:
    """What is dropped was not encrypted yet: what follows can be read."""
    secured = handshake(pair, tmp_path)
    pair.stream.send(b"unrecorded")
    pair.poller.withhold()
    pair.send(b"after")
    assert secured.recv(100) == b"after"
    secured.close()
