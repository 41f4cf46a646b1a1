//! How often the trend test sees growth where there is none, by autocorrelation and length, next to what it replaces.

use grpc_hygiene::decide::stats::{mann_kendall, mann_kendall_hamed_rao, trend};

use super::table::table;
use crate::corpus::draw::Draw;

/// The one-sided critical value at a nominal 0.1 %.
const CRITICAL: f64 = 3.090;
const SERIES: usize = 20_000;
const LENGTHS: [usize; 4] = [20, 24, 32, 48];

/// The noise of a series without a trend.
#[derive(Clone, Copy)]
enum Noise {
    Ar1(f64),
    RandomWalk,
}

impl Noise {
    fn name(self) -> String {
        match self {
            Self::Ar1(phi) => format!("AR(1) {phi}"),
            Self::RandomWalk => "random walk".to_owned(),
        }
    }

    fn draw(self, rng: &mut Draw, n: usize) -> Vec<f64> {
        let (keep, mut level) = match self {
            Self::Ar1(phi) => (phi, rng.normal(1.0 / (1.0 - phi * phi).sqrt())),
            Self::RandomWalk => (1.0, 0.0),
        };
        (0..n)
            .map(|_| {
                level = keep * level + rng.normal(1.0);
                level
            })
            .collect()
    }
}

/// The table, in Markdown.
pub fn report(seed: u64, progress: &mut dyn FnMut(String)) -> String {
    const NOISES: [Noise; 7] = [
        Noise::Ar1(0.0),
        Noise::Ar1(0.5),
        Noise::Ar1(0.8),
        Noise::Ar1(0.9),
        Noise::Ar1(0.95),
        Noise::Ar1(0.98),
        Noise::RandomWalk,
    ];
    let mut table = table(&["noise", "n", "trend", "Mann-Kendall", "Mann-Kendall, Hamed-Rao"]);
    for noise in NOISES {
        for n in LENGTHS {
            let [ours, plain, corrected] = sizes(&mut Draw::new(seed), noise, n);
            table.add_row([noise.name(), n.to_string(), share(ours), share(plain), share(corrected)]);
            progress(format!("{} n={n}", noise.name()));
        }
    }
    format!("Null size at nominal 0.1 % (z >= {CRITICAL}), {SERIES} series each, seed {seed}\n\n{table}")
}

/// The share of series in which each test sees a rise.
fn sizes(rng: &mut Draw, noise: Noise, n: usize) -> [f64; 3] {
    let t: Vec<f64> = (0..n).map(|it| it as f64 * 60.0).collect();
    let mut seen = [0.0; 3];
    for _ in 0..SERIES {
        let y = noise.draw(rng, n);
        let z = [
            trend(&t, &y, 0.95).map(|it| it.z),
            mann_kendall(&y).map(|it| it.z),
            mann_kendall_hamed_rao(&y).map(|it| it.z),
        ];
        for (seen, z) in seen.iter_mut().zip(z) {
            *seen += f64::from(u8::from(z.is_some_and(|it| it >= CRITICAL)));
        }
    }
    seen.map(|it| it / SERIES as f64)
}

fn share(of: f64) -> String {
    format!("{:.3} %", of * 100.0)
}
