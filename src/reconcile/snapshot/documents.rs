//! PURE: the objects in the text of a dump, be it JSON or YAML.

use serde::Deserialize;
use serde_json::Value;

/// One object or list of a dump.
pub(super) struct Document {
    /// Where it stands, for messages.
    pub(super) place: String,
    pub(super) value: Value,
}

/// Parses JSON texts one after the other, or YAML documents.
///
/// # Errors
/// When a part of it is neither, or is cut off.
pub(super) fn parse_documents(text: &str) -> Result<Vec<Document>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_json = text.trim_start().starts_with('{');
    let values: Vec<Value> = if is_json {
        let parsed: Result<_, _> = serde_json::Deserializer::from_str(text)
            .into_iter::<Value>()
            .collect();
        parsed.map_err(|error| format!("not complete JSON: {error}"))?
    } else {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("it does not end with a line break: it is cut off".to_owned());
        }
        let documents = serde_yaml::Deserializer::from_str(text);
        let parsed: Result<Vec<_>, _> = documents.map(serde_yaml::Value::deserialize).collect();
        let parsed = parsed.map_err(|error| format!("not YAML: {error}"))?;
        parsed
            .into_iter()
            .map(yaml_to_json)
            .collect::<Result<_, _>>()?
    };
    let documents = values
        .into_iter()
        .enumerate()
        .filter(|(_, value)| !value.is_null());
    Ok(documents
        .map(|(at, value)| Document {
            place: format!("document {}", at + 1),
            value,
        })
        .collect())
}

/// YAML allows keys that are no strings, such as the offsets of a pool without quotes.
fn yaml_to_json(value: serde_yaml::Value) -> Result<Value, String> {
    use serde_yaml::Value as Yaml;
    match value {
        Yaml::Sequence(items) => items.into_iter().map(yaml_to_json).collect(),
        Yaml::Mapping(members) => {
            let member = |(key, value)| {
                let key = match key {
                    Yaml::String(key) => key,
                    Yaml::Number(key) => key.to_string(),
                    Yaml::Bool(key) => key.to_string(),
                    other => return Err(format!("not a Kubernetes object: the key {other:?}")),
                };
                Ok((key, yaml_to_json(value)?))
            };
            members.into_iter().map(member).collect()
        }
        Yaml::Tagged(tagged) => yaml_to_json(tagged.value),
        scalar => serde_json::to_value(scalar).map_err(|error| error.to_string()),
    }
}
