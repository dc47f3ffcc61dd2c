"""Writes secrets.jsonl: made-up secrets in the formats that vendors publish, in the places where people leave them.

No line of it comes from a rule set of a scanner. None is or was anybody's: each is drawn from a seeded generator.

    python tests/context/redaction/generate.py
"""

from __future__ import annotations

import base64
import json
import random
import string
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = 20_260_824
#: Of each kind.
EACH = 6

UPPER, LOWER, DIGITS, HEX = string.ascii_uppercase, string.ascii_lowercase, string.digits, "0123456789abcdef"
ALNUM = string.ascii_letters + DIGITS
B32 = UPPER + "234567"
B64 = ALNUM + "+/"
URL64 = ALNUM + "-_"

#: What people choose; those with a space only stand where a format has quotes.
CHOSEN = (
    "hunter2",
    "letmein",
    "changeme",
    "Tr0ub4dor&3",
    "pa$$w0rd!",
    "Summer2024!",
    "s3cr3t/with/slash",
    "пароль-Ж9x",
    "qwerty123456",
    "M0nkey*Business",
    "8charPw!",
    "nope_no_way_7",
)
PHRASES = ("correct horse battery staple", "Ich bin's nicht 42", "open sesame, please!", "grüße aus köln 1")


class Made(NamedTuple):
    """A piece of text and what of it must not be seen."""

    text: str
    secrets: list[str]


class Kind(NamedTuple):
    """A way of making one kind of secret."""

    name: str
    #: Who publishes the format.
    source: str
    make: Callable[[random.Random], Made]
    #: A token is a secret wherever it stands; anything else is one by what stands around it.
    token: bool


KINDS: list[Kind] = []


def _kind(name: str, source: str, make: Callable[[random.Random], Made | str], *, token: bool = False) -> None:
    def made(rng: random.Random) -> Made:
        found = make(rng)
        return Made(found, [found]) if isinstance(found, str) else found

    KINDS.append(Kind(name, source, made, token))


def _some(rng: random.Random, alphabet: str, count: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def _between(rng: random.Random, alphabet: str, low: int, high: int) -> str:
    return _some(rng, alphabet, rng.randint(low, high))


def _template(*parts: str | tuple[str, int]) -> Callable[[random.Random], str]:
    """Return a maker of literal parts and random ones, (alphabet, length)."""
    return lambda rng: "".join(part if isinstance(part, str) else _some(rng, *part) for part in parts)


def _token(name: str, source: str, *parts: str | tuple[str, int]) -> None:
    _kind(name, source, _template(*parts), token=True)


def _b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# --- tokens with a format of their own ------------------------------------------------------------------------------


def _github(rng: random.Random) -> str:
    """30 random characters and six of their CRC-32 in base 62."""
    body = _some(rng, ALNUM, 30)
    crc, check = zlib.crc32(body.encode()), ""
    for _ in range(6):
        crc, digit = divmod(crc, 62)
        check = (DIGITS + UPPER + LOWER)[digit] + check
    return rng.choice(("ghp_", "gho_", "ghu_", "ghs_", "ghr_")) + body + check


def _pypi(rng: random.Random) -> str:
    """A macaroon: version 2, the location in base64, an identifier and a signature."""
    data = base64.b64decode("AgEIcHlwaS5vcmcCJA==") + rng.randbytes(36) + b"\x00\x00\x06\x20" + rng.randbytes(80)
    return "pypi-" + _b64url(data)


def _openai(rng: random.Random) -> str:
    start, length = rng.choice((("sk-", 20), ("sk-proj-", 74), ("sk-svcacct-", 74), ("sk-admin-", 58)))
    alphabet = ALNUM if start == "sk-" else URL64
    return start + _some(rng, alphabet, length) + "T3BlbkFJ" + _some(rng, alphabet, length)


def _jwt(rng: random.Random) -> str:
    size, algorithm = rng.choice(((32, "HS256"), (64, "HS512"), (256, "RS256"), (64, "ES256")))
    head = {"alg": algorithm, "typ": "JWT"} if rng.random() < 0.5 else {"typ": "JWT", "alg": algorithm, "kid": "k1"}
    claims = {"sub": _some(rng, DIGITS, 10), "iat": rng.randrange(10**9, 2 * 10**9), "scope": "read write"}
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in (head, claims)]
    return ".".join(_b64url(part) for part in (*parts, rng.randbytes(size)))


def _jwe(rng: random.Random) -> str:
    head = b'{"alg":"RSA-OAEP-256","enc":"A256GCM"}'
    return ".".join(_b64url(part) for part in (head, *(rng.randbytes(n) for n in (256, 12, 80, 16))))


def _discord(rng: random.Random) -> str:
    user = base64.b64encode(_some(rng, DIGITS, 18).encode()).decode().rstrip("=")
    return f"{user}.{_some(rng, URL64, 6)}.{_some(rng, URL64, 38)}"


_token("aws access key id", "AWS", "AKIA", (B32, 16))
_token("aws temporary key id", "AWS", "ASIA", (B32, 16))
_kind("github token", "GitHub", _github, token=True)
_token("github fine-grained token", "GitHub", "github_pat_", (ALNUM, 22), "_", (ALNUM, 59))
_token("gitlab personal token", "GitLab", "glpat-", (URL64, 19), (ALNUM, 1))
_token("gitlab routable token", "GitLab", "glpat-", (ALNUM, 27), ".01.", (HEX, 2), (LOWER + DIGITS, 7))
_token("gitlab deploy token", "GitLab", "gldt-", (ALNUM, 20))
_token("gitlab runner token", "GitLab", "glrt-", (ALNUM, 20))
_token("slack bot token", "Slack", "xoxb-", (DIGITS, 12), "-", (DIGITS, 13), "-", (ALNUM, 24))
_token("slack user token", "Slack", "xoxp-", (DIGITS, 12), "-", (DIGITS, 12), "-", (DIGITS, 13), "-", (HEX, 32))
_token("slack app token", "Slack", "xapp-1-A", (UPPER + DIGITS, 10), "-", (DIGITS, 13), "-", (HEX, 64))
_token("stripe live key", "Stripe", "sk_live_", (ALNUM, 24))
_token("stripe long key", "Stripe", "sk_live_51", (ALNUM, 97))
_token("stripe restricted key", "Stripe", "rk_live_", (ALNUM, 24))
_token("stripe webhook secret", "Stripe", "whsec_", (ALNUM, 32))
_token("google api key", "Google", "AIza", (URL64, 34), (ALNUM, 1))
_token("google client secret", "Google", "GOCSPX-", (URL64, 27), (ALNUM, 1))
_token("google access token", "Google", "ya29.", (URL64, 180), (ALNUM, 1))
_token("azure client secret", "Microsoft", (ALNUM, 3), "8Q~", (ALNUM + "_~.-", 33), (ALNUM, 1))
_token("npm token", "npm", "npm_", (ALNUM, 36))
_kind("pypi token", "PyPI", _pypi, token=True)
_kind("openai key", "OpenAI", _openai, token=True)
_token("anthropic key", "Anthropic", "sk-ant-api03-", (URL64, 93), "AA")
_token("anthropic admin key", "Anthropic", "sk-ant-admin01-", (URL64, 93), "AA")
_token("anthropic oauth token", "Anthropic", "sk-ant-oat01-", (URL64, 93), "AA")
_token("hugging face token", "Hugging Face", "hf_", (string.ascii_letters, 34))
_token("twilio api key", "Twilio", "SK", (HEX, 32))
_token("sendgrid key", "SendGrid", "SG.", (URL64, 22), ".", (URL64, 42), (ALNUM, 1))
_token("digitalocean token", "DigitalOcean", "dop_v1_", (HEX, 64))
_token("digitalocean oauth token", "DigitalOcean", "doo_v1_", (HEX, 64))
_token("telegram bot token", "Telegram", (DIGITS[1:], 10), ":AA", (URL64, 32), (ALNUM, 1))
_kind("jwt", "RFC 7519", _jwt, token=True)
_kind("jwe", "RFC 7516", _jwe, token=True)
_token("shopify token", "Shopify", "shpat_", (HEX, 32))
_token("square token", "Square", "sq0atp-", (URL64, 21), (ALNUM, 1))
_token("mailgun key", "Mailgun", "key-", (HEX, 32))
_token("mailchimp key", "Mailchimp", (HEX, 32), "-us12")
_token("new relic key", "New Relic", "NRAK-", (UPPER + DIGITS, 27))
_token("linear key", "Linear", "lin_api_", (ALNUM, 40))
_token("notion token", "Notion", "ntn_", (DIGITS, 11), (ALNUM, 35))
_token("postman key", "Postman", "PMAK-", (HEX, 24), "-", (HEX, 34))
_token("doppler token", "Doppler", "dp.pt.", (ALNUM, 43))
_token("vault token", "HashiCorp", "hvs.", (ALNUM, 95))
_token("terraform cloud token", "HashiCorp", (ALNUM, 14), ".atlasv1.", (ALNUM, 67))
_token("databricks token", "Databricks", "dapi", (HEX, 32))
_token("grafana service account token", "Grafana", "glsa_", (ALNUM, 32), "_", (HEX, 8))
_token("docker hub token", "Docker", "dckr_pat_", (URL64, 26), (ALNUM, 1))
_token("atlassian token", "Atlassian", "ATATT3xFfGF0", (URL64, 171), "=", (UPPER + DIGITS, 8))
_kind("discord bot token", "Discord", _discord, token=True)
_token("figma token", "Figma", "figd_", (URL64, 39), (ALNUM, 1))
_token("airtable token", "Airtable", "pat", (ALNUM, 14), ".", (HEX, 64))
_token("age key", "age", "AGE-SECRET-KEY-1", ("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58))
_token("supabase token", "Supabase", "sbp_", (HEX, 40))
_token("groq key", "Groq", "gsk_", (ALNUM, 52))
_token("replicate token", "Replicate", "r8_", (ALNUM, 37))
_token("xai key", "xAI", "xai-", (ALNUM, 80))
_token("tailscale key", "Tailscale", "tskey-auth-k", (ALNUM, 11), "CNTRL-", (ALNUM, 32))
_token("pulumi token", "Pulumi", "pul-", (HEX, 40))
_token("rubygems key", "RubyGems", "rubygems_", (HEX, 48))
_token("cargo token", "Cargo", "cio", (ALNUM, 32))
_token("sentry user token", "Sentry", "sntryu_", (HEX, 64))
_token("slack webhook", "Slack", "https://hooks.slack.com/services/T", (UPPER, 10), "/B", (UPPER, 10), "/", (ALNUM, 24))
_token("planetscale token", "PlanetScale", "pscale_tkn_", (URL64, 42), (ALNUM, 1))


# --- keys in blocks -------------------------------------------------------------------------------------------------


def _body(rng: random.Random, size: int, width: int = 64) -> list[str]:
    """Return the lines of a key: nothing of them may be seen."""
    text = base64.b64encode(rng.randbytes(size)).decode()
    return [text[at : at + width] for at in range(0, len(text), width)]


def _pem(
    label: str, *, head: tuple[str, ...] = (), sizes: tuple[int, int] = (600, 1200), width: int = 64
) -> Callable[[random.Random], Made]:
    def make(rng: random.Random) -> Made:
        lines = _body(rng, rng.randint(*sizes), width)
        text = "\n".join((f"-----BEGIN {label}-----", *head, *lines, f"-----END {label}-----"))
        return Made(text, lines)

    return make


def _escaped_pem(rng: random.Random) -> Made:
    made = _pem("PRIVATE KEY")(rng)
    return Made(json.dumps({"name": "signer", "pem": made.text + "\n"}), made.secrets)


def _twice_escaped_pem(rng: random.Random) -> Made:
    made = _escaped_pem(rng)
    return Made(json.dumps({"body": made.text}), made.secrets)


def _indented_pem(rng: random.Random) -> Made:
    made = _pem("EC PRIVATE KEY", sizes=(118, 121))(rng)
    return Made("tls:\n  key: |\n    " + made.text.replace("\n", "\n    ") + "\n  port: 443", made.secrets)


def _quoted_pem(rng: random.Random) -> Made:
    made = _pem("RSA PRIVATE KEY")(rng)
    return Made("> " + made.text.replace("\n", "\n> "), made.secrets)


def _windows_pem(rng: random.Random) -> Made:
    made = _pem("RSA PRIVATE KEY")(rng)
    return Made(made.text.replace("\n", "\r\n"), made.secrets)


def _cut_pem(rng: random.Random) -> Made:
    """What is left of a key when somebody cut the text."""
    made = _pem("RSA PRIVATE KEY")(rng)
    lines = made.text.split("\n")[: rng.randint(4, 8)]
    return Made("\n".join(lines), lines[1:])


def _service_account(rng: random.Random) -> Made:
    key = _pem("PRIVATE KEY")(rng)
    document = {
        "type": "service_account",
        "project_id": "billing-" + _some(rng, DIGITS, 6),
        "private_key_id": _some(rng, HEX, 40),
        "private_key": key.text + "\n",
        "client_email": f"robot@billing-{_some(rng, DIGITS, 6)}.iam.gserviceaccount.com",
        "client_id": _some(rng, DIGITS, 21),
    }
    return Made(json.dumps(document, indent=rng.choice((None, 2))), key.secrets)


def _putty(rng: random.Random) -> Made:
    public, private = _body(rng, 279), _body(rng, 600)
    text = (
        "PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\nComment: made-up\n"
        f"Public-Lines: {len(public)}\n" + "\n".join(public) + f"\nPrivate-Lines: {len(private)}\n"
    )
    return Made(text + "\n".join(private) + f"\nPrivate-MAC: {_some(rng, HEX, 64)}", private)


_DEK = ("Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-128-CBC,8F0DE4A1B0C96F2D3E5A7B9C1D0F2E4A", "")
_kind("rsa key", "RFC 7468", _pem("RSA PRIVATE KEY"))
_kind("encrypted rsa key", "RFC 1421", _pem("RSA PRIVATE KEY", head=_DEK))
_kind("ec key", "RFC 5915", _pem("EC PRIVATE KEY", sizes=(118, 121)))
_kind("ed25519 key", "RFC 8410", _pem("PRIVATE KEY", sizes=(48, 48)))
_kind("pkcs8 key", "RFC 5958", _pem("PRIVATE KEY"))
_kind("encrypted pkcs8 key", "RFC 5958", _pem("ENCRYPTED PRIVATE KEY"))
_kind("dsa key", "OpenSSL", _pem("DSA PRIVATE KEY"))
_kind("openssh key", "OpenSSH", _pem("OPENSSH PRIVATE KEY", width=70))
_kind("pgp key", "RFC 9580", _pem("PGP PRIVATE KEY BLOCK", head=("Version: 1", "")))
_kind("pem in json", "RFC 7468", _escaped_pem)
_kind("pem in json in json", "RFC 7468", _twice_escaped_pem)
_kind("pem in yaml", "RFC 7468", _indented_pem)
_kind("pem in a quotation", "RFC 7468", _quoted_pem)
_kind("pem with crlf", "RFC 7468", _windows_pem)
_kind("pem cut short", "RFC 7468", _cut_pem)
_kind("gcp service account", "Google", _service_account)
_kind("putty key", "PuTTY", _putty)


# --- secrets by what stands around them -----------------------------------------------------------------------------


def _chosen(rng: random.Random) -> str:
    return rng.choice(CHOSEN) if rng.random() < 0.6 else _between(rng, ALNUM, 12, 24)


def _any(rng: random.Random) -> str:
    return rng.choice(PHRASES) if rng.random() < 0.25 else _chosen(rng)


def _opaque(rng: random.Random) -> str:
    return _between(rng, ALNUM, 24, 48)


def _filled(*forms: str, value: Callable[[random.Random], str] = _chosen) -> Callable[[random.Random], Made]:
    """Return a maker that puts a value where a form says §."""

    def make(rng: random.Random) -> Made:
        form = rng.choice(forms)
        values = [value(rng) for _ in range(form.count("§"))]
        text = form
        for found in values:
            text = text.replace("§", found, 1)
        return Made(text, values)

    return make


def _url_password(rng: random.Random) -> str:
    return rng.choice(("s3cr%40t%2F1", "hunter2", "pa$$w0rd!", "letmein", _between(rng, ALNUM, 8, 32)))


def _url(*schemes: str) -> Callable[[random.Random], Made]:
    forms = [f"{scheme}§@db-1.internal:5432/main?ssl=true" for scheme in schemes]
    return _filled(*forms, value=_url_password)


def _json_key(*keys: str) -> Callable[[random.Random], Made]:
    def make(rng: random.Random) -> Made:
        value = _any(rng)
        shape = rng.randrange(4)
        inner: object = {"user": "ada", rng.choice(keys): value, "retries": 3}
        if shape == 1:
            inner = {"db": {"primary": inner, "note": "the password policy is on page 3"}}
        elif shape == 2:
            inner = {"items": [inner, {"user": "bob"}]}
        text = json.dumps(inner, ensure_ascii=False, separators=rng.choice(((",", ":"), (", ", ": "))))
        return Made(text, [value])

    return make


def _json_in_json(rng: random.Random) -> Made:
    value = _chosen(rng)
    text = json.dumps({"user": "ada", rng.choice(("password", "clientSecret", "api_key")): value}, ensure_ascii=False)
    for _ in range(rng.randint(1, 2)):
        text = json.dumps({"body": text, "attempt": 1}, ensure_ascii=False)
    return Made(text, [value])


def _json_escapes(rng: random.Random) -> Made:
    """A value with a quote and a backslash in it."""
    start, end = _some(rng, ALNUM, 8), _some(rng, ALNUM, 8)
    return Made(json.dumps({"password": f'{start}"\\{end}', "user": "ada"}), [start, end])


def _basic(rng: random.Random) -> str:
    return base64.b64encode(f"ada:{_chosen(rng)}".encode()).decode()


def _aws_secret(rng: random.Random) -> str:
    return _some(rng, B64, 40)


def _session(rng: random.Random) -> str:
    return rng.choice(("FwoGZXIvYXdzE", "IQoJb3JpZ2luX2VjE")) + _some(rng, B64, 300) + "=="


def _azure_key(rng: random.Random) -> str:
    return base64.b64encode(rng.randbytes(64)).decode()


def _signature(rng: random.Random) -> str:
    return base64.b64encode(rng.randbytes(32)).decode().replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")


def _aws_pair(rng: random.Random) -> Made:
    key, secret = "AKIA" + _some(rng, B32, 16), _some(rng, B64, 40)
    return Made(
        f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\nregion = eu-west-1", [key, secret]
    )


def _hex(length: int) -> Callable[[random.Random], str]:
    return lambda rng: _some(rng, HEX, length)


_kind("aws key pair", "AWS", _aws_pair)
_kind(
    "aws secret key",
    "AWS",
    _filled(
        "AWS_SECRET_ACCESS_KEY=§",
        '"SecretAccessKey": "§",',
        "aws_secret_access_key: §",
        "aws configure set aws_secret_access_key §",
        value=_aws_secret,
    ),
)
_kind(
    "aws session token",
    "AWS",
    _filled("aws_session_token = §", "export AWS_SESSION_TOKEN=§", '"SessionToken": "§"', value=_session),
)
_kind(
    "azure storage connection",
    "Microsoft",
    _filled(
        "DefaultEndpointsProtocol=https;AccountName=bills;AccountKey=§;EndpointSuffix=core.windows.net",
        "Endpoint=sb://bus.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey=§",
        value=_azure_key,
    ),
)
_kind(
    "azure sas",
    "Microsoft",
    _filled(
        "https://bills.blob.core.windows.net/in?sv=2022-11-02&sp=r&se=2026-01-01T00:00:00Z&sig=§",
        "?sv=2022-11-02&ss=b&sig=§&sp=rwd",
        value=_signature,
    ),
)
_kind("postgres url", "RFC 3986", _url("postgres://app:", "postgresql+asyncpg://app:", "mysql://root:"))
_kind("redis url", "RFC 3986", _url("redis://:", "rediss://default:", "valkey://:"))
_kind("amqp url", "RFC 3986", _url("amqp://guest:", "amqps://mq:", "nats://svc:"))
_kind("mongodb url", "RFC 3986", _url("mongodb+srv://ada:", "mongodb://ada:", "neo4j+s://neo4j:"))
_kind("https url", "RFC 3986", _url("https://ada:", "http://ada.l:", "ftp://up:", "smtp://mail%40x:"))
_kind("url with token", "RFC 3986", _filled("git clone https://§@git.internal/a/b.git", value=_opaque))
_kind(
    "bearer header",
    "RFC 6750",
    _filled(
        "Authorization: Bearer §",
        "authorization: bearer §",
        "curl -H 'Authorization: Bearer §' https://api.internal/v1",
        '{"headers": {"Authorization": "Bearer §", "Accept": "*/*"}}',
        "Proxy-Authorization: Bearer §",
        'headers={"Authorization": f"Bearer §"}',
        value=_opaque,
    ),
)
_kind(
    "basic header",
    "RFC 7617",
    _filled(
        "Authorization: Basic §",
        'curl -H "Authorization: Basic §" https://api.internal/v1',
        '"authorization": "Basic §"',
        "Proxy-Authorization: Basic §",
        value=_basic,
    ),
)
_kind("token header", "GitHub", _filled("Authorization: token §", "Authorization: §", value=_opaque))
_kind("curl user", "curl", _filled("curl -u ada:§ https://api.internal", "curl --user 'ada:§' https://api.internal"))
for _key in (
    "password",
    "passwd",
    "secret",
    "api_key",
    "client_secret",
    "access_token",
    "refresh_token",
    "private_key",
):
    _kind(f"json {_key}", "RFC 8259", _json_key(_key))
_kind("json camel case", "RFC 8259", _json_key("clientSecret", "apiKey", "accessToken", "dbPassword", "refreshToken"))
_kind(
    "json compound key", "RFC 8259", _json_key("db_password", "smtp-password", "JWT_SECRET", "user.passwd", "authToken")
)
_kind("json in json", "RFC 8259", _json_in_json)
_kind("json escapes", "RFC 8259", _json_escapes)
_kind("python dict", "Python", _filled("{'user': 'ada', 'password': '§', 'n': 1}", "{'api_key': '§'}", value=_any))
_kind(
    "yaml password",
    "YAML 1.2",
    _filled(
        "password: §",
        "db:\n  user: ada\n  password: §\n  port: 5432",
        "- name: x\n  client_secret: §",
        "apiKey: §",
        "redis_password: §  # rotate",
    ),
)
_kind("yaml quoted", "YAML 1.2", _filled('password: "§"', "  secret: '§'", 'smtp_password: "§"', value=_any))
_kind(
    "env file",
    "POSIX",
    _filled(
        "DB_PASSWORD=§",
        "export API_KEY=§",
        "SECRET_KEY='§'",
        'SMTP_PASS="§"',
        "HOST=db\nPOSTGRES_PASSWORD=§\nPORT=1",
        "PGPASSWORD=§ psql -h db",
        "docker run -e MYSQL_ROOT_PASSWORD=§ -d mysql",
    ),
)
_kind(
    "flag",
    "POSIX",
    _filled("tool --password § --verbose", "tool --password=§", "tool --db-password '§' run", "x --client-secret=§ -v"),
)
_kind("token flag", "POSIX", _filled("tool --token § --verbose", "tool --api-key=§", "--auth-token §", value=_opaque))
_kind(
    "url query",
    "RFC 3986",
    _filled(
        "https://api.internal/v1?api_key=§&token=§",
        "GET /v1/items?page=2&access_token=§ HTTP/1.1",
        "wss://h/ws?client_secret=§#top",
        "https://h/cb?code=7&password=§&next=/",
        "https://b.s3.internal/o?X-Amz-Expires=300&X-Amz-Signature=§",
        value=_opaque,
    ),
)
_kind(
    "key header",
    "vendors' API pages",
    _filled(
        "X-Api-Key: §",
        "x-api-key: §\nAccept: */*",
        "X-Auth-Token: §",
        "PRIVATE-TOKEN: §",
        "Ocp-Apim-Subscription-Key: §",
        'curl -H "X-API-Key: §" https://h',
        value=_opaque,
    ),
)
_kind(
    "cookie",
    "RFC 6265",
    _filled(
        "Cookie: sessionid=§; theme=dark",
        "Set-Cookie: session=§; Path=/; HttpOnly",
        "Cookie: lang=en; JSESSIONID=§",
        '"Cookie": "connect.sid=§"',
        value=_opaque,
    ),
)
_kind("xml element", "XML", _filled("<user>ada</user><password>§</password>", "<apiKey>§</apiKey>", value=_opaque))
_kind("properties", "Java", _filled("spring.datasource.password=§", "db.url=x\ndb.passwd=§", "mail.smtp.password = §"))
_kind("npmrc", "npm", _filled("//npm.internal/:_authToken=§", "_auth=§", "//n.internal/:_password=§", value=_opaque))
_kind("netrc", "GNU", _filled("machine git.internal login ada password §", "machine h\n  login u\n  password §"))
_kind(
    "ado connection",
    "Microsoft",
    _filled("Server=db;Database=x;User Id=sa;Password=§;Encrypt=true", "Data Source=db;Uid=sa;Pwd=§;"),
)
_kind("toml or hcl", "TOML", _filled('password = "§"', 'client_secret = "§"', "[db]\npasswd = '§'", value=_any))
_kind(
    "code",
    "languages",
    _filled(
        'connect(host, user="ada", password="§")',
        'const apiKey = "§";',
        'String password = "§";',
        "$password = '§';",
        'password := "§"',
        "client_secret: '§',",
        value=_any,
    ),
)
_kind(
    "sql",
    "SQL",
    _filled("CREATE USER app IDENTIFIED BY '§'", "ALTER ROLE app WITH PASSWORD '§';", "create user a password '§'"),
)
_kind("docker auth", "Docker", _filled('{"auths": {"r.internal": {"auth": "§"}}}', value=_basic))
_kind("datadog", "Datadog", _filled("DD_API_KEY=§", "dd_api_key: §", value=_hex(32)))
_kind("twilio auth token", "Twilio", _filled("TWILIO_AUTH_TOKEN=§", 'auth_token = "§"', value=_hex(32)))
_kind("cloudflare token", "Cloudflare", _filled("CLOUDFLARE_API_TOKEN=§", "CF_API_TOKEN: §", value=_opaque))
_kind("heroku key", "Heroku", _filled("HEROKU_API_KEY=HRKU-§", value=lambda rng: "AA" + _some(rng, URL64, 56) + "a"))
_kind(
    "password in a sentence",
    "people",
    _filled(
        'The password is "§", change it.',
        "the staging password is `§`",
        "Login with ada and password: §",
        "pw: §",
        "passphrase is '§'",
        value=lambda rng: rng.choice(("hunter2", "Tr0ub4dor&3", "Summer2024!", _between(rng, ALNUM, 10, 16) + "7")),
    ),
)

for _form in (
    "password: §",
    "dbPassword: §",
    "DB_PASSWORD: §",
    "db_password: §",
    "Passwort: §",
    "pwd := §",
    "api_key: §",
    "db:\n  user: ada\n  password: §",
):
    _kind(
        f"letters after {_form.removesuffix(' §').rstrip(' :=').split()[-1]}{' in yaml' * _form.count('ada')}",
        "people",
        _filled(
            _form,
            value=lambda rng: rng.choice(("hunterhunter", "correct-horse", "swordfish", _between(rng, LOWER, 8, 16))),
        ),
    )

_CRYPT = ALNUM + "./"
for _name, _value in {
    "spanish": "contraseña: §",
    "french": "mot de passe : §",
    "portuguese": "senha: §",
    "dutch": "wachtwoord: §",
    "russian": "пароль: §",
}.items():
    _kind(f"password in {_name}", "people", _filled(_value, _value.upper(), _value.replace(":", " =")))
_kind("full-width password", "Unicode", _filled("ｐａｓｓｗｏｒｄ=§", "ＤＢ＿ＰＡＳＳＷＯＲＤ：§", "password：§"))  # noqa: RUF001 (as typed)
_kind("zero-width password", "Unicode", _filled("pass\u200bword=§", "\ufeffpass\u00adword: §", "api\u2060_key: §"))
_kind("split token", "Unicode", _filled("ghp_\u200b§", "gh\u2060p_§", value=lambda rng: _some(rng, ALNUM, 36)))
_kind(
    "htpasswd",
    "Apache",
    _filled("admin:$apr1$§", value=lambda rng: f"{_some(rng, _CRYPT, 8)}${_some(rng, _CRYPT, 22)}"),
)
_kind(
    "shadow",
    "crypt(5)",
    _filled(
        "root:$6$§:19000:0:99999:7:::",
        "ada:$y$j9T$§:19000::::::",
        "bob:$5$rounds=5000$§:19000:0:",
        value=lambda rng: f"{_some(rng, _CRYPT, 16)}${_some(rng, _CRYPT, 86)}",
    ),
)
_kind("bcrypt", "OpenBSD", _filled("$2b$12$§", "hash = $2y$10$§", value=lambda rng: _some(rng, _CRYPT, 53)))
_kind(
    "argon2",
    "RFC 9106",
    _filled(
        "$argon2id$v=19$m=65536,t=3,p=4$§", value=lambda rng: f"{_some(rng, ALNUM + '+/', 22)}${_some(rng, B64, 43)}"
    ),
)
_kind(
    "pbkdf2 of django",
    "Django",
    _filled("pbkdf2_sha256$600000$§", value=lambda rng: f"{_some(rng, ALNUM, 22)}${_some(rng, B64, 43)}="),
)
_kind(
    "ldap hash", "RFC 2307", _filled("userPassword: {SSHA}§", "{SHA512}§", value=lambda rng: _some(rng, B64, 38) + "==")
)
_kind("pgpass", "PostgreSQL", _filled("db.internal:5432:app:svc:§", "*:*:*:postgres:§", "db:5432:*:ada:§"))

# --- where they stand -----------------------------------------------------------------------------------------------

_LONG = "The build of the billing service failed twice before noon, and nobody had looked at the log by then. " * 21
TOKEN_PLACES = {
    "alone": "{}",
    "prose": "We rotated {} on Tuesday.",
    "before a comma": "the old one was {}, the new one is in the vault",
    "before a full stop": "The key of the staging cluster is {}.",
    "in quotes": 'It said "{}" and then nothing.',
    "in brackets": "the account of the robot ({}) was closed",
    "line end": "Use this:\n  {}\nand tell nobody.",
    "markdown code": "Set `{}` in the settings, **not** in the code.",
    "emoji": "🔑{}🔒 done ✅",
    "far": _LONG + "{} " + _LONG,
    "json": '{{"note": "call it with {}", "n": 1}}',
    "after an escaped newline": '{{"note": "two lines:\\n{}\\nend"}}',
    "assigned": "x = '{}';",
    "cyrillic": "ключ: {} — не показывать",
    "in a path": "see ?k={}&x=1",
}
OTHER_PLACES = {
    "alone": "{}",
    "between lines": "What I did:\n{}\nThen it worked.",
    "markdown fence": "Run:\n```\n{}\n```\n",
    "emoji": "🚀 release notes 🎉\n{}\n✅",
    "far": _LONG + "\n{}\n" + _LONG,
    "cyrillic": "Журнал 2024:\n{}\nконец",  # noqa: RUF001 (Cyrillic it is)
}
#: What programs make of a text that they pass on.
WITHIN: dict[str, Callable[[str], str]] = {
    "within json": lambda text: json.dumps({"rationale": text, "n": 1}),
    "within json in json": lambda text: json.dumps(
        {"payload": json.dumps({"title": text}, ensure_ascii=False)}, ensure_ascii=False
    ),
    "within a refusal": lambda text: f"role: expected one of architect, developer; got {text!r} (changes[0])",
    "as what a field became": lambda text: json.dumps(text, ensure_ascii=False),
    "within a list of json in a log": lambda text: f"INFO 12:00 answered {json.dumps([text])} in 3 ms",
}


def entries() -> list[dict[str, object]]:
    """Return the corpus: the same each time."""
    return [*_plain_entries(), *_passed_on_entries()]


def _entry(kind: Kind, made: Made, place: str, text: str) -> dict[str, object]:
    return {"kind": kind.name, "source": kind.source, "place": place, "text": text, "secrets": made.secrets}


def _plain_entries() -> list[dict[str, object]]:
    rng = random.Random(SEED)
    found: list[dict[str, object]] = []
    for number, kind in enumerate(KINDS):
        places = TOKEN_PLACES if kind.token else OTHER_PLACES
        for turn in range(EACH):
            place = list(places)[(number * EACH + turn) % len(places)]
            made = kind.make(rng)
            found.append(_entry(kind, made, place, places[place].format(made.text)))
    return found


def _passed_on_entries() -> list[dict[str, object]]:
    """Return each kind in each of the surroundings: alone, and with lines before and after."""
    rng = random.Random(SEED + 1)
    found: list[dict[str, object]] = []
    for kind in KINDS:
        for place, passed_on in WITHIN.items():
            for form in ("{}",) if kind.token else ("{}", OTHER_PLACES["between lines"]):
                made = kind.make(rng)
                found.append(_entry(kind, made, place, passed_on(form.format(made.text))))
    return found


def main() -> None:
    """Write the corpus beside this file."""
    lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries()]
    Path(__file__).with_name("secrets.jsonl").write_text("".join(lines), encoding="utf-8")
    print(f"{len(lines)} texts with secrets of {len(KINDS)} kinds")


if __name__ == "__main__":
    main()
