"""The doctor: why multicast does not arrive, with evidence and remedies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from pymcast._keywords import several
from pymcast._pymcast import examine

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from pymcast._keywords import GroupLike, InterfaceLike, MembershipLike

@dataclass(frozen=True)
class Evidence:
    """One observation that supports a finding, and its previous value."""

    kind: str
    """The kind of evidence: "counter", "setting", "packet", "socket"..."""
    location: str
    """Where to look it up."""
    value: str
    """The current value."""
    previous_value: str | None = None
    """The previous value, if relevant."""

    def __str__(self) -> str:
        change = self.value if self.previous_value is None else f"{self.previous_value} -> {self.value}"
        return f"{self.location}: {change}"


@dataclass(frozen=True)
class Remedy:
    """A way to fix the cause: a command, or advice."""

    tool: str
    """The tool: "sysctl", "ip", "nft"..., "program" (the program at fault), "network" (network devices)."""
    persistence: Literal["until-reboot", "permanent"]
    """Whether it lasts until the next boot, or permanently."""
    command: str | None = None
    """A shell command, ready to paste."""
    advice: str | None = None
    """What to do where no command helps, in a sentence."""
    scope: str | None = None
    """What the command changes."""
    effective: Literal["at-once", "after-restart", "after-reconnect"] | None = None
    """When the change takes effect: at once, for programs started later, or when the interface reconnects."""
    warning: str | None = None
    """The risk for other traffic or for a remote session, if there is one."""
    undo: str | None = None
    """The command that restores the state before, or advice; None if that is not possible."""

    def __str__(self) -> str:
        return self.command or self.advice or ""


@dataclass(frozen=True)
class Finding:
    """A cause that the doctor found."""

    id: str
    """Its id, which `mcast explain` documents: "reverse-path-filter"."""
    severity: Literal["note", "warning", "fault"]
    """The severity: worth knowing, potentially harmful, or the reason why something does not work."""
    cause: str
    """The cause, in one sentence."""
    evidence: tuple[Evidence, ...]
    """The evidence."""
    remedies: tuple[Remedy, ...]
    """The remedies, the best first."""
    references: tuple[str, ...]
    """RFCs and other documents that explain it."""
    interface: str | None = None
    """The affected interface, if any."""
    group: str | None = None
    """The affected group, with its port if relevant."""
    source: str | None = None
    """The affected source."""
    program: str | None = None
    """The affected program, as `name (pid)`."""

    def __str__(self) -> str:
        return f"{self.severity}: {self.id}: {self.cause}"


@dataclass(frozen=True)
class OpenQuestion:
    """A question that the doctor could not answer."""

    question: str
    """The question."""
    reason: str
    """Why it could not be answered."""
    known_after_seconds: float | None = None
    """How many seconds of listening would answer it; None if listening longer does not help."""
    effect: Literal["minor", "no-answer", "needs-rights"] = "minor"
    """The effect on the result: none; there is no answer; or there is none because of missing permissions."""

    def __str__(self) -> str:
        return f"{self.question}: {self.reason}"


@dataclass(frozen=True)
class Observation:
    """An observation, good or bad."""

    layer: str
    """Where it was made: "wire eth0", "IP layer", "socket"."""
    message: str
    """What was observed."""

    def __str__(self) -> str:
        return f"{self.layer}: {self.message}"


@dataclass(frozen=True)
class Report:
    """The result of an examination; str() is a report for people."""

    findings: tuple[Finding, ...]
    """The causes found, the most severe first."""
    open_questions: tuple[OpenQuestion, ...]
    """The questions that could not be answered."""
    observations: tuple[Observation, ...]
    """The observations: how far the datagrams got."""

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings of severity "fault"."""
        return tuple(finding for finding in self.findings if finding.severity == "fault")

    def __str__(self) -> str:
        lines: list[str] = []
        for finding in self.findings:
            lines.append(str(finding))
            lines += [f"  because {evidence}" for evidence in finding.evidence]
            lines += [f"  remedy: {remedy}" for remedy in finding.remedies]
        lines += [f"observed: {observation}" for observation in self.observations]
        lines += [f"open: {question}" for question in self.open_questions]
        return "\n".join(lines) or "nothing was found"


def doctor(
    *memberships: MembershipLike | GroupLike,
    interface: InterfaceLike | Iterable[InterfaceLike] | None = None,
    protocol: str | int | None = None,
    name: str | None = None,
    pid: int | None = None,
    port: int | None = None,
    file: str | PathLike[str] | None = None,
    listen: float = 5.0,
    soak: bool = False,
    experiments: bool = True,
) -> Report:
    """Finds out why multicast does not arrive, and how to fix it.

    Given memberships, as for `Receiver`, it joins each in turn, and observes for `listen` seconds at three layers: the
    wire, the counters of the IP layer, and the socket, on `interface`, one or several. A group without a port is one of
    a protocol without UDP: `"vrrp"`, `"224.0.0.18"`, `"ospf%eth1"`, or any with `protocol`, a name or a number. `name`
    looks for a service,
    a device or a host that announces itself, and reports why it is not found or cannot be reached. `pid` or `port`
    examine another program's sockets, `file` a capture file. Without any of these, it examines this machine, and each
    program that has joined groups.

    With `soak`, it listens until memberships expire that no querier refreshes (275 s). Without `experiments`, it
    changes nothing on this machine or network: no temporary nftables rules, and no second report for a silent group.

    Raises `pymcast.Error` if the examination fails, `pymcast.CaptureFileError` for a file. Questions that it could
    not answer, for instance because capturing requires permissions, are in the report's `open_questions`.
    """
    if interface is not None and not memberships and name is None:
        raise ValueError("interface is where a membership is joined, or a name is looked for")
    if protocol is not None and not memberships:
        raise ValueError("protocol is that of a group")
    subject = (name, pid, port, file)
    number = None if protocol is None else str(protocol)
    report = json.loads(examine(memberships, subject, several(interface), number, listen, soak, experiments))
    return Report(
        findings=tuple(_finding(each) for each in report["findings"]),
        open_questions=tuple(OpenQuestion(**each) for each in report["open_questions"]),
        observations=tuple(Observation(**each) for each in report["observations"]),
    )


def _remedy(fields: dict[str, object]) -> Remedy:
    undo = cast("dict[str, str]", fields.get("undo", {}))
    names = ("tool", "persistence", "command", "advice", "scope", "effective", "warning")
    texts = {name: cast("str", fields[name]) for name in names if name in fields}
    return Remedy(**texts, undo=undo.get("command", undo.get("advice")))  # type: ignore[arg-type]


def _finding(fields: dict[str, object]) -> Finding:
    subject = cast("dict[str, str]", fields["subject"])
    return Finding(
        id=cast("str", fields["id"]),
        severity=cast("Literal['note', 'warning', 'fault']", fields["severity"]),
        cause=cast("str", fields["cause"]),
        evidence=tuple(Evidence(**each) for each in cast("list[dict[str, str]]", fields["evidence"])),
        remedies=tuple(_remedy(each) for each in cast("list[dict[str, object]]", fields["remedies"])),
        references=tuple(cast("list[str]", fields["references"])),
        **subject,
    )
