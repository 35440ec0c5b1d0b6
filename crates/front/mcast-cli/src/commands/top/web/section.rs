//! Parts of the page's state: objects by key, of which clients receive what has changed.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Objects by key.
#[derive(Debug, Default)]
pub(super) struct Section(BTreeMap<String, SectionItem>);

/// An object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SectionItem {
    /// What it is, in a few words, for the list of changes.
    pub(super) label: String,
    pub(super) json: String,
}

/// What has changed in a section: keys with labels.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SectionChange {
    pub(super) new: Vec<(String, String)>,
    pub(super) changed: Vec<(String, String)>,
    pub(super) gone: Vec<(String, String)>,
}

impl Section {
    /// Replaces all objects.
    pub(super) fn replace(&mut self, items: BTreeMap<String, SectionItem>) -> SectionChange {
        let mut change = SectionChange::default();
        for (key, item) in &items {
            match self.0.get(key) {
                None => change.new.push((key.clone(), item.label.clone())),
                Some(before) if before != item => change.changed.push((key.clone(), item.label.clone())),
                Some(_) => {}
            }
        }
        let gone = self.0.iter().filter(|(key, _)| !items.contains_key(*key));
        change.gone.extend(gone.map(|(key, item)| (key.clone(), item.label.clone())));
        self.0 = items;
        change
    }

    /// Adds or changes an object.
    pub(super) fn set(&mut self, key: String, item: SectionItem, change: &mut SectionChange) {
        let label = item.label.clone();
        match self.0.insert(key.clone(), item) {
            None => change.new.push((key, label)),
            Some(_) => change.changed.push((key, label)),
        }
    }

    /// Removes an object.
    pub(super) fn remove(&mut self, key: &str, change: &mut SectionChange) {
        if let Some(item) = self.0.remove(key) {
            change.gone.push((key.to_owned(), item.label));
        }
    }

    /// Writes all objects.
    pub(super) fn write(&self, out: &mut String) {
        object(out, self.0.iter().map(|(key, item)| (key.as_str(), item.json.as_str())));
    }

    /// Writes what has changed: an object of those to set, and a list of the keys of those that are gone.
    pub(super) fn write_change(&self, change: &SectionChange, out: &mut String) {
        let set = change.new.iter().chain(&change.changed);
        out.push_str("{\"set\":");
        object(out, set.filter_map(|(key, _)| Some((key.as_str(), self.0.get(key)?.json.as_str()))));
        out.push_str(",\"gone\":");
        // It may have come back since.
        let gone: Vec<_> =
            change.gone.iter().map(|(key, _)| key).filter(|key| !self.0.contains_key(*key)).collect();
        out.push_str(&json(&gone));
        out.push('}');
    }
}

impl SectionChange {
    pub(super) const fn is_empty(&self) -> bool {
        self.new.is_empty() && self.changed.is_empty() && self.gone.is_empty()
    }
}

/// Returns a value as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    // Strings, numbers and lists of them can always be written.
    serde_json::to_string(value).unwrap_or_default()
}

/// Writes an object of values that are JSON already.
pub(super) fn object<'a>(out: &mut String, entries: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push('{');
    for (number, (key, value)) in entries.enumerate() {
        // Writing to a string does not fail.
        let _ = write!(out, "{}{}:{value}", if number > 0 { "," } else { "" }, json(&key));
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(json: &str) -> SectionItem {
        SectionItem { label: "x".into(), json: json.into() }
    }

    fn objects(list: &[(&str, &str)]) -> BTreeMap<String, SectionItem> {
        list.iter().map(|(key, json)| ((*key).to_owned(), item(json))).collect()
    }

    #[test]
    fn only_what_differs_is_sent() {
        let mut section = Section::default();
        section.replace(objects(&[("a", "1"), ("b", "2"), ("c", "3")]));
        let change = section.replace(objects(&[("a", "1"), ("b", "4"), ("d", "5")]));
        let mut text = String::new();
        section.write_change(&change, &mut text);
        assert_eq!(text, r#"{"set":{"d":5,"b":4},"gone":["c"]}"#);
        assert!(section.replace(objects(&[("a", "1"), ("b", "4"), ("d", "5")])).is_empty());
    }

    #[test]
    fn what_came_back_within_a_second_is_not_gone() {
        let (mut section, mut change) = (Section::default(), SectionChange::default());
        section.set("a".into(), item("1"), &mut change);
        section.remove("a", &mut change);
        section.set("a\"".into(), item("2"), &mut change);
        section.set("a".into(), item("3"), &mut change);
        let mut text = String::new();
        section.write_change(&change, &mut text);
        let sent: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(sent, serde_json::json!({ "set": { "a": 3, "a\"": 2 }, "gone": [] }));
    }
}
