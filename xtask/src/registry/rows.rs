//! The rows of the registry files.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::csv;

/// A registry and the date of its last update.
pub(super) struct Registry {
    pub(super) as_of: String,
    pub(super) rows: Vec<Row>,
}

/// The address space of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Space {
    V4,
    /// Offsets from the top of a scope (RFC 2365 section 9).
    Relative,
    V6,
}

/// An assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) space: Space,
    pub(super) first: u128,
    pub(super) last: u128,
    /// IPv6: whether the scope is a placeholder, as in `ff0x::101`.
    pub(super) any_scope: bool,
    pub(super) description: String,
    pub(super) rfcs: Vec<u16>,
    pub(super) registered: String,
}

/// An unregistered name in common use.
pub(super) struct DeFacto {
    pub(super) row: Row,
    pub(super) ports: Vec<u16>,
    pub(super) reference: String,
}

/// A short name.
pub(super) struct Name {
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) ports: Vec<u16>,
    /// The IP protocol, if it is not UDP.
    pub(super) protocol: Option<u8>,
    pub(super) hop_limit: Option<u8>,
    pub(super) interval: Option<Interval>,
    pub(super) reference: String,
}

/// How often a protocol sends to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interval {
    /// At least once in this time, in seconds.
    Seconds(u64),
    /// When something asks, or changes.
    Asked,
}

pub(super) fn read_registry(path: &Path) -> Result<Vec<Row>> {
    let sheet = Sheet::read(path)?;
    sheet.each(|record| {
        let description = collapse_whitespace(record.field(Column::Description));
        let mut row = addresses(record.field(Column::Addresses))?;
        if is_block(&description) {
            return Ok(None);
        }
        row.description = description;
        row.rfcs = rfcs(record.field(Column::References));
        row.registered = record.field(Column::Registered).to_owned();
        Ok(Some(row))
    })
}

pub(super) fn read_de_facto(path: &Path) -> Result<Vec<DeFacto>> {
    let sheet = Sheet::read(path)?;
    sheet.each(|record| {
        let mut row = addresses(record.field(Column::Addresses))?;
        row.description = collapse_whitespace(record.field(Column::Description));
        let ports = ports(record.field(Column::Ports))?;
        Ok(Some(DeFacto { row, ports, reference: record.field(Column::References).to_owned() }))
    })
}

pub(super) fn read_names(path: &Path) -> Result<Vec<Name>> {
    let sheet = Sheet::read(path)?;
    sheet.each(|record| {
        let name = record.field(Column::Name);
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ensure!(
            name.bytes().all(plain) && name.starts_with(|c: char| c.is_ascii_lowercase()),
            "\"{name}\" is not a short name: use lower-case letters, digits and hyphens"
        );
        let number = |column| match record.field(column) {
            "" => Ok(None),
            text => text.parse::<u8>().map(Some),
        };
        let ports = ports(record.field(Column::Ports))?;
        let protocol = number(Column::Protocol)?;
        ensure!(ports.is_empty() || protocol.is_none(), "{name} has UDP ports and another protocol");
        Ok(Some(Name {
            name: name.to_owned(),
            address: record.field(Column::Addresses).parse()?,
            ports,
            protocol,
            hop_limit: number(Column::HopLimit)?,
            interval: interval(record.field(Column::Interval))?,
            reference: record.field(Column::References).to_owned(),
        }))
    })
}

/// Formats rows in our own format, with IPv6 addresses in short form.
pub(super) fn write_registry(rows: &[Row]) -> String {
    let mut text = String::from("addresses,description,references,registered\n");
    for row in rows {
        let references: Vec<String> = row.rfcs.iter().map(|number| format!("rfc{number}")).collect();
        let fields = [row.addresses(), row.description.clone(), references.join(" "), row.registered.clone()];
        text.push_str(&fields.map(|field| csv::quoted(&field)).join(","));
        text.push('\n');
    }
    text
}

impl Row {
    fn addresses(&self) -> String {
        let (first, last) = (self.address(self.first), self.address(self.last));
        let range = if first == last { first } else { format!("{first}-{last}") };
        if self.space == Space::Relative { format!("relative {range}") } else { range }
    }

    fn address(&self, bits: u128) -> String {
        let text = match self.space {
            Space::V4 => Ipv4Addr::from_bits(bits as u32).to_string(),
            Space::Relative => bits.to_string(),
            Space::V6 => Ipv6Addr::from_bits(bits).to_string(),
        };
        if self.any_scope { text.replacen("0::", "x::", 1) } else { text }
    }
}

/// The content of a column, independent of its heading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Addresses,
    Description,
    References,
    Registered,
    Name,
    Ports,
    Protocol,
    HopLimit,
    Interval,
    Unused,
}

impl Column {
    fn headed(heading: &str) -> Option<Self> {
        Some(match heading.trim().to_ascii_lowercase().as_str() {
            // IANA heads one IPv4 table "Relative" by mistake, and spells the plural three ways.
            "addresses" | "address(es)" | "address(s)" | "address" | "relative" => Self::Addresses,
            "description" => Self::Description,
            "references" | "reference" => Self::References,
            "registered" | "date registered" => Self::Registered,
            "name" => Self::Name,
            "ports" => Self::Ports,
            "protocol" => Self::Protocol,
            "hop_limit" => Self::HopLimit,
            "interval" => Self::Interval,
            "block" | "scope" | "change controller" | "last reviewed" => Self::Unused,
            _ => return None,
        })
    }
}

struct Sheet {
    path: String,
    columns: Vec<Column>,
    records: Vec<Vec<String>>,
}

struct Record<'a> {
    columns: &'a [Column],
    fields: &'a [String],
}

impl Record<'_> {
    fn field(&self, column: Column) -> &str {
        let position = self.columns.iter().position(|&other| other == column);
        position.and_then(|position| self.fields.get(position)).map_or("", |field| field.trim())
    }
}

impl Sheet {
    fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let mut records = csv::parse(&text).with_context(|| name.clone())?;
        let header = records.remove(0);
        let columns = header
            .iter()
            .map(|heading| Column::headed(heading).ok_or_else(|| anyhow!("unknown column \"{heading}\"")))
            .collect::<Result<Vec<_>>>()
            .with_context(|| format!("{name} is not a registry file in a known format"))?;
        for needed in [Column::Addresses, Column::References] {
            ensure!(
                columns.contains(&needed),
                "{name} is not a registry file in a known format: it has no column for {needed:?}"
            );
        }
        Ok(Self { path: name, columns, records })
    }

    fn each<T>(&self, read: impl Fn(Record<'_>) -> Result<Option<T>>) -> Result<Vec<T>> {
        let mut values = Vec::new();
        for fields in &self.records {
            let location = || format!("{}: row \"{}\"", self.path, fields.join(","));
            ensure!(
                fields.len() == self.columns.len(),
                "{} has {} fields where the header has {}",
                location(),
                fields.len(),
                self.columns.len()
            );
            values.extend(read(Record { columns: &self.columns, fields }).with_context(location)?);
        }
        Ok(values)
    }
}

/// Whether a row only reserves or describes a whole block, which the kind of a group already says.
fn is_block(description: &str) -> bool {
    const BLOCKS: [&str; 4] = [
        "Reserved",
        "GLOP Block",
        "Organization-Local Scope",
        "Unicast-Prefix-based IPv4 Multicast Addresses",
    ];
    BLOCKS.contains(&description)
        || description.starts_with("Reserved for ")
        || description.starts_with("Unassigned")
}

/// Parses an address or a range, in any of the notations of the registries.
fn addresses(text: &str) -> Result<Row> {
    let row = |space, first, last, any_scope| Row {
        space,
        first,
        last,
        any_scope,
        description: String::new(),
        rfcs: Vec::new(),
        registered: String::new(),
    };
    let relative = text.strip_prefix("relative ").unwrap_or(text);
    if let Some((first, last)) = range(relative, |offset| Ok(u128::from(offset.parse::<u8>()?)))? {
        return Ok(row(Space::Relative, first, last, false));
    }
    if text.contains(':') {
        let lower = text.to_ascii_lowercase();
        let any_scope = lower.get(3..4) == Some("x");
        let zeroed = lower.split('-').map(scope_zero).collect::<Result<Vec<_>>>()?.join("-");
        let (first, last) = ipv6_range(&zeroed)?;
        return Ok(row(Space::V6, first, last, any_scope));
    }
    let ipv4 = |address: &str| Ok(u128::from(address.parse::<Ipv4Addr>()?.to_bits()));
    let (first, last) = range(text, ipv4)?.ok_or_else(|| anyhow!("\"{text}\" is not an address"))?;
    Ok(row(Space::V4, first, last, false))
}

/// Converts `ff0x::1` to `ff00::1`.
fn scope_zero(address: &str) -> Result<String> {
    match (address.get(..3), address.get(3..4), address.get(4..)) {
        (Some(flags), Some("x"), Some(rest)) => Ok(format!("{flags}0{rest}")),
        (Some(_), Some(_), Some(_)) => Ok(address.to_owned()),
        _ => bail!("\"{address}\" is not an IPv6 address"),
    }
}

fn ipv6_range(text: &str) -> Result<(u128, u128)> {
    let ipv6 = |address: &str| -> Result<u128> { Ok(address.parse::<Ipv6Addr>()?.to_bits()) };
    let Some((network, length)) = text.split_once('/') else {
        return range(text, ipv6)?.ok_or_else(|| anyhow!("\"{text}\" is not an address"));
    };
    let length: u32 = length.parse()?;
    ensure!((1..=128).contains(&length), "\"{text}\" has a prefix length outside 1 to 128");
    let rest = u128::MAX.checked_shr(length).unwrap_or(0);
    let first = ipv6(network)?;
    ensure!(first & rest == 0, "\"{text}\" has bits set beyond its prefix");
    Ok((first, first | rest))
}

/// Parses `A` or `A-B`; returns `None` if the text does not begin with an address.
fn range(text: &str, parse: impl Fn(&str) -> Result<u128>) -> Result<Option<(u128, u128)>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let Ok(first) = parse(first.trim()) else { return Ok(None) };
    let last = parse(last.trim()).with_context(|| format!("\"{text}\" is not a range"))?;
    ensure!(first <= last, "\"{text}\" ends before it starts");
    Ok(Some((first, last)))
}

/// Returns the RFCs in references such as `[RFC1119][RFC5905][David_Mills]` or `rfc1119 rfc5905`.
fn rfcs(text: &str) -> Vec<u16> {
    let upper = text.to_ascii_uppercase();
    let mut numbers = Vec::new();
    for (position, _) in upper.match_indices("RFC") {
        let digits: String = upper[position + 3..].chars().take_while(char::is_ascii_digit).collect();
        numbers.extend(digits.parse::<u16>());
    }
    numbers.dedup();
    numbers
}

fn interval(text: &str) -> Result<Option<Interval>> {
    Ok(match text {
        "" => None,
        "asked" => Some(Interval::Asked),
        seconds => {
            let seconds =
                seconds.parse().with_context(|| format!("\"{seconds}\" is not a number of seconds"))?;
            ensure!(seconds > 0, "an interval of 0 s is not valid");
            Some(Interval::Seconds(seconds))
        }
    })
}

fn ports(text: &str) -> Result<Vec<u16>> {
    let ports = text.split_whitespace().map(str::parse).collect::<Result<Vec<u16>, _>>()?;
    ensure!(!ports.contains(&0), "port 0 is not a valid port");
    Ok(ports)
}

fn collapse_whitespace(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
