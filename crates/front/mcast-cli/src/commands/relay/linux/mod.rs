//! Runs a relay, or checks what it would do.

mod export;
mod json;
mod text;

#[cfg(feature = "schema")]
pub(in crate::commands) use json::schemas;

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcast::{Wire, WireStatus};
use mcast_json::EventReport;
use mcast_metrics::BoundExporter;
use mcast_relay::driver::{
    CheckReport, Driver, DriverEvent, DriverOptions, TunnelDial, TunnelOptions, Unreceivable,
};
use mcast_relay::http::{HttpConfig, HttpRule};
use mcast_relay::{
    Leg, LocalDiscovery, Namespace, PairState, PairStatus, PathSide, PeerStatus, RelayConfig, RelayEvent,
    RelayId, RelayNames, Rule,
};
use mcast_terminal::Console;
use mcast_tunnel::LinkStatus;
use serde_json::Value;

use super::RelayPlan;
use super::tunnels::DialedTunnel;
use crate::arguments::Goal;
use crate::commands::relay::Arguments;
use crate::exit::Outcome;
use crate::interrupt::{Hangup, Interrupt, Service};
use crate::metrics;
use crate::receiving::WireNotes;
use crate::session::{Control, SessionSteps, Step};
use crate::sys::{self, Capability};
use export::Figures;
use json::RelaySummary;
use text::{EventPrinter, summary_lines};

pub(super) fn run(plan: RelayPlan<'_>, console: &Console) -> anyhow::Result<Outcome> {
    let bound = plan.arguments.metrics.as_ref().map(metrics::bind).transpose()?;
    let needs_namespaces = enters_namespaces(&plan.rules);
    let driver = open(&plan, console)?;
    keep_rights(needs_namespaces, plan.arguments.wire.policy())?;
    match plan.arguments.check {
        true => check(driver, plan.arguments.json, console),
        false => Session::new(driver, &plan, console).run(bound),
    }
}

fn open(plan: &RelayPlan<'_>, console: &Console) -> anyhow::Result<Driver> {
    let forwarding = &plan.arguments.forwarding;
    // Random: the hash has a key of its own in every process.
    let seed = RandomState::new().hash_one(std::process::id());
    let relay = RelayConfig {
        priority: forwarding.priority,
        max_paths: most_paths(forwarding.max_paths, console),
        path_idle: forwarding.path_idle,
        ports: forwarding.ports,
        authenticators: plan.authenticators.clone(),
        ..RelayConfig::new(plan.rules.clone(), seed)
    };
    let clients = &plan.arguments.clients;
    let mut http = HttpConfig {
        max_clients: clients.http_clients.into(),
        stall: clients.http_stall,
        playlist: plan.playlist.clone(),
        ..HttpConfig::new(seed)
    };
    http.access.hosts.clone_from(&clients.http_host);
    http.access.origins.clone_from(&clients.http_origin);
    http.access.token.clone_from(&plan.token);
    http.access.public_url.clone_from(&clients.http_public_url);
    http.access.proxies.clone_from(&clients.http_proxy);
    Ok(Driver::open(DriverOptions {
        relay,
        containers: Arc::new(process_of),
        sends_queries: !forwarding.no_querier,
        wire: plan.arguments.wire.policy(),
        tunnels: TunnelOptions {
            keys: plan.keys.clone(),
            dial: plan.arguments.tunnels.tunnel.iter().map(dial).collect(),
            listen: plan.arguments.tunnels.listen_tunnel,
        },
        http: (!plan.arguments.check).then_some(http),
        only_checks: plan.arguments.check,
    })?)
}

/// Returns how many sockets for copies the limit on open files leaves room for: one that cannot be opened would pause a rule.
fn most_paths(wanted: u16, console: &Console) -> usize {
    mcast_sys::process::raise_descriptor_limit();
    let limit = mcast_sys::process::descriptor_limit().unwrap_or(u64::MAX);
    // The other half is for the interfaces, HTTP clients and reports.
    let most = u16::try_from(limit / 2).unwrap_or(u16::MAX);
    if most < wanted {
        console.warn(format_args!(
            "at most {most} sockets for copies instead of {wanted}: this process may have {limit} open files"
        ));
        console.help(
            "raise the limit with `ulimit -n`, or `LimitNOFILE=` in the service's unit, or lower --max-paths",
        );
    }
    most.min(wanted).into()
}

fn dial(dialed: &DialedTunnel) -> TunnelDial {
    TunnelDial { name: dialed.name.clone(), host: dialed.host.clone() }
}

/// Drops the rights that sockets for interfaces that appear later do not need.
fn keep_rights(needs_namespaces: bool, wire: Wire) -> anyhow::Result<()> {
    let mut kept = vec![Capability::NetRaw, Capability::NetBindService];
    if wire != Wire::Off {
        // Groups are joined when hosts request them, so their frames are taken later.
        kept.extend([Capability::Bpf, Capability::NetAdmin, Capability::IpcLock]);
    }
    if needs_namespaces {
        kept.extend([Capability::SysAdmin, Capability::SysPtrace, Capability::DacReadSearch]);
    }
    sys::keep_rights_everywhere(&kept)
}

fn enters_namespaces(rules: &[Rule]) -> bool {
    let is_elsewhere =
        |leg: &Leg| !matches!(leg.namespace, Namespace::Own | Namespace::Amt(_) | Namespace::Tunnel);
    rules.iter().flat_map(Rule::legs).any(is_elsewhere)
}

/// The longest wait before checking for the end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The interval of figures for metrics.
const FIGURES_INTERVAL: Duration = Duration::from_secs(1);
/// The status for the service manager.
const STATUS: &str = "Relaying";

/// The state of `mcast relay`.
struct Session<'a> {
    driver: Driver,
    names: RelayNames,
    arguments: &'a Arguments,
    console: &'a Console,
    printer: EventPrinter<'a>,
    figures: Figures,
    next_figures: Instant,
    wire: WireNotes,
    loops: u64,
    /// Whether the playlist names a group.
    has_channels: bool,
}

impl<'a> Session<'a> {
    fn new(driver: Driver, plan: &RelayPlan<'a>, console: &'a Console) -> Self {
        let arguments = plan.arguments;
        Self {
            names: driver.relay().names(),
            driver,
            arguments,
            console,
            printer: EventPrinter::new(arguments.json, console),
            figures: Figures::default(),
            next_figures: Instant::now(),
            wire: WireNotes::default(),
            loops: 0,
            has_channels: plan.playlist.channels().next().is_some(),
        }
    }

    fn run(mut self, bound: Option<BoundExporter>) -> anyhow::Result<Outcome> {
        let (waker, start, service) = (self.driver.waker(), Instant::now(), Service::begin());
        // If the waker fails, the wait ends after its longest time.
        let interrupt = Interrupt::catch(move || drop(waker.wake()))?;
        let hangup = match self.arguments.has_files() {
            true => Some(Hangup::catch()?),
            // Rules of the command line cannot change. A service manager may request a reload anyway.
            false => service.hangups()?,
        };
        let goal = Goal::until(self.arguments.timeout, start);
        let mut control = Control::new(interrupt, goal, self.console).with_service(service, hangup);
        let _exporter = bound.map(|bound| self.figures.serve(bound, self.console)).transpose()?;
        if let Err(error) = self.figures.serve_locally() {
            self.console.note(format_args!("mcast doctor will not see what is not forwarded: {error}"));
        }
        if let Some(address) = self.arguments.tunnels.listen_tunnel {
            self.console.note(format_args!("listening for tunnels at {address}"));
        }
        if self.arguments.wire.policy() != Wire::Off {
            self.console.note(
                "the announcements of relays, and groups that several legs receive, are received by the sockets",
            );
        }
        // Several relays may serve HTTP clients.
        if self.driver.relay().pairs().next().is_some() {
            self.console.note("waiting 1.7 s for announcements of other relays before forwarding");
        }
        let ended = control.run(&mut self);
        self.driver.count_losses();
        let (time, lost) = (start.elapsed(), self.driver.counts().lost);
        let wire = wire_status(&self.driver, &self.names);
        let summary = RelaySummary::new(&self.driver, self.loops, time, &wire);
        self.wire.update(wire, self.console);
        let lines = summary_lines(&self.driver, time);
        // A relay with a time is a trial.
        let has_forwarded = self.arguments.timeout.is_none() || has_forwarded(&self.driver);
        // Another relay takes over at once.
        let stopped = self.driver.stop();
        self.print_events()?;
        self.printer.print_withheld(true)?;
        if !self.printer.print_json("summary", &summary)? {
            lines.iter().for_each(|line| self.console.note(line));
        }
        ended?;
        stopped?;
        if !has_forwarded {
            self.console.note("nothing was forwarded (--check shows which rules can forward)");
        }
        let is_complete = has_forwarded && self.loops == 0 && lost == 0;
        Ok(control.interrupt.outcome().unwrap_or_else(|| Outcome::of(is_complete)))
    }

    fn print_events(&mut self) -> anyhow::Result<()> {
        while let Some(event) = self.driver.next_event() {
            self.loops += u64::from(matches!(event, DriverEvent::Relay(RelayEvent::LoopFound { .. })));
            self.printer.print(&event, &self.names)?;
        }
        self.printer.print_withheld(false)
    }

    /// Replaces all of them, or nothing. Returns the number of rules.
    fn replace(&mut self) -> anyhow::Result<usize> {
        let rules = self.arguments.read_rules()?;
        let keys = self.arguments.tunnels.read_keys(&rules, self.console)?;
        let authenticators = self.arguments.read_authenticators(self.console)?;
        let token = self.arguments.clients.read_token(self.console)?;
        let playlist = self.arguments.clients.read_playlist(self.console)?;
        let has_channels = playlist.channels().next().is_some();
        // A download that failed leaves a page with an error, or an empty file.
        anyhow::ensure!(has_channels || !self.has_channels, "the playlist names no group any more");
        let count = rules.len();
        // Gateways of AMT, for example, cannot be served at every address.
        self.driver.replace_rules(rules)?;
        self.driver.set_tunnel_keys(&keys);
        self.driver.set_authenticators(authenticators);
        self.has_channels = has_channels;
        self.driver.set_http_access(token, playlist);
        Ok(count)
    }
}

impl SessionSteps for Session<'_> {
    fn step(&mut self, _: &mut Control<'_>, wait: Duration) -> anyhow::Result<Step> {
        self.driver.poll(wait)?;
        self.print_events()?;
        Ok(Step::Idle)
    }

    fn longest_wait(&mut self) -> Duration {
        POLL_INTERVAL
    }

    fn maintain(&mut self) -> anyhow::Result<()> {
        if self.next_figures <= Instant::now() {
            self.next_figures = Instant::now() + FIGURES_INTERVAL;
            self.figures.update(&self.driver, &self.names, self.loops);
            self.wire.update(wire_status(&self.driver, &self.names), self.console);
        }
        Ok(())
    }

    /// Rereads the rules, the key files, and the token and the playlist of HTTP clients. Unless all are valid, the current ones
    /// remain.
    fn reload(&mut self) -> anyhow::Result<()> {
        match self.replace() {
            Ok(count) => {
                self.names = self.driver.relay().names();
                let report = EventReport::new("reloaded", format!("reread the rules: {count}"));
                self.printer.print_report(report.with("count", count as u64))
            }
            Err(error) => {
                self.console.warn(format_args!("keeping the current rules and keys: {error:#}"));
                let report = EventReport::new("not-reloaded", "kept the current rules and keys".to_owned());
                self.printer.print_report(report.with("reason", format!("{error:#}")))
            }
        }
    }

    fn status(&self) -> String {
        STATUS.to_owned()
    }
}

/// Returns how the groups are received, on legs as rules name them.
fn wire_status(driver: &Driver, names: &RelayNames) -> Vec<WireStatus> {
    let mut statuses = driver.wire_status();
    statuses.iter_mut().for_each(|(leg, status)| names.leg(*leg).clone_into(&mut status.name));
    statuses.into_iter().map(|(_, status)| status).collect()
}

/// Returns whether anything has been sent anywhere, be it copies, streams of HTTP or datagrams of AMT.
fn has_forwarded(driver: &Driver) -> bool {
    driver.relay().rules().any(|(_, counts)| counts.copies + counts.replies > 0)
        || driver.http_counts().served > 0
        || driver.amt().sent > 0
}

fn check(mut driver: Driver, json: bool, console: &Console) -> anyhow::Result<Outcome> {
    let names = driver.relay().names();
    let rules: Vec<Rule> = driver.relay().rules().map(|(rule, _)| rule.clone()).collect();
    let mut printer = EventPrinter::new(json, console);
    while let Some(event) = driver.next_event() {
        printer.print(&event, &names)?;
    }
    console.note("listening for other relays");
    let CheckReport { pairs, peers, tunnels, http, unreceivable } = driver.check()?;
    peers.iter().try_for_each(|peer| printer.print_report(of_peer(peer, &names)))?;
    peers
        .iter()
        .filter_map(|peer| of_chain(peer, &pairs, &names))
        .try_for_each(|it| printer.print_report(it))?;
    tunnels.iter().try_for_each(|tunnel| printer.print_report(of_tunnel(tunnel)))?;
    let problem_of =
        |pair: &PairStatus| unreceivable.iter().find(|it| (it.rule, it.from) == (pair.rule, pair.from));
    pairs.iter().try_for_each(|pair| {
        printer.print_report(of_pair(pair, problem_of(pair), rules.get(pair.rule), &names))
    })?;
    http.iter().try_for_each(|rule| printer.print_report(of_http(rule, &names)))?;
    let can_forward = unreceivable.is_empty() && pairs.iter().all(|pair| pair.state != PairState::Down);
    Ok(Outcome::of(can_forward && http.iter().all(|rule| hindrance(rule).is_none())))
}

/// Returns why nothing can be served for a rule.
fn hindrance(rule: &HttpRule) -> Option<&'static str> {
    // Another port: a running relay may use this one.
    let has_address = || UdpSocket::bind((rule.listener.ip(), 0)).is_ok();
    match rule.is_up {
        false => Some("the interface is unusable"),
        true => (!has_address()).then_some("this machine does not have the address"),
    }
}

fn of_http(rule: &HttpRule, names: &RelayNames) -> EventReport {
    let (from, to, text) = (&rule.leg_name, format!("http://{}", rule.listener), names.rule(rule.rule));
    let (event, words) = match hindrance(rule) {
        None => ("would-serve", format!("would serve from {from} at {to}, while clients request it: {text}")),
        Some(why) => ("cannot-serve", format!("cannot serve from {from} at {to}, {why}: {text}")),
    };
    EventReport::new(event, words).with("rule", text).with("from", from.clone()).with("to", to)
}

fn of_peer(peer: &PeerStatus, names: &RelayNames) -> EventReport {
    let legs: Vec<_> = peer.legs.iter().map(|leg| names.leg(*leg)).collect();
    let addresses: Vec<_> = peer.addresses.iter().map(ToString::to_string).collect();
    let text = format!(
        "relay {} with priority {} is on {}: {}",
        peer.relay,
        peer.priority,
        legs.join(", "),
        addresses.join(", ")
    );
    EventReport::new("relay-appeared", text)
        .with("relay", peer.relay.to_string())
        .with("priority", u64::from(peer.priority))
        .with("addresses", peer.addresses.clone())
        .with("leg", legs.first().copied())
}

/// A relay that is on the leg that a rule forwards from, but not on the one that it forwards to.
fn of_chain(peer: &PeerStatus, pairs: &[PairStatus], names: &RelayNames) -> Option<EventReport> {
    let is_chain = |pair: &&PairStatus| {
        peer.legs.contains(&pair.from) && matches!(pair.to, PathSide::Leg(to) if !peer.legs.contains(&to))
    };
    let pair = pairs.iter().find(is_chain)?;
    let (from, to, relay) = (names.leg(pair.from), names.side(pair.to), peer.relay);
    let text = format!(
        "relay {relay} is on {from} but not on {to}: the copies that it sends on {from} would not be forwarded to {to}"
    );
    let remedy = "forward from where their sources are, or connect the relays by a tunnel";
    let report = EventReport::new("chain-found", text)
        .with("rule", names.rule(pair.rule))
        .with("relay", relay.to_string())
        .with("from", from)
        .with("to", to);
    Some(report.with_remedy(Some(remedy.into())))
}

fn of_tunnel(tunnel: &LinkStatus) -> EventReport {
    let leg = format!("tunnel:{}", tunnel.name);
    match tunnel.peer {
        Some((relay, address)) => {
            let text = format!("{leg} is up: relay {} at {address}", RelayId(relay));
            EventReport::new("tunnel-up", text)
                .with("leg", leg)
                .with("relay", RelayId(relay).to_string())
                .with("peer", address.to_string())
        }
        None => {
            let text = format!("{leg} is down: its peer does not answer or connect, or refuses it");
            EventReport::new("tunnel-down", text).with("leg", leg)
        }
    }
}

/// Returns where unicast answers of hosts go, and that in words; `None` if there are none, or they are to the group.
fn answers(rule: &Rule, pair: &PairStatus, from: &str, to: &str) -> Option<(&'static str, String)> {
    // Hosts answer these to the group.
    let is_by_group = rule.traffic.protocol == Some(LocalDiscovery::Mdns);
    if is_by_group || rule.no_replies || !matches!(pair.to, PathSide::Leg(_)) {
        return None;
    }
    Some(match rule.keep_source {
        true => (
            "sender",
            format!(
                "; hosts on {to} answer the sender itself: they need a route to the network of {from}, and their reverse path filter must accept it"
            ),
        ),
        false => ("relay", format!("; answers have the address of the relay on {from}")),
    })
}

fn of_pair(
    pair: &PairStatus,
    problem: Option<&Unreceivable>,
    rule: Option<&Rule>,
    names: &RelayNames,
) -> EventReport {
    let (text, from, to) = (names.rule(pair.rule), names.leg(pair.from), names.side(pair.to));
    let report = match (pair.state, problem) {
        (PairState::Down, _) => EventReport::new(
            "cannot-forward",
            format!(
                "cannot forward from {from} to {to}, an interface or tunnel is unusable or both are on the same segment: {text}"
            ),
        ),
        (_, Some(Unreceivable { problem, remedy, .. })) => {
            let words = format!("cannot forward from {from} to {to}, {problem}: {text}");
            let report = EventReport::new("cannot-forward", words).with("reason", problem.clone());
            report.with_remedy(remedy.clone())
        }
        (PairState::Standby(relay), None) => {
            let words = format!("would stand by from {from} to {to}, relay {relay} forwards: {text}");
            EventReport::new("would-stand-by", words).with("relay", relay.to_string())
        }
        (PairState::Forwarding | PairState::Listening { .. }, None) => {
            let (whose, answers) = rule.and_then(|rule| answers(rule, pair, from, &to)).unzip();
            let words = format!("would forward from {from} to {to}: {text}{}", answers.unwrap_or_default());
            EventReport::new("would-forward", words).with("answers", whose)
        }
    };
    report.with("rule", text).with("from", from).with("to", to)
}

/// Where the engines listen: Docker, and Podman with the same interface.
const SOCKETS: [&str; 2] = ["/run/docker.sock", "/run/podman/podman.sock"];
/// The relay waits for the answer.
const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_ANSWER: u64 = 1 << 20;

/// Returns the number of the first process of a container.
fn process_of(name: &str) -> Result<u32, Box<dyn Error + Send + Sync>> {
    if !name.chars().all(|sign| sign.is_ascii_alphanumeric() || "_.-".contains(sign)) {
        return Err(format!("\"{name}\" is not a valid name of a container").into());
    }
    let answer = ask(connect()?, name)?;
    process_in(&answer, name)
}

fn connect() -> io::Result<UnixStream> {
    let host = std::env::var("DOCKER_HOST").ok();
    let named = host.as_deref().and_then(|host| host.strip_prefix("unix://"));
    let sockets = named.map_or_else(|| SOCKETS.to_vec(), |named| vec![named]);
    let mut result = Err(io::ErrorKind::NotFound.into());
    for socket in &sockets {
        result = UnixStream::connect(socket);
        match &result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => break,
        }
    }
    result.map_err(|error| {
        let sockets = sockets.join(" or ");
        io::Error::new(error.kind(), format!("cannot connect to the container engine at {sockets}: {error}"))
    })
}

fn ask(mut engine: UnixStream, name: &str) -> io::Result<String> {
    engine.set_read_timeout(Some(TIMEOUT))?;
    engine.set_write_timeout(Some(TIMEOUT))?;
    write!(engine, "GET /containers/{name}/json HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    engine.take(MAX_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

fn process_in(answer: &str, name: &str) -> Result<u32, Box<dyn Error + Send + Sync>> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the container engine gave no valid answer")?;
    match head.split_whitespace().nth(1) {
        Some("200") => {}
        Some("404") => return Err(format!("there is no container \"{name}\"").into()),
        status => return Err(format!("the container engine answered {}", status.unwrap_or("nothing")).into()),
    }
    let body: Value = serde_json::from_str(body)?;
    let process = body["State"]["Pid"].as_u64().and_then(|process| u32::try_from(process).ok());
    process
        .filter(|process| *process > 0)
        .ok_or_else(|| format!("container \"{name}\" is not running").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_of_a_running_container_is_found() {
        let answer = |status: &str, body: &str| format!("HTTP/1.0 {status}\r\nA: b\r\n\r\n{body}");
        let process = |answer: &str| process_in(answer, "web").map_err(|error| error.to_string());
        assert_eq!(process(&answer("200 OK", r#"{"State": {"Pid": 4711}}"#)), Ok(4711));
        let stopped = process(&answer("200 OK", r#"{"State": {"Pid": 0}}"#));
        assert_eq!(stopped, Err("container \"web\" is not running".into()));
        let missing = process(&answer("404 Not Found", "{}"));
        assert_eq!(missing, Err("there is no container \"web\"".into()));
        assert!(process("").is_err() && process(&answer("200 OK", "no JSON")).is_err());
    }

    #[test]
    fn a_name_cannot_change_the_request() {
        assert!(process_of("web/json HTTP/1.0\r\n").is_err());
    }
}
