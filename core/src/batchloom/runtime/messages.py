"""Messages: bytes that go to a worker process and back, over a connection of `multiprocessing`.

The connection's own methods take two hundred instructions for a few bytes, which is more than many an errand
takes besides. Where it is a file that can be read and written, this is done at once.
"""

from __future__ import annotations

import os
from multiprocessing.connection import Connection

SIZE_BYTES = 8
"""What tells the size of a message, before it."""

IS_FILE = os.name == "posix"


def send(connection: Connection, data: bytes) -> None:
    """Send a message.

    Raises
    ------
    OSError
        If nobody is there to receive it.
    """
    if not IS_FILE:
        connection.send_bytes(data)
        return
    file = connection.fileno()
    left = len(data).to_bytes(SIZE_BYTES, "big") + data
    while (written := os.write(file, left)) < len(left):
        left = left[written:]


def receive(connection: Connection) -> bytes:
    """Wait for a message.

    Raises
    ------
    EOFError or OSError
        If nobody is there any more to send one.
    """
    if not IS_FILE:
        return connection.recv_bytes()
    file = connection.fileno()
    return _read(file, int.from_bytes(_read(file, SIZE_BYTES), "big"))


def _read(file: int, size: int) -> bytes:
    data = os.read(file, size) if size else b""
    if len(data) == size:
        return data
    parts = [data]
    while parts[-1] and (size := size - len(parts[-1])):
        parts.append(os.read(file, size))
    if size:
        raise EOFError
    return b"".join(parts)
