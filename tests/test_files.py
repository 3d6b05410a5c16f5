import errno
import math
import os
import subprocess
import sys

import pytest

from toolkit.errors import ToolkitError
from toolkit.files import sha256_of, without_nan, write_atomically, written_atomically


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a" / "file"
    with pytest.raises(ZeroDivisionError), written_atomically(path) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError

    assert [] == list(path.parent.iterdir())
    write_atomically(path, b"whole", mode=0o600)
    assert b"whole" == path.read_bytes()
    assert 0o600 == path.stat().st_mode & 0o777


def test_whoever_reads_a_file_while_it_is_replaced_reads_the_old_one_whole(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with (tmp_path / "file").open("rb") as reader:
        write_atomically(tmp_path / "file", b"new")

        assert b"old" == reader.read()
    assert b"new" == (tmp_path / "file").read_bytes()


def test_a_full_disk_is_told_without_a_traceback(tmp_path):
    with pytest.raises(ToolkitError, match="free some disk space"), written_atomically(tmp_path / "file"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "taken").write_text("")

    with pytest.raises(ToolkitError, match="could not write"):
        write_atomically(tmp_path / "taken" / "file", b"")


def test_what_json_cannot_say_is_null():
    assert {"a": [None, 1.0], "b": None} == without_nan({"a": (math.nan, 1.0), "b": math.inf})


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert sha256_of({"a": 1, "b": 2}) == sha256_of({"b": 2, "a": 1})


def test_staging_that_a_full_disk_ends_says_so_once(tmp_path):
    """In a process of its own: what pyarrow prints of a forgotten writer goes to standard error."""
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from toolkit.labelbox_json.staging_tables import StagingWriter, UnknownKey\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with StagingWriter(Path(sys.argv[1]), {'a': UnknownKey, 'b': UnknownKey}, 'x') as writer:\n"
        "        for name in ('a', 'b'):\n"
        "            writer.add(name, [UnknownKey(str(n)) for n in range(5000)])\n"
        "        writer.flush('a')\n"
        "except OSError as error:\n"
        "    print(error.errno)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False)

    assert (str(errno.EFBIG), "") == (done.stdout.strip(), done.stderr)
