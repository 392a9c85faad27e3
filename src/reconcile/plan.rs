//! PURE: which records a run releases, and the brakes that stop it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::audit::{Action, Audit, Verdict};
use super::records::{RecordId, Records};
use crate::record::ObjectId;

/// With no pod in sight, more reserved addresses than this look like a broken view of the cluster.
const MAX_ADDRESSES_WITHOUT_PODS: usize = 10;

/// Up to so many records, a share of them says nothing.
const MIN_RECORDS_FOR_SHARE: usize = 100;

/// Which records a run may touch; pods are never narrowed.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Only records in this namespace.
    pub namespace: Option<String>,
    /// Only records of the pools of this name.
    pub pool: Option<String>,
    /// Only records of this address.
    pub address: Option<IpAddr>,
}

impl Scope {
    /// Whether it leaves anything out.
    #[must_use]
    pub fn is_narrow(&self) -> bool {
        self.namespace.is_some() || self.pool.is_some()
    }

    /// Whether the pool is among those to look at.
    #[must_use]
    pub fn holds_pool(&self, pool: &ObjectId) -> bool {
        let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|w| w == name);
        is(&self.namespace, &pool.namespace) && is(&self.pool, &pool.name)
    }

    /// Whether the record is among those to look at.
    ///
    /// A reservation belongs to the pool of its entry; without one, to each pool from which its
    /// address can come.
    #[must_use]
    pub fn holds(&self, records: &Records, id: RecordId) -> bool {
        let namespace_is =
            |namespace: &str| self.namespace.as_deref().is_none_or(|n| n == namespace);
        let pool_is = |name: &str| self.pool.as_deref().is_none_or(|pool| pool == name);
        if self
            .address
            .is_some_and(|at| !records.at(at).any(|other| other == id))
        {
            return false;
        }
        match id {
            RecordId::Entry(index) => {
                let entry = records.entries.get(index);
                entry.is_some_and(|entry| self.holds_pool(&records.pool_of(entry).id))
            }
            RecordId::Reservation(index) => {
                let Some(reservation) = records.reservation(index) else {
                    return false;
                };
                if !namespace_is(reservation.namespace()) || self.pool.is_none() {
                    return namespace_is(reservation.namespace());
                }
                let mut entries = reservation.entries.iter().peekable();
                if entries.peek().is_none() {
                    return records
                        .pools_covering(reservation)
                        .any(|(_, p)| pool_is(&p.id.name));
                }
                // With an entry out of scope it has to stay, so it is out of scope itself.
                entries
                    .filter_map(|index| records.entries.get(*index))
                    .all(|entry| pool_is(&records.pool_of(entry).id.name))
            }
        }
    }
}

/// How much one run may release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxRelease {
    /// So many percent of all records in scope, counted only above 100 records.
    Percent(u8),
    /// So many records.
    Records(usize),
}

impl MaxRelease {
    /// Half of all records in scope.
    pub const DEFAULT: Self = Self::Percent(50);
}

impl FromStr for MaxRelease {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || format!("{text:?} is neither a percentage such as 50% nor a number");
        match text.strip_suffix('%') {
            Some(percent) => match percent.parse() {
                // Nothing at all is meant, however few records there are.
                Ok(0) => Ok(Self::Records(0)),
                Ok(percent) if percent <= 100 => Ok(Self::Percent(percent)),
                _ => Err(invalid()),
            },
            None => text.parse().map(Self::Records).map_err(|_| invalid()),
        }
    }
}

impl fmt::Display for MaxRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Records(records) => write!(f, "{records}"),
        }
    }
}

/// Why nothing is released although there are orphans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No pod at all is visible.
    NoPods {
        /// How many different addresses are recorded in scope.
        addresses: usize,
    },
    /// More would go than one run may release.
    TooMany {
        /// How many records would go.
        orphans: usize,
        /// How many of them do not count, since a run has seen them long ago.
        confirmed: usize,
        /// Of how many in scope.
        records: usize,
        /// The limit.
        limit: MaxRelease,
    },
}

impl Refusal {
    /// The names of all brakes.
    pub const BRAKES: [&'static str; 2] = ["NoPods", "MaxRelease"];

    /// The brake for so many reserved addresses without any pod in sight.
    #[must_use]
    pub fn of_unseen(addresses: usize) -> Option<Self> {
        (addresses > MAX_ADDRESSES_WITHOUT_PODS).then_some(Self::NoPods { addresses })
    }

    /// The brake's name, as reports print it.
    #[must_use]
    pub fn brake(&self) -> &'static str {
        match self {
            Self::NoPods { .. } => "NoPods",
            Self::TooMany { .. } => "MaxRelease",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPods { addresses } => write!(
                f,
                "{addresses} addresses are reserved but no pod at all is visible; \
                 if the cluster really has none, run again with --force"
            ),
            Self::TooMany {
                orphans,
                confirmed,
                records,
                limit,
            } => {
                write!(
                    f,
                    "{orphans} of {records} records would be released, more than --max-release {limit}"
                )?;
                if *confirmed > 0 {
                    write!(f, " although {confirmed} of them no longer count")?;
                }
                f.write_str("; look at a dry run, then raise --max-release or use --force")
            }
        }
    }
}

/// What a run is to release.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Plan {
    /// Indexes of entries, those of one pool side by side.
    pub entries: Vec<usize>,
    /// Indexes of reservations; each goes after its entries.
    pub reservations: Vec<usize>,
    /// The brake that forbids all of it.
    pub refusal: Option<Refusal>,
}

impl Plan {
    /// Collects the orphans in scope and asks the brakes.
    pub fn of(audit: Audit<'_>, scope: &Scope, limit: MaxRelease, pods: usize) -> Self {
        let records = audit.records();
        let mut plan = Self::default();
        let (mut in_scope, mut confirmed) = (0, 0);
        for id in records.ids().filter(|id| scope.holds(records, *id)) {
            in_scope += 1;
            if audit.verdict(id).action() == Action::Release {
                confirmed += usize::from(audit.is_confirmed(id));
                match id {
                    RecordId::Entry(index) => plan.entries.push(index),
                    RecordId::Reservation(index) => plan.reservations.push(index),
                }
            }
        }
        if !plan.is_empty() {
            let addresses = || records.distinct_addresses(|id| scope.holds(records, id));
            let unseen = if pods == 0 { addresses() } else { 0 };
            plan.refusal = Refusal::of_unseen(unseen)
                .or_else(|| too_many(plan.len(), confirmed, in_scope, limit));
        }
        plan
    }

    /// How many records it releases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() + self.reservations.len()
    }

    /// Whether there is nothing to release.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn too_many(
    orphans: usize,
    confirmed: usize,
    records: usize,
    limit: MaxRelease,
) -> Option<Refusal> {
    let counted = orphans.saturating_sub(confirmed);
    let exceeded = match limit {
        MaxRelease::Records(most) => counted > most,
        MaxRelease::Percent(percent) => {
            records > MIN_RECORDS_FOR_SHARE && counted * 100 > records * usize::from(percent)
        }
    };
    exceeded.then_some(Refusal::TooMany {
        orphans,
        confirmed,
        records,
        limit,
    })
}

/// The records in scope whose pods need a second look before their verdict counts.
pub fn suspects<'a>(
    audit: Audit<'a>,
    scope: &'a Scope,
) -> impl Iterator<Item = (RecordId, Verdict<'a>)> {
    let records = audit.records();
    records
        .ids()
        .map(move |id| (id, audit.verdict(id)))
        .filter(|(_, verdict)| verdict.needs_confirmation())
        .filter(move |(id, _)| scope.holds(records, *id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_percentage_or_a_number() {
        assert_eq!("50%".parse(), Ok(MaxRelease::Percent(50)));
        assert_eq!("0".parse(), Ok(MaxRelease::Records(0)));
        for text in ["", "%", "101%", "-1", "5 %", "half"] {
            assert!(text.parse::<MaxRelease>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_share_counts_only_above_a_hundred_records() {
        let half = MaxRelease::Percent(50);
        assert_eq!(too_many(100, 0, 100, half), None);
        assert_eq!(too_many(50, 0, 101, half), None);
        assert!(too_many(51, 0, 101, half).is_some());
        assert!(too_many(3, 0, 10, MaxRelease::Records(2)).is_some());
        assert_eq!(too_many(51, 1, 101, half), None);
        assert!(too_many(100, 49, 101, half).is_some());
        assert_eq!(too_many(3, 1, 10, MaxRelease::Records(2)), None);
    }
}
