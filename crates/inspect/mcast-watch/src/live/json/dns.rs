//! mDNS messages.

use std::net::IpAddr;

use mcast_json::record;
use mcast_packet::payload::{Dns, DnsKind, DnsQuestion, DnsRecord, DnsSection, DnsValue};
use serde::Serialize;

record! {
    pub(super) fn new(dns: &Dns<'_>) {
        let of = |wanted| {
            let records = dns.records().filter(move |(section, _)| *section == wanted);
            records.map(|(_, record)| Record::from(record)).collect()
        };
    }

    /// Questions and records by section.
    pub(super) struct DnsObject {
        response: bool = dns.is_response,
        questions: Vec<Question> = dns.questions().map(Question::from).collect(),
        answers: Vec<Record> = of(DnsSection::Answer),
        authorities: Vec<Record> = of(DnsSection::Authority),
        additional: Vec<Record> = of(DnsSection::Additional),
    }
}

#[derive(Debug, Serialize)]
struct Question {
    name: String,
    r#type: String,
    unicast_response: bool,
}

/// A record, with the fields of its type.
#[derive(Debug, Serialize)]
struct Record {
    name: String,
    r#type: String,
    ttl_seconds: u32,
    cache_flush: bool,
    #[serde(flatten)]
    value: Value,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Value {
    Address { address: IpAddr },
    Name { target: String },
    Service { target: String, port: u16 },
    Texts { texts: Vec<String> },
    Other { base64: String },
}

impl From<DnsQuestion<'_>> for Question {
    fn from(question: DnsQuestion<'_>) -> Self {
        let DnsQuestion { name, kind, unicast_response, .. } = question;
        Self { name: name.to_string(), r#type: DnsKind(kind).to_string(), unicast_response }
    }
}

impl From<DnsRecord<'_>> for Record {
    fn from(record: DnsRecord<'_>) -> Self {
        Self {
            name: record.name.to_string(),
            r#type: DnsKind(record.kind).to_string(),
            ttl_seconds: record.time_to_live,
            cache_flush: record.cache_flush,
            value: match record.value() {
                DnsValue::Address(address) => Value::Address { address },
                DnsValue::Name(name) => Value::Name { target: name.to_string() },
                DnsValue::Service { target, port } => Value::Service { target: target.to_string(), port },
                DnsValue::Texts(texts) => Value::Texts {
                    texts: texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect(),
                },
                DnsValue::Other(bytes) => Value::Other { base64: mcast_json::base64(bytes) },
                _ => Value::Other { base64: String::new() },
            },
        }
    }
}
