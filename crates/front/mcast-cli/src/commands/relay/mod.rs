//! `mcast relay`: forwards multicast between segments, without loops.

mod clients;
#[cfg(target_os = "linux")]
mod linux;
mod tunnels;

#[cfg(all(feature = "schema", target_os = "linux"))]
pub(super) use linux::schemas;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(not(target_os = "linux"))]
use unsupported as platform;

use anyhow::Context;
use mcast::Rate;
use mcast::group::WellKnown;
use mcast_metrics::ExporterAddress;
use mcast_relay::http::Playlist;
use mcast_relay::{Authenticator, PortBlock, Rule};
use mcast_terminal::Console;
use mcast_tunnel::TunnelKeys;

use crate::arguments::{WireOption, parse_duration, read_keys};
use crate::exit::{Failure, Outcome};
use crate::words;
use clients::ClientOptions;
use tunnels::{Profile, TunnelArguments};

/// Forward multicast between VLANs and sites, and IPTV to HTTP
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// What to forward, from where, to where; see below. A rule may be quoted or not, several must be quoted
    #[arg(value_name = "RULE", required_unless_present = "config", conflicts_with = "config")]
    rules: Vec<String>,

    /// Use the rules of a profile, between the first interface and each of the others, which are given instead of rules
    #[arg(long, value_name = "PROFILE", conflicts_with = "config")]
    profile: Option<Profile>,

    /// Read the rules from FILE, one per line; SIGHUP rereads it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Show what would be forwarded and which other relays are here, and forward nothing; exit status 1 if something
    /// cannot be forwarded
    #[arg(long, conflicts_with_all = ["timeout", "metrics"])]
    check: bool,

    /// Stop after TIME; exit status 1 if nothing was forwarded, or a loop was found
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Print one JSON object per event, and one with the summary
    #[arg(long)]
    json: bool,

    /// Serve Prometheus metrics at http://ADDRESS/metrics, and its health at /live and /ready
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<ExporterAddress>,

    #[command(flatten)]
    wire: WireOption,

    #[command(flatten)]
    tunnels: TunnelArguments,

    #[command(flatten)]
    forwarding: ForwardingOptions,

    #[command(flatten)]
    clients: ClientOptions,
}

/// Options for forwarding.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Forwarding")]
struct ForwardingOptions {
    /// Join the groups of all rules always, not only while a host downstream has joined them
    #[arg(long)]
    always: bool,

    /// Forward at most RATE (10Mbit, 5kpps) by each rule that has no rate
    #[arg(long, value_name = "RATE")]
    max_rate: Option<Rate>,

    /// Never send IGMP and MLD queries, because the network has another querier
    #[arg(long)]
    no_querier: bool,

    /// Open at most N sockets for copies and replies
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u16).range(1..))]
    max_paths: u16,

    /// Close such a socket after TIME without use
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_duration)]
    path_idle: Duration,

    /// Send copies from these ports, to which receivers answer; open them in a firewall on this machine
    #[arg(long, value_name = "FIRST-LAST", default_value = "61440-62463", value_parser = parse_ports)]
    ports: PortBlock,

    /// Of several relays with the same rule, the one with the highest N forwards
    #[arg(long, value_name = "N", default_value = "100")]
    priority: u8,

    /// Accept announcements only of relays with one of the secrets in this file; SIGHUP rereads it; `mcast keys make FILE`
    /// creates one
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Only what a rule names is forwarded.

Rules:
  TRAFFIC from LEG to TARGET,...      one way
  TRAFFIC between LEG and LEG         both ways

Traffic:
  239.255.1.0/24:5000                 groups and a port; also [ff15::1]:5000-5003
  10.0.0.7@232.1.2.3:5000             from one source
  broadcast:6000                      IPv4 broadcasts to a port
  239.0.0.0/8:*                       any port, for HTTP clients
  playlist                            what --http-playlist names, for HTTP clients
  mdns, ssdp, wsd, llmnr, coap, knx   a discovery protocol; also forwards the replies

Legs and targets:
  eth0                                an interface of this machine
  netns:NAME/eth0, netns:PID/eth0     an interface of another network namespace
  docker:NAME                         the interface of a container
  tunnel:NAME                         a tunnel to another site, with this name at both ends
  udp://10.9.0.5:5000                 a target for unicast
  http://localhost:4022               clients that request /udp/GROUP:PORT/, /rtp/GROUP:PORT/,
                                      /sse/GROUP:PORT, /ws/GROUP:PORT, /playlist.m3u, /status or /
  amt:192.0.2.1, amt:driad            after from: a relay of AMT, as recv --amt
  amt-listen:192.0.2.1                a target: gateways of AMT served there

Options of a rule:
  as 239.9.9.9:6000                   send to another group, port, or broadcast:PORT
  ttl N                               send with this TTL; otherwise one less than received, and 1
                                      from or to groups of one link, such as 224.0.0.7:8001
  rate 10Mbit                         forward at most at this rate
  allow ipp,airplay; deny ipp         services of mdns
  repair 200ms                        repair losses in a tunnel for up to this time
  always                              also while no host downstream has joined
  no-replies                          return no unicast answers of receivers to the senders
  keep-source                         send with the address of the sender, which receivers then answer

Profiles:
  home                                mdns, ssdp and wsd, for HomeKit, Matter, AirPlay, Chromecast,
                                      speakers, printers, scanners, cameras and televisions;
                                      not services that only make sense on one network

With --wire, groups that are forwarded one way only are taken off their interface. Groups
that several legs receive (`between`), and the announcements of relays, stay with the sockets.

Several relays with the same rule elect one that forwards, and the next one takes over within 3 s.
Devices that relay without announcing themselves cannot cause a storm: the copies that they return are
dropped, and an event names the address of the device.

Examples:
  mcast relay mdns between eth0 and eth1
  mcast relay --profile home lan iot
  mcast relay '239.255.1.0/24:5000 from vlan10 to vlan20,vlan30' 'ssdp between vlan10 and vlan20'
  mcast relay 10.0.0.7@232.1.2.3:5000 from eth0 to udp://10.9.0.5:5000
  mcast relay mdns between eth0 and docker:web
  mcast relay 239.255.1.3:5000 from eth0 to tunnel:paris --tunnel paris=hub.example:5700 --tunnel-key paris.key
  mcast relay 239.255.1.0/24:5000 from eth0 to http://localhost:4022
  mcast relay playlist from eth0 to http://192.168.1.1:4022 --http-playlist tv.m3u
  mcast relay 10.0.0.7@232.1.2.3:5000 from amt:relay.example.net to eth0
  mcast relay --config /etc/mcast/relay-home.rules --check";

/// The arguments, resolved.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "relays run on Linux only"))]
struct RelayPlan<'a> {
    rules: Vec<Rule>,
    authenticators: Vec<Arc<dyn Authenticator>>,
    keys: TunnelKeys,
    token: Option<String>,
    playlist: Playlist,
    arguments: &'a Arguments,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> anyhow::Result<Outcome> {
    let rules = arguments.read_rules()?;
    if let Some(profile) = arguments.profile {
        profile.explain(&rules, console);
    }
    let authenticators = arguments.read_authenticators(console)?;
    let keys = arguments.tunnels.read_keys(&rules, console)?;
    let (token, playlist) =
        (arguments.clients.read_token(console)?, arguments.clients.read_playlist(console)?);
    platform::run(RelayPlan { rules, authenticators, keys, token, playlist, arguments }, console)
}

impl Arguments {
    /// Returns whether it only prints what it would do.
    pub(crate) const fn only_checks(&self) -> bool {
        self.check
    }

    /// Whether files were named that are reread on SIGHUP.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "relays run on Linux only"))]
    fn has_files(&self) -> bool {
        let clients = &self.clients;
        let of_clients = [&clients.http_token_file, &clients.http_playlist];
        let files = [&self.config, &self.forwarding.key, &self.tunnels.tunnel_key];
        files.into_iter().chain(of_clients).any(Option::is_some)
    }

    /// Returns the rules that are given or in the file.
    fn read_rules(&self) -> anyhow::Result<Vec<Rule>> {
        let rules = match (&self.config, self.profile) {
            (Some(path), _) => read_file(path)?,
            (None, Some(profile)) => profile.rules(&self.rules)?,
            (None, None) => {
                rule_texts(&self.rules).iter().map(|text| parse(text)).collect::<Result<_, _>>()?
            }
        };
        let rules: Vec<Rule> =
            rules.into_iter().map(|rule| self.forwarding.complete(rule)).collect::<anyhow::Result<_>>()?;
        self.tunnels.check(&rules)?;
        self.clients.check(&rules)?;
        Ok(rules)
    }

    /// Returns what authenticates announcements; nothing without a key file.
    fn read_authenticators(&self, console: &Console) -> anyhow::Result<Vec<Arc<dyn Authenticator>>> {
        let path = self.forwarding.key.as_deref();
        path.map_or_else(|| Ok(Vec::new()), |path| authenticators(path, console))
    }
}

impl ForwardingOptions {
    /// Adds what applies to all rules.
    fn complete(&self, mut rule: Rule) -> anyhow::Result<Rule> {
        rule.rate = rule.rate.or(self.max_rate);
        rule.always |= self.always && rule.traffic.protocol.is_none() && !rule.is_http_only();
        // Whatever a rule must not be is found where its text is parsed.
        parse(&rule.to_string())
    }
}

/// Returns the rules: each argument is one, or if none contains a space, all together are one.
fn rule_texts(arguments: &[String]) -> Vec<String> {
    match arguments.iter().any(|argument| argument.trim().contains(char::is_whitespace)) {
        true => arguments.to_vec(),
        false => vec![arguments.join(" ")],
    }
}

fn parse(text: &str) -> anyhow::Result<Rule> {
    text.parse().map_err(|error| {
        // A rule begins with what it forwards.
        let traffic = text.split_whitespace().next().unwrap_or_default();
        let is_word = traffic.chars().all(|letter| letter.is_ascii_alphabetic());
        let meant = words::group(traffic).filter(|_| is_word && WellKnown::named(traffic).is_empty());
        let remedy = match meant {
            Some((name, hint)) => format!("{hint} `mcast relay {}`", text.replacen(traffic, name, 1)),
            None => "`mcast relay --help` describes the form of rules".to_owned(),
        };
        Failure::usage(format!("\"{text}\" is not a valid rule: {error}")).remedy(remedy).into()
    })
}

/// Parses a range of ports.
fn parse_ports(text: &str) -> Result<PortBlock, &'static str> {
    let ports = text.split_once('-').and_then(|(first, last)| {
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        let count = last.checked_sub(first)?.checked_add(1)?;
        (first >= 1_024).then_some(PortBlock { first, count })
    });
    ports.ok_or("write the first and the last port, from 1024 on: 61440-62463")
}

fn read_file(path: &Path) -> anyhow::Result<Vec<Rule>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let rules = mcast_relay::parse_rules(&text)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    match rules.is_empty() {
        true => Err(Failure::usage(format!("{} contains no rule", path.display())).into()),
        false => Ok(rules),
    }
}

/// Returns what authenticates announcements: each of the secrets in a key file. Comments do not count.
#[cfg(feature = "seal")]
fn authenticators(path: &Path, console: &Console) -> anyhow::Result<Vec<Arc<dyn Authenticator>>> {
    read_keys(path, console)?;
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let is_secret = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let secrets = text.lines().map(str::trim).filter(is_secret);
    let keys = secrets.filter_map(|secret| mcast_relay::AnnouncementKey::new(secret.as_bytes()));
    let keys: Vec<_> = keys.map(|key| Arc::new(key) as Arc<dyn Authenticator>).collect();
    match keys.is_empty() {
        true => Err(Failure::usage(format!("{} contains no secret", path.display())).into()),
        false => Ok(keys),
    }
}

/// Returns an error: this build cannot authenticate.
#[cfg(not(feature = "seal"))]
fn authenticators(path: &Path, console: &Console) -> anyhow::Result<Vec<Arc<dyn Authenticator>>> {
    read_keys(path, console)?;
    Err(mcast_stream::KeyFileAccessError::NoCiphers.into())
}

/// Systems on which relays do not run.
#[cfg(not(target_os = "linux"))]
mod unsupported {
    use mcast_terminal::Console;

    use super::RelayPlan;
    use crate::exit::{Failure, Outcome};

    pub(super) fn run(_plan: RelayPlan<'_>, _console: &Console) -> anyhow::Result<Outcome> {
        Err(Failure::environment("cannot relay: that needs Linux")
            .remedy("run it on Linux, also in a virtual machine with a bridged interface per network")
            .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(arguments: &[&str]) -> Vec<String> {
        rule_texts(&arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn one_rule_may_be_unquoted_and_several_are_quoted() {
        assert_eq!(texts(&["mdns", "between", "a", "and", "b"]), ["mdns between a and b"]);
        let quoted = ["mdns between a and b", "ssdp between a and b"];
        assert_eq!(texts(&quoted), quoted);
    }

    #[test]
    fn options_for_all_rules_leave_their_own_alone() {
        let options = ForwardingOptions {
            always: true,
            ports: parse_ports("61440-62463").unwrap(),
            max_rate: Some("5kpps".parse().unwrap()),
            no_querier: false,
            max_paths: 1,
            path_idle: Duration::ZERO,
            priority: 100,
            key: None,
        };
        let complete = |text: &str| options.complete(text.parse().unwrap()).unwrap().to_string();
        assert_eq!(
            complete("239.255.1.3:5000 from a to b rate 10Mbit"),
            "239.255.1.3:5000 from a to b rate 10000000bit always"
        );
        assert_eq!(complete("mdns between a and b"), "mdns between a and b rate 5000pps");
        let http = "239.255.1.3:5000 from a to http://127.0.0.1:4022";
        assert_eq!(complete(http), format!("{http} rate 5000pps"), "joined on request");
        assert!(
            options.complete("239.0.0.0/8:5000 from a to b".parse().unwrap()).is_err(),
            "too many to join"
        );
    }
}
