"""The command line: argument parsing, one function a command.

Each command imports what it needs, and no more: `agentd hand-back` has to work where a part of this version does not.
"""

import argparse
import faulthandler
import io
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import structlog
import trio

from agentd import __version__
from agentd.config.secrets import ARI_PASSWORD, find_secret, need_secret
from agentd.environment import INHERITED, withheld_from_children
from agentd.errors import AgentdError, ConfigError, ProviderError, first_of
from agentd.service.command_logs import log_to_stderr

if TYPE_CHECKING:
    from agentd.config.catalogue import Catalogue

log = structlog.get_logger("agentd.cli")

DEFAULT_CONFIG = "/etc/agentd/agent.toml"
EXIT_OK, EXIT_FAILED, EXIT_REFUSED = 0, 1, 2

DESCRIPTION = """\
agentd answers calls of an Asterisk or FreePBX system with AI agents.

  agentd --config agent.toml          run the daemon (systemd does this for you)
  agentd check --config agent.toml    is the configuration good? exit status 0 or 2
  agentd doctor --config agent.toml   does everything around it work, and what to do if not
  agentd models list                  the model files that agents use, and whether they are here
  agentd models fetch embedded        fetch those of the built-in agent
  agentd models vendors               ask the agents' servers which of their models end
  agentd sample > agent.toml          a commented configuration with every default
  agentd schema > agent.schema.json   a JSON Schema, for editors that complete agent.toml
  agentd init                         install or upgrade the system's files on a PBX host
  agentd restart                      have a new daemon take the place of the one that runs; calls go on
  agentd hand-back                    send the callers whom a dead agentd left to the dialplan
  agentd speech-server --config FILE  lend this host's speech engines to other hosts (Wyoming)

Secrets are never arguments: the ARI password is the environment variable AGENTD_ARI_PASSWORD or the systemd
credential ari-password."""


def main(argv: list[str] | None = None) -> int:
    """Run a command; gives the exit status (0 good, 1 failed, 2 refused configuration or arguments)."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may hold what no encoding can write (PEP 383)
        sys.stdout.reconfigure(errors="backslashreplace")
    log_to_stderr()
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # as in `agentd schema | head`: whoever reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_REFUSED
    except AgentdError as error:
        print(f"agentd: {error}", file=sys.stderr)
        return EXIT_FAILED
    except OSError as error:
        print(f"agentd: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="agentd", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"agentd {__version__}")
    _add_config(parser, Path(DEFAULT_CONFIG))
    parser.set_defaults(run=serve)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    check_parser = commands.add_parser("check", help="validate the configuration; exit status 0 or 2")
    _add_config(check_parser)
    check_parser.set_defaults(run=check)

    doctor_parser = commands.add_parser("doctor", help="test everything agentd needs, and say what to do")
    _add_config(doctor_parser)
    doctor_parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    doctor_parser.add_argument(
        "--delay",
        action="store_true",
        help="ask each agent's engines too, and say how long callers will wait (half a minute an agent; asks vendors)",
    )
    doctor_parser.set_defaults(run=doctor)

    models_parser = commands.add_parser("models", help="list and fetch model files; ask vendors for theirs")
    models_commands = models_parser.add_subparsers(metavar="list|fetch|vendors", required=True)
    list_parser = models_commands.add_parser("list", help="the models, their licences, and what is here")
    list_parser.set_defaults(run=models_list)
    fetch_parser = models_commands.add_parser("fetch", help="fetch models; what was begun is continued")
    fetch_parser.add_argument("names", nargs="+", metavar="NAME", help="a model or a group of `models list`")
    fetch_parser.set_defaults(run=models_fetch)
    vendors_parser = models_commands.add_parser(
        "vendors",
        help="ask the agents' servers, with their keys, whether they still have the models in use",
        description="Ask every server that an agent of the configuration uses for its list of models, with the key "
        "that the agent has, and print what it tells of each model in use: whether it is served, and until when. Exit "
        "status 1 where a model ends within six months, has ended, or is not listed; else 0, offline too.",
    )
    _add_config(vendors_parser)
    vendors_parser.set_defaults(run=models_vendors)

    sample_parser = commands.add_parser("sample", help="print a commented configuration")
    sample_parser.set_defaults(run=sample)
    schema_parser = commands.add_parser("schema", help="print the configuration's JSON Schema")
    schema_parser.set_defaults(run=schema)

    init_parser = commands.add_parser("init", help="install or upgrade agentd's files on this host")
    init_parser.add_argument("--root", type=Path, default=Path("/"), help="install below this directory")
    init_parser.add_argument(
        "--prefix", metavar="DIR", help="have the units start DIR/venv/bin/agentd, a link that will lead to this agentd"
    )
    init_parser.add_argument("--asterisk", choices=("plain", "freepbx"), help="the kind of PBX; found out if not given")
    init_parser.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    init_parser.set_defaults(run=init)

    hand_back_parser = commands.add_parser(
        "hand-back",
        help="send the callers whom a dead agentd left to the dialplan",
        description="Have every caller who is still in agentd's application of Asterisk go on in the dialplan, where "
        "AGENTD_FALLBACK takes the call. For when agentd has failed and will not come again: systemd runs this by "
        "itself (agentd-hand-back.service). It needs ARI and the password; of a configuration that agentd refuses it "
        "uses what it can. Where an agentd is alive, by its health page, it leaves everything alone. Exit status 0 if "
        "no caller is left behind, else 1.",
    )
    _add_config(hand_back_parser)
    hand_back_parser.set_defaults(run=hand_back)

    restart_parser = commands.add_parser(
        "restart",
        help="have a new daemon take the place of the one that runs; calls go on",
        description="After an upgrade, or a change that needs it. Looks first: a configuration that agentd would "
        "refuse (exit status 2), or a unit that does not keep what calls need (1), is told, and nothing is restarted. "
        "Then systemctl restarts agentd.service, or agentd@NAME.service for --config /etc/agentd/NAME.toml. The daemon "
        "leaves its callers where they are; they hear nothing for some seconds, until the new one goes on with their "
        "calls. To end the calls properly instead: systemctl stop. Prompts and agents alone need no restart: systemctl "
        "reload. Where systemd does not run agentd, it leaves a mark for the daemon and says what to do.",
    )
    _add_config(restart_parser)
    restart_parser.set_defaults(run=restart)

    speech_parser = commands.add_parser(
        "speech-server", help="lend this host's speech engines to other hosts, as [speech_server] says"
    )
    _add_config(speech_parser)
    speech_parser.set_defaults(run=speech_server)
    return parser


def _add_config(parser: argparse.ArgumentParser, default: object = argparse.SUPPRESS) -> None:
    """A command has no default of its own: it would win over what stands before the command."""
    parser.add_argument(
        "--config",
        type=Path,
        default=default,
        metavar="FILE",
        help=f"the configuration (default {DEFAULT_CONFIG})",
    )


def _installed() -> "Catalogue":
    from agentd.service.catalogue import installed_catalogue

    return installed_catalogue()


def _note(catalogue: "Catalogue", file: TextIO) -> None:
    """Tell what is installed and cannot be used: whoever named none of it has heard of it nowhere else."""
    for problem in catalogue.problems():
        print(f"note: {problem}", file=file)


def serve(arguments: argparse.Namespace) -> int:
    """Run the daemon."""
    from agentd.config.file import load_config
    from agentd.service.logs import set_up_logging
    from agentd.service.notify import Notifier
    from agentd.service.supervisor import Supervisor
    from agentd.service.taken import advice

    faulthandler.enable()  # the watchdog's SIGABRT leaves a traceback
    notifier = Notifier.from_environment(os.environ)
    catalogue = _installed()
    config = load_config(arguments.config, INHERITED, catalogue)
    password = need_secret(ARI_PASSWORD, "the ARI password")
    set_up_logging(config.logging)
    for problem in catalogue.problems():
        log.warning("an installed package cannot be used", problem=problem)
    supervisor = Supervisor(config, password, partial(load_config, arguments.config, INHERITED, catalogue), notifier)
    try:
        with withheld_from_children():
            trio.run(supervisor.run, strict_exception_groups=True)
    except* OSError as group:
        raise AgentdError(f"cannot start: {first_of(group)}{advice(first_of(group))}") from group
    finally:
        notifier.close()
    return EXIT_OK


def check(arguments: argparse.Namespace) -> int:
    """Validate the configuration."""
    from agentd.config.file import load_config
    from agentd.plugins import blaming
    from agentd.tools.registry import Toolbox, missing_secrets
    from agentd_providers.registry import find_provider

    catalogue = _installed()
    config = load_config(arguments.config, INHERITED, catalogue)
    Toolbox.of(config)
    names = ", ".join(sorted(config.agents))
    print(f"{arguments.config}: good; agents: {names}; default agent: {config.default_agent or 'none'}")
    if find_secret(ARI_PASSWORD) is None:
        print(f"note: {ARI_PASSWORD} is not set here; the daemon needs it (or the credential ari-password)")
    for note in config.notes:
        print(f"note: {note}")
    for tool, missing in missing_secrets(config):
        print(f"note: the tool {tool!r} will fail: {missing}")
    for name, agent in config.agents.items():
        with blaming(f"the provider {agent.provider!r}"):
            takes_tools = not agent.tools or find_provider(agent.provider).takes_tools(agent.settings)
        if not takes_tools:
            print(f"note: the language model of agents.{name} uses no tools: its `tools` are left out")
    _note(catalogue, sys.stdout)
    return EXIT_OK


def doctor(arguments: argparse.Namespace) -> int:
    """Examine everything that agentd needs."""
    from agentd.doctor import examine, render

    findings = trio.run(partial(examine, arguments.config, dict(os.environ), delays=arguments.delay))
    print(json.dumps([finding.as_json() for finding in findings], indent=2) if arguments.json else render(findings))
    return EXIT_FAILED if any(finding.failed for finding in findings) else EXIT_OK


def models_list(_arguments: argparse.Namespace) -> int:
    """Print the table of models."""
    from agentd_providers.local.models.commands import cli_list

    return cli_list(sys.stdout)


def models_fetch(arguments: argparse.Namespace) -> int:
    """Fetch models."""
    from agentd_providers.local.models.commands import cli_fetch

    return cli_fetch(arguments.names, sys.stderr)


def models_vendors(arguments: argparse.Namespace) -> int:
    """Print what the agents' servers tell of their models."""
    from datetime import date

    from agentd.config.file import load_config
    from agentd.doctor.model_lists import print_rows, vendor_models
    from agentd.service.host_files import CREDENTIALS

    config = load_config(arguments.config, INHERITED, _installed())
    today = date.today().isoformat()
    return print_rows(trio.run(vendor_models, config, dict(os.environ), Path(CREDENTIALS), today), sys.stdout)


def sample(_arguments: argparse.Namespace) -> int:
    """Print the commented sample configuration."""
    from agentd.config.sample import sample_toml

    catalogue = _installed()
    _note(catalogue, sys.stderr)
    print(sample_toml(catalogue), end="")
    return EXIT_OK


def schema(_arguments: argparse.Namespace) -> int:
    """Print the JSON Schema of the configuration."""
    from agentd.config.sample import config_schema

    catalogue = _installed()
    _note(catalogue, sys.stderr)
    print(json.dumps(config_schema(catalogue), indent=2, ensure_ascii=False))
    return EXIT_OK


def init(arguments: argparse.Namespace) -> int:
    """Install or upgrade agentd's files on this host."""
    from agentd.config.sample import sample_toml
    from agentd.service.install import init as install

    return install(
        arguments.root,
        out=sys.stdout,
        prefix=arguments.prefix,
        asterisk=arguments.asterisk,
        dry_run=arguments.dry_run,
        sample=sample_toml(_installed()),
    )


def hand_back(arguments: argparse.Namespace) -> int:
    """Hand back the callers whom a dead agentd left. The password is the daemon's."""
    from agentd.service.hand_back import hand_back as run

    return EXIT_OK if run(arguments.config, os.environ, sys.stdout) else EXIT_FAILED


def restart(arguments: argparse.Namespace) -> int:
    """Restart the daemon of a configuration that it will take."""
    from agentd.config.file import load_config
    from agentd.service.restart import restart as run
    from agentd.tools.registry import Toolbox

    config = load_config(arguments.config, INHERITED, _installed())
    Toolbox.of(config)
    run(arguments.config, config.calls.records_directory, sys.stdout)
    return EXIT_OK


def speech_server(arguments: argparse.Namespace) -> int:
    """Run the speech server. It needs no secret and no Asterisk."""
    from agentd.config.file import load_speech_server
    from agentd.service.logs import set_up_logging
    from agentd.service.notify import Notifier
    from agentd.service.speech_server import SpeechService

    faulthandler.enable()
    notifier = Notifier.from_environment(os.environ)
    settings, logging = load_speech_server(arguments.config, _installed())
    set_up_logging(logging)
    try:
        with withheld_from_children():
            trio.run(SpeechService(settings, notifier).run, strict_exception_groups=True)
    except* (OSError, ProviderError) as group:
        raise AgentdError(f"cannot start: {first_of(group)}") from group
    finally:
        notifier.close()
    return EXIT_OK
