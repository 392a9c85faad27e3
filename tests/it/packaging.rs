//! What users install: the image, the manifests and the chart.

mod chart;
mod image;
mod manifests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

/// A file of the project.
fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Something that make has built, in target.
fn built(path: &str, target: &str) -> PathBuf {
    let file = project("target").join(path);
    let there = file.is_file();
    assert!(there, "{} is missing: run `make {target}`", file.display());
    file
}

/// Runs a command to its end; gives its output, and panics with its error.
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The objects of a manifest, by kind and name.
fn objects(manifest: &str) -> BTreeMap<(String, String), Value> {
    let documents = serde_yaml::Deserializer::from_str(manifest);
    let objects = documents.map(|document| Value::deserialize(document).unwrap());
    let objects = objects.filter(|object| !object.is_null()).map(|object| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let id = (text(&object["kind"]), text(&object["metadata"]["name"]));
        (id, object)
    });
    objects.collect()
}
