//! What the API server says of itself: unlike time, counts of requests are exact.

use std::collections::BTreeMap;

use crate::reconcile::Bench;
use crate::table::{Cell, median};

/// The resources that are counted.
const POOLS: &str = "ippools";
const RESERVATIONS: &str = "overlappingrangeipreservations";

/// What the API server and etcd have counted since they were started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    /// Requests that were answered, by verb and resource.
    requests: BTreeMap<(String, String), f64>,
    /// Time on a processor, of both, in seconds.
    cpu: f64,
}

impl Counters {
    pub(crate) async fn read(bench: &Bench) -> Self {
        let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
        let mut counters = Self::default();
        let server = bench.client.request_text(request).await.unwrap();
        for text in [server, bench.etcd.metrics().await] {
            text.lines().for_each(|line| counters.note(line));
        }
        counters
    }

    fn note(&mut self, line: &str) {
        let Some((name, value)) = line.rsplit_once(' ') else {
            return;
        };
        if name == "process_cpu_seconds_total" {
            self.cpu += value.parse::<f64>().unwrap();
        }
        if name.starts_with("apiserver_request_total{") {
            let label = |label: &str| {
                let (_, rest) = name.split_once(&format!("{label}=\"")).unwrap();
                rest.split('"').next().unwrap().to_owned()
            };
            let key = (label("verb"), label("resource"));
            *self.requests.entry(key).or_default() += value.parse::<f64>().unwrap();
        }
    }

    /// What has been counted since `before`.
    pub(crate) fn since(mut self, before: &Self) -> Self {
        for (key, count) in &before.requests {
            *self.requests.entry(key.clone()).or_default() -= count;
        }
        self.cpu -= before.cpu;
        self
    }

    /// For each of so many calls: requests by kind, and time on a processor; medians.
    pub(crate) fn cells(all: &[Self], calls: u32) -> Vec<Cell> {
        let of = |figure: &dyn Fn(&Self) -> f64, digits| {
            let each = all
                .iter()
                .map(|counters| figure(counters) / f64::from(calls));
            Cell::Figure(median(each), digits)
        };
        let requests = |(verb, resource)| of(&|counters| counters.requests(verb, resource), 2);
        let kinds = [
            ("POST", RESERVATIONS),
            ("LIST", RESERVATIONS),
            ("GET", POOLS),
            ("GET", RESERVATIONS),
            ("PATCH", POOLS),
        ];
        let cpu = of(&|counters| counters.cpu * 1000.0, 1);
        kinds.map(requests).into_iter().chain([cpu]).collect()
    }

    fn requests(&self, verb: &str, resource: &str) -> f64 {
        let key = (verb.to_owned(), resource.to_owned());
        self.requests.get(&key).copied().unwrap_or_default()
    }
}
