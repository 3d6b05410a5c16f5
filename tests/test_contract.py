"""The contracts others rely on, checked from outside on a finished workspace."""

import subprocess
import sys
from pathlib import Path


def test_the_contract_holds_on_a_finished_workspace(finished, shared):
    command = Path(sys.executable).parent / "toolkit"
    where = ["--study", str(finished.study_file.path), "--workspace", str(finished.workspace.folder)]
    checker = shared.parent / "acceptance" / "contract.py"
    answer = subprocess.run(
        [sys.executable, str(checker), "--toolkit", str(command), *where], capture_output=True, text=True, check=False
    )

    assert "contract holds" == answer.stdout.splitlines()[-1]
    assert 0 == answer.returncode
