//! Series that come in pieces, put together: one per label set, in time order, one value per timestamp.

use std::{collections::HashMap, mem};

use crate::{
    decide::{Sample, Series},
    signals::LabelSet,
};

/// Pieces of series, by their labels.
#[derive(Debug, Default)]
pub struct Merged {
    places: HashMap<LabelSet, usize>,
    runs: Vec<Vec<Sample>>,
}

impl Merged {
    /// Adds a piece. Values that are NaN are missing ones.
    pub fn add(&mut self, labels: LabelSet, samples: impl IntoIterator<Item = Sample>) {
        let samples = samples.into_iter().filter(|it| !it.value.is_nan());
        match self.places.get(&labels) {
            Some(place) => self.runs[*place].extend(samples),
            None => {
                self.places.insert(labels, self.runs.len());
                self.runs.push(samples.collect());
            }
        }
    }

    /// The whole series, in the order in which they came first; those without a value are left out.
    #[must_use]
    pub fn finish(self) -> Vec<Series> {
        let Self { places, mut runs } = self;
        let mut places: Vec<(LabelSet, usize)> = places.into_iter().collect();
        places.sort_by_key(|(_, place)| *place);
        let whole = |(labels, place): (LabelSet, usize)| {
            let counter = labels.get("__name__").is_some_and(|it| it.ends_with("_total"));
            let samples = in_order(mem::take(&mut runs[place]), counter).into();
            Series { labels, samples }
        };
        places.into_iter().map(whole).filter(|it| !it.samples.is_empty()).collect()
    }
}

/// One value per timestamp: of two, the larger of a counter, since it can only have grown, and the smaller of anything
/// else, so that nobody is blamed for a copy.
fn in_order(mut samples: Vec<Sample>, counter: bool) -> Vec<Sample> {
    if samples.is_sorted_by(|a, b| a.at < b.at) {
        return samples;
    }
    samples.sort_by(|a, b| a.at.total_cmp(&b.at));
    samples.dedup_by(|later, kept| {
        let same = later.at.total_cmp(&kept.at).is_eq();
        if same {
            kept.value = if counter { kept.value.max(later.value) } else { kept.value.min(later.value) };
        }
        same
    });
    samples
}
