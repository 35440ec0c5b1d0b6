"""Runs under a systemd of its own in a clean Debian system: the packaged units, from `apt install` to `apt purge`.

The four run on eth0, whose other end lies in the network `peer`. What is printed is what a person sees of a failure.
"""

import glob
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

GROUP = "239.1.2.3:5000"
NET_RAW, NET_ADMIN = 1 << 13, 1 << 12
# How long anything may take that is waited for.
PATIENCE = 60

# Seconds instead of half minutes; so quickly systemd would soon give up starting them again.
QUICK = """
[Unit]
StartLimitIntervalSec=0
[Service]
WatchdogSec=4s
RestartSec=100ms
"""

# Each unit, what its file of settings says, what it may do, and what it keeps of that while it runs.
UNITS = {
    "mcast-querier@eth0": ("", NET_RAW, NET_RAW),
    "mcast-top@eth0": ("", NET_RAW, 0),
    "mcast-record@day": (f"{GROUP} -i eth0 --rotate 1h", NET_RAW, NET_RAW),
    "mcast-doctor@stream": (f"{GROUP} -i eth0 -W 200ms --every 200ms", NET_RAW | NET_ADMIN, NET_RAW | NET_ADMIN),
}


def packaged_units_are_installed_and_none_is_started():
    install()
    for unit in UNITS:
        assert os.path.exists(f"/lib/systemd/system/{unit.split('@')[0]}@.service"), unit
    assert not running(), running()


def every_service_is_up_once_it_says_so_and_has_few_rights():
    os.makedirs("/etc/mcast", exist_ok=True)
    for unit, (arguments, may, keeps) in UNITS.items():
        if arguments:
            write(settings_of(unit), f"ARGUMENTS={arguments}\n")
        systemctl("enable", "--now", unit)
        # The unit has Type=notify: the start came to its end because the service said that it is ready.
        assert shown(unit, "ActiveState", "SubState") == ["active", "running"], unit
        assert shown(unit, "StatusText") != [""], unit
        for task in glob.glob(f"/proc/{main_process(unit)}/task/*/status"):
            has_few_rights(unit, task, may, keeps)


def has_few_rights(unit, task, may, keeps):
    fields = dict(line.split(":", 1) for line in open(task))
    capabilities = {name: int(fields[f"Cap{name}"], 16) for name in ("Eff", "Prm", "Inh", "Amb", "Bnd")}
    assert capabilities == {"Eff": keeps, "Prm": keeps, "Inh": 0, "Amb": 0, "Bnd": may}, (unit, task, capabilities)
    # A user that exists only while the service does; no way to more rights; a filter of system calls.
    user = int(fields["Uid"].split()[0])
    assert 61184 <= user <= 65519, (unit, user)
    assert fields["NoNewPrivs"].strip() == "1" and fields["Seccomp"].strip() == "2", (unit, fields)


def what_services_do_can_be_seen():
    say_something()
    until(lambda: 'mcast_stream_datagrams_total{group="239.1.2.3"' in figures(9477), "the stream in the figures of top")
    until(lambda: "mcast_doctor_looks_total" in figures(9478), "figures of the doctor")
    until(lambda: "sent IGMPv3 general query" in journal("mcast-querier@eth0"), "a query in the journal")
    until(lambda: holds_the_group(recordings()), "what was sent in the recording")


def notes_have_their_levels_in_the_journal():
    for unit in UNITS:
        entries = [json.loads(line) for line in journal(unit, "-o", "json").splitlines()]
        own = [entry for entry in entries if entry.get("_COMM") == "mcast"]
        levels = {entry["PRIORITY"] for entry in own}
        assert own and levels <= {"3", "4", "5", "6", "7"}, (unit, levels)
        assert not any(entry["MESSAGE"].startswith("<") for entry in own), (unit, own)
    # What the doctor finds has the level of its severity: that nobody sends any more, and an interface that is down.
    until(lambda: " found warning " in journal("mcast-doctor@stream", "-p", "warning"), "a warning of the doctor's")
    call("ip", "link", "set", "eth0", "down")
    until(lambda: " found fault " in journal("mcast-doctor@stream", "-p", "err"), "a fault that the doctor finds")
    assert " found warning " not in journal("mcast-doctor@stream", "-p", "err"), journal("mcast-doctor@stream")
    up()
    until(lambda: " gone  fault " in journal("mcast-doctor@stream"), "the doctor to see it up")


def services_begin_anew_when_asked_to():
    asked = journal("mcast-querier@eth0").count("sent IGMPv3 general query")
    files = len(recordings())
    found = journal("mcast-doctor@stream").count(" found ")
    before = {unit: main_process(unit) for unit in UNITS}
    for unit in UNITS:
        systemctl("reload", unit)
    # The next query by itself would come after half a minute.
    until(lambda: journal("mcast-querier@eth0").count("sent IGMPv3 general query") > asked, "a query", 10)
    until(lambda: len(recordings()) == files + 1, "another file")
    until(lambda: journal("mcast-doctor@stream").count(" found ") > found, "findings told again")
    until(lambda: "mcast_stream_datagrams_total{" not in figures(9477), "no streams in the figures of top")
    for unit in UNITS:
        until(lambda: shown(unit, "ActiveState", "SubState") == ["active", "running"], f"{unit} to be ready again")
        assert main_process(unit) == before[unit], f"{unit} is another process"


def services_that_hang_are_started_again():
    for unit in UNITS:
        kind = unit.split("@")[0]
        os.makedirs(f"/run/systemd/system/{kind}@.service.d", exist_ok=True)
        write(f"/run/systemd/system/{kind}@.service.d/quick.conf", QUICK)
    systemctl("daemon-reload")
    systemctl("restart", *UNITS)
    signs = {unit: sign_of_life(unit) for unit in UNITS}
    for unit in UNITS:
        until(lambda: sign_of_life(unit) >= signs[unit] + 5_000_000, f"signs of life of {unit}")
        assert restarts(unit) == 0, f"{unit} was ended though it lives"
    stopped = {unit: main_process(unit) for unit in UNITS}
    for process in stopped.values():
        os.kill(process, signal.SIGSTOP)
    for unit in UNITS:
        until(lambda: restarts(unit) == 1 and is_up(unit), f"{unit} to be started again")
        assert main_process(unit) != stopped[unit], unit
        assert "watchdog" in journal(unit).lower(), unit


def services_outlive_their_interface():
    # What fails at its first look is not waited for.
    until(lambda: "mcast_doctor_look_end_seconds " in figures(9478), "the first look of the doctor")
    network_without_eth0()
    until(lambda: restarts("mcast-top@eth0") >= 2, "figures to fail without their interface")
    assert "eth0 has gone" in journal("mcast-top@eth0")
    # The others wait for it.
    waiting = [unit for unit in UNITS if unit != "mcast-top@eth0"]
    assert all(is_up(unit) and restarts(unit) == 1 for unit in waiting), [(unit, restarts(unit)) for unit in waiting]
    asked = journal("mcast-querier@eth0").count("sent IGMPv3 general query")
    network()
    until(lambda: is_up("mcast-top@eth0"), "figures of the interface that is back")
    until(lambda: journal("mcast-querier@eth0").count("sent IGMPv3 general query") > asked, "a query on it")
    size = sum(map(os.path.getsize, recordings()))
    until(lambda: say_something() or sum(map(os.path.getsize, recordings())) > size, "a frame recorded on it")
    until(lambda: 'mcast_stream_datagrams_total{group="239.1.2.3"' in figures(9477), "the stream in the figures of top")


def what_cannot_work_is_tried_once():
    write("/etc/mcast/record-wrong.conf", "ARGUMENTS=10.0.0.1:5000\n")
    assert not succeeds("systemctl", "start", "mcast-record@wrong")
    until(lambda: shown("mcast-record@wrong", "ActiveState") == ["failed"], "the service to be given up")
    assert shown("mcast-record@wrong", "Result", "ExecMainStatus", "NRestarts") == ["exit-code", "2", "0"]
    assert "10.0.0.1" in journal("mcast-record@wrong", "-p", "err", "-o", "cat"), journal("mcast-record@wrong")
    systemctl("reset-failed", "mcast-record@wrong")


def services_end_cleanly_when_asked_to():
    for unit in UNITS:
        systemctl("stop", unit)
        ended = shown(unit, "ActiveState", "Result", "ExecMainCode", "ExecMainStatus")
        assert ended == ["inactive", "success", "1", "143"], (unit, ended)
    assert holds_the_group(recordings()), recordings()
    systemctl("start", *UNITS)


def services_go_on_with_the_program_of_another_version():
    before = {unit: main_process(unit) for unit in UNITS}
    systemctl("stop", "mcast-top@eth0")
    install("--reinstall")
    for unit in UNITS.keys() - {"mcast-top@eth0"}:
        until(lambda: is_up(unit) and main_process(unit) != before[unit], f"{unit} to be another process")
        assert os.readlink(f"/proc/{main_process(unit)}/exe") == "/usr/bin/mcast", unit
    assert not is_up("mcast-top@eth0"), "what was stopped was started"
    systemctl("start", "mcast-top@eth0")


def what_is_removed_runs_no_more():
    kept = recordings()
    call("apt-get", "purge", "--yes", "mcast")
    assert not running(), running()
    for unit in UNITS:
        until(lambda: shown(unit, "LoadState", "ActiveState") == ["not-found", "inactive"], f"{unit} to be unknown")
    left = glob.glob("/etc/systemd/system/**/*mcast*", recursive=True) + glob.glob("/etc/mcast*")
    assert not left, left
    assert kept and recordings() == kept, "recordings belong to whoever made them"


def network():
    call("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", "peer")
    call("ip", "address", "add", "10.0.0.2/24", "dev", "eth0")
    call("ip", "-n", "peer", "address", "add", "10.0.0.1/24", "dev", "eth0")
    call("ip", "-n", "peer", "link", "set", "eth0", "up")
    up()


def up():
    call("ip", "link", "set", "eth0", "up")
    call("ip", "route", "add", "224.0.0.0/4", "dev", "eth0")


def network_without_eth0():
    call("ip", "link", "delete", "eth0")


def install(*options):
    package, = glob.glob("/given/*.deb")
    call("apt-get", "install", "--yes", "--no-install-recommends", *options, package)


def say_something():
    call("ip", "netns", "exec", "peer", "mcast", "send", "-q", "-i", "eth0", GROUP, "hello")


def figures(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
            return answer.read().decode()
    except OSError as error:
        return f"none: {error}"


def recordings():
    return sorted(glob.glob("/var/lib/mcast/day_*.pcapng"))


def holds_the_group(files):
    return any('"239.1.2.3"' in output("mcast", "sniff", "--json", "-r", file) for file in files)


def settings_of(unit):
    kind, instance = unit.removeprefix("mcast-").split("@")
    return f"/etc/mcast/{kind}-{instance}.conf"


def running():
    processes = (path for path in glob.glob("/proc/[0-9]*/comm") if os.path.exists(path))
    return [path for path in processes if open(path).read().strip() == "mcast"]


def main_process(unit):
    return int(shown(unit, "MainPID")[0])


def restarts(unit):
    return int(shown(unit, "NRestarts")[0])


def sign_of_life(unit):
    return int(shown(unit, "WatchdogTimestampMonotonic")[0])


def is_up(unit):
    return shown(unit, "ActiveState", "SubState") == ["active", "running"]


def shown(unit, *properties):
    """The values of these properties, in this order."""
    lines = output("systemctl", "show", unit, *(f"--property={name}" for name in properties)).splitlines()
    values = dict(line.split("=", 1) for line in lines)
    return [values[name] for name in properties]


def journal(unit, *options):
    call("journalctl", "--sync", quiet=True)
    return output("journalctl", "--no-pager", "--quiet", "-u", unit, *options)


def systemctl(*arguments):
    call("systemctl", *arguments)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def call(*command, quiet=False):
    if not quiet:
        print("+", *command)
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert ended.returncode == 0, f"{' '.join(command)}: status {ended.returncode}\n{ended.stdout}"


def succeeds(*command):
    print("+", *command)
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).returncode == 0


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def until(holds, what, patience=PATIENCE):
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)


TRIALS = [
    packaged_units_are_installed_and_none_is_started,
    every_service_is_up_once_it_says_so_and_has_few_rights,
    what_services_do_can_be_seen,
    notes_have_their_levels_in_the_journal,
    services_begin_anew_when_asked_to,
    services_that_hang_are_started_again,
    services_outlive_their_interface,
    what_cannot_work_is_tried_once,
    services_end_cleanly_when_asked_to,
    services_go_on_with_the_program_of_another_version,
    what_is_removed_runs_no_more,
]


def main():
    sys.stdout.reconfigure(line_buffering=True)
    call("ip", "link", "set", "lo", "up")
    call("ip", "netns", "add", "peer")
    network()
    for trial in TRIALS:
        begun = time.monotonic()
        trial()
        print(f"{trial.__name__}: {time.monotonic() - begun:.1f} s")
    print(f"{len(TRIALS)} trials passed")


def tell_what_the_system_said():
    for command in (["systemctl", "--no-pager", "status", "mcast-*"], ["journalctl", "--no-pager", "-n", "150"]):
        print(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout)


try:
    main()
except BaseException:
    tell_what_the_system_said()
    raise
