//! I/O: changes keys of etcd, each change guarded by what was read.

use etcd_client::{Compare, CompareOp, GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse};
use serde_json::Value;

use super::pools::Place;
use super::{EtcdLedger, KEYS};
use crate::client::{Call, CallError, Cause, Refusal};
use crate::pod::RECONCILE_KEY;
use crate::reconcile::apply::{Pending, Standing};
use crate::record::words::Words;
use crate::record::{Entry, ObjectId, Owner, Pool, PoolObject};
use crate::store::etcd::layout::{CLUSTER, Key, Record};

/// Entries in one transaction: etcd takes 128 operations by default, and each entry has three keys.
pub(in crate::reconcile) const MAX_ENTRIES_A_TXN: usize = 42;

impl EtcdLedger {
    /// Looks at what is at the entries' keys.
    pub(in crate::reconcile) async fn look_again(
        &self,
        pool: &Pool,
        pending: &[Pending],
    ) -> Result<Vec<Standing>, CallError> {
        let (call, place) = of_pool("read", pool)?;
        let judged_at = judged_at(&call, pool)?;
        let keys = keys(&call, &place, pending.iter().map(|entry| &*entry.key))?;
        let exemption = TxnOp::get(place.annotation(RECONCILE_KEY), None);
        let gets = keys.iter().map(|key| TxnOp::get(key.text(), None));
        let txn = Txn::new().and_then(gets.chain([exemption]).collect::<Vec<_>>());
        let answer = self.txn(&call, txn).await?;
        let mut found = got(&answer.op_responses());
        let exemption = found.pop().flatten();
        if found.len() != pending.len() {
            return Err(call.unreadable("not every key was answered"));
        }
        let is_same = |found: &KeyValue| found.mod_revision() <= judged_at;
        // Whoever has touched it since does not want what was planned.
        let is_exempted = exemption.is_some_and(|exemption| !is_same(&exemption));
        let standing = |found: Option<KeyValue>| match found {
            None => Standing::Gone,
            Some(found) if is_exempted || !is_same(&found) => Standing::Changed,
            Some(found) => {
                serde_json::from_slice(found.value()).map_or(Standing::Changed, Standing::AsJudged)
            }
        };
        Ok(found.into_iter().map(standing).collect())
    }

    /// Deletes entries and the keys that lead to them, if none was written since it was judged.
    pub(in crate::reconcile) async fn take_out(
        &self,
        pool: &Pool,
        pending: &[Pending],
    ) -> Result<(), CallError> {
        let (call, place) = of_pool("delete", pool)?;
        let judged_at = judged_at(&call, pool)?;
        let keys = keys(&call, &place, pending.iter().map(|entry| &*entry.key))?;
        let not_since =
            |key: String| Compare::mod_revision(key, CompareOp::Less, judged_at.saturating_add(1));
        let mut guards = vec![not_since(place.annotation(RECONCILE_KEY))];
        let mut deletes = Vec::new();
        for (key, entry) in keys.iter().zip(pending) {
            // One that is missing has not been written either.
            guards.push(Compare::version(key.text(), CompareOp::Greater, 0));
            guards.push(not_since(key.text()));
            let record = record(&call, &entry.judged)?;
            let indexes = record.indexes(key).into_iter();
            let gone = indexes.chain([key.text()]);
            deletes.extend(gone.map(|key| TxnOp::delete(key, None)));
        }
        let txn = Txn::new().when(guards).and_then(deletes);
        self.change(&call, txn).await
    }

    /// Looks at what is in the place of addresses, wherever in the network they are protected. The pool
    /// is there by its name.
    pub(in crate::reconcile) async fn read_entries(
        &self,
        id: &ObjectId,
        range_text: &str,
        wanted: &[&str],
    ) -> Result<Option<PoolObject>, CallError> {
        let pool = Pool::new(id.clone(), range_text, false);
        let Ok((call, place)) = of_pool("read", &pool) else {
            return Ok(None);
        };
        let addresses = addresses(&call, &place, wanted.iter().copied())?;
        let places = addresses.iter().flat_map(|address| place.keys(*address));
        let gets = places.map(|key| TxnOp::get(key.text(), None));
        let txn = Txn::new().and_then(gets.collect::<Vec<_>>());
        let answer = self.txn(&call, txn).await?;
        let found = got(&answer.op_responses());
        let both = wanted.iter().zip(&addresses).zip(found.chunks(2));
        let entries = both.filter_map(|((key, address), found)| {
            let found = found.iter().flatten().next()?;
            Some(Entry {
                pool: 0,
                key: (*key).into(),
                words: Words::other(&String::from_utf8_lossy(found.value())),
                address: Ok(*address),
                owner: Owner::default(),
                uid: None,
            })
        });
        let entries = entries.collect();
        Ok(Some(PoolObject { pool, entries }))
    }

    /// Records addresses that nobody has.
    pub(in crate::reconcile) async fn put_in(
        &self,
        pool: &Pool,
        new: &[(&str, &Value)],
    ) -> Result<(), CallError> {
        let (call, place) = of_pool("put", pool)?;
        let addresses = addresses(&call, &place, new.iter().map(|(key, _)| *key))?;
        let (mut guards, mut puts) = (Vec::new(), Vec::new());
        for (address, (_, value)) in addresses.into_iter().zip(new) {
            let free = place.keys(address);
            guards
                .extend(free.map(|key| Compare::create_revision(key.text(), CompareOp::Equal, 0)));
            let (key, record) = (place.key(address), record(&call, value)?);
            let indexes = record.indexes(&key);
            puts.push(TxnOp::put(key.text(), value.to_string(), None));
            puts.extend(indexes.map(|index| TxnOp::put(index, "", None)));
        }
        self.change(&call, Txn::new().when(guards).and_then(puts))
            .await
    }

    /// Writes annotations of a pool, or removes them. Two runs at once may overwrite each other's.
    pub(in crate::reconcile) async fn annotate(
        &self,
        pool: &Pool,
        annotations: &[(&'static str, Option<String>)],
    ) -> Result<(), CallError> {
        // One that cannot be read has none.
        let Ok((call, place)) = of_pool("put", pool) else {
            return Ok(());
        };
        let writes = annotations.iter().map(|(name, value)| {
            let key = place.annotation(name);
            match value {
                Some(value) => TxnOp::put(key, value.as_str(), None),
                None => TxnOp::delete(key, None),
            }
        });
        let txn = Txn::new().and_then(writes.collect::<Vec<_>>());
        self.txn(&call, txn).await.map(|_| ())
    }

    /// The uid of the cluster whose reconciler frees addresses here, if one ever did.
    pub(in crate::reconcile) async fn cluster(&self) -> Result<Option<String>, CallError> {
        let call = of_cluster("read");
        let found = self.get(&call, CLUSTER, GetOptions::new()).await?;
        Ok(found.kvs().first().map(text))
    }

    /// Notes that it is this one, unless another one was faster; which it is.
    pub(in crate::reconcile) async fn claim(&self, uid: &str) -> Result<String, CallError> {
        let call = of_cluster("put");
        let txn = Txn::new()
            .when([Compare::create_revision(CLUSTER, CompareOp::Equal, 0)])
            .and_then([TxnOp::put(CLUSTER, uid, None)])
            .or_else([TxnOp::get(CLUSTER, None)]);
        let answer = self.txn(&call, txn).await?;
        if answer.succeeded() {
            return Ok(uid.to_owned());
        }
        let found = got(&answer.op_responses()).into_iter().flatten().next();
        found
            .as_ref()
            .map(text)
            .ok_or_else(|| call.unreadable("the key was not answered"))
    }

    async fn change(&self, call: &Call<'_>, txn: Txn) -> Result<(), CallError> {
        if self.txn(call, txn).await?.succeeded() {
            return Ok(());
        }
        Err(call.failed(Cause::Etcd {
            said: "it is not what it was".to_owned(),
            refusal: Refusal::Conflict,
        }))
    }
}

/// A call about whose the records are.
fn of_cluster(verb: &'static str) -> Call<'static> {
    Call {
        verb,
        resource: KEYS,
        object: CLUSTER,
    }
}

fn text(found: &KeyValue) -> String {
    String::from_utf8_lossy(found.value()).trim().to_owned()
}

/// A call about a pool, and where that is.
fn of_pool<'a>(verb: &'static str, pool: &'a Pool) -> Result<(Call<'a>, Place), CallError> {
    let call = Call {
        verb,
        resource: KEYS,
        object: &pool.id.name,
    };
    match Place::of_pool(pool) {
        Some(place) => Ok((call, place)),
        None => Err(call.unreadable("no keys belong to a pool of this name")),
    }
}

/// The revision at which the pool was read.
fn judged_at(call: &Call<'_>, pool: &Pool) -> Result<i64, CallError> {
    let revision = pool.resource_version.parse();
    revision.map_err(|_| call.unreadable("it is not known at which revision it was read"))
}

fn addresses<'a>(
    call: &Call<'_>,
    place: &Place,
    keys: impl Iterator<Item = &'a str>,
) -> Result<Vec<std::net::IpAddr>, CallError> {
    let address = |key: &str| {
        let address = place.address(key);
        address.ok_or_else(|| call.unreadable(format!("{key:?} is no offset in the range")))
    };
    keys.map(address).collect()
}

fn keys<'a>(
    call: &Call<'_>,
    place: &Place,
    keys: impl Iterator<Item = &'a str>,
) -> Result<Vec<Key>, CallError> {
    let addresses = addresses(call, place, keys)?.into_iter();
    Ok(addresses.map(|address| place.key(address)).collect())
}

fn record(call: &Call<'_>, value: &Value) -> Result<Record, CallError> {
    serde_json::from_value(value.clone()).map_err(|error| call.unreadable(error))
}

/// The key that each GET of a transaction has found.
fn got(answers: &[TxnOpResponse]) -> Vec<Option<KeyValue>> {
    let each = answers.iter().map(|answer| match answer {
        TxnOpResponse::Get(found) => found.kvs().first().cloned(),
        _ => None,
    });
    each.collect()
}
