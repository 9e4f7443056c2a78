"""The tool `http_request`: asks one HTTP endpoint of the configuration, and no other.

The model's arguments fill placeholders of the path and the query, percent-encoded, or are the JSON body. It can choose
neither scheme nor host nor port, leave its segment of the path, add a header, or have a redirect followed.
"""

import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import attrs
import httpx
import trio

from agentd.agent import ToolDeclaration
from agentd.config.schema import Unshown, secret_name, text, web_url
from agentd.config.secrets import Secret, find_secret
from agentd.errors import ConfigError
from agentd.telltales import HIDDEN, concealed, looks_secret, names_secret, secret_in_url, without_secrets
from agentd.tools.contract import ToolContext, ToolError, ToolKind, ToolOutcome
from agentd.tools.parameters import parse_schema

MAX_RESPONSE = 8000
"""The most bytes of a response that a model is given."""
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")
DESCRIPTION = "Ask a service."
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_SURELY_SECRET = ("authorization", "proxy-authorization", "cookie", "x-api-key")
_OWN_HEADERS = ("host", "content-length", "transfer-encoding", "connection", "upgrade", "accept-encoding")
_READABLE = re.compile(r"(text/.*|.*[/+](json|xml))")


class Method(StrEnum):
    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"


def _url(value: str) -> str | None:
    if not value:
        return None
    if found := secret_in_url(PLACEHOLDER.sub("", value), surely=True):
        return Unshown(f"must hold no {found.removeprefix('a ')}, which would reach logs: see secret_headers")
    if complaint := web_url(value):
        return complaint
    parts = urlsplit(value)
    rest = PLACEHOLDER.sub("", parts.path + parts.query)
    if set(parts.netloc) & set("{}"):
        return "must name its host: placeholders stand in the path and the query only"
    if set(rest) & set("{}"):
        return "has a { or } that belongs to no {placeholder}"
    if not value.isascii() or set(value) & set("#\\"):
        return "must be ASCII without # and \\"
    if _climbs(parts.path):
        return "must have no . or .. in its path"
    return None


def _parameters(value: str) -> str | None:
    try:
        parse_schema(value)
    except ValueError as error:
        return str(error)
    return None


def _header_names(value: Mapping[str, str]) -> str | None:
    for name in value:
        if not _HEADER_NAME.fullmatch(name):
            return Unshown(f"{name[:40]!r} is no name of a header")
        if name.lower() in _OWN_HEADERS:
            return Unshown(f"{name} is not for the configuration to set")
    return None


def _headers(value: Mapping[str, str]) -> str | None:
    if complaint := _header_names(value):
        return complaint
    for name, content in value.items():
        if name.lower() in _SURELY_SECRET:
            return Unshown(f"{name} is a secret: name where it is to be found, in secret_headers")
        if not _fits_header(content):
            return Unshown(f"{name}: a header's value is printable ASCII, without a space at its ends")
    return None


def _secret_headers(value: Mapping[str, str]) -> str | None:
    if complaint := _header_names(value):
        return complaint
    for name, secret in value.items():
        if not secret or secret_name(secret):
            return Unshown(f"{name}: must be the name of an environment variable, such as CRM_TOKEN, never the secret")
    return None


def _response(value: int) -> str | None:
    return None if 1 <= value <= MAX_RESPONSE else f"must be from 1 to {MAX_RESPONSE}"


def _is_secret(header: str, content: str) -> bool:
    return bool(content) and (names_secret(header) or looks_secret(content))


def _shown_headers(headers: Mapping[str, str]) -> str:
    return repr({name: HIDDEN if _is_secret(name, content) else content for name, content in headers.items()})


@attrs.frozen
class HttpRequestSettings:
    """Asks one HTTP endpoint; the answer is given to the model.

    Its repr shows neither a header's value that may be a secret nor what may be one in the URL."""

    url: Annotated[
        str, text("The endpoint. {name} in the path or the query stands for an argument of that name.", _url)
    ] = attrs.field(default="", repr=without_secrets)
    method: Annotated[Method, text("GET, POST, PUT or DELETE. With POST and PUT the arguments are sent as JSON.")] = (
        Method.GET
    )
    parameters: Annotated[
        str, text("JSON Schema of the arguments, as JSON text: what the model has to give.", _parameters)
    ] = '{"type": "object", "properties": {}}'
    headers: Annotated[dict[str, str], text("Headers of the request.", _headers)] = attrs.field(
        factory=dict, repr=_shown_headers
    )
    secret_headers: Annotated[
        dict[str, str], text("Headers whose value is a secret: header = NAME of the secret.", _secret_headers)
    ] = attrs.field(factory=dict)
    max_response: Annotated[int, text("Bytes of the answer that the model is given.", _response)] = MAX_RESPONSE

    @property
    def sends_body(self) -> bool:
        return self.method in (Method.POST, Method.PUT)

    @property
    def likely_secrets(self) -> Sequence[str]:
        """The values of headers that may be secrets, though they stand in the configuration."""
        return [content for name, content in self.headers.items() if _is_secret(name, content)]

    def doubtful(self) -> Iterator[tuple[str, str]]:
        """See agentd.tools.contract.ToolKind."""
        for name, content in self.headers.items():
            if _is_secret(name, content):
                yield "headers", f"the value of {name} looks like a secret: it belongs into secret_headers"
        if HIDDEN in without_secrets(PLACEHOLDER.sub("", self.url)):
            yield "url", "looks as if it held a secret: a header could keep it out of this file, in secret_headers"

    def impossible(self) -> Iterator[tuple[str, str]]:
        """See agentd.tools.contract.ToolKind."""
        if not self.url:
            yield "url", "must be the URL of the endpoint"
        schema = parse_schema(self.parameters)
        known, required = schema.get("properties", {}), schema.get("required", [])
        used = PLACEHOLDER.findall(self.url)
        for name in used:
            if name not in known or name not in required:
                yield "url", f"{{{name}}} must be one of the parameters, and required"
        for name in known:
            if self.url and not self.sends_body and name not in used:
                yield "parameters", f"{name} goes nowhere: a {self.method} request needs {{{name}}} in its url"
        twice = {name.lower() for name in self.headers} & {name.lower() for name in self.secret_headers}
        if twice:
            yield "headers", f"{min(twice)} is one of secret_headers too"


def fill(template: str, arguments: Mapping[str, Any]) -> str:
    """The URL with every placeholder filled from the arguments. Raises ToolError for what cannot stand there."""
    parts = urlsplit(template)
    path = PLACEHOLDER.sub(lambda found: _in_path(found[1], _word(found[1], arguments)), parts.path)
    query = PLACEHOLDER.sub(lambda found: quote(_word(found[1], arguments), safe=""), parts.query)
    if _climbs(path):
        raise ToolError("The arguments make no path: . and .. cannot stand there.")
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def _word(name: str, arguments: Mapping[str, Any]) -> str:
    match arguments.get(name):
        case bool(value):
            return "true" if value else "false"
        case str() | int() | float() as value:
            return str(value)
    raise ToolError(f"{name} must be a text or a number.")


def _in_path(name: str, word: str) -> str:
    """One segment of a path, or a part of it: servers that decode %2F before they route would leave the segment."""
    if not word or set(word) & set("/\\") or any(ord(character) < 32 for character in word):
        raise ToolError(f"{name} must not be empty, nor hold a slash.")
    return quote(word, safe="")


def _climbs(path: str) -> bool:
    return any(unquote(segment) in (".", "..") for segment in path.split("/"))


def _fits_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()


@attrs.frozen(eq=False)
class HttpRequest:
    """Meets agentd.tools.contract.Tool.

    Each use has a client of its own: httpx leaks the pool slots of requests that are cancelled (httpcore issue 1093),
    and so there is no pool that outlives one. The TLS context is made once: it is dear. So are the headers'
    secrets, which may be in files: a reload, which makes the tool anew, takes those that have changed.
    """

    declaration: ToolDeclaration
    settings: HttpRequestSettings
    tls: ssl.SSLContext | bool = attrs.field(default=False, repr=False)
    find: Callable[[str], Secret | None] = attrs.field(default=find_secret, repr=False)
    _found: Mapping[str, Secret | Exception] = attrs.field(init=False, repr=False)
    """By header: its secret, or what is wrong with it."""

    @_found.default
    def _find_secrets(self) -> Mapping[str, Secret | Exception]:
        return {header: self._find_secret(name) for header, name in self.settings.secret_headers.items()}

    def _find_secret(self, name: str) -> Secret | Exception:
        try:
            secret = self.find(name)
        except ConfigError as error:
            return error
        if secret is None:
            return LookupError(f"the secret {name} is missing")
        if not _fits_header(secret.reveal()):  # an error of the HTTP library would show it
            return ValueError(f"the secret {name} fits in no header")
        return secret

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> ToolOutcome:
        """Make the request; gives the status, and the body as text. Redirects are not followed.

        Raises ToolError. The caller sets the deadline: cancelling closes the connection.
        """
        settings = self.settings
        url, headers = fill(settings.url, arguments), self._headers()
        body = dict(arguments) if settings.sends_body else None
        try:
            async with (
                httpx.AsyncClient(verify=self.tls, trust_env=False, timeout=None) as client,  # noqa: S113 - see above
                client.stream(str(settings.method), url, headers=headers, json=body) as answer,
            ):
                shown = await self._read(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ToolError("The service could not be reached.") from error
        return ToolOutcome(f"HTTP {answer.status_code}\n{shown}".strip(), failed=answer.status_code >= 300)

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": "agentd", "Accept-Encoding": "identity", **self.settings.headers}
        for header, found in self._found.items():
            if isinstance(found, Exception):
                raise ToolError("The service is not set up.") from found
            headers[header] = found.reveal()
        return headers

    def _conceal(self, text: str) -> str:
        """The text without our secrets: a service may send back what it was sent, and the model may say it aloud."""
        secrets = [found.reveal() for found in self._found.values() if isinstance(found, Secret)]
        secrets += self.settings.likely_secrets
        return concealed(text, secrets)

    async def _read(self, answer: httpx.Response) -> str:
        """The body's beginning, as it came: a compressed one, which we did not ask for, could be of any size."""
        kind = answer.headers.get("content-type", "text/plain").partition(";")[0].strip().lower()
        if not _READABLE.fullmatch(kind) or answer.headers.get("content-encoding", "identity") != "identity":
            return f"(an answer of the type {kind[:80]}, which is not text)"
        most, body = self.settings.max_response, b""
        with trio.CancelScope() as enough:  # leaving the loop would leave httpx's own generators unfinished
            async for piece in answer.aiter_raw():
                body = (body + piece)[: most + 1]
                if len(body) > most:
                    enough.cancel()
        shown = self._conceal(body[:most].decode(errors="replace"))
        return f"{shown}\n(cut off after {most} bytes)" if len(body) > most else shown


def _make(name: str, description: str, settings: HttpRequestSettings) -> HttpRequest:
    declaration = ToolDeclaration(name, description or DESCRIPTION, parse_schema(settings.parameters))
    tls = ssl.create_default_context() if settings.url.startswith("https://") else False
    return HttpRequest(declaration, settings, tls)


def _secrets(settings: HttpRequestSettings) -> Sequence[str]:
    return tuple(settings.secret_headers.values())


HTTP_REQUEST = ToolKind(HttpRequestSettings, _make, secrets=_secrets)
