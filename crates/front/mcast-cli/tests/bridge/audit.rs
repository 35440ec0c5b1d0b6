//! What an engine contains, and what a bridge printed.

use std::collections::BTreeMap;

use serde_json::Value;

/// A record in an engine, with the names of fields in Redis.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) incarnation: u64,
    /// The number of its last message.
    pub(crate) number: u64,
    pub(crate) fields: BTreeMap<String, String>,
}

impl Entry {
    /// Returns a record with this id (`INCARNATION-NUMBER`), these properties and this text. `names` are those of properties,
    /// each with the name of the field in Redis.
    pub(crate) fn of(id: &str, properties: &Value, text: &Value, names: &[(&str, &str)]) -> Self {
        let (incarnation, number) = id.split_once('-').unwrap();
        let value = |name: &str| match &properties[name] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            number => Some(number.to_string()),
        };
        let fields = names.iter().filter_map(|(name, field)| Some((field.to_string(), value(name)?)));
        let mut fields: BTreeMap<String, String> = fields.collect();
        if !fields.contains_key("kind") {
            fields.insert("d".into(), text.as_str().unwrap().to_owned());
        }
        Self { incarnation: incarnation.parse().unwrap(), number: number.parse().unwrap(), fields }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// Returns the first message number that it accounts for.
    fn first(&self) -> u64 {
        self.field("first").map_or(self.number, |first| first.parse().unwrap())
    }

    fn closes(&self) -> bool {
        self.field("kind") == Some("end") || self.field("kind") == Some("gap") && self.field("end").is_none()
    }
}

/// What a stream in an engine contains.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) messages: u64,
    /// The ranges of gaps; the end is `None` if it is unknown.
    pub(crate) gaps: Vec<(u64, Option<u64>, String)>,
    pub(crate) ends: u64,
}

/// Checks that the entries account for each number once and in order, and that each message has the payload that
/// `payload` returns for its incarnation and number.
pub(crate) fn audit(entries: &[Entry], payload: impl Fn(u64, u64) -> Option<String>) -> Audit {
    let mut audit = Audit::default();
    let mut before: Option<&Entry> = None;
    for entry in entries {
        let expected = match before {
            Some(before) if before.incarnation == entry.incarnation => before.number + 1,
            Some(before) => {
                assert!(before.closes(), "{entry:?} follows {before:?}");
                0
            }
            None => 0,
        };
        assert_eq!(entry.first(), expected, "{entry:?} follows {before:?}");
        match entry.field("kind") {
            None => {
                audit.messages += 1;
                let expected = payload(entry.incarnation, entry.number);
                assert!(expected.is_none() || entry.field("d") == expected.as_deref(), "{entry:?}");
            }
            Some("gap") => {
                let end = entry.field("end").map(|end| end.parse().unwrap());
                assert!(end.is_none_or(|end| end == entry.number + 1), "{entry:?}");
                audit.gaps.push((entry.first(), end, entry.field("cause").unwrap().to_owned()));
            }
            Some("end") => audit.ends += 1,
            Some(other) => panic!("an entry of the kind {other}"),
        }
        before = Some(entry);
    }
    audit
}

/// Returns the records that a bridge printed, checked against their schemas, and the summary.
pub(crate) fn records(ended: &crate::support::Ended) -> (Vec<Value>, Value) {
    let mut records = ended.json();
    let summary = records.pop().unwrap();
    crate::schemas::assert_valid("bridge-summary", &summary);
    let own = [
        "connected",
        "disconnected",
        "waiting",
        "other-bridge",
        "gap",
        "superseded",
        "engine-lost",
        "engine-healed",
        "retention",
        "unstorable",
        "serving-history",
        "history-refused",
    ];
    for record in &records {
        let is_own = own.contains(&record["event"].as_str().unwrap());
        crate::schemas::assert_valid(if is_own { "bridge-event" } else { "stream-event" }, record);
    }
    (records, summary)
}
