//! Attributes of interfaces, bridges and their ports, and interfaces that a remedy creates.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Query, word_after};
use crate::action::Action;

/// An attribute of an interface. Its values are the words of iproute2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Attribute {
    /// `up` or `down`.
    State,
    /// The bridge or bond of which it is a port; empty if it is none.
    Master,
    Mtu,
    TransmitQueue,
    /// The number of buffers for arriving packets.
    ReceiveRing,
    /// An option of a bridge.
    Bridge(String),
    /// An option of a bridge port.
    Port(String),
    /// An option of a VLAN at a bridge port.
    PortVlan(u16, String),
}

impl Attribute {
    pub(super) fn set(&self, name: &str, value: &str) -> Action {
        let link = |words: &[&str]| Action::of("ip", ["link", "set", "dev", name].iter().chain(words));
        match self {
            Self::State => link(&[value]),
            Self::Master if value.is_empty() => link(&["nomaster"]),
            Self::Master => link(&["master", value]),
            Self::Mtu => link(&["mtu", value]),
            Self::TransmitQueue => link(&["txqueuelen", value]),
            Self::ReceiveRing => Action::of("ethtool", ["-G", name, "rx", value]),
            Self::Bridge(option) => link(&["type", "bridge", option, value]),
            Self::Port(option) => Action::of("bridge", ["link", "set", "dev", name, option, value]),
            Self::PortVlan(vlan, option) => {
                let vlan = vlan.to_string();
                Action::of("bridge", ["vlan", "set", "vid", &vlan, "dev", name, option, value])
            }
        }
    }

    /// Returns its present value; `None` if it is not known.
    pub(super) fn read(&self, name: &str, query: Query<'_>) -> Option<String> {
        let mut link = || query("ip", &["-d", "link", "show", "dev", name]);
        let value = match self {
            Self::State => {
                let state = link()?;
                let (_, flags) = state.split_once('<')?;
                let is_up = flags.split('>').next()?.split(',').any(|flag| flag == "UP");
                return Some(if is_up { "up" } else { "down" }.to_owned());
            }
            Self::Master => return Some(word_after(&link()?, "master").unwrap_or_default().to_owned()),
            Self::Mtu => word_after(&link()?, "mtu")?.to_owned(),
            Self::TransmitQueue => word_after(&link()?, "qlen")?.to_owned(),
            Self::ReceiveRing => {
                let state = query("ethtool", &["-g", name])?;
                // The limits of the hardware come first, with the same names.
                word_after(state.split_once("Current hardware settings")?.1, "RX:")?.to_owned()
            }
            Self::Bridge(option) => word_after(&link()?, option)?.to_owned(),
            Self::Port(option) => {
                let state = query("bridge", &["-d", "link", "show", "dev", name])?;
                let value = word_after(&state, option)?;
                let number = ["disabled", "listening", "learning", "forwarding", "blocking"];
                let number = number.iter().position(|state| option == "state" && *state == value);
                number.map_or_else(|| value.to_owned(), |number| number.to_string())
            }
            Self::PortVlan(vlan, option) => {
                let (vlan, listing) =
                    (vlan.to_string(), query("bridge", &["-d", "vlan", "show", "dev", name])?);
                // The options of a VLAN stand in the lines after its number.
                let mut lines = listing.lines().skip_while(|line| {
                    line.trim_start_matches(name).split_whitespace().next().is_none_or(|word| word != vlan)
                });
                lines.find_map(|line| word_after(line, option))?.to_owned()
            }
        };
        Some(value)
    }

    /// Returns a value for a machine of which nothing is known.
    pub(super) const fn placeholder(&self) -> &'static str {
        match self {
            Self::State => "down",
            Self::Master => "",
            _ => "VALUE",
        }
    }
}

/// Writes its name in a sentence.
impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State => f.write_str("the state"),
            Self::Master => f.write_str("the master"),
            Self::Mtu => f.write_str("the MTU"),
            Self::TransmitQueue => f.write_str("txqueuelen"),
            Self::ReceiveRing => f.write_str("the receive ring"),
            Self::Bridge(option) | Self::Port(option) => f.write_str(option),
            Self::PortVlan(vlan, option) => write!(f, "{option} for VLAN {vlan}"),
        }
    }
}

/// An interface on top of another one. The mark is its alias.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NewInterface {
    pub(crate) name: String,
    pub(crate) lower: String,
    /// The words after `type`.
    pub(crate) options: Vec<String>,
    pub(crate) is_there: bool,
    pub(crate) mark: Option<String>,
}

impl NewInterface {
    pub(crate) fn new(lower: &str, name: &str, options: &[&str]) -> Self {
        let options = options.iter().map(|word| (*word).to_owned()).collect();
        Self { name: name.to_owned(), lower: lower.to_owned(), options, is_there: true, mark: None }
    }

    pub(super) fn actions(&self) -> Vec<Action> {
        let Self { name, lower, options, is_there, mark } = self;
        if !is_there {
            return vec![Action::of("ip", ["link", "del", "dev", name])];
        }
        let begin = ["link", "add", "link", lower, "name", name, "type"].into_iter();
        let add = Action::of("ip", begin.chain(options.iter().map(String::as_str)));
        let mark = mark.as_ref().map(|mark| Action::of("ip", ["link", "set", "dev", name, "alias", mark]));
        std::iter::once(add)
            .chain(mark)
            .chain([Action::of("ip", ["link", "set", "dev", name, "up"])])
            .collect()
    }

    /// Returns the interface of this name, with the alias that it has.
    pub(super) fn present(&self, query: Query<'_>) -> Option<Self> {
        let all = query("ip", &["-o", "link", "show"])?;
        let of = |line: &&str| {
            let name = line.split_whitespace().nth(1).unwrap_or_default().trim_end_matches(':');
            name.split('@').next() == Some(&self.name)
        };
        let own = all.lines().find(of);
        let mark = match own {
            Some(line) => word_after(line, "alias").map(str::to_owned),
            None => self.mark.clone(),
        };
        Some(Self { is_there: own.is_some(), mark, ..self.clone() })
    }
}
