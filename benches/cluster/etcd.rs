//! Objects written straight into etcd: the API server could take only some hundred a second.

use std::time::Duration;

use http::{Request, header};
use k8s_openapi::ByteString;
use kube::{Client, Config};
use serde_json::{Value, json};

/// The most operations that etcd takes in one transaction.
const MAX_OPERATIONS: usize = 128;
/// The most bytes of one transaction, below the 1.5 MiB of a request.
const MAX_BYTES: usize = 1_000_000;

/// A store to write to.
pub(crate) struct Etcd {
    client: Client,
    operations: Vec<Value>,
    bytes: usize,
}

impl Etcd {
    /// Speaks to etcd's JSON gateway at this address.
    pub(crate) fn at(url: &str) -> Self {
        let mut config = Config::new(url.parse().unwrap());
        config.read_timeout = Some(Duration::from_secs(30));
        Self {
            client: Client::try_from(config).unwrap(),
            operations: Vec::new(),
            bytes: 0,
        }
    }

    /// Writes a value, at once or with the next ones.
    pub(crate) async fn put(&mut self, key: &str, value: &[u8]) {
        let put = json!({"requestPut": {"key": encode(key.as_bytes()), "value": encode(value)}});
        self.operations.push(put);
        self.bytes += value.len() * 4 / 3;
        if self.operations.len() == MAX_OPERATIONS || self.bytes > MAX_BYTES {
            self.flush().await;
        }
    }

    /// Writes what has not been written yet.
    pub(crate) async fn flush(&mut self) {
        let operations = std::mem::take(&mut self.operations);
        self.bytes = 0;
        if !operations.is_empty() {
            self.send("/v3/kv/txn", &json!({ "success": operations }))
                .await;
        }
    }

    /// The value of a key.
    pub(crate) async fn get(&self, key: &str) -> Vec<u8> {
        let range = json!({"key": encode(key.as_bytes())});
        let answer = self.send("/v3/kv/range", &range).await;
        assert_eq!(answer["count"], "1", "etcd has no {key}");
        decode(&answer["kvs"][0]["value"])
    }

    /// All keys below a prefix.
    #[cfg(feature = "etcd")]
    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        let mut range = below(prefix);
        range["keys_only"] = json!(true);
        let answer = self.send("/v3/kv/range", &range).await;
        let found = answer["kvs"].as_array().into_iter().flatten();
        found
            .map(|kv| String::from_utf8(decode(&kv["key"])).unwrap())
            .collect()
    }

    /// Forgets all objects below a prefix.
    pub(crate) async fn clear(&self, prefix: &str) {
        self.send("/v3/kv/deleterange", &below(prefix)).await;
    }

    /// What it says of itself to Prometheus.
    pub(crate) async fn metrics(&self) -> String {
        let request = Request::get("/metrics").body(Vec::new());
        self.client.request_text(request.unwrap()).await.unwrap()
    }

    async fn send(&self, path: &str, body: &Value) -> Value {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string().into_bytes());
        self.client.request(request.unwrap()).await.unwrap()
    }
}

/// The keys below a prefix.
fn below(prefix: &str) -> Value {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().unwrap() += 1;
    json!({"key": encode(prefix.as_bytes()), "range_end": encode(&end)})
}

fn encode(bytes: &[u8]) -> Value {
    serde_json::to_value(ByteString(bytes.to_vec())).unwrap()
}

fn decode(text: &Value) -> Vec<u8> {
    let bytes: ByteString = serde_json::from_value(text.clone()).unwrap();
    bytes.0
}
