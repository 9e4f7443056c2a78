"""One target under Atheris: `python -m tests.fuzz.process TARGET [arguments of libFuzzer]`. It ends with the first
input that is neither taken nor refused."""

import sys

import atheris
import structlog


def main() -> None:
    structlog.configure(processors=[structlog.dev.ConsoleRenderer()], logger_factory=structlog.ReturnLoggerFactory())
    with atheris.instrument_imports(include=["agentd", "agentd_providers", "h11"], enable_loader_override=False):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[sys.argv[1]]

    def take(data: bytes) -> None:
        try:
            target.take(data)
        except target.refuses:
            pass

    atheris.Setup([sys.argv[0], *sys.argv[2:]], take)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
