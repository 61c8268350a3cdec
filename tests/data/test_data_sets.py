"""Getting data sets over real HTTP on loopback: resumed, checked, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from agemem_fakes.fileserver import Server, serving

from agemem_eval.harness.datasets import (
    CATALOGUE,
    MANIFEST,
    Dataset,
    Remote,
    data_root,
    installed,
    problems,
)
from agemem_eval.harness.download import get
from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.files import take_lock

CONTENT = bytes(range(256)) * 5000


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


def made(url: str, content: bytes = CONTENT, *, known: bool = True, **remote: object) -> Dataset:
    digest = hashlib.sha256(content).hexdigest() if known else None
    file = Remote(url, len(content) if known else None, digest)
    return Dataset("made", "none", "made up", "none", (replace(file, **remote),), url)  # type: ignore[arg-type]


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, "made", made("http://127.0.0.1/x.bin"))


def test_what_is_fetched_is_what_was_published(server: Server, tmp_path: Path) -> None:
    server.files["x.bin"] = CONTENT
    seen: list[tuple[str, int, int | None]] = []
    folder = get(made(f"{server.url}/x.bin"), tmp_path, progress=lambda *a: seen.append(a))
    assert (folder / "x.bin").read_bytes() == CONTENT
    assert seen[-1] == ("x.bin", len(CONTENT), len(CONTENT))
    assert installed("made", tmp_path) == folder
    assert list(problems("made", tmp_path)) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made"], "nothing else is left"
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["files"]["x.bin"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()


def test_a_broken_connection_is_resumed_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.files["x.bin"], server.cut = CONTENT, 2
    folder = get(made(f"{server.url}/x.bin"), tmp_path, pause_s=0.01)
    assert (folder / "x.bin").read_bytes() == CONTENT
    third = len(CONTENT) // 3
    assert server.asked[1] == f"bytes={third}-"
    assert len(server.asked) == 3


def test_a_server_that_cannot_resume_is_asked_from_the_start(
    server: Server, tmp_path: Path
) -> None:
    server.files["x.bin"], server.cut, server.ranges = CONTENT, 1, False
    folder = get(made(f"{server.url}/x.bin"), tmp_path, pause_s=0.01)
    assert (folder / "x.bin").read_bytes() == CONTENT


def test_a_server_that_is_down_is_tried_again_and_the_rest_is_kept(
    server: Server, tmp_path: Path
) -> None:
    server.files["x.bin"], server.fail = CONTENT, 2
    about = made(f"{server.url}/x.bin")
    assert get(about, tmp_path, pause_s=0.01)
    server.fail = 99
    with pytest.raises(DataError, match=r"503.*--from PATH"):
        get(about, tmp_path, pause_s=0.01)
    assert list(problems("made", tmp_path)) == [], "what was there before is untouched"
    server.fail, server.cut = 0, 99
    with pytest.raises(DataError, match="the connection ended after"):
        get(about, tmp_path, pause_s=0.01)
    server.cut = 0
    get(about, tmp_path)
    assert server.asked[-1].startswith("bytes="), "a later call goes on"


def test_what_had_arrived_of_another_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    server.files["x.bin"] = CONTENT
    part = tmp_path / ".made.part"
    part.mkdir()
    (part / "x.bin").write_bytes(CONTENT + b"more")
    folder = get(made(f"{server.url}/x.bin"), tmp_path, pause_s=0.01)
    assert (folder / "x.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1], b"y" + CONTENT[1:], b""])
def test_another_file_than_the_published_one_is_refused(
    server: Server, tmp_path: Path, content: bytes
) -> None:
    server.files["x.bin"] = content
    with pytest.raises(DataError, match=r"x\.bin"):
        get(made(f"{server.url}/x.bin"), tmp_path, pause_s=0.01)
    assert installed("made", tmp_path) is None
    server.files["x.bin"] = CONTENT
    assert get(made(f"{server.url}/x.bin"), tmp_path), "and does not spoil the next try"


def test_a_reply_of_no_stated_length_that_breaks_off_is_not_whole(
    server: Server, tmp_path: Path
) -> None:
    server.files["x.bin"], server.cut, server.chunked = CONTENT, 1, True
    folder = get(made(f"{server.url}/x.bin", known=False), tmp_path, pause_s=0.01)
    assert (folder / "x.bin").read_bytes() == CONTENT
    server.cut = 99
    with pytest.raises(DataError, match="the connection ended after"):
        get(made(f"{server.url}/x.bin", known=False), tmp_path, pause_s=0.01)


@pytest.mark.parametrize(("etag", "resumed"), [('"one"', True), ("", False), ('W/"one"', False)])
def test_without_a_published_hash_only_the_same_file_is_resumed(
    server: Server, tmp_path: Path, etag: str, resumed: bool
) -> None:
    server.files["x.bin"], server.cut, server.etag = CONTENT, 1, etag
    folder = get(made(f"{server.url}/x.bin", known=False), tmp_path, pause_s=0.01)
    assert (folder / "x.bin").read_bytes() == CONTENT
    assert bool(server.asked[1]) == resumed


def test_a_file_that_changed_meanwhile_is_never_mixed(server: Server, tmp_path: Path) -> None:
    server.files["x.bin"], server.cut, server.etag = b"old " * 5000, 99, '"old"'
    about = made(f"{server.url}/x.bin", known=False)
    with pytest.raises(DataError):
        get(about, tmp_path, pause_s=0.01)
    server.files["x.bin"], server.cut, server.etag = b"new " * 5000, 0, '"new"'
    assert (get(about, tmp_path) / "x.bin").read_bytes() == b"new " * 5000


def test_two_at_once_do_not_spoil_each_other(server: Server, tmp_path: Path) -> None:
    server.files["x.bin"] = CONTENT
    (tmp_path / ".made.part").mkdir()
    lock = take_lock(tmp_path / ".made.part", "it")
    with pytest.raises(UsageError, match="the data set made is being written by process"):
        get(made(f"{server.url}/x.bin"), tmp_path)
    os.close(lock)
    assert get(made(f"{server.url}/x.bin"), tmp_path)


def test_what_was_not_fetched_is_never_touched(server: Server, tmp_path: Path) -> None:
    server.files["x.bin"] = CONTENT
    about = made(f"{server.url}/x.bin")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="was not fetched by `data get`"):
        get(about, tmp_path)
    assert (tmp_path / "made" / "thesis.tex").read_text() == "years of work"
    folder = get(about, tmp_path / "big")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "made").symlink_to(folder)
    with pytest.raises(UsageError, match="was not fetched"):
        get(about, tmp_path / "linked")
    assert installed("made", tmp_path / "linked") is not None
    with pytest.raises(UsageError, match="lies in the place"):
        get(about, tmp_path / "big", source=folder / "x.bin")
    assert list(problems("made", tmp_path / "big")) == []


def test_a_file_called_like_the_manifest_is_part_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zipped(a__b=b"1", **{"deep__manifest.json": b"{}"}))
    about = made("http://192.0.2.1/x.zip", known=False, members=("",))
    get(about, tmp_path / "root", source=tmp_path / "x.zip")
    assert list(problems("made", tmp_path / "root")) == []


def test_a_missing_file_is_told_at_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="404"):
        get(made(f"{server.url}/x.bin"), tmp_path)
    assert len(server.asked) == 1


def test_a_mirror_serves_the_same_file(server: Server, tmp_path: Path) -> None:
    server.files["x.bin"] = CONTENT
    about = made("http://192.0.2.1/never/x.bin")
    assert get(about, tmp_path, mirror=f"{server.url}/some/where/")


def test_an_archive_gives_the_wanted_members_only(tmp_path: Path) -> None:
    archive = zipped(top__a__one=b"1", top__a__deep__two=b"2", top__b__three=b"3", other=b"4")
    (tmp_path / "x.zip").write_bytes(archive)
    about = made("http://192.0.2.1/x.zip", archive, members=("a/",), strip=1)
    folder = get(about, tmp_path / "root", source=tmp_path / "x.zip")
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files == {"a/one", "a/deep/two", MANIFEST}
    assert (tmp_path / "x.zip").exists(), "the user's file stays"


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "a\\..\\out"])
def test_an_archive_never_writes_outside(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.zip").write_bytes(zipped(**{name: b"evil"}))
    about = made("http://192.0.2.1/x.zip", known=False, members=("",))
    with pytest.raises(DataError, match="no plain file below its folder"):
        get(about, tmp_path / "root", source=tmp_path / "x.zip")
    assert not list(tmp_path.rglob("out"))


def test_links_and_damage_in_an_archive_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    about = made("http://192.0.2.1/x.zip", known=False, members=("",))
    with pytest.raises(DataError, match="no plain file"):
        get(about, tmp_path / "root", source=tmp_path / "x.zip")
    whole = zipped(a=os.urandom(5000))
    for broken in (whole[:2000], whole[:500] + b"\0" * 100 + whole[600:], b"no archive"):
        (tmp_path / "x.zip").write_bytes(broken)
        with pytest.raises(DataError, match="not a sound zip archive"):
            get(about, tmp_path / "root", source=tmp_path / "x.zip")
    assert installed("made", tmp_path / "root") is None


def test_verify_finds_what_is_missing_changed_and_extra(tmp_path: Path) -> None:
    archive = zipped(a=b"1", b=b"2", c=b"3")
    (tmp_path / "x.zip").write_bytes(archive)
    folder = get(
        made("http://192.0.2.1/x.zip", archive, members=("",)),
        tmp_path / "root",
        source=tmp_path / "x.zip",
    )
    (folder / "a").unlink()
    (folder / "b").write_bytes(b"9")
    (folder / "c").write_bytes(b"33")
    (folder / "d").write_bytes(b"4")
    found = list(problems("made", tmp_path / "root"))
    ends = (
        "a: missing",
        "its content was changed",
        "2 bytes, not 1",
        "d: not part of the data set",
    )
    assert len(found) == 4
    assert all(line.endswith(end) for line, end in zip(found, ends, strict=True))


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": 2, "files": {}}', '{"format": 1, "files": {"../x": {}}}']
)
def test_a_broken_manifest_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=MANIFEST):
        list(problems("made", tmp_path))


def test_a_manifest_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    files = {"../secret": {"size": 1, "sha256": "0"}}
    text = json.dumps({"format": 1, "files": files})
    (tmp_path / "made" / MANIFEST).write_text(text)
    with pytest.raises(DataError, match="leaves the folder"):
        list(problems("made", tmp_path))


def test_several_files_need_a_folder(tmp_path: Path) -> None:
    about = CATALOGUE["agentboard-pddl"]
    (tmp_path / "one").write_bytes(b"x")
    with pytest.raises(UsageError, match="--from must be a folder"):
        get(about, tmp_path / "root", source=tmp_path / "one")
    with pytest.raises(DataError, match="no such file"):
        get(about, tmp_path / "root", source=tmp_path)


def test_the_catalogue_is_sound() -> None:
    for name, about in CATALOGUE.items():
        assert about.name == name
        assert about.licence
        for file in about.files:
            assert file.url.startswith("http")
            assert file.name
            assert file.sha256 is None or len(file.sha256) == 64


# --- the commands ---------------------------------------------------------------------------


def cli(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agemem_eval", *arguments]
    env = {**os.environ, "AGEMEM_DATA": str(root)}
    env.pop("ALFWORLD_DATA", None)
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=120)


def test_official_games_that_were_got_are_found_without_a_flag(
    alfworld_data: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "json_2.1.2_tw-pddl.zip", "w") as archive:
        for game in alfworld_data.rglob("game.tw-pddl"):
            archive.write(game, game.relative_to(alfworld_data))
    run = ("run", "--env", "alfworld", "--split", "valid_seen", "--memory", "none", "--json")
    run += ("--model", "scripted")
    before = cli(tmp_path, *run, "--episodes", "3")
    assert before.returncode == 2
    assert "agemem-eval data get alfworld" in before.stderr
    done = cli(tmp_path, "data", "get", "alfworld", "--from", "json_2.1.2_tw-pddl.zip")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "alfworld")
    assert "licence MIT" in done.stderr
    after = cli(tmp_path, *run, "--episodes", "3")
    assert after.returncode == 0, after.stderr
    assert json.loads(after.stdout)["rows"][0]["success_rate"] == 1
    assert cli(tmp_path, "data", "verify").returncode == 0
    next((tmp_path / "alfworld").rglob("game.tw-pddl")).unlink()
    verified = cli(tmp_path, "data", "verify", "alfworld")
    assert verified.returncode == 1
    assert "missing" in verified.stdout


def test_list_tells_source_licence_and_size(tmp_path: Path) -> None:
    listed = json.loads(cli(tmp_path, "data", "list", "--json").stdout)
    by_name = {d["name"]: d for d in listed["datasets"]}
    assert by_name["hotpotqa-dev"]["size"] == 46_320_117
    assert by_name["hotpotqa-dev"]["licence"] == "CC BY-SA 4.0"
    assert by_name["alfworld"]["folder"] is None
    assert "46 MB" in cli(tmp_path, "data", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("get", "alfwrld"), "did you mean 'alfworld'"),
        (("get", "alfworld", "--from", "nowhere.zip"), "no such file"),
        (("get", "alfworld", "--from", ".", "--mirror", "http://127.0.0.1:9"), "exclude"),
        (("get", "alfworld", "--mirror", "http://127.0.0.1:9"), "agemem-eval data get alfworld"),
        (("get", "alfworld", "--mirror", "somewhere"), "no http or https address"),
        (("verify", "hotpotqa-dev"), "agemem-eval data get hotpotqa-dev"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = cli(tmp_path, "data", *arguments)
    assert done.returncode == 2
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("agemem-eval: error:")
    assert said in line


def test_the_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGEMEM_DATA", "/somewhere")
    assert data_root() == Path("/somewhere")
    monkeypatch.delenv("AGEMEM_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", "/shared")
    assert data_root() == Path("/shared/agemem-eval")
