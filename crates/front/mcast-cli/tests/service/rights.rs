//! The capabilities of each thread after sockets are open, as the kernel reports them.

use std::path::Path;

use mcast_lab::Child;
use tempfile::tempdir;

use crate::support::{Lan, Running, eventually, send, start};

const GROUP: &str = "239.255.1.3:5000";

pub(crate) const DAC_OVERRIDE: u64 = 1 << 1;
pub(crate) const DAC_READ_SEARCH: u64 = 1 << 2;
pub(crate) const NET_BIND_SERVICE: u64 = 1 << 10;
pub(crate) const NET_ADMIN: u64 = 1 << 12;
pub(crate) const NET_RAW: u64 = 1 << 13;
const IPC_LOCK: u64 = 1 << 14;
pub(crate) const SYS_PTRACE: u64 = 1 << 19;
pub(crate) const SYSLOG: u64 = 1 << 34;
pub(crate) const PERFMON: u64 = 1 << 38;
pub(crate) const BPF: u64 = 1 << 39;
/// To find the processes of sockets.
const FIND_OWNERS: u64 = SYS_PTRACE | DAC_READ_SEARCH | NET_ADMIN;
/// To examine a machine.
const EXAMINE: u64 = FIND_OWNERS | NET_BIND_SERVICE | NET_RAW | BPF | PERFMON | SYSLOG;

/// To receive on interfaces that appear later.
const OPEN_SOCKETS: u64 = NET_BIND_SERVICE | NET_RAW;
/// To take frames off an interface.
const TAKE_FRAMES: u64 = BPF | NET_ADMIN | NET_RAW | IPC_LOCK;

/// The rights of a process.
#[derive(Debug)]
pub(crate) struct Rights {
    pub(crate) threads: Vec<Thread>,
}

/// The sets of capabilities of a thread (capabilities(7)).
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) name: String,
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
    pub(crate) ambient: u64,
    pub(crate) bounding: u64,
}

impl Rights {
    pub(crate) fn of(child: &Child) -> Self {
        let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
        // A thread that has ended meanwhile has none.
        let threads = threads.filter_map(|thread| Thread::read(&thread.ok()?.path()));
        Self { threads: threads.collect() }
    }

    /// Returns whether each thread has exactly the capabilities that its name implies, as far as this environment has them.
    fn are(&self, expected: impl Fn(&str) -> u64) -> bool {
        !self.threads.is_empty()
            && self.threads.iter().all(|thread| {
                let kept = expected(&thread.name) & thread.bounding;
                (thread.effective, thread.permitted, thread.inheritable) == (kept, kept, 0)
            })
    }
}

impl Thread {
    fn read(path: &Path) -> Option<Self> {
        let status = std::fs::read_to_string(path.join("status")).ok()?;
        let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let set = |name| u64::from_str_radix(of(name)?, 16).ok();
        Some(Self {
            name: of("Name:")?.to_owned(),
            effective: set("CapEff:")?,
            permitted: set("CapPrm:")?,
            inheritable: set("CapInh:")?,
            ambient: set("CapAmb:")?,
            bounding: set("CapBnd:")?,
        })
    }
}

/// The rights that a subcommand keeps, and the text that it prints when it has begun.
struct Case<'a> {
    arguments: &'a [&'a str],
    begun: &'a str,
    left: u64,
}

impl Case<'_> {
    fn start(&self, lan: &Lan) -> Running {
        let running = start(&lan.b, self.arguments);
        eventually(&format!("{:?} to begin", self.arguments), || {
            running.stderr.text().contains(self.begun) || running.stdout.text().contains(self.begun)
        });
        running
    }
}

#[test]
fn every_thread_drops_unneeded_rights() {
    let lan = Lan::new();
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let [sniffed, plain, rotated, followed, taken, both] =
        ["sniffed", "plain", "rotated", "followed", "taken", "both"].map(path);
    let cases = [
        Case { arguments: &["sniff", "-v", "-i", "eth0", "--join", GROUP], begun: "joined", left: 0 },
        Case {
            arguments: &["sniff", "-i", "eth0", "-w", &sniffed, "--join", GROUP],
            begun: "joined",
            left: 0,
        },
        Case { arguments: &["top", "-i", "eth0"], begun: "watching eth0", left: 0 },
        Case { arguments: &["groups", "--watch", "-a"], begun: "224.0.0.1", left: FIND_OWNERS },
        Case { arguments: &["doctor", "--watch"], begun: "until Ctrl-C", left: EXAMINE },
        Case { arguments: &["doctor", "--listen", GROUP, "-i", "eth0"], begun: "answering", left: EXAMINE },
        Case {
            arguments: &["doctor", "--probe", GROUP, "-i", "eth0", "-c", "1000"],
            begun: "on eth0",
            left: NET_RAW,
        },
        Case { arguments: &["querier", "-i", "eth0", "--watch"], begun: "listening", left: 0 },
        Case {
            arguments: &["querier", "-i", "eth0", "--become"],
            begun: "sending queries every",
            left: NET_RAW,
        },
        Case {
            arguments: &["relay", "239.255.1.3:5000", "from", "eth0", "to", "udp://10.0.0.1:9"],
            begun: "forwarding",
            left: OPEN_SOCKETS,
        },
        Case { arguments: &["record", GROUP, "-i", "eth0", "-w", &plain], begun: "recording", left: 0 },
        Case {
            arguments: &["record", GROUP, "-i", "eth0", "-w", &rotated, "--rotate", "1h"],
            begun: "recording",
            left: DAC_OVERRIDE,
        },
        Case {
            arguments: &["record", GROUP, "-i", "eth0", "--follow", "-w", &followed],
            begun: "recording",
            left: OPEN_SOCKETS,
        },
        Case {
            arguments: &["record", GROUP, "-i", "eth0", "--wire", "require", "-w", &taken],
            begun: "recording",
            left: BPF,
        },
        Case {
            arguments: &["record", GROUP, "-i", "eth0", "--wire", "auto", "--follow", "-w", &both],
            begun: "recording",
            left: TAKE_FRAMES | NET_BIND_SERVICE,
        },
        Case {
            arguments: &[
                "relay",
                "--wire",
                "auto",
                "239.255.1.3:5000",
                "from",
                "eth0",
                "to",
                "udp://10.0.0.1:9",
            ],
            begun: "forwarding",
            left: TAKE_FRAMES | NET_BIND_SERVICE,
        },
    ];
    for case in cases {
        let running = case.start(&lan);
        // One thread reads which sockets processes have, one captures on new interfaces, and one writes the output; none of
        // them parses frames.
        let expected = |thread: &str| match thread {
            "output" => 0,
            "joined" => FIND_OWNERS,
            "interfaces" => NET_RAW,
            _ => case.left,
        };
        // Rights go before threads come: only where there are several is it over.
        eventually(&format!("{:?} to give up rights in every thread", case.arguments), || {
            let rights = Rights::of(&running.child);
            rights.threads.len() >= 2 && rights.are(expected)
        });
        running.child.kill().unwrap();
    }
}

#[test]
fn sockets_opened_before_still_work() {
    let lan = Lan::new();
    let sniffing = start(&lan.b, &["sniff", "-i", "eth0", "--join", GROUP]);
    sniffing.stderr.wait_for("joined");
    eventually("rights to be given up", || Rights::of(&sniffing.child).are(|_| 0));
    send(&lan.a, &["-i", "eth0", GROUP, "hello"]);
    sniffing.stdout.wait_for("239.255.1.3");
    sniffing.signalled(libc::SIGINT);
}

#[test]
fn metrics_can_be_served_on_privileged_ports() {
    let lan = Lan::new();
    for arguments in [&["top", "-i", "eth0"][..], &["doctor", "--watch"]] {
        let running = start(&lan.b, &[arguments, &["--metrics", "127.0.0.1:80"]].concat());
        running.stderr.wait_for("metrics at http://127.0.0.1:80/metrics");
        running.signalled(libc::SIGTERM);
    }
}

#[test]
fn a_remedy_is_applied_with_all_rights() {
    let lan = Lan::new();
    let running = start(&lan.b, &["doctor", GROUP, "-W", "5s", "--apply", "no-querier", "--yes"]);
    running.stderr.wait_for("examining");
    let rights = Rights::of(&running.child);
    assert!(rights.threads.iter().all(|thread| thread.effective == thread.bounding), "{rights:x?}");
    running.child.kill().unwrap();
}
