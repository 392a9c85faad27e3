//! PURE: a list in Kubernetes' envelope of protocol buffers.
//!
//! It is four bytes of magic, and a `runtime.Unknown` (k8s.io/apimachinery) whose `raw` is the list:
//! its `metadata`, and its `items`, each behind its own length. So nothing of an item is looked at here.

use std::ops::ControlFlow;

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::{Envelope, MAX_ELEMENT, NoList};
use crate::client::Encoding;

const MAGIC: &[u8] = Encoding::MAGIC;

/// Two numbers of ten bytes at most.
const MAX_HEADER: usize = 20;

mod tag {
    pub(super) const TYPE_META: u32 = 1;
    pub(super) const RAW: u32 = 2;
    pub(super) const METADATA: u32 = 1;
    pub(super) const ITEMS: u32 = 2;
}

#[derive(Message)]
struct TypeMeta {
    #[prost(string, tag = "2")]
    kind: String,
}

#[derive(Message)]
struct ListMeta {
    #[prost(string, tag = "2")]
    resource_version: String,
    #[prost(string, tag = "3")]
    continue_token: String,
}

/// A list that is read piece by piece.
#[derive(Debug, Default)]
pub struct Items {
    /// The beginning of an element whose end has not come in yet.
    partial: Vec<u8>,
    place: Place,
    type_meta: TypeMeta,
    list_meta: Option<ListMeta>,
}

/// Where the reader is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Magic,
    /// In the envelope, before the list.
    Before,
    /// In the list; so many bytes of it are still to come.
    List(usize),
    /// In the envelope, behind the list.
    Behind,
}

/// Something with a length: the magic, or a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Element {
    field: Field,
    /// How long it is, with what says so.
    length: usize,
    /// Where its value begins.
    value: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Magic,
    TypeMeta,
    /// The list, of so many bytes; its fields come as elements of their own.
    Raw(usize),
    Metadata,
    Item,
    Other,
}

impl Items {
    /// Takes the next piece of the body, and hands over each item that it completes.
    pub(super) fn push<E: From<NoList>>(
        &mut self,
        mut chunk: &[u8],
        mut item: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        // What began in the piece before is completed, and no more of this one is copied.
        while !self.partial.is_empty() {
            let known = self.element(&self.partial)?;
            let wanted = known.map_or(1, |element| element.length - self.partial.len());
            let (more, rest) = chunk.split_at(wanted.min(chunk.len()));
            self.partial.extend_from_slice(more);
            chunk = rest;
            let partial = std::mem::take(&mut self.partial);
            match self.step(&partial, &mut item)? {
                ControlFlow::Continue(_) => {}
                ControlFlow::Break(()) => self.partial = partial,
            }
            if chunk.is_empty() {
                return Ok(());
            }
        }
        while !chunk.is_empty() {
            match self.step(chunk, &mut item)? {
                ControlFlow::Continue(used) => chunk = chunk.get(used..).unwrap_or_default(),
                ControlFlow::Break(()) => {
                    self.partial.extend_from_slice(chunk);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes one element, and says how long it was; none, when it is not all there.
    fn step<E: From<NoList>>(
        &mut self,
        data: &[u8],
        item: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<ControlFlow<(), usize>, E> {
        let Some(element) = self.element(data)? else {
            return Ok(ControlFlow::Break(()));
        };
        let Some(value) = data.get(element.value..element.length) else {
            return Ok(ControlFlow::Break(()));
        };
        if let Place::List(left) = &mut self.place {
            *left -= element.length;
        }
        match element.field {
            Field::Magic => self.place = Place::Before,
            Field::TypeMeta => self.type_meta = decoded(value)?,
            Field::Raw(length) => self.place = Place::List(length),
            // Only of the last one would be known whether there is another page.
            Field::Metadata if self.list_meta.is_some() => {
                return Err(NoList::Protobuf("it has two metadata".to_owned()).into());
            }
            Field::Metadata => self.list_meta = Some(decoded(value)?),
            Field::Item => item(value)?,
            Field::Other => {}
        }
        if self.place == Place::List(0) {
            self.place = Place::Behind;
        }
        Ok(ControlFlow::Continue(element.length))
    }

    /// What begins here; `None` when there is too little to tell.
    fn element(&self, data: &[u8]) -> Result<Option<Element>, NoList> {
        if self.place == Place::Magic {
            if !MAGIC.starts_with(data.get(..MAGIC.len()).unwrap_or(data)) {
                return Err(NoList::Protobuf("it has no envelope".to_owned()));
            }
            return Ok(Some(Element {
                field: Field::Magic,
                length: MAGIC.len(),
                value: MAGIC.len(),
            }));
        }
        let Some((number, length, value)) = header(data)? else {
            return Ok(None);
        };
        let field = match (self.place, number) {
            (Place::Before, tag::TYPE_META) => Field::TypeMeta,
            (Place::Before, tag::RAW) => Field::Raw(length),
            (Place::Behind, tag::RAW) => {
                return Err(NoList::Protobuf("it has two lists".to_owned()));
            }
            (Place::List(_), tag::METADATA) => Field::Metadata,
            (Place::List(_), tag::ITEMS) => Field::Item,
            _ => Field::Other,
        };
        let length = match field {
            Field::Raw(_) => value,
            _ if length > MAX_ELEMENT => {
                return Err(NoList::TooLarge(length));
            }
            _ => value + length,
        };
        match self.place {
            Place::List(left) if length > left => Err(NoList::Protobuf(
                "an item is longer than its list".to_owned(),
            )),
            _ => Ok(Some(Element {
                field,
                length,
                value,
            })),
        }
    }

    /// What the list says of itself, once the whole body has come in.
    pub(super) fn finish(self) -> Result<Envelope, NoList> {
        if self.place != Place::Behind || !self.partial.is_empty() {
            return Err(NoList::Cut);
        }
        let ListMeta {
            resource_version,
            continue_token,
        } = self.list_meta.unwrap_or_default();
        Envelope::of(
            &self.type_meta.kind,
            &resource_version,
            Some(continue_token),
        )
    }
}

/// The number of a field, the length of its value, and where that begins; `None` when there is too
/// little to tell.
fn header(data: &[u8]) -> Result<Option<(u32, usize, usize)>, NoList> {
    let start = data.get(..MAX_HEADER).unwrap_or(data);
    // Each number ends with a byte below 128.
    let mut ends = (0..start.len()).filter(|at| start.get(*at).is_some_and(|byte| *byte < 128));
    if ends.nth(1).is_none() && start.len() < MAX_HEADER {
        return Ok(None);
    }
    let mut rest = start;
    let (number, kind) = decode_key(&mut rest).map_err(unreadable)?;
    if kind != WireType::LengthDelimited {
        let problem = format!("field {number} of the list has no length");
        return Err(NoList::Protobuf(problem));
    }
    let length = decode_varint(&mut rest).map_err(unreadable)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(Some((number, length, start.len() - rest.len())))
}

fn decoded<M: Message + Default>(value: &[u8]) -> Result<M, NoList> {
    M::decode(value).map_err(unreadable)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreadable(error: prost::DecodeError) -> NoList {
    NoList::Protobuf(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::encoding::{encode_key, encode_varint};

    use super::*;

    fn field(number: u32, value: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        encode_key(number, WireType::LengthDelimited, &mut all);
        encode_varint(value.len() as u64, &mut all);
        all.extend_from_slice(value);
        all
    }

    fn list(kind: &str, version: &str, token: &str, items: &[Vec<u8>]) -> Vec<u8> {
        let type_meta = [field(1, b"meta.k8s.io/v1"), field(2, kind.as_bytes())].concat();
        let metadata = [
            field(1, b""),
            field(2, version.as_bytes()),
            field(3, token.as_bytes()),
        ];
        let mut raw = field(1, &metadata.concat());
        raw.extend(items.iter().flat_map(|item| field(2, item)));
        [
            MAGIC.to_vec(),
            field(1, &type_meta),
            field(2, &raw),
            field(3, b""),
            field(4, b""),
        ]
        .concat()
    }

    fn split(body: &[u8], cut: usize) -> (Vec<Vec<u8>>, Result<Envelope, NoList>) {
        let mut items = Items::default();
        let mut found = Vec::new();
        for chunk in body.chunks(cut.max(1)) {
            let read = items.push(chunk, |item| {
                found.push(item.to_vec());
                Ok::<_, NoList>(())
            });
            if let Err(error) = read {
                return (found, Err(error));
            }
        }
        (found, items.finish())
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        let body = list("PodList", "1", "", &[vec![7; 3], vec![], vec![9; 300]]);
        // The two empty fields behind the list are of no matter.
        let whole = body.len() - 4;
        for end in 0..body.len() {
            let read = split(&body[..end], 7).1;
            assert_eq!(
                read.is_ok(),
                end == whole || end == whole + 2,
                "{end}: {read:?}"
            );
        }
    }

    #[test]
    fn what_is_no_list_never_passes_for_an_empty_one() {
        assert!(split(&list("PodList", "1", "", &[]), 3).1.is_ok());
        for body in [
            Vec::new(),
            b"{}".to_vec(),
            MAGIC.to_vec(),
            list("Status", "1", "", &[]),
            list("PodList", "", "", &[]),
            [list("PodList", "1", "", &[]), field(2, b"")].concat(),
            [MAGIC.to_vec(), field(2, b"")].concat(),
            [MAGIC, &[0xff; 30]].concat(),
            [
                MAGIC.to_vec(),
                field(1, &field(2, b"PodList")),
                field(2, &field(1, &field(2, b"1")).repeat(2)),
            ]
            .concat(),
            [MAGIC, &[0x08, 1]].concat(),
        ] {
            assert!(split(&body, 3).1.is_err(), "{body:?}");
        }
    }

    #[test]
    fn an_item_never_reaches_beyond_its_list() {
        let raw = [field(1, &field(2, b"1")), vec![0x12, 50]].concat();
        let mut body = [MAGIC.to_vec(), field(2, &raw)].concat();
        body.extend([0; 60]);
        assert!(split(&body, 1000).1.is_err());
        // Whatever length it claims, nothing is set aside for it.
        let raw = [field(1, b""), vec![0x12, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat();
        let body = [MAGIC.to_vec(), field(2, &raw)].concat();
        assert!(split(&body, 1000).1.is_err());
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_same_items(
            items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..6),
            token in "[a-z]{0,3}", cut in 1usize..400,
        ) {
            let (found, envelope) = split(&list("PodList", "5", &token, &items), cut);
            prop_assert_eq!(found, items);
            let token = Some(token).filter(|token| !token.is_empty());
            prop_assert_eq!(envelope.unwrap().continue_token, token);
        }

        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>, cut in 1usize..9) {
            let _ = split(&body, cut);
            let _ = split(&[MAGIC, &body].concat(), cut);
            let _ = split(&[list("PodList", "1", "", &[]), body].concat(), cut);
        }
    }
}
