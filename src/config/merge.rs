//! PURE: one document out of the call's and the flat file's.

use std::io;
use std::path::Path;

use serde_json::{Map, Value};

use super::raw::Ipam;
use super::{Error, ReadFile};

/// The most characters of a configuration that an error shows.
const MAX_SHOWN: usize = 4096;

/// A network configuration, its keys in lower case and without nulls.
pub(super) struct Network {
    /// `name`.
    pub(super) name: String,
    /// `ipam`.
    pub(super) ipam: Map<String, Value>,
}

pub(super) fn read(stdin: &[u8]) -> Result<Network, Error> {
    let json = |reason: String| Error::Json {
        reason,
        bytes: shown(stdin),
    };
    let document: Value = serde_json::from_slice(stdin).map_err(|error| json(error.to_string()))?;
    let Value::Object(mut network) = lower_case(document) else {
        return Err(json("it is no object".to_owned()));
    };
    let name = network.get("name").and_then(Value::as_str);
    let name = name.unwrap_or_default().to_owned();
    match network.remove("ipam") {
        Some(Value::Object(ipam)) => Ok(Network { name, ipam }),
        None => Err(Error::NoIpam),
        Some(_) => Err(json("ipam is no object".to_owned())),
    }
}

/// The members, which must have the types that they should have.
pub(super) fn typed(document: &Map<String, Value>) -> Result<Ipam, serde_json::Error> {
    serde_json::from_value(document.clone().into())
}

/// A configuration as an error shows it: whoever reads errors need not read passwords, nor all of
/// one that nobody wrote by hand.
pub(super) fn shown(stdin: &[u8]) -> String {
    let text = String::from_utf8_lossy(stdin);
    if text.to_lowercase().contains("password") {
        return "(not shown: there is a password in it)".to_owned();
    }
    match text.char_indices().nth(MAX_SHOWN) {
        None => text.into_owned(),
        Some((end, _)) => format!(
            "{}... ({} bytes)",
            text.get(..end).unwrap_or_default(),
            stdin.len()
        ),
    }
}

/// Go matches keys in any letter case, and takes null for absent.
fn lower_case(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(_, value)| !value.is_null());
            members
                .map(|(key, value)| (key.to_lowercase(), lower_case(value)))
                .collect()
        }
        Value::Array(items) => items.into_iter().map(lower_case).collect(),
        scalar => scalar,
    }
}

/// The first flat file that exists.
pub(super) fn first_of<'a>(
    paths: impl Iterator<Item = &'a str>,
    read_file: ReadFile<'_>,
) -> Result<Option<Map<String, Value>>, Error> {
    for path in paths {
        let read = read_file(Path::new(path)).map_err(|error| {
            let (path, reason) = (path.to_owned(), error.to_string());
            match error.kind() {
                io::ErrorKind::IsADirectory => Error::FlatRead { path, reason },
                _ => Error::FlatFile { path, reason },
            }
        })?;
        let Some(text) = read else { continue };
        let broken = |reason: String| Error::FlatJson {
            path: path.to_owned(),
            reason,
        };
        let parsed: Value =
            serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        let members = match lower_case(parsed) {
            Value::Null => Map::new(),
            Value::Object(members) => members,
            _ => return Err(broken("it is no object".to_owned())),
        };
        typed(&members).map_err(|error| broken(error.to_string()))?;
        return Ok(Some(members));
    }
    Ok(None)
}

/// Fills what is empty. Lists are taken as a whole, and whether ranges may overlap is never asked
/// of the flat file.
pub(super) fn fill(into: &mut Map<String, Value>, flat: Map<String, Value>) {
    for (key, value) in flat
        .into_iter()
        .filter(|(key, _)| key != "enable_overlapping_ranges")
    {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(own)), Value::Object(more)) => fill(own, more),
            (Some(own), value) if is_empty(own) => *own = value,
            (Some(_), _) => {}
            (None, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}
