//! PURE: a saved report as it fits into a `ConfigMap`.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::SavedReport;

/// The most that is unpacked: some millions of records. Packed, a megabyte of zeros would be a
/// gigabyte.
const MAX_UNPACKED: u64 = 256 * 1024 * 1024;

/// How a gzip file begins.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A report, packed, and what it lacks.
#[derive(Debug)]
pub struct Fitted {
    /// The packed text.
    pub packed: Vec<u8>,
    /// How many records are in it.
    pub records: usize,
    /// How many had to be left out.
    pub left_out: usize,
}

/// Packs a report.
pub fn pack(report: &SavedReport) -> io::Result<Vec<u8>> {
    let mut packer = io::BufWriter::new(GzEncoder::new(Vec::new(), Compression::default()));
    serde_json::to_writer(&mut packer, report)?;
    packer.flush()?;
    let packer = packer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    packer.finish()
}

/// Packs as many claims of a report as fit into `limit` bytes.
pub fn fit(report: &SavedReport, limit: usize) -> io::Result<Fitted> {
    let mut part = report.clone();
    let mut claims = report.len();
    loop {
        let packed = pack(&part)?;
        if packed.len() <= limit || claims == 0 {
            return Ok(Fitted {
                packed,
                records: part.len(),
                left_out: part.left_out,
            });
        }
        // All claims are about the same size; a little less leaves room for those that are not.
        let claims_that_fit = claims * limit / packed.len();
        claims = claims_that_fit.min(claims - 1) * 19 / 20;
        part = report.first(claims);
    }
}

/// Unpacks what is packed; anything else stays as it is.
pub fn unpack(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    if !bytes.starts_with(&MAGIC) {
        return Ok(bytes);
    }
    let mut text = Vec::new();
    let limit = MAX_UNPACKED + 1;
    let read = GzDecoder::new(bytes.as_slice())
        .take(limit)
        .read_to_end(&mut text)?;
    if u64::try_from(read).unwrap_or(u64::MAX) == limit {
        return Err(io::Error::other("it is too long for a report"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A report of so many entries with a reservation each, and one reservation without.
    fn report(entries: usize) -> SavedReport {
        let reservation = |name: String| json!({"object": {"metadata": {"namespace": "n", "name": name}}, "verdict": "PodGone"});
        let names = (0..entries)
            .map(|i| format!("r{i}"))
            .chain(["alone".to_owned()]);
        let allocations: Vec<_> = (0..entries)
            .map(|i| {
                json!({"namespace": "n", "pool": "p", "range": "10.0.0.0/8", "offset": i.to_string(),
                    "entry": {"id": "c".repeat(64)}, "reservations": [format!("r{i}")], "verdict": "PodGone"})
            })
            .collect();
        let text = json!({
            "apiVersion": "report.whereabouts.cni.cncf.io/v1alpha1", "kind": "ReleaseReport",
            "cluster": "u", "startedAt": "t", "finished": true, "allocations": allocations,
            "reservations": names.map(reservation).collect::<Vec<_>>(),
        });
        SavedReport::parse(text.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_was_packed_comes_out_again() {
        let report = report(3);
        let packed = pack(&report).unwrap();
        assert_eq!(
            SavedReport::parse(&unpack(packed.clone()).unwrap()),
            Ok(report)
        );
        assert_eq!(unpack(b"{}".to_vec()).unwrap(), b"{}");
        for end in 2..packed.len() {
            assert!(unpack(packed[..end].to_vec()).is_err(), "{end}");
        }
        let zeros = vec![0; usize::try_from(MAX_UNPACKED).unwrap() + 1];
        let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
        bomb.write_all(&zeros).unwrap();
        assert!(unpack(bomb.finish().unwrap()).is_err());
    }

    #[test]
    fn what_is_cut_is_whole_claims_and_counted() {
        let all = report(500);
        let whole = fit(&all, 1 << 20).unwrap();
        assert_eq!((whole.records, whole.left_out), (1001, 0));
        let limit = whole.packed.len() / 3;
        let part = fit(&all, limit).unwrap();
        assert!(
            part.packed.len() <= limit && part.records > 100,
            "{}",
            part.records
        );
        assert_eq!(part.records + part.left_out, 1001);
        let part = SavedReport::parse(&unpack(part.packed).unwrap()).unwrap();
        for (entry, reservation) in part.allocations.iter().zip(&part.reservations) {
            assert_eq!(entry.reservations, [reservation.id().1]);
        }
        assert_eq!(part.allocations.len(), part.reservations.len());
        assert!(fit(&all, 10).unwrap().records == 0);
    }
}
