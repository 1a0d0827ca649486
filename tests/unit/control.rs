//! Control messages, put together and taken apart.

use super::limit::limit;
use crate::net::sys::{Control, ControlMessage, messages, space};

/// What cmsg(3) defines in C is what is built here. Catches: a header or a gap of another length.
#[test]
fn control_messages_are_laid_out_as_those_of_c() {
    let _limit = limit(30);
    let mut control = Control::<64>::EMPTY;
    assert!(control.is_empty() && control.messages().next().is_none());
    assert!(control.push(1, 2, &[3; 5]));
    assert!(control.push(4, 5, &[6; 8]));
    let expected = [(1, 2, &[3; 5][..]), (4, 5, &[6; 8][..])];
    let found: Vec<_> = control
        .messages()
        .map(|m| (m.level, m.kind, m.data))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(space(5), 24);
    assert_eq!(space(8), 24);
}

/// Catches: a message that is put where there is no room for it.
#[test]
fn a_control_message_without_room_changes_nothing() {
    let _limit = limit(30);
    let mut control = Control::<40>::EMPTY;
    assert!(control.push(1, 2, &[3; 8]));
    assert!(!control.push(4, 5, &[6; 1]));
    assert_eq!(control.messages().count(), 1);
}

/// A message that was cut, by the kernel or by anything else. Catches: a length that is believed.
#[test]
fn a_length_in_a_control_message_is_not_believed() {
    let _limit = limit(30);
    let message = |len: usize, bytes: usize| {
        let mut message = len.to_ne_bytes().to_vec();
        message.extend([1, 0, 0, 0, 2, 0, 0, 0].iter().chain(&[9; 100]));
        message.truncate(bytes);
        message
    };
    for len in [60, usize::MAX] {
        let cut = message(len, 20);
        let data = &[9; 4][..];
        let all = [ControlMessage {
            level: 1,
            kind: 2,
            data,
        }];
        assert!(messages(&cut).eq(all));
    }
    for len in 0..16 {
        assert_eq!(messages(&message(len, 64)).count(), 0, "less than a header");
    }
    for bytes in 0..16 {
        assert_eq!(
            messages(&message(16, bytes)).count(),
            0,
            "not all of a header"
        );
    }
}
