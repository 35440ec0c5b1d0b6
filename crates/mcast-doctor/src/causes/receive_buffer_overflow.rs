//! A socket's receive buffer is full when datagrams come, and they are dropped.

use crate::observation::{Observation, Program, ProgramSocket};
use crate::snapshot::{Counter, UdpSocket};
use crate::{Evidence, Finding, Id, Remedy, Severity, Sort, Tool, remedies};

/// A buffer that takes what comes at a gigabit in a thirtieth of a second.
const GENEROUS: i64 = 4 << 20;

pub(super) fn check(seen: &Observation) -> Vec<Finding> {
    if let Some(program) = seen.program() {
        return program.sockets.iter().filter_map(|socket| of_program(seen, program, socket)).collect();
    }
    if seen.is_about_machine() {
        return seen.after.udp_sockets.iter().filter_map(|socket| of_machine(seen, socket)).collect();
    }
    of_doctor(seen).or_else(|| of_somebody(seen)).into_iter().collect()
}

fn of_program(seen: &Observation, program: &Program, socket: &ProgramSocket) -> Option<Finding> {
    let (before, after) = socket.drops;
    if after <= before {
        return None;
    }
    let local = socket.local?;
    let size =
        socket.receive_buffer.map(|size| Evidence::new(Sort::Socket, "SO_RCVBUF", format!("{size} bytes")));
    let finding = Finding::new(
        Id::ReceiveBufferOverflow,
        Severity::Fault,
        format!("{} does not read fast enough from its socket on {local}: {} datagrams found no room in its buffer.", program.name, after - before),
    )
    .by(&program.name)
    .because(Evidence::change(Sort::Counter, format!("drops of socket {} in /proc/net/udp", socket.inode), before, after))
    .because_all(size)
    .remedied(cures(seen));
    Some(finding)
}

/// What was dropped since the socket was opened may be long ago: a warning. Sockets bound to a group
/// are for multicast without doubt.
fn of_machine(seen: &Observation, socket: &UdpSocket) -> Option<Finding> {
    if socket.drops == 0 || !socket.local.ip().is_multicast() {
        return None;
    }
    let who = socket.programs.first().map_or("A program that cannot be seen", String::as_str);
    let finding = Finding::new(
        Id::ReceiveBufferOverflow,
        Severity::Warning,
        format!(
            "{who} has lost {} datagrams to {} for want of room in its socket's buffer.",
            socket.drops, socket.local
        ),
    )
    .of(socket.local)
    .by(who)
    .because(Evidence::new(
        Sort::Counter,
        format!("drops of socket {} in /proc/net/udp", socket.inode),
        socket.drops,
    ))
    .remedied(cures(seen));
    Some(finding)
}

/// That the doctor was too slow is no fault of the machine's, but a program of the same buffer would be, too.
fn of_doctor(seen: &Observation) -> Option<Finding> {
    let asked = seen.asked().filter(|asked| asked.dropped > 0)?;
    let finding = Finding::new(
        Id::ReceiveBufferOverflow,
        Severity::Note,
        format!(
            "The buffer of the doctor's own socket was too small for {}:{}: {} datagrams found no room.",
            asked.group, asked.port, asked.dropped
        ),
    )
    .of(format_args!("{}:{}", asked.group, asked.port))
    .because(Evidence::new(Sort::Counter, "SO_MEMINFO drops", asked.dropped))
    .remedied(cures(seen));
    Some(finding)
}

/// Where the system counts for all sockets together only (macOS, FreeBSD).
fn of_somebody(seen: &Observation) -> Option<Finding> {
    let wanted = seen.wanted().into_iter().next().filter(|_| seen.after.udp_sockets.is_empty())?;
    let name = Counter::ReceiveBufferErrors.name(wanted.family());
    let (before, after) = seen.values(name).filter(|(before, after)| after > before)?;
    let finding = Finding::new(
        Id::ReceiveBufferOverflow,
        Severity::Warning,
        format!("{} datagrams found no room in some program's socket while it was listened; whose, the system does not say.", after - before),
    )
    .because(Evidence::change(Sort::Counter, "netstat -s -p udp, dropped due to full socket buffers", before, after))
    .remedied(cures(seen));
    Some(finding)
}

fn cures(seen: &Observation) -> Vec<Remedy> {
    let mut cures = vec![Remedy::advice(
        Tool::Program,
        "Ask for a larger buffer (SO_RCVBUF, 4 MiB), read in batches (recvmmsg), and do the work in another thread than the reading.",
    )];
    if seen.after.number("net.core.rmem_max").is_some_and(|limit| limit < GENEROUS) {
        cures.extend(remedies::sysctl("net.core.rmem_max", GENEROUS));
    }
    cures
}
