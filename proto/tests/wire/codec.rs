//! Laws of the codec.

use crate::samples;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use torch_remote_proto::codec::{self, Decoder, Malformed};
use torch_remote_proto::command::Command;

fn whole_batch() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (_, command) in samples::commands() {
        codec::encode(&mut bytes, &command);
    }
    bytes
}

fn encode_all(commands: &[Command]) -> Vec<u8> {
    let mut bytes = Vec::new();
    commands.iter().for_each(|command| codec::encode(&mut bytes, command));
    bytes
}

#[test]
fn every_command_decodes_to_itself() {
    let commands: Vec<Command> = samples::commands().into_iter().map(|(_, command)| command).collect();
    let decoded = Decoder::new().all(&Bytes::from(encode_all(&commands))).expect("what was encoded decodes");
    assert_eq!(decoded, commands);
}

#[test]
fn a_batch_cut_anywhere_inside_a_command_is_refused() {
    let commands = samples::commands();
    let mut ends = vec![0];
    let mut bytes = Vec::new();
    for (_, command) in &commands {
        codec::encode(&mut bytes, command);
        ends.push(bytes.len());
    }
    for cut in 0..bytes.len() {
        let result = Decoder::new().all(&Bytes::copy_from_slice(&bytes[..cut]));
        assert_eq!(result.is_ok(), ends.contains(&cut), "cut at {cut}");
    }
}

#[test]
fn the_dictionary_of_signatures_is_kept_strictly() {
    let define = encode_all(&[samples::commands().remove(0).1]);
    let mut decoder = Decoder::new();
    decoder.all(&Bytes::from(define.clone())).expect("a first definition");
    assert_eq!(decoder.all(&Bytes::from(define)), Err(Malformed::Redefined(300)));
    assert_eq!(decoder.all(&Bytes::from_static(&[1, 7])), Err(Malformed::Undefined(7)));
    assert_eq!(decoder.all(&Bytes::from_static(&[6, 7])), Err(Malformed::Undefined(7)));
}

#[test]
fn integers_have_one_form() {
    let free = |number: &[u8]| Decoder::new().all(&Bytes::from([&[2], number].concat()));
    assert_eq!(free(&[0x80, 0x00]), Err(Malformed::Overlong));
    assert_eq!(free(&[0xff; 11]), Err(Malformed::Overflow));
    assert!(free(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).is_ok());
    assert_eq!(free(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), Err(Malformed::Overflow));
}

#[test]
fn a_count_above_what_is_left_allocates_nothing() {
    // Read, request 0, storage 0, offset 0, dtype, flags, then 2^60 sizes.
    let bytes = [&[9u8, 0, 0, 0, 6, 0][..], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]].concat();
    assert_eq!(Decoder::new().all(&Bytes::from(bytes)), Err(Malformed::Count(1 << 60)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_decoder_panic_and_what_decodes_encodes_to_the_same_bytes(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(commands) = Decoder::new().all(&Bytes::from(bytes.clone())) {
            prop_assert_eq!(encode_all(&commands), bytes);
        }
    }

    #[test]
    fn changed_bytes_of_real_commands_decode_strictly_or_not_at_all(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = whole_batch();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(commands) = Decoder::new().all(&Bytes::from(bytes.clone())) {
            prop_assert_eq!(encode_all(&commands), bytes);
        }
    }
}
