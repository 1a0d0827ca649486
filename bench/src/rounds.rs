//! Rounds: contenders take turns, and a case that is noisy is taken again.
//!
//! Interface: [`Rounds::take`] asks every contender in turn for its figures; [`Rounds::cells`] and [`Rounds::times`] are
//! what a table shows of them, and [`Rounds::noise`] is what two equal contenders differ by.
//! Invariant: a round asks each contender once, in an order that rotates, and a ratio is taken within a round. "NAME,
//! again" is NAME once more, in a process of its own. A lap is so many rounds; while a case is noisier than [`MARGIN`]
//! another lap is taken, up to `Effort::laps`. The samples of all laps are kept, so that none is chosen.

use crate::Effort;
use crate::stats::{Quartiles, median, ratios};
use crate::table::{ratio, time};

/// Two equal contenders may differ by so much, or nothing is to be concluded: no aim is nearer to 1 than this.
pub const MARGIN: f64 = 1.02;

/// What a label ends in that stands for a contender once more.
const AGAIN: &str = ", again";

/// The samples of one case: `N` figures of each contender in each round.
pub struct Rounds<const N: usize> {
    labels: Vec<String>,
    /// By contender and figure; empty if the contender has failed.
    samples: Vec<[Vec<f64>; N]>,
}

impl<const N: usize> Rounds<N> {
    /// `ask` has a contender, called by its place among the labels, do its work. A contender that fails says so itself,
    /// and is `None`: all its samples are forgotten, and it is not asked again.
    pub fn take(
        labels: &[String],
        effort: Effort,
        mut ask: impl FnMut(usize) -> Option<[f64; N]>,
    ) -> Rounds<N> {
        let none = || std::array::from_fn(|_| Vec::new());
        let mut rounds = Rounds {
            labels: labels.to_vec(),
            samples: labels.iter().map(|_| none()).collect(),
        };
        let mut failed = vec![false; labels.len()];
        for lap in 0..effort.laps {
            if lap > 0 && rounds.is_quiet() {
                break;
            }
            for round in 0..effort.rounds {
                for place in 0..labels.len() {
                    let which = (round + place) % labels.len();
                    if failed[which] {
                        continue;
                    }
                    let figures = ask(which);
                    failed[which] = figures.is_none();
                    rounds.note(which, figures);
                }
            }
        }
        rounds
    }

    fn note(&mut self, which: usize, figures: Option<[f64; N]>) {
        let samples = &mut self.samples[which];
        match figures {
            Some(figures) => {
                for (samples, figure) in samples.iter_mut().zip(figures) {
                    samples.push(figure);
                }
            }
            None => samples.iter_mut().for_each(Vec::clear),
        }
    }

    /// Whether another lap would tell nothing new: also if no contender is there twice.
    fn is_quiet(&self) -> bool {
        (0..N).all(|figure| self.noise(figure).is_none_or(|noise| noise <= MARGIN))
    }

    /// By how many times two equal contenders differ, where there are more of them the largest; `None` if none is
    /// there twice.
    pub fn noise(&self, figure: usize) -> Option<f64> {
        let twins = twins(&self.labels);
        let ratios = twins.into_iter().filter_map(|(one, other)| {
            ratios(&self.samples[other][figure], &self.samples[one][figure])
        });
        let noises = ratios.map(|Quartiles { median, .. }| median.max(1.0 / median));
        noises.reduce(f64::max)
    }

    /// Round by round, how many times `base` a contender is.
    pub fn ratio(&self, which: usize, base: usize, figure: usize) -> Option<Quartiles> {
        ratios(&self.samples[which][figure], &self.samples[base][figure])
    }

    /// `None` if the contender has failed.
    pub fn median(&self, which: usize, figure: usize) -> Option<f64> {
        let samples = &self.samples[which][figure];
        (!samples.is_empty()).then(|| median(samples))
    }

    /// The place of a contender.
    pub fn place(&self, label: &str) -> Option<usize> {
        self.labels.iter().position(|other| other == label)
    }

    /// Of each contender a figure, and how many times that of `base` it is; then the noise.
    pub fn cells(&self, figure: usize, base: usize) -> Vec<String> {
        self.shown(figure, |which| {
            let ratios = self.ratio(which, base, figure);
            ratios.map(ratio).unwrap_or_default()
        })
    }

    /// Of each contender a figure; then the noise.
    pub fn times(&self, figure: usize) -> Vec<String> {
        self.shown(figure, |_| String::new())
    }

    fn shown(&self, figure: usize, more: impl Fn(usize) -> String) -> Vec<String> {
        let cell = |which| match self.median(which, figure) {
            Some(median) => time(median) + &more(which),
            None => String::new(),
        };
        let cells = (0..self.labels.len()).map(cell);
        cells.chain([noise_cell(self.noise(figure))]).collect()
    }
}

/// What stands beside the cells of a case: the labels, then `noise`.
pub fn with_noise(labels: &[String]) -> impl Iterator<Item = String> {
    labels.iter().cloned().chain(["noise".to_owned()])
}

/// The noise, and whether anything is to be concluded.
pub fn noise_cell(noise: Option<f64>) -> String {
    match noise {
        Some(noise) if noise <= MARGIN => format!("×{noise:.3}"),
        Some(noise) => format!("unjudged: noise ×{noise:.3}"),
        None => String::new(),
    }
}

/// The label without [`AGAIN`].
pub fn original(label: &str) -> &str {
    label.strip_suffix(AGAIN).unwrap_or(label)
}

/// Those who are there twice.
fn twins(labels: &[String]) -> Vec<(usize, usize)> {
    let place = |original: &str| labels.iter().position(|label| label == original);
    let twin = |(which, label): (usize, &String)| {
        let original = label.strip_suffix(AGAIN)?;
        Some((place(original)?, which))
    };
    labels.iter().enumerate().filter_map(twin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFFORT: Effort = Effort {
        rounds: 3,
        laps: 5,
        ..crate::QUICK
    };

    fn labels(labels: &[&str]) -> Vec<String> {
        labels.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_quiet_case_takes_one_lap_and_the_order_rotates() {
        let mut asked = Vec::new();
        let rounds = Rounds::take(&labels(&["a", "a, again"]), EFFORT, |which| {
            asked.push(which);
            Some([1.0])
        });
        assert_eq!(asked, [0, 1, 1, 0, 0, 1]);
        assert_eq!(rounds.cells(0, 0).last().unwrap(), "×1.000");
    }

    #[test]
    fn a_noisy_case_takes_five_laps_keeps_all_and_is_not_judged() {
        let mut asked = 0;
        let rounds = Rounds::take(&labels(&["a", "a, again", "b"]), EFFORT, |which| {
            asked += 1;
            Some([[100.0, 90.0, 1.0][which]])
        });
        assert_eq!(asked, 5 * 3 * 3);
        assert_eq!(rounds.samples[2][0].len(), 15);
        assert_eq!(rounds.cells(0, 0).last().unwrap(), "unjudged: noise ×1.111");
    }

    #[test]
    fn a_lap_is_taken_again_until_it_is_quiet() {
        // In the first lap the second of the two is slow, and then it never is.
        let mut asked = 0;
        let rounds = Rounds::take(&labels(&["a", "a, again"]), EFFORT, |which| {
            asked += 1;
            Some([if asked <= 6 && which == 1 { 2.0 } else { 1.0 }])
        });
        assert_eq!((asked, rounds.noise(0)), (3 * 6, Some(1.0)));
    }

    #[test]
    fn one_that_fails_is_forgotten_and_left_alone() {
        let mut asked = 0;
        let rounds = Rounds::take(&labels(&["a", "b"]), EFFORT, |which| {
            asked += usize::from(which == 1);
            (which == 0 || asked < 2).then_some([1.0])
        });
        assert_eq!(asked, 2);
        assert_eq!(rounds.cells(0, 0), ["1 ns<br>×1.00 (1.00–1.00)", "", ""]);
    }

    #[test]
    fn the_noise_is_that_of_the_pair_that_differs_most() {
        let all = labels(&["a", "b", "a, again", "b, again", "c, again"]);
        assert_eq!(twins(&all), [(0, 2), (1, 3)]);
        let rounds = Rounds::take(&all, EFFORT, |which| {
            Some([[100.0, 10.0, 101.0, 8.0, 1.0][which]])
        });
        assert_eq!(rounds.noise(0), Some(1.25));
        assert_eq!(original("a, again"), "a");
    }
}
