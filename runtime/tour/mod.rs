//! The pages of the tour, and no code: `crate::tour` is where readers find them.
//!
//! They are here because a page may link to whatever the module that holds it can see: the inside of the runtime.

#[doc = include_str!("misconceptions.md")]
pub mod misconceptions {}
#[doc = include_str!("solutions.md")]
pub mod solutions {}
#[doc = include_str!("what_a_future_is.md")]
pub mod stop_0_what_a_future_is {}
#[doc = include_str!("what_is_a_task.md")]
pub mod stop_1_what_is_a_task {}
#[doc = include_str!("who_polls_and_when.md")]
pub mod stop_2_who_polls_and_when {}
#[doc = include_str!("who_wakes.md")]
pub mod stop_3_who_wakes {}
#[doc = include_str!("when_is_a_socket_ready.md")]
pub mod stop_4_when_is_a_socket_ready {}
#[doc = include_str!("whose_event_is_this.md")]
pub mod stop_5_whose_event_is_this {}
#[doc = include_str!("what_time_is_it.md")]
pub mod stop_6_what_time_is_it {}
#[doc = include_str!("how_does_it_end.md")]
pub mod stop_7_how_does_it_end {}
#[doc = include_str!("trigger_modes.md")]
pub mod trigger_modes {}
