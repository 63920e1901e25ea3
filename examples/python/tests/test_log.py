"""The log: what a crash may leave behind, and what is damage."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shell import Log

from conftest import EXAMPLE

RECORDS = [{"kind": "Started", "boot": number} for number in range(1, 4)]


def written(path: Path) -> bytes:
    log = Log(path)
    for record in RECORDS:
        log.append(record)
    log.file.close()
    return path.read_bytes()


def read(path: Path) -> list:
    log = Log(path)
    log.file.close()
    return log.records


def test_what_was_appended_is_read_again(tmp_path: Path) -> None:
    written(tmp_path / "log")
    assert read(tmp_path / "log") == RECORDS


def test_a_torn_last_line_is_dropped_wherever_it_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "log"
    whole = written(path)
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole)):
        path.write_bytes(whole[:end])
        assert read(path) == RECORDS[:2], end
        # What is appended next begins a line of its own.
        log = Log(path)
        log.append(RECORDS[2])
        log.file.close()
        assert path.read_bytes() == whole


def test_damage_before_the_last_line_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    whole = written(path)
    for at in range(len(whole)):
        if at == len(whole) - 1:
            continue  # without its end the last line is a torn one
        damaged = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        path.write_bytes(damaged)
        with pytest.raises(SystemExit, match="damaged"):
            Log(path)
        assert path.read_bytes() == damaged


def test_a_line_that_is_missing_or_out_of_place_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first, second, third = written(path).splitlines(keepends=True)
    for lines in ([first, third], [second, third], [second, first, third], [first, first, second]):
        path.write_bytes(b"".join(lines))
        with pytest.raises(SystemExit, match="damaged"):
            Log(path)


def test_a_log_has_one_process(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    with pytest.raises(SystemExit, match="another process"):
        Log(tmp_path / "log")
    log.file.close()


def test_a_write_that_fails_ends_the_process(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, shell\n"
        f"log = shell.Log(pathlib.Path({str(tmp_path)!r}) / 'log')\n"
        "def fails(_): raise OSError(5, 'input/output error')\n"
        "os.fsync = fails\n"
        "log.append({'kind': 'Started'})\n"
        "print('still there')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(EXAMPLE)},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "the log failed" in done.stderr
