"""The address of a log in JetStream, as people write it."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from eventstore._errors import InvalidInput


def arguments_of(url: str) -> dict[str, Any]:
    """Return what ``nats://host:4222,host:4222/STREAM?prefix=context.events``, or ``tls://…``, says of a backend.

    Options: ``prefix`` (of the subjects; needed), ``replicas``, ``monitor`` (addresses of monitoring ports, joined by
    commas), ``durability=strict``, ``creds`` (a credentials file), ``nkey`` (a seed file), ``ca``, ``cert`` and ``key``
    (files for TLS).

    Raises:
        InvalidInput: it says what is not understood.
    """
    parts = urlsplit(url)
    name = parts.path.removeprefix("/")
    user, _, hosts = parts.netloc.rpartition("@")
    servers = [f"{parts.scheme}://{host}" for host in hosts.split(",")]
    if not _is_token(name) or not all(map(_is_server, servers)) or parts.fragment:
        raise InvalidInput("url", "expected nats://host:4222/STREAM?prefix=some.prefix, STREAM without . * > or space")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    prefix = options.pop("prefix", "")
    if not all(map(_is_token, prefix.split("."))):
        raise InvalidInput("url", f"expected prefix=tokens.joined.by.dots, got {prefix!r}")
    replicas = options.pop("replicas", None)
    if replicas is not None and replicas not in ("1", "3", "5"):
        raise InvalidInput("url", f"expected replicas=1, 3 or 5, got {replicas!r}")
    durability = options.pop("durability", "any")
    if durability not in ("any", "strict"):
        raise InvalidInput("url", f"expected durability=any or strict, got {durability!r}")
    monitors = [address for address in options.pop("monitor", "").split(",") if address]
    connecting = _who(user) | _connect_options(options, tls=parts.scheme == "tls")
    if options:
        raise InvalidInput("url", f"unknown options: {', '.join(sorted(options))}")
    return {
        "servers": servers,
        "stream": name,
        "prefix": prefix,
        "replicas": None if replicas is None else int(replicas),
        "monitors": monitors,
        "strict": durability == "strict",
        "options": connecting,
    }


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
