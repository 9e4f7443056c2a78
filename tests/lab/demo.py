"""The demo: a real call to the embedded agent on a private Asterisk.

    python -m tests.lab.demo           one call; exit status 0 only if a spoken answer came back
    python -m tests.lab.demo --talk    leave PBX and daemon up, and tell how to call them with a softphone
    python -m tests.lab.demo --down    stop what a `--talk` left behind

The call asks a question that a voice recorded, and one that a human did. What the caller heard is recorded from
the line and transcribed again: the answer counts only if those words are the ones the agent says it spoke. Of an
answer of a word or two the small ear can't be sure: there it is enough that as little was heard.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import trio

from agentd_providers.local.models.commands import cli_fetch

from .asterisk import PrivateAsterisk
from .daemon import Daemon, Line, environment, run_daemon, write_config
from .debian import find_or_unpack
from .hearing import confirms, likeness, speak, transcribe
from .prefix import LabUnavailable, Prefix
from .scene import NothingHeard, ask, listen, words_heard
from .sip import SipCaller
from .speech import human_prompts

OUT = Path("build/demo")
PID = OUT / "talk.pid"
QUESTION = "What is the capital of France?"
HUMAN_PROMPT = "conf-onlyperson"
EXTENSION = "7000"


def show(line: Line) -> None:
    """One log line of the daemon as a line of the demo's transcript."""
    match line.get("event"):
        case "state":
            print(f"          state  {line['state']:<11} ({line['region']}: {line['after']})")
        case "caller said":
            print(f"  agent heard  \N{LEFT DOUBLE QUOTATION MARK}{line['text']}\N{RIGHT DOUBLE QUOTATION MARK}")
        case "agent says":
            print(f"   agent says  \N{LEFT DOUBLE QUOTATION MARK}{line['text']}\N{RIGHT DOUBLE QUOTATION MARK}")
        case "answer":
            stages = ", ".join(f"{key[:-3]} {value} ms" for key, value in line.items() if key.endswith("_ms"))
            print(f"        timing  {stages}")
        case _ if line.get("level") in ("warning", "error"):
            print(f"       warning  {line.get('event')}: {line.get('error') or line.get('reason') or ''}")


async def prepare() -> Prefix:
    """Models and an Asterisk; says what is missing."""
    if status := await trio.to_thread.run_sync(cli_fetch, ["embedded"], sys.stderr):
        raise SystemExit(status)
    OUT.mkdir(parents=True, exist_ok=True)
    return await find_or_unpack(lambda text: print(text, flush=True))


async def run_call() -> int:
    """The demo proper; gives the exit status."""
    began = time.monotonic()
    prefix = await prepare()
    prompts = {prompt.name: prompt for prompt in human_prompts(prefix)}
    questions = [(QUESTION, "a recorded voice", await speak(QUESTION))]
    if human := prompts.get(HUMAN_PROMPT):
        questions.append((human.text, "a recorded human", bytes(8000) + human.pcm() + bytes(8000)))
    async with PrivateAsterisk(prefix) as pbx:
        print("Asterisk is up; agentd loads its engines.")
        config = write_config(OUT / "agent.toml", pbx)
        async with run_daemon(config, environment(pbx), show) as daemon:
            print(f"agentd is up ({time.monotonic() - began:.0f} s). Calling extension {EXTENSION} over SIP.\n")
            turns = await hold_conversation(pbx, daemon, questions)
    (OUT / "call.json").write_text(json.dumps({"turns": turns}, indent=2, ensure_ascii=False) + "\n")
    good = len(turns) > 1 and all(turn["words_agree"] for turn in turns[1:])
    print(f"\nWhat the caller heard: {OUT / 'heard.wav'}   The call, turn by turn: {OUT / 'call.json'}")
    for turn in turns[1:]:
        print(
            f"  answered after {turn['response_delay_ms']} ms at the caller's ear; "
            f"heard again: “{turn['heard_by_caller']}”"
        )
    print("The demo worked." if good else "The demo FAILED: no answer that the recording confirms.")
    return 0 if good else 1


async def hold_conversation(
    pbx: PrivateAsterisk, daemon: Daemon, questions: list[tuple[str, str, bytes]]
) -> list[dict[str, Any]]:
    """Call, listen to the greeting, ask, and hang up; gives the turns as call.json has them."""
    turns: list[dict[str, Any]] = []
    async with SipCaller().call(pbx.sip_uri(EXTENSION), caller_id="+4930123456", name="Ada") as call:
        try:
            start, end = await listen(call, 0.0)
            greeting = agent_words(daemon, 0)
            turns.append(turn_of("", "", "", greeting, await words_heard(call, start, end), None))
            for text, voice, pcm in questions:
                first_line = len(daemon.lines)
                print(f"  caller says  “{text}” ({voice})")
                answer = await ask(call, pcm)
                heard = " ".join(line["text"] for line in daemon.having("caller said")[-1:])
                said = agent_words(daemon, first_line)
                turns.append(turn_of(text, voice, heard, said, await transcribe(answer.pcm), answer.delay))
        except NothingHeard as error:
            print(error)
        await call.hangup()
    call.save(OUT / "heard.wav", OUT / "said.wav")
    await daemon.until_idle()
    return turns


def agent_words(daemon: Daemon, first_line: int) -> str:
    """What the agent says it spoke since a line of its log."""
    return " ".join(line["text"] for line in daemon.lines[first_line:] if line.get("event") == "agent says")


def turn_of(text: str, voice: str, understood: str, answer: str, heard: str, delay: float | None) -> dict[str, Any]:
    return {
        "caller_said": text,
        "caller_voice": voice,
        "agent_heard": understood,
        "agent_answered": answer,
        "heard_by_caller": heard,
        "words_agree": confirms(answer, heard),
        "likeness": round(likeness(answer, heard), 2),
        "response_delay_ms": None if delay is None else round(delay * 1000),
    }


async def talk() -> int:
    """Leave everything up until Ctrl-C."""
    async with PrivateAsterisk(await prepare(), sip_host="0.0.0.0") as pbx:
        config = write_config(OUT / "agent.toml", pbx)
        async with run_daemon(config, environment(pbx), show) as daemon:
            PID.write_text(str(os.getpid()))
            address = await first_address()
            print(
                f"\nReady. In a softphone on this network, add an account:\n"
                f"    server    {address}:{pbx.sip_port} (UDP)\n"
                f"    user      agentd-phone\n"
                f"    password  {pbx.phone_password}\n"
                f"and dial 7000 (externalMedia) or 7001 (media fork). From this host no account is needed:\n"
                f"    sip:7000@127.0.0.1:{pbx.sip_port}\n"
                f"Health: http://127.0.0.1:{daemon.health_port}/health    Ctrl-C ends it.\n"
            )
            try:
                with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    async for _number in signals:
                        break
            finally:
                PID.unlink(missing_ok=True)
    return 0


async def first_address() -> str:
    """An address of this host that another one may reach."""
    answer = await trio.run_process(["hostname", "-I"], capture_stdout=True, check=False)
    return (answer.stdout.decode().split() or ["127.0.0.1"])[0]


def down() -> int:
    """Stop a `--talk` that is still up."""
    try:
        pid = int(PID.read_text())
    except (OSError, ValueError):
        print("nothing is up")
        return 0
    try:
        os.kill(pid, signal.SIGTERM)
        print(f"stopping process {pid}")
    except ProcessLookupError:
        PID.unlink(missing_ok=True)
        print("nothing is up any more")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--talk", action="store_true", help="leave PBX and daemon up for a softphone")
    parser.add_argument("--down", action="store_true", help="stop what --talk left up")
    options = parser.parse_args()
    if options.down:
        return down()
    try:
        return trio.run(talk if options.talk else run_call)
    except LabUnavailable as error:
        print(f"There is no Asterisk for the demo: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
