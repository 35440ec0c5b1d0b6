//! What all schema files have in common.

#[cfg(feature = "schema")]
use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::schemas::{check, folder};

#[cfg(feature = "schema")]
#[test]
fn every_schema_is_that_of_its_type() {
    let files: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let generated = mcast_cli::schemas();
    let names = generated.iter().map(|schema| schema.name().to_owned());
    assert_eq!(files, names.collect(), "a schema has no type");
    assert_eq!(files.len(), generated.len(), "a schema has two types");
    for schema in generated {
        let path = folder().join(schema.name()).with_extension("json");
        assert!(
            fs::read_to_string(&path).unwrap() == schema.to_json().unwrap(),
            "run `cargo xtask docs`: {}",
            path.display()
        );
    }
}

#[test]
fn the_check_detects_violations() {
    let schema: Value = serde_json::from_str(
        r#"{"type": "object", "required": ["a"], "properties": {"a": {"type": ["integer", "null"]}}}"#,
    )
    .unwrap();
    let valid = |text: &str| check(&schema, &serde_json::from_str(text).unwrap(), "x").is_ok();
    assert!(valid(r#"{"a": 1}"#) && valid(r#"{"a": null}"#));
    assert!(
        !valid(r#"{"a": "1"}"#) && !valid(r#"{"a": 1.5}"#) && !valid("{}") && !valid(r#"{"a": 1, "b": 2}"#)
    );
}

#[test]
fn every_schema_describes_every_field() {
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let schema: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert!(schema["title"].is_string(), "{}", path.display());
        assert_described(&schema, &path.display().to_string());
    }
}

#[test]
fn every_schema_follows_the_conventions() {
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let place = path.display();
        let schema: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let event = &schema["properties"]["event"];
        assert!(event["enum"].as_array().is_some_and(|events| !events.is_empty()), "{place}: no event");
        assert!(schema["required"].as_array().unwrap().contains(&"event".into()), "{place}: no event");
        assert_conventional(&schema, &place.to_string());
    }
}

/// A name ends in its unit, always the same one, and `protocol` is text.
fn assert_conventional(schema: &Value, place: &str) {
    const SHORTENED: [&str; 6] = ["_s", "_sec", "_secs", "_millis", "_micros", "_bps"];
    for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{place}.{field}");
        assert!(!SHORTENED.iter().any(|unit| field.ends_with(unit)), "{place} has a unit of its own");
        if field == "protocol" {
            let types = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
            assert!(types.iter().all(|name| name == "string" || name == "null"), "{place}: {types:?}");
            let names = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
            assert!(names.into_iter().all(|name| name == name.to_lowercase()), "{place}");
        }
        assert_conventional(schema, &place);
    }
    if let Some(items) = schema.get("items") {
        assert_conventional(items, place);
    }
}

fn assert_described(schema: &Value, place: &str) {
    assert!(schema["description"].is_string(), "{place} has no description");
    if let Some(items) = schema.get("items") {
        assert_described(items, &format!("{place}[]"));
    }
    for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
        assert_described(schema, &format!("{place}.{field}"));
    }
}
