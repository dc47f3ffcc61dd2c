"""Takes in what comes over NATS: each message once, or it becomes a dead letter with the reason.

One durable consumer a subject, shared by all processes. A message is acknowledged after what it wants is in the log and
answered. What must come first may still come, so a message that is refused for that comes again, later each time. While
the log cannot be written nothing counts against a message: it stays in hand.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from eventstore import InvalidInput, StoreUnavailable
from projections import Deployed
from projections.memory import MemoryModel
from prometheus_client import Counter

from context_service import dead_letters
from context_service.bundles import BundlesUnavailable
from context_service.bus import ANSWERS, DEAD, REQUESTS, Bus, BusUnavailable, TooLarge
from context_service.commands import Fault, Refused, UpdateStory, Violation, code_of
from context_service.messages import SUBJECTS, Announcement, Incoming, OfPlan, durable_of, event_id_of, wanted
from context_service.plans import PLANS, story_of_plan
from context_service.redaction import redact
from context_service.rehydration import plain
from context_service.story import content_hash
from context_service.v1 import context_pb2
from context_service.views import projecting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext
    from projections import Monitor

    from context_service.stories import Stories

    Rehydrate = Callable[[context_pb2.RehydrateSessionRequest], Awaitable[context_pb2.RehydrateSessionResponse]]

NAME: Final = "messages"
#: Seconds until a message that was refused comes again; after the last it is a dead letter.
BACKOFF: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
#: What comes so often more has ended its process each time.
_CRASHES: Final = 10
#: Of a subject, in a process.
_IN_HAND: Final = 16
_ACK_SECONDS: Final = 30.0
_FETCH_SECONDS: Final = 1.0
_PAUSES: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
_GRACE_SECONDS: Final = 10.0
#: Of an event, in an answer that else has no room.
_LONGEST_ID: Final = 1_000

_log = logging.getLogger("context_service")


class Handler:
    """Does what messages want."""

    def __init__(self, stories: Stories, plans: MemoryModel, rehydrate: Rehydrate) -> None:
        self._stories = stories
        self._plans = plans
        self._rehydrate = rehydrate

    async def handle(self, message: Incoming) -> dict[str, Any]:
        """Do what a message wants, unless it was done before, and return what is answered where somebody asks.

        Raises:
            Refused: it is not done.
            EventStoreError: it may not be done.
        """
        want = wanted(message)
        if isinstance(want.command, context_pb2.RehydrateSessionRequest):
            found = await self._rehydrate(want.command)
            return {"event_id": want.event_id, **plain(found)}
        once: Any = {
            "idempotency_key": want.idempotency_key,
            "metadata": want.metadata,
            "occurred_at": want.occurred_at,
        }
        if isinstance(want.command, Announcement):
            await self._stories.announce(*want.command, **once)
            return {}
        command = self._placed(want.command) if isinstance(want.command, OfPlan) else want.command
        done = await self._stories.update(command, expected_version=None, **once)
        return {
            "event_id": want.event_id,
            "story_id": command.story_id,
            "version": done.version,
            "hash": content_hash(done.state),
            "warnings": want.warnings,
            "position": str(done.token),
        }

    def _placed(self, of_plan: OfPlan) -> UpdateStory:
        story_id = story_of_plan(self._plans, of_plan.plan_id)
        if story_id is None:
            problem = f"no story is known to have a plan {of_plan.plan_id!r}"
            raise Refused([Violation(Fault.NOT_FOUND, "body.plan_id", problem)])
        return msgspec.structs.replace(of_plan.command, story_id=story_id)


@asynccontextmanager
async def taking_in(
    bus: Bus | None, stories: Stories, rehydrate: Rehydrate, monitor: Monitor
) -> AsyncIterator[tuple[str, ...]]:
    """Take in messages while the block runs, where there is a bus; yields the names that health knows of it."""
    if bus is None:
        yield ()
        return
    plans = MemoryModel()
    index = Deployed(PLANS, stories.store, plans)
    async with projecting([index], monitor), consuming(bus, Handler(stories, plans, rehydrate), monitor):
        yield (PLANS.name, NAME)


@asynccontextmanager
async def consuming(
    bus: Bus, handler: Handler, monitor: Monitor, *, backoff: Sequence[float] = BACKOFF
) -> AsyncIterator[None]:
    """Take in messages while the block runs; then what is in hand is finished."""
    consumer = _Consumer(bus, handler, monitor, backoff)
    task = asyncio.create_task(consumer.run())
    try:
        yield
    finally:
        consumer.stopping.set()
        await asyncio.wait([task], timeout=_GRACE_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Stopped(Exception):
    """A message is left to other processes."""


class _Consumer:
    """The consumers of all subjects, in one process."""

    def __init__(self, bus: Bus, handler: Handler, monitor: Monitor, backoff: Sequence[float]) -> None:
        self.stopping: Final = asyncio.Event()
        self._bus = bus
        self._handler = handler
        self._monitor = monitor
        self._backoff = backoff
        #: By where each is acknowledged.
        self._in_hand: dict[str, Msg] = {}
        # By subject: nothing while all is well.
        self._troubles: dict[str, str] = dict.fromkeys(SUBJECTS, "starting")
        self._absent: set[str] = set()
        self._count = Counter(
            "context_messages",
            "Messages by what became of them: done, again (it comes again later) or dead",
            ["subject", "outcome"],
            registry=monitor.registry,
        )

    async def run(self) -> None:
        """Take in messages until told to stop."""
        self._monitor.note(NAME, "starting")
        async with asyncio.TaskGroup() as tasks:
            for subject in SUBJECTS:
                tasks.create_task(self._take_in(subject))
            tasks.create_task(self._show_life())

    # ------------------------------------------------------------------------------------------------- one subject

    async def _take_in(self, subject: str) -> None:
        pauses = _growing()
        while not self.stopping.is_set():
            try:
                await self._make_streams()
                stream = await self._bus.carrier(subject)
                if stream is None:
                    self._note(subject, absent=True)
                else:
                    pulling = await self._bus.consumer(stream, _config(subject))
                    self._note(subject)
                    pauses = _growing()
                    await self._pull(pulling)
            except BusUnavailable as error:
                self._note(subject, trouble=str(error))
            except Exception:  # noqa: BLE001 (one subject leaves the others alone)
                _log.exception("messages on %s are not taken in", subject)
                self._note(subject, trouble="the service failed; its log says why")
            await self._pause(next(pauses))

    async def _make_streams(self) -> None:
        for owned in (REQUESTS, ANSWERS, DEAD):
            await self._bus.make(owned)

    async def _pull(self, pulling: JetStreamContext.PullSubscription) -> None:
        """Take in messages until told to stop, or the consumer does not answer."""
        room = asyncio.Semaphore(_IN_HAND)
        try:
            async with asyncio.TaskGroup() as tasks:
                while not self.stopping.is_set():
                    await room.acquire()
                    message = await _next(pulling)
                    if message is None:
                        room.release()
                        continue
                    task = tasks.create_task(self._finish(message))
                    task.add_done_callback(lambda _: room.release())
        except BaseExceptionGroup as group:
            # What is in hand never raises: this is what ended the loop.
            raise group.exceptions[0] from None
        finally:
            with suppress(Exception):
                await pulling.unsubscribe()

    # ------------------------------------------------------------------------------------------------- one message

    async def _finish(self, raw: Msg) -> None:
        """Handle a message and acknowledge it; one that is not acknowledged comes again, here or elsewhere."""
        message = _incoming(raw)
        self._in_hand[raw.reply] = raw
        try:
            outcome, wait = await self._settled(message, raw.metadata.num_delivered)
            await (raw.nak(wait) if outcome == "again" else raw.ack())
            self._count.labels(message.subject, outcome).inc()
        except _Stopped:
            with suppress(Exception):
                await raw.nak()
        except Exception:  # noqa: BLE001 (one message leaves the others alone)
            _log.exception("a message on %s is not acknowledged", message.subject)
        finally:
            del self._in_hand[raw.reply]

    async def _settled(self, message: Incoming, deliveries: int) -> tuple[str, float]:
        """Handle a message; return what became of it, and after how many seconds it shall come again if it shall."""
        if deliveries > len(self._backoff) + _CRASHES:
            await self._bury(message, deliveries, f"it came {deliveries} times and was never finished")
            return "dead", 0.0
        try:
            answer = await self._patiently(lambda: self._handler.handle(message))
        except _Stopped:
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, the message says it or the log)
            refused = _refusal(error)
            certain = any(violation.fault is Fault.INVALID for violation in refused.violations)
            if not certain and deliveries <= len(self._backoff):
                return "again", self._backoff[deliveries - 1]
            await self._answer(message, {"event_id": event_id_of(message), "error": _told(refused)})
            await self._bury(message, deliveries, str(refused))
            return "dead", 0.0
        await self._answer(message, answer)
        return "done", 0.0

    async def _answer(self, message: Incoming, answer: dict[str, Any]) -> None:
        """Publish an answer where somebody waits for one; whoever is answered twice sees it by the event's id."""
        subject = SUBJECTS[message.subject].answer
        if not subject:
            return
        # Requests on two subjects may be of one event, and one that failed may be replayed.
        outcome = f"error {message.sequence}" if "error" in answer else "done"
        told = msgspec.json.encode((subject, answer["event_id"], outcome))
        headers = {"Nats-Msg-Id": hashlib.sha256(told).hexdigest()}
        try:
            body = redact(msgspec.json.encode(answer).decode()).encode()
            await self._patiently(lambda: self._bus.publish(subject, body, headers))
        except TooLarge as error:
            too_large = {"code": "RESOURCE_EXHAUSTED", "message": str(error), "violations": []}
            short = msgspec.json.encode({"event_id": answer["event_id"][:_LONGEST_ID], "error": too_large})
            await self._patiently(lambda: self._bus.publish(subject, short, headers))

    async def _bury(self, message: Incoming, deliveries: int, reason: str) -> None:
        _log.warning("dead letter on %s after %d deliveries: %s", message.subject, deliveries, reason)
        await self._patiently(lambda: dead_letters.bury(self._bus, message, deliveries=deliveries, reason=reason))

    async def _patiently(self, act: Callable[[], Awaitable[Any]]) -> Any:
        """Do something as soon as the log, the cache and NATS let it be done.

        Raises:
            _Stopped: they have not, and it is time to stop.
        """
        for pause in _growing():
            try:
                return await act()
            except StoreUnavailable as error:
                _log.warning("messages wait for the log: %s", error)
            except BundlesUnavailable as error:
                _log.warning("messages wait for the cache: %s", error)
            except BusUnavailable as error:
                _log.warning("messages wait for NATS: %s", error)
                with suppress(BusUnavailable):
                    await self._make_streams()
            await self._pause(pause)
            if self.stopping.is_set():
                raise _Stopped
        raise AssertionError("pauses never end")  # pragma: no cover

    async def _show_life(self) -> None:
        """Let the server know which messages are in hand, so that nobody else gets them."""
        while not self.stopping.is_set():
            await self._pause(_ACK_SECONDS / 3)
            for raw in list(self._in_hand.values()):
                with suppress(Exception):
                    await raw.in_progress()

    # -------------------------------------------------------------------------------------------------------- health

    def _note(self, subject: str, *, trouble: str = "", absent: bool = False) -> None:
        self._troubles[subject] = trouble
        (self._absent.add if absent else self._absent.discard)(subject)
        troubles = sorted({text for text in self._troubles.values() if text})
        if troubles == ["starting"]:
            return
        if troubles:
            self._monitor.note(NAME, "unavailable", trouble="; ".join(troubles))
        else:
            waiting = f"no stream carries {', '.join(sorted(self._absent))} yet" if self._absent else ""
            self._monitor.note(NAME, "running", trouble=waiting)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()


def _config(subject: str) -> Any:
    """Return what is declared of a subject's consumer.

    How often a message comes is bounded here and not by the server, which would neither deliver nor tell of it then.
    """
    from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy  # noqa: PLC0415 (an extra installs the driver)

    return ConsumerConfig(
        durable_name=durable_of(subject),
        filter_subject=subject,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=_ACK_SECONDS,
        max_deliver=-1,
        max_ack_pending=1_000,
    )


async def _next(pulling: JetStreamContext.PullSubscription) -> Msg | None:
    """Return the next message, None when none comes in time.

    Raises:
        BusUnavailable: the consumer does not answer.
    """
    import nats.errors  # noqa: PLC0415 (an extra installs the driver)

    try:
        return (await pulling.fetch(1, timeout=_FETCH_SECONDS))[0]
    except TimeoutError:
        return None
    except (nats.errors.Error, OSError) as error:
        raise BusUnavailable(f"NATS does not answer ({type(error).__name__})") from None


def _incoming(raw: Msg) -> Incoming:
    found = raw.metadata
    return Incoming(raw.subject, raw.data, raw.headers or {}, found.stream, found.sequence.stream, found.timestamp)


def _refusal(error: Exception) -> Refused:
    """Return why a message is not handled, in words that may be told."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, InvalidInput):
        return Refused([Violation(Fault.INVALID, error.field, error.problem)])
    _log.error("a message cannot be handled", exc_info=error)
    return Refused([Violation(Fault.PRECONDITION, "body", f"the service failed: {type(error).__name__}")])


def _told(refused: Refused) -> dict[str, Any]:
    return {
        "code": code_of(refused),
        "message": str(refused),
        "violations": [{"field": v.field, "description": v.description} for v in refused.violations],
    }


def _growing() -> Any:
    """Yield pauses that grow, for ever."""
    yield from _PAUSES
    while True:
        yield _PAUSES[-1]
