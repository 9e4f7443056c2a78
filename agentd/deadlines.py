"""Every deadline of agentd in one table, and what has to fit into what. Pure.

A peer that is late, mute or hung is waited for until a deadline, and deadlines lie in one another: a request in the
removal of a media leg, that in the end of the daemon, which systemd bounds. An inner one that outlasts the outer one
never acts. So each is a row here with its reason, and `holds` has the ways in which it may be used up: each names what
may pass within it one after the other, at the worst. `misfits` finds the rows for which that is too much.

Code takes its seconds from here, by a constant of its own or at the very place. Where they come as an argument or an
attribute, PASSED says of which rows. `just lint` finds each scope of Trio's and each `timeout=` that does neither.
"""

import math
from collections.abc import Iterator, Mapping

import attrs


@attrs.frozen(eq=False)
class Deadline:
    """Seconds, and why so many. Work that takes longer the more there is of it, such as audio to be transcribed, has
    `per_second` more for each second of it, up to `longest_work`: see `of`."""

    seconds: float
    why: str
    holds: "Ways" = ()
    per_second: float = 0.0
    longest_work: float = 0.0

    def of(self, work: float) -> float:
        """The deadline of a job with `work` seconds of work."""
        return self.seconds + self.per_second * min(work, self.longest_work)

    @property
    def most(self) -> float:
        """The longest that it can last."""
        return self.of(self.longest_work)


@attrs.frozen(eq=False)
class Setting:
    """A deadline that the configuration sets. `path` is as in agent.toml; `most` is all that `agentd check` takes, and
    `beyond` says what acts first otherwise."""

    path: str
    why: str
    most: float = math.inf
    beyond: str = ""
    holds: "Ways" = ()

    def check(self, value: float) -> str | None:
        """A check of the configuration (agentd.config.schema): no more than `most`."""
        return None if value <= self.most else f"must be at most {self.most:g} ({self.beyond})"


@attrs.frozen(eq=False)
class UnitSetting:
    """A deadline of systemd's: what `key` says in the file of a unit."""

    unit: str
    key: str
    seconds: float
    why: str
    holds: "Ways" = ()

    @property
    def most(self) -> float:
        """The longest that it can last."""
        return self.seconds


@attrs.frozen(eq=False)
class Clock:
    """No deadline: a scope that wakes a loop for what is due next, with nobody to be late."""

    why: str


Bound = Deadline | Setting | UnitSetting
Row = Bound | Clock
Ways = tuple[tuple[Bound, ...], ...]

# --- Asterisk: requests and events of ARI

ARI_TIMEOUT = Setting(
    "asterisk.request_timeout",
    "Asterisk answers within milliseconds; while it loads its dialplan or is frozen, within seconds.",
    most=7.0,
    beyond="a hand-over, which takes two, is waited for 20 s",
)
ARI_LAST_RESORT = Deadline(
    3.0,
    "Beyond the timeouts of httpx, which come first: a request that is cancelled half-way may leave a slot of the pool "
    "taken for good.",
)
REQUEST: tuple[Bound, ...] = (ARI_TIMEOUT, ARI_LAST_RESORT)
"""One request of ARI."""
ARI_CONNECT = Deadline(2.0, "Asterisk is near; whether it listens shows at once.")
ARI_REGISTRATION = Deadline(
    2.0, "Asterisk registers our application just after it has opened the WebSocket. A request that is begun is ended."
)
ARI_READS = Deadline(
    2.0, "Asterisk answers a ping on a new event stream. Without an answer it is asked anyway whether it is ours."
)
ARI_BACK_OFF = Deadline(15.0, "The longest pause until the event stream is opened again.")
ARI_PROOF = Deadline(5.0, "An event of our own comes back over the stream; else the stream is deaf, and opened anew.")
ARI_LOOK = Deadline(
    25.0, "What the PBX has is listed and put right. What is left then is seen by the next look; requests are ended."
)
ARI_LOOKS = Clock("A look at what the PBX has, every 30 s and after every doubt.")
ARI_YIELDED = Clock("An application that another program has taken is left to it, unless it is given up before.")
HAND_BACK_RETRY = Clock("The back-off until a hand-back is tried again, unless another one is owed before.")
ARI_PUMP_TURN = Deadline(5.0, "Without an event the pump tells now and then that it lives.")
ADMISSION_LOOKS = Clock("It is looked whether one more call can be set up, at short intervals while callers wait.")
LEAVE = Deadline(
    20.0,
    "A call waits for the hand-over of its caller, the first try shielded; what is not done by then stays owed.",
    holds=(2 * REQUEST,),
)
HAND_BACK = Deadline(
    20.0, "The same out of the outermost frame of a call, after a defect of ours; shielded.", holds=((LEAVE,),)
)
TEARDOWN = Deadline(
    14.0,
    "The removal of a media leg in all, whose parts are asked for at once; shielded. What is left is found at the next "
    "reconciliation.",
    holds=(REQUEST,),
)

# --- media legs and the caller's line

UUID_FRAME = Setting("audiosocket.uuid_timeout", "It is the first frame: who sends none is no Asterisk.")
BIND_GRACE = Setting(
    "audiosocket.bind_grace", "Asterisk may connect before agentd has read the event that names the UUID."
)
BIND = Setting(
    "audiosocket.bind_timeout",
    "A caller on a silent line waits for the leg: for its requests, and for its connection.",
    holds=((ARI_TIMEOUT,), (UUID_FRAME, BIND_GRACE)),
)
RTP_BIND = Deadline(
    7.0,
    "A caller on a silent line waits for the leg: for its requests, which bring all that RTP needs.",
    holds=((ARI_TIMEOUT,),),
)
RTP_SILENCE = Setting(
    "rtp.silence_timeout",
    "RTP has no end of its own: where nothing comes, Asterisk is asked whether the leg still stands.",
)
MEDIA_SOCKET = Deadline(
    3.0,
    "A media WebSocket opens, and Asterisk says what it carries: both are near, and neither waits for anything.",
)
MEDIA_SOCKET_BIND = Deadline(
    7.0,
    "A caller on a silent line waits for the leg: for its requests, and for its WebSocket.",
    holds=((ARI_TIMEOUT,), (MEDIA_SOCKET,)),
)
LINE_SEND = Deadline(2.0, "A frame of 20 ms that Asterisk does not take for so long: it is hung, and the leg is lost.")
MEDIA_STILL = Deadline(
    5.0,
    "chan_websocket has room for no frame: it plays 50 a second, and is 4 s from a full queue to where it says go on.",
)
MEDIA_FILE_WRITE = Deadline(
    3.0,
    "A sentence's audio is written, or it is tried whether one can be. On a hung disk the thread is left to itself.",
)
MEDIA_FILE_REMOVAL = Deadline(3.0, "A file is unlinked; shielded. The thread of one on a hung disk is left to itself.")
PLAYBACK_STOP = Deadline(14.0, "A playback is stopped while its call ends; shielded.", holds=(REQUEST,))
PLAYBACK_EVENT = Deadline(0.4, "Beyond a file's own length; then its end is asked for instead of waited for.")

# --- a call

LAST_WORDS_HOLD = Deadline(
    300.0, "A caller who holds is not sent away unheard; one who never comes back must not keep the channels."
)
LAST_WORDS = Deadline(60.0, "A last utterance may go on for so long before the call leaves all the same.")
ANNOUNCEMENT = Deadline(30.0, "A text that a call hears before it ends; a sound of Asterisk's may be as long.")
LIVENESS_CLOCK = Clock("A check-in, the filler, dead air, the end of a call's time: agentd.conversation.")
TOOL = Setting(
    "tools.NAME.deadline",
    "The caller waits for the answer that a tool is used for.",
    most=30.0,
    beyond="no model waits longer for a result",
)
TOOL_WORDS = Deadline(5.0, "The agent's last words must have begun, before a tool ends the call without them.")

# --- engines on this host

ENGINE_JOB = Deadline(
    3.0,
    "A job of an engine, with what its audio takes on a slow host; then it is hung.",
    per_second=0.15,
    longest_work=20.0,
)
ENGINE_LENT_JOB = Deadline(
    3.0,
    "The same for clients of the speech server, who may send longer utterances than callers speak.",
    per_second=0.5,
    longest_work=54.0,
)
ENGINE_STARVED = Deadline(
    30.0, "A job whose process wants a processor, and the host gives it none. Its callers leave long before."
)
ENGINE_ANSWER = Deadline(6.0, "An engine without a job says that it is there, however busy its host.")
ENGINE_ASKED = Clock("An engine without a job is asked whether it is there.")
ENGINE_START = Deadline(20.0, "A process comes up, on a host that is short of everything.")
ENGINE_LOAD = Deadline(60.0, "A speech model from a cold disk, or onnxruntime's first session on a busy host.")
ENGINE_WAIT = Deadline(
    9.0,
    "A caller waits for an engine, with the jobs before its own. Behind a hung one there is time left for a fresh "
    "process to load its model (a second or two), and for the job itself.",
    holds=((ENGINE_JOB,), (ENGINE_ANSWER,)),
)
ENGINE_LENT_WAIT = Deadline(
    60.0,
    "A request to the speech server waits for its process. Most clients leave before.",
    holds=((ENGINE_LENT_JOB,),),
)
ENGINE_GRACE = Deadline(2.0, "A worker process that has no job ends by itself; then it is killed.")
MODEL_LOAD = Deadline(120.0, "A language model is loaded; a large one on a slow disk takes a minute.")
MODEL_ANSWER = Deadline(
    90.0, "The embedded model's server says that it is there. It does not while it reads a prompt for the first time."
)
PROCESS_END = Deadline(5.0, "A process that was killed is waited for; shielded.")
MODEL_PLACE = Deadline(
    1.0, "A request waits until the embedded model has done what is more urgent; then it goes beside it all the same."
)
MODEL_DUE = Clock("A request that could wait for more urgent ones is let in beside them, once it can wait no more.")
SENTENCE_END = Deadline(0.5, "What a language model expects next; later the cue is of no use.")

# --- the stages of a pipeline, and vendors' agents

_STUCK = "a session that makes no progress for 10 s is given up"
STAGE_TIMEOUT = Setting(
    "agents.NAME.pipeline.*.timeout, agents.NAME.local.llm.timeout",
    "A server's silence in one stage of a pipeline.",
    most=9.0,
    beyond=_STUCK,
)
STAGE_CONNECT = Setting(
    "agents.NAME.pipeline.*.connect_timeout", "A server that is near, or a vendor's.", most=9.0, beyond=_STUCK
)
VENDOR_CONNECT = Setting(
    "agents.NAME.PROVIDER.connect_deadline",
    "A vendor's agent is ready for a call; where another one could take it, `failover.open_within` is less.",
    most=20.0,
    beyond="no session is waited for longer",
)
VENDOR_ANSWER = Setting(
    "agents.NAME.deepgram.answer_within", "An answer begins; then another agent answers.", most=9.0, beyond=_STUCK
)
DEEPGRAM_TOLD = Setting(
    "agents.NAME.deepgram.keep_alive",
    "Without audio, Deepgram is told that the call goes on.",
    most=9.0,
    beyond="Deepgram hangs up after 10 s without a word",
)
VENDOR_WORDS = Setting(
    "agents.NAME.deepgram.speech_timeout, agents.NAME.openai_realtime.announcements.timeout",
    "Fixed words are spoken beforehand, or a part of them.",
    most=20.0,
    beyond="words that are spoken beforehand are waited for no longer",
)
VENDOR_SAY = Deadline(5.0, "Words that a vendor's agent was asked to say have begun, or been refused.")
VENDOR_PROBE = Deadline(2.0, "The answer to a ping, which a vendor's server gives though its model hangs.")
VENDOR_REFUSAL = Deadline(1.0, "The body of an error: its status alone tells enough.")
VENDOR_EXCHANGE = Deadline(120.0, "An answer of HTTP is given up then, however steadily it trickles.")
CHAT_WARM_UP = Deadline(90.0, "A model reads its prompt for the first time: no caller waits.")
CHAT_DRAIN = Deadline(0.2, "What follows the end of a reply, so that its connection can be used again.")
CHAT_CLOSE = Deadline(2.0, "Connections to a language model are closed; shielded.")
CUE = Deadline(0.5, "A cue for the end of turns that comes later is of no use.")
UTTERANCE_END = Deadline(
    1.0, "The playout takes the end of an utterance; shielded. There is always room, but nobody may wait for ever."
)
FALLING_SILENT = Deadline(0.25, "What was being heard is silent, and the history told, before the next answer.")
DIGITS_TOGETHER = Clock("The next digit of one entry.")
TOOL_RESULTS = Deadline(32.0, "What tools give; the call has a deadline for each.", holds=((TOOL,),))
DEEPGRAM_RETRY = Clock("The back-off until a connection to Deepgram is tried again, unless a turn hurries it.")
DEEPGRAM_KEEP_ALIVE = Clock("Deepgram hangs up after 10 s without audio or message, and wants one every 3 to 5 s.")
WYOMING_ANSWER = Deadline(10.0, "`info` comes: wyoming-piper answers nobody while it synthesises.")
WYOMING_LOOK = Clock("A server is looked after now and then, and at once where it is suspected.")
SERVICE_CLOSE = Deadline(
    10.0,
    "What agents share is closed with its last user; shielded.",
    holds=((ENGINE_GRACE,), (PROCESS_END,), (CHAT_CLOSE,)),
)

# --- an agent's session

SESSION_OPEN = Setting(
    "agents.NAME.failover.open_within",
    "Another agent could take the call meanwhile.",
    most=20.0,
    beyond="an agent that nobody else could stand in for has no longer",
)
SESSION_LAST_RESORT = Deadline(
    20.0, "The only agent, or the last one, opens a session within it.", holds=((VENDOR_CONNECT,), (SESSION_OPEN,))
)
SESSION_MUTE = Setting(
    "agents.NAME.failover.mute_after",
    "A provider that does not even answer a probe, where it can be probed.",
    most=10.0,
    beyond=_STUCK,
)
SESSION_STUCK = Deadline(
    10.0,
    "A session whose turn it is makes no progress for so long: it is given up. The filler has been heard by then.",
    holds=((SESSION_MUTE,), (MODEL_PLACE, STAGE_TIMEOUT), (VENDOR_ANSWER,), (ENGINE_WAIT,)),
)
SESSION_AGAIN = Deadline(
    0.8, "An agent whose session was lost opens another one within it, where somebody else could take over."
)
SESSION_RENEWAL = Clock("A quiet moment for a session's renewal, in the time that its vendor leaves.")
PATIENCE = Clock("A caller whose agent is being loaded is spoken to now and then, so that the wait is no dead air.")
RENEWAL_RETRY = Clock(
    "The back-off until a session's renewal for another caller is tried again, unless it is asked for before."
)
HOLD_MESSAGE = Deadline(
    1.0, "The hold message takes it into the playout: more only where that is full of what came before."
)
RESUME = Deadline(60.0, "What was said before a failure may be heard for so long until its successor goes on.")
OWN_WORDS = Deadline(
    10.0,
    "A session that is asked to say words, or to come to the end of others, takes so long.",
    holds=((VENDOR_SAY,),),
)
FIXED_WORDS = Deadline(
    20.0,
    "An agent speaks its fixed words beforehand; what is missing then is asked for later.",
    holds=((VENDOR_WORDS,),),
)
AGENT_AGAIN = Deadline(
    30.0, "An agent that could not be opened at the start is tried again, for a caller whose call is gone on with."
)
AGENT_RETRY = Clock("The back-off until an agent is opened again, unless a reload comes.")
BREAKER_TRIAL = Deadline(
    30.0, "A trial that never told its outcome (the caller hung up meanwhile) is forgotten, and another call may try."
)

# --- WebSockets: ARI's events, vendors

SOCKET_CONNECT = Deadline(5.0, "Name, TCP, TLS and the handshake of a WebSocket, where nobody sets another deadline.")
SOCKET_HEARTBEAT = Deadline(10.0, "The answer to a ping; without one the connection is dead.")
SOCKET_SEND = Deadline(5.0, "A message leaves; then the connection is given up, for a frame may have been cut.")
SOCKET_CLOSE = Deadline(
    0.25,
    "Our close frame leaves. The peer's answer is not waited for: what ends the connection ends its reader too.",
)

# --- the daemon, and systemd

DRAIN = Setting("calls.drain_timeout", "Running calls may go on for so long at shutdown.")
SHUTDOWN_WORDS = Deadline(15.0, "Calls that are left then hear the announcement of the end.")
PUMP_PROGRESS = Deadline(
    45.0,
    "The pump of events shows no progress.",
    holds=((ARI_BACK_OFF, SOCKET_CONNECT, ARI_READS, ARI_REGISTRATION, *REQUEST), (ARI_PUMP_TURN,)),
)
LISTENER_PROGRESS = Deadline(10.0, "A listener shows no progress.")
LINE_PROGRESS = Deadline(10.0, "No line of any call moves.")
PAGE_REQUEST = Deadline(15.0, "The health page: from when a request may come until its answer has been taken.")
PAGE_FAREWELL = Deadline(
    1.0,
    "A client closes its side after the health page has. Closing at once would reset the connection, and the client's "
    "kernel would throw away an answer that it has not read.",
)

LEAVING = Deadline(
    35.0,
    "Calls that are left then are cancelled, and each caller is handed back, whatever is still to be said.",
    holds=((LEAVE, TEARDOWN), (TEARDOWN, HAND_BACK)),
)
ORPHANS = Deadline(
    3.0, "Callers whom a crash left are handed back, before any model loads. Asterisk need not be there yet."
)

LEAVING_ASKED = Deadline(
    2.0, "systemd, which has just sent SIGTERM, tells what for. Calls go on meanwhile; without an answer it is a stop."
)
RECORDS_WRITE = Deadline(
    2.0,
    "The calls' records are written to memory, or what another agentd has left of them is read. What is not there by "
    "then is done without.",
)
RECORDS_TAKEN = Deadline(
    2.0, "An agentd that ends lets go of its calls' records. After that it is one that stays, whose its callers are."
)
HEAD_START = Deadline(
    2.0, "The lines of calls that are gone on with come up before engines are loaded, which take all of a small host."
)
BEHIND = Deadline(
    1.5,
    "Callers whose calls the next agentd goes on with are let go of, and others handed back; by the next one if need "
    "be.",
)
ADOPTION = Deadline(
    20.0,
    "The event stream comes up for a caller whom another agentd has left; without it nothing can be made for them.",
)

EXTEND_EVERY = Deadline(10.0, "Systemd is asked for more time so often while the daemon starts or drains.")
EXTENSION = Deadline(60.0, "So much more each time.", holds=((EXTEND_EVERY, LEAVING, SERVICE_CLOSE),))
LONGEST_START = Deadline(
    900.0, "More time to start is asked for so long; what has not been loaded by then never will be."
)
STOP = UnitSetting(
    "agentd.service",
    "TimeoutStopSec",
    65.0,
    "What a stop takes beyond the drain, for which the daemon asks systemd for time (EXTEND_TIMEOUT_USEC). Then all is "
    "killed.",
    holds=((LEAVING_ASKED, SHUTDOWN_WORDS, LEAVING, SERVICE_CLOSE),),
)
START = UnitSetting(
    "agentd.service",
    "TimeoutStartSec",
    120.0,
    "Models are loaded, side by side; while one takes longer the daemon asks systemd for time.",
    holds=((MODEL_LOAD,), (ENGINE_LOAD, FIXED_WORDS)),
)
WATCHDOG = UnitSetting(
    "agentd.service", "WatchdogSec", 30.0, "Nothing fed the watchdog, which is done at half of it; then all is killed."
)

# --- the speech server

SPEECH_DRAIN = Setting(
    "speech_server.drain_timeout",
    "Running requests may take so long at shutdown.",
    most=20.0,
    beyond="systemd kills the server 30 s after it was told to stop",
)
SPEECH_STOP = UnitSetting(
    "agentd-speech.service",
    "TimeoutStopSec",
    30.0,
    "The server is killed.",
    holds=((SPEECH_DRAIN, SERVICE_CLOSE),),
)
SPEECH_START = UnitSetting(
    "agentd-speech.service", "TimeoutStartSec", 120.0, "The models are loaded, side by side.", holds=((ENGINE_LOAD,),)
)
SPEECH_WATCHDOG = UnitSetting(
    "agentd-speech.service",
    "WatchdogSec",
    30.0,
    "The listener has not moved; it is fed at half of it.",
    holds=((LISTENER_PROGRESS,),),
)
SPEECH_IDLE = Setting("speech_server.idle_timeout", "A client sends nothing, or takes nothing.")
SPEECH_LINGER = Deadline(1.0, "A client reads an error before the connection is gone.")

# --- commands: the doctor, the models' downloads

DOCTOR_SYSTEMCTL = Deadline(10.0, "systemctl on a busy host.")
DOCTOR_CLI = Deadline(5.0, "asterisk -rx.")
DOCTOR_HEALTH = Deadline(4.0, "A running daemon's page.")
DOCTOR_IMPORT = Deadline(60.0, "onnxruntime from a cold disk takes its time.")
DOCTOR_SERVER = Deadline(8.0, "A language model's server.")
DOCTOR_KEY = Deadline(8.0, "A vendor on a key; all are asked at the same time.")
DOCTOR_KEY_BODY = Deadline(1.0, "A vendor's reason: the status alone tells enough.")
DOCTOR_MODEL_LIST = Deadline(4.0, "A list of some hundred models, behind a status that was quick.")
DOCTOR_PLAYBACK = Deadline(5.0, "A tenth of a second of audio that is played.")
DOCTOR_LEGS = Deadline(3.0, "Asterisk takes a trial leg into its application, then passes on what it sends.")
DOCTOR_FILE_REMOVAL = Deadline(3.0, "The file is unlinked; shielded.")
DOCTOR_REGISTRATION = Deadline(3.0, "Asterisk knows the probe's application.")
DOCTOR_GONE = Deadline(3.0, "What the probe made is gone.")
DOCTOR_CLEAN_UP = Deadline(10.0, "All that the examination made on the PBX is removed; shielded.")
DOCTOR_REHEARSAL = Deadline(
    240.0, "An agent's models are loaded, and some answers begun, on a slow host.", holds=((ENGINE_LOAD,),)
)
DOCTOR_EXAMINATION = Deadline(120.0, "Far more than all that is tried out with a probe may take together.")
RESTART_SYSTEMCTL = Deadline(10.0, "`agentd restart` asks about the unit; systemctl on a busy host.")
RESTART_COMMAND = Deadline(
    1200.0,
    "`agentd restart` waits until the new daemon is up: the old one leaves, the models are loaded. "
    "systemd bounds both.",
    holds=((STOP, LONGEST_START),),
)
LEFT_BEHIND = Deadline(10.0, "`agentd hand-back` tries for so long to hand back the callers of a daemon that failed.")
LEFT_BEHIND_REQUEST = Deadline(3.0, "One of its requests at most, whatever is configured: there is time for another.")
LEFT_BEHIND_PAGE = Deadline(2.0, "The health page of a daemon that may be alive; it is on this host.")
DOWNLOAD_CONNECT = Deadline(15.0, "A mirror far away.")
DOWNLOAD_READ = Deadline(30.0, "A mirror's silence in a download.")
PIP = Deadline(600.0, "An index without PEP 658 metadata makes pip download the wheel itself.")

TABLE: Mapping[str, Row] = {name: value for name, value in dict(globals()).items() if isinstance(value, Row)}
"""Every row by its name."""

PASSED: Mapping[str, tuple[Row, ...]] = {
    "agentd.ari.channel: transport.bind_timeout": (BIND, RTP_BIND, MEDIA_SOCKET_BIND),
    "agentd.ari.client: LOOK_INTERVAL": (ARI_LOOKS,),
    "agentd.ari.client: pause": (ARI_YIELDED,),
    "agentd.ari.exchange: self.deadline": (ARI_TIMEOUT,),
    "agentd.ari.exchange: until": REQUEST,
    "agentd.ari.owed: next_due": (HAND_BACK_RETRY,),
    "agentd.ari.owed: retry": (HAND_BACK_RETRY,),
    "agentd.ari.rest: deadline": (ARI_TIMEOUT,),
    "agentd.audiosocket.listener: deadline": (BIND,),
    "agentd.audiosocket.listener: patience": (BIND_GRACE,),
    "agentd.audiosocket.listener: self.uuid_timeout": (UUID_FRAME,),
    "agentd.calls.last_words: self._saying.deadline": (LAST_WORDS, ANNOUNCEMENT),
    "agentd.calls.last_words: soon": (SHUTDOWN_WORDS,),
    "agentd.calls.timekeeper: self._dead_air.next_at": (LIVENESS_CLOCK,),
    "agentd.calls.timekeeper: self._liveness.next_at": (LIVENESS_CLOCK,),
    "agentd.chan_websocket.transport: deadline": (MEDIA_SOCKET_BIND,),
    "agentd.doctor.arrivals: deadline": (BIND,),
    "agentd.doctor.arrivals: patience": (BIND_GRACE, UUID_FRAME),
    "agentd.doctor.arrivals: self.config.audiosocket.uuid_timeout": (UUID_FRAME,),
    "agentd.doctor.probe: deadline": (DOCTOR_PLAYBACK,),
    "agentd.doctor.servers: seconds": (DOCTOR_KEY_BODY, DOCTOR_MODEL_LIST),
    "agentd.playback.file: segment.heard_seconds": (PLAYBACK_EVENT,),
    "agentd.playback.file: segment.seconds": (PLAYBACK_EVENT,),
    "agentd.rtp.transport: deadline": (RTP_BIND,),
    "agentd.service.waiting: patience": (ADMISSION_LOOKS,),
    "agentd.service.page_reader: deadline": (LEFT_BEHIND_PAGE, DOCTOR_HEALTH),
    "agentd.service.stays: announcement_time": (SHUTDOWN_WORDS,),
    "agentd.service.restart: seconds": (RESTART_SYSTEMCTL, RESTART_COMMAND),
    "agentd.service.stays: patience": (DRAIN,),
    "agentd.serving.renewal: RENEW_EARLY": (SESSION_RENEWAL,),
    "agentd.serving.renewal: pause": (RENEWAL_RETRY,),
    "agentd.serving.renewal: tenure.lasts": (SESSION_RENEWAL,),
    "agentd.serving.keeper: PATIENCE_EVERY": (PATIENCE,),
    "agentd.serving.roster: delay": (AGENT_RETRY,),
    "agentd.serving.tenure: within": (SESSION_OPEN, SESSION_AGAIN, SESSION_LAST_RESORT),
    "agentd.tools.runner: offered.deadline": (TOOL,),
    "agentd.websocket: deadline": (SOCKET_SEND, LINE_SEND),
    "agentd.websocket: self.connect_deadline": (SOCKET_CONNECT, MEDIA_SOCKET, VENDOR_CONNECT, STAGE_CONNECT),
    "agentd.websocket: self.heartbeat_deadline": (SOCKET_HEARTBEAT,),
    "agentd_providers.deepgram.live: KEEP_ALIVE_SECONDS": (DEEPGRAM_KEEP_ALIVE,),
    "agentd_providers.deepgram.live: pause": (DEEPGRAM_RETRY,),
    "agentd_providers.deepgram.live: self._sent_at": (DEEPGRAM_KEEP_ALIVE,),
    "agentd_providers.deepgram.live: timeout": (STAGE_TIMEOUT,),
    "agentd_providers.deepgram.voice_agent.agent: deadline": (VENDOR_CONNECT,),
    "agentd_providers.local.places: request.due": (MODEL_DUE,),
    "agentd_providers.local.places: wish.latest": (MODEL_PLACE,),
    "agentd_providers.local.process_watch: latest": (
        *(ENGINE_JOB, ENGINE_LENT_JOB, ENGINE_STARVED, ENGINE_LOAD, ENGINE_ANSWER, MODEL_ANSWER),
    ),
    "agentd_providers.local.worker: patience": (ENGINE_WAIT, ENGINE_LENT_WAIT),
    "agentd_providers.local.worker: seconds": (ENGINE_ASKED,),
    "agentd_providers.openai.sentence_end: deadline": (SENTENCE_END,),
    "agentd_providers.openai.chat: self.patience": (STAGE_TIMEOUT,),
    "agentd_providers.openai.chat: until": (STAGE_TIMEOUT,),
    "agentd_providers.openai.realtime.agent: settings.connect_deadline": (VENDOR_CONNECT,),
    "agentd_providers.pipeline.digit_entry: DIGITS_TOGETHER": (DIGITS_TOGETHER,),
    "agentd_providers.vendor.http: timeout": (STAGE_TIMEOUT,),
    "agentd_providers.vendor.http: until": (STAGE_TIMEOUT,),
    "agentd_providers.vendor.socket: deadline": (VENDOR_PROBE,),
    "agentd_providers.wyoming.connection: deadline": (STAGE_TIMEOUT, STAGE_CONNECT, WYOMING_ANSWER, SPEECH_IDLE),
    "agentd_providers.wyoming.connection: until": (STAGE_TIMEOUT, SPEECH_IDLE),
    "agentd_providers.wyoming.listen: timeout": (STAGE_TIMEOUT,),
    "agentd_providers.wyoming.server.server: deadline": (SPEECH_DRAIN,),
    "agentd_providers.wyoming.watch: INTERVAL": (WYOMING_LOOK,),
}
"""What a scope is given beside constants of this table, as "module: expression", and the rows that it comes from."""


def misfits(configured: Mapping[Setting, float], table: Mapping[str, Row] = TABLE) -> Iterator[tuple[str, str]]:
    """The rows that may last less than what they hold, by name, each with both sums.

    A row with a number of its own has to hold whatever may be configured. A setting has to hold what is: where
    `configured` has it, and all that it holds.
    """
    for name, row in table.items():
        if isinstance(row, Clock):
            continue
        known = configured if isinstance(row, Setting) else {}
        offered = _lasts(row, known)
        for way in row.holds:
            concerned = {each for each in (row, *way) if isinstance(each, Setting)}
            if isinstance(row, Setting) and not concerned <= known.keys():
                continue
            needed = math.fsum(_lasts(each, known) for each in way)
            if needed > offered:
                inner = " + ".join(f"{_shown(each, table)} {_lasts(each, known):g}" for each in way)
                yield name, f"must be at least {needed:g} ({inner}), not {offered:g}"


def _lasts(row: Bound, configured: Mapping[Setting, float]) -> float:
    return configured.get(row, row.most) if isinstance(row, Setting) else row.most


def _shown(row: Bound, table: Mapping[str, Row]) -> str:
    return row.path if isinstance(row, Setting) else next(name for name, each in table.items() if each is row)
