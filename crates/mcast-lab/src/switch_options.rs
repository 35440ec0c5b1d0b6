//! How a switch treats multicast.

use std::time::Duration;

use netlink_packet_route::link::InfoBridge;

use crate::InterfaceAddress;

/// The kernel counts the timers of bridges in hundredths of a second.
const TICKS_PER_SECOND: u128 = 100;

/// How a switch treats multicast. The default knows nothing of it and floods, as unmanaged switches do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchOptions {
    snooping: bool,
    querier: bool,
    igmp_version: u8,
    mld_version: u8,
    hash_max: u32,
    query_interval: Duration,
    query_response_interval: Duration,
    membership_interval: Duration,
    pub(crate) querier_address: Option<InterfaceAddress>,
}

impl Default for SwitchOptions {
    fn default() -> Self {
        Self {
            snooping: false,
            querier: false,
            igmp_version: 3,
            mld_version: 2,
            hash_max: 1 << 16,
            query_interval: Duration::from_secs(125),
            query_response_interval: Duration::from_secs(10),
            membership_interval: Duration::from_secs(260),
            querier_address: None,
        }
    }
}

impl SwitchOptions {
    /// A managed switch: snooping and querier on.
    #[must_use]
    pub fn managed() -> Self {
        Self::default().snooping(true).querier(true)
    }

    /// Whether groups go only to the ports that want them (RFC 4541). Needs a querier on the LAN: without one
    /// a Linux bridge floods, as it cannot tell who wants what.
    #[must_use]
    pub fn snooping(mut self, snooping: bool) -> Self {
        self.snooping = snooping;
        self
    }

    /// Whether the switch asks hosts for their groups. It limits groups to their members from the first
    /// moment, where a kernel bridge floods for [`query_response_interval`](Self::query_response_interval).
    #[must_use]
    pub fn querier(mut self, querier: bool) -> Self {
        self.querier = querier;
        self
    }

    /// The IGMP version of the querier, 2 or 3 (the default).
    #[must_use]
    pub fn igmp_version(mut self, version: u8) -> Self {
        self.igmp_version = version;
        self
    }

    /// The MLD version of the querier, 1 or 2 (the default).
    #[must_use]
    pub fn mld_version(mut self, version: u8) -> Self {
        self.mld_version = version;
        self
    }

    /// How many groups the switch can know, 65,536 unless told otherwise (the kernel's own default is 4,096).
    /// A full table turns snooping off, as the kernel does.
    #[must_use]
    pub fn hash_max(mut self, groups: u32) -> Self {
        self.hash_max = groups;
        self
    }

    /// The time between general queries, 125 s unless told otherwise (RFC 9776, 8.2).
    #[must_use]
    pub fn query_interval(mut self, interval: Duration) -> Self {
        self.query_interval = interval;
        self
    }

    /// The time that hosts have to answer a query, 10 s unless told otherwise (RFC 9776, 8.3).
    #[must_use]
    pub fn query_response_interval(mut self, interval: Duration) -> Self {
        self.query_response_interval = interval;
        self
    }

    /// How long a membership lasts without being reported again, 260 s unless told otherwise (RFC 9776, 8.4).
    #[must_use]
    pub fn membership_interval(mut self, interval: Duration) -> Self {
        self.membership_interval = interval;
        self
    }

    /// The source address of the querier's IGMP queries; without one they come from 0.0.0.0.
    #[must_use]
    pub fn querier_address(mut self, address: InterfaceAddress) -> Self {
        self.querier_address = Some(address);
        self
    }

    pub(crate) fn is_snooping(&self) -> bool {
        self.snooping
    }

    /// The options for the making. The response interval is zero until the querier is on: a bridge that
    /// becomes querier floods for one such interval.
    pub(crate) fn at_first(&self) -> Vec<InfoBridge> {
        vec![
            InfoBridge::MulticastSnooping(self.snooping),
            InfoBridge::MulticastIgmpVersion(self.igmp_version),
            InfoBridge::MulticastMldVersion(self.mld_version),
            InfoBridge::MulticastHashMax(self.hash_max),
            InfoBridge::MulticastQueryInterval(ticks(self.query_interval)),
            InfoBridge::MulticastStartupQueryInterval(ticks(self.query_interval / 4)),
            InfoBridge::MulticastMembershipInterval(ticks(self.membership_interval)),
            InfoBridge::MulticastQueryResponseInterval(0),
            InfoBridge::MulticastQueryUseIfaddr(self.querier_address.is_some()),
        ]
    }

    pub(crate) fn at_last(&self) -> Vec<InfoBridge> {
        vec![
            InfoBridge::MulticastQuerier(self.querier),
            InfoBridge::MulticastQueryResponseInterval(ticks(self.query_response_interval)),
        ]
    }
}

fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis() * TICKS_PER_SECOND / 1000).unwrap_or(u64::MAX)
}
