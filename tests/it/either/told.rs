//! What a run says of the addresses, and what it should.

use std::collections::BTreeMap;

use serde_json::Value;

use super::record::address;
use crate::support::run::Outcome;

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

/// Of each address its verdict and what became of it. A reservation is judged as its entry is.
pub(super) fn rows(run: &Outcome) -> Vec<(String, String, String)> {
    let report = run.json();
    let all = report["records"].as_array().unwrap().iter();
    let (claims, entries): (Vec<_>, Vec<_>) = all.partition(|row| row["kind"] == "Reservation");
    for claim in claims.iter().filter(|row| row["verdict"] != "Malformed") {
        let mut of_address = entries
            .iter()
            .filter(|row| row["address"] == claim["address"]);
        let entry = of_address.next().unwrap();
        assert_eq!(claim["verdict"], entry["verdict"], "{run:#?}");
    }
    let row = |row: &&Value| {
        let [address, verdict, result] = ["address", "verdict", "result"].map(|it| text(&row[it]));
        (address, verdict, result)
    };
    entries.iter().map(row).collect()
}

/// What [`rows`] should say.
pub(super) fn expected(rows: &[(u8, &str, &str)]) -> Vec<(String, String, String)> {
    let row = |(at, verdict, result): &(u8, &str, &str)| {
        (address(*at), (*verdict).to_owned(), (*result).to_owned())
    };
    rows.iter().map(row).collect()
}

/// What an undo says of each address; the reservation fares as its entry does.
pub(super) fn undone(undone: &Outcome) -> BTreeMap<String, String> {
    let report = undone.json();
    let mut results = BTreeMap::new();
    for row in report["records"].as_array().unwrap() {
        let (address, result) = (text(&row["address"]), text(&row["result"]));
        let before = results.insert(address, result.clone());
        assert!(before.is_none_or(|it| it == result), "{undone:#?}");
    }
    results
}
