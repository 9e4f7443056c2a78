"""agent.toml: refused before anything starts, with every problem in one message."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.config.settings import Config, DownstreamMode, Failover, Headless, Liveness
from agentd.errors import ConfigError
from agentd_providers.local.settings import Engine, LocalSettings
from tests.installed import load_config, parse_config

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

ONE_AGENT = "[agents.reception]\n"


def parsed(toml: str, **environ: str) -> Config:
    return parse_config(tomllib.loads(toml), environ)


def problems(toml: str, **environ: str) -> list[str]:
    """The lines of the refusal, without its head."""
    with pytest.raises(ConfigError) as refused:
        parsed(toml, **environ)
    head, *lines = str(refused.value).splitlines()
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    assert head == f"agent.toml: {count}"
    return [line.strip() for line in lines]


# --- what is good


def test_one_table_of_an_agent_is_a_whole_configuration() -> None:
    config = parsed(ONE_AGENT)
    assert config.default_agent == "reception"
    assert config.agents["reception"].settings == LocalSettings()
    assert (config.health.host, config.health.port) == ("0.0.0.0", 15000)
    assert (config.audiosocket.host, config.audiosocket.port) == ("127.0.0.1", 8090)
    assert config.calls.default_media == "external"
    assert config.agents["reception"].downstream_mode is DownstreamMode.STREAM
    assert config.audiosocket.headless is Headless.REFUSE
    assert config.agents["reception"].liveness == Liveness()


def test_several_agents_each_have_settings_of_their_own() -> None:
    config = parsed("""
        [agents.sales]
        greeting = "Sales."
        [agents.sales.local.stt]
        engine = "vosk"
        [agents.night]
        greeting = ""
    """)
    assert config.agents["sales"].greeting == "Sales."
    assert config.agents["sales"].settings.stt.engine is Engine.VOSK  # type: ignore[attr-defined]
    assert config.agents["night"].settings == LocalSettings()


@pytest.mark.parametrize(
    "toml, default",
    [
        ("[agents.a]", "a"),
        ("[agents.a]\n[agents.default]", "default"),
        ("[agents.a]\n[agents.b]", ""),
        ('[calls]\ndefault_agent = "b"\n[agents.a]\n[agents.b]', "b"),
    ],
)
def test_the_default_agent_is_the_named_one_or_the_only_one_or_the_one_called_default(toml: str, default: str) -> None:
    assert parsed(toml).default_agent == default


@pytest.mark.parametrize(
    "toml, told",
    [
        ("", "127.0.0.1:4711"),
        ('[audiosocket]\nhost = "0.0.0.0"', "127.0.0.1:4711"),
        ('[audiosocket]\nhost = "localhost"', "127.0.0.1:4711"),
        ('[audiosocket]\nhost = "192.0.2.7"', "192.0.2.7:4711"),
        ('[audiosocket]\nadvertise = "agentd.lan:8090"', "agentd.lan:8090"),
    ],
)
def test_asterisk_is_told_an_address_that_it_can_reach(toml: str, told: str) -> None:
    assert parsed(f"{toml}\n{ONE_AGENT}").advertised_socket(4711) == told


def test_the_allow_list_becomes_networks() -> None:
    config = parsed(f'[audiosocket]\nallow = ["10.0.0.0/8", "::1/128", "192.0.2.7"]\n{ONE_AGENT}')
    assert [str(network) for network in config.audiosocket.allowed_networks] == [
        "10.0.0.0/8",
        "::1/128",
        "192.0.2.7/32",
    ]


# --- what is wrong


@pytest.mark.parametrize(
    "toml, told",
    [
        ("[asterik]", "asterik: unknown; did you mean 'asterisk'?"),
        ("[audiosocket]\nprot = 1", "audiosocket.prot: unknown; did you mean 'port'?"),
        ("[zebra]", "zebra: unknown"),
        ("asterisk = 5", "asterisk: must be a table: [asterisk], not 5"),
        ('[audiosocket]\nport = "8090"', 'audiosocket.port: must be a whole number, not "8090"'),
        ("[audiosocket]\nport = true", "audiosocket.port: must be a whole number, not true"),
        ("[audiosocket]\nport = 65536", "audiosocket.port: a port is a number from 0 to 65535, not 65536"),
        ("[audiosocket]\nport = -1", "audiosocket.port: a port is a number from 0 to 65535, not -1"),
        ('[audiosocket]\nhost = "pbx"', 'audiosocket.host: must be an IP address (or localhost), not "pbx"'),
        ('[audiosocket]\nadvertise = "pbx"', 'audiosocket.advertise: must be address:port, not "pbx"'),
        ('[audiosocket]\nadvertise = ":8090"', 'audiosocket.advertise: must be address:port, not ":8090"'),
        ('[audiosocket]\nadvertise = "pbx:sip"', 'audiosocket.advertise: must be address:port, not "pbx:sip"'),
        ('[audiosocket]\nadvertise = "pbx:80900"', 'audiosocket.advertise: must be address:port, not "pbx:80900"'),
        ('[audiosocket]\nadvertise = "pbx:8²"', 'audiosocket.advertise: must be address:port, not "pbx:8²"'),
        ('[audiosocket]\nallow = "10.0.0.0/8"', 'audiosocket.allow: must be a list, not "10.0.0.0/8"'),
        ("[audiosocket]\nallow = [10]", "audiosocket.allow: must be a string, not 10"),
        ('[rtp]\nadvertise = "pbx:21000"', "rtp.advertise: must be an IP address or a name, without a port, not"),
        ('[rtp]\nadvertise = "[::1]"', "rtp.advertise: must be an IP address or a name, without a port; an IPv6"),
        ('[rtp]\nadvertise = "::"', "rtp.advertise: :: is no address that can be sent to"),
        ('[rtp]\ncodec = "g722"', 'rtp.codec: must be one of ulaw, alaw, slin, not "g722"'),
        ("[rtp]\nfirst_port = 0", "rtp.first_port: must be a port from 1024 to 65535, not 0"),
        ("[rtp]\nfirst_port = 22000", "rtp.last_port: must not be below first_port (22000)"),
        ("[rtp]\nsilence_timeout = 0", "rtp.silence_timeout: must be greater than 0, not 0.0"),
        ('[websocket]\nconnection = "INCOMING"', "websocket.connection: must not be INCOMING, Asterisk's word for the"),
        ('[websocket]\nconnection = "a/b"', "websocket.connection: must be a name of letters, digits, hyphens, dots"),
        ('[websocket]\nconnection = "a"\nport = 8090', "websocket.port: port 8090 is audiosocket.port already"),
        ("[audiosocket]\nmax_connections = 0", "audiosocket.max_connections: must be greater than 0, not 0"),
        ("[audiosocket]\nreattach_tries = -1", "audiosocket.reattach_tries: must not be negative, not -1"),
        ("[asterisk]\nrequest_timeout = 0", "asterisk.request_timeout: must be greater than 0, not 0.0"),
        ("[asterisk]\nrequest_timeout = inf", "asterisk.request_timeout: must be a finite number, not Infinity"),
        ("[calls]\ndrain_timeout = nan", "calls.drain_timeout: must be a finite number, not NaN"),
        ('[asterisk]\nurl = "127.0.0.1:8088"', "asterisk.url: must begin with http:// or https://"),
        ('[asterisk]\nurl = "http://pbx:8088/ari"', "asterisk.url: must be http://host:port without '/ari'"),
        ('[asterisk]\nurl = "http://"', "asterisk.url: must be a URL like http://host:port"),
        ('[asterisk]\nurl = "http://[::1"', "asterisk.url: must be a URL like http://host:port"),
        ('[asterisk]\nurl = "http://pbx:80880"', "asterisk.url: must be a URL like http://host:port"),
        ('[asterisk]\nurl = "http://pbx:8088?app=x"', "asterisk.url: must be http://host:port without 'app=x'"),
        ('[media]\ndirectory = "media"', 'media.directory: must be an absolute path, not "media"'),
        ('[calls]\ndefault_media = "forc"', "calls.default_media: must be one of external, fork, rtp, websocket, not"),
        ('[logging]\nlevel = "loud"', "logging.level: must be one of debug, info, warning, error"),
        ('[logging]\ntranscripts = "yes"', "logging.transcripts: must be true or false"),
        ("[agents.x]\ngreting = 'Hi'", "agents.x.greting: unknown; did you mean 'greeting'?"),
        ("[agents.x]\nprovider = 'lokal'", "agents.x.provider: there is no provider 'lokal'; did you mean 'local'?"),
        ("[agents.x]\nprovider = 5", "agents.x.provider: must be a string, not 5"),
        ("[agents.x.locl]", "agents.x.locl: unknown; did you mean 'local'?"),
        ("[agents.x]\nlocal = 5", "agents.x.local: must be a table: [agents.x.local]"),
        ("[agents.x.local.turn]\nstop_ms = -1", "agents.x.local.turn.stop_ms: must not be negative, not -1"),
        ("[agents.x.local.turn]\nstart_ms = 0", "agents.x.local.turn.start_ms: must be greater than 0, not 0"),
        ("[agents.x.local.turn]\npreset = 'hasty'", "agents.x.local.turn.preset: must be one of eager, balanced"),
        ("[agents.x.local.turn]\nbackchannels = 'mhm'", "agents.x.local.turn.backchannels: must be a list"),
        ("[agents.x.local.turn]\nthreshold = 1", "agents.x.local.turn.threshold: must be between 0 and 1, not 1.0"),
        ("[agents.x.local.tss]\n", "agents.x.local.tss: unknown; did you mean 'tts'?"),
        ("[agents.x.local.stt]\nengine = 'moonshin'", "agents.x.local.stt.engine: must be one of moonshine, vosk"),
        ("[agents.x.local.llm]\nbase_url = 'pbx'", "agents.x.local.llm.base_url: must begin with http://"),
        ("[agents.x.local.llm]\nbase_url = 'http://[::1'", "agents.x.local.llm.base_url: must be a URL like http://host"),
        ("[agents.x]\nsettings = 5", "agents.x.settings: unknown"),
        ("[agents.x]\ndownstream_mode = 'steam'", "agents.x.downstream_mode: must be one of stream, file"),
        ("[agents.x]\nuninterruptible = 'This call'", "agents.x.uninterruptible: must be a list, not \"This call\""),
        ("[agents.x.liveness]\ncheck_ins = -1", "agents.x.liveness.check_ins: must not be negative, not -1"),
        ("[agents.x.liveness]\nslow_after = inf", "agents.x.liveness.slow_after: must be a finite number"),
        ("[agents.x.liveness]\nwarn_befor = 5", "agents.x.liveness.warn_befor: unknown; did you mean 'warn_before'?"),
        ("[audiosocket]\nheadless = 'yes'", "audiosocket.headless: must be one of refuse, accept"),
        ("[audiosocket]\nwideband = 1", "audiosocket.wideband: must be true or false"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_path_and_what_was_expected(toml: str, told: str) -> None:
    agents = "" if "[agents." in toml else ONE_AGENT
    (problem,) = problems(f"{toml}\n{agents}")
    assert problem.startswith(told)


@pytest.mark.parametrize("toml", ["agents = 5", "agents = []", "[agents]\nx = 5"])
def test_agents_are_tables(toml: str) -> None:
    assert problems(toml)[0] == "agents: must be tables: [agents.NAME]"


def test_all_problems_are_told_at_once_in_the_order_of_their_paths() -> None:
    assert problems(
        """
        [asterisk]
        url = "pbx"
        [audiosocket]
        port = "8090"
        max_conections = 5
        [logging]
        level = 5
        [agents.a]
        greeting = true
        [agents.a.local.llm]
        max_tokens = 0
        """,
        HEALTH_PORT="high",
    ) == [
        "agents.a.greeting: must be a string, not true",
        "agents.a.local.llm.max_tokens: must be greater than 0, not 0",
        'asterisk.url: must begin with http:// or https://, not "pbx"',
        "audiosocket.max_conections: unknown; did you mean 'max_connections'?",
        'audiosocket.port: must be a whole number, not "8090"',
        'environment HEALTH_PORT: must be a whole number, not "high"',
        "logging.level: must be one of debug, info, warning, error, not 5",
    ]


# --- what cannot work together


def test_without_an_agent_nothing_can_answer() -> None:
    assert problems("") == ["agents: no agent is configured: add a table [agents.default]"]


def test_the_default_agent_must_be_one_that_there_is() -> None:
    assert problems('[calls]\ndefault_agent = "c"\n[agents.a]\n[agents.b]') == [
        "calls.default_agent: there is no agent 'c'; there are: a, b"
    ]


@pytest.mark.parametrize(
    "fallback, told",
    [
        ('["b", "c"]', "there is no agent 'c'; there are: a, b"),
        ('["b", "a"]', "an agent is no fallback of its own: it is tried again anyway"),
        ('["b", "b"]', "names an agent twice"),
    ],
)
def test_a_fallback_is_another_agent_that_there_is(fallback: str, told: str) -> None:
    assert problems(f"[agents.a]\nfallback = {fallback}\n[agents.b]") == [f"agents.a.fallback: {told}"]


def test_agents_may_be_each_other_s_fallback() -> None:
    config = parsed('[agents.a]\nfallback = ["b"]\n[agents.b]\nfallback = ["a"]')
    assert [agent.fallback for agent in config.agents.values()] == [["b"], ["a"]]


@pytest.mark.parametrize(
    "url",
    [
        *("https://ada:hush@h/v1", "https://hush@h/v1", "https://h/v1?key=hush", "https://h/v1?api_key=hush"),
        *("https://h/v1?x=1&token=hush", "https://h/v1#access_token=hush"),
    ],
)
@pytest.mark.parametrize(
    ("table", "setting", "instead"),
    [
        ("[asterisk]", "url", "AGENTD_ARI_PASSWORD"),
        ("[agents.a.local.llm]", "base_url", "api_key_name"),
        ("[agents.a.openai_realtime]", "url", "api_key_name"),
        ("[agents.a.deepgram]", "url", "api_key_name"),
        ("[agents.a.deepgram]", "speech_url", "api_key_name"),
    ],
)
def test_a_key_in_a_url_is_refused_with_what_to_set_instead_and_not_shown(
    table: str, setting: str, instead: str, url: str
) -> None:
    url = url.replace("https", "wss") if "realtime" in table or (setting == "url" and "deepgram" in table) else url
    found = problems(f"{ONE_AGENT}\n{table}\n{setting} = '{url}'")
    assert len(found) == 1
    assert setting in found[0]
    assert instead in found[0]
    assert "hush" not in found[0]


@pytest.mark.parametrize(
    "line",
    [
        *('[asterisk]\nurl = "ftp://ada:hush1@h/?token=hush1"', '[calls]\ndefault_media = "sk-hush1hush1"'),
        *('[asterisk]\nusername = ["Bearer hush1"]', '[logging]\nlevel = "Bearer hush1"'),
    ],
)
def test_no_problem_shows_what_looks_like_a_secret(line: str) -> None:
    found = problems(f"{line}\n{ONE_AGENT}")
    assert found
    assert "hush1" not in "".join(found)


def test_how_an_agent_is_given_up_is_a_table_of_its_own() -> None:
    config = parsed('[agents.a]\n[agents.b.failover]\nopen_within = 3\nmute_after = 2.5\nhold_message = ""')
    assert config.agents["a"].failover == Failover(open_within=1.5, mute_after=1.2, hold_message="One moment, please.")
    assert config.agents["b"].failover == Failover(open_within=3.0, mute_after=2.5, hold_message="")


@pytest.mark.parametrize("name", ["open_within", "mute_after"])
@pytest.mark.parametrize("value", ["0", "-1"])
def test_an_agent_is_given_time(name: str, value: str) -> None:
    (problem,) = problems(f"[agents.a.failover]\n{name} = {value}")
    assert problem.startswith(f"agents.a.failover.{name}: ")


@pytest.mark.parametrize("health", ["127.0.0.1", "0.0.0.0", "::", "localhost"])
@pytest.mark.parametrize("audiosocket", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_two_listeners_cannot_share_a_port(health: str, audiosocket: str) -> None:
    toml = f'[health]\nhost = "{health}"\nport = 9000\n[audiosocket]\nhost = "{audiosocket}"\nport = 9000\n{ONE_AGENT}'
    assert problems(toml) == ["health.port: port 9000 is audiosocket.port already"]


def test_two_listeners_may_share_a_port_on_different_addresses_or_let_the_system_choose() -> None:
    parsed(f'[health]\nhost = "192.0.2.1"\nport = 8090\n{ONE_AGENT}')
    parsed(f"[health]\nport = 0\n[audiosocket]\nport = 0\n{ONE_AGENT}")


def test_a_stranger_s_connection_is_not_kept_longer_than_a_call_waits_for_its_own() -> None:
    assert problems(f"[audiosocket]\nbind_grace = 5.0\n{ONE_AGENT}") == [
        "audiosocket.bind_timeout: must be at least 7 (audiosocket.uuid_timeout 2 + audiosocket.bind_grace 5), not 5"
    ]


def test_a_request_does_not_outlast_the_leg_that_it_is_made_for() -> None:
    assert problems(f"[asterisk]\nrequest_timeout = 7.0\n{ONE_AGENT}") == [
        "audiosocket.bind_timeout: must be at least 7 (asterisk.request_timeout 7), not 5"
    ]
    parsed(f"[asterisk]\nrequest_timeout = 7.0\n[audiosocket]\nbind_timeout = 7.0\n{ONE_AGENT}")


def test_a_deadline_that_another_one_would_cut_is_refused() -> None:
    (problem,) = problems(f"[asterisk]\nrequest_timeout = 12.0\n[audiosocket]\nbind_timeout = 15.0\n{ONE_AGENT}")
    path, _, complaint = problem.partition(": ")
    assert path == "asterisk.request_timeout"
    assert complaint == "must be at most 7 (a hand-over, which takes two, is waited for 20 s), not 12.0"


def test_the_agent_of_headless_calls_must_be_one_that_there_is() -> None:
    assert problems(f'[audiosocket]\nheadless_agent = "c"\n{ONE_AGENT}') == [
        "audiosocket.headless_agent: there is no agent 'c'; there are: reception"
    ]


def test_headless_calls_need_an_agent_to_go_to() -> None:
    accept = '[audiosocket]\nheadless = "accept"'
    assert problems(f"{accept}\n[agents.a]\n[agents.b]") == [
        "audiosocket.headless_agent: must name the agent of headless calls"
    ]


@pytest.mark.parametrize(
    "toml, agent",
    [
        ("[agents.a]", "a"),
        ("[agents.a]\n[agents.default]", "default"),
        ('headless_agent = "b"\n[agents.a]\n[agents.b]', "b"),
        ('headless_agent = "b"\n[calls]\ndefault_agent = "a"\n[agents.a]\n[agents.b]', "b"),
        ('[calls]\ndefault_agent = "a"\n[agents.a]\n[agents.b]', "a"),
    ],
)
def test_headless_calls_go_to_their_agent_or_the_default_one(toml: str, agent: str) -> None:
    assert parsed(f'[audiosocket]\nheadless = "accept"\n{toml}').headless_agent == agent


@pytest.mark.parametrize(
    "turn, told",
    [
        ("stop_ms = 3000", "max_silence_ms: must not be less than stop_ms (3000)"),
        ("start_ms = 200", "interrupt_ms: must not be less than start_ms (200)"),
        ("takeover_ms = 100", "takeover_ms: must not be less than interrupt_ms (128)"),
        ("max_seconds = 1\ntakeover_ms = 1500", "max_seconds: must not be shorter than takeover_ms (1500 ms)"),
    ],
)
def test_thresholds_of_turns_that_contradict_each_other_are_told_with_their_path(turn: str, told: str) -> None:
    assert problems(f"[agents.a.local.turn]\n{turn}") == [f"agents.a.local.turn.{told}"]


def test_every_phrase_that_is_not_empty_is_told_to_be_spoken() -> None:
    agent = parsed(
        """
        [agents.a]
        greeting = "Hi."
        [agents.a.liveness]
        check_in = "Are you there?"
        filler = ""
        duration_warning = "One minute left."
        [agents.a.failover]
        apology = "Sorry?"
        restart_words = "Back again."
        """
    ).agents["a"]
    assert agent.phrases == ("Hi.", "Are you there?", "One minute left.", "Sorry?", "Back again.")


def test_the_announcements_are_told_apart_from_the_phrases() -> None:
    agent = parsed(
        """
        [agents.a]
        failure_announcement = "Sorry."
        shutdown_announcement = ""
        [agents.a.liveness]
        silence_farewell = "Nobody there."
        duration_farewell = "Time is over."
        """
    ).agents["a"]
    assert agent.announcements == ("Sorry.", "Nobody there.", "Time is over.")


# --- the environment


def test_the_environment_overrides_where_health_listens() -> None:
    toml = f'[health]\nhost = "127.0.0.1"\nport = 1\n{ONE_AGENT}'
    health = parsed(toml, HEALTH_HOST="192.0.2.7", HEALTH_PORT="8080").health
    assert (health.host, health.port) == ("192.0.2.7", 8080)
    assert parsed(toml, HEALTH_PORT="8080").health.host == "127.0.0.1"
    assert parsed(toml, HEALTH_HOST="192.0.2.7").health.port == 1


def test_empty_variables_override_nothing() -> None:
    health = parsed(f'[health]\nhost = "127.0.0.1"\nport = 1\n{ONE_AGENT}', HEALTH_HOST="", HEALTH_PORT="").health
    assert (health.host, health.port) == ("127.0.0.1", 1)


@pytest.mark.parametrize(
    "variable, value, told",
    [
        ("HEALTH_PORT", "high", 'must be a whole number, not "high"'),
        ("HEALTH_PORT", "80.5", 'must be a whole number, not "80.5"'),
        ("HEALTH_PORT", "-1", 'must be a whole number, not "-1"'),
        ("HEALTH_PORT", "²", 'must be a whole number, not "²"'),
        ("HEALTH_PORT", "65536", "a port is a number from 0 to 65535, not 65536"),
        ("HEALTH_PORT", "9" * 5000, "must be a whole number, not"),
        ("HEALTH_HOST", "pbx", 'must be an IP address (or localhost), not "pbx"'),
    ],
)
def test_a_wrong_override_is_told_by_the_variable_s_name(variable: str, value: str, told: str) -> None:
    (problem,) = problems(ONE_AGENT, **{variable: value})
    assert problem.startswith(f"environment {variable}: {told}")


def test_a_wrong_setting_in_the_file_is_told_even_where_the_environment_overrides_it() -> None:
    assert problems(f"[health]\nport = 70000\n{ONE_AGENT}", HEALTH_PORT="8080") == [
        "health.port: a port is a number from 0 to 65535, not 70000"
    ]


def test_an_overridden_port_may_collide_too() -> None:
    assert problems(ONE_AGENT, HEALTH_PORT="8090") == ["health.port: port 8090 is audiosocket.port already"]


# --- secrets


@pytest.mark.parametrize(
    "toml",
    [
        f'[asterisk]\npassword = "hunter2"\n{ONE_AGENT}',
        f'[asterisk]\nurl = "http://agentd:hunter2@pbx:8088"\n{ONE_AGENT}',
        '[agents.a.local.llm]\napi_key = "hunter2"',
        '[agents.a.local.llm]\nbase_url = "http://me:hunter2@pbx/v1"',
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(toml: str) -> None:
    (problem,) = problems(toml)
    assert "hunter2" not in problem


# --- the file


def test_the_message_begins_with_the_file_s_name(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("[agents.a]\nnonsense = 1\n")
    with pytest.raises(ConfigError, match=r"my\.toml: 1 problem\n  agents\.a\.nonsense: unknown"):
        load_config(path, {})


def test_a_file_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file.*`agentd sample`"):
        load_config(tmp_path / "nowhere.toml", {})


def test_a_file_that_is_no_toml_is_told_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[agents.a]\ngreeting = Hello\n")
    with pytest.raises(ConfigError, match=r"bad\.toml: is not TOML: .*line 2"):
        load_config(path, {})


@pytest.mark.parametrize("toml", ["x = " + "[" * 9999, "x" + ".x" * 400 + " = 1", "x = " + "[" * 400 + "]" * 400])
def test_a_file_that_is_nested_too_deeply_is_told(tmp_path: Path, toml: str) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(toml)
    with pytest.raises(ConfigError, match=r"deep\.toml: more than 64 lists or tables are nested"):
        load_config(path, {})


@pytest.mark.parametrize("toml", ['x = "\\ud800"', "x = " + "9" * 5000])
def test_a_file_with_half_a_character_or_a_number_without_end_is_told(tmp_path: Path, toml: str) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(toml)
    with pytest.raises(ConfigError, match=r"odd\.toml: is not TOML"):
        load_config(path, {})


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b'greeting = "\xff"')
    with pytest.raises(ConfigError, match=r"binary\.toml: is not UTF-8 text"):
        load_config(path, {})


# --- anything at all

values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(["local", "http://[", "x:1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=5,
)
keys = st.sampled_from(
    ["url", "host", "port", "advertise", "allow", "bind_grace", "default_agent", "level", "provider", "local", "turn"]
)
tables = st.dictionaries(keys, values | st.dictionaries(keys, values, max_size=2), max_size=4)
sections = st.sampled_from(["asterisk", "audiosocket", "media", "calls", "health", "logging", "agents", "x"])


@unhurried
@given(st.dictionaries(sections, values | tables | st.dictionaries(st.sampled_from("ab"), tables), max_size=4))
def test_a_configuration_of_any_kind_is_good_or_refused(raw: dict[str, Any]) -> None:
    try:
        parse_config(raw, {})
    except ConfigError as error:
        assert str(error).startswith("agent.toml: ")


@unhurried
@given(st.text(), st.text())
def test_an_environment_of_any_kind_is_good_or_refused(host: str, port: str) -> None:
    try:
        parse_config({"agents": {"a": {}}}, {"HEALTH_HOST": host, "HEALTH_PORT": port})
    except ConfigError as error:
        assert "HEALTH_" in str(error)


def test_a_key_pasted_where_its_name_belongs_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(
            {"agents": {"a": {"local": {"llm": {"base_url": "http://h/v1", "api_key_name": "sk-abcdef123"}}}}}, {}
        )
    assert "agents.a.local.llm.api_key_name" in str(refused.value)
    assert "sk-abcdef123" not in str(refused.value)


def test_a_language_that_the_built_in_transcriber_does_not_hear_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"agents\.a\.local\.stt\.engine: moonshine.*English only.*'de-DE'"):
        parse_config({"agents": {"a": {"language": "de-DE"}}}, {})


def test_the_table_of_a_provider_may_stay_when_the_agent_changes_over() -> None:
    config = parsed('[agents.a]\nprovider = "local"\n[agents.a.deepgram]\nconnect_deadline = 3.0\n')
    assert config.agents["a"].provider == "local"


def test_a_table_that_is_not_used_has_to_be_good_all_the_same() -> None:
    with pytest.raises(ConfigError, match=r"agents\.a\.deepgram\.conect_deadline"):
        parsed('[agents.a]\nprovider = "local"\n[agents.a.deepgram]\nconect_deadline = 3.0\n')
