//! A topology file as it is written. What the keys mean is told at [`Topology`](super::Topology).

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};
use toml::Spanned;

use super::units::{Rate, Time};

/// Named things. They are sorted by name here; where they stand in the file tells their order.
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
    pub(super) sysctls: BTreeMap<Text, Value>,
    #[serde(default)]
    pub(super) run: Vec<Spanned<Run>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouterTable {
    #[serde(default)]
    pub(super) interfaces: Named<InterfaceTable>,
    #[serde(default)]
    pub(super) routes: Vec<RouteTable>,
    #[serde(default)]
    pub(super) sysctls: BTreeMap<Text, Value>,
    #[serde(default)]
    pub(super) run: Vec<Spanned<Run>>,
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

/// A program: a command alone, or with how it is run.
#[derive(Debug)]
pub(super) struct Run(pub(super) RunTable);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunTable {
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

/// A sysctl's value, which is text to the kernel.
#[derive(Debug)]
pub(super) struct Value(pub(super) String);

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Run;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command, or a table with one")
            }

            fn visit_str<E: de::Error>(self, command: &str) -> Result<Run, E> {
                Ok(Run(RunTable::plain(command)))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Run, A::Error> {
                RunTable::deserialize(MapAccessDeserializer::new(map)).map(Run)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl RunTable {
    fn plain(command: &str) -> Self {
        Self {
            command: command.to_owned(),
            name: None,
            ready: None,
            joined: None,
            wait_for: Vec::new(),
            after: Vec::new(),
            background: false,
            expect: 0,
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value(text.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
                Ok(Value(number.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
