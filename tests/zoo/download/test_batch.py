"""Many files at once, mirrors of one's own, and checks of mirrors."""

from __future__ import annotations

import time

import pytest

from tests.zoo.download.conftest import CONTENT, SHA256
from tests.zoo.download.server import status, whole
from zoo.download import audit, batch, cache, lock, mirror, mirror_status
from zoo.download.fetch_file import obtain
from zoo.download.remote_file import RemoteFile
from zoo.errors import FetchError


def files(server, count=4):
    return [RemoteFile(f"models/{n}.pth", (server.url(f"/{n}.pth"),), SHA256[:8]) for n in range(count)]


def test_one_failure_does_not_stop_the_others(server):
    server.behaviors["/2.pth"] = [status(404)]
    outcomes = batch.obtain_all(files(server), jobs=3)
    assert [outcome.error is None for outcome in outcomes] == [True, True, False, True]
    assert "404" in outcomes[2].error


def test_a_file_of_two_models_is_fetched_once(server):
    batch.obtain_all(files(server, 1) * 3, jobs=3)
    assert len(server.requests) == 1


def test_a_plan_asks_no_server_and_knows_sizes_from_locks(server):
    remotes = files(server)
    obtain(remotes[0])
    server.requests.clear()
    cache.location(remotes[0]).unlink()
    plans = batch.plan(remotes)
    assert [plan.size for plan in plans] == [len(CONTENT), None, None, None]
    assert not any(plan.cached for plan in plans) and server.requests == []


def test_all_sizes_together_must_fit_the_disk(server, monkeypatch):
    remotes = files(server)
    batch.obtain_all(remotes)
    for remote in remotes:
        cache.location(remote).unlink()
    monkeypatch.setattr("zoo.download.transfer.SPARE", 0)
    monkeypatch.setattr("zoo.download.transfer.shutil.disk_usage", lambda _: type("U", (), {"free": 3 * len(CONTENT)}))
    with pytest.raises(FetchError, match="needed"):
        batch.obtain_all(remotes)


def test_an_interruption_ends_downloads_that_run(server):
    def interrupt(outcome):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        batch.obtain_all(files(server), jobs=2, done=interrupt)


def test_a_mirror_has_the_layout_an_index_and_serves_as_a_mirror(server, tmp_path, cache):
    remotes = files(server, 2)
    for remote in remotes:
        mirror.add(tmp_path / "mirror", remote, obtain(remote))
    assert all(mirror.present(tmp_path / "mirror", remote) for remote in remotes)
    assert mirror.verify(tmp_path / "mirror") == {}
    assert lock.read(tmp_path / "mirror" / "index.json")["models/0.pth"].sha256 == SHA256
    for path in (cache / "models").iterdir():
        path.unlink()
    server.requests.clear()
    assert obtain(remotes[0], mirrors=[str(tmp_path / "mirror")]).read_bytes() == CONTENT
    assert server.requests == []


def test_a_mirror_notices_damage(server, tmp_path):
    (remote,) = files(server, 1)
    mirror.add(tmp_path / "mirror", remote, obtain(remote))
    damaged = tmp_path / "mirror" / remote.path
    damaged.write_bytes(b"x" * len(CONTENT))
    assert list(mirror.verify(tmp_path / "mirror")) == [remote.path]
    damaged.write_bytes(b"short")
    assert not mirror.present(tmp_path / "mirror", remote)


def test_only_verified_files_enter_a_mirror(server, tmp_path):
    (remote,) = files(server, 1)
    path = obtain(remote)
    path.write_bytes(b"not the file")
    with pytest.raises(FetchError, match="SHA-256"):
        mirror.add(tmp_path / "mirror", remote, path)
    assert not (tmp_path / "mirror" / remote.path).exists()


def test_verify_finds_a_file_that_is_not_what_was_recorded(server, cache):
    from zoo.download import cache as cached

    path = obtain(files(server, 1)[0])
    (intact,) = map(audit.audit, cached.files())
    path.write_bytes(b"x")
    (touched,) = cached.files()
    assert intact.problem is None and touched.state == "unverified"
    assert "SHA-256" in audit.audit(touched).problem


def test_verify_knows_published_digits_from_the_name(cache):
    from zoo.download import cache as cached

    (cache / "x").mkdir(parents=True)
    (cache / "x" / f"model_2020-{SHA256[:8]}.pth").write_bytes(CONTENT)
    (cache / "x" / "model_2020-00000000.pth").write_bytes(CONTENT)
    problems = [audit.audit(file).problem for file in cached.files()]
    assert "as its name tells" in problems[0] and problems[1] is None


def test_a_mirror_check_asks_with_head_once_and_goes_on_where_it_stopped(server):
    server.behaviors["/1.pth"] = [status(404)]
    server.behaviors["/2.pth"] = [status(403)]
    urls = [server.url(f"/{n}.pth") for n in range(3)]
    responses = mirror_status.check_mirrors(urls[:2], rate=1000)
    assert [responses[url].status for url in urls[:2]] == ["served", "missing"]
    responses = mirror_status.check_mirrors(urls, rate=1000)
    assert responses[urls[2]].status == "answered 403 Forbidden"
    assert [(method, path) for method, path, _ in server.requests] == [("HEAD", f"/{n}.pth") for n in range(3)]
    assert mirror_status.sizes(files(server)) == {"models/0.pth": len(CONTENT)}


def test_a_mirror_check_asks_no_faster_than_it_may(server):
    began = time.monotonic()
    mirror_status.check_mirrors([server.url(f"/{n}") for n in range(5)], rate=20)
    assert time.monotonic() - began >= 4 / 20


def test_a_mirror_check_asks_a_dead_host_once(monkeypatch):
    asked = []

    def head(url):
        asked.append(url)
        return mirror_status.Response(url, "its name does not resolve"), mirror_status.GIVE_UP

    monkeypatch.setattr(mirror_status, "head", head)
    responses = mirror_status.check_mirrors([f"http://host.invalid/{n}" for n in range(4)], rate=1000)
    assert len(asked) == 1 and {response.status for response in responses.values()} == {"its name does not resolve"}


def test_a_mirror_check_survives_a_server_that_hangs(server):
    server.behaviors["/0"] = [lambda handler: time.sleep(2)]
    responses = mirror_status.check_mirrors([server.url("/0")], rate=1000)
    assert "sent nothing" in responses[server.url("/0")].status


def test_a_mirror_check_makes_the_pause_that_a_server_asks_for(server, monkeypatch):
    pauses = []
    monkeypatch.setattr(mirror_status.time, "sleep", pauses.append)
    server.behaviors["/0"] = [status(429, Retry_After=7), whole]
    assert mirror_status.check_mirrors([server.url("/0")], rate=1000)[server.url("/0")].served
    assert 7 in pauses


def test_a_mirror_check_asks_again_where_there_was_no_lasting_answer(server):
    server.behaviors["/0"] = [status(503), whole]
    server.behaviors["/1"] = [status(403)]
    urls = [server.url("/0"), server.url("/1")]
    assert not mirror_status.check_mirrors(urls, rate=1000)[urls[0]].served
    assert mirror_status.check_mirrors(urls, rate=1000)[urls[0]].served
    assert [path for _, path, _ in server.requests] == ["/0", "/1", "/0"]


def test_a_mirror_check_gives_up_a_host_that_falls_silent_again_and_again(monkeypatch):
    asked = []

    def head(url):
        asked.append(url)
        return mirror_status.Response(url, "sent nothing for 30 seconds"), int(len(asked) != 2)

    monkeypatch.setattr(mirror_status, "head", head)
    responses = mirror_status.check_mirrors([f"http://host.invalid/{n}" for n in range(9)], rate=1000)
    assert len(asked) == 2 + mirror_status.GIVE_UP and len(responses) == 9
