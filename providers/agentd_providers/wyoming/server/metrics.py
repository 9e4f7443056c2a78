"""The metrics of the speech server: base units, no label that grows with clients."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)


class SpeechMetrics:
    """Every metric that `agentd speech-server` exports. The label `engine` is stt or tts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.connections = Gauge("agentd_speech_connections", "Open connections.", registry=registry)
        self.refused = Counter(
            "agentd_speech_refused", "Connections closed at once, by reason.", ["reason"], registry=registry
        )
        self.broken = Counter(
            "agentd_speech_broken", "Connections that ended by a fault, of the protocol or in time.", registry=registry
        )
        self.requests = Counter(
            "agentd_speech_requests", "Requests, by outcome.", ["engine", "outcome"], registry=registry
        )
        self.busy = Gauge("agentd_speech_busy_processes", "Engine processes at work.", ["engine"], registry=registry)
        self.waiting = Gauge("agentd_speech_waiting", "Requests that wait.", ["engine"], registry=registry)
        self.oldest = Gauge(
            "agentd_speech_oldest_job_seconds",
            "Age of the oldest job that an engine has not done yet.",
            ["engine"],
            registry=registry,
        )
        self.seconds = Histogram(
            "agentd_speech_request_seconds",
            "From the end of a request to the end of its answer.",
            ["engine"],
            buckets=SECONDS,
            registry=registry,
        )
        self.audio = Counter(
            "agentd_speech_audio_seconds", "Audio that was heard or spoken.", ["engine"], registry=registry
        )
        self.restarts = Counter(
            "agentd_provider_restarts", "Engine processes started again.", ["engine"], registry=registry
        )
        self.daemon_part_restarts = Counter(
            "agentd_daemon_part_restarts",
            "Parts of the server that failed and were started again.",
            ["part"],
            registry=registry,
        )
        self.log_lines_lost = Counter(
            "agentd_log_lines_lost", "Log lines that neither the journal nor standard error took.", registry=registry
        )
