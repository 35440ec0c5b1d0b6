//! A host that receives a stream, and the doctor on it.

use serde_json::Value;

use crate::schemas::assert_valid;
use crate::support::{Ended, Lan, Running, eventually, program, start};

pub(crate) const GROUP: &str = "239.255.2.3:5000";

/// Three hosts, of which `a` sends to the group from 192.0.2.1, an address that `b` has no route to.
pub(crate) struct Ward {
    pub(crate) lan: Lan,
    stream: Option<Running>,
    /// The journal of remedies is here.
    pub(crate) state: tempfile::TempDir,
}

impl Ward {
    pub(crate) fn new() -> Self {
        let lan = Lan::new();
        sysctl(&lan.b, "rp_filter", "0");
        Self { lan, stream: None, state: tempfile::tempdir().unwrap() }
    }

    /// Makes `a` send twenty times per second from now on.
    pub(crate) fn streaming(mut self) -> Self {
        let stream = start(&self.lan.a, &["send", "239.255.2.3%eth0:5000", "hello", "--every", "50ms"]);
        stream.stderr.wait_for("hop limit 1");
        self.stream = Some(stream);
        self
    }

    /// Ends the stream.
    pub(crate) fn silence(&mut self) {
        let stream = self.stream.take().unwrap();
        let _ = stream.signalled(libc::SIGINT);
    }

    /// Makes `a` send from an address of another network.
    pub(crate) fn streaming_from_afar(self) -> Self {
        let ip = |words: &[&str]| {
            let mut command = self.lan.a.command("ip").unwrap();
            assert!(command.args(words).status().unwrap().success());
        };
        ip(&["address", "add", "192.0.2.1/32", "dev", "eth0"]);
        ip(&["route", "replace", "224.0.0.0/4", "dev", "eth0", "src", "192.0.2.1"]);
        let mut ward = self;
        let stream = start(&ward.lan.a, &["send", GROUP, "hello", "--every", "50ms"]);
        stream.stderr.wait_for("hop limit 1");
        ward.stream = Some(stream);
        ward
    }

    /// Makes `b` drop datagrams from that address.
    pub(crate) fn filtering(self) -> Self {
        sysctl(&self.lan.b, "rp_filter", "1");
        self
    }

    pub(crate) fn doctor(&self, arguments: &[&str]) -> Ended {
        self.start_doctor(arguments).end()
    }

    pub(crate) fn start_doctor(&self, arguments: &[&str]) -> Running {
        self.mcast(&[&["doctor"], arguments].concat())
    }

    /// Starts `mcast` on `b`.
    pub(crate) fn mcast(&self, arguments: &[&str]) -> Running {
        let state = format!("STATE_DIRECTORY={}", self.state.path().display());
        program(&self.lan.b, "env", &[&[&state, env!("CARGO_BIN_EXE_mcast")], arguments].concat(), false)
    }

    /// Starts the doctor without the right to capture.
    pub(crate) fn doctor_without_capture(&self, arguments: &[&str]) -> Running {
        let drop =
            ["--bounding-set=-net_raw", "--inh-caps=-net_raw", "--", env!("CARGO_BIN_EXE_mcast"), "doctor"];
        program(&self.lan.b, "setpriv", &[&drop[..], arguments].concat(), false)
    }

    /// Waits until the stream has reached `b`.
    pub(crate) fn wait_for_the_stream(&self) {
        eventually("frames", || {
            let table = self.lan.b.read_proc_net("dev").unwrap();
            let line = table.lines().find(|line| line.contains("eth0")).unwrap().to_owned();
            line.split_whitespace().nth(2).unwrap().parse::<u64>().unwrap() > 20
        });
    }
}

pub(crate) fn sysctl(host: &mcast_lab::Host, name: &str, value: &str) {
    for interface in ["all", "eth0"] {
        let path = format!("/proc/sys/net/ipv4/conf/{interface}/{name}");
        host.run(|| std::fs::write(&path, value).unwrap()).unwrap();
    }
}

/// Returns the objects of this event, checked against their schema.
pub(crate) fn events(ended: &Ended, event: &str) -> Vec<Value> {
    let objects = ended.json().into_iter().filter(|object| object["event"] == event);
    let objects: Vec<_> = objects.collect();
    let schema = match event {
        "found" | "gone" => "change",
        other => other,
    };
    objects.iter().for_each(|object| assert_valid(&format!("doctor-{schema}"), object));
    objects
}

/// Returns the ids of the findings.
pub(crate) fn ids(ended: &Ended) -> Vec<String> {
    events(ended, "finding").iter().map(|finding| finding["id"].as_str().unwrap().to_owned()).collect()
}
