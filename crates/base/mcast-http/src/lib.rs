//! A small HTTP server for live data, with clients that may be hostile, slow, or many.
//!
//! The decisions are state machines: [`Connections`] admits clients, reads requests, and drops clients that do not take what is sent;
//! [`AccessRules`] decide who may read; a [`Feed`] keeps what several clients receive once. A [`SiteServer`] serves the pages and
//! the events of an [`HttpSite`]. With the feature `driver`, an [`HttpDriver`] carries bytes between sockets and any
//! [`HttpService`], in one thread.
//!
//! Guarantees:
//!
//! 1. Connections, the length and the time of a request, and what waits for all clients together are bounded. Clients without a
//!    stream do not keep others out, and one address has at most half of the streams.
//! 2. A client that takes nothing delays no other, and is dropped after a time. What it misses it learns.
//! 3. A request that names another host than this server is refused, and so is one that a page of another site caused: DNS
//!    rebinding and pages elsewhere cannot read what is served here. Tokens are compared in constant time.
//!
//! Each connection serves one request (RFC 9112, `Connection: close`); only GET, HEAD and OPTIONS are accepted.
//!
//! ```
//! use mcast_http::{HttpRequest, HttpSite, SiteReply};
//! use mcast_pace::ClockTime;
//!
//! struct Hello;
//!
//! impl HttpSite for Hello {
//!     fn respond(&mut self, _: ClockTime, _: &HttpRequest, path: &str, _: &str) -> SiteReply {
//!         match path {
//!             "/" => SiteReply::page("text/plain; charset=utf-8", "hello\n".into()),
//!             _ => SiteReply::Nothing("only / is here"),
//!         }
//!     }
//! }
//! ```
#![forbid(unsafe_code)]

mod access;
mod connection;
mod connections;
#[cfg(feature = "driver")]
mod driver;
mod feed;
mod public_url;
mod refusal;
mod request;
pub mod response;
mod service;
mod site;

pub use access::{AccessRules, HttpAccess, escaped_token};
pub use connection::{HttpConnection, Subscription};
pub use connections::{Arrived, Connections, Due, HttpClientId, HttpLimits};
#[cfg(feature = "driver")]
pub use driver::{HttpClock, HttpDriver, HttpWaker};
pub use feed::{Feed, FeedChunk, FeedCursor};
pub use public_url::{InvalidProxyNetwork, InvalidPublicUrl, ProxyNetwork, PublicUrl};
pub use refusal::{HttpEvent, HttpRefusal, HttpRefused, RefusalCounts};
pub use request::{Forwarded, HttpMethod, HttpRequest, Preflight, split_label};
pub use service::HttpService;
pub use site::{HttpSite, SiteReply, SiteServer, event_id, number_of};
