//! What the speakers of a protocol without ports announce: which of them belong together, and what they have to agree on.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use mcast::InterfaceIndex;
use mcast_packet::Ip;
use mcast_packet::payload::{OspfHello, VrrpAdvertisement, VrrpChecksum};
use mcast_packet::protocol::{OSPF, VRRP};

/// The number of speakers of an instance that are recorded, which bounds the memory.
const MAX_SPEAKERS: usize = 64;
/// A master counts as down after this number of intervals (RFC 9568 section 6.1).
const MASTER_PATIENCE: u32 = 3;

/// A message of a speaker.
struct Message {
    instance: String,
    /// Whether an instance has one speaker only, unless it changes.
    is_exclusive: bool,
    /// What all speakers of the instance have to say alike.
    terms: Vec<(&'static str, String)>,
    interval: Duration,
    /// The silence after which the others give the speaker up.
    patience: Duration,
    resigns: bool,
    is_damaged: bool,
}

/// The speakers that belong together, such as the routers that share an address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Instance {
    pub(crate) is_exclusive: bool,
    pub(crate) speakers: BTreeMap<IpAddr, Speaker>,
    latest: Option<IpAddr>,
    /// How often a speaker was at work between two messages of another one that has not paused.
    pub(crate) overlaps: u64,
    /// The silence of all, if one takes over from the other.
    pub(crate) together: Silence,
}

/// What one speaker of an instance has sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Speaker {
    pub(crate) messages: u64,
    pub(crate) damaged: u64,
    /// What it has said last.
    pub(crate) terms: BTreeMap<&'static str, String>,
    pub(crate) silence: Silence,
}

/// The times at which nothing was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Silence {
    pub(crate) last: Option<SystemTime>,
    pub(crate) longest: Duration,
    pub(crate) patience: Duration,
    /// Whether the last message announced the end.
    pub(crate) is_announced: bool,
}

/// The instances of a protocol, by interface and name.
pub(crate) type Instances = BTreeMap<(InterfaceIndex, String), Instance>;

/// Records what a packet of a protocol says.
pub(crate) fn record(instances: &mut Instances, interface: InterfaceIndex, ip: &Ip<'_>, time: SystemTime) {
    if let Some(message) = Message::of(ip) {
        let instance = instances.entry((interface, message.instance.clone())).or_default();
        instance.add(ip.source, message, time);
    }
}

impl Message {
    fn of(ip: &Ip<'_>) -> Option<Self> {
        match ip.protocol {
            VRRP => VrrpAdvertisement::parse(ip.payload).map(|advertisement| Self::vrrp(ip, advertisement)),
            OSPF => OspfHello::parse(ip.payload).map(Self::ospf),
            _ => None,
        }
    }

    fn vrrp(ip: &Ip<'_>, advertisement: VrrpAdvertisement) -> Self {
        let VrrpAdvertisement { version, router, priority, interval, authentication } = advertisement;
        let checksum = VrrpChecksum::of(ip.source, ip.destination, ip.payload);
        let mut terms = vec![("version", version.to_string())];
        // Version 3 takes over the interval of the master.
        if let Some(authentication) = authentication {
            terms.push(("interval", format!("{} s", interval.as_secs_f64())));
            terms.push(("authentication type", authentication.to_string()));
        }
        let covered = match checksum {
            VrrpChecksum::Message => Some("the message alone"),
            VrrpChecksum::PseudoHeader => Some("addresses and message"),
            VrrpChecksum::Wrong => None,
        };
        terms.extend(covered.map(|covered| ("checksum", format!("over {covered}"))));
        Self {
            instance: format!("virtual router {router}"),
            is_exclusive: true,
            terms,
            interval,
            patience: interval * MASTER_PATIENCE,
            resigns: priority == 0,
            is_damaged: checksum == VrrpChecksum::Wrong,
        }
    }

    fn ospf(hello: OspfHello) -> Self {
        let OspfHello { area, instance, interval, dead_interval, mask, authentication, .. } = hello;
        // On a link between two routers, the mask is not compared.
        let mask = mask.filter(|_| !hello.designated_router.is_unspecified());
        let mut terms = vec![
            ("area", area.to_string()),
            ("hello interval", format!("{} s", interval.as_secs())),
            ("dead interval", format!("{} s", dead_interval.as_secs())),
        ];
        terms.extend(mask.map(|mask: Ipv4Addr| ("network mask", mask.to_string())));
        terms.extend(authentication.map(|kind| ("authentication type", kind.to_string())));
        Self {
            instance: instance.map_or_else(|| "link".to_owned(), |instance| format!("instance {instance}")),
            is_exclusive: false,
            terms,
            interval,
            patience: dead_interval,
            resigns: false,
            is_damaged: false,
        }
    }
}

impl Instance {
    fn add(&mut self, source: IpAddr, message: Message, time: SystemTime) {
        if self.speakers.len() >= MAX_SPEAKERS && !self.speakers.contains_key(&source) {
            return;
        }
        self.is_exclusive = message.is_exclusive;
        let speaker = self.speakers.entry(source).or_default();
        let is_steady = speaker.silence.since(time).is_some_and(|since| since * 2 <= message.interval * 3);
        if !message.resigns {
            self.overlaps += u64::from(is_steady && self.latest.is_some_and(|latest| latest != source));
            self.latest = Some(source);
        }
        self.together.end(&message, time);
        speaker.silence.end(&message, time);
        speaker.messages += 1;
        speaker.damaged += u64::from(message.is_damaged);
        speaker.terms = message.terms.into_iter().collect();
    }
}

impl Silence {
    /// Returns the time since the last message; `None` before the first.
    pub(crate) fn since(&self, time: SystemTime) -> Option<Duration> {
        Some(time.duration_since(self.last?).unwrap_or_default())
    }

    fn end(&mut self, message: &Message, time: SystemTime) {
        let pause = self.since(time).filter(|_| !self.is_announced).unwrap_or_default();
        let (patience, is_announced) = (message.patience, message.resigns);
        *self = Self { last: Some(time), longest: self.longest.max(pause), patience, is_announced };
    }
}
