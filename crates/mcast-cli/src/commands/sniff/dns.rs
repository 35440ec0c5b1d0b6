//! An mDNS message as JSON: part of `schemas/packet.json`.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mcast_packet::payload::{Dns, DnsKind, DnsQuestion, DnsRecord, DnsSection, DnsValue};
use serde::Serialize;

/// Questions and records by section.
#[derive(Debug, Serialize)]
pub(super) struct DnsObject {
    response: bool,
    questions: Vec<Question>,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additional: Vec<Record>,
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

impl DnsObject {
    pub(super) fn new(dns: &Dns<'_>) -> Self {
        let mut object = Self {
            response: dns.is_response,
            questions: dns.questions().map(|question| Question::new(&question)).collect(),
            answers: Vec::new(),
            authorities: Vec::new(),
            additional: Vec::new(),
        };
        for (section, record) in dns.records() {
            let list = match section {
                DnsSection::Answer => &mut object.answers,
                DnsSection::Authority => &mut object.authorities,
                DnsSection::Additional => &mut object.additional,
            };
            list.push(Record::new(&record));
        }
        object
    }
}

impl Question {
    fn new(question: &DnsQuestion<'_>) -> Self {
        Self {
            name: question.name.to_string(),
            r#type: DnsKind(question.kind).to_string(),
            unicast_response: question.unicast_response,
        }
    }
}

impl Record {
    fn new(record: &DnsRecord<'_>) -> Self {
        Self {
            name: record.name.to_string(),
            r#type: DnsKind(record.kind).to_string(),
            ttl_seconds: record.time_to_live,
            cache_flush: record.cache_flush,
            value: Value::new(record.value()),
        }
    }
}

impl Value {
    fn new(value: DnsValue<'_>) -> Self {
        match value {
            DnsValue::Address(address) => Self::Address { address },
            DnsValue::Name(name) => Self::Name { target: name.to_string() },
            DnsValue::Service { target, port } => Self::Service { target: target.to_string(), port },
            DnsValue::Texts(texts) => {
                Self::Texts { texts: texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect() }
            }
            DnsValue::Other(bytes) => Self::Other { base64: STANDARD.encode(bytes) },
            _ => Self::Other { base64: String::new() },
        }
    }
}
