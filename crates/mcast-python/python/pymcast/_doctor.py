"""Why multicast does not arrive: what was found, why one believes it, and what helps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from pymcast._pymcast import examine

if TYPE_CHECKING:
    from os import PathLike

    from pymcast._keywords import MembershipLike

@dataclass(frozen=True)
class Evidence:
    """One thing that was seen, and what it was before."""

    what: str
    """What sort of thing: "counter", "setting", "packet", "socket"..."""
    where: str
    """Where it can be looked up."""
    now: str
    """What it is."""
    before: str | None = None
    """What it was, where that matters."""

    def __str__(self) -> str:
        change = self.now if self.before is None else f"{self.before} -> {self.now}"
        return f"{self.where}: {change}"


@dataclass(frozen=True)
class Remedy:
    """Something that helps: a command, or advice."""

    tool: str
    """With what: "sysctl", "ip", "nft"..., "program" (the one at fault), "network" (its devices)."""
    lasts: Literal["now", "for-good"]
    """Whether it helps until the next boot, or from then on."""
    command: str | None = None
    """A command for a shell, ready to be pasted."""
    advice: str | None = None
    """What no command does, in a sentence."""

    def __str__(self) -> str:
        return self.command or self.advice or ""


@dataclass(frozen=True)
class Finding:
    """A cause that was found."""

    id: str
    """Its name, of which `mcast explain` has a page: "reverse-path-filter"."""
    severity: Literal["note", "warning", "fault"]
    """How bad it is: good to know, able to do harm, or why something does not work."""
    cause: str
    """The cause, in one sentence."""
    evidence: tuple[Evidence, ...]
    """Why one believes it."""
    remedies: tuple[Remedy, ...]
    """What helps, the best first."""
    references: tuple[str, ...]
    """The RFCs and documents behind it."""
    interface: str | None = None
    """The interface it is about, if about one."""
    group: str | None = None
    """The group it is about, with its port where that matters."""
    source: str | None = None
    """The sender it is about."""
    program: str | None = None
    """The program it is about, as `name (pid)`."""

    def __str__(self) -> str:
        return f"{self.severity}: {self.id}: {self.cause}"


@dataclass(frozen=True)
class Unknown:
    """Something that cannot be known yet, or not here."""

    what: str
    """What, as a question that is left open."""
    why: str
    """Why not."""
    known_after_seconds: float | None = None
    """After how long a time of listening it would be known; None where time does not tell."""
    effect: Literal["minor", "no-answer", "needs-rights"] = "minor"
    """What hangs on it: nothing that was asked; the answer; or the answer, for want of a right."""

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(frozen=True)
class Seen:
    """Something that was seen, good or bad."""

    depth: str
    """How far it came: "wire eth0", "IP layer", "socket"."""
    what: str
    """What."""

    def __str__(self) -> str:
        return f"{self.depth}: {self.what}"


@dataclass(frozen=True)
class Report:
    """What an examination came to; str() is a page to read."""

    findings: tuple[Finding, ...]
    """What was found, the worst first."""
    unknown: tuple[Unknown, ...]
    """What cannot be known yet, or not here."""
    observations: tuple[Seen, ...]
    """What was seen: how far the datagrams came."""

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that are why something does not work."""
        return tuple(finding for finding in self.findings if finding.severity == "fault")

    def __str__(self) -> str:
        lines: list[str] = []
        for finding in self.findings:
            lines.append(str(finding))
            lines += [f"  because {evidence}" for evidence in finding.evidence]
            lines += [f"  remedy: {remedy}" for remedy in finding.remedies]
        lines += [f"seen: {seen}" for seen in self.observations]
        lines += [f"unknown: {unknown}" for unknown in self.unknown]
        return "\n".join(lines) or "nothing was found"


def doctor(
    membership: MembershipLike | None = None,
    *,
    pid: int | None = None,
    port: int | None = None,
    file: str | PathLike[str] | None = None,
    listen: float = 5.0,
) -> Report:
    """Finds out why multicast does not arrive, and what helps.

    Of a membership (what `Receiver` takes) it joins and listens for `listen` seconds, at three depths at
    once: the wire, the counters of the IP layer, and the socket. Instead: `pid` or `port`, another
    program's sockets; `file`, a capture file; nothing, this machine as it is, without listening.

    Raises `pymcast.Error` when it cannot be examined, `pymcast.CaptureFileError` for the file. What merely
    could not be looked at, such as the wire without the right to capture, is in the report's `unknown`.
    """
    told = json.loads(examine(membership, pid, port, file, listen))
    return Report(
        findings=tuple(_finding(each) for each in told["findings"]),
        unknown=tuple(Unknown(**each) for each in told["unknown"]),
        observations=tuple(Seen(**each) for each in told["observations"]),
    )


def _finding(told: dict[str, object]) -> Finding:
    subject = cast("dict[str, str]", told["subject"])
    return Finding(
        id=cast("str", told["id"]),
        severity=cast("Literal['note', 'warning', 'fault']", told["severity"]),
        cause=cast("str", told["cause"]),
        evidence=tuple(Evidence(**each) for each in cast("list[dict[str, str]]", told["evidence"])),
        remedies=tuple(
            Remedy(
                tool=each["tool"],
                lasts=cast("Literal['now', 'for-good']", each["lasts"]),
                command=each.get("command"),
                advice=each.get("advice"),
            )
            for each in cast("list[dict[str, str]]", told["remedies"])
        ),
        references=tuple(cast("list[str]", told["references"])),
        **subject,
    )
