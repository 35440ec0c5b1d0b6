//! Two hosts on two networks, and helpers for tests on them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mcast::{
    Arrival, Family, Group, GroupAddr, InterfaceIndex, InterfaceSelector, Membership, Receiver,
    ReceiverBuilder, Sender, SenderBuilder, Wire,
};
use mcast_lab::{Cable, Host, Lab, Switch};

/// How long a test waits for something that must happen.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// The port that tests use, each on networks of its own.
pub(crate) const PORT: u16 = 7000;

/// The environment variable that makes the tests use cables of the machine (see [`cable`]) if it is set.
const CABLES: &str = "MCAST_TEST_CABLES";

/// The hosts `sender` and `receiver`, both with `eth0` on one network and `eth1` on another.
pub(crate) struct Net {
    pub(crate) lab: Lab,
    pub(crate) switches: [Switch; 2],
    pub(crate) sender: Host,
    pub(crate) receiver: Host,
    pub(crate) family: Family,
    /// Whether receivers use GRO, unless a test decides.
    pub(crate) gro: bool,
    /// Whether receivers take datagrams off the interface, unless a test decides.
    pub(crate) wire: Wire,
    /// The cables of the sender and of the receiver to both networks. Without them, they are virtual.
    pub(crate) cables: Option<[[Cable; 2]; 2]>,
}

/// Returns a cable of the machine that runs the tests with `cargo verify --only kernel`. That machine gives its network cards
/// these addresses, and has the cables once for each test that runs at the same time.
fn cable(number: u8) -> Cable {
    let slot = std::env::var("NEXTEST_TEST_GLOBAL_SLOT").map_or(0, |slot| slot.parse().unwrap());
    let end = |end| [0x02, b'c', b'a', b'b', CABLES_PER_TEST * slot + number, end];
    Cable::new(end(0), end(1)).unwrap()
}

/// One to each network for the sender and for the receiver, and one whose cards have several queues.
const CABLES_PER_TEST: u8 = 5;

impl Net {
    pub(crate) fn new(family: Family) -> Self {
        let lab = Lab::new().unwrap();
        let switches = [lab.switch("lan0").unwrap(), lab.switch("lan1").unwrap()];
        let (sender, receiver) = (lab.host("sender").unwrap(), lab.host("receiver").unwrap());
        let cables = std::env::var_os(CABLES).map(|_| [[cable(0), cable(1)], [cable(2), cable(3)]]);
        let net = Self { lab, switches, sender, receiver, family, gro: true, wire: Wire::Off, cables };
        for network in [0, 1] {
            net.connect(&net.sender, network);
            net.connect(&net.receiver, network);
        }
        net
    }

    /// Connects the sender or the receiver to a network.
    pub(crate) fn connect(&self, host: &Host, network: u8) {
        let last = if host.name() == "sender" { 1 } else { 2 };
        let addresses = [format!("10.0.{network}.{last}/24"), format!("fd00:{network}::{last}/64")];
        let addresses = [&*addresses[0], &*addresses[1]];
        let (name, switch) = (format!("eth{network}"), &self.switches[usize::from(network)]);
        let connected = match self.cable(host, network) {
            Some(cable) => host.connect_by(cable, &name, switch, &addresses),
            None => host.connect(&name, switch, &addresses),
        };
        connected.unwrap();
    }

    /// Deletes the interface of the sender or the receiver on a network.
    pub(crate) fn disconnect(&self, host: &Host, network: u8) {
        let name = format!("eth{network}");
        let deleted = match self.cable(host, network) {
            Some(cable) => host.give_back(&name, cable),
            None => host.delete_interface(&name),
        };
        deleted.unwrap();
    }

    fn cable(&self, host: &Host, network: u8) -> Option<&Cable> {
        let number = usize::from(host.name() != "sender");
        self.cables.as_ref().map(|cables| &cables[number][usize::from(network)])
    }

    /// Connects the receiver's `many`, a network card with several queues, to the network of `eth0`, if the machine has one.
    pub(crate) fn connect_card_with_queues(&self) -> bool {
        let has_cards = self.cables.is_some();
        if has_cards {
            let addresses = ["10.0.0.3/24", "fd00::3/64"];
            self.receiver.connect_by(&cable(4), "many", &self.switches[0], &addresses).unwrap();
        }
        has_cards
    }

    /// Returns the test's group with this number.
    pub(crate) fn group(&self, number: u16) -> GroupAddr {
        let [high, low] = number.to_be_bytes();
        let group: Group = match self.family {
            Family::V4 => format!("239.1.{high}.{low}").parse().unwrap(),
            Family::V6 => format!("ff15::1:{number:x}").parse().unwrap(),
        };
        GroupAddr::new(group, PORT)
    }

    /// Returns the address of a host (1 is the sender, 2 the receiver) on a network.
    pub(crate) fn address(&self, network: u8, host: u8) -> IpAddr {
        match self.family {
            Family::V4 => format!("10.0.{network}.{host}").parse().unwrap(),
            Family::V6 => format!("fd00:{network}::{host}").parse().unwrap(),
        }
    }

    /// Adds another address to the sender's `eth0`, as another source.
    pub(crate) fn another_source(&self, number: u8) -> IpAddr {
        let (address, prefix): (IpAddr, u8) = match self.family {
            Family::V4 => (format!("10.0.0.{}", 100 + number).parse().unwrap(), 24),
            Family::V6 => (format!("fd00::{}", 100 + u16::from(number)).parse().unwrap(), 64),
        };
        self.sender.add_address("eth0", &format!("{address}/{prefix}")).unwrap();
        address
    }

    /// Returns a membership of a group on a named interface.
    pub(crate) fn on(&self, interface: &str, group: GroupAddr) -> Membership {
        Membership::new(group).on(InterfaceSelector::Name(interface.into()))
    }

    /// Opens a receiver on the host `receiver`.
    pub(crate) fn receiver(
        &self,
        settings: impl FnOnce(ReceiverBuilder) -> ReceiverBuilder + Send,
    ) -> Receiver {
        self.try_receiver(settings).unwrap()
    }

    pub(crate) fn try_receiver(
        &self,
        settings: impl FnOnce(ReceiverBuilder) -> ReceiverBuilder + Send,
    ) -> mcast::Result<Receiver> {
        self.receiver.run(|| settings(Receiver::builder().gro(self.gro).wire(self.wire)).build()).unwrap()
    }

    /// Opens a receiver of these memberships.
    pub(crate) fn joined(&self, memberships: &[Membership]) -> Receiver {
        self.receiver(|builder| builder.join_all(memberships.iter().cloned()))
    }

    /// Calls `send` with a sender on the host `sender`.
    pub(crate) fn send_with<T: Send>(
        &self,
        settings: impl FnOnce(SenderBuilder) -> SenderBuilder + Send,
        send: impl FnOnce(&Sender) -> T + Send,
    ) -> T {
        self.sender.run(|| send(&settings(Sender::builder()).build().unwrap())).unwrap()
    }

    /// Sends a datagram by an interface.
    pub(crate) fn send(&self, interface: &str, to: GroupAddr, payload: &[u8]) {
        // A host with several addresses may choose any, so the test specifies one.
        let source = self.address(u8::from(interface == "eth1"), 1);
        let interface = InterfaceSelector::Name(interface.into());
        self.send_with(
            |builder| builder.interface(interface).source_address(source),
            |sender| sender.send_to(payload, to).unwrap(),
        );
    }

    /// Sends a datagram by `eth0` from this address.
    pub(crate) fn send_from(&self, source: IpAddr, to: GroupAddr, payload: &[u8]) {
        let interface = InterfaceSelector::Name("eth0".into());
        self.send_with(
            |builder| builder.interface(interface).source_address(source),
            |sender| sender.send_to(payload, to).unwrap(),
        );
    }

    /// Sends this many datagrams, and waits until they have reached the host `receiver`: on a busy
    /// machine, the kernel may deliver them a while after they were sent.
    pub(crate) fn until_arrived(&self, datagrams: u64, send: impl FnOnce()) {
        let before = self.packets_received();
        send();
        let deadline = Instant::now() + TIMEOUT;
        while self.packets_received() < before + datagrams {
            assert!(Instant::now() < deadline, "{datagrams} datagrams did not arrive before the deadline");
            std::thread::yield_now();
        }
    }

    /// Returns the number of packets that the IP layer of the host `receiver` has received.
    fn packets_received(&self) -> u64 {
        let (table, position) = match self.family {
            Family::V4 => ("snmp", 3),
            Family::V6 => ("snmp6", 1),
        };
        let text = self.receiver.read_proc_net(table).unwrap();
        let is_counter = |line: &&str| line.starts_with("Ip6InReceives ") || line.starts_with("Ip: ");
        let line = text.lines().rfind(is_counter).unwrap();
        line.split_whitespace().nth(position).unwrap().parse().unwrap()
    }

    /// Returns the number of UDP datagrams that the kernel of the host `receiver` has passed to a socket.
    pub(crate) fn datagrams_seen_by_the_kernel(&self) -> u64 {
        let text = match self.family {
            Family::V4 => self.receiver.read_proc_net("snmp").unwrap(),
            Family::V6 => self.receiver.read_proc_net("snmp6").unwrap(),
        };
        let is_counter = |line: &&str| line.starts_with("Udp6InDatagrams") || line.starts_with("Udp: ");
        text.lines().rfind(is_counter).unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn index(&self, host: &Host, interface: &str) -> InterfaceIndex {
        InterfaceIndex::new(host.interface_index(interface).unwrap()).unwrap()
    }
}

/// A received datagram, with its payload as text.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedDatagram {
    pub(crate) text: String,
    pub(crate) arrival: Arrival,
}

pub(crate) fn next(receiver: &Receiver) -> ReceivedDatagram {
    let mut buffer = vec![0; 65_536];
    let datagram = receiver.recv_timeout(&mut buffer, TIMEOUT).unwrap().unwrap_or_else(|| {
        let (statistics, wire) = (receiver.statistics(), receiver.wire_status());
        panic!("nothing arrived before the deadline; {statistics:?}, {wire:?}")
    });
    ReceivedDatagram {
        text: String::from_utf8_lossy(datagram.payload()).into_owned(),
        arrival: *datagram.arrival(),
    }
}

/// Receives until the datagram with this text arrives; returns all received, including that one.
pub(crate) fn until(receiver: &Receiver, last: &str) -> Vec<ReceivedDatagram> {
    let deadline = Instant::now() + TIMEOUT;
    let mut received = Vec::new();
    loop {
        assert!(Instant::now() < deadline, "\"{last}\" did not arrive before the deadline, but {received:?}");
        let one = next(receiver);
        let done = one.text == last;
        received.push(one);
        if done {
            return received;
        }
    }
}

/// Returns the texts of [`until`].
pub(crate) fn texts_until(receiver: &Receiver, last: &str) -> Vec<String> {
    until(receiver, last).into_iter().map(|received| received.text).collect()
}

/// Creates a test for each family from a function that takes a [`Net`], by the sockets and off the interface.
/// `with_and_without_gro` adds one without GRO, as on systems that do not have it. Those after `by_the_sockets` are about
/// what only the kernel's network stack does: coalescing, its counters, and one order of several interfaces.
macro_rules! both_families {
    (with_and_without_gro: $($name:ident),+ $(,)? $(; by_the_sockets: $($only:ident),+ $(,)?)?) => {
        both_families!($($name),+ $(; by_the_sockets: $($only),+)?);
        mod without_gro {
            use crate::net::Net;
            $(#[test] fn $name() { super::$name(&Net { gro: false, ..Net::new(mcast::Family::V4) }); })+
            $($(#[test] fn $only() { super::$only(&Net { gro: false, ..Net::new(mcast::Family::V4) }); })+)?
        }
    };
    ($($name:ident),+ $(,)? $(; by_the_sockets: $($only:ident),+ $(,)?)?) => {
        mod v4 {
            $(#[test] fn $name() { super::$name(&crate::net::Net::new(mcast::Family::V4)); })+
            $($(#[test] fn $only() { super::$only(&crate::net::Net::new(mcast::Family::V4)); })+)?
        }
        mod v6 {
            $(#[test] fn $name() { super::$name(&crate::net::Net::new(mcast::Family::V6)); })+
            $($(#[test] fn $only() { super::$only(&crate::net::Net::new(mcast::Family::V6)); })+)?
        }
        mod wire {
            use crate::net::Net;
            mod v4 {
                $(#[test] fn $name() { super::super::$name(&super::on_the_wire(mcast::Family::V4)); })+
            }
            mod v6 {
                $(#[test] fn $name() { super::super::$name(&super::on_the_wire(mcast::Family::V6)); })+
            }
            fn on_the_wire(family: mcast::Family) -> Net {
                Net { wire: mcast::Wire::Auto, ..Net::new(family) }
            }
        }
    };
}
pub(crate) use both_families;
