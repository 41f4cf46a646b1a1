//! stub
use super::Replay;
pub const MAX_CURVES: usize = 100;
pub fn page(_: &[Replay]) -> String {
    String::new()
}
