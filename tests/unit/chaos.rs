//! The generator that chaos draws from.

use super::limit::limit;
use crate::runtime::chaos::Chaos;

/// The numbers are those of the reference implementation, splitmix64.c by Sebastiano Vigna.
/// Catches: another generator, whose numbers may be worse.
#[test]
fn chaos_draws_the_numbers_of_splitmix64() {
    let _limit = limit(30);
    let chaos = Chaos::new(1_234_567);
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
    let chaos = Chaos::new(1);
    let hits = (0..8000).filter(|_| chaos.one_in(8)).count();
    assert!((900..1100).contains(&hits), "{hits}");
}
