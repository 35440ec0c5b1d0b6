//! How a querier asks: the timers and counters of RFC 3376 section 8 and RFC 3810 section 9.

use core::time::Duration;

use crate::gmp::{Address, Query};

/// How a querier asks. The default is that of the RFCs: the newest version, every 125 s, robustness 2, 10 s to
/// answer, 1 s for the last member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    older: bool,
    robustness: u8,
    query_interval: Duration,
    query_response_interval: Duration,
    last_member_query_interval: Duration,
}

/// Why nobody can ask so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Robustness is how many messages in a row may be lost, and one more.
    #[error("robustness is 1 to 7, not {0}")]
    Robustness(u8),
    /// Hosts would still answer when they are asked again (RFC 3376 section 8.3).
    #[error("hosts must answer sooner than they are asked again")]
    ResponseInterval,
    /// Shorter would be a flood; longer cannot be said in a query.
    #[error("the query interval is 1 s to 31,744 s")]
    QueryInterval,
    /// Shorter cannot be said in a query of IGMPv2; longer makes leaving slow.
    #[error("the time for the last member to answer is 0.1 s to 25.5 s")]
    LastMember,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            older: false,
            robustness: 2,
            query_interval: Duration::from_secs(125),
            query_response_interval: Duration::from_secs(10),
            last_member_query_interval: Duration::from_secs(1),
        }
    }
}

impl Settings {
    /// Asks in the older version, IGMPv2 or MLDv1, as it must be where a router or a switch knows no other
    /// (RFC 3376 section 7.3.1). Source lists mean nothing then.
    #[must_use]
    pub const fn older(self) -> Self {
        Self { older: true, ..self }
    }

    /// The same with this robustness: how many messages in a row may be lost, and one more.
    ///
    /// # Errors
    /// [`SettingsError::Robustness`].
    pub const fn with_robustness(self, robustness: u8) -> Result<Self, SettingsError> {
        match robustness {
            1..=7 => Ok(Self { robustness, ..self }),
            _ => Err(SettingsError::Robustness(robustness)),
        }
    }

    /// The same with a general query each so often, and so long for the answers.
    ///
    /// # Errors
    /// [`SettingsError::QueryInterval`], [`SettingsError::ResponseInterval`].
    pub fn with_intervals(self, query: Duration, response: Duration) -> Result<Self, SettingsError> {
        const LONGEST: Duration = Duration::from_secs(31_744);
        if query < Duration::from_secs(1) || query > LONGEST {
            return Err(SettingsError::QueryInterval);
        }
        if response >= query || response < Duration::from_millis(100) {
            return Err(SettingsError::ResponseInterval);
        }
        Ok(Self { query_interval: query, query_response_interval: response, ..self })
    }

    /// The same with so long for other members to answer when one has left.
    ///
    /// # Errors
    /// [`SettingsError::LastMember`].
    pub fn with_last_member_query_interval(self, interval: Duration) -> Result<Self, SettingsError> {
        if !(Duration::from_millis(100)..=Duration::from_millis(25_500)).contains(&interval) {
            return Err(SettingsError::LastMember);
        }
        Ok(Self { last_member_query_interval: interval, ..self })
    }

    /// How many messages in a row may be lost, and one more.
    #[must_use]
    pub const fn robustness(&self) -> u8 {
        self.robustness
    }

    /// The time between general queries.
    #[must_use]
    pub const fn query_interval(&self) -> Duration {
        self.query_interval
    }

    /// How long hosts may take to answer a general query.
    #[must_use]
    pub const fn query_response_interval(&self) -> Duration {
        self.query_response_interval
    }

    /// How long they may take when somebody has left a group; it is asked as often as
    /// [`Self::robustness`] says, at this interval.
    #[must_use]
    pub const fn last_member_query_interval(&self) -> Duration {
        self.last_member_query_interval
    }

    /// The time between general queries at the start: a quarter.
    #[must_use]
    pub fn startup_query_interval(&self) -> Duration {
        self.query_interval / 4
    }

    /// How long switches and routers remember a membership that is not reported again.
    #[must_use]
    pub fn group_membership_interval(&self) -> Duration {
        self.query_interval * u32::from(self.robustness) + self.query_response_interval
    }

    /// The version of the queries.
    #[must_use]
    pub const fn version<A: Address>(&self) -> u8 {
        if self.older { A::SOURCE_VERSION - 1 } else { A::SOURCE_VERSION }
    }

    pub(super) const fn has_sources<A: Address>(&self) -> bool {
        self.version::<A>() == A::SOURCE_VERSION
    }

    /// How long another querier may be silent before it counts as gone, by its own timers where it tells
    /// them (RFC 3376 sections 4.1.6, 4.1.7 and 8.5).
    pub(super) fn other_querier_present<A: Address>(&self, query: &Query<'_, A>) -> Duration {
        let told = query.source_query.as_ref();
        let robustness = told.map(|told| told.robustness).filter(|robustness| *robustness > 0);
        let interval = told.map(|told| told.interval).filter(|interval| !interval.is_zero());
        let robustness = u32::from(robustness.unwrap_or(self.robustness));
        // A group-specific query tells another response time, so the own one counts for all.
        interval.unwrap_or(self.query_interval) * robustness + self.query_response_interval / 2
    }
}
