"""Calls by somebody whom permissions bind: tests may run as root, who may read everything."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_of_everybody() -> Iterator[Path]:
    """A folder in which other users may read and write, unlike in those of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="userbench-shared-"))
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def of_another_user(call: Callable[[], None]) -> str:
    """What the call says at its end, by somebody whom permissions bind."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        message = "nothing"
        try:
            if not os.geteuid():
                os.setuid(65534)
            call()
        except SystemExit as ended:
            message = str(ended.code)
        except BaseException as other:
            message = f"{type(other).__name__}: {other}"
        os.write(writer, message.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        message = answer.read()
    os.waitpid(child, 0)
    return message
