"""The daemon's parts: what runs for as long as it does, in what order it starts and stops. Nothing else.

Each part stands in a frame of its own (agentd.service.parts), and so does each call and each connection: nothing but a
signal, or what cannot be served without at the start, ends the daemon.
"""

import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from agentd import __version__, budgets, deadlines
from agentd.ari.client import AriClient
from agentd.ari.rest import AriRest, open_rest
from agentd.config.secrets import Secret
from agentd.config.settings import AgentConfig, Config
from agentd.errors import ConfigError, naming_address
from agentd.metrics import Metrics
from agentd.playback.directory import MediaDirectory
from agentd.service.collector import freeze_loaded
from agentd.service.health import HealthServer
from agentd.service.leaving import Leaving, runtime_directory, why_told
from agentd.service.logs import count_lost_lines
from agentd.service.notify import Notifier
from agentd.service.parts import Parts
from agentd.service.reception import Reception
from agentd.service.record_files import RecordFiles
from agentd.service.report import AgentHealth, HealthReport, Phase
from agentd.service.status import tell_status
from agentd.service.stays import LINE_CLOCK
from agentd.service.succession import Succession
from agentd.service.watchdog import ProgressWatch, feed_watchdog
from agentd.serving.roster import Roster
from agentd.tools.registry import Toolbox, missing_secrets
from agentd.transports import Daemon, Running, open_transports
from agentd_providers.registry import find_provider
from agentd_providers.shared import SharedServices

log = structlog.get_logger("agentd.supervisor")

ARI_PUMP, LISTENER = "ari_pump", "listener"
PROGRESS_LIMITS: Mapping[str, float] = {
    ARI_PUMP: deadlines.PUMP_PROGRESS.seconds,
    LISTENER: deadlines.LISTENER_PROGRESS.seconds,
    LINE_CLOCK: deadlines.LINE_PROGRESS.seconds,
}
"""Seconds without progress after which the watchdog is fed no more."""
ANNOUNCEMENT_TIME = deadlines.SHUTDOWN_WORDS.seconds
QUEUED_ENGINES = ("stt", "tts", "turn")
"""This host's engines that do one job at a time (agentd_providers.local.engines)."""
BEAT_EVERY = 2.5


@attrs.define(eq=False)
class Supervisor:
    """The daemon. `reload` reads the configuration again, for SIGHUP; it raises ConfigError."""

    config: Config
    ari_password: Secret
    reload: Callable[[], Config]
    notifier: Notifier
    metrics: Metrics = attrs.field(factory=Metrics, init=False)
    started_at: float = attrs.field(default=0.0, init=False)
    leaving: Leaving | None = attrs.field(default=None, init=False)
    """Why the daemon ends, once it was told to."""
    _up: trio.Event = attrs.field(factory=trio.Event, init=False)
    """The start is complete."""
    _reload_due: trio.Event = attrs.field(factory=trio.Event, init=False)
    _life: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    """Start and service: SIGTERM or SIGINT ends it, in whatever phase."""

    async def run(self) -> None:
        """Serve calls until SIGTERM or SIGINT; returns once everything is put away.

        Raises OSError when an address cannot be bound, ConfigError where a tool cannot be offered.
        """
        count_lost_lines(self.metrics.log_lines_lost)
        self._publish_budgets()
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            toolbox = _take_up(self.config)
            self.started_at = trio.current_time()
            ari = self.config.asterisk
            rest_block = open_rest(ari.url, ari.username, self.ari_password.reveal(), self.metrics, ari.request_timeout)
            # A call outlives whatever part fails: they are no parts, and contain what they raise themselves.
            async with rest_block as rest, trio.open_nursery() as calls, trio.open_nursery() as nursery:
                with closing(Succession(self.metrics)) as succession:
                    await self._live(signals, Parts(nursery, self.metrics), calls, rest, toolbox, succession)
                calls.cancel_scope.cancel()
                nursery.cancel_scope.cancel()
        log.info("agentd has ended")

    async def _live(
        self,
        signals: AsyncIterator[int],
        parts: Parts,
        calls: trio.Nursery,
        rest: AriRest,
        toolbox: Toolbox,
        succession: Succession,
    ) -> None:
        config, ari = self.config, self.config.asterisk
        parts.start_soon(self._heed, signals, name="signals")
        watch = ProgressWatch(dict(PROGRESS_LIMITS), started=self.started_at)
        watch.rest(LINE_CLOCK)
        shared = SharedServices(
            parts, self._engine_restarted, self._audio_delay, self._unknown_message, self._turns_left_out
        )
        self._show_queues(shared)
        roster = Roster(partial(_open_agent, shared), self.metrics, parts)
        client = AriClient(
            ari.url,
            ari.username,
            self.ari_password.reveal(),
            ari.app,
            rest,
            self.metrics,
            on_call=lambda start: reception.on_call(start),
            beat=lambda: watch.beat(ARI_PUMP, trio.current_time()),
        )
        directory = MediaDirectory(Path(config.media.directory), ari.app)
        await succession.open(RecordFiles(self._runtime, ari.app))
        reception = Reception(
            calls, client, roster, directory, self.metrics, watch, config, toolbox, succession.recorder
        )
        daemon = Daemon(lambda: reception.config, self.metrics, reception.on_stranger, parts.start, calls)
        async with open_transports(daemon) as running:
            reception.transports = {transport.name: transport for transport in running.transports}
            report = partial(self._report, client, running, reception, roster, parts)
            with self._life:
                await self._start_up(parts, client, running, roster, reception, succession, report, watch)
                parts.start_soon(self._reload_when_due, roster, reception, name="reload")
                await trio.sleep_forever()
            self.notifier.stopping()
            log.info("stopping", active_calls=reception.stays.active)
            if self.leaving is Leaving.RESTART and succession.files is not None:
                await succession.leave(reception)
            else:
                await reception.stays.drain(reception.config.calls.drain_timeout, ANNOUNCEMENT_TIME)
                await succession.recorder.write()

    async def _start_up(
        self,
        parts: Parts,
        client: AriClient,
        running: Running,
        roster: Roster,
        reception: Reception,
        succession: Succession,
        report: Callable[[], HealthReport],
        watch: ProgressWatch,
    ) -> None:
        """Bring up all else, in this order; what cannot be served without is raised."""
        health = self.config.health
        server = HealthServer(health.host, health.port, report, self.metrics)
        with naming_address(health.host, health.port, "health"):
            health_port = await parts.start(server.run, name="health_page")
        parts.start_soon(self._beat, running, parts, watch, name="beat")
        parts.start_soon(feed_watchdog, self.notifier, watch, name="watchdog")
        parts.start_soon(tell_status, self.notifier, report, name="status")
        adoption = await succession.take_up(client, reception)
        await self._sweep(reception.directory)
        parts.start_soon(succession.recorder.run, name="recorder")
        adopts = adoption is not None and bool(adoption.adopted)
        pump = partial(parts.start_soon, _pump, client, name=ARI_PUMP)
        if adoption is not None and adopts:  # without an application nothing can be made for callers
            await succession.go_on(adoption, reception, pump)
        elif adoption is not None and not adoption.chosen:
            parts.start_soon(succession.go_on_late, adoption, client, reception, name="adoption")
        await roster.replace(self.config.agents)
        freeze_loaded()
        parts.start_soon(succession.keep_words, roster, name="words")
        if not adopts:
            pump()  # only now does our application exist: until then the dialplan's fallback serves callers
        if self.config.asterisk.require_at_start:
            await client.ever_connected.wait()
        self._up.set()
        log.info("agentd is up", version=__version__, health_port=health_port)
        self.notifier.ready()

    async def _sweep(self, directory: MediaDirectory) -> None:
        try:
            swept = await trio.to_thread.run_sync(directory.sweep, abandon_on_cancel=True)
        except OSError as error:  # calls that stream need no directory
            log.error("audio files that an earlier run left behind cannot be removed", error=str(error))
            return
        if swept:
            self.metrics.media_files_swept.inc(swept)
            log.warning("removed audio files that an earlier run left behind", files=swept)

    async def _heed(self, signals: AsyncIterator[int]) -> None:
        """Follow signals, in whatever phase the daemon is."""
        async for number in signals:
            if number != signal.SIGHUP:
                if self.leaving is None:
                    self.leaving = await self._told_by(signal.Signals(number))
                self._life.cancel()
            elif self._life.cancel_called:
                log.info("no reload: agentd is being stopped")
            else:
                if not self._up.is_set():
                    log.info("the configuration will be reloaded once agentd has started")
                self._reload_due.set()

    @property
    def _runtime(self) -> Path:
        """The directory for what concerns this run and the next one."""
        return runtime_directory() or Path(self.config.calls.records_directory)

    async def _told_by(self, number: signal.Signals) -> Leaving:
        """SIGINT is somebody at a terminal, who has no other agentd follow."""
        leaving = Leaving.STOP if number == signal.SIGINT else await why_told(self._runtime)
        log.info(f"told to {leaving.value}", signal=number.name, starting=not self._up.is_set())
        return leaving

    async def _reload_when_due(self, roster: Roster, reception: Reception) -> None:
        while True:
            await self._reload_due.wait()
            self._reload_due = trio.Event()
            self.notifier.reloading()
            try:
                await self._reload(roster, reception)
            finally:
                if not self._life.cancel_called:
                    self.notifier.ready()

    async def _reload(self, roster: Roster, reception: Reception) -> None:
        """Agents, prompts and call settings for new calls; addresses and ARI stay until a restart."""
        try:
            config = self.reload()
            toolbox = _take_up(config)
        except ConfigError as error:
            log.error("the new configuration is refused, the old one stays", error=str(error))
        else:
            await roster.replace(config.agents)
            reception.config, reception.toolbox = config, toolbox
            freeze_loaded()
            log.info("configuration reloaded", agents=sorted(config.agents))

    async def _beat(self, running: Running, parts: Parts, watch: ProgressWatch) -> None:
        """Beat for who does not beat by itself. The watchdog is for what hangs: a part that failed and is about to be
        started again, or has not begun, must not have all calls ended."""
        while True:
            now = trio.current_time()
            if parts.down or all(listens() for listens in running.listening.values()):
                watch.beat(LISTENER, now)
            if ARI_PUMP in parts.down or not self._up.is_set():
                watch.beat(ARI_PUMP, now)
            await trio.sleep(BEAT_EVERY)

    def _report(
        self, client: AriClient, running: Running, reception: Reception, roster: Roster, parts: Parts
    ) -> HealthReport:
        return HealthReport(
            ari_connected=client.connected,
            listening={name: listens() for name, listens in running.listening.items()},
            active_calls=reception.stays.active,
            waiting_callers=reception.line.length,
            providers={
                name: AgentHealth(entry.readiness, entry.breaker.circuit(trio.current_time()), entry.breaker.reason)
                for name, entry in roster.entries.items()
            },
            uptime_seconds=trio.current_time() - self.started_at,
            phase=self._phase(reception),
            ari_trouble=client.trouble,
            media_trouble=reception.directory.trouble,
            parts=parts.health,
        )

    def _phase(self, reception: Reception) -> Phase:
        if reception.stays.draining:
            return Phase.DRAINING
        return Phase.SERVING if self._up.is_set() else Phase.STARTING

    def _engine_restarted(self, engine: str) -> None:
        self.metrics.provider_restarts.labels(engine=engine).inc()

    def _show_queues(self, shared: SharedServices) -> None:
        metrics = self.metrics
        for engine in QUEUED_ENGINES:
            metrics.engine_jobs_waiting.labels(engine=engine).set_function(partial(shared.jobs_waiting, engine))
            metrics.engine_oldest_job_seconds.labels(engine=engine).set_function(partial(shared.oldest_job, engine))

    def _unknown_message(self, vendor: str) -> None:
        self.metrics.provider_unknown_messages.labels(vendor=vendor).inc()

    def _publish_budgets(self) -> None:
        for budget in budgets.TABLE.values():
            self.metrics.call_budget.labels(budget=budget.name).set(budget.most)
            self.metrics.call_budget_exceeded.labels(budget=budget.name)

    def _turns_left_out(self, turns: int) -> None:
        self.metrics.prompt_turns_left_out.inc(turns)

    def _audio_delay(self, seconds: float) -> None:
        self.metrics.caller_audio_delay_seconds.observe(seconds)


def _open_agent(shared: SharedServices, name: str, config: AgentConfig):  # type: ignore[no-untyped-def]
    return find_provider(config.provider).open(name, config, shared)


def _take_up(config: Config) -> Toolbox:
    """Make the tools of a configuration that is about to serve; notes on it are logged."""
    for note in config.notes:
        log.warning("the configuration is out of date", note=note)
    toolbox = Toolbox.of(config)
    for tool, missing in missing_secrets(config):
        log.error("a tool will fail until its secret is there", tool=tool, error=missing)
    return toolbox


async def _pump(client: AriClient) -> None:
    try:
        await client.run()
    finally:  # whatever ended it has ended the stream
        client.lost()
