//! Why a request is refused or a client is dropped, and how often that happened.

/// Why a request was refused, or a client dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HttpRefusal {
    /// It is not valid HTTP, or does not name a group.
    Invalid,
    /// No rule names the group.
    Group,
    /// It names another host: with DNS rebinding, a page elsewhere could read what is served here.
    Host,
    /// It comes from a page of another origin.
    Origin,
    /// It does not have the token that this server requires.
    Token,
    /// There is nothing at this path.
    NotFound,
    /// Only GET and HEAD are served.
    Method,
    /// The request took too long.
    Timeout,
    /// The request is too long.
    TooLarge,
    /// A WebSocket was requested without its handshake.
    Upgrade,
    /// There are too many clients or streams.
    Busy,
    /// The interface of the rule cannot be used.
    LegDown,
    /// The client did not take what was sent to it.
    Stalled,
}

impl HttpRefusal {
    const COUNT: usize = Self::Stalled as usize + 1;
    const ALL: [Self; Self::COUNT] = [
        Self::Invalid,
        Self::Group,
        Self::Host,
        Self::Origin,
        Self::Token,
        Self::NotFound,
        Self::Method,
        Self::Timeout,
        Self::TooLarge,
        Self::Upgrade,
        Self::Busy,
        Self::LegDown,
        Self::Stalled,
    ];

    /// Returns its name in JSON and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Group => "group",
            Self::Host => "host",
            Self::Origin => "origin",
            Self::Token => "token",
            Self::NotFound => "not-found",
            Self::Method => "method",
            Self::Timeout => "timeout",
            Self::TooLarge => "too-large",
            Self::Upgrade => "upgrade",
            Self::Busy => "busy",
            Self::LegDown => "leg-down",
            Self::Stalled => "stalled",
        }
    }

    /// Returns the status line of the response, without its version.
    pub(super) const fn status(self) -> &'static str {
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
    pub(super) const fn header(self) -> &'static str {
        match self {
            Self::Token => "WWW-Authenticate: Bearer realm=\"mcast relay\"\r\n",
            Self::Method => "Allow: GET, HEAD, OPTIONS\r\n",
            Self::Upgrade => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            Self::Busy | Self::LegDown => "Retry-After: 5\r\n",
            _ => "",
        }
    }
}

/// A refusal, with what to do about it in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: HttpRefusal,
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(reason: HttpRefusal, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }
}

mcast_metrics::figures! {
    /// What an [`HttpServer`](super::HttpServer) has served and refused.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct HttpCounts {
        /// HTTP clients that receive a stream at present.
        level clients: usize,
        /// Groups that are received for HTTP clients at present, each from one leg and for one set of sources.
        level groups: usize,
        /// Streams that HTTP clients have received.
        count served: u64,
        /// Datagrams received for HTTP clients.
        count datagrams: u64,
        /// Bytes sent to HTTP clients.
        count sent_bytes: u64,
        /// Datagrams that were not sent to an HTTP client because it had fallen behind.
        count skipped as "skipped_datagrams": u64,
        other {
            refused: [u64; HttpRefusal::COUNT],
        }
    }
}

impl HttpCounts {
    /// Returns how often something was refused for this reason.
    #[must_use]
    pub fn refused(&self, reason: HttpRefusal) -> u64 {
        self.refused[reason as usize]
    }

    /// Returns every reason for which something was refused, with the number.
    pub fn refusals(&self) -> impl Iterator<Item = (HttpRefusal, u64)> {
        HttpRefusal::ALL.into_iter().zip(self.refused).filter(|(_, count)| *count > 0)
    }

    /// Counts a refusal.
    pub(super) const fn refuse(&mut self, reason: HttpRefusal) {
        self.refused[reason as usize] += 1;
    }
}
