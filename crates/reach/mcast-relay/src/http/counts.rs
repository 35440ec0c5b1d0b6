//! What a server has served and refused.

use mcast_http::{HttpRefusal, RefusalCounts};

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
            /// How often something was refused, by reason.
            pub refused: RefusalCounts,
        }
    }
}

impl HttpCounts {
    /// Returns how often something was refused for this reason.
    #[must_use]
    pub const fn refused(&self, reason: HttpRefusal) -> u64 {
        self.refused.of(reason)
    }

    /// Returns every reason for which something was refused, with the number.
    pub fn refusals(&self) -> impl Iterator<Item = (HttpRefusal, u64)> + use<> {
        self.refused.iter()
    }
}
