import threading
from pathlib import Path

import pytest

from earthsignature_assets.errors import StoreUnavailableError
from earthsignature_assets.system.atomic import whole_file, whole_folder, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_replaces_the_earlier_one_when_the_block_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, b"first")
    with whole_file(path) as partial:
        partial.write_bytes(b"second")
        assert path.read_bytes() == b"first"
        assert partial.name.startswith(".a.json.")
        assert partial.suffix == ".partial"
    assert path.read_bytes() == b"second"
    assert names(tmp_path) == ["a.json"]


def test_a_failed_block_keeps_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, b"first")
    with pytest.raises(ZeroDivisionError), whole_file(path) as partial:
        partial.write_bytes(bytes([1 // 0]))
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["a.json"]


def test_two_writers_of_one_file_do_not_interfere(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    both = threading.Barrier(2)

    def write(content: bytes) -> None:
        with whole_file(path) as partial:
            partial.write_bytes(content[:1])
            both.wait(30)
            with partial.open("ab") as file:
                file.write(content[1:])

    threads = [threading.Thread(target=write, args=(content,)) for content in (b"aaaa", b"bbbb")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in (b"aaaa", b"bbbb")
    assert names(tmp_path) == ["a.json"]


def test_an_error_of_the_disk_names_the_path_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        StoreUnavailableError, match=r"absent/a.json cannot be written: .* check that the disk has room"
    ):
        write_whole(tmp_path / "absent" / "a.json", b"")
    (tmp_path / "file").touch()
    with (
        pytest.raises(StoreUnavailableError, match=r"file/set cannot be written: .* check that the disk has room"),
        whole_folder(tmp_path / "file" / "set"),
    ):
        pass


def test_a_folder_replaces_the_earlier_one_with_all_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "set"
    for name in ("one", "two"):
        with whole_folder(folder) as partial:
            (partial / name).touch()
    assert names(folder) == ["two"]
    assert names(folder.parent) == ["set"]


def test_a_failed_block_keeps_the_earlier_folder(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with whole_folder(folder) as partial:
        (partial / "one").touch()
    with pytest.raises(ZeroDivisionError), whole_folder(folder) as partial:
        (partial / "two").write_bytes(bytes([1 // 0]))
    assert names(folder) == ["one"]
    assert names(tmp_path) == ["set"]


def test_the_earlier_folder_comes_back_when_the_second_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rename, calls = tmp_path / "set", Path.rename, 0
    with whole_folder(folder) as partial:
        (partial / "one").touch()

    def failing_second(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing_second)
    with pytest.raises(StoreUnavailableError, match="No space left"), whole_folder(folder) as partial:
        (partial / "two").touch()
    assert calls == 3
    assert names(folder) == ["one"]
    assert names(tmp_path) == ["set"]


def test_a_folder_that_may_not_be_replaced_stays(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with whole_folder(folder, replace=False) as partial:
        (partial / "one").touch()
    with (
        pytest.raises(StoreUnavailableError, match="cannot be written"),
        whole_folder(folder, replace=False) as partial,
    ):
        (partial / "two").touch()
    assert names(folder) == ["one"]
    assert names(tmp_path) == ["set"]
