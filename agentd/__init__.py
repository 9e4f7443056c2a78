"""agentd lets callers of an Asterisk system talk with AI agents. Start reading at `agentd.calls.call`."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("asterisk-agentd")
except PackageNotFoundError:  # run from a source tree that nobody installed
    __version__ = "0+unknown"
