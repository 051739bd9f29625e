"""A worker process of a run: what it does until its run, or the process that runs it, is over."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import threading
from multiprocessing.connection import Connection, wait

from batchloom.runtime.ahead import JOIN_SECONDS
from batchloom.runtime.messages import receive, send
from batchloom.runtime.shipping import Parcel, portable, run_errand


def serve(connection: Connection, folder: str) -> None:
    """Do errands as they come, until an empty one comes or nobody is there any more.

    Parameters
    ----------
    connection : Connection
        Pickled errands come from there; a pickled parcel, or an exception, goes back for each.
    folder : str
        The run's temporary folder, to be removed if there is nobody left to do it.
    """
    # Ctrl-C reaches all processes of the terminal: the one that runs the pipeline says what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ending = threading.Thread(target=_end_with_parent, args=(folder,), daemon=True)
    ending.start()
    try:
        while data := receive(connection):
            send(connection, pickle.dumps(_done(data), protocol=5))
    except (EOFError, OSError):
        ending.join(JOIN_SECONDS)  # or it would go with this process, before the folder is gone


def _done(data: bytes) -> Parcel | BaseException:
    try:
        return run_errand(pickle.loads(data))
    except BaseException as exc:
        return portable(exc)


def _end_with_parent(folder: str) -> None:
    """End this process in the middle of whatever it does, once there is nobody to do it for."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)
