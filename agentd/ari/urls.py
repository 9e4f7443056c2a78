"""Where ARI is: below Asterisk's HTTP server, and below http.conf's `prefix` where it has one. Pure.

Source: Asterisk 22 main/http.c (`handle_uri`): with `prefix = asterisk` every page is below /asterisk, so ARI is at
/asterisk/ari, and /ari is 404.
"""

import re
from typing import Final
from urllib.parse import urlencode, urlsplit

ARI: Final = "/ari"


def events_url(url: str, app: str) -> str:
    """The event stream of an application, at Asterisk's HTTP server `url` (http://host:port, and the prefix)."""
    parts = urlsplit(url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}{ARI}/events?{urlencode({'app': app})}"


def shown_prefix(status: str) -> str:
    """The prefix that `asterisk -rx 'http show status'` shows; empty where there is none."""
    found = re.search(r"^Prefix:[ \t]*(\S*)", status, re.MULTILINE)
    return found[1].rstrip("/") if found else ""
