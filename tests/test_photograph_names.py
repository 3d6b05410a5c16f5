"""Each photograph opens the file that is its own, or none."""

import os
import unicodedata

import exports
import pytest
from exports import label, row
from PIL import Image

from toolkit.errors import PhotographError
from toolkit.manifest import load_study
from toolkit.photographs.names import NameOwners, NoFileError, PhotographFolder, PhotographNames
from toolkit.stages.parse import parse
from toolkit.workspace.registry import Workspace


def draw(path, shade=120):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (200, 100), (shade, 80, 60)).save(path)


def shade_of(path):
    return round(Image.open(path).getpixel((0, 0))[0], -1)


def files_of(workspace):
    return {row["image_id"]: row["path"] for row in workspace.rows("select image_id, path from images")}


def details(workspace):
    told = "select image_id, reason, detail from ingest_issues where level = 'case'"
    return {row["image_id"]: (row["reason"], row["detail"]) for row in workspace.rows(told)}


def parsed(workspace, study, key, folder, rows):
    result = parse(workspace, study, key, [exports.write(folder.parent / "e.ndjson", rows)], images=folder)
    return result, files_of(workspace), details(workspace)


def named(image_id, patient, **names):
    names = {"global_key": None, "external_id": None, "row_data": None} | names
    return row(image_id, label(f"L-{image_id}", "nevus"), patient=patient, **names)


def test_two_photographs_of_one_file_name_open_the_files_of_their_global_keys(workspace, study, key, tmp_path):
    folder = tmp_path / "images"
    for number, name in enumerate(("north/IMG_1.jpg", "south/IMG_1.jpg", "IMG_1.jpg")):
        draw(folder / name, shade=100 + 50 * number)
    rows = [named(x, x, global_key=f"{x}/IMG_1.jpg", external_id="IMG_1.jpg") for x in ("north", "south")]
    result, files, _ = parsed(workspace, study, key, folder, rows)

    assert {"north": 100, "south": 150} == {image: shade_of(path) for image, path in files.items()}
    assert {} == result.kept_out


def test_a_name_that_several_photographs_have_opens_none_of_them(workspace, study, key, tmp_path):
    folder = tmp_path / "images"
    draw(folder / "IMG_1.jpg")
    draw(folder / "south.jpg", shade=200)
    rows = [
        named("a", "1", external_id="IMG_1.jpg"),
        named("b", "2", external_id="IMG_1.jpg"),
        named("c", "3", row_data="https://storage.example.org/x/IMG_1.jpg?Signature=S"),
        named("d", "4", global_key="south.jpg", external_id="IMG_1.jpg"),
        named("e", "5", external_id="IMG_9.jpg"),
    ]
    result, files, told = parsed(workspace, study, key, folder, rows)

    assert {"ambiguous_name": 3, "image_missing": 1} == result.kept_out
    assert ["d"] == [image for image, path in files.items() if path]
    assert "several photographs of the study have the file's name" in told["a"][1]


def test_a_row_that_is_not_stored_has_its_names_all_the_same(workspace, study, key, tmp_path):
    folder = tmp_path / "images"
    draw(folder / "IMG_1.jpg")
    twice = [named("b", "2", external_id="IMG_1.jpg"), named("b", "3", external_id="IMG_1.jpg")]
    result, files, _ = parsed(workspace, study, key, folder, [named("a", "1", external_id="IMG_1.jpg"), *twice])

    assert 1 == result.kept_out["ambiguous_name"]
    assert {"a": None} == files


def test_a_photograph_of_the_name_a_global_key_has_is_not_opened_by_others_external_id(workspace, study, key, tmp_path):
    folder = tmp_path / "images"
    draw(folder / "IMG_1.jpg")
    rows = [named("a", "1", external_id="IMG_1.jpg"), named("b", "2", global_key="IMG_1.jpg")]
    _, files, told = parsed(workspace, study, key, folder, rows)

    assert files["a"] is None
    assert files["b"].endswith("IMG_1.jpg")
    assert "ambiguous_name" == told["a"][0]


@pytest.mark.soak
def test_two_folders_of_two_exports_share_no_names(workspace, study, key, tmp_path):
    for folder, shade in (("one", 100), ("two", 200)):
        draw(tmp_path / folder / "IMG_1.jpg", shade)
        export = exports.write(tmp_path / f"{folder}.ndjson", [named(folder, folder, external_id="IMG_1.jpg")])
        parse(workspace, study, key, [export], images=tmp_path / folder)

    assert {"one": 100, "two": 200} == {image: shade_of(path) for image, path in files_of(workspace).items()}


def test_a_name_from_a_mac_is_found(workspace, study, key, tmp_path):
    folder, name = tmp_path / "images", "Kück Fuß.jpg"
    draw(folder / unicodedata.normalize("NFD", name))
    _, files, _ = parsed(workspace, study, key, folder, [named("a", "1", external_id=name)])

    assert unicodedata.normalize("NFD", name) == os.path.basename(files["a"])  # noqa: PTH119 - a text


def test_two_files_of_one_name_in_two_spellings_are_not_chosen_from(tmp_path):
    for form in ("NFC", "NFD"):
        (tmp_path / unicodedata.normalize(form, "éö.jpg")).write_bytes(b"x")
    name = "é" + unicodedata.normalize("NFD", "ö") + ".jpg"

    with pytest.raises(PhotographError) as caught:
        PhotographFolder(tmp_path).find([name])
    assert "ambiguous_name" == caught.value.reason


@pytest.mark.parametrize(
    ("name", "file", "how"),
    [
        ("IMG_2.jpg", "IMG_2.JPG", "differs in case only"),
        ("IMG_3.jpg", "2024/IMG_3.jpg", "lies in another folder"),
        ("a/IMG_3.jpg", "IMG_3.jpg", "lies in another folder"),
        ("IMG_4", "IMG_4.jpg", "differs in its suffix"),
        ("IMG_4.jpeg", "IMG_4.jpg", "differs in its suffix"),
        ("sub\\IMG_5.jpg", "sub/IMG_5.jpg", "is the name with / for \\"),
        ("IMG%206%20(1).jpg", "IMG 6 (1).jpg", "is the name without its % escapes"),
    ],
)
def test_a_file_that_nearly_has_the_name_is_told(tmp_path, name, file, how):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"x")

    with pytest.raises(NoFileError) as caught:
        PhotographFolder(tmp_path).find([name])
    assert [(file, how)] == caught.value.near


def test_a_near_name_is_shown_unless_it_holds_a_patients_identifier(workspace, study, key, tmp_path):
    folder = tmp_path / "images"
    for name in ("IMG_2.JPG", "P-12_2.JPG", "scan p-12.JPG"):
        draw(folder / name)
    rows = [named(name, "P-12", external_id=name) for name in ("IMG_2.jpg", "P-12_2.jpg", "scan P-12.jpg")]
    _, _, told = parsed(workspace, study, key, folder, rows)

    missing = "no file under the photographs' folder has its name; "
    assert {
        "IMG_2.jpg": ("image_missing", missing + "IMG_2.JPG differs in case only"),
        "P-12_2.jpg": ("image_missing", missing + "a file differs in case only"),
        "scan P-12.jpg": ("image_missing", missing + "a file differs in case only"),
    } == told


@pytest.mark.parametrize("name", ["x" * 5_000, "a\x00b.jpg", "\udcff.jpg", "a/" * 3_000])
def test_a_name_that_no_file_can_have_is_missing(tmp_path, name):
    with pytest.raises(PhotographError) as caught:
        PhotographFolder(tmp_path).find([name])
    assert caught.value.reason in ("image_missing", "image_unreadable")


def test_a_name_belongs_to_who_has_it_as_the_better_one(tmp_path):
    first = PhotographNames("a", tmp_path, ("a", "x.jpg", None))
    second = PhotographNames("b", tmp_path, ("b", "y.jpg", "x.jpg"))
    owners = NameOwners([second, first])

    assert (["a", "x.jpg"], []) == owners.divide(first)
    assert (["b", "y.jpg"], ["x.jpg"]) == owners.divide(second)


@pytest.fixture
def public_case(shared, tmp_path, key):
    def parse_it(name):
        folder = shared / "public_cases" / name
        workspace = Workspace(tmp_path / "w")
        study = load_study(folder / "study.toml")
        parse(workspace, study, key, [folder / "export.ndjson"], images=folder / "images")
        return workspace

    return parse_it


def test_public_case_03_each_row_opens_the_file_of_its_global_key(public_case):
    workspace = public_case("03_same_file_name")
    rows = workspace.rows("select global_key, path from images where path is not null")

    assert rows
    assert all(row["path"].endswith(f"/images/{row['global_key']}") for row in rows if "/" in row["global_key"])


def test_public_case_10_a_composed_name_is_found_and_near_ones_are_told(public_case):
    workspace = public_case("10_file_names")
    told = " ".join(detail for _, detail in details(workspace).values())

    assert ["dr0001", "dr0006"] == sorted(image for image, path in files_of(workspace).items() if path)
    for near in ("IMG_2.JPG differs in case only", "2024/IMG_3.jpg lies in another folder", "IMG_4.jpg differs in"):
        assert near in told
