import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import StudyError
from toolkit.privacy import PseudonymKey, load_key, normalise, scrub

KEY = PseudonymKey(b"one", published=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("P-777", "p-777 "),
        ("P 7", "  p   7"),
        ("Ａ１", "a1"),
        ("Jose\u0301", "JOSÉ"),
        (777, "777"),
        (777.0, "777"),
        ("P-12", "P\u201312"),
        ("P-12", "P\u201012"),
        ("P-12", "P\u221212"),
        ("P-12", "P\u200b-12"),
        ("P-12", "P-12\ufeff"),
        ("P-12", "P\u00ad-12"),
        ("P-12", "\u202aP-12\u202c"),
        ("P-12", "P-12\x00"),
        ("P-12", "P-12\ufe0f"),
        ("P 12", "P\u00a012"),
        ("P-12", "P-12 \u200b"),
    ],
)
def test_slips_of_typing_are_the_same_patient(one, other):
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"), [("P-1", "P1"), ("007", "7"), ("a b", "ab"), ("12", "12.0"), ("P-12", "P - 12"), ("P_12", "P-12")]
)
def test_anything_else_is_another_patient(one, other):
    assert normalise(one) != normalise(other)


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalise(text) == normalise(normalise(text))


def test_a_pseudonym_depends_on_the_key_the_kind_and_the_identifier():
    made = {
        KEY.pseudonym("p", "7"),
        KEY.pseudonym("l", "7"),
        KEY.pseudonym("p", "8"),
        PseudonymKey(b"two", published=True).pseudonym("p", "7"),
        KEY.pseudonym("p", "7", "1"),
    }

    assert 5 == len(made)
    assert KEY.pseudonym("p", "7") == KEY.pseudonym("p", "7")


def test_a_key_is_never_shown():
    assert "one" not in repr(PseudonymKey(b"one", published=False))


def test_a_missing_key_is_made_with_mode_0600_and_read_again(tmp_path):
    made = load_key(None, "keys/study.key", study_folder=tmp_path, workspace=tmp_path / "workspace")
    path = tmp_path / "keys" / "study.key"
    again = load_key(None, "keys/study.key", study_folder=tmp_path, workspace=tmp_path / "workspace")

    assert path == made.created
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert made.secret == again.secret
    assert None is again.created


def test_the_default_key_stands_in_the_users_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    assert (
        tmp_path / "lesion-toolkit" / "pseudonym.key"
        == load_key(None, None, study_folder=tmp_path, workspace=tmp_path / "workspace").created
    )


@pytest.mark.parametrize("content", ["", "zz", "abcd"])
def test_a_damaged_key_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "study.key"
    path.write_text(content)

    with pytest.raises(StudyError, match="cannot be used"):
        load_key(None, "study.key", study_folder=tmp_path, workspace=tmp_path / "workspace")
    assert content == path.read_text()


def test_scrubbing_takes_out_e_mails_url_queries_and_identifiers():
    text = "ask dr.jane@example.org about P-777, https://x.org/a.jpg?Signature=abc#f"

    assert "ask [e-mail removed] about [identifier removed], https://x.org/a.jpg?[removed]" == scrub(
        text, secrets_in_it=("p-777",)
    )


def test_a_key_inside_the_workspace_is_refused(tmp_path):
    with pytest.raises(StudyError, match="given away"):
        load_key(None, "work/key", study_folder=tmp_path, workspace=tmp_path / "work")
    assert not (tmp_path / "work").exists()
