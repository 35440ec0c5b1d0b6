//! The multicast options of a switch.

use std::time::Duration;

use netlink_packet_route::link::InfoBridge;

use crate::CidrAddress;

/// The unit of bridge timers in netlink is a hundredth of a second (`USER_HZ`).
const TICKS_PER_SECOND: u128 = 100;

/// The multicast options of a switch. By default it floods multicast, like an unmanaged switch.
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
    pub(crate) querier_address: Option<CidrAddress>,
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
    /// Returns the options of a managed switch, with snooping and querier on.
    #[must_use]
    pub fn managed() -> Self {
        Self::default().snooping(true).querier(true)
    }

    /// Sets whether the switch forwards groups only to the ports of their members (RFC 4541). Snooping needs a querier
    /// on the LAN. Without one a Linux bridge floods, because it does not learn the members.
    #[must_use]
    pub fn snooping(mut self, snooping: bool) -> Self {
        self.snooping = snooping;
        self
    }

    /// Sets whether the switch is a querier, which sends general queries to the hosts. With snooping it limits groups
    /// to their members from the start, whereas a kernel bridge would first flood for
    /// [`query_response_interval`](Self::query_response_interval).
    #[must_use]
    pub fn querier(mut self, querier: bool) -> Self {
        self.querier = querier;
        self
    }

    /// Sets the IGMP version of the querier: 2 or 3 (the default).
    #[must_use]
    pub fn igmp_version(mut self, version: u8) -> Self {
        self.igmp_version = version;
        self
    }

    /// Sets the MLD version of the querier: 1 or 2 (the default).
    #[must_use]
    pub fn mld_version(mut self, version: u8) -> Self {
        self.mld_version = version;
        self
    }

    /// Sets the maximum number of groups in the table of the switch, 65,536 by default (the kernel's own default is
    /// 4,096). When the table is full the kernel turns snooping off.
    #[must_use]
    pub fn hash_max(mut self, groups: u32) -> Self {
        self.hash_max = groups;
        self
    }

    /// Sets the time between general queries, 125 s by default (RFC 9776, section 8.2).
    #[must_use]
    pub fn query_interval(mut self, interval: Duration) -> Self {
        self.query_interval = interval;
        self
    }

    /// Sets the time within which hosts respond to a query, 10 s by default (RFC 9776, section 8.3).
    #[must_use]
    pub fn query_response_interval(mut self, interval: Duration) -> Self {
        self.query_response_interval = interval;
        self
    }

    /// Sets the time after which a membership expires that is not reported again, 260 s by default (RFC 9776,
    /// section 8.4).
    #[must_use]
    pub fn membership_interval(mut self, interval: Duration) -> Self {
        self.membership_interval = interval;
        self
    }

    /// Sets the source address of the querier's IGMP queries, 0.0.0.0 by default.
    #[must_use]
    pub fn querier_address(mut self, address: CidrAddress) -> Self {
        self.querier_address = Some(address);
        self
    }

    pub(crate) fn is_snooping(&self) -> bool {
        self.snooping
    }

    /// Returns whether the bridge sends queries, which the kernel only does with snooping.
    pub(crate) fn sends_queries(&self) -> bool {
        self.snooping && self.querier
    }

    /// Returns the attributes to create the bridge with. The response interval is 0 until the querier is on, because a
    /// bridge that becomes querier floods for one response interval.
    pub(crate) fn initial_attributes(&self) -> Vec<InfoBridge> {
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
            // Otherwise a timer moves a port whose state is set to "learning" on to "forwarding" 15 s after it came up,
            // although there is no spanning tree.
            InfoBridge::ForwardDelay(0),
        ]
    }

    /// Returns the attributes to set when the bridge is up and has its addresses.
    pub(crate) fn final_attributes(&self) -> Vec<InfoBridge> {
        vec![
            InfoBridge::MulticastQuerier(self.querier),
            InfoBridge::MulticastQueryResponseInterval(ticks(self.query_response_interval)),
        ]
    }
}

fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis() * TICKS_PER_SECOND / 1000).unwrap_or(u64::MAX)
}
