//! The wire format of a profile: those parts of `profile.proto` that are asked for. What they mean is [`super`]'s.

use prost::{Message, bytes::Bytes};

use super::InvalidProfile;

/// Things by their id. In profiles that programs write ids are 1, 2, 3 and so on; in others they may be anything.
pub struct ById<T>(Vec<(u64, T)>);

impl<T> ById<T> {
    pub fn get(&self, id: u64) -> Option<&T> {
        let guess = usize::try_from(id.wrapping_sub(1)).ok().and_then(|it| self.0.get(it)).filter(|it| it.0 == id);
        let search = || self.0.binary_search_by_key(&id, |it| it.0).ok().map(|it| &self.0[it]);
        guess.or_else(search).map(|it| &it.1)
    }
}

impl<T> FromIterator<(u64, T)> for ById<T> {
    fn from_iter<I: IntoIterator<Item = (u64, T)>>(things: I) -> Self {
        let mut things: Vec<(u64, T)> = things.into_iter().collect();
        things.sort_by_key(|it| it.0);
        things.dedup_by_key(|it| it.0);
        Self(things)
    }
}

/// A profile. What there is much of stays as it came: taken apart all at once, it would take several times the memory.
#[derive(Clone, PartialEq, Message)]
pub struct Proto {
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueTypeProto>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub sample: Vec<Bytes>,
    #[prost(message, repeated, tag = "3")]
    pub mapping: Vec<MappingProto>,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub location: Vec<Bytes>,
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<FunctionProto>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub string_table: Vec<Bytes>,
    #[prost(int64, tag = "12")]
    pub period: i64,
}

impl Proto {
    /// A text of the table.
    pub fn text(&self, index: i64) -> Result<&str, InvalidProfile> {
        let found = usize::try_from(index).ok().and_then(|it| self.string_table.get(it));
        let bytes = found.ok_or(InvalidProfile::Dangling { what: "string", id: index.unsigned_abs() })?;
        str::from_utf8(bytes).map_err(|it| InvalidProfile::Format(it.to_string()))
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct ValueTypeProto {
    #[prost(int64, tag = "1")]
    pub kind: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct SampleProto {
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct MappingProto {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(int64, tag = "5")]
    pub filename: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct LocationProto {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub mapping_id: u64,
    #[prost(uint64, tag = "3")]
    pub address: u64,
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<LineProto>,
}

#[derive(Clone, PartialEq, Message)]
pub struct LineProto {
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
    #[prost(int64, tag = "2")]
    pub line: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct FunctionProto {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(int64, tag = "2")]
    pub name: i64,
    #[prost(int64, tag = "4")]
    pub filename: i64,
}
