//! The schema files describe exactly the fields of the JSON output.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// Returns the folder of the schema files.
pub(crate) fn folder() -> PathBuf {
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
pub(crate) fn check(schema: &Value, value: &Value, place: &str) -> Result<(), String> {
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
