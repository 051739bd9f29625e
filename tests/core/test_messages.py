"""Messages to and from worker processes arrive as they were sent, of whatever size."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from batchloom.runtime import messages

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(params=[True, False], ids=["at once", "through the library"])
def ends(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Connection, Connection]]:
    monkeypatch.setattr(messages, "IS_FILE", messages.IS_FILE and request.param)
    one, other = Pipe()
    with one, other:
        yield one, other


@pytest.mark.parametrize("size", [0, 1, 300, 1 << 16, 3_000_001])
def test_they_arrive_one_by_one(ends: tuple[Connection, Connection], size: int) -> None:
    """The largest is many times what the connection holds."""
    one, other = ends
    sent = [bytes([at]) * size for at in range(3)]
    sender = threading.Thread(target=lambda: [messages.send(one, each) for each in sent])
    sender.start()
    assert [messages.receive(other) for _ in sent] == sent
    sender.join()


@pytest.mark.parametrize("sent", [b"", b"\0\0", (300).to_bytes(8, "big") + b"the beginning"])
def test_the_end_of_who_sends_ends_the_wait(sent: bytes) -> None:
    """Also in the middle of a message."""
    one, other = Pipe(duplex=False)
    if sent:
        os.write(other.fileno(), sent)
    other.close()
    with pytest.raises(EOFError), one:
        messages.receive(one)


def test_nobody_who_receives_is_an_error(ends: tuple[Connection, Connection]) -> None:
    one, other = ends
    other.close()
    with pytest.raises(OSError):
        for _ in range(2):
            messages.send(one, b"anybody?")
