"""May a command write its output into this folder?"""

from __future__ import annotations

from pathlib import Path

import pytest

from lfo.atomic import check_folder, make_folder
from lfo.errors import LfoError


def test_a_new_or_an_empty_folder_is_taken_and_made(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert not check_folder(folder, owner="run.json", overwrite=False)
    assert not folder.exists()
    for _ in range(2):
        make_folder(folder)
        assert not check_folder(folder, owner="run.json", overwrite=False)
        assert not list(folder.iterdir())


def test_what_is_hidden_is_nobodys_work(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    assert not check_folder(tmp_path, owner="run.json", overwrite=False)


def test_an_earlier_output_needs_to_be_replaced_or_continued(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(LfoError, match=r"already exists; pass --overwrite to replace it$"):
        check_folder(tmp_path, owner="run.json", overwrite=False)
    with pytest.raises(LfoError, match=r"pass --resume to continue it or --overwrite to replace it$"):
        check_folder(tmp_path, owner="run.json", overwrite=False, resume=False)
    assert check_folder(tmp_path, owner="run.json", overwrite=True)
    assert check_folder(tmp_path, owner="run.json", overwrite=False, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    "options", [{"overwrite": False}, {"overwrite": True}, {"overwrite": True, "resume": True}]
)
def test_a_folder_of_other_files_is_refused(tmp_path: Path, options: dict[str, bool]) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(LfoError, match="found other files; choose another"):
        check_folder(tmp_path, owner="run.json", **options)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(LfoError, match="expected a folder, found a file; choose another"):
        check_folder(file, owner="run.json", overwrite=True)
    for path in (file, file / "below"):
        with pytest.raises(LfoError, match=r"cannot write to this folder \(.*\); choose another"):
            make_folder(path)
