//! The server's side: how many sockets its pods hold, and whether the clients that are told of account for their rise.
//! If they do not, the rogue may be one that nobody tells of.

use serde::Serialize;

use super::{added, trend};
use crate::decide::{Matrix, Samples, series::clean};

/// A rise is beyond doubt at this p-value; a policy's default as well.
const MAX_P_VALUE: f64 = 0.001;
/// Clients account for a rise when they have this share of it: sockets are not only connections of clients.
const ACCOUNTS: f64 = 0.5;

/// All pods of a server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Sockets they hold now: of all clients, of all ports, and their own to others.
    pub sockets: f64,
    /// By how many that rises per hour. `None`: too few points.
    pub growth_per_hour: Option<f64>,
    /// Whether that rise is beyond doubt.
    pub rises: bool,
}

impl Server {
    /// By the sockets of its containers, a point at each step. `None` without any.
    #[must_use]
    pub fn of(sockets: &Matrix) -> Option<Self> {
        let runs: Vec<Samples> = sockets.series.iter().filter_map(|it| clean(&it.samples).ok()).collect();
        let held = added(runs.iter().map(|it| &**it));
        let sockets = held.last()?.1;
        let trend = trend(&held, |sum, _| sum);
        let rises = trend.is_some_and(|it| it.p_value <= MAX_P_VALUE);
        Some(Self { sockets, growth_per_hour: trend.map(|it| it.slope.per_second * 3_600.0), rises })
    }

    /// Whether its sockets rise and the connections of the clients that are told of do not account for it, by how many
    /// they rise per hour: then somebody is missing among them.
    #[must_use]
    pub fn misses_somebody(&self, clients: Option<f64>) -> bool {
        self.rises && self.growth_per_hour.is_some_and(|it| clients.unwrap_or_default() < ACCOUNTS * it)
    }
}
