//! The generator that chaos draws from.

use std::collections::BTreeSet;

use super::limit::limit;
use crate::runtime::chaos::Chaos;

/// The numbers are those of the reference implementation, splitmix64.c by Sebastiano Vigna.
/// Catches: another generator, whose numbers may be worse.
#[test]
fn chaos_draws_the_numbers_of_splitmix64() {
    let _limit = limit(30);
    let chaos = Chaos::new(Some(1_234_567));
    let drawn = [(); 5].map(|()| chaos.next());
    assert_eq!(
        drawn,
        [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ]
    );
}

/// Catches: what should happen now and then, and happens nearly always, or never.
#[test]
fn one_in_eight_is_about_an_eighth() {
    let _limit = limit(30);
    let chaos = Chaos::new(Some(1));
    let hits = (0..8000).filter(|_| chaos.says(8)).count();
    assert!((900..1100).contains(&hits), "{hits}");
}

/// Catches: a choice where nobody asked for chaos.
#[test]
fn without_a_seed_it_leaves_everything_as_it_is() {
    let _limit = limit(30);
    let chaos = Chaos::new(None);
    for n in 1..1000 {
        assert!(!chaos.says(n));
        assert_eq!(
            (chaos.pick(n), chaos.at_most(n), chaos.offer(n)),
            (None, n, n)
        );
    }
    let mut items = [1, 2, 3, 4, 5];
    chaos.shuffle(&mut items);
    assert_eq!(items, [1, 2, 3, 4, 5]);
}

/// Catches: a bound that is missed, or one that is never met.
#[test]
fn with_a_seed_it_stays_within_its_bounds_and_meets_them() {
    let _limit = limit(30);
    let chaos = Chaos::new(Some(2));
    assert_eq!((chaos.pick(0), chaos.offer(0)), (None, 0));
    let all = |draw: &dyn Fn() -> usize| (0..1000).map(|_| draw()).collect::<BTreeSet<_>>();
    assert_eq!(all(&|| chaos.pick(3).unwrap()), BTreeSet::from([0, 1, 2]));
    assert_eq!(all(&|| chaos.at_most(3)), BTreeSet::from([1, 2, 3]));
    assert_eq!(all(&|| chaos.offer(3)), BTreeSet::from([1, 2, 3]));
}
