//! Two hosts, and shorthands for the commands on them.

use mcast_lab::{BadLink, Host, Impairment, Lab};
use serde_json::Value;

use crate::support::{Ended, Running, start};

/// A group of each family.
pub(crate) const GROUPS: [&str; 2] = ["239.1.2.3:5000", "[ff15::1:3]:5000"];
pub(crate) const GROUP: &str = GROUPS[0];

/// `a` and `b` on a bad cable; `eth0` with 10.0.0.1 and .2, fd00::1 and ::2.
pub(crate) struct Pair {
    _lab: Lab,
    pub(crate) a: Host,
    pub(crate) b: Host,
    pub(crate) link: BadLink,
}

impl Pair {
    pub(crate) fn new(impairment: Impairment) -> Self {
        let lab = Lab::new().unwrap();
        let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
        let (left, right) = (["10.0.0.1/24", "fd00::1/64"], ["10.0.0.2/24", "fd00::2/64"]);
        let link = lab.bad_link(&a, "eth0", &left, &b, "eth0", &right, impairment).unwrap();
        Self { _lab: lab, a, b, link }
    }
}

/// `mcast perf recv` with these arguments on a host, once it has joined.
pub(crate) fn perf_recv(host: &Host, arguments: &[&str]) -> Running {
    let running = start(host, &[&["perf", "recv", "-i", "eth0"], arguments].concat());
    running.stderr.wait_for("waiting for mcast perf send");
    running
}

/// `mcast perf send` with these arguments on a host.
pub(crate) fn perf_send(host: &Host, arguments: &[&str]) -> Running {
    start(host, &[&["perf", "send", "-i", "eth0"], arguments].concat())
}

/// `mcast ping --reply` with these arguments on a host, once it has joined.
pub(crate) fn responder(host: &Host, arguments: &[&str]) -> Running {
    let running = start(host, &[&["ping", "--reply", "-i", "eth0"], arguments].concat());
    running.stderr.wait_for("answering pings");
    running
}

/// The only object that a program printed.
pub(crate) fn object(ended: &Ended) -> Value {
    let [object] = <[Value; 1]>::try_from(ended.json()).unwrap_or_else(|_| panic!("{ended:?}"));
    object
}

/// These fields of an object, as whole numbers.
pub(crate) fn numbers<const N: usize>(object: &Value, fields: [&str; N]) -> [u64; N] {
    fields.map(|field| object[field].as_u64().unwrap_or_else(|| panic!("{field} in {object}")))
}

pub(crate) const COUNTS: [&str; 5] = ["sent", "received", "lost", "duplicated", "reordered"];
