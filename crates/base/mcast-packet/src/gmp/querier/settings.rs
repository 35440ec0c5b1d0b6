//! The settings of a querier: the timers and counters of RFC 3376 section 8 and RFC 3810 section 9.

use core::time::Duration;

use crate::gmp::Address;

/// The settings of a querier. The defaults are those of the RFCs: the latest version, query interval 125 s,
/// robustness 2, query response interval 10 s, last member query interval 1 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuerierSettings {
    older_version: bool,
    robustness: u8,
    query_interval: Duration,
    query_response_interval: Duration,
    startup_response_interval: Option<Duration>,
    last_member_query_interval: Duration,
}

/// Why a setting is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The robustness is out of range.
    #[error("robustness must be 1 to 7, not {0}")]
    Robustness(u8),
    /// The query response interval is not below the query interval (RFC 3376 section 8.3), or is below 100
    /// ms.
    #[error("the query response interval must be at least 0.1 s and less than the query interval")]
    ResponseInterval,
    /// The query interval is out of range. A shorter one would cause too much traffic; a longer one cannot be
    /// encoded in a query.
    #[error("the query interval must be 1 s to 31,744 s")]
    QueryInterval,
    /// The last member query interval is out of range. A shorter one cannot be encoded in an IGMPv2 query; a
    /// longer one delays leaving.
    #[error("the last member query interval must be 0.1 s to 25.5 s")]
    LastMember,
}

impl Default for QuerierSettings {
    fn default() -> Self {
        Self {
            older_version: false,
            robustness: 2,
            query_interval: Duration::from_secs(125),
            query_response_interval: Duration::from_secs(10),
            startup_response_interval: None,
            last_member_query_interval: Duration::from_secs(1),
        }
    }
}

impl QuerierSettings {
    /// Uses the older version, IGMPv2 or MLDv1. This is required where a router or a switch supports no newer
    /// version (RFC 3376 section 7.3.1). Queries then contain no source lists.
    #[must_use]
    pub const fn older(self) -> Self {
        Self { older_version: true, ..self }
    }

    /// Sets the robustness: one more than the number of consecutive messages that may be lost.
    ///
    /// # Errors
    /// Returns [`SettingsError::Robustness`] unless it is 1 to 7.
    pub const fn with_robustness(self, robustness: u8) -> Result<Self, SettingsError> {
        match robustness {
            1..=7 => Ok(Self { robustness, ..self }),
            _ => Err(SettingsError::Robustness(robustness)),
        }
    }

    /// Sets the query interval and the query response interval.
    ///
    /// # Errors
    /// Returns [`SettingsError::QueryInterval`] unless the query interval is 1 s to 31,744 s, and
    /// [`SettingsError::ResponseInterval`] unless the query response interval is at least 0.1 s and less than
    /// the query interval.
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

    /// Makes hosts respond to the general queries at startup within this time, so that memberships are known early.
    ///
    /// # Errors
    /// Returns [`SettingsError::ResponseInterval`] unless it is at least 0.1 s and at most the query response interval.
    pub fn with_startup_response_interval(self, response: Duration) -> Result<Self, SettingsError> {
        if response > self.query_response_interval || response < Duration::from_millis(100) {
            return Err(SettingsError::ResponseInterval);
        }
        Ok(Self { startup_response_interval: Some(response), ..self })
    }

    /// Sets the last member query interval.
    ///
    /// # Errors
    /// Returns [`SettingsError::LastMember`] unless it is 0.1 s to 25.5 s.
    pub fn with_last_member_query_interval(self, interval: Duration) -> Result<Self, SettingsError> {
        if !(Duration::from_millis(100)..=Duration::from_millis(25_500)).contains(&interval) {
            return Err(SettingsError::LastMember);
        }
        Ok(Self { last_member_query_interval: interval, ..self })
    }

    /// Returns the robustness: one more than the number of consecutive messages that may be lost.
    #[must_use]
    pub const fn robustness(&self) -> u8 {
        self.robustness
    }

    /// Returns the time between general queries.
    #[must_use]
    pub const fn query_interval(&self) -> Duration {
        self.query_interval
    }

    /// Returns the maximum time in which hosts respond to a general query.
    #[must_use]
    pub const fn query_response_interval(&self) -> Duration {
        self.query_response_interval
    }

    /// Returns the maximum time in which hosts respond to a general query at startup.
    #[must_use]
    pub fn startup_response_interval(&self) -> Duration {
        self.startup_response_interval.unwrap_or(self.query_response_interval)
    }

    /// Returns the maximum time in which the remaining members respond after a leave. It is also the interval
    /// of the group-specific queries, of which [`Self::robustness`] are sent.
    #[must_use]
    pub const fn last_member_query_interval(&self) -> Duration {
        self.last_member_query_interval
    }

    /// Returns the time between general queries at startup: a quarter of the query interval.
    #[must_use]
    pub fn startup_query_interval(&self) -> Duration {
        self.query_interval / 4
    }

    /// Returns how long switches and routers keep a membership that is not reported again.
    #[must_use]
    pub fn group_membership_interval(&self) -> Duration {
        self.query_interval * u32::from(self.robustness) + self.query_response_interval
    }

    /// Returns the protocol version of the queries.
    #[must_use]
    pub const fn version<A: Address>(&self) -> u8 {
        if self.older_version { A::SOURCE_VERSION - 1 } else { A::SOURCE_VERSION }
    }

    pub(super) const fn has_source_lists<A: Address>(&self) -> bool {
        self.version::<A>() == A::SOURCE_VERSION
    }

    /// Returns how long another querier may be silent before it counts as gone (RFC 3376 section 8.5), from the timers in
    /// its queries. These settings stand in for those that it does not state.
    #[must_use]
    pub fn other_querier_present_interval(
        &self,
        robustness: Option<u8>,
        interval: Option<Duration>,
        response_interval: Option<Duration>,
    ) -> Duration {
        interval.unwrap_or(self.query_interval) * u32::from(robustness.unwrap_or(self.robustness))
            + response_interval.unwrap_or(self.query_response_interval) / 2
    }
}
