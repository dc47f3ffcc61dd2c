"""The address of a log in JetStream, as people write it."""

from __future__ import annotations

import ssl
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from eventstore._errors import InvalidInput

_EXPECTED: Final = "expected nats://host:4222"


class Servers(NamedTuple):
    """What a URL says of NATS servers and of how to connect to them."""

    urls: list[str]
    #: nats-py's: who connects, and how.
    options: dict[str, Any]
    #: What stands behind the hosts.
    path: str
    #: What else the query says.
    rest: dict[str, str]


def servers_of(url: str) -> Servers:
    """Return the servers of ``nats://user:password@host:4222,host:4222``, or ``tls://…``.

    Options: ``creds`` (a credentials file), ``nkey`` (a seed file), ``ca``, ``cert`` and ``key`` (files for TLS).

    Raises:
        InvalidInput: it names none, or says what is not understood.
    """
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    servers = [f"{parts.scheme}://{host}" for host in hosts.split(",")]
    if parts.scheme not in ("nats", "tls") or not all(map(_is_server, servers)) or parts.fragment:
        raise InvalidInput("url", f"{_EXPECTED}, several hosts joined by commas")
    rest = dict(parse_qsl(parts.query, keep_blank_values=True))
    options = _who(user) | _connect_options(rest, tls=parts.scheme == "tls")
    return Servers(servers, options, parts.path.removeprefix("/"), rest)


def arguments_of(url: str) -> dict[str, Any]:
    """Return what ``nats://host:4222,host:4222/STREAM?prefix=context.events``, or ``tls://…``, says of a backend.

    Options: ``prefix`` (of the subjects; needed), ``replicas``, ``monitor`` (addresses of monitoring ports, joined by
    commas), ``durability=strict``, ``creds`` (a credentials file), ``nkey`` (a seed file), ``ca``, ``cert`` and ``key``
    (files for TLS).

    Raises:
        InvalidInput: it says what is not understood.
    """
    servers, connecting, name, options = servers_of(url)
    if not _is_token(name):
        raise InvalidInput("url", f"{_EXPECTED}/STREAM?prefix=some.prefix, STREAM without . * > or space")
    prefix = options.pop("prefix", "")
    if not all(map(_is_token, prefix.split("."))):
        raise InvalidInput("url", f"expected prefix=tokens.joined.by.dots, got {prefix!r}")
    replicas = replicas_of(options)
    durability = options.pop("durability", "any")
    if durability not in ("any", "strict"):
        raise InvalidInput("url", f"expected durability=any or strict, got {durability!r}")
    monitors = [address for address in options.pop("monitor", "").split(",") if address]
    if options:
        raise InvalidInput("url", f"unknown options: {', '.join(sorted(options))}")
    return {
        "servers": servers,
        "stream": name,
        "prefix": prefix,
        "replicas": replicas,
        "monitors": monitors,
        "strict": durability == "strict",
        "options": connecting,
    }


def replicas_of(options: dict[str, str]) -> int | None:
    """Take out of a URL's options on how many servers a JetStream stream is kept.

    Raises:
        InvalidInput: on so many it cannot be.
    """
    replicas = options.pop("replicas", None)
    if replicas is not None and replicas not in ("1", "3", "5"):
        raise InvalidInput("url", f"expected replicas=1, 3 or 5, got {replicas!r}")
    return None if replicas is None else int(replicas)


def _who(user: str) -> dict[str, str]:
    """Return ``user:password``, or a token, as nats-py's options; what is special in a URL is escaped there."""
    name, colon, password = user.partition(":")
    if not user:
        return {}
    return {"user": unquote(name), "password": unquote(password)} if colon else {"token": unquote(name)}


def _is_token(text: str) -> bool:
    return text.isascii() and text.replace("_", "a").replace("-", "a").isalnum()


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _connect_options(options: dict[str, str], *, tls: bool) -> dict[str, Any]:
    """Take the options that are nats-py's out of a URL's."""
    given: dict[str, Any] = {}
    if creds := options.pop("creds", ""):
        given["user_credentials"] = creds
    if nkey := options.pop("nkey", ""):
        given["nkeys_seed"] = nkey
    ca, cert, key = (options.pop(name, "") for name in ("ca", "cert", "key"))
    if tls or ca or cert:
        try:
            context = ssl.create_default_context(cafile=ca or None)
            if cert:
                context.load_cert_chain(cert, key or None)
        except OSError as error:
            raise InvalidInput("url", f"the files for TLS cannot be read: {error.strerror}") from None
        given["tls"] = context
    return given
