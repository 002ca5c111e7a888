//! A serde deserializer over the parsed tree of `toml` that keeps spans, names the entry an
//! error happened in, and passes over entries that are known to be wrong.

use std::collections::HashSet;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde_spanned::de::{SpannedDeserializer, is_spanned};
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::fault::{Error, Fault, Step};

/// A value of the document.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) value: &'a Spanned<DeValue<'a>>,
    /// Offsets of the keys and array elements that are passed over.
    pub(super) skip: &'a HashSet<usize>,
}

impl IntoDeserializer<'_, Error> for Node<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match self.value.get_ref() {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => visitor.visit_i64(number),
                    Err(_) => Err(Error::new(Fault::Other(
                        "the number is out of range".to_owned(),
                    ))),
                }
            }
            DeValue::Float(number) => {
                visitor.visit_f64(number.as_str().parse().unwrap_or(f64::NAN))
            }
            DeValue::Boolean(value) => visitor.visit_bool(*value),
            DeValue::Datetime(_) => Err(de::Error::invalid_type(
                Unexpected::Other("a date"),
                &visitor,
            )),
            DeValue::Array(array) => visitor.visit_seq(Elements::new(array, self.skip)),
            DeValue::Table(table) => visitor.visit_map(Entries::new(table, self.skip)),
        };
        result.map_err(|error| error.at(self.value.span()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if is_spanned(name) {
            visitor.visit_map(SpannedDeserializer::new(self, self.value.span()))
        } else {
            self.deserialize_any(visitor)
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The elements of an array that are not skipped.
struct Elements<'a> {
    rest: std::iter::Enumerate<std::slice::Iter<'a, Spanned<DeValue<'a>>>>,
    skip: &'a HashSet<usize>,
}

impl<'a> Elements<'a> {
    fn new(array: &'a DeArray<'a>, skip: &'a HashSet<usize>) -> Self {
        Self {
            rest: array.iter().enumerate(),
            skip,
        }
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let skip = self.skip;
        let Some((index, value)) = self
            .rest
            .find(|(_, value)| !skip.contains(&value.span().start))
        else {
            return Ok(None);
        };
        seed.deserialize(Node { value, skip })
            .map(Some)
            .map_err(|error| error.inside(Step::Index(index), value.span().start))
    }
}

type Entry<'a> = (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>);

/// The entries of a table that are not skipped.
struct Entries<'a> {
    rest: Box<dyn Iterator<Item = Entry<'a>> + 'a>,
    current: Option<Entry<'a>>,
    skip: &'a HashSet<usize>,
}

impl<'a> Entries<'a> {
    fn new(table: &'a DeTable<'a>, skip: &'a HashSet<usize>) -> Self {
        Self {
            rest: Box::new(table.iter()),
            current: None,
            skip,
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let skip = self.skip;
        self.current = self.rest.find(|(key, _)| !skip.contains(&key.span().start));
        let Some((key, _)) = self.current else {
            return Ok(None);
        };
        seed.deserialize(Key(key)).map(Some).map_err(|error| {
            let step = Step::Key(key.get_ref().to_string());
            error.at(key.span()).inside(step, key.span().start)
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((key, value)) = self.current.take() else {
            return Err(de::Error::custom("a value without a key"));
        };
        seed.deserialize(Node {
            value,
            skip: self.skip,
        })
        .map_err(|error| error.inside(Step::Key(key.get_ref().to_string()), key.span().start))
    }
}

/// A key of a table; it has a span like any value.
struct Key<'a>(&'a Spanned<DeString<'a>>);

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.0.get_ref())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if is_spanned(name) {
            let key: StrDeserializer<'_, Error> = self.0.get_ref().as_ref().into_deserializer();
            visitor.visit_map(SpannedDeserializer::new(KeyText(key), self.0.span()))
        } else {
            self.deserialize_any(visitor)
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The text of a key, once its span is told.
struct KeyText<'a>(StrDeserializer<'a, Error>);

impl<'a> IntoDeserializer<'_, Error> for KeyText<'a> {
    type Deserializer = StrDeserializer<'a, Error>;

    fn into_deserializer(self) -> Self::Deserializer {
        self.0
    }
}
