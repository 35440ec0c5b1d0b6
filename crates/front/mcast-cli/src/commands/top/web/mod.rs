//! `mcast top --web`: a page that shows the network live, in any browser.
//!
//! One thread serves it. Once per second it takes a report of the monitor, and makes one event of what has changed, which all
//! browsers share. Nothing on the page changes the machine.

mod changes;
mod examiner;
mod section;
mod site;
mod trends;
mod views;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Context;
use mcast_http::{AccessRules, HttpClock, HttpDriver, HttpLimits, SiteServer, escaped_token};
use mcast_metrics::{ExporterAddress, InvalidAddress};
use mcast_watch::live::Monitor;

use crate::exit::Failure;
use crate::sys;
use examiner::Examiner;
use site::Site;

/// Where the page is by default.
pub(super) const DEFAULT_ADDRESS: &str = "localhost:9476";

/// The largest number of browsers that follow the page, and of other connections: a browser opens six for one page.
const BROWSERS: usize = 128;
const SPARE: usize = 64;

/// The address of the page: `ADDRESS:PORT`, `NAME:PORT`, or `:PORT` for every address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WebAddress(ExporterAddress);

impl FromStr for WebAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        text.parse().map(Self)
    }
}

/// A page that is bound, and is not served yet.
#[derive(Debug)]
pub(super) struct BoundPage {
    listener: TcpListener,
    address: SocketAddr,
    /// The host as it was given.
    host: String,
    /// Other names of it.
    names: Vec<String>,
    token: Option<String>,
    examiner: Examiner,
}

/// A page that is served until the process ends.
#[derive(Debug)]
pub(super) struct ServedPage {
    address: SocketAddr,
    host: String,
    token: Option<String>,
}

impl WebAddress {
    /// Starts to listen, and to examine the machine with the present rights. Other machines need this token, or else a new one.
    /// They may use these names, too: a reverse proxy of this machine lets others in.
    pub(super) fn bind(&self, names: &[String], token: Option<String>) -> anyhow::Result<BoundPage> {
        let text = self.0.to_string();
        let bound = self.0.bind().map_err(|error| {
            Failure::environment(format!("cannot serve a page at {text}: {error}"))
                .remedy(format!("name a free port and an address of this machine, such as {DEFAULT_ADDRESS}"))
        })?;
        let host = text.rsplit_once(':').map_or(text.as_str(), |(host, _)| host).to_owned();
        let address = bound.address();
        let is_local = address.ip().is_loopback() && names.is_empty();
        let token = token.or_else(|| (!is_local).then(new_token));
        let (listener, names) = (bound.into_listener(), names.to_vec());
        Ok(BoundPage { listener, address, host, names, token, examiner: Examiner::start()? })
    }
}

impl BoundPage {
    /// Starts to serve the page, on a thread with the rights of the calling one.
    pub(super) fn serve(self, monitor: Monitor) -> anyhow::Result<ServedPage> {
        let Self { listener, address, host, mut names, token, examiner } = self;
        let is_name = host.parse::<IpAddr>().is_err() && !host.is_empty() && !host.starts_with('[');
        names.extend(is_name.then(|| host.clone()));
        let access = AccessRules {
            hosts: names,
            token: token.clone(),
            host_advice: ", or start it with --web-host",
            ..AccessRules::default()
        };
        let limits = HttpLimits {
            max_clients: BROWSERS,
            spare: SPARE,
            stall: Duration::from_secs(10),
            max_waiting: 32 << 20,
            realm: "mcast top",
            busy_advice: "try again later",
        };
        let failed = "cannot start the thread that serves the page";
        let mut sockets = HttpDriver::new(HttpClock::since(Instant::now())).context(failed)?;
        sockets.add_listener(address, listener).context(failed)?;
        let epoch = RandomState::new().hash_one(address);
        let mut server = SiteServer::new(Site::new(monitor, Some(examiner)), Some(access), limits, epoch);
        sys::spawn("page", move || sockets.run(&mut server, || true))?;
        Ok(ServedPage { address, host, token })
    }
}

impl fmt::Display for ServedPage {
    /// Writes the URL, with the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.address.port();
        match &self.host {
            host if !host.is_empty() && !self.address.ip().is_unspecified() => {
                write!(f, "http://{host}:{port}/")?;
            }
            _ => write!(f, "http://{}/", SocketAddr::new(own_address(self.address.ip()), port))?,
        }
        self.token.as_ref().map_or(Ok(()), |token| write!(f, "?token={}", escaped_token(token)))
    }
}

/// Returns an address of this machine under which others may reach one that stands for all of them.
fn own_address(address: IpAddr) -> IpAddr {
    let interfaces = mcast::interface::list().unwrap_or_default();
    let own = interfaces.iter().flat_map(|interface| &interface.addresses).map(|own| own.address);
    if address.is_unspecified() { reachable(address, own).unwrap_or(address) } else { address }
}

/// Returns the address that others reach best of those that one that stands for all of them includes. IPv6 includes IPv4.
fn reachable(all: IpAddr, own: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    let is_global = |own: &IpAddr| match own {
        IpAddr::V4(own) => !own.is_loopback() && !own.is_link_local(),
        IpAddr::V6(own) => all.is_ipv6() && !own.is_loopback() && !own.is_unicast_link_local(),
    };
    own.filter(is_global).min_by_key(IpAddr::is_ipv6)
}

/// Returns a token of 128 bits that cannot be guessed: hashes with keys that are random numbers of the system.
fn new_token() -> String {
    let half = |number: u8| RandomState::new().hash_one(number);
    format!("{:016x}{:016x}", half(0), half(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_names_an_address_that_others_reach_in_both_families() {
        let reached = |all: &str, own: &[&str]| {
            reachable(all.parse().unwrap(), own.iter().map(|own| own.parse().unwrap()))
                .map(|address| address.to_string())
        };
        let v6 = ["127.0.0.1", "169.254.7.7", "::1", "fe80::1", "fd00::2"];
        assert_eq!(reached("::", &v6).as_deref(), Some("fd00::2"));
        assert_eq!(reached("0.0.0.0", &v6), None);
        let both = [&v6[..], &["10.0.0.2"]].concat();
        assert_eq!(reached("::", &both).as_deref(), Some("10.0.0.2"));
    }
}
