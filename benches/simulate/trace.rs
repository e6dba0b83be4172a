//! When messages are sent: two waves, and two bursts on them.

use std::f64::consts::TAU;
use std::time::Duration;

/// Messages that are sent at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Duration,
    pub(crate) count: usize,
}

/// How many messages there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Messages a second, on average over a wave.
    pub(crate) rate: f64,
    /// Messages of each burst, in a trace of ten minutes.
    pub(crate) burst: f64,
}

/// The moments of a trace that is this long. It is the same each time.
pub(crate) fn trace(load: Load, minutes: f64) -> Vec<Sent> {
    let mut random = fastrand::Rng::with_seed(1);
    let seconds = minutes * 60.0;
    let burst = |share: f64| Sent {
        at: Duration::from_secs_f64(seconds * share),
        count: (load.burst * minutes / 10.0).ceil() as usize,
    };
    let mut moments = vec![burst(0.3), burst(0.7)];
    // Candidates come at random, at the highest rate. Each is kept with the share of it that the rate has then.
    let mut at = 0.0;
    loop {
        at -= (1.0 - random.f64()).ln() / (2.0 * load.rate);
        if at >= seconds {
            break;
        }
        if random.f64() < (1.0 - (2.0 * TAU * at / seconds).cos()) / 2.0 {
            moments.push(Sent { at: Duration::from_secs_f64(at), count: 1 });
        }
    }
    moments.sort_by_key(|sent| sent.at);
    moments
}
