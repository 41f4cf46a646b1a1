//! stub
use crate::decide::{Policy, oom::Container, replay::Recording};
use jiff::Timestamp;
pub struct Curves;
impl Curves {
    pub fn of(_: &Recording, _: &Policy, _: &Container, _: (Timestamp, Timestamp)) -> Self {
        Self
    }
}
