"""JetStream's servers and streams as operators leave them: away, wrong, too old, lax, full, killed and back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest
from eventstore import (
    NotAStore,
    Progress,
    StoreFull,
    StoreNotFound,
    StoreUnavailable,
    StreamId,
    UnknownPosition,
    WrongLog,
    jetstream,
)
from eventstore.jetstream import JetStreamBackend, from_url
from eventstore.testing._scene import closing, commit, flat

from tests.eventstore.nats_servers import (
    NatsServer,
    administration,
    binary_of,
    free_ports,
    fresh,
    new_name,
    one_server,
    three_servers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.contract

STREAM = StreamId("c", "1")
BEGINNING: Any = 0


async def opens(log: JetStreamBackend) -> None:
    """Open a log and use it."""
    async with log:
        assert (await log.append(commit(STREAM))).version == 1


async def refusal(log: JetStreamBackend, kind: type[StoreUnavailable] = StoreUnavailable) -> str:
    """Return why a log is not opened."""
    with pytest.raises(kind) as error:
        async with log:
            pass
    assert type(error.value) is kind or kind is StoreUnavailable
    return str(error.value)


# --------------------------------------------------------------------------------------------------------- being there


async def test_away_at_start() -> None:
    """Where nobody listens, opening gives up when it was told to, and says where it looked."""
    [port] = free_ports(1)
    began = time.monotonic()
    reason = await refusal(fresh([f"nats://me:secret@127.0.0.1:{port}"], start_seconds=0.5))
    assert 0.5 <= time.monotonic() - began < 5
    assert reason.startswith(f"127.0.0.1:{port}: no server answers within 0.5 s")


async def test_late_at_start(tmp_path: Path) -> None:
    """A server that comes up while a store waits for it is used."""
    server = NatsServer(tmp_path)
    opening = asyncio.ensure_future(opens(fresh([server.url])))
    try:
        await asyncio.sleep(0)
        server.start()
        await opening
    finally:
        server.stop()


async def test_one_of_three_away(tmp_path: Path) -> None:
    """Of several addresses one that answers is enough."""
    [port] = free_ports(1)
    with one_server(tmp_path) as server:
        await opens(fresh([f"nats://127.0.0.1:{port}", server.url]))


@pytest.mark.timeout(60)
async def test_killed_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the server is away appends and reads fail in their time; when it is back all goes on, follows too."""
    monkeypatch.setattr(jetstream, "_API_SECONDS", 0.5)
    with one_server(tmp_path) as server:
        async with fresh([server.url], append_seconds=1) as log, closing(log.follow(after=BEGINNING)) as items:
            found: list[int] = []

            async def follow(until: int) -> None:
                async for item in items:
                    if not isinstance(item, Progress):
                        found.extend(raw.position for raw in item)
                    if until in found:
                        return

            await log.append(commit(STREAM))
            await follow(1)
            server.kill()
            unknown = commit(STREAM, 1)
            for _ in range(2):
                began = time.monotonic()
                with pytest.raises(StoreUnavailable, match="not answered within 1 s"):
                    await log.append(unknown)
                assert time.monotonic() - began < 2
            for asking in (log.head, lambda: log.tail(STREAM), log.describe):
                with pytest.raises(StoreUnavailable):
                    await asking()
            going_on = asyncio.ensure_future(follow(3))
            server.start()
            server.wait()
            # What failed may have been stored or not; again under its id, it is stored once.
            answer = await again(log, unknown)
            assert (answer.version, answer.position) == (2, 2)
            await log.append(commit(STREAM, 2))
            await going_on
            assert found == [1, 2, 3]
            assert [raw.position for raw in await flat(log.log(after=BEGINNING))] == [1, 2, 3]


async def again(log: JetStreamBackend, new: Any) -> Any:
    """Append until the connection is back."""
    while True:
        with contextlib.suppress(StoreUnavailable):
            return await log.append(new)


async def test_closed_while_away(tmp_path: Path) -> None:
    """A store whose server is gone can be closed at once."""
    with one_server(tmp_path) as server:
        async with fresh([server.url], append_seconds=1) as log:
            await log.append(commit(STREAM))
            server.kill()
            began = time.monotonic()
        assert time.monotonic() - began < 2


@pytest.mark.timeout(60)
async def test_shut_out_and_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that are taken back and given again end nothing for good: appends and follows go on."""
    monkeypatch.setattr(jetstream, "_API_SECONDS", 0.5)
    inside = 'authorization { user: "me", password: "right" }'
    with one_server(tmp_path, more=inside) as server:
        url = server.url.replace("//", "//me:right@")
        async with (
            fresh([url], append_seconds=1, start_seconds=1) as log,
            closing(log.follow(after=BEGINNING)) as items,
        ):
            new = commit(STREAM)
            server.reload(inside.replace("right", "another"))
            with contextlib.suppress(StoreUnavailable):
                while True:
                    new = commit(STREAM, (await log.append(new)).version)
            assert log.wire.client.is_closed
            server.reload(inside)
            last = await again(log, new)
            found: list[int] = []
            async for item in items:
                if not isinstance(item, Progress):
                    found += [raw.position for raw in item]
                    if len(found) == last.version:
                        break
            assert found == list(range(1, last.position + 1))


async def test_connecting_goes_wrong_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong while a connection is made anew, the next request tries again."""
    with one_server(tmp_path) as server:
        async with fresh([server.url]) as log:
            connecting, left = log.wire._connect, [ValueError("half a file of credentials"), OSError("x")]

            async def failing() -> Any:
                if left:
                    raise left.pop()
                return await connecting()

            monkeypatch.setattr(log.wire, "_connect", failing)
            await log.wire.client.close()
            assert (await log.append(commit(STREAM))).position == 1
            assert not left


async def test_denied(tmp_path: Path) -> None:
    """An append that this user may not make fails with what the server says about that."""
    more = 'authorization { users = [{user: "w", password: "w"}, {user: "r", password: "r", '
    more += 'permissions: {publish: {allow: ["$JS.API.>", "_INBOX.>"]}, subscribe: ">"}}] }'
    with one_server(tmp_path, more=more) as server:
        async with fresh([server.url.replace("//", "//w:w@")]) as log:
            url = server.url.replace("//", "//r:r@")
            async with JetStreamBackend([url], log._name, prefix=log._prefix, append_seconds=0.5) as reader:
                with pytest.raises(StoreUnavailable, match=r"the server says: .*ermissions"):
                    await reader.append(commit(STREAM))


# ------------------------------------------------------------------------------------------ another log under the name


async def followed(log: JetStreamBackend, upset: Any) -> None:
    """Follow a log of one commit, upset its JetStream stream, and follow on until that fails."""
    async with closing(log.follow(after=BEGINNING)) as items:
        async for item in items:
            if not isinstance(item, Progress):
                await upset()


async def test_deleted(one_nats: list[str]) -> None:
    """A follow of a log that is deleted ends with that as the reason, after a while of hope."""
    async with administration(*one_nats) as admin, fresh(one_nats, start_seconds=1) as log:
        await log.append(commit(STREAM))
        with pytest.raises(StoreNotFound):
            await followed(log, lambda: admin.api(f"STREAM.DELETE.{log._name}"))


async def test_made_anew(one_nats: list[str]) -> None:
    """A follow does not go on in another log that has come in the place of its own."""
    async with administration(*one_nats) as admin, fresh(one_nats) as log:

        async def make_anew() -> None:
            await admin.api(f"STREAM.DELETE.{log._name}")
            await opens(JetStreamBackend(one_nats, log._name, prefix=log._prefix))

        await log.append(commit(STREAM))
        await log.append(commit(STREAM, 1))
        with pytest.raises(WrongLog):
            await followed(log, make_anew)
        # Nor does an append that builds on what was there, nor a look at the log.
        for asking in (lambda: log.append(commit(STREAM, 2)), log.head, log.describe):
            with pytest.raises(WrongLog):
                await asking()


async def test_restored(one_nats: list[str]) -> None:
    """A follow does not go on in an older copy of its log, which lacks what was seen."""
    async with administration(*one_nats) as admin, fresh(one_nats, start_seconds=1) as log:

        async def restore() -> None:
            config = (await admin.api(f"STREAM.INFO.{log._name}"))["config"]
            await admin.api(f"STREAM.DELETE.{log._name}")
            await admin.api(f"STREAM.CREATE.{log._name}", config)

        await log.append(commit(STREAM))
        with pytest.raises(UnknownPosition):
            await followed(log, restore)


# ---------------------------------------------------------------------------------------------------- the wrong servers


async def test_credentials(tmp_path: Path) -> None:
    """Wrong credentials are named as the reason, right ones open, and neither is shown."""
    with one_server(tmp_path, more='authorization { user: "me", password: "right" }') as server:
        for who in ("me:wrong@", "you:right@", ""):
            url = server.url.replace("//", f"//{who}")
            reason = await refusal(fresh([url], start_seconds=0.7))
            assert reason == f"127.0.0.1:{server.port}: the server does not accept these credentials"
        await opens(fresh([server.url.replace("//", "//me:right@")]))
        await opens(fresh([server.url], options={"user": "me", "password": "right"}))


async def test_special_characters(tmp_path: Path) -> None:
    """A password with what is special in a URL is escaped there."""
    with one_server(tmp_path, more='authorization { user: "me", password: "p@w/x" }') as server:
        await opens(from_url(f"nats://me:p%40w%2Fx@127.0.0.1:{server.port}/E?prefix=e", create=True))


async def test_no_tls() -> None:
    """Where TLS is asked for, nothing is said to a server that offers none."""
    said = b""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        writer.write(b'INFO {"server_id":"X","version":"2.15.1","max_payload":1048576,"headers":true}\r\n')
        said += await reader.read()
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        reason = await refusal(from_url(f"tls://me:secret@127.0.0.1:{port}/E?prefix=e", create=True))
        assert reason == f"127.0.0.1:{port}: TLS is asked for, and the server offers none"
    assert said == b""


@pytest.mark.parametrize(
    ("option", "words"), [("nkey=/no/such", "/no/such: No such file"), ("nkey=/etc/hostname", "cannot connect")]
)
async def test_wrong_files(tmp_path: Path, option: str, words: str) -> None:
    """Files that are not there, or hold something else, are told at once."""
    with one_server(tmp_path, more="authorization { user: me, password: x }") as server:
        assert words in await refusal(from_url(f"{server.url}/E?prefix=e&{option}", create=True))


async def test_read_while_away(tmp_path: Path) -> None:
    """A reading of the log that has an end does not wait for ever for a server that is gone."""
    with one_server(tmp_path) as server:
        async with fresh([server.url], start_seconds=0.5) as log:
            for version in range(60):
                await log.append(commit(STREAM, version, padding=1_000_000))
            reading = log.log(after=BEGINNING)
            await anext(reading)
            server.kill()
            with pytest.raises(StoreUnavailable):
                await flat(reading)


async def test_jetstream_off(tmp_path: Path) -> None:
    """A server without JetStream is named as such."""
    with one_server(tmp_path, jetstream="off") as server:
        assert "JetStream is" in await refusal(fresh([server.url], start_seconds=0.5))


async def test_jetstream_off_for_the_account(tmp_path: Path) -> None:
    """So is one that has it, but not for this account."""
    more = 'accounts { A { jetstream: enabled, users: [{user: "a", password: "a"}] }, '
    more += 'B { users: [{user: "b", password: "b"}] } }'
    with one_server(tmp_path, more=more) as server:
        await opens(fresh([server.url.replace("//", "//a:a@")]))
        reason = await refusal(fresh([server.url.replace("//", "//b:b@")], start_seconds=0.5))
        assert "JetStream is" in reason


async def test_too_old(tmp_path: Path) -> None:
    """A server that is too old is refused with both versions."""
    with one_server(tmp_path, program=binary_of("2.10.26")) as server:
        reason = await refusal(fresh([server.url]), NotAStore)
        assert reason == "the server is nats-server 2.10.26; 2.12.4 or later is needed"


async def test_small_messages(tmp_path: Path) -> None:
    """A server that takes only small messages is refused with both sizes."""
    with one_server(tmp_path, more="max_payload: 65536") as server:
        reason = await refusal(fresh([server.url]), NotAStore)
        assert reason == "the server takes messages of 65,536 bytes; 1,048,576 are needed"


# ---------------------------------------------------------------------------------------------------- the wrong streams


async def test_not_to_be_made(one_nats: list[str]) -> None:
    """A JetStream stream that is not there and not to be made is not found."""
    name = new_name()
    assert await refusal(JetStreamBackend(one_nats, name, prefix=name, create=False), StoreNotFound)
    await opens(JetStreamBackend(one_nats, name, prefix=name))
    async with JetStreamBackend(one_nats, name, prefix=name, create=False) as log:
        assert await log.head() == 1


async def test_owned_by_others(one_nats: list[str]) -> None:
    """A JetStream stream that others made is left as it is."""
    name = new_name()
    config = {"name": name, "subjects": [f"{name}.*.*"], "storage": "file"}
    async with administration(*one_nats) as admin:
        before = (await admin.api(f"STREAM.CREATE.{name}", config))["config"]
        assert "is not an event store" in await refusal(JetStreamBackend(one_nats, name, prefix=name), NotAStore)
        assert "is not an event store" in await refusal(JetStreamBackend(one_nats, name, prefix="else"), NotAStore)
        other = JetStreamBackend(one_nats, new_name(), prefix=name)
        assert "another JetStream stream" in await refusal(other, NotAStore)
        assert (await admin.api(f"STREAM.INFO.{name}"))["config"] == before


async def test_put_right(one_nats: list[str]) -> None:
    """What can be changed without harm is put right at the next opening; what is the operator's stays."""
    async with administration(*one_nats) as admin, fresh(one_nats) as log:
        name, log_id = log._name, log.log_id
        config = (await admin.api(f"STREAM.INFO.{name}"))["config"]
        wrong = {"compression": "none", "allow_direct": False, "discard": "old", "max_bytes": 10_000_000}
        updated = await admin.api(f"STREAM.UPDATE.{name}", config | wrong | {"description": "ours"})
        assert "error" not in updated
        async with JetStreamBackend(one_nats, name, prefix=log._prefix) as again:
            assert again.log_id == log_id
        config |= {"max_bytes": 10_000_000, "description": "ours"}
        assert (await admin.api(f"STREAM.INFO.{name}"))["config"] == config


@pytest.mark.parametrize(
    ("wrong", "difference"),
    [
        ({"retention": "workqueue"}, "retention is 'workqueue', expected 'limits'"),
        ({"subjects": ["NAME.>"]}, "subjects is ['NAME.>'], expected ['NAME.*.*']"),
        ({"max_age": 3_600_000_000_000}, "max_age is 3600000000000, expected 0"),
        ({"storage": "memory"}, "storage is 'memory', expected 'file'"),
        ({"no_ack": True}, "no_ack is True, expected False"),
        ({"persist_mode": "async"}, "persist_mode is 'async', expected ''"),
        ({"allow_rollup_hdrs": True}, "allow_rollup_hdrs is True, expected False"),
        ({"allow_msg_ttl": True}, "allow_msg_ttl is True, expected False"),
        ({"max_msgs_per_subject": 5}, "max_msgs_per_subject is 5, expected -1"),
        (
            {"retention": "interest", "max_msgs_per_subject": 1},
            "max_msgs_per_subject is 1, expected -1; retention is 'interest', expected 'limits'",
        ),
    ],
)
async def test_not_put_right(one_nats: list[str], wrong: dict[str, Any], difference: str) -> None:
    """What cannot be changed without harm is refused with the difference."""
    name = new_name()
    config = {"name": name, "subjects": [f"{name}.*.*"], "storage": "file", "discard": "new"} | wrong
    config["subjects"] = [subject.replace("NAME", name) for subject in config["subjects"]]
    config["metadata"] = {"eventstore.log_id": "1"}
    async with administration(*one_nats) as admin:
        before = await admin.api(f"STREAM.CREATE.{name}", config)
        assert "error" not in before
        reason = await refusal(JetStreamBackend(one_nats, name, prefix=name), NotAStore)
        expected = f"JetStream stream {name} is not as this store needs it: {difference.replace('NAME', name)}"
        assert reason == expected
        assert (await admin.api(f"STREAM.INFO.{name}"))["config"] == before["config"]


async def test_unknown_format(one_nats: list[str]) -> None:
    """A log of a format that is not known is refused."""
    async with administration(*one_nats) as admin, fresh(one_nats) as log:
        config = (await admin.api(f"STREAM.INFO.{log._name}"))["config"]
        await admin.api(
            f"STREAM.UPDATE.{log._name}", config | {"metadata": config["metadata"] | {"eventstore.format": "2"}}
        )
        reason = await refusal(JetStreamBackend(one_nats, log._name, prefix=log._prefix), NotAStore)
        assert reason.endswith("is a log of format 2, expected 1")


async def test_fewer_replicas(tmp_path: Path, three_nats: list[str]) -> None:
    """A log does not lose copies because somebody names fewer; who only looks changes nothing."""
    async with administration(*three_nats) as admin, fresh(three_nats, replicas=3) as log:
        reason = await refusal(JetStreamBackend(three_nats, log._name, prefix=log._prefix, replicas=1), NotAStore)
        assert "num_replicas is 3, expected 1" in reason
        config = (await admin.api(f"STREAM.INFO.{log._name}"))["config"]
        await admin.api(f"STREAM.UPDATE.{log._name}", config | {"compression": "none"})
        async with JetStreamBackend(three_nats, log._name, prefix=log._prefix, create=False):
            pass
        config = (await admin.api(f"STREAM.INFO.{log._name}"))["config"]
        assert (config["num_replicas"], config["compression"]) == (3, "none")


async def test_too_many_replicas(one_nats: list[str]) -> None:
    """One server cannot keep three copies."""
    assert "not enough servers for so many replicas" in await refusal(fresh(one_nats, replicas=3))


async def test_full(one_nats: list[str]) -> None:
    """An operator's limit is told as a full store; what was stored stays."""
    async with administration(*one_nats) as admin, fresh(one_nats) as log:
        config = (await admin.api(f"STREAM.INFO.{log._name}"))["config"]
        await admin.api(f"STREAM.UPDATE.{log._name}", config | {"max_bytes": 2_000})
        await log.append(commit(STREAM, padding=900))
        with pytest.raises(StoreFull):
            await log.append(commit(STREAM, 1, padding=2_000))
        assert await log.head() == 1


# ---------------------------------------------------------------------------------------------------------- durability


@pytest.fixture(scope="module")
def lax(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with one_server(tmp_path_factory.mktemp("lax")) as server:
        yield server


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with one_server(tmp_path_factory.mktemp("strict"), jetstream="sync_interval: always") as server:
        yield server


async def durability(log: JetStreamBackend) -> str:
    async with log:
        return f"{(await log.describe())['durability']}"


async def test_durability(lax: NatsServer, strict: NatsServer) -> None:
    """The report says what the servers' monitoring ports say, and unknown where one does not."""
    assert (await durability(fresh([lax.url], monitors=[lax.monitor]))).startswith("normal: 1 copy")
    assert (await durability(fresh([strict.url], monitors=[strict.monitor]))).startswith("full: 1 copy")
    assert (await durability(fresh([strict.url]))).startswith("unknown: 1 copy")
    [port] = free_ports(1)
    for monitor in (f"http://127.0.0.1:{port}", "nothing", strict.url.replace("nats:", "http:")):
        assert (await durability(fresh([strict.url], monitors=[monitor]))).startswith("unknown")
        assert (await durability(fresh([strict.url], monitors=[strict.monitor, monitor]))).startswith("full")
    assert (await durability(fresh([strict.url], monitors=[lax.monitor, strict.monitor]))).startswith("full")


async def test_another_servers_monitor(lax: NatsServer, strict: NatsServer) -> None:
    """A monitoring port of a server that does not keep the log tells nothing of it."""
    assert "no monitoring port" in await refusal(fresh([lax.url], monitors=[strict.monitor], strict=True))
    assert (await durability(fresh([lax.url], monitors=[strict.monitor] * 3))).startswith("unknown")


async def test_strict(lax: NatsServer, strict: NatsServer) -> None:
    """The strict setting refuses the lax server and the unreadable one, and takes the strict one."""
    assert "before it syncs" in await refusal(fresh([lax.url], monitors=[lax.monitor], strict=True))
    assert "no monitoring port" in await refusal(fresh([strict.url], strict=True))
    name = new_name()
    url = f"{strict.url}/{name}?prefix={name}&durability=strict"
    assert "no monitoring port" in await refusal(from_url(url, create=True))
    await opens(from_url(f"{url}&monitor={strict.monitor}", create=True))


@pytest.mark.timeout(60)
async def test_durability_of_three(tmp_path: Path) -> None:
    """Three copies are as durable as all their servers say; one that says nothing makes it unknown."""
    with three_servers(tmp_path, jetstream="sync_interval: always") as servers:
        urls, monitors = [server.url for server in servers], [server.monitor for server in servers]
        await opens(fresh(urls, replicas=3, monitors=monitors, strict=True))
        assert (await durability(fresh(urls, replicas=3, monitors=monitors))).startswith("full: 3 copies")
        for known in ([], monitors[:1], monitors[1:]):
            assert (await durability(fresh(urls, replicas=3, monitors=known))).startswith("unknown: 3 copies")
