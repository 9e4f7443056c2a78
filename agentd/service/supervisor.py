"""The root nursery: what runs for as long as the daemon does, in what order it starts and stops. Nothing else."""

import signal
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from agentd import __version__, deadlines
from agentd.ari.client import AriClient
from agentd.ari.rest import open_rest
from agentd.config.secrets import Secret
from agentd.config.settings import AgentConfig, Config
from agentd.errors import ConfigError
from agentd.metrics import Metrics
from agentd.playback.directory import MediaDirectory
from agentd.service.health import AgentHealth, HealthReport, HealthServer
from agentd.service.notify import Notifier
from agentd.service.reception import LINE_CLOCK, Reception
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


@attrs.define(eq=False)
class Supervisor:
    """The daemon. `reload` reads the configuration again, for SIGHUP; it raises ConfigError."""

    config: Config
    ari_password: Secret
    reload: Callable[[], Config]
    notifier: Notifier
    metrics: Metrics = attrs.field(factory=Metrics, init=False)
    started_at: float = attrs.field(default=0.0, init=False)

    async def run(self) -> None:
        """Serve calls until SIGTERM or SIGINT; returns once everything is put away.

        Raises OSError when an address cannot be bound or the media directory cannot be used, ConfigError where a tool
        cannot be offered.
        """
        config = self.config
        toolbox = _take_up(config)
        self.started_at = trio.current_time()
        directory = MediaDirectory(Path(config.media.directory), config.asterisk.app)
        await self._sweep(directory)
        watch = ProgressWatch(dict(PROGRESS_LIMITS), started=self.started_at)
        watch.rest(LINE_CLOCK)
        ari = config.asterisk
        rest_block = open_rest(ari.url, ari.username, self.ari_password.reveal(), self.metrics, ari.request_timeout)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with rest_block as rest, trio.open_nursery() as nursery:
                shared = SharedServices(
                    nursery, self._engine_restarted, self._audio_delay, self._unknown_message, self._turns_left_out
                )
                self._show_queues(shared)
                roster = Roster(partial(_open_agent, shared), self.metrics)
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
                reception = Reception(nursery, client, roster, directory, self.metrics, watch, config, toolbox)
                daemon = Daemon(lambda: reception.config, self.metrics, reception.on_stranger)
                running = await nursery.start(_keep_open, open_transports(daemon))
                reception.transports = {transport.name: transport for transport in running.transports}
                report = partial(self._report, client, running, reception, roster)
                health = HealthServer(config.health.host, config.health.port, report, self.metrics)
                health_port = await nursery.start(health.run)
                # A daemon that takes its time to load engines is alive: the watchdog runs from here on.
                nursery.start_soon(_beat_listeners, running, watch)
                watch.beat(ARI_PUMP, trio.current_time())
                nursery.start_soon(feed_watchdog, self.notifier, watch)
                self.notifier.status("loading agents")
                await self._load_agents(nursery, roster, watch)
                # Only now does our application exist: until then the dialplan's fallback serves callers.
                nursery.start_soon(client.run)
                if ari.require_at_start:
                    await client.ever_connected.wait()
                log.info("agentd is up", version=__version__, health_port=health_port)
                self.notifier.ready("serving calls")
                await self._until_stopped(signals, roster, reception)
                nursery.cancel_scope.cancel()
        log.info("agentd has ended")

    async def _sweep(self, directory: MediaDirectory) -> None:
        swept = await trio.to_thread.run_sync(directory.sweep)
        if swept:
            self.metrics.media_files_swept.inc(swept)
            log.warning("removed audio files that an earlier run left behind", files=swept)

    async def _load_agents(self, nursery: trio.Nursery, roster: Roster, watch: ProgressWatch) -> None:
        async with trio.open_nursery() as loading:

            async def keep_pump_fresh() -> None:
                while True:  # it has not begun, so it cannot be stuck
                    watch.beat(ARI_PUMP, trio.current_time())
                    await trio.sleep(PROGRESS_LIMITS[ARI_PUMP] / 4)

            loading.start_soon(keep_pump_fresh)
            await nursery.start(roster.run, self.config.agents)
            loading.cancel_scope.cancel()

    async def _until_stopped(self, signals: object, roster: Roster, reception: Reception) -> None:
        async for number in signals:  # type: ignore[attr-defined]
            if number == signal.SIGHUP:
                await self._reload(roster, reception)
                continue
            name = signal.Signals(number).name
            log.info("stopping", signal=name, active_calls=reception.active)
            self.notifier.stopping()
            await reception.drain(reception.config.calls.drain_timeout, ANNOUNCEMENT_TIME)
            return

    async def _reload(self, roster: Roster, reception: Reception) -> None:
        """Agents, prompts and call settings for new calls; addresses and ARI stay until a restart."""
        self.notifier.reloading()
        try:
            config = self.reload()
            toolbox = _take_up(config)
        except ConfigError as error:
            log.error("the new configuration is refused, the old one stays", error=str(error))
        else:
            await roster.replace(config.agents)
            reception.config, reception.toolbox = config, toolbox
            log.info("configuration reloaded", agents=sorted(config.agents))
        self.notifier.ready("serving calls")

    def _report(self, client: AriClient, running: Running, reception: Reception, roster: Roster) -> HealthReport:
        return HealthReport(
            ari_connected=client.connected,
            listening={name: listens() for name, listens in running.listening.items()},
            active_calls=reception.active,
            providers={
                name: AgentHealth(entry.readiness, entry.breaker.circuit(trio.current_time()), entry.breaker.reason)
                for name, entry in roster.entries.items()
            },
            uptime_seconds=trio.current_time() - self.started_at,
            draining=reception.draining,
            media_trouble=reception.directory.trouble,
        )

    def _engine_restarted(self, engine: str) -> None:
        self.metrics.provider_restarts.labels(engine=engine).inc()

    def _show_queues(self, shared: SharedServices) -> None:
        metrics = self.metrics
        for engine in QUEUED_ENGINES:
            metrics.engine_jobs_waiting.labels(engine=engine).set_function(partial(shared.jobs_waiting, engine))
            metrics.engine_oldest_job_seconds.labels(engine=engine).set_function(partial(shared.oldest_job, engine))

    def _unknown_message(self, vendor: str) -> None:
        self.metrics.provider_unknown_messages.labels(vendor=vendor).inc()

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


async def _keep_open(  # noqa: ASYNC128 - started once they are open
    block: AbstractAsyncContextManager[Running], *, task_status: trio.TaskStatus[Running]
) -> None:
    async with block as running:
        task_status.started(running)
        await trio.sleep_forever()


async def _beat_listeners(running: Running, watch: ProgressWatch) -> None:
    while True:
        if all(listens() for listens in running.listening.values()):
            watch.beat(LISTENER, trio.current_time())
        await trio.sleep(PROGRESS_LIMITS[LISTENER] / 4)
