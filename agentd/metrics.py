"""agentd's Prometheus metrics: base units, no label that grows with calls, no caller data.

One `Metrics` a daemon, with a registry of its own, so that tests can run several side by side.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
DEPTH_SECONDS = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)
DEPTHS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
FINE_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.008, 0.012, 0.02, 0.04, 0.1, 0.5)


class Tally(Collector):
    """A histogram of one thread's, for what happens with every frame of every call.

    To take the locks of a Histogram costs as much as all that a line does for a frame of silence.
    """

    def __init__(self, name: str, text: str, buckets: Sequence[float]) -> None:
        self._name, self._text, self._bounds = name, text, tuple(buckets)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, amount: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, amount)] += 1
        self._sum += amount

    @property
    def count(self) -> int:
        """All observations that ever were."""
        return sum(self._counts)

    def up_to(self, bound: float) -> int:
        """Those of them that were no larger than `bound`, which is one of the buckets."""
        return sum(self._counts[: self._bounds.index(bound) + 1])

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """See prometheus_client's Collector."""
        counted = [(str(bound), float(self.up_to(bound))) for bound in self._bounds]
        yield HistogramMetricFamily(
            self._name, self._text, buckets=[*counted, ("+Inf", float(self.count))], sum_value=self._sum
        )


class Metrics:
    """Every metric that agentd exports."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"agentd_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"agentd_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
            return Histogram(f"agentd_{name}", text, labels, buckets=buckets, registry=self.registry)

        self.calls_active = gauge("calls_active", "Calls that agentd serves now.")
        self.calls = counter("calls", "Calls that ended, by result.", "result")
        self.ari_connected = gauge("ari_connected", "1 while the ARI event socket is up.")
        self.ari_reconnects = counter("ari_reconnects", "Times the ARI event socket was opened again.")
        self.ari_events = counter("ari_events", "ARI events received.")
        self.ari_events_ignored = counter(
            "ari_events_ignored", "ARI events told twice, or of a stay in the application that is over."
        )
        self.ari_events_dropped = counter(
            "ari_events_dropped", "ARI events that found a queue full; Asterisk was asked instead."
        )
        self.ari_request_seconds = histogram("ari_request_seconds", "Duration of ARI requests.", "method")
        self.ari_request_failures = counter("ari_request_failures", "ARI requests that failed.", "method")
        self.hand_backs_owed = gauge(
            "hand_backs_owed", "Callers whom Asterisk has not let go on in the dialplan yet: it is tried again."
        )
        self.hand_backs_untold = counter(
            "hand_backs_untold", "Callers handed back without AGENTD_RESULT, a request less, because Asterisk was slow."
        )
        self.callers_waiting = gauge(
            "callers_waiting", "Callers whose call is not set up yet: Asterisk or this host could not bear one more."
        )
        self.calls_adopted = counter("calls_adopted", "Calls of an agentd before that were gone on with.")
        self.adoptions_refused = counter(
            "adoptions_refused", "Callers of an agentd before who were handed back, by reason.", "reason"
        )
        self.call_records_failed = counter("call_records_failed", "Records of calls that could not be written.")
        self.callers_refused = counter("callers_refused", "Callers who were not let in, by cause.", "cause")
        self.call_set_up_seconds = histogram(
            "call_set_up_seconds",
            "From a call's first request to its media leg, the caller's wait not included.",
        )
        self.audiosocket_connections = gauge("audiosocket_connections", "Open AudioSocket connections.")
        self.audiosocket_refused = counter(
            "audiosocket_refused", "AudioSocket connections closed at once, by reason.", "reason"
        )
        self.audiosocket_unknown_frames = counter(
            "audiosocket_unknown_frames", "AudioSocket frames of kinds that no known Asterisk sends."
        )
        self.rtp_packets = counter(
            "rtp_packets",
            "Packets of callers' audio by RTP that were not simply handed on, by what became of them.",
            "fate",
        )
        self.rtp_refused = counter("rtp_refused", "Datagrams on RTP ports that are no packet of the call.", "reason")
        self.rtp_unsent = counter("rtp_unsent", "RTP packets that the host or the network did not take.")
        self.chan_websocket_connections = gauge("chan_websocket_connections", "Open media WebSockets.")
        self.chan_websocket_refused = counter(
            "chan_websocket_refused", "Media WebSockets from Asterisk that were refused, by reason.", "reason"
        )
        self.chan_websocket_flushes = counter(
            "chan_websocket_flushes", "Times Asterisk was told to drop what a caller was not to hear."
        )
        self.chan_websocket_drained = counter(
            "chan_websocket_drained",
            "Times Asterisk's queue was empty when a frame was due: after a flush, or too late.",
        )
        self.chan_websocket_stops = counter(
            "chan_websocket_stops", "Times Asterisk said stop: its queue was nearly full."
        )
        self.media_reattached = counter("media_reattached", "Fresh media legs after a lost connection.")
        self.stream_fallbacks = counter("stream_fallbacks", "Calls whose streaming failed: they went on with files.")
        self.codecs_unconverted = counter(
            "codecs_unconverted",
            "Calls that ended at once: Asterisk cannot convert the codec of their line.",
        )
        self.line_stalls = counter("line_stalls", "Times no audio at all came from a caller's line for 3 s.")
        self.caller_gap_seconds = counter(
            "caller_gap_seconds", "Caller audio that did not come (silence suppression): silence stood in for it."
        )
        self.caller_late_seconds = counter(
            "caller_late_seconds", "Caller audio that was left out, since it came late and silence had stood in for it."
        )
        self.line_lateness_seconds = Tally(
            "agentd_line_lateness_seconds", "How late each 20 ms frame was written.", FINE_SECONDS
        )
        self.registry.register(self.line_lateness_seconds)
        self.line_frames_skipped = counter(
            "line_frames_skipped", "Frames left out because the daemon woke up too late for them."
        )
        self.caller_audio_delay_seconds = histogram(
            "caller_audio_delay_seconds",
            "From the arrival of caller audio on the line to the voice-activity engine's call.",
            buckets=FINE_SECONDS,
        )
        self.stage_seconds = histogram("stage_seconds", "Duration of each stage of an answer.", "stage")
        self.response_seconds = histogram(
            "response_seconds", "From the caller's last speech to the start of the answer's playback."
        )
        self.barge_in_seconds = histogram(
            "barge_in_seconds", "From the caller's onset to the agent's silence, when the caller took the turn."
        )
        self.false_interruptions = counter(
            "false_interruptions", "Times the agent paused for a sound that was nothing, and went on where it stopped."
        )
        self.caller_words_dropped = counter(
            "caller_words_dropped",
            "Turns in which words that a speech engine wrote did not count: nobody was surely heard to say them.",
            "cause",
        )
        self.echoes_suppressed = counter(
            "echoes_suppressed_seconds", "Caller audio that was the agent's own voice coming back."
        )
        self.queue_depth = histogram(
            "queue_depth", "Entries that waited in a call's queue, by queue.", "queue", buckets=DEPTHS
        )
        self.playbacks = counter("playbacks", "Files played to callers, by outcome.", "outcome")
        self.jitter_buffer_depth_seconds = histogram(
            "jitter_buffer_depth_seconds",
            "Audio that waited in the jitter buffer, about once per 100 ms of streaming playback.",
            buckets=DEPTH_SECONDS,
        )
        self.playout_underruns = counter(
            "playout_underruns", "Times the agent's audio ran out, within a segment or between two (place).", "place"
        )
        self.playout_overruns = counter(
            "playout_overruns", "Times a session was further ahead than the playout holds, and had to wait."
        )
        self.media_files_swept = counter(
            "media_files_swept", "Audio files of an earlier run that were removed at start."
        )
        self.media_write_failures = counter(
            "media_write_failures", "Audio files that could not be written for Asterisk, by errno.", "reason"
        )
        self.provider_restarts = counter("provider_restarts", "Engine processes started again.", "engine")
        self.engine_jobs_waiting = gauge(
            "engine_jobs_waiting", "Jobs that wait for an engine of this host behind another one.", "engine"
        )
        self.engine_oldest_job_seconds = gauge(
            "engine_oldest_job_seconds", "Age of the oldest job that an engine of this host has not done yet.", "engine"
        )
        self.daemon_part_restarts = counter(
            "daemon_part_restarts", "Parts of the daemon that failed and were started again.", "part"
        )
        self.failovers = counter(
            "failovers", "Sessions that failed, or were not to be had at a call's start, by cause.", "agent", "cause"
        )
        self.circuit_open = gauge(
            "circuit_open",
            "1 while an agent's circuit breaker lets no call through, 0.5 while it is on trial.",
            "agent",
        )
        self.provider_unknown_messages = counter(
            "provider_unknown_messages", "Messages of a vendor that agentd does not know or could not read.", "vendor"
        )
        self.replies_cut = counter(
            "replies_cut", "Replies of models that ended before the model had come to its end, by cause.", "cause"
        )
        self.prompt_turns_left_out = counter(
            "prompt_turns_left_out",
            "Turns of conversations that prompts went without, the model's context being full; for each prompt anew.",
        )
        self.tool_calls = counter("tool_calls", "Uses of tools by agents' models, by outcome.", "tool", "outcome")
        self.call_budget = gauge("call_budget", "How much of a kind one call may use up.", "budget")
        self.call_budget_exceeded = counter(
            "call_budget_exceeded", "What calls wanted beyond their budgets, by the kind.", "budget"
        )
        self.tool_seconds = histogram("tool_seconds", "Duration of the uses of a tool.", "tool")
        self.log_lines_lost = counter("log_lines_lost", "Log lines that neither the journal nor standard error took.")
        self.agent_ready = gauge("agent_ready", "1 while an agent can take calls.", "agent")
