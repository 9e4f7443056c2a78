"""What vendors' servers answer to our keys: whether they let us in, and the models that they list.

Requests to one server with one key are made once. No secret is ever shown: of what a server says, nothing that repeats
a part of one.
"""

import ssl
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import httpx
import trio

from agentd import deadlines
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.parsing import load_json
from agentd.websocket import tls_context
from agentd_providers.credentials import Credential
from agentd_providers.model_list import LARGEST, ModelList

DEADLINE: Final = deadlines.DOCTOR_KEY.seconds
BODY_DEADLINE: Final = deadlines.DOCTOR_KEY_BODY.seconds
LIST_DEADLINE: Final = deadlines.DOCTOR_MODEL_LIST.seconds
MOST_BODY: Final = 4096
SHOWN: Final = 200
"""Characters of a server's reason that are shown."""
SHORTEST_PART: Final = 4
"""So many characters of a key, in a row, are a part that is not shown."""


@attrs.frozen
class Outcome:
    """How a request ended, as a finding without its line; `body` is what came where a list was asked for."""

    finding: Finding
    body: bytes = b""


def request_of(credential: Credential) -> Credential:
    """The credential as its server sees it: two with one request are the same to it."""
    return attrs.evolve(credential, what="", lists=())


def list_request(credential: Credential, models: ModelList) -> Credential:
    """The request for a list of models, with the key of this credential."""
    return attrs.evolve(credential, what="", check_url=models.url, lists=())


async def ask_all(keys: Mapping[Credential, str], lists: Collection[Credential] = ()) -> Mapping[Credential, Outcome]:
    """How each request ends, all at once; `keys` holds the key of each, empty where its server wants none. Of those
    that are in `lists` the answer is read, too. Takes DEADLINE and LIST_DEADLINE seconds at most."""
    outcomes: dict[Credential, Outcome] = {}
    async with httpx.AsyncClient(
        timeout=DEADLINE, trust_env=False, verify=tls_context(), headers={"Accept-Encoding": "identity"}
    ) as client:

        async def one(request: Credential, key: str) -> None:
            try:
                with trio.fail_after(DEADLINE) as patience:
                    if request.check_url.startswith("tcp:"):
                        outcomes[request] = Outcome(await _connect(request))
                    else:
                        outcomes[request] = await _ask(client, request, key, patience, listing=request in lists)
            except trio.TooSlowError:
                outcomes[request] = Outcome(_unreachable(request, f"no answer within {DEADLINE:g} s"))

        async with trio.open_nursery() as nursery:
            for request, key in keys.items():
                nursery.start_soon(one, request, key)
    return outcomes


async def _ask(
    client: httpx.AsyncClient, request: Credential, key: str, patience: trio.CancelScope, *, listing: bool
) -> Outcome:
    headers = {request.header: f"{request.scheme} {key}".strip()} if key else {}
    body = b""
    try:
        async with client.stream("GET", request.check_url, headers=headers) as answer:
            patience.deadline += LIST_DEADLINE  # it has answered: the rest is another matter
            if not answer.is_success:
                body = await beginning(answer, MOST_BODY, BODY_DEADLINE)
            elif listing:
                body = await beginning(answer, LARGEST, LIST_DEADLINE)
    except httpx.TimeoutException:
        return Outcome(_unreachable(request, f"no answer within {DEADLINE:g} s"))
    except httpx.ConnectError as error:
        if tls := _tls_error(error):
            found = f"{shown_url(request)} cannot be talked to safely: {str(tls)[:SHOWN]}"
            advice = "are the host's clock and its CA certificates right? is it an https server at all?"
            return Outcome(warn("", found, advice))
        return Outcome(_unreachable(request, str(error)))
    except (httpx.HTTPError, httpx.InvalidURL) as error:  # its text may repeat what was sent, or what came
        return Outcome(warn("", f"GET {shown_url(request)} came to nothing ({type(error).__name__})"))
    if answer.is_success:
        return Outcome(judge(request, answer.status_code, ""), body)
    return Outcome(judge(request, answer.status_code, reason(body, key)))


async def beginning(answer: httpx.Response, most: int, seconds: float) -> bytes:
    """The first bytes of a body, or what comes of it: the status alone tells enough.

    The loop is not left, but cancelled where it waits: else httpx's generators stay unfinished.
    """
    body = bytearray()
    with trio.move_on_after(seconds) as reading, suppress(httpx.HTTPError):
        async for data in answer.aiter_raw():
            body += data[: most - len(body)]
            if len(body) == most:
                reading.cancel()
    return bytes(body)


async def _connect(credential: Credential) -> Finding:
    """For servers that know no keys: whether somebody is there."""
    try:
        parts = urlsplit(credential.check_url)
        stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 0)
    except (OSError, ValueError) as error:
        return _unreachable(credential, str(error))
    await stream.aclose()
    return ok("", f"{shown_url(credential)} takes connections")


def _unreachable(credential: Credential, why: str) -> Finding:
    where = f"{shown_url(credential)} cannot be reached ({why[:SHOWN]})"
    if credential.secret:
        return skipped("", f"not tried out: {where}. Offline?")
    return fail("", where, "is it running, and is its address in agent.toml right?")


def judge(credential: Credential, status: int, says: str) -> Finding:
    """The meaning of a server's answer to our key. Pure."""
    name, what = credential.secret, f"GET {shown_url(credential)}: HTTP {status}{f' ({says})' if says else ''}"
    if 200 <= status < 300:
        return ok("", f"{shown_url(credential)} {'takes the key' if name else 'answers'}")
    match status:
        case 401 | 403 if name:
            return fail(
                "",
                f"the server refuses the key: {what}",
                f"{name} must hold a key that is valid there, whole and of the right project",
            )
        case 401 | 403:
            return fail("", f"the server wants a key: {what}", "name the variable that holds it: api_key_name")
        case 402:
            return warn("", f"the account has no credit left: {what}", "calls will be refused: top it up")
        case 429:
            return warn("", f"the account's limit is reached: {what}", "requests, or credit: see its usage page")
    return warn("", what, "is its address in agent.toml right? (base_url usually ends in /v1)")


def reason(body: bytes, key: str) -> str:
    """The server's reason for a refusal: one printable line, empty where nothing of it can be shown. Pure.

    Servers repeat refused keys, or parts of them: then nothing is shown.
    """
    try:
        text = _message(load_json(body))
    except ValueError:
        return ""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    length = min(SHORTEST_PART, len(key))
    parts = {key[at : at + length].casefold() for at in range(len(key) - length + 1)} if key else set()
    folded = text.casefold()
    if any(part in folded for part in parts):
        return ""
    return text[:SHOWN]


def _message(answer: Any) -> str:
    """The message in the forms that vendors and OpenAI-compatible servers have."""
    while isinstance(answer, dict):
        answer = next((answer[key] for key in ("error", "err_msg", "message", "detail") if answer.get(key)), "")
    return answer if isinstance(answer, str) else ""


def shown_url(credential: Credential) -> str:
    """The address of a request, as it is shown."""
    return credential.check_url.partition("?")[0]


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """The error of TLS itself, below what the layers above make of it."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error
