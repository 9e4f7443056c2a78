"""Deepgram's Voice Agent messages: what we send keeps to the specification, what comes is checked."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.agent import ToolDeclaration
from agentd.config.schema import Problem, build
from agentd.errors import ProviderProtocolError
from agentd.history import History, Speaker, ToolUse, Turn
from agentd_providers.deepgram.voice_agent.events import (
    MOST_FUNCTIONS,
    MOST_MESSAGE,
    MOST_TEXT,
    AgentAudioDone,
    AgentStartedSpeaking,
    AgentThinking,
    AssistantText,
    FunctionCall,
    FunctionCallCancelled,
    FunctionCallRequest,
    InjectionRefused,
    LatencyReport,
    Noted,
    SettingsApplied,
    Unknown,
    UserStartedSpeaking,
    UserText,
    VendorError,
    VendorWarning,
    Welcome,
    parse,
)
from agentd_providers.deepgram.voice_agent.messages import (
    GO_ON,
    MOST_HISTORY,
    Keys,
    context_messages,
    function_call_response,
    inject_agent_message,
    inject_user_message,
    resumption,
    settings_message,
)
from agentd_providers.deepgram.voice_agent.settings import (
    AgentListenSettings,
    AgentSpeakSettings,
    AgentThinkSettings,
    DeepgramAgentSettings,
    SpeakProvider,
    ThinkProvider,
)
from tests.lab.vendors.deepgram_agent import Refusal, check_settings

DEFAULT = DeepgramAgentSettings()
TOOL = ToolDeclaration("get_weather", "The weather.", {"type": "object", "properties": {}})
CALL = "fc_12345678-90ab-cdef-1234-567890abcdef"


def message(settings: DeepgramAgentSettings = DEFAULT, **how: Any) -> dict[str, Any]:
    given_: dict[str, Any] = {"language": "en-US", "prompt": "Help.", "history": History(), "tools": (), "keys": Keys()}
    built = settings_message(settings, 8000, **{**given_, **how})
    check_settings(json.loads(json.dumps(built)))  # as strict as the server
    return built


def history(*turns: Turn) -> History:
    return History(list(turns))


CALLER = Turn(Speaker.CALLER, "What's the weather like in New York?")
AGENT = Turn(Speaker.AGENT, "Partly cloudy.", "Partly cloudy.", 1)
TOOL_USED = Turn(Speaker.TOOL, "", tool=ToolUse("get_weather", '{"location": "New York"}', "partly cloudy"))


# --- Settings (https://developers.deepgram.com/docs/configure-voice-agent)


def test_the_default_settings_are_the_minimum_of_the_documentation() -> None:
    assert message() == {
        "type": "Settings",
        "audio": {
            "input": {"encoding": "linear16", "sample_rate": 8000},
            "output": {"encoding": "linear16", "sample_rate": 8000, "container": "none"},
        },
        "agent": {
            "listen": {"provider": {"type": "deepgram", "version": "v1", "model": "nova-3", "language": "en-US"}},
            "think": {"provider": {"type": "open_ai", "model": "gpt-5.4-mini"}, "prompt": "Help."},
            "speak": {"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}},
        },
    }


def test_integers_are_sent_as_integers() -> None:
    flux = DeepgramAgentSettings(listen=AgentListenSettings("flux-general-en", eot_threshold=0.8, eot_timeout_ms=4000))
    sent = json.dumps(message(flux))
    assert '"sample_rate": 8000}' in sent
    assert '"eot_timeout_ms": 4000' in sent


def test_a_flux_model_has_settings_of_its_own_and_hints_in_place_of_a_language() -> None:
    flux = DeepgramAgentSettings(listen=AgentListenSettings("flux-general-multi", keyterms=["agentd"]))
    assert message(flux, language="de-DE")["agent"]["listen"]["provider"] == {
        "type": "deepgram",
        "version": "v2",
        "model": "flux-general-multi",
        "language_hints": ["de"],
        "keyterms": ["agentd"],
    }


def test_a_server_of_one_s_own_thinks_with_its_key() -> None:
    think = AgentThinkSettings(ThinkProvider.GROQ, "llama", 0.5, "https://llm.example/v1", "LLM_KEY")
    built = message(DeepgramAgentSettings(think=think), keys=Keys(think="s3cret"))
    assert built["agent"]["think"] == {
        "provider": {"type": "groq", "model": "llama", "temperature": 0.5},
        "endpoint": {"url": "https://llm.example/v1", "headers": {"authorization": "Bearer s3cret"}},
        "prompt": "Help.",
    }


@pytest.mark.parametrize("provider", SpeakProvider)
def test_every_voice_is_asked_for_as_the_documentation_says(provider: SpeakProvider) -> None:
    model = {SpeakProvider.OPEN_AI: "tts-1", SpeakProvider.DEEPGRAM: "aura-2-thalia-en"}.get(provider, "m")
    speak = AgentSpeakSettings(provider, model, "v", "https://tts.example", "TTS_KEY", "xi-api-key")
    built = message(DeepgramAgentSettings(speak=speak), keys=Keys(speak="s3cret"))["agent"]["speak"]
    assert built["provider"]["type"] == provider
    assert built["endpoint"]["headers"] == {"xi-api-key": "s3cret"}


def test_a_function_of_ours_has_no_endpoint_and_never_the_field_client_side() -> None:
    (function,) = message(tools=[TOOL])["agent"]["think"]["functions"]
    assert function == {
        "name": "get_weather",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {}},
    }


def test_labels_and_the_opt_out_are_sent_where_they_are_set() -> None:
    built = message(DeepgramAgentSettings(tags=["sales"], mip_opt_out=True))
    assert (built["tags"], built["mip_opt_out"]) == (["sales"], True)


def test_secrets_are_in_no_repr() -> None:
    assert "s3cret" not in repr(Keys("s3cret", "s3cret"))


# --- the conversation so far (https://developers.deepgram.com/docs/voice-agent-history)


def test_the_history_is_handed_over_with_tools_and_without_the_open_turn() -> None:
    so_far = history(CALLER, TOOL_USED, AGENT, Turn(Speaker.CALLER, "And in Boston?"))
    handed_over = message(history=so_far)["agent"]["context"]["messages"]
    assert handed_over == [
        {"type": "History", "role": "user", "content": "What's the weather like in New York?"},
        {
            "type": "History",
            "function_calls": [
                {
                    "id": "history-1",
                    "name": "get_weather",
                    "client_side": True,
                    "arguments": '{"location": "New York"}',
                    "response": "partly cloudy",
                }
            ],
        },
        {"type": "History", "role": "assistant", "content": "Partly cloudy."},
    ]
    assert resumption(so_far) == "And in Boston?"


def test_a_turn_that_a_tool_was_used_for_stays_in_the_history_and_is_only_gone_on_with() -> None:
    so_far = history(CALLER, TOOL_USED)
    assert len(context_messages(so_far)) == 2
    assert resumption(so_far) == GO_ON


def test_an_agent_that_spoke_last_is_asked_to_go_on() -> None:
    assert resumption(history(CALLER, AGENT)) == GO_ON


def test_a_new_conversation_has_nothing_to_resume() -> None:
    assert resumption(History()) == ""
    assert "context" not in message()["agent"]


def test_the_oldest_turns_of_a_long_history_are_left_out() -> None:
    so_far = history(*[Turn(Speaker.AGENT, f"{n}", f"{n}", n) for n in range(MOST_HISTORY + 5)])
    handed_over = context_messages(so_far)
    assert len(handed_over) == MOST_HISTORY
    assert handed_over[0]["content"] == "5"


def test_other_messages_have_the_documented_keys() -> None:
    assert inject_user_message("Hello") == {"type": "InjectUserMessage", "content": "Hello"}
    assert inject_agent_message("Are you still there?") == {
        "type": "InjectAgentMessage",
        "message": "Are you still there?",
    }
    assert function_call_response(CALL, "get_weather", "21") == {
        "type": "FunctionCallResponse",
        "id": CALL,
        "name": "get_weather",
        "content": "21",
    }
    assert len(inject_user_message("x" * 2 * MOST_TEXT)["content"]) == MOST_TEXT


# --- what Deepgram sends: the examples of https://developers.deepgram.com/docs/voice-agent-outputs and of asyncapi.yml


@pytest.mark.parametrize(
    ("text", "event"),
    [
        (
            '{"type":"Welcome","request_id":"fc553ec9-5874-49ca-a47c-b670d525a4b1"}',
            Welcome("fc553ec9-5874-49ca-a47c-b670d525a4b1"),
        ),
        ('{"type":"SettingsApplied"}', SettingsApplied()),
        ('{"type":"UserStartedSpeaking"}', UserStartedSpeaking()),
        ('{"type":"ConversationText","role":"user","content":"Hello"}', UserText("Hello")),
        ('{"type":"ConversationText","role":"assistant","content":" Hi! "}', AssistantText("Hi!")),
        ('{"type":"AgentThinking","content":"Hm"}', AgentThinking()),
        (
            '{"type":"AgentStartedSpeaking","total_latency":0.5,"tts_latency":0.2,"ttt_latency":0}',
            AgentStartedSpeaking(0.0, 0.2),
        ),
        ('{"type":"LatencyReport","stt_latency":0.12,"ttt_token_latency":0.34}', LatencyReport(0.12, 0.34, None)),
        ('{"type":"AgentAudioDone"}', AgentAudioDone()),
        (
            '{"type":"FunctionCallRequest","functions":[{"id":"fc_12345678-90ab-cdef-1234-567890abcdef",'
            '"name":"get_weather","arguments":"{\\"location\\": \\"Fremont, CA 94539\\"}","client_side":true}]}',
            FunctionCallRequest((FunctionCall(CALL, "get_weather", '{"location": "Fremont, CA 94539"}', True),)),
        ),
        (
            '{"type":"FunctionCallCancelled","functions":[{"id":"fc_1","name":"book_appointment"}]}',
            FunctionCallCancelled(("fc_1",)),
        ),
        (
            '{"type":"InjectionRefused","message":"Cannot inject message while agent is currently speaking"}',
            InjectionRefused("Cannot inject message while agent is currently speaking"),
        ),
        ('{"type":"InjectionRefused"}', InjectionRefused("")),
        (
            '{"type":"Warning","description":"slow","code":"SLOW_THINK_REQUEST"}',
            VendorWarning("SLOW_THINK_REQUEST", "slow"),
        ),
        ('{"type":"Error","description":"no","code":"FAILED_TO_THINK"}', VendorError("FAILED_TO_THINK", "no")),
        ('{"type":"History","role":"user","content":"Hello"}', Noted("History")),
        ('{"type":"PromptUpdated"}', Noted("PromptUpdated")),
        ('{"type":"FromTheFuture","x":[1]}', Unknown("FromTheFuture")),
    ],
)
def test_a_message_is_what_it_says(text: str, event: object) -> None:
    assert parse(text) == event


@pytest.mark.parametrize(
    "text",
    [
        "certainly, }{ no JSON",
        "[]",
        "{}",
        '{"type":7}',
        '{"type":"%s"}' % ("x" * 1000),
        '{"type":"ConversationText","role":"user"}',
        '{"type":"ConversationText","role":"nobody","content":"x"}',
        '{"type":"ConversationText","role":"user","content":"%s"}' % ("x" * (MOST_TEXT + 1)),
        '{"type":"FunctionCallRequest"}',
        '{"type":"FunctionCallRequest","functions":[7]}',
        '{"type":"FunctionCallRequest","functions":[{"id":"1","name":"n","arguments":{},"client_side":true}]}',
        '{"type":"FunctionCallRequest","functions":[{"id":"1","name":"n","arguments":"{}","client_side":"yes"}]}',
        json.dumps({"type": "FunctionCallCancelled", "functions": [{"id": "1"}] * (MOST_FUNCTIONS + 1)}),
        '{"type":"LatencyReport","stt_latency":"0.1"}',
        '{"type":"LatencyReport","stt_latency":NaN}',
        '{"type":"LatencyReport","stt_latency":true}',
        '{"type":"LatencyReport","stt_latency":-1}',
        '{"type":"LatencyReport","stt_latency":1%s}' % ("0" * 400),
        '{"type":"Error","code":[]}',
    ],
)
def test_a_message_that_is_not_what_it_should_be_is_an_error(text: str) -> None:
    with pytest.raises(ProviderProtocolError, match="Deepgram"):
        parse(text)


def test_a_message_that_is_too_long_is_not_read() -> None:
    with pytest.raises(ProviderProtocolError, match="characters, more than"):
        parse('{"type":"PromptUpdated"%s}' % (" " * MOST_MESSAGE))


@pytest.mark.parametrize(("value", "shown"), [("[" * 60 + "]" * 60, "list"), ('{"secret":1}', "dict")])
def test_an_error_shows_no_whole_list_or_object(value: str, shown: str) -> None:
    with pytest.raises(ProviderProtocolError, match=f"content must be a string, not {shown}$"):
        parse(f'{{"type":"ConversationText","role":"user","content":{value}}}')


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["role", "content", "functions", "code", "description", "message", "stt_latency", "request_id"]
)
KINDS = st.sampled_from(["Welcome", "ConversationText", "FunctionCallRequest", "LatencyReport", "Error", "Warning"])


@given(KINDS, st.dictionaries(FIELDS, JSON))
def test_whatever_comes_is_an_event_or_a_protocol_error(kind: str, fields: dict[str, Any]) -> None:
    try:
        event = parse(json.dumps({**fields, "type": kind}))
    except ProviderProtocolError as error:
        assert len(str(error)) < 1000
    else:
        assert not isinstance(event, Unknown)


# --- the settings


def problems(table: dict[str, Any], language: str = "en-US") -> list[str]:
    found: list[Problem] = []
    settings = build(DeepgramAgentSettings, table, "", found)
    return [*map(str, found), *(f"{where}: {why}" for where, why in settings.impossible(language))]


def test_the_default_settings_have_no_problem() -> None:
    assert problems({}) == []


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"url": "https://agent.deepgram.com"}, "url: must begin with ws:// or wss://"),
        ({"url": "wss://user:pw@agent.deepgram.com/"}, "url: must hold no user or password"),
        ({"url": "wss://agent.deepgram.com/?token=x"}, "url: must hold nothing after the path"),
        ({"api_key_name": "0a1b2c3d"}, "api_key_name: must be the name of an environment variable"),
        ({"api_key_name": ""}, "api_key_name: Deepgram lets nobody in without a key"),
        ({"listen": {"eot_timeout_ms": 100}}, "listen.model: eot_threshold and eot_timeout_ms are for flux"),
        ({"listen": {"model": "flux-general-en", "eot_threshold": 0.2}}, "listen.eot_threshold: must be from 0.5"),
        ({"think": {"provider": "groq"}}, "think.endpoint_url: groq's has to be given"),
        ({"think": {"api_key_name": "X"}}, "think.api_key_name: is for a server of your own"),
        ({"think": {"temperature": 3}}, "think.temperature: must be at most 2"),
        ({"think": {"api_key_header": "a: b"}}, "think.api_key_header: must be the name of an HTTP header"),
        ({"speak": {"provider": "open_ai"}}, "speak.endpoint_url: that of open_ai has to be given"),
        ({"speak": {"provider": "cartesia"}}, "speak.voice: cartesia needs one"),
        ({"renew_before": 7200}, "renew_before: must be less than session_limit"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(table: dict[str, Any], complaint: str) -> None:
    assert any(problem.startswith(complaint) for problem in problems(table)), problems(table)


def test_a_key_in_the_place_of_its_name_is_not_shown() -> None:
    assert "0a1b2c3d" not in "".join(problems({"api_key_name": "0a1b2c3d"}))


# --- the fake is as strict as the server


@pytest.mark.parametrize(
    "spoil",
    [
        lambda fields: fields["audio"]["input"].update(sample_rate=8000.0),
        lambda fields: fields["audio"]["input"].update(encoding="mulaw"),
        lambda fields: fields["audio"]["output"].update(container="wav"),
        lambda fields: fields["agent"]["think"].update(timeout=5),
        lambda fields: fields["agent"]["listen"].update(endpointing=300),
        lambda fields: fields["agent"]["think"]["functions"][0].update(client_side=True),
        lambda fields: fields["agent"]["think"]["provider"].pop("model"),
        lambda fields: fields.update(language="en"),
    ],
)
def test_the_fake_refuses_what_deepgram_refuses(spoil: Any) -> None:
    fields = message(tools=[TOOL])
    spoil(fields)
    with pytest.raises(Refusal):
        check_settings(fields)
