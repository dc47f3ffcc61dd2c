"""The commands about messages that could not be handled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from eventstore import InvalidInput

from context_service import terminal
from context_service.bus import TooLarge, open_bus
from context_service.dead_letters import dead_letters, replay
from context_service.redaction import redact
from context_service.terminal import AsJson

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from context_service.bus import Bus
    from context_service.dead_letters import DeadLetter

app = typer.Typer(help="Messages that could not be handled: look at them, send them again.", no_args_is_help=True)


NatsServer = Annotated[
    str, typer.Option("--nats", envvar="CONTEXT_NATS", help="Where the dead letters are: nats://HOST:4222.")
]
OfSubject = Annotated[str, typer.Option("--subject", help="Only those of this subject.", show_default="all")]


@app.command("list")
def list_dead_letters(nats: NatsServer, subject: OfSubject = "", as_json: AsJson = False) -> None:
    """List the messages that could not be handled, oldest first."""
    terminal.program.run(_list_dead_letters(nats, subject, as_json=as_json))


async def _list_dead_letters(nats: str, subject: str, *, as_json: bool) -> None:
    table = terminal.table("seq", "subject", "event", "deliveries", "reason")
    async with open_bus(nats) as bus:
        async for letter in dead_letters(_given(bus), subject):
            if as_json:
                terminal.print_json(_letter_row(letter))
            else:
                reason = terminal.brief(letter.reason, 60)
                row = (letter.sequence, letter.subject, letter.event_id, letter.deliveries, reason)
                table.add_row(*(terminal.safe(value) for value in row))
    if not as_json:
        terminal.out.print(table)


@app.command("show")
def show_dead_letter(
    sequence: Annotated[int, typer.Argument(metavar="SEQ", help="Its number in the list.")], nats: NatsServer
) -> None:
    """Show one with its body, as JSON."""
    terminal.program.run(_show_dead_letter(nats, sequence))


async def _show_dead_letter(nats: str, sequence: int) -> None:
    async with open_bus(nats) as bus:
        async for letter in _chosen(_given(bus), "", sequence):
            terminal.print_json(_letter_row(letter) | {"body": redact(letter.body.decode(errors="replace"))})


@app.command("replay")
def replay_dead_letters(
    nats: NatsServer,
    sequence: Annotated[int | None, typer.Argument(metavar="SEQ", help="Only this one.")] = None,
    subject: OfSubject = "",
    everything: Annotated[bool, typer.Option("--all", help="All of them, or all of the subject.")] = False,
) -> None:
    """Send messages again on their subjects, as they were, and let go of the dead letters."""
    if (sequence is None) != everything:
        raise typer.BadParameter("name one by its number, or --all")
    terminal.program.run(_replay_dead_letters(nats, subject, sequence))


async def _replay_dead_letters(nats: str, subject: str, sequence: int | None) -> None:
    async with open_bus(nats) as bus:
        # First looked at, then sent: what dies again meanwhile is not sent twice.
        letters = [letter async for letter in _chosen(_given(bus), subject, sequence)]
        replayed = 0
        for letter in letters:
            try:
                await replay(_given(bus), letter)
                replayed += 1
            except (InvalidInput, TooLarge) as error:
                if sequence is not None:
                    raise
                terminal.out.print(terminal.safe(f"{letter.sequence} stays: {error}"))
    terminal.out.print(f"{replayed} replayed")


async def _chosen(bus: Bus, subject: str, sequence: int | None) -> AsyncIterator[DeadLetter]:
    found = False
    async for letter in dead_letters(bus, subject):
        if sequence in {None, letter.sequence}:
            found = True
            yield letter
    if sequence is not None and not found:
        raise InvalidInput("seq", f"there is no dead letter {sequence}")


def _given(bus: Bus | None) -> Bus:
    if bus is None:
        raise InvalidInput("nats", "expected nats://HOST:4222, got nothing")
    return bus


def _letter_row(letter: DeadLetter) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.structs.asdict(letter)
    row["headers"] = {name: redact(value) for name, value in letter.headers.items()}
    return {name: row[name] for name in row if name not in {"body", "packed"}}
