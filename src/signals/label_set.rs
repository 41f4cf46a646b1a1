//! The labels of one series, kept small: an evaluation of ten thousand pods holds a quarter of a million label sets, and
//! as maps of strings they would be most of the operator's memory. It does not know what any label means.

use std::{collections::BTreeMap, fmt};

use serde::{Serialize, Serializer};

/// Labels by name, each name once. `__name__` is one of them.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSet {
    /// Names and values in turn, sorted by name.
    text: Box<str>,
    /// Where each of them ends in the text.
    ends: Box<[u32]>,
}

impl LabelSet {
    /// The value of a label.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|it| it.0 == name).map(|it| it.1)
    }

    /// The value of a label, unless it is empty: to Prometheus an empty label is none.
    #[must_use]
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|it| !it.is_empty())
    }

    /// These labels and one more, or with another value for that one.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        self.iter().chain([(name, value)]).collect()
    }

    /// These labels but for one.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        self.iter().filter(|it| it.0 != name).collect()
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut begin = 0;
        let mut next = move |end: u32| {
            let piece = &self.text[begin..end as usize];
            begin = end as usize;
            piece
        };
        self.ends.as_chunks().0.iter().map(move |[name, value]| (next(*name), next(*value)))
    }
}

/// Of a name that comes twice the last value counts.
///
/// # Panics
/// The labels are longer than 4 GiB together.
impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for LabelSet {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(labels: I) -> Self {
        let labels: Vec<(N, V)> = labels.into_iter().collect();
        let sorted: BTreeMap<&str, &str> = labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        let mut text = String::with_capacity(sorted.iter().map(|(name, value)| name.len() + value.len()).sum());
        let mut ends = Vec::with_capacity(2 * sorted.len());
        for part in sorted.into_iter().flat_map(|(name, value)| [name, value]) {
            text.push_str(part);
            ends.push(u32::try_from(text.len()).expect("labels of less than 4 GiB"));
        }
        Self { text: text.into(), ends: ends.into() }
    }
}

/// As an object, which is how every API of Prometheus writes labels.
impl Serialize for LabelSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_by_name_and_told_in_the_order_of_names() {
        let labels: LabelSet = [("pod", "orders-1"), ("__name__", "up"), ("empty", "")].into_iter().collect();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("__name__", "up"), ("empty", ""), ("pod", "orders-1")]);
        assert_eq!(["pod", "empty", "po"].map(|it| labels.get(it)), [Some("orders-1"), Some(""), None]);
        assert_eq!(["pod", "empty", "po"].map(|it| labels.filled(it)), [Some("orders-1"), None, None]);
        assert_eq!(LabelSet::default().iter().count(), 0);
        assert_eq!(labels.with("pod", "orders-2").get("pod"), Some("orders-2"));
        assert_eq!(labels.without("pod").with("pod", "orders-1"), labels);
    }

    #[test]
    fn labels_are_equal_when_names_and_values_are_and_not_when_their_text_is() {
        let of = |labels: &[(&str, &str)]| labels.iter().copied().collect::<LabelSet>();
        assert_eq!(of(&[("a", "1"), ("b", "2")]), of(&[("b", "2"), ("a", "0"), ("a", "1")]));
        assert_ne!(of(&[("ab", "c")]), of(&[("a", "bc")]));
    }
}
