//! Another program holds the port and does not share it: binding fails with `EADDRINUSE`.

use mcast::ErrorKind;

use crate::observation::Observation;
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool};

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    let Some(asked) = seen.asked() else { return Vec::new() };
    let Some(failure) = asked.failed_with(ErrorKind::AddressInUse) else { return Vec::new() };
    let holders = seen.before.udp_sockets.iter().filter(|socket| socket.local.port() == asked.port);
    let evidence = holders.clone().map(|socket| {
        let programs = match socket.programs.as_slice() {
            [] => "a program that cannot be seen".to_owned(),
            programs => programs.join(", "),
        };
        Evidence::new(Sort::Socket, format!("{} (socket {})", socket.local, socket.inode), programs)
    });
    let names: Vec<_> = holders.clone().flat_map(|socket| socket.programs.clone()).collect();
    let who = if names.is_empty() { "Another program".to_owned() } else { names.join(", ") };
    let finding = Finding::new(
        Id::AddressInUse,
        Severity::Fault,
        format!("{who} holds UDP port {} and does not share it.", asked.port),
    )
    .of(format_args!("{}:{}", asked.group, asked.port))
    .because(Evidence::new(Sort::Answer, "bind", &failure.text))
    .because_all(evidence)
    .remedied([
        Remedy::advice(
            Tool::Program,
            "Set SO_REUSEADDR before bind in every program that uses the port (on macOS and BSD SO_REUSEPORT): one that does not keeps all others out.",
        ),
    ]);
    vec![finding]
}
