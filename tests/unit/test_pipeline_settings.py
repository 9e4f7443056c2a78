"""What an agent of chosen stages can be set to, and what it needs to be let in."""

from typing import Any

import attrs
import pytest

from agentd.errors import ConfigError
from agentd_providers.credentials import Credential, Scheme
from agentd_providers.deepgram.speech_settings import DeepgramListenSettings, DeepgramSpeakSettings
from agentd_providers.local.needs import local_needs
from agentd_providers.local.settings import EmbeddedSettings, LlmSettings, LocalSettings, local_credentials
from agentd_providers.needs import ModelServer
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.openai.speech_settings import OpenAiListenSettings
from agentd_providers.pipeline_settings import PipelineAgentSettings, pipeline_credentials
from tests.installed import parse_config


def pipeline(
    listen: str = "local", think: str = "openai", speak: str = "local", **tables: Any
) -> PipelineAgentSettings:
    return PipelineAgentSettings(listen, think, speak, tables=tables)


def impossible(settings: PipelineAgentSettings, language: str = "en-US") -> list[str]:
    return [setting for setting, _why in settings.impossible(language)]


def parse(**pipeline: Any) -> PipelineAgentSettings:
    agent = {"provider": "pipeline", "pipeline": pipeline}
    settings = parse_config({"agents": {"default": agent}}, {}).agents["default"].settings
    assert isinstance(settings, PipelineAgentSettings)
    return settings


def test_who_listens_thinks_and_speaks_is_chosen_freely() -> None:
    settings = parse(listen="deepgram", think="embedded", speak="wyoming", speak_wyoming={"uri": "tcp://tts:10200"})
    assert (settings.listen, settings.think, settings.speak) == ("deepgram", "embedded", "wyoming")
    assert settings.chosen("speak").settings.uri == "tcp://tts:10200"
    assert settings.chosen("listen").settings == DeepgramListenSettings()


@pytest.mark.parametrize("wrong", [{"listen": "nobody"}, {"think": "local"}, {"listen_nobody": {}}, {"stt": {}}])
def test_what_there_is_not_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"agents\.default\.pipeline"):
        parse(**wrong)


def test_a_model_of_english_only_is_for_english_only_where_it_is_what_listens() -> None:
    assert impossible(pipeline(), "de-DE") == ["listen_local.engine"]
    assert not impossible(pipeline(listen="openai"), "de-DE")
    assert not impossible(pipeline(), "en-GB")


def test_a_voice_that_speaks_one_language_speaks_the_agent_s() -> None:
    assert impossible(pipeline("openai", speak="deepgram"), "de-DE") == ["speak_deepgram.voice"]
    german = DeepgramSpeakSettings(voice="aura-2-julius-de")
    assert not impossible(pipeline("openai", speak="deepgram", speak_deepgram=german), "de-DE")
    unknown = DeepgramSpeakSettings(voice="our-own-voice")
    assert not impossible(pipeline("openai", speak="deepgram", speak_deepgram=unknown), "de-DE")


def test_a_clause_s_connection_and_its_sound_come_before_the_session_is_given_up() -> None:
    assert parse(speak="wyoming", speak_wyoming={"timeout": 8.0, "connect_timeout": 2.0})
    with pytest.raises(
        ConfigError, match=r"speak_wyoming\.timeout: must be at most 7 with a connect_timeout of 3 .* 8"
    ):
        parse(speak="wyoming", speak_wyoming={"timeout": 8.0, "connect_timeout": 3.0})


def test_only_what_is_chosen_needs_its_key() -> None:
    assert pipeline_credentials(pipeline(think="embedded")) == ()
    settings = pipeline(
        listen="deepgram",
        think="openai",
        speak="wyoming",
        listen_deepgram=DeepgramListenSettings(api_key_name="DG"),
        think_openai=ChatSettings("LLM_KEY", "http://llm:8000/v1/"),
    )
    assert [(needed.secret, needed.check_url, needed.scheme) for needed in pipeline_credentials(settings)] == [
        ("DG", "https://api.deepgram.com/v1/auth/token", Scheme.TOKEN),
        ("LLM_KEY", "http://llm:8000/v1/models", Scheme.BEARER),
        ("", "tcp://127.0.0.1:10200", Scheme.BEARER),
    ]
    assert [needed.what for needed in pipeline_credentials(settings)] == [
        "the key for listen_deepgram",
        "the key for think_openai",
        "the Wyoming server for speak_wyoming",
    ]


def test_a_server_of_one_s_own_needs_no_key_and_a_vendor_s_does() -> None:
    own = {"api_key_name": "", "base_url": "http://llm:8000/v1"}
    chosen = {"listen": "openai", "listen_openai": OpenAiListenSettings(**own)}
    needed = pipeline_credentials(pipeline(**chosen, think_openai=ChatSettings(**own)))
    assert [(each.secret, each.check_url) for each in needed] == [("", "http://llm:8000/v1/models")] * 2
    assert not impossible(pipeline(**chosen, think_openai=ChatSettings(**own)))
    nobody = pipeline(**chosen, think_openai=ChatSettings(api_key_name=""))
    assert impossible(nobody) == ["think_openai.api_key_name"]


def test_the_local_agent_needs_a_key_where_its_language_model_is_on_a_server() -> None:
    assert local_credentials(LocalSettings()) == ()
    llm = LlmSettings(base_url="http://llm/v1", api_key_name="LLM_KEY")
    assert local_credentials(LocalSettings(llm=llm)) == (
        Credential("LLM_KEY", "the key of the language model's server"),
    )
    assert ModelServer("http://llm/v1", llm.model, "LLM_KEY", "local.llm") in local_needs(LocalSettings(llm=llm))


def test_the_embedded_model_is_run_with_what_the_local_agent_is_set_to() -> None:
    assert LlmSettings().embedded == EmbeddedSettings()
    changed = EmbeddedSettings("other", 0.7, 20, 3.0, 4, 5, 600, 7)
    assert LlmSettings(**attrs.asdict(changed)).embedded == changed


def test_a_table_without_a_change_is_as_good_as_none() -> None:
    assert pipeline(think_openai=ChatSettings()) == pipeline()
    assert pipeline(think_openai=ChatSettings(model="other")) != pipeline()


def test_settings_that_both_agents_have_begin_with_the_same_values() -> None:
    ours, local = PipelineAgentSettings(), LocalSettings()
    assert (ours.end_phrases, ours.farewell, ours.turn) == (local.end_phrases, local.farewell, local.turn)


# --- the lexicon


def test_a_lexicon_says_words_as_it_has_them() -> None:
    assert parse(lexicon={"Siobhan": "shivawn"}).lexicon == {"Siobhan": "shivawn"}


@pytest.mark.parametrize("speak", ["deepgram", "openai", "wyoming"])
def test_ipa_for_a_voice_that_does_not_take_it_is_refused_with_the_reason(speak: str) -> None:
    settings = attrs.evolve(pipeline(speak=speak), lexicon={"Łódź": "/wutɕ/", "Siobhan": "shivawn"})
    assert [(setting, why) for setting, why in settings.impossible("en-US") if setting == "lexicon"] == [
        ("lexicon", f"speak_{speak} takes no IPA: write 'Łódź' as it is to be read")
    ]


def test_ipa_for_this_host_s_voice_is_taken() -> None:
    assert "lexicon" not in impossible(attrs.evolve(pipeline(speak="local"), lexicon={"Łódź": "/wutɕ/"}))


def test_a_lexicon_that_cannot_be_said_is_refused() -> None:
    with pytest.raises(ConfigError, match="lexicon"):
        parse(lexicon={"Łódź": "/wutɕ"})
