//! What many scattered samples say: a median with its quartiles, percentiles, and ratios within a round.
//!
//! Interface: [`Quartiles::of`], [`percentiles`], [`ratios`].
//! Invariant: a ratio compares samples of one round only. What the machine did meanwhile (another
//! program, a slower clock) met both, and one round's accident is one sample of many.

/// The middle of the samples, and where the middle half of them begins and ends.
#[derive(Clone, Copy, Debug)]
pub struct Quartiles {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Quartiles {
    /// `None` if there is no sample.
    pub fn of(samples: &[f64]) -> Option<Quartiles> {
        let [low, median, high] = percentiles(samples, [0.25, 0.5, 0.75])?;
        Some(Quartiles { low, median, high })
    }
}

/// What is above each of these shares of the samples; between two of them in proportion. `None` if there is no sample.
pub fn percentiles<const N: usize>(samples: &[f64], shares: [f64; N]) -> Option<[f64; N]> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    Some(shares.map(|share| {
        let place = share * last as f64;
        let (below, above) = (
            sorted[place.floor() as usize],
            sorted[place.ceil() as usize],
        );
        // Equal ones may be infinite.
        if below == above {
            below
        } else {
            below + (above - below) * place.fract()
        }
    }))
}

/// Round by round, how many times `base` a contender's sample is.
pub fn ratios(samples: &[f64], base: &[f64]) -> Option<Quartiles> {
    let pairs = samples.iter().zip(base);
    let ratios: Vec<f64> = pairs.map(|(sample, base)| sample / base).collect();
    Quartiles::of(&ratios)
}

/// The middle one; 0 if there is none.
pub fn median(samples: &[f64]) -> f64 {
    Quartiles::of(samples).map_or(0.0, |quartiles| quartiles.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_samples() {
        let quartiles = Quartiles::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(
            (quartiles.low, quartiles.median, quartiles.high),
            (1.75, 2.5, 3.25)
        );
        assert!(Quartiles::of(&[]).is_none());
    }

    #[test]
    fn the_last_percentile_is_the_largest_sample() {
        let samples: Vec<f64> = (0..1001).map(f64::from).collect();
        let percentiles = percentiles(&samples, [0.5, 0.999, 1.0]);
        assert_eq!(percentiles, Some([500.0, 999.0, 1000.0]));
    }

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        // The second round was ten times slower for both.
        let ratio = ratios(&[2.0, 20.0], &[1.0, 10.0]).unwrap();
        assert_eq!((ratio.low, ratio.median, ratio.high), (2.0, 2.0, 2.0));
    }
}
