//! The schema files describe exactly the fields of the JSON output.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

/// Fails unless the value is what `schemas/NAME.json` describes.
pub(crate) fn assert_valid(name: &str, value: &Value) {
    let text = fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    if let Err(wrong) = check(&schema, value, name) {
        panic!("{wrong}, in {value}");
    }
}

/// Checks the subset of JSON Schema that the files use.
fn check(schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    if !types.iter().any(|name| is_of(value, name)) {
        return Err(format!("{place} is not of type {types:?}"));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Err(format!("{place} is none of {allowed:?}"));
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        values.iter().try_for_each(|each| check(items, each, &format!("{place}[]")))?;
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    let properties = schema["properties"].as_object().expect("an object's properties");
    for (field, value) in fields {
        let schema = properties.get(field).ok_or_else(|| format!("{place}.{field} is not described"))?;
        check(schema, value, &format!("{place}.{field}"))?;
    }
    let required = schema["required"].as_array().expect("what an object must have");
    match required.iter().filter_map(Value::as_str).find(|field| !fields.contains_key(*field)) {
        Some(missing) => Err(format!("{place}.{missing} is missing")),
        None => Ok(()),
    }
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
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
