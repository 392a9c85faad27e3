//! PURE: what a person who asks about a pod may want to know besides.

use std::fmt;

use serde_json::Value;

/// When and how a pod was seen, as evidence for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.creationTimestamp`.
    pub created: String,
    /// `metadata.deletionTimestamp`, which holds the grace period already.
    pub deletion: Option<String>,
    /// `spec.nodeName`.
    pub node: Option<String>,
    /// `status.phase`.
    pub phase: String,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut say = |name: &str, value: &str| {
            if !value.is_empty() {
                parts.push(format!("{name} {value}"));
            }
        };
        say("version", &self.resource_version);
        say("created", &self.created);
        say(
            "to be gone at",
            self.deletion.as_deref().unwrap_or_default(),
        );
        say("node", self.node.as_deref().unwrap_or_default());
        say("phase", &self.phase);
        f.write_str(&parts.join(", "))
    }
}

/// Reads of a whole pod what a run does not need.
pub fn read(json: &[u8]) -> Result<Evidence, serde_json::Error> {
    let pod: Value = serde_json::from_slice(json)?;
    let text = |pointer| {
        let text = pod.pointer(pointer).and_then(Value::as_str);
        text.map(str::to_owned)
    };
    Ok(Evidence {
        resource_version: text("/metadata/resourceVersion").unwrap_or_default(),
        created: text("/metadata/creationTimestamp").unwrap_or_default(),
        deletion: text("/metadata/deletionTimestamp"),
        node: text("/spec/nodeName"),
        phase: text("/status/phase").unwrap_or_default(),
    })
}
