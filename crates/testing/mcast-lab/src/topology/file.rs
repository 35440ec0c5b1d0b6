//! The TOML form of a topology file. [`Topology`](super::Topology) documents the keys.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

/// Tables by name. The map is sorted by name; the spans of the names give the order of the file.
pub(super) type Named<T> = BTreeMap<Spanned<String>, T>;
pub(super) type Text = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) description: String,
    pub(super) time_limit: Option<Time>,
    #[serde(default)]
    pub(super) switches: Named<SwitchTable>,
    #[serde(default)]
    pub(super) hosts: Named<HostTable>,
    #[serde(default)]
    pub(super) routers: Named<RouterTable>,
    #[serde(default)]
    pub(super) links: Vec<LinkTable>,
    #[serde(default)]
    pub(super) trunks: Vec<[Text; 2]>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SwitchTable {
    #[serde(default)]
    pub(super) snooping: bool,
    #[serde(default)]
    pub(super) querier: bool,
    pub(super) querier_address: Option<Text>,
    pub(super) igmp_version: Option<Spanned<u8>>,
    pub(super) mld_version: Option<Spanned<u8>>,
    pub(super) hash_max: Option<u32>,
    pub(super) query_interval: Option<Time>,
    pub(super) query_response_interval: Option<Time>,
    pub(super) membership_interval: Option<Time>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostTable {
    #[serde(default)]
    pub(super) interfaces: Named<InterfaceTable>,
    #[serde(default)]
    pub(super) routes: Vec<RouteTable>,
    #[serde(default)]
    pub(super) sysctls: BTreeMap<Text, SysctlValue>,
    #[serde(default)]
    pub(super) run: Vec<Spanned<ProgramEntry>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouterTable {
    #[serde(default)]
    pub(super) interfaces: Named<InterfaceTable>,
    #[serde(default)]
    pub(super) routes: Vec<RouteTable>,
    #[serde(default)]
    pub(super) sysctls: BTreeMap<Text, SysctlValue>,
    #[serde(default)]
    pub(super) run: Vec<Spanned<ProgramEntry>>,
    #[serde(default)]
    pub(super) groups: Vec<GroupTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InterfaceTable {
    pub(super) switch: Text,
    #[serde(default)]
    pub(super) addresses: Vec<Text>,
    pub(super) mtu: Option<u32>,
    pub(super) impairment: Option<Spanned<ImpairmentTable>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteTable {
    pub(super) to: Text,
    pub(super) interface: Option<Text>,
    pub(super) via: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupTable {
    pub(super) group: Text,
    pub(super) source: Option<Text>,
    pub(super) from: Text,
    pub(super) to: Vec<Text>,
    pub(super) ttl_threshold: Option<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkTable {
    pub(super) ends: [EndTable; 2],
    pub(super) impairment: Option<Spanned<ImpairmentTable>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndTable {
    pub(super) host: Text,
    pub(super) interface: Text,
    #[serde(default)]
    pub(super) addresses: Vec<Text>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImpairmentTable {
    pub(super) loss: Option<f64>,
    pub(super) duplicate: Option<f64>,
    pub(super) reorder: Option<f64>,
    pub(super) delay: Option<Time>,
    pub(super) jitter: Option<Time>,
    pub(super) rate: Option<Rate>,
    pub(super) queue: Option<usize>,
    pub(super) seed: Option<u64>,
    pub(super) scope: Option<ScopeName>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ScopeName {
    Udp,
    All,
}

/// An entry of `run`: a command, or a table.
#[derive(Debug)]
pub(super) struct ProgramEntry(pub(super) ProgramTable);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProgramTable {
    pub(super) command: String,
    pub(super) name: Option<Text>,
    pub(super) ready: Option<String>,
    pub(super) joined: Option<Text>,
    #[serde(default)]
    pub(super) wait_for: Vec<Text>,
    #[serde(default)]
    pub(super) after: Vec<Text>,
    #[serde(default)]
    pub(super) background: bool,
    #[serde(default)]
    pub(super) expect: i32,
}

/// The value of a sysctl, which the kernel takes as text.
#[derive(Debug)]
pub(super) struct SysctlValue(pub(super) String);

impl<'de> Deserialize<'de> for ProgramEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ProgramEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command, or a table with the key `command`")
            }

            fn visit_str<E: de::Error>(self, command: &str) -> Result<ProgramEntry, E> {
                Ok(ProgramEntry(ProgramTable { command: command.to_owned(), ..ProgramTable::default() }))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ProgramEntry, A::Error> {
                ProgramTable::deserialize(MapAccessDeserializer::new(map)).map(ProgramEntry)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for SysctlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = SysctlValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SysctlValue, E> {
                Ok(SysctlValue(text.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<SysctlValue, E> {
                Ok(SysctlValue(number.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A duration, written with its unit: `ns`, `us`, `ms`, `s`, `m`, `min` or `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

/// Bits per second, written as a number or with `kbit`, `Mbit` or `Gbit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate(pub(super) u64);

impl Time {
    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split(text)?;
        let seconds = match unit {
            "ns" => number / 1e9,
            "us" => number / 1e6,
            "ms" => number / 1e3,
            "s" => number,
            "m" | "min" => number * 60.0,
            "h" => number * 3600.0,
            _ => return None,
        };
        Duration::try_from_secs_f64(seconds).ok().map(Self)
    }
}

impl Rate {
    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split(text)?;
        let bits = match unit {
            "bit" => number,
            "kbit" => number * 1e3,
            "Mbit" => number * 1e6,
            "Gbit" => number * 1e9,
            _ => return None,
        };
        (1.0..=u64::MAX as f64).contains(&bits).then_some(Self(bits as u64))
    }
}

/// Splits a text into the number at its start and the unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let number: f64 = text[..end].trim().parse().ok()?;
    (number >= 0.0).then_some((number, &text[end..]))
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a time with its unit, such as \"20ms\", \"1.5s\" or \"2min\"";
        deserializer.deserialize_any(Quantity { expected, parse: Self::parse, number: |_| None })
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a rate, such as \"10Mbit\", \"200kbit\" or a number of bits per second";
        let number = |bits| u64::try_from(bits).ok().filter(|bits| *bits > 0).map(Self);
        deserializer.deserialize_any(Quantity { expected, parse: Self::parse, number })
    }
}

/// Reads a quantity from a text with its unit, or from a number.
struct Quantity<T> {
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
    number: fn(i64) -> Option<T>,
}

impl<T> de::Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        (self.number)(number).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let parse = |text| Time::parse(text).map(|time| time.0);
        assert_eq!(parse("20ms"), Some(Duration::from_millis(20)));
        assert_eq!(parse("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse("7 us"), Some(Duration::from_micros(7)));
        assert_eq!(parse("2min"), Some(Duration::from_secs(120)));
        for invalid in ["", "20", "ms", "-1s", "1 d", "1e400s", "NaNs"] {
            assert_eq!(parse(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn rates_have_units() {
        let parse = |text| Rate::parse(text).map(|rate| rate.0);
        assert_eq!(parse("10Mbit"), Some(10_000_000));
        assert_eq!(parse("1.5 kbit"), Some(1500));
        for invalid in ["10", "0bit", "10MB", "-5kbit"] {
            assert_eq!(parse(invalid), None, "{invalid}");
        }
    }
}
