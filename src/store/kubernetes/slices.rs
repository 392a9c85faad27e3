//! I/O: which slice of a range a node has.

use kube::api::{GetParams, Resource};
use kube::core::Request;

use super::Kubernetes;
use crate::api::NodeSlicePool;
use crate::client::Call;
use crate::ip::IpRange;
use crate::store::Error;

/// The slice that the `NodeSlicePool` of this name gives to the node.
pub(super) async fn slice_of(
    store: &Kubernetes,
    name: &str,
    node: &str,
    range: IpRange,
) -> Result<IpRange, Error> {
    let id = store.id(name.to_owned());
    let no_slice = |reason: String| Error::NoSlice {
        slices: id.to_string(),
        reason,
    };
    let object = id.to_string();
    let call = Call {
        verb: "get",
        resource: "nodeslicepools.whereabouts.cni.cncf.io",
        object: &object,
    };
    let path = NodeSlicePool::url_path(&(), Some(&store.namespace));
    let request = Request::new(path).get(name, &GetParams::default());
    let pool: NodeSlicePool = match store.client.call(&call, request).await {
        Ok(pool) => pool,
        Err(error) if error.cause.is_not_found() => {
            return Err(no_slice("there is no such NodeSlicePool".to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    let mut slices = pool
        .status
        .into_iter()
        .flat_map(|status| status.allocations);
    let slice = slices
        .find(|slice| slice.node_name == node)
        .ok_or_else(|| no_slice(format!("it has no slice for node {node}")))?;
    let parsed: Result<IpRange, _> = slice.slice_range.parse();
    let parsed = parsed.map_err(|error| no_slice(error.to_string()))?;
    let (first, prefix_len) = (parsed.masked().address_at(0), parsed.prefix_len());
    let inside =
        first.is_some_and(|first| range.contains(first)) && prefix_len >= range.prefix_len();
    // A range that was changed, and not cut anew yet: its old slices are not to be trusted.
    if !inside {
        let slice = slice.slice_range;
        return Err(no_slice(format!(
            "slice {slice} of node {node} is not in {range}"
        )));
    }
    Ok(parsed)
}
