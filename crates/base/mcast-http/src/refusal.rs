//! Why a request is refused or a client is dropped, and how often that happened.

use std::net::SocketAddr;

mcast_group::named! {
    /// Why a request was refused, or a client dropped.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[non_exhaustive]
    pub enum HttpRefusal {
        /// It is not valid HTTP, or names nothing that can be served.
        Invalid = "invalid",
        /// It names a group that is not served.
        Group = "group",
        /// It names another host: with DNS rebinding, a page elsewhere could read what is served here.
        Host = "host",
        /// It comes from a page of another origin.
        Origin = "origin",
        /// It does not have the token that this server requires.
        Token = "token",
        /// There is nothing at this path.
        NotFound = "not-found",
        /// Only GET and HEAD are served.
        Method = "method",
        /// The request took too long.
        Timeout = "timeout",
        /// The request is too long.
        TooLarge = "too-large",
        /// A WebSocket was requested without its handshake.
        Upgrade = "upgrade",
        /// There are too many clients or streams.
        Busy = "busy",
        /// The interface from which it would be served cannot be used.
        LegDown = "leg-down",
        /// The client did not take what was sent to it.
        Stalled = "stalled",
    }
    /// Returns its name in JSON and metrics.
    fn name;
}

impl HttpRefusal {
    /// Returns the status line of the response, without its version.
    #[must_use]
    pub const fn status(self) -> &'static str {
        match self {
            Self::Invalid => "400 Bad Request",
            Self::Group | Self::Host | Self::Origin => "403 Forbidden",
            Self::Token => "401 Unauthorized",
            Self::NotFound => "404 Not Found",
            Self::Method => "405 Method Not Allowed",
            Self::Timeout | Self::Stalled => "408 Request Timeout",
            Self::TooLarge => "431 Request Header Fields Too Large",
            Self::Upgrade => "426 Upgrade Required",
            Self::Busy | Self::LegDown => "503 Service Unavailable",
        }
    }

    /// Returns the header that the status requires, as a line.
    pub(crate) const fn header(self) -> &'static str {
        match self {
            Self::Method => "Allow: GET, HEAD, OPTIONS\r\n",
            Self::Upgrade => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            Self::Busy | Self::LegDown => "Retry-After: 5\r\n",
            _ => "",
        }
    }
}

/// A refusal, with what to do about it in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRefused {
    /// The reason.
    pub reason: HttpRefusal,
    /// The reason and the remedy in words, as the client receives them.
    pub text: String,
}

/// Something that was refused, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpEvent {
    /// The address that the client was connected to.
    pub listener: SocketAddr,
    /// The client; the last one, if the event stands for several refusals.
    pub client: SocketAddr,
    /// What was refused.
    pub reason: HttpRefusal,
    /// How many refusals with the same reason it stands for: more than 1 if there were more than
    /// [`ReportQuota::LOG`](mcast_pace::ReportQuota::LOG) allows.
    pub count: u64,
    /// The reason in words, as the client receives it.
    pub text: String,
}

impl HttpRefused {
    /// Creates a refusal.
    #[must_use]
    pub fn new(reason: HttpRefusal, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }
}

/// How often something was refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalCounts([u64; HttpRefusal::ALL.len()]);

impl RefusalCounts {
    pub(crate) const NONE: Self = Self([0; HttpRefusal::ALL.len()]);

    /// Returns how often something was refused for this reason.
    #[must_use]
    pub const fn of(&self, reason: HttpRefusal) -> u64 {
        self.0[reason as usize]
    }

    /// Returns every reason for which something was refused, with the number.
    pub fn iter(&self) -> impl Iterator<Item = (HttpRefusal, u64)> + use<> {
        HttpRefusal::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    pub(crate) const fn add(&mut self, reason: HttpRefusal) {
        self.0[reason as usize] += 1;
    }
}
