//! A receiver and what it is expected to receive, and the demonstration on the loopback interface, which needs nothing else.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use mcast::interface::Interface;
use mcast::{Destination, Family, GroupAddr, InterfaceSelector, Membership, Receiver, Sender};
use mcast_terminal::Console;

use crate::narrator::{Form, Narrator, Scene, Show, Stage};
use crate::{DemoError, Event, LOOPBACK_HOSTS, VIRTUAL_HOSTS, on_loopback, on_virtual_hosts};

/// The timeout for an expected datagram, which normally takes less than a millisecond.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait before concluding that no datagram arrives.
pub(crate) const SILENCE: Duration = Duration::from_millis(150);

/// Returns the time left until `until`.
pub(crate) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// The sender of the datagrams. Those of other senders are ignored, because the demonstration may run several times on
/// this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// The TTL at the receiver; `None` if it is not compared, because not every system reports it.
    pub(crate) ttl: Option<u8>,
}

/// A receiver on a host.
pub(crate) struct Listener {
    host: String,
    receiver: Receiver,
    pub(crate) group: GroupAddr,
    /// The interfaces of the host: index and name.
    interfaces: Vec<(u32, String)>,
    origin: Origin,
}

impl Listener {
    /// Checks that a receiver has joined the group on these interfaces.
    pub(crate) fn new(
        host: &str,
        receiver: Receiver,
        (group, expected_on): (GroupAddr, &[&str]),
        interfaces: Vec<(u32, String)>,
        origin: Origin,
        stage: &mut Stage<'_>,
    ) -> Result<Self, DemoError> {
        let statuses = receiver.memberships();
        let joined = statuses.iter().flat_map(|status| &status.interfaces);
        let joined = joined.filter(|interface| interface.failure.is_none());
        let event = |names| Event::Joined { group: group.into(), interfaces: names };
        let expected = event(expected_on.iter().map(ToString::to_string).collect());
        stage.check(host, &event(joined.map(|interface| interface.name.clone()).collect()), &expected)?;
        Ok(Self { host: host.to_owned(), receiver, group, interfaces, origin })
    }

    /// Checks that this text arrives on this interface.
    pub(crate) fn check_received(
        &self,
        text: &str,
        interface: &str,
        stage: &mut Stage<'_>,
    ) -> Result<(), DemoError> {
        let Origin { address: source, ttl, .. } = self.origin;
        let (interface, text) = (interface.to_owned(), text.to_owned());
        let expected = Event::Received { group: self.group.into(), interface, source, ttl, text };
        Ok(stage.check(&self.host, &self.receive(TIMEOUT)?, &expected)?)
    }

    /// Checks that nothing arrives.
    pub(crate) fn check_silence(&self, until: Instant, stage: &mut Stage<'_>) -> Result<(), DemoError> {
        let expected = Event::ReceivedNothing { group: self.group.into() };
        Ok(stage.check(&self.host, &self.receive(left(until))?, &expected)?)
    }

    fn receive(&self, timeout: Duration) -> mcast::Result<Event> {
        let until = Instant::now() + timeout;
        let mut buffer = [0; 2048];
        while let Some(datagram) = self.receiver.recv_timeout(&mut buffer, left(until))? {
            if datagram.source.port() == self.origin.port {
                return Ok(Event::Received {
                    group: datagram.destination.into(),
                    interface: self.name_of(datagram.interface.number()),
                    source: datagram.source.ip(),
                    ttl: datagram.hop_limit.filter(|_| self.origin.ttl.is_some()),
                    text: String::from_utf8_lossy(datagram.payload()).into_owned(),
                });
            }
        }
        Ok(Event::ReceivedNothing { group: self.group.into() })
    }

    fn name_of(&self, index: u32) -> String {
        let known = self.interfaces.iter().find(|(known, _)| *known == index);
        known.map_or_else(|| format!("interface {index}"), |(_, name)| name.clone())
    }
}

const GROUPS: [&str; 2] = ["239.255.56.1:50001", "239.255.56.2:50001"];
const PICTURE: &str = "
     alice               bob                 carol
     receives            receives            sends to the one,
     239.255.56.1        239.255.56.2        then to the other
         │                   │                   │
    ─────┴───────────────────┴───────────────────┴─────  the loopback interface
";
const WHY: &str = "Both receivers use the same port, and each receives only what was sent to the group that it \
    joined: bob did not receive the first datagram, and alice did not receive the second.";

/// Shows one act on the loopback interface: two receivers of one port, each with its own group.
///
/// # Errors
/// An error of the system, or of `show`.
pub fn play(show: Show<'_>) -> Result<(), DemoError> {
    let [first, second] = GROUPS.map(str::parse::<GroupAddr>);
    let (first, second) = (first?, second?);
    let mut stage = Stage(show);
    stage.show(Scene::Title("real datagrams between three sockets on the loopback interface"))?;
    stage.show(Scene::Picture(PICTURE))?;
    stage.show(Scene::Act { name: "loopback", title: "One port, two groups" })?;

    let interface = loopback()?;
    let selector = InterfaceSelector::Index(interface.index);
    let to = |address| Destination { address, interface: Some(selector.clone()) };
    // Otherwise the system may choose an address of another interface to send from.
    let own = interface.addresses_of(Family::V4).next().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let carol = Sender::builder().to(to(first)).to(to(second)).source_address(own).build()?;
    let origin = Origin { address: own, port: carol.local_address(Family::V4)?.port(), ttl: None };
    let mut listen = |host, group| {
        let receiver = Receiver::join_one(Membership::new(group).on(selector.clone()))?;
        let interfaces = vec![(interface.index.number(), interface.name.clone())];
        Listener::new(host, receiver, (group, &[&interface.name]), interfaces, origin, &mut stage)
    };
    let (alice, bob) = (listen("alice", first)?, listen("bob", second)?);
    for (listener, text) in [(&alice, "Hello, World!"), (&bob, "Hello, bob!")] {
        carol.send_to(text.as_bytes(), listener.group)?;
        let (group, name) = (listener.group.into(), interface.name.clone());
        stage.report("carol", &Event::Sent { group, interface: name, text: text.to_owned() })?;
        listener.check_received(text, &interface.name, &mut stage)?;
    }
    let quiet_until = Instant::now() + SILENCE;
    alice.check_silence(quiet_until, &mut stage)?;
    bob.check_silence(quiet_until, &mut stage)?;
    Ok(stage.show(Scene::Explanation(WHY))?)
}

fn loopback() -> Result<Interface, DemoError> {
    let mut interfaces = mcast::interface::list()?.into_iter();
    interfaces.find(|interface| interface.loopback && interface.up).ok_or(DemoError::NoLoopback)
}

/// Show on real packets how multicast works, in a few seconds
///
/// Four hosts, two groups, a switch and a second network are built inside this process, from network
/// namespaces. Nothing leaves this machine, and nothing remains afterwards. Each step is checked; the
/// exit status is 0 if all checks pass.
///
/// Root is not needed where ordinary users may create user namespaces. Elsewhere, and on systems
/// other than Linux, a shorter demonstration runs on the loopback interface.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Print one JSON object per check
    #[arg(long, conflicts_with = "plain")]
    json: bool,

    /// Print plain ASCII, without colours and line drawing
    #[arg(long)]
    plain: bool,

    /// Run only the demonstration on the loopback interface
    #[arg(long)]
    loopback: bool,
}

const EXAMPLES: &str = "Examples:
  mcast demo
  mcast demo --plain | less
  mcast demo --json";

/// What to do after the demonstration on the loopback interface.
const ON_LOOPBACK: &str = "The rest of the demonstration needs Linux namespaces.";

/// Runs `mcast demo`, and returns whether all checks passed. `mcast` is what starts the command here, for the advice at the end.
///
/// # Errors
/// What ended the demonstration early. That virtual hosts cannot be created is not an error: a shorter demonstration
/// follows, after a warning.
pub fn run(arguments: &Arguments, console: &Console, mcast: &str) -> Result<bool, DemoError> {
    let form = arguments.form();
    if !arguments.loopback {
        let mut narrator = Narrator::new(console, form, VIRTUAL_HOSTS);
        match on_virtual_hosts(&mut |scene| narrator.show(scene)) {
            Ok(()) => {
                return Ok(narrator.end(
                    "lab",
                    &format!("Try it yourself: {mcast} lab shell four-hosts-flooding eastny"),
                )?);
            }
            Err(DemoError::NoVirtualHosts { why, remedy }) => {
                console.warn(format_args!("cannot create virtual hosts here: {why}"));
                console.help(remedy);
                console.note("Showing only the demonstration on the loopback interface.");
            }
            Err(error) => return Err(error),
        }
    }
    let mut narrator = Narrator::new(console, form, LOOPBACK_HOSTS);
    on_loopback(&mut |scene| narrator.show(scene))?;
    Ok(narrator.end("loopback", ON_LOOPBACK)?)
}

impl Arguments {
    fn form(&self) -> Form {
        match (self.json, self.plain) {
            (true, _) => Form::Json,
            (_, true) => Form::Ascii,
            _ => Form::Text,
        }
    }
}
