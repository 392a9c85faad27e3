//! The least that reading all pods can cost: their metadata, page by page, on one connection, with
//! nothing done about it.

use std::time::Instant;

use http::{Request, header};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;

/// The page size of the program.
const PAGE: u32 = 5000;
/// What a page of metadata is asked for by.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// Reads all pages, and says how long that took in seconds, and how many bytes there were.
pub(crate) async fn read(client: &Client) -> (f64, u64) {
    let started = Instant::now();
    let (mut token, mut bytes) = (String::new(), 0);
    loop {
        let path = format!("/api/v1/pods?limit={PAGE}&continue={token}");
        let request = Request::get(path).header(header::ACCEPT, METADATA);
        let answer = client
            .send(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        let mut body = answer.into_body();
        // The token stands in the list's metadata, before the items.
        let mut start = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.unwrap();
            let Some(data) = frame.data_ref() else {
                continue;
            };
            bytes += u64::try_from(data.len()).unwrap();
            if start.len() < 1024 {
                start.extend_from_slice(data);
            }
        }
        match continue_token(&start) {
            Some(next) => token = next,
            None => return (started.elapsed().as_secs_f64(), bytes),
        }
    }
}

fn continue_token(start: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(start.get(..1024.min(start.len()))?);
    let (_, rest) = text.split_once(r#""continue":""#)?;
    let (token, _) = rest.split_once('"')?;
    (!token.is_empty()).then(|| token.to_owned())
}
