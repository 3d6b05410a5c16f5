import json
import stat

import pytest

from toolkit.console.runs import rendered
from toolkit.errors import ToolkitError
from toolkit.prompts.chat_json import ChatEntry, compare_chat, read_chat, write_chat


@pytest.fixture
def written(finished, tmp_path):
    """The validation part as JSON, and its entries."""
    file = tmp_path / "validation.json"
    rendered(write_chat(finished.workspace, finished.study_file.study, file, part="validation"))
    return file, json.loads(file.read_text())


def compared(finished, file):
    return compare_chat(finished.workspace, finished.study_file.study, file, part="validation")


def test_every_case_of_the_part_is_written_for_nobody_else_to_read(finished, written):
    file, entries = written
    study = finished.study_file.study

    assert finished.results["Trained"].validation_cases == len(entries)
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    for entry in entries:
        assert study.prompt.user == entry["user"]
        assert entry["assistant"] in study.answers
        assert (finished.images / entry["image"].rsplit("/", 1)[-1]).is_file()


def test_what_is_written_is_read_back(finished, written):
    file, entries = written
    found = compared(finished, file)

    assert [ChatEntry(**entry) for entry in entries] == read_chat(file)
    assert (len(entries), len(entries), 0, 0) == (found.entries, found.same, found.unknown, found.lacking)


def test_a_file_from_elsewhere_is_held_against_the_part(finished, written):
    file, entries = written
    for entry in entries:
        entry["image"] = f"C:/elsewhere/{entry['image'].rsplit('/', 1)[-1]}"
    entries[0]["assistant"] = next(a for a in finished.study_file.study.answers if a != entries[0]["assistant"])
    entries[1]["user"] = "USER: What else is it? ASSISTANT:"
    entries[2]["image"] = "nobody.jpg"
    file.write_text(json.dumps(entries[:-1]))
    found = compared(finished, file)
    rendered(found)

    assert (1, 1, 1, 2) == (found.other_class, found.other_prompt, found.unknown, found.lacking)
    assert len(entries) - 4 == found.same


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Invalid JSON"),
        ("{}", "valid array"),
        ("[1]", "1: Input should be an object"),
        ('[{"image": "a", "user": "b"}]', "1.assistant: Field required"),
        ('[{"image": "a", "user": "b", "assistant": "c", "roi": [1, 2]}]', "1.roi: List should have at least 4 items"),
        ("[" * 100_000, "recursion limit"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, text, message):
    (tmp_path / "file.json").write_text(text)

    with pytest.raises(ToolkitError, match=message):
        read_chat(tmp_path / "file.json")
