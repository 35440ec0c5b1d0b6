"""Tests the packaged units, from `apt install` to `apt purge`, under a separate systemd in a clean Debian system.

The services use eth0, whose peer is in the network namespace `peer`. The output is shown if a test fails.
"""

import glob
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

GROUP = "239.255.1.3:5000"
# No other service joins it: a socket also receives the groups of others on its port.
OTHER_GROUP = "239.255.1.9:5001"
NET_RAW, NET_ADMIN = 1 << 13, 1 << 12
PERFMON, BPF = 1 << 38, 1 << 39
# What the doctor needs to capture, to read firewall rules, and to count what the kernel drops.
EXAMINE = NET_RAW | NET_ADMIN | BPF | PERFMON
# The time limit of each wait, in seconds.
TIMEOUT = 60

# A program that has a port open and joins nothing.
NEVER_JOINED = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 5001))
s.recv(2000)
print("received", flush=True)
s.recv(2000)
"""

# A short watchdog and restart delay. The start limit is disabled, because systemd would soon reach it.
QUICK = """
[Unit]
StartLimitIntervalSec=0
[Service]
WatchdogSec=4s
RestartSec=100ms
"""

# Each unit with its arguments, its capability bounding set, and the capabilities it keeps while running.
UNITS = {
    "mcast-querier@eth0": ("", NET_RAW, NET_RAW),
    "mcast-relay@home": (f"{GROUP} from eth0 to udp://127.0.0.1:9", NET_RAW, NET_RAW),
    "mcast-top@eth0": ("", NET_RAW, 0),
    "mcast-record@day": (f"{GROUP} -i eth0 --rotate 1h", NET_RAW, NET_RAW),
    "mcast-doctor@stream": (f"{GROUP} -i eth0 -W 200ms --watch=200ms", EXAMINE, EXAMINE),
    "mcast-publish@prices": ("239.255.1.8:7000 -i eth0 --announce prices --log log", 0, 0),
    "mcast-subscribe@peer": ("239.255.1.7:7000 -i eth0 --stay --resume position --confirm pipe", 0, 0),
}

# Each unit with arguments for groups that no other service joins.
PAST_THE_SOCKET = {
    "mcast-record@wire": "239.255.1.11:5003 -i eth0 --rotate 1h",
    "mcast-relay@wire": "239.255.1.12:5004 from eth0 to udp://127.0.0.1:9 always",
    "mcast-subscribe@wire": "239.255.1.13:7001 -i eth0 --stay",
}


def packaged_units_are_installed_but_not_started():
    install()
    for unit in UNITS:
        assert os.path.exists(f"/lib/systemd/system/{unit.split('@')[0]}@.service"), unit
    assert not running(), running()


def services_report_readiness_and_have_minimal_privileges():
    os.makedirs("/etc/mcast", exist_ok=True)
    for unit, (arguments, may, keeps) in UNITS.items():
        if arguments:
            write(settings_of(unit), f"ARGUMENTS={arguments}\n")
        systemctl("enable", "--now", unit)
        # The unit has Type=notify: starting it ends when the service reports readiness.
        assert properties(unit, "ActiveState", "SubState") == ["active", "running"], unit
        assert properties(unit, "StatusText") != [""], unit
        for task in glob.glob(f"/proc/{main_process(unit)}/task/*/status"):
            assert_minimal_privileges(unit, task, may, keeps)


def assert_minimal_privileges(unit, task, may, keeps):
    fields = dict(line.split(":", 1) for line in open(task))
    # The thread that writes the output needs none.
    keeps = 0 if fields["Name"].strip() == "output" else keeps
    capabilities = {name: int(fields[f"Cap{name}"], 16) for name in ("Eff", "Prm", "Inh", "Amb", "Bnd")}
    assert capabilities == {"Eff": keeps, "Prm": keeps, "Inh": 0, "Amb": 0, "Bnd": may}, (unit, task, capabilities)
    # A dynamic user, no new privileges, and a system call filter.
    user = int(fields["Uid"].split()[0])
    assert 61184 <= user <= 65519, (unit, user)
    assert fields["NoNewPrivs"].strip() == "1" and fields["Seccomp"].strip() == "2", (unit, fields)


def services_do_their_work():
    send_datagram()
    until(lambda: 'mcast_stream_datagrams_total{group="239.255.1.3"' in metrics(9477), "the stream in the figures of top")
    until(lambda: "mcast_doctor_examinations_total" in metrics(9478), "figures of the doctor")
    until(lambda: "sent IGMPv3 general query" in journal("mcast-querier@eth0"), "a query in the journal")
    until(lambda: contains_the_group(recordings()), "what was sent in the recording")


def lines_are_published_and_messages_received():
    listening = ["ip", "netns", "exec", "peer", "mcast", "subscribe", "-q", "239.255.1.8:7000", "-i", "eth0", "-c", "1", "--from", "oldest"]
    with subprocess.Popen(listening, stdout=subprocess.PIPE, text=True) as subscriber:
        with open("/run/mcast/publish-prices", "w") as lines:
            lines.write("12.5\n")
        assert subscriber.stdout.read() == "12.5\n"
    assert os.stat("/run/mcast/publish-prices").st_mode & 0o777 == 0o620
    call("ip", "netns", "exec", "peer", "mcast", "publish", "-q", "239.255.1.7:7000", "-i", "eth0", "--name", "peer", "--wait-for", "1", "a message")
    until(lambda: "a message" in journal("mcast-subscribe@peer", "-o", "cat"), "a message in the journal")
    assert os.path.exists("/var/lib/mcast-subscribe/peer/position")


def with_the_rights_in_their_unit_services_receive_past_the_socket():
    # Where another program captures on the interface, nothing is taken off it.
    systemctl("stop", *UNITS)
    for unit, arguments in PAST_THE_SOCKET.items():
        write(settings_of(unit), f"ARGUMENTS={arguments} --wire require\n")
        assert not succeeds("systemctl", "start", unit), f"{unit} needs no rights"
        assert "CAP_BPF" in journal(unit), journal(unit)
        systemctl("stop", unit)
        drop_in = f"/run/systemd/system/{unit}.service.d"
        os.makedirs(drop_in)
        write(f"{drop_in}/wire.conf", suggested(unit, "With `--wire`"))
        systemctl("daemon-reload")
        systemctl("start", unit)
        assert is_up(unit), unit
        if unit == "mcast-record@wire":
            files = "/var/lib/mcast/wire_*.pcapng"
            until(lambda: send_datagram("239.255.1.11:5003") or contains_the_group(glob.glob(files), "239.255.1.11"), "what was sent in the recording")
        # An interface has one program, which the first has.
        systemctl("stop", unit)
        os.remove(settings_of(unit))
    systemctl("start", *UNITS)


def suggested(unit, begins):
    """Returns the drop-in that the comments of a unit suggest."""
    lines = open(f"/lib/systemd/system/{unit.split('@')[0]}@.service").read().split("\n")
    start = next(number for number, line in enumerate(lines) if line.startswith(f"# {begins}"))
    suggestion = []
    for line in lines[start + 1:]:
        if not line.startswith("#   "):
            break
        suggestion.append(line.removeprefix("#   "))
    assert suggestion, unit
    return "\n".join(suggestion) + "\n"


def messages_have_priorities_in_the_journal():
    for unit in UNITS:
        entries = [json.loads(line) for line in journal(unit, "-o", "json").splitlines()]
        own = [entry for entry in entries if entry.get("_COMM") == "mcast"]
        levels = {entry["PRIORITY"] for entry in own}
        assert own and levels <= {"3", "4", "5", "6", "7"}, (unit, levels)
        assert not any(entry["MESSAGE"].startswith("<") for entry in own), (unit, own)
    # Findings have the priority of their severity: no sender and an interface that is down are faults.
    until(lambda: " found fault nothing-arrives " in journal("mcast-doctor@stream", "-p", "err"), "the finding about silence")
    call("ip", "link", "set", "eth0", "down")
    until(lambda: " found fault interface-down " in journal("mcast-doctor@stream", "-p", "err"), "the finding about eth0")
    assert " found warning " not in journal("mcast-doctor@stream", "-p", "err"), journal("mcast-doctor@stream")
    up()
    until(lambda: " gone  fault interface-down " in journal("mcast-doctor@stream"), "the doctor to see it up")


def reload_starts_over_in_the_same_process():
    asked = journal("mcast-querier@eth0").count("sent IGMPv3 general query")
    files = len(recordings())
    found = journal("mcast-doctor@stream").count(" found ")
    before = {unit: main_process(unit) for unit in UNITS}
    for unit in UNITS:
        systemctl("reload", unit)
    # Without the reload, the next query would be sent after half a minute.
    until(lambda: journal("mcast-querier@eth0").count("sent IGMPv3 general query") > asked, "a query", 10)
    until(lambda: len(recordings()) == files + 1, "another file")
    until(lambda: journal("mcast-doctor@stream").count(" found ") > found, "the findings to be reported again")
    # The announcements of the relay continue.
    until(lambda: 'mcast_stream_datagrams_total{group="239.255.1.3"' not in metrics(9477), "the stream to leave the figures of top")
    for unit in UNITS:
        until(lambda: properties(unit, "ActiveState", "SubState") == ["active", "running"], f"{unit} to be ready again")
        assert main_process(unit) == before[unit], f"{unit} is another process"


def the_watchdog_restarts_services_that_hang():
    for unit in UNITS:
        kind = unit.split("@")[0]
        os.makedirs(f"/run/systemd/system/{kind}@.service.d", exist_ok=True)
        write(f"/run/systemd/system/{kind}@.service.d/quick.conf", QUICK)
    systemctl("daemon-reload")
    systemctl("restart", *UNITS)
    notified = {unit: last_watchdog_notification(unit) for unit in UNITS}
    for unit in UNITS:
        until(lambda: last_watchdog_notification(unit) >= notified[unit] + 5_000_000, f"keep-alives of {unit}")
        assert restarts(unit) == 0, f"{unit} was restarted although it runs"
    stopped = {unit: main_process(unit) for unit in UNITS}
    for process in stopped.values():
        os.kill(process, signal.SIGSTOP)
    for unit in UNITS:
        until(lambda: restarts(unit) == 1 and is_up(unit), f"{unit} to be started again")
        assert main_process(unit) != stopped[unit], unit
        assert "watchdog" in journal(unit).lower(), unit


def services_survive_the_loss_of_their_interface():
    # A failure at the first examination is not retried.
    until(lambda: "mcast_doctor_examination_end_seconds " in metrics(9478), "the first examination of the doctor")
    network_without_eth0()
    until(lambda: restarts("mcast-top@eth0") >= 2, "figures to fail without their interface")
    assert "eth0 has gone" in journal("mcast-top@eth0")
    # The others wait for the interface.
    waiting = [unit for unit in UNITS if unit != "mcast-top@eth0"]
    assert all(is_up(unit) and restarts(unit) == 1 for unit in waiting), [(unit, restarts(unit)) for unit in waiting]
    asked = journal("mcast-querier@eth0").count("sent IGMPv3 general query")
    network()
    until(lambda: is_up("mcast-top@eth0"), "figures of the interface that is back")
    until(lambda: journal("mcast-querier@eth0").count("sent IGMPv3 general query") > asked, "a query on it")
    size = sum(map(os.path.getsize, recordings()))
    until(lambda: send_datagram() or sum(map(os.path.getsize, recordings())) > size, "a frame recorded on it")
    until(lambda: 'mcast_stream_datagrams_total{group="239.255.1.3"' in metrics(9477), "the stream in the figures of top")


def a_usage_error_is_not_retried():
    write("/etc/mcast/record-wrong.conf", "ARGUMENTS=10.0.0.1:5000\n")
    assert not succeeds("systemctl", "start", "mcast-record@wrong")
    until(lambda: properties("mcast-record@wrong", "ActiveState") == ["failed"], "the service to be given up")
    assert properties("mcast-record@wrong", "Result", "ExecMainStatus", "NRestarts") == ["exit-code", "2", "0"]
    assert "10.0.0.1" in journal("mcast-record@wrong", "-p", "err", "-o", "cat"), journal("mcast-record@wrong")
    systemctl("reset-failed", "mcast-record@wrong")


def services_stop_cleanly():
    for unit in UNITS:
        systemctl("stop", unit)
        ended = properties(unit, "ActiveState", "Result", "ExecMainCode", "ExecMainStatus")
        assert ended == ["inactive", "success", "1", "143"], (unit, ended)
    assert contains_the_group(recordings()), recordings()
    systemctl("start", *UNITS)


def an_upgrade_restarts_running_services():
    before = {unit: main_process(unit) for unit in UNITS}
    systemctl("stop", "mcast-top@eth0")
    install("--reinstall")
    for unit in UNITS.keys() - {"mcast-top@eth0"}:
        until(lambda: is_up(unit) and main_process(unit) != before[unit], f"{unit} to be another process")
        assert os.readlink(f"/proc/{main_process(unit)}/exe") == "/usr/bin/mcast", unit
    assert not is_up("mcast-top@eth0"), "what was stopped was started"
    systemctl("start", "mcast-top@eth0")


def a_program_is_repaired_whenever_it_is_started():
    write("/etc/mcast/repair-port.conf", "ARGUMENTS=--port 5001 --repair not-joined -W 4s --every 300ms\n")
    systemctl("enable", "--now", "mcast-repair@port")
    for _ in range(2):
        changes = journal("mcast-repair@port").count("running: mcast doctor --pid")
        program = subprocess.Popen(["python3", "-c", NEVER_JOINED], stdout=subprocess.PIPE, text=True)
        try:
            until(lambda: send_datagram(OTHER_GROUP) or journal("mcast-repair@port").count("running: mcast doctor --pid") > changes, "a repair")
            send_datagram(OTHER_GROUP)
            assert program.stdout.readline() == "received\n"
        finally:
            program.kill()
            program.wait()
    call("mcast", "doctor", "--undo")
    systemctl("stop", "mcast-repair@port")
    ended = properties("mcast-repair@port", "Result", "ExecMainStatus")
    assert ended == ["success", "143"], ended
    systemctl("disable", "mcast-repair@port")


def purge_stops_services_and_keeps_recordings():
    kept = recordings()
    call("apt-get", "purge", "--yes", "mcast")
    assert not running(), running()
    for unit in UNITS:
        until(lambda: properties(unit, "LoadState", "ActiveState") == ["not-found", "inactive"], f"{unit} to be unknown")
    left = glob.glob("/etc/systemd/system/**/*mcast*", recursive=True) + glob.glob("/etc/mcast*")
    assert not left, left
    assert kept and recordings() == kept, "purge must keep recordings"


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


def send_datagram(to=GROUP):
    call("ip", "netns", "exec", "peer", "mcast", "send", "-q", "-i", "eth0", to, "hello", quiet=to != GROUP)


def metrics(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT) as answer:
            return answer.read().decode()
    except OSError as error:
        return f"none: {error}"


def recordings():
    return sorted(glob.glob("/var/lib/mcast/day_*.pcapng"))


def contains_the_group(files, group="239.255.1.3"):
    return any(f'"{group}"' in output("mcast", "sniff", "--json", "-r", file) for file in files)


def settings_of(unit):
    kind, instance = unit.removeprefix("mcast-").split("@")
    return f"/etc/mcast/{kind}-{instance}.conf"


def running():
    processes = (path for path in glob.glob("/proc/[0-9]*/comm") if os.path.exists(path))
    return [path for path in processes if open(path).read().strip() == "mcast"]


def main_process(unit):
    return int(properties(unit, "MainPID")[0])


def restarts(unit):
    return int(properties(unit, "NRestarts")[0])


def last_watchdog_notification(unit):
    return int(properties(unit, "WatchdogTimestampMonotonic")[0])


def is_up(unit):
    return properties(unit, "ActiveState", "SubState") == ["active", "running"]


def properties(unit, *names):
    """Returns the values of these properties of a unit, in this order."""
    lines = output("systemctl", "show", unit, *(f"--property={name}" for name in names)).splitlines()
    values = dict(line.split("=", 1) for line in lines)
    return [values[name] for name in names]


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


def until(holds, what, timeout=TIMEOUT):
    end = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < end, f"timed out waiting for {what}"
        time.sleep(0.05)


TESTS = [
    packaged_units_are_installed_but_not_started,
    services_report_readiness_and_have_minimal_privileges,
    services_do_their_work,
    lines_are_published_and_messages_received,
    messages_have_priorities_in_the_journal,
    reload_starts_over_in_the_same_process,
    the_watchdog_restarts_services_that_hang,
    services_survive_the_loss_of_their_interface,
    a_usage_error_is_not_retried,
    services_stop_cleanly,
    an_upgrade_restarts_running_services,
    a_program_is_repaired_whenever_it_is_started,
    with_the_rights_in_their_unit_services_receive_past_the_socket,
    purge_stops_services_and_keeps_recordings,
]


def main():
    sys.stdout.reconfigure(line_buffering=True)
    call("ip", "link", "set", "lo", "up")
    call("ip", "netns", "add", "peer")
    network()
    for test in TESTS:
        begun = time.monotonic()
        test()
        print(f"{test.__name__}: {time.monotonic() - begun:.1f} s")
    print(f"{len(TESTS)} tests passed")


def print_status():
    for command in (["systemctl", "--no-pager", "status", "mcast-*"], ["journalctl", "--no-pager", "-n", "150"]):
        print(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout)


try:
    main()
except BaseException:
    print_status()
    raise
