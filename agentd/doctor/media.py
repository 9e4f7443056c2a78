"""The media directory: agentd writes into it, and Asterisk itself plays a file out of it."""

import os
import stat
from pathlib import Path
from typing import Final

import trio

from agentd import deadlines
from agentd.config.settings import Config
from agentd.doctor.access import (
    ENTER,
    READ,
    WRITE,
    Account,
    asterisk_account,
    daemon_account,
    described,
)
from agentd.doctor.findings import Finding, fail, ok, skipped, warn
from agentd.doctor.pbx import ari_advice
from agentd.doctor.probe import Probe
from agentd.errors import AriError, AriRejected, PlaybackError
from agentd.playback.directory import MediaDirectory

SILENCE: Final = bytes(1600)
"""A tenth of a second of 8 kHz slin: enough to be played, and over at once."""
PLAYBACK_DEADLINE: Final = deadlines.DOCTOR_PLAYBACK.seconds
CLEAN_UP_DEADLINE: Final = deadlines.DOCTOR_FILE_REMOVAL.seconds


def examine_directory(config: Config) -> Finding:
    """Whether the daemon can write there, and with a group that Asterisk shares. Blocking."""
    check, path = "media directory", Path(config.media.directory)
    made = (
        "systemd-tmpfiles --create agentd.conf",
        f"without systemd: install -d -m 2750 -o agentd -g asterisk {path}",
    )
    try:
        if not path.is_dir():
            return fail(check, f"{path} is no directory", *made)
        daemon = daemon_account()
        if obstacle := daemon.obstacle(path, READ | WRITE | ENTER):
            return fail(check, f"agentd cannot write there: {obstacle}", *made)
        status, found = path.stat(), described(path)
    except OSError as error:
        return fail(check, f"{path}: {error.strerror}", f"namei -l {path}", *made)
    if status.st_mode & stat.S_IWOTH:
        return warn(check, f"everyone on this host may write to {found}", f"chmod 2750 {path}")
    asterisk = asterisk_account()
    if asterisk and asterisk.uid not in (0, daemon.uid) and not status.st_mode & stat.S_ISGID:
        return warn(
            check,
            f"{found} hands on no group: what agentd writes there is closed to the user {asterisk.name}",
            *made,
        )
    return ok(check, f"{found}: writable for {daemon.name}")


async def examine_playback(config: Config, probe: Probe) -> Finding:
    """Have Asterisk play a file of ours, on a bridge that nobody is in."""
    check = "playback"
    directory = MediaDirectory(Path(config.media.directory), f"{config.asterisk.app}-doctor")
    path = directory.new_file()
    try:
        await trio.to_thread.run_sync(_write_as_daemon, directory, path)
        try:
            bridge = await probe.bridge()
            outcome = await probe.play(bridge, f"sound:{path.with_suffix('')}", PLAYBACK_DEADLINE)
        finally:
            with trio.move_on_after(CLEAN_UP_DEADLINE, shield=True):
                await trio.to_thread.run_sync(path.unlink, True)
    except PlaybackError as error:
        return skipped(check, f"no file to play: {error}")
    except AriRejected as error:
        if error.status in (401, 403):
            return fail(check, str(error), *ari_advice(error, config))
        because = f"Asterisk did not take the trial playback ({error})"
        return await trio.to_thread.run_sync(examine_readability, config, because)
    except AriError as error:
        return fail(check, str(error), *ari_advice(error, config))
    if outcome == "done":
        return ok(check, f"Asterisk played a file out of {directory.path}")
    return await trio.to_thread.run_sync(_unplayable, directory.path)


def examine_readability(config: Config, because: str) -> Finding:
    """Where Asterisk cannot be asked: whether the permission bits let its user read. Blocking."""
    check, path = "playback", Path(config.media.directory)
    asterisk = asterisk_account()
    if asterisk is None:
        return skipped(check, f"{because}; and this host has no user asterisk whose rights could be told")
    try:
        obstacle = asterisk.obstacle(path, ENTER)
    except OSError as error:
        return skipped(check, f"{because}; {path}: {error.strerror}")
    if obstacle:
        return fail(check, f"Asterisk cannot read there: {obstacle}", *_opening(path, asterisk))
    return warn(check, f"told from permission bits only, because {because}: {asterisk.name} may read {path}")


def _unplayable(path: Path) -> Finding:
    asterisk = asterisk_account()
    found = f"Asterisk could not play a file that agentd wrote to {path}"
    try:
        if asterisk and (obstacle := asterisk.obstacle(path, ENTER)):
            found += f": {obstacle}"
    except OSError as error:
        found += f" ({error.strerror})"
    return fail("playback", found, *_opening(path, asterisk))


def _opening(path: Path, asterisk: Account | None) -> tuple[str, ...]:
    user = asterisk.name if asterisk else "asterisk"
    return (
        f"who may do what on the way there: namei -l {path}",
        f"chgrp asterisk {path} && chmod 2750 {path}, and every directory above it needs o+x",
        f"Asterisk's user must be in that group: usermod -aG asterisk {user}, then restart Asterisk",
        "asterisk -rx 'module show like format_sln' must list it as Running",
        "does Asterisk run in a container or elsewhere? It must see the same directory at the same path",
    )


def _write_as_daemon(directory: MediaDirectory, path: Path) -> None:
    """Write the trial file with the owner and group that the daemon's own files get. Raises PlaybackError."""
    directory.write(path, SILENCE)
    daemon = daemon_account()
    if os.geteuid() == 0 and daemon.uid != 0:
        inherited = directory.path.stat().st_mode & stat.S_ISGID
        os.chown(path, daemon.uid, -1 if inherited else daemon.primary_gid)
