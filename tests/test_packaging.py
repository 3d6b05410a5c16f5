"""What an installed wheel must carry: a checkout finds its top-level folders, a wheel must bring them along."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_wheel_carries_sql_templates_and_studies(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        wheel.extractall(tmp_path / "installed")
    program = """
from toolkit.workspace import sql
from toolkit.manifest import load_study, shipped
print(len(sql.questions()), load_study(shipped("manifests") / "demo.toml").study.name, shipped("sql"))
"""
    answer = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed")},
        check=True,
        capture_output=True,
        text=True,
    )

    assert {
        "toolkit/report_files/page.html.j2",
        "toolkit/sql_files/verify.sql",
        "toolkit/manifest_files/demo.toml",
        "toolkit/manifest_files/demo.split/cases.csv",
        "toolkit/manifest_files/models/tiny.toml",
        "toolkit/manifest_files/sample/classes.toml",
    } <= names
    assert "demo" == answer.stdout.split()[1]
    assert str(tmp_path) in answer.stdout
